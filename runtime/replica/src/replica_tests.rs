#![allow(clippy::unwrap_used, clippy::panic)]

use vibecoin_consensus::{BftOrderer, OrdererConfig};
use vibecoin_execution::MemoryState;
use vibecoin_mempool::MempoolConfig;
use vibecoin_primitives::{
    Amount, BLOCK_VERSION, ChainParams, Power, SecretKey, TimeMs, Validator, ValidatorSet, encode,
};

use super::*;

type Follower = Replica<MemoryState, BftOrderer>;

const PEER: PeerId = PeerId(3);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn chain() -> Chain {
    let params = ChainParams {
        hashes_per_tick: 8,
        ticks_per_block: 4,
        quiet_ticks: 1,
        empty_block_interval_ms: 100,
        ..ChainParams::devnet()
    };
    let validator = Validator {
        key: key(200).public_key(),
        power: Power(1),
        payout: Address::from(key(201).public_key()),
    };
    Chain::new(Hash([9; 32]), params, ValidatorSet::new(vec![validator]).unwrap())
}

fn genesis(chain: &Chain) -> Parent<MemoryState> {
    let schedule = ProposerSchedule::genesis(&chain.validators);
    let balances = [(Address::from(key(1).public_key()), Amount(1_000_000_000))];
    let state = MemoryState::with_balances(balances, &schedule);
    let header = Header {
        version: BLOCK_VERSION,
        height: Height(0),
        round: Round(0),
        proposer: PublicKey([0; 32]),
        parent: Hash::ZERO,
        time: TimeMs(1_000_000),
        ticks: 0,
        poh_seq: 0,
        poh_hash: Hash::ZERO,
        body_hash: Hash::ZERO,
        tx_root: Hash::ZERO,
        receipt_root: Hash::ZERO,
        evidence_root: Hash::ZERO,
        state_root: state.root(),
        validators_hash: chain.validators_hash,
        next_validators_hash: chain.validators_hash,
        params_hash: chain.params_hash,
        last_commit_hash: Hash::ZERO,
    };
    Parent {
        hash: chain.genesis,
        header,
        state,
        schedule,
    }
}

fn replica(key: Option<SecretKey>) -> Follower {
    let chain = chain();
    let public = key.as_ref().map(SecretKey::public_key);
    let orderer = BftOrderer::new(OrdererConfig {
        genesis: chain.genesis,
        key,
    });
    let pool = Mempool::new(MempoolConfig::default(), chain.params.clone());
    let head = Head {
        parent: genesis(&chain),
        certificate: None,
    };
    let mut replica = Replica::new(chain, public, orderer, pool, head);
    let start = Event::Start {
        records: Vec::new(),
        guard: None,
    };
    replica.step(now(1), start);
    replica
}

fn now(micros: u64) -> Now {
    Now {
        mono: MonoTime(micros),
        wall: TimeMs(2_000_000),
    }
}

/// The first block of the chain, as its validator committed it.
fn first_block() -> Box<Commit<MemoryState>> {
    let mut lone = replica(Some(key(200)));
    for _ in 0..1_000 {
        while let Some(action) = lone.poll() {
            if let Action::Commit(commit) = action {
                return commit;
            }
        }
        let due = lone.next_deadline().unwrap();
        lone.step(now(due.0), Event::Time);
    }
    panic!("no block was made");
}

#[test]
fn a_decided_block_whose_body_was_dropped_is_fetched_and_committed() {
    let Commit {
        header,
        hash,
        body,
        certificate,
        ..
    } = *first_block();
    let mut follower = replica(None);
    let connected = Event::Connected {
        peer: PEER,
        head: Height(0),
        validator: None,
    };
    follower.step(now(2), connected);
    while follower.poll().is_some() {}
    follower.commit(certificate, header.clone(), Vec::new());
    assert!(follower.poll().is_none(), "neither committed nor halted");
    follower.step(now(3), Event::Time);
    let asked = std::iter::from_fn(|| follower.poll()).any(|action| {
        let Action::Send { to, message } = action else {
            return false;
        };
        to == PEER
            && message
                == Message::BodyRequest {
                    height: Height(1),
                    block: hash,
                }
    });
    assert!(asked, "the body is asked for");
    let message = Message::Body {
        header: Box::new(header),
        body: encode(&body),
    };
    let given = Event::Message {
        from: PEER,
        message: Box::new(message),
        verified: Vec::new(),
        gossip: None,
    };
    follower.step(now(4), given);
    let committed = std::iter::from_fn(|| follower.poll())
        .any(|action| matches!(action, Action::Commit(commit) if commit.hash == hash));
    assert!(committed);
}

#[test]
fn a_validator_takes_part_in_the_stand_of_every_round() {
    let lone = replica(Some(key(200)));
    let stand = lone.stand();
    assert_eq!((stand.height, stand.first), (Height(1), Round(0)));
    assert!(stand.turns.iter().all(|turn| *turn == key(200).public_key()));
    assert_eq!(stand.turns.len(), 4);
    assert!(stand.next_turns.is_empty(), "nothing is decided");
}
