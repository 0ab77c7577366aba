#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use vibecoin_primitives::{Header, PartStatement, Tick, TimeMs, Transaction};
use vibecoin_tests_support::{self as support, GENESIS, key, opening, sign_part};

use super::*;

const HEIGHT: Height = Height(10);
const A: PeerId = PeerId(1);
const STRANGER: PeerId = PeerId(9);

fn peer(n: u8) -> PeerId {
    PeerId(u64::from(n))
}

/// Validators 1 to 4 are the peers of the same numbers, number 9 is not a validator. At height 10 the rounds
/// 0 to 3 are theirs in order.
fn intake(params: &ChainParams) -> Intake {
    let mut intake = Intake::new(params);
    for n in 1..=4 {
        intake.connected(peer(n), Some(key(n).public_key()));
    }
    intake.connected(STRANGER, None);
    intake.stand(Stand {
        height: HEIGHT,
        round: Round(0),
        first: Round(0),
        turns: (1..=4).map(|n| key(n).public_key()).collect(),
        next_turns: Vec::new(),
    });
    intake
}

fn params() -> ChainParams {
    ChainParams {
        block_bytes_max: 64 * 1024,
        ..ChainParams::devnet()
    }
}

fn transactions(count: usize) -> Vec<Transaction> {
    let body = support::body(&GENESIS, &key(50), 1, vec![support::transfer(51, 1)]);
    vec![body.sign(&GENESIS, &key(50)); count]
}

fn part(n: u8, height: Height, round: u32, sequence: u32, count: usize) -> Message {
    let content = if sequence == 0 {
        opening()
    } else {
        PartContent::Tick(Tick {
            hash: Hash([3; 32]),
            transactions: transactions(count),
        })
    };
    let statement = PartStatement {
        height,
        round: Round(round),
        proposer: key(n).public_key(),
        parent: Hash::ZERO,
        sequence,
        digest: Hash::ZERO,
    };
    Message::Part(Box::new(sign_part(&GENESIS, &key(n), statement, content)))
}

fn at(second: u64) -> MonoTime {
    MonoTime(second * 1_000_000)
}

/// The rule by which a message is refused, at no cost.
fn refused(ruling: Ruling) -> Option<Refused> {
    match ruling {
        Ruling::Refuse(refusal) => {
            assert_eq!(refusal.checks, 0, "no signature was looked at");
            Some(refusal.kind)
        }
        _ => None,
    }
}

fn check(from: PeerId, message: &Message, expected: Ruling) {
    assert_eq!(intake(&params()).rule(from, message, at(1)), expected);
}

fn check_refused(from: PeerId, message: &Message, expected: Refused) {
    let ruling = intake(&params()).rule(from, message, at(1));
    assert_eq!(refused(ruling), Some(expected), "{ruling:?}");
}

fn ask(from: u64, count: u32) -> Message {
    Message::SyncRequest {
        from: Height(from),
        count,
    }
}

fn block(height: u64) -> crate::CertifiedBlock {
    crate::CertifiedBlock {
        header: header(height),
        body: Vec::new(),
        certificate: vibecoin_primitives::CommitCertificate {
            height: Height(height),
            round: Round(0),
            block: Hash::ZERO,
            signatures: Vec::new(),
        },
    }
}

fn header(height: u64) -> Header {
    Header {
        height: Height(height),
        proposer: PublicKey([1; 32]),
        time: TimeMs(1),
        ticks: 4,
        ..support::header()
    }
}

fn answer(from: u64, count: u64) -> Message {
    Message::SyncResponse {
        from: Height(from),
        blocks: (from..from + count).map(block).collect(),
    }
}

fn body(height: u64) -> Message {
    Message::Body {
        header: Box::new(header(height)),
        body: Vec::new(),
    }
}

fn body_request(height: u64) -> Message {
    Message::BodyRequest {
        height: Height(height),
        block: header(height).hash(),
    }
}

#[test]
fn a_part_is_taken_from_its_proposer_in_its_turn() {
    check(peer(1), &part(1, HEIGHT, 0, 0, 0), Ruling::Take);
    check(peer(2), &part(2, HEIGHT, 1, 1, 5), Ruling::Take);
}

#[test]
fn a_part_out_of_turn_or_in_the_name_of_another_is_refused() {
    check_refused(peer(2), &part(2, HEIGHT, 0, 1, 5), Refused::OutOfTurn);
    check_refused(peer(2), &part(1, HEIGHT, 0, 1, 5), Refused::OutOfTurn);
    check_refused(STRANGER, &part(1, HEIGHT, 0, 1, 5), Refused::OutOfTurn);
}

#[test]
fn a_part_of_another_time_is_nobodys_fault() {
    for (height, round) in [(9, 0), (12, 0), (1_000, 3), (10, 4), (11, 1), (11, 7)] {
        check(peer(2), &part(2, Height(height), round, 1, 5), Ruling::Drop);
    }
    check(PeerId(77), &part(2, HEIGHT, 1, 1, 5), Ruling::Drop);
}

#[test]
fn any_validator_may_begin_the_next_height_until_its_turns_are_known() {
    let next = Height(11);
    check(peer(3), &part(3, next, 0, 1, 5), Ruling::Take);
    let mut intake = intake(&params());
    let stand = Stand {
        next_turns: vec![key(3).public_key(), key(4).public_key()],
        ..intake.stand.clone()
    };
    intake.stand(stand);
    assert_eq!(intake.rule(peer(3), &part(3, next, 0, 1, 5), at(1)), Ruling::Take);
    assert_eq!(intake.rule(peer(4), &part(4, next, 1, 1, 5), at(1)), Ruling::Take);
    let ruling = intake.rule(peer(4), &part(4, next, 0, 1, 5), at(1));
    assert_eq!(refused(ruling), Some(Refused::OutOfTurn));
}

#[test]
fn a_proposer_sends_one_block_and_no_more() {
    let mut intake = intake(&params());
    let each = part_bytes_of(&part(1, HEIGHT, 0, 1, 100));
    let fit = 64 * 1024 / each;
    for sequence in 1..=fit as u32 {
        let ruling = intake.rule(peer(1), &part(1, HEIGHT, 0, sequence, 100), at(1));
        assert_eq!(ruling, Ruling::Take, "part {sequence}");
    }
    let over = (fit as u32 + 1..fit as u32 + 4)
        .map(|sequence| refused(intake.rule(peer(1), &part(1, HEIGHT, 0, sequence, 100), at(1))));
    assert!(over.into_iter().any(|kind| kind == Some(Refused::Oversized)));
    check_refused(peer(1), &part(1, HEIGHT, 0, 1, 500), Refused::Oversized);
    check_refused(
        peer(1),
        &part(1, HEIGHT, 0, TICKS_MAX as u32 + 1, 0),
        Refused::Oversized,
    );
}

#[test]
fn a_proposer_sends_the_transactions_of_one_block_and_no_more() {
    let room = ChainParams {
        block_transactions_max: 10,
        ..params()
    };
    let demand = ChainParams {
        block_operations_max: 10,
        ..params()
    };
    for params in [room, demand] {
        let mut intake = intake(&params);
        let mut rule = |sequence, count| intake.rule(peer(1), &part(1, HEIGHT, 0, sequence, count), at(1));
        assert_eq!(rule(1, 6), Ruling::Take);
        assert_eq!(refused(rule(2, 5)), Some(Refused::Oversized));
        // A refused message does not count.
        assert_eq!(rule(3, 4), Ruling::Take);
        assert_eq!(refused(rule(4, 1)), Some(Refused::Oversized));
    }
}

fn part_bytes_of(message: &Message) -> usize {
    match message {
        Message::Part(part) => part_bytes(part),
        _ => 0,
    }
}

#[test]
fn a_part_that_comes_again_is_dropped_and_another_in_its_place_is_evidence_a_few_times() {
    let mut intake = intake(&params());
    let mut rule = |count| intake.rule(peer(1), &part(1, HEIGHT, 0, 1, count), at(1));
    assert_eq!(rule(1), Ruling::Take);
    assert_eq!(rule(1), Ruling::Drop);
    for count in 2..2 + CONFLICTS_MAX as usize {
        assert_eq!(rule(count), Ruling::Evidence);
    }
    assert_eq!(refused(rule(50)), Some(Refused::Repeated));
}

#[test]
fn parts_of_more_blocks_than_time_allows_are_a_flood_that_is_blamed_now_and_then() {
    let mut intake = intake(&params());
    let mut kinds = Vec::new();
    for height in 0..200 {
        let message = part(2, Height(100 + height), 0, 1, 200);
        kinds.push(refused(intake.rule(peer(2), &message, at(1))));
    }
    let blamed = kinds.iter().flatten().count();
    assert_eq!(kinds.first(), Some(&None), "far-off parts are nobody's fault");
    assert_eq!(blamed, 1, "once in a quarter of a second");
    let message = part(2, Height(500), 0, 1, 200);
    assert_eq!(
        intake.rule(peer(2), &message, at(60)),
        Ruling::Drop,
        "time makes room"
    );
    assert_eq!(
        intake.rule(peer(1), &part(1, HEIGHT, 0, 1, 5), at(1)),
        Ruling::Take,
        "others have their own share"
    );
}

#[test]
fn an_answer_is_taken_once_from_the_peer_that_was_asked() {
    let mut intake = intake(&params());
    assert_eq!(
        refused(intake.rule(A, &answer(7, 4), at(1))),
        Some(Refused::Unasked)
    );
    intake.asked(A, &ask(7, 4), at(1));
    assert_eq!(
        refused(intake.rule(peer(2), &answer(7, 4), at(1))),
        Some(Refused::Unasked)
    );
    assert_eq!(
        refused(intake.rule(A, &answer(8, 3), at(1))),
        Some(Refused::Unasked)
    );
    assert_eq!(intake.rule(A, &answer(7, 4), at(2)), Ruling::Take);
    for _ in 0..3 {
        assert_eq!(
            refused(intake.rule(A, &answer(7, 4), at(2))),
            Some(Refused::Repeated)
        );
    }
    intake.asked(A, &body_request(10), at(2));
    assert_eq!(refused(intake.rule(A, &body(11), at(2))), Some(Refused::Unasked));
    assert_eq!(intake.rule(A, &body(10), at(2)), Ruling::Take);
    assert_eq!(refused(intake.rule(A, &body(10), at(2))), Some(Refused::Repeated));
}

#[test]
fn an_answer_with_more_blocks_than_asked_for_is_refused() {
    let mut intake = intake(&params());
    intake.asked(A, &ask(7, 4), at(1));
    assert_eq!(
        refused(intake.rule(A, &answer(7, 5), at(1))),
        Some(Refused::Oversized)
    );
    assert_eq!(
        refused(intake.rule(A, &answer(7, 4), at(1))),
        Some(Refused::Repeated)
    );
}

#[test]
fn late_answers_are_taken_for_a_while_and_each_question_once() {
    let mut intake = intake(&params());
    // Abandoned after a while, and requested again with a smaller count.
    intake.asked(A, &ask(7, 16), at(1));
    intake.asked(A, &ask(7, 2), at(3));
    assert_eq!(intake.rule(A, &answer(7, 16), at(20)), Ruling::Take);
    assert_eq!(intake.rule(A, &answer(7, 2), at(20)), Ruling::Take);
    assert_eq!(
        refused(intake.rule(A, &answer(7, 2), at(20))),
        Some(Refused::Repeated)
    );
    intake.asked(A, &ask(9, 2), at(21));
    assert_eq!(
        intake.rule(A, &answer(9, 2), at(99)),
        Ruling::Drop,
        "no use, no fault"
    );
}

#[test]
fn an_answer_may_come_after_a_connection_was_renewed() {
    let mut intake = intake(&params());
    intake.asked(A, &ask(7, 4), at(1));
    intake.disconnected(A);
    assert_eq!(intake.rule(A, &answer(7, 4), at(1)), Ruling::Drop);
    intake.connected(A, None);
    assert_eq!(intake.rule(A, &answer(7, 4), at(2)), Ruling::Take);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut intake = intake(&params());
    for from in 0..1_000 {
        intake.asked(A, &ask(from, 1), at(1));
        intake.asked(A, &body_request(from), at(1));
    }
    let known = &intake.peers[&A];
    assert_eq!((known.blocks.len(), known.bodies.len()), (OPEN_MAX, OPEN_MAX));
    for from in 0..1_000 {
        intake.asked(A, &ask(from, 1), at(1));
        intake.rule(A, &answer(from, 1), at(1));
    }
    assert_eq!(intake.peers[&A].answered.len(), ANSWERED_MAX);
    for number in 100..1_000 {
        intake.connected(PeerId(number), None);
        intake.disconnected(PeerId(number));
    }
    assert_eq!(
        (intake.disconnected.len(), intake.peers.len()),
        (DISCONNECTED_MAX, DISCONNECTED_MAX + 5)
    );
    for round in 0..1_000 {
        let (first, length) = Stand::window(Round(round));
        let turns = vec![key(1).public_key(); length as usize];
        intake.stand(Stand {
            height: HEIGHT,
            round: Round(round),
            first,
            turns,
            next_turns: Vec::new(),
        });
        intake.rule(
            peer(1),
            &part(1, HEIGHT, round, 1, 0),
            at(1_000 + u64::from(round)),
        );
    }
    assert!(intake.streams.len() <= 4, "{} streams", intake.streams.len());
}

#[test]
fn small_messages_without_end_are_a_flood() {
    let mut intake = intake(&params());
    let status = Message::Status { height: Height(3) };
    let mut count = |second| {
        let rulings = (0..SMALL_BURST).map(|_| intake.rule(STRANGER, &status, at(second)));
        rulings.filter(|ruling| *ruling == Ruling::Take).count() as u64
    };
    assert_eq!(count(1), SMALL_BURST);
    assert_eq!(count(1), 0);
    assert_eq!(count(2), SMALL_PER_S);
    assert_eq!(refused(intake.rule(STRANGER, &status, at(3))), None);
}

#[test]
fn requests_for_blocks_without_end_are_a_flood() {
    let mut intake = intake(&params());
    let request = Message::SyncRequest {
        from: Height(1),
        count: 1,
    };
    let mut count = |second| {
        let rulings = (0..REQUESTS_BURST).map(|_| intake.rule(STRANGER, &request, at(second)));
        rulings.filter(|ruling| *ruling == Ruling::Take).count() as u64
    };
    assert_eq!(count(1), REQUESTS_BURST);
    assert_eq!(count(1), 0);
    assert_eq!(count(2), REQUESTS_PER_S);
    // They have a share of their own.
    let status = Message::Status { height: Height(3) };
    assert_eq!(intake.rule(STRANGER, &status, at(2)), Ruling::Take);
}
