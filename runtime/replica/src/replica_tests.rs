#![allow(clippy::unwrap_used, clippy::panic)]

use vibecoin_consensus::{BftOrderer, ConsensusMessage, OrdererConfig, Verdict};
use vibecoin_execution::{DecidedBlock, MemoryState};
use vibecoin_mempool::MempoolConfig;
use vibecoin_primitives::{
    Amount, BlockPart, ChainParams, Evidence, Hash, Height, PartContent, PartStatement, ProposerSchedule,
    Round, SecretKey, Tick, TimeMs, VoteKind, encode, signature_checks,
};
use vibecoin_tests_support::{self as support, key, opening, sign_part};

use super::*;
use crate::check::Verified;
use crate::{LATER_PARTS_MAX, Parent, PeerId, examine};

type Follower = Replica<MemoryState, BftOrderer>;

const PEER: PeerId = PeerId(3);

fn chain() -> Chain {
    chain_of(&[200])
}

/// A chain whose validators have these keys and equal power.
fn chain_of(keys: &[u8]) -> Chain {
    let params = ChainParams {
        empty_block_interval_ms: 100,
        ..support::params()
    };
    Chain::new(
        support::GENESIS,
        params,
        support::validators(keys.iter().copied()),
    )
}

fn genesis(chain: &Chain) -> Parent<MemoryState> {
    let schedule = ProposerSchedule::genesis(&chain.validators);
    let balances = [(support::address(1), Amount(1_000_000_000))];
    let state = MemoryState::with_balances(balances, &schedule);
    Parent {
        hash: chain.genesis,
        header: support::genesis_header(&chain.params, &chain.validators, state.root()),
        state,
        schedule,
    }
}

fn replica(key: Option<SecretKey>) -> Follower {
    replica_of(chain(), key)
}

fn replica_of(chain: Chain, key: Option<SecretKey>) -> Follower {
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

/// The first block of the chain, as committed by its validator.
fn first_block() -> Box<DecidedBlock<MemoryState>> {
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
    let DecidedBlock {
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
    let body = examine::body(header, &encode(&body)).expect("the body of its header");
    let given = Event::Body {
        from: PEER,
        body: Box::new(body),
        verified: Vec::new(),
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

const VALIDATORS: [u8; 4] = [200, 202, 203, 204];
/// Longer than any wait of these tests in monotonic time.
const AGE_OLD_MS: u64 = 60_000;

/// A time at which the genesis block, which is the head, has this age.
fn when(micros: u64, age_ms: u64) -> Now {
    Now {
        mono: MonoTime(micros),
        wall: TimeMs(age_ms.saturating_add(1_000_000)),
    }
}

/// A follower of four validators whose head has this age, with peers that claim heights.
fn follower(age_ms: u64, peers: &[(u64, Option<u8>, u64)]) -> Follower {
    let mut follower = replica_of(chain_of(&VALIDATORS), None);
    for (peer, validator, head) in peers {
        let event = Event::Connected {
            peer: PeerId(*peer),
            head: Height(*head),
            validator: validator.map(|n| key(n).public_key()),
        };
        follower.step(when(2, age_ms), event);
    }
    follower
}

/// Delivers a vote of this validator by gossip.
fn vote(follower: &mut Follower, age_ms: u64, validator: u8, height: u64) {
    let (genesis, of) = (follower.chain().genesis, (Height(height), Round(0)));
    let block = Some(Hash([1; 32]));
    let vote = support::vote(&genesis, &key(validator), VoteKind::Prevote, of, block);
    let event = Event::Message {
        from: PEER,
        message: Box::new(Message::Consensus(ConsensusMessage::Vote(vote))),
        verified: Vec::new(),
        gossip: None,
    };
    follower.step(when(3, age_ms), event);
}

#[test]
fn claims_of_strangers_do_not_count_while_blocks_come_as_they_are_due() {
    let strangers = [(1, None, 1 << 40), (2, None, 1 << 40), (3, None, 0)];
    // The bound is five times 100 ms, plus two seconds.
    for (age_ms, known) in [(0, 0), (2_500, 0), (2_501, 1 << 40)] {
        assert_eq!(
            follower(age_ms, &strangers).known_height(),
            Height(known),
            "{age_ms}"
        );
    }
}

#[test]
fn a_clock_far_behind_the_head_does_not_make_it_recent() {
    let mut follower = follower(AGE_OLD_MS, &[(1, None, 500), (2, None, 500)]);
    let early = Now {
        mono: MonoTime(3),
        wall: TimeMs(1_000_000 - 2_501),
    };
    follower.step(early, Event::Time);
    assert_eq!(follower.known_height(), Height(500));
}

/// A joining node that knows no validator.
#[test]
fn strangers_show_that_an_old_head_is_behind_until_they_fail_to_give_blocks() {
    let mut follower = follower(AGE_OLD_MS, &[(1, None, 500), (2, None, 500)]);
    assert_eq!(follower.known_height(), Height(500));
    while follower.known_height() != Height(0) {
        let due = follower.next_deadline().unwrap();
        assert!(due < MonoTime(2_000_000), "they are silent");
        follower.step(when(due.0, AGE_OLD_MS), Event::Time);
    }
    // During and after their pauses.
    for _ in 0..20 {
        let due = follower.next_deadline().unwrap();
        follower.step(when(due.0, AGE_OLD_MS), Event::Time);
        assert_eq!(follower.known_height(), Height(0));
    }
}

#[test]
fn votes_ahead_of_one_validator_in_four_do_not_count_and_of_two_do() {
    for age_ms in [0, AGE_OLD_MS] {
        let mut follower = follower(age_ms, &[(PEER.0, None, 0)]);
        for height in 2..=6 {
            vote(&mut follower, age_ms, 200, height);
        }
        assert_eq!(follower.known_height(), Height(0), "age {age_ms}");
        // The lower of the two, and the block below the vote.
        vote(&mut follower, age_ms, 202, 5);
        assert_eq!(follower.known_height(), Height(4), "age {age_ms}");
    }
}

#[test]
fn claims_of_validators_with_more_than_a_third_count_at_once() {
    let known = |peers: &[(u64, Option<u8>, u64)]| follower(0, peers).known_height();
    let one = (1, Some(200), 1 << 40);
    assert_eq!(known(&[one]), Height(0));
    assert_eq!(
        known(&[one, (2, Some(200), 1 << 40)]),
        Height(0),
        "one key, twice"
    );
    assert_eq!(
        known(&[one, (2, None, 1 << 40), (3, Some(205), 1 << 40)]),
        Height(0)
    );
    assert_eq!(known(&[one, (2, Some(202), 50)]), Height(50));
    let mut mixed = follower(0, &[one]);
    vote(&mut mixed, 0, 203, 4);
    assert_eq!(mixed.known_height(), Height(3), "a status and a vote");
}

fn part(chain: &Chain, height: u64, round: u32, sequence: u32, parent: Hash) -> BlockPart {
    let content = if sequence == 0 {
        opening()
    } else {
        PartContent::Tick(Tick {
            hash: Hash([1; 32]),
            transactions: Vec::new(),
        })
    };
    let statement = PartStatement {
        height: Height(height),
        round: Round(round),
        proposer: key(200).public_key(),
        parent,
        sequence,
        digest: Hash::ZERO,
    };
    sign_part(&chain.genesis, &key(200), statement, content)
}

#[test]
fn parts_that_will_not_be_kept_cost_no_signature_check() {
    let mut follower = replica(None);
    let chain = chain();
    let mut give = |height, round, sequence| {
        let part = part(&chain, height, round, sequence, Hash([1; 32]));
        let before = signature_checks();
        let verdict = follower.on_part(part, Verified::new());
        (verdict, signature_checks().saturating_sub(before))
    };
    // Of another parent than the head.
    assert_eq!(give(1, 0, 0), (Verdict::Ignored, 0));
    let per_round = u32::try_from(LATER_PARTS_MAX / 2).unwrap();
    for round in 0..2 {
        for sequence in 0..per_round {
            assert_eq!(give(2, round, sequence), (Verdict::Fresh, 1));
        }
    }
    assert_eq!(give(2, 0, 0), (Verdict::Known, 0));
    assert_eq!(give(2, 2, 0), (Verdict::Ignored, 0), "there is no capacity");
}

/// Two votes of this validator for different blocks of a height.
fn double_vote(chain: &Chain, validator: u8, height: u64) -> Evidence {
    support::double_vote(&chain.genesis, &key(validator), Height(height), Round(0))
}

#[test]
fn evidence_for_which_there_is_no_capacity_costs_no_signature_check_unless_it_is_against_this_node() {
    let chain = chain_of(&VALIDATORS);
    let mut node = replica_of(chain.clone(), Some(key(202)));
    for offender in [200, 202] {
        let waiting = (100..).take(crate::evidence::OFFENDER_WAITING_MAX);
        let kept = waiting.filter(|height| node.evidence.add(double_vote(&chain, offender, *height)));
        assert_eq!(kept.count(), crate::evidence::OFFENDER_WAITING_MAX);
    }
    let mut checks_of = |offender| {
        let before = signature_checks();
        let verdict = node.on_evidence(double_vote(&chain, offender, 1));
        assert_eq!(
            verdict == Verdict::Fresh,
            offender == 203,
            "{offender}: {verdict:?}"
        );
        signature_checks().saturating_sub(before)
    };
    assert_eq!(checks_of(200), 0);
    assert_eq!(checks_of(203), 1, "one batch");
    assert_eq!(checks_of(202), 1, "its own key may sign elsewhere");
}
