//! The distorted messages: what other nodes see of a Byzantine one.

use vibecoin_consensus::ConsensusMessage;
use vibecoin_poh::{Pace, seed};
use vibecoin_primitives::{
    ChainParams, Evidence, Hash, Header, Height, PartContent, PartStatement, Proposal, PublicKey, Round,
    SecretKey, Tick, TimeMs, Transaction, ValidatorSet, VoteKind, tick_root,
};
use vibecoin_replica::Message;
use vibecoin_tests_behaviours::{Behaviour, Distorter};
use vibecoin_tests_support::{self as support, opening};

const GENESIS: Hash = Hash([7; 32]);
const HEIGHT: Height = Height(5);

fn key() -> SecretKey {
    support::key(1)
}

fn distorter(behaviour: Behaviour) -> Distorter {
    Distorter::new(behaviour, GENESIS, key(), &ChainParams::devnet())
}

fn set() -> ValidatorSet {
    support::validators([1])
}

fn vote(kind: VoteKind, block: Option<Hash>) -> Message {
    let vote = support::vote(&GENESIS, &key(), kind, (HEIGHT, Round(0)), block);
    Message::Consensus(ConsensusMessage::Vote(vote))
}

fn header() -> Header {
    let hash = Hash([3; 32]);
    Header {
        height: HEIGHT,
        proposer: key().public_key(),
        parent: hash,
        time: TimeMs(1),
        ticks: 20,
        poh_seq: 1,
        body_hash: hash,
        tx_root: hash,
        state_root: hash,
        ..support::header()
    }
}

fn proposal() -> Message {
    let proposal = Proposal {
        height: HEIGHT,
        round: Round(0),
        header: header(),
        lock_round: None,
        proposer: key().public_key(),
    };
    let signed = proposal.sign(&GENESIS, &key());
    Message::Consensus(ConsensusMessage::Proposal(Box::new(signed)))
}

fn part(sequence: u32, content: PartContent) -> Message {
    let statement = PartStatement {
        height: HEIGHT,
        round: Round(0),
        proposer: key().public_key(),
        parent: Hash([3; 32]),
        sequence,
        digest: Hash::ZERO,
    };
    Message::Part(Box::new(support::sign_part(&GENESIS, &key(), statement, content)))
}

fn tick(transactions: Vec<Transaction>) -> PartContent {
    PartContent::Tick(Tick {
        hash: Hash([4; 32]),
        transactions,
    })
}

/// The evidence that two messages form.
fn evidence(said: &[Message]) -> Evidence {
    match said {
        [
            Message::Consensus(ConsensusMessage::Vote(a)),
            Message::Consensus(ConsensusMessage::Vote(b)),
        ] => Evidence::votes(a.clone(), b.clone()),
        [
            Message::Consensus(ConsensusMessage::Proposal(a)),
            Message::Consensus(ConsensusMessage::Proposal(b)),
        ] => Evidence::proposals((**a).clone(), (**b).clone()),
        [Message::Part(a), Message::Part(b)] => Evidence::parts(a.signed.clone(), b.signed.clone()),
        other => panic!("no two of a kind: {other:?}"),
    }
}

#[test]
fn what_is_said_twice_is_evidence() {
    for (behaviour, message) in [
        (
            Behaviour::EquivocatingVotes,
            vote(VoteKind::Prevote, Some(Hash([2; 32]))),
        ),
        (Behaviour::EquivocatingVotes, vote(VoteKind::Precommit, None)),
        (Behaviour::EquivocatingProposals, proposal()),
        (Behaviour::EquivocatingParts, part(1, tick(Vec::new()))),
    ] {
        let said = distorter(behaviour).distort(message.clone());
        assert_eq!(said[0], message, "{behaviour:?}: the honest one comes first");
        evidence(&said).verify(&GENESIS, &set()).unwrap();
    }
}

#[test]
fn a_changed_header_is_signed_and_wrong() {
    for behaviour in [
        Behaviour::WrongStateRoot,
        Behaviour::WrongParent,
        Behaviour::WrongTxRoot,
        Behaviour::FutureTime,
        Behaviour::WrongTicks,
    ] {
        let said = distorter(behaviour).distort(proposal());
        let [Message::Consensus(ConsensusMessage::Proposal(signed))] = said.as_slice() else {
            panic!("{behaviour:?}: {said:?}");
        };
        signed.verify(&GENESIS).unwrap();
        assert_ne!(signed.proposal.header, header(), "{behaviour:?}");
    }
}

#[test]
fn what_is_withheld_is_not_said() {
    assert_eq!(distorter(Behaviour::WithheldProposals).distort(proposal()), []);
    assert_eq!(
        distorter(Behaviour::WithheldProposals).distort(part(1, tick(Vec::new()))),
        []
    );
    assert_eq!(
        distorter(Behaviour::WithheldParts).distort(part(1, tick(Vec::new()))),
        []
    );
    assert_eq!(
        distorter(Behaviour::WithheldParts)
            .distort(part(2, tick(Vec::new())))
            .len(),
        1
    );
    let block = Some(Hash([2; 32]));
    let said = distorter(Behaviour::NilPrecommits).distort(vote(VoteKind::Precommit, block));
    assert_eq!(said, [vote(VoteKind::Precommit, None)]);
    let prevote = vote(VoteKind::Prevote, block);
    assert_eq!(
        distorter(Behaviour::NilPrecommits).distort(prevote.clone()),
        [prevote]
    );
}

#[test]
fn a_doubled_transaction_has_a_right_proof_of_history() {
    let body = support::body(&GENESIS, &key(), 0, vec![support::transfer(2, 1)]);
    let transaction = body.sign(&GENESIS, &key());
    let mut distorter = distorter(Behaviour::TransactionTwice);
    let mut sealed = Vec::new();
    let contents = [opening(), tick(Vec::new()), tick(vec![transaction.clone()])];
    for (content, sequence) in contents.into_iter().zip(0u32..) {
        let said = distorter.distort(part(sequence, content));
        let [Message::Part(part)] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert!(part.is_whole());
        part.signed.verify(&GENESIS).unwrap();
        if let PartContent::Tick(tick) = &part.content {
            let hashes: Vec<Hash> = tick.transactions.iter().map(Transaction::hash).collect();
            sealed.push(vibecoin_poh::SealedTick {
                hash: tick.hash,
                mixin: tick_root(&hashes),
            });
            assert!([0, 2].contains(&hashes.len()));
        }
    }
    let pace = Pace::new(u64::from(ChainParams::devnet().hashes_per_tick), 2).unwrap();
    let start = seed(Hash([3; 32]), HEIGHT.0, 0, &key().public_key().0);
    vibecoin_poh::verify(pace, start, &sealed).unwrap();
}

#[test]
fn what_others_said_is_never_changed() {
    let stranger = PublicKey([5; 32]);
    let Message::Consensus(ConsensusMessage::Vote(mut other)) = vote(VoteKind::Prevote, None) else {
        panic!();
    };
    other.vote.validator = stranger;
    let message = Message::Consensus(ConsensusMessage::Vote(other));
    for behaviour in Behaviour::DISTORTING {
        let name = behaviour.name();
        assert_eq!(
            distorter(behaviour).distort(message.clone()),
            std::slice::from_ref(&message),
            "{name}"
        );
        assert_eq!(Distorter::named(name), Ok(behaviour));
    }
    for honest in [vote(VoteKind::Prevote, None), proposal(), part(0, opening())] {
        assert_eq!(distorter(Behaviour::None).distort(honest.clone()), [honest]);
    }
    assert!(
        Distorter::named("lies")
            .unwrap_err()
            .contains("equivocating-votes")
    );
}
