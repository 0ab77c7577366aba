#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::{Address, Power, SecretKey, Signature, Validator, Vote};

use super::*;

fn key(n: u8) -> PublicKey {
    SecretKey::from_seed(&[n; 32]).public_key()
}

/// Four validators of power 1, 2, 3 and 4, in the order of their keys' seeds.
fn book() -> RoundBook {
    let validators = (1..=4u8).map(|n| Validator {
        key: key(n),
        power: Power(u64::from(n)),
        payout: Address([200; 32]),
    });
    let set = ValidatorSet::new(validators.collect()).unwrap();
    RoundBook::new(Arc::new(set), FaultModel::Byzantine)
}

fn at(ms: u64) -> Now {
    Now {
        mono: MonoTime(ms * 1000),
        wall: TimeMs(1_000_000 + ms),
    }
}

fn vote(kind: VoteKind, height: u64, round: u32, block: Option<u8>, validator: u8) -> SignedVote {
    SignedVote {
        vote: Vote {
            kind,
            height: Height(height),
            round: Round(round),
            block: block.map(|b| Hash([b; 32])),
            validator: key(validator),
        },
        signature: Signature([0; 64]),
    }
}

#[test]
fn a_round_that_passed_says_what_was_there_and_what_was_not() {
    let mut book = book();
    book.round_started(Height(7), Round(0), key(1), at(100));
    book.timeout(Height(7), Round(0), TimeoutStep::Propose, at(300));
    for validator in 1..=3 {
        book.vote(&vote(VoteKind::Prevote, 7, 0, None, validator), at(310));
    }
    book.round_started(Height(7), Round(1), key(2), at(400));
    book.proposal(Height(7), Round(1), Hash([9; 32]), at(420));
    book.body(Height(7), Round(1), true, at(425));
    for validator in 1..=4 {
        book.vote(
            &vote(VoteKind::Prevote, 7, 1, Some(9), validator),
            at(430 + u64::from(validator)),
        );
    }
    let (steps, rounds) = book.decided(Height(7), Hash([9; 32]), Round(1), at(450));
    assert_eq!(rounds, 2);
    // 1 + 2 + 3 of 10 is not a quorum; with the fourth it is.
    let expected = Steps {
        proposal: Some(20_000),
        body: Some(25_000),
        prevotes: Some(34_000),
        precommits: Some(50_000),
    };
    assert_eq!(steps, expected);
    let seen = book.get(Height(7)).unwrap();
    assert_eq!((seen.decided, seen.rounds.len()), (Some(Hash([9; 32])), 2));
    let (first, second) = (&seen.rounds[0], &seen.rounds[1]);
    assert_eq!((first.outcome, first.took_ms), (RoundOutcome::Passed, Some(300)));
    assert_eq!((first.proposal, first.body), (None, None));
    assert_eq!((first.prevotes.nil, first.prevotes.power()), (6, 6));
    assert_eq!(first.timeouts, [(Wait::Propose, 200)]);
    assert_eq!(
        (second.outcome, second.took_ms),
        (RoundOutcome::Decided, Some(50))
    );
    assert_eq!(second.prevotes.blocks, [(Hash([9; 32]), 10)]);
    assert_eq!(second.prevotes.voters.count(), 4);
}

#[test]
fn a_validator_counts_once_and_a_stranger_never() {
    let mut book = book();
    book.round_started(Height(1), Round(0), key(1), at(0));
    book.vote(&vote(VoteKind::Precommit, 1, 0, Some(5), 4), at(1));
    book.vote(&vote(VoteKind::Precommit, 1, 0, Some(6), 4), at(2));
    book.vote(&vote(VoteKind::Precommit, 1, 0, Some(5), 77), at(3));
    let tally = book.get(Height(1)).unwrap().rounds[0].precommits.clone();
    assert_eq!(
        (tally.blocks.as_slice(), tally.power()),
        (&[(Hash([5; 32]), 4)][..], 4)
    );
}

#[test]
fn votes_for_many_blocks_stay_few_entries_and_no_power_is_lost() {
    let mut tally = Tally::EMPTY;
    for block in 0..100u8 {
        count(&mut tally, Some(Hash([block; 32])), 1);
    }
    assert_eq!(
        (tally.blocks.len(), tally.other, tally.power()),
        (CHOICES_MAX, 96, 100)
    );
}

#[test]
fn what_is_remembered_is_bounded_in_heights_and_in_rounds() {
    let mut book = book();
    for height in 1..=1000 {
        book.round_started(Height(height), Round(0), key(1), at(height));
        book.decided(Height(height), Hash::ZERO, Round(0), at(height));
    }
    assert!(book.get(Height(1000 - HEIGHTS_MAX as u64)).is_none());
    assert_eq!(
        book.get(Height(1001 - HEIGHTS_MAX as u64)).unwrap().rounds.len(),
        1
    );
    assert!(book.get(Height(1001)).is_none());
    for round in 0..500 {
        book.round_started(Height(1001), Round(round), key(1), at(2000));
    }
    // Far ahead of the rounds that began here: takes no more space than those.
    book.vote(&vote(VoteKind::Prevote, 1001, 4_000_000, None, 1), at(2001));
    let seen = book.get(Height(1001)).unwrap();
    // 500 rounds began, and one was learned from a vote; 64 are kept.
    assert_eq!((seen.rounds.len(), seen.forgotten), (ROUNDS_MAX, 437));
    assert_eq!(seen.rounds.last().unwrap().round, Round(4_000_000));
}

#[test]
fn what_is_about_another_height_changes_nothing_and_gaps_are_found_through() {
    let mut book = book();
    book.vote(&vote(VoteKind::Prevote, 5, 0, None, 1), at(0));
    assert!(book.get(Height(5)).is_none());
    book.round_started(Height(5), Round(0), key(1), at(0));
    book.vote(&vote(VoteKind::Prevote, 6, 0, None, 1), at(0));
    book.vote(&vote(VoteKind::Prevote, 4, 0, None, 1), at(0));
    book.round_started(Height(50), Round(0), key(1), at(0));
    book.round_started(Height(49), Round(3), key(1), at(0));
    assert_eq!(book.get(Height(5)).unwrap().rounds[0].prevotes.power(), 0);
    assert!(book.get(Height(49)).is_none());
    assert_eq!(book.get(Height(50)).unwrap().rounds.len(), 1);
}

#[test]
fn a_block_that_was_fetched_closes_the_rounds_that_ran_here() {
    let mut book = book();
    book.round_started(Height(3), Round(0), key(1), at(0));
    book.decided(Height(3), Hash([1; 32]), Round(4), at(9));
    let seen = book.get(Height(3)).unwrap();
    assert_eq!(seen.decided, Some(Hash([1; 32])));
    assert_eq!(seen.rounds[0].outcome, RoundOutcome::Passed);
}
