//! Silent peers, and answers that come late.

use super::*;

#[test]
fn a_silent_peer_loses_its_range_to_another_and_rests() {
    let mut planner = planner(&[(A, 16), (B, 16)]);
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 16)]);
    assert_eq!(planner.next_deadline(), Some(at(2_000)));
    assert_eq!(planner.plan(Height(1), at(1_999)), []);
    assert_eq!(planner.plan(Height(1), at(2_000)), [ask(B, 1, 16)]);
    assert_eq!(planner.status().resting, 1);
}

#[test]
fn the_rest_of_a_silent_peer_grows_and_its_patience_too() {
    let mut planner = planner(&[(A, 16)]);
    let mut now = 0;
    for (patience, rest) in [
        (2_000, 250),
        (4_000, 500),
        (8_000, 1_000),
        (8_000, 2_000),
        (8_000, 4_000),
        (8_000, 8_000),
        (8_000, 16_000),
        (8_000, 30_000),
        (8_000, 30_000),
    ] {
        assert_eq!(planner.plan(Height(1), at(now)), [ask(A, 1, 16)]);
        now += patience;
        assert_eq!(planner.next_deadline(), Some(at(now)));
        assert_eq!(planner.plan(Height(1), at(now)), []);
        now += rest;
        assert_eq!(planner.next_deadline(), Some(at(now)));
        assert_eq!(planner.plan(Height(1), at(now - 1)), []);
    }
}

#[test]
fn a_late_answer_is_taken_once_and_does_no_harm() {
    let mut planner = planner(&[(A, 16), (B, 16)]);
    planner.plan(Height(1), at(0));
    assert_eq!(planner.plan(Height(1), at(2_000)), [ask(B, 1, 16)]);
    planner.answer(A, Height(1), blocks(1, 16), at(2_100)).unwrap();
    planner.answer(B, Height(1), blocks(1, 16), at(2_200)).unwrap();
    assert_eq!(planner.status().buffered, 16);
    assert_eq!(planner.pop(Height(1)).unwrap().0, A);
    let again = planner.answer(A, Height(1), blocks(1, 16), at(2_300));
    assert_eq!(again, Err(AnswerFault::Unsolicited { from: Height(1) }));
}

#[test]
fn a_late_answer_to_a_larger_request_than_the_open_one_is_no_fault() {
    let mut planner = planner(&[(A, 16)]);
    planner.plan(Height(1), at(0));
    planner.plan(Height(1), at(2_000));
    planner.peers.get_mut(&A).unwrap().batch = 4;
    assert_eq!(planner.plan(Height(1), at(2_250))[0], ask(A, 1, 4));
    planner.answer(A, Height(1), blocks(1, 16), at(2_300)).unwrap();
    planner.answer(A, Height(1), blocks(1, 4), at(2_400)).unwrap();
    assert_eq!(planner.status().buffered, 16);
}

#[test]
fn a_late_answer_to_a_smaller_request_than_the_open_one_leaves_room_for_the_larger() {
    let mut planner = planner(&[(A, 4)]);
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 4)]);
    planner.plan(Height(1), at(2_000));
    planner.head(A, Height(16));
    planner.peers.get_mut(&A).unwrap().batch = 16;
    assert_eq!(planner.plan(Height(1), at(2_250)), [ask(A, 1, 16)]);
    planner.answer(A, Height(1), blocks(1, 4), at(2_300)).unwrap();
    planner.answer(A, Height(1), blocks(1, 16), at(2_400)).unwrap();
    assert_eq!(planner.status().buffered, 16);
}

#[test]
fn a_peer_whose_rest_is_over_is_not_asked_again_for_what_it_failed_at_while_another_has_it() {
    let mut planner = planner(&[(A, 64), (B, 64)]);
    let asks = planner.plan(Height(1), at(0));
    assert_eq!(asks.len(), 4);
    planner.answer(A, Height(33), vec![], at(10)).unwrap();
    planner.answer(A, Height(1), vec![], at(10)).unwrap();
    assert_eq!(
        planner.plan(Height(1), at(1_000)),
        [ask(A, 33, 16)],
        "B is busy, but has 1"
    );
    planner.disconnected(B);
    assert_eq!(
        planner.plan(Height(1), at(1_000)),
        [ask(A, 1, 16)],
        "nobody else has it"
    );
}
