//! Answers of the wrong form, bad blocks, and peers that come back.

use super::*;

#[test]
fn answers_of_the_wrong_form_are_faults_and_nothing_of_them_is_kept() {
    let check = |from: u64, answer: Vec<Block>, expected: AnswerFault| {
        let mut planner = planner(&[(A, 16)]);
        planner.plan(Height(1), at(0));
        assert_eq!(planner.answer(A, Height(from), answer, at(1)), Err(expected));
        assert_eq!(planner.status().buffered, 0);
        let resting = usize::from(!matches!(expected, AnswerFault::Unsolicited { .. }));
        assert_eq!(
            planner.status().resting,
            resting,
            "an answer that nobody waits for may be an old one"
        );
    };
    check(2, blocks(2, 3), AnswerFault::Unsolicited { from: Height(2) });
    check(1, blocks(1, 17), AnswerFault::TooMany { asked: 16, got: 17 });
    let (expected, got) = (Height(1), Height(2));
    check(1, blocks(2, 3), AnswerFault::OutOfOrder { expected, got });
    let gap = [blocks(1, 2), blocks(4, 1)].concat();
    let (expected, got) = (Height(3), Height(4));
    check(1, gap, AnswerFault::OutOfOrder { expected, got });
    let twice = [blocks(1, 1), blocks(1, 1)].concat();
    let (expected, got) = (Height(2), Height(1));
    check(1, twice, AnswerFault::OutOfOrder { expected, got });
}

#[test]
fn a_bad_block_drops_everything_from_that_peer_and_another_is_asked() {
    let mut planner = planner(&[(A, 64), (B, 64)]);
    planner.plan(Height(1), at(0));
    planner.answer(A, Height(1), blocks(1, 16), at(1)).unwrap();
    planner.answer(B, Height(17), blocks(17, 16), at(1)).unwrap();
    assert_eq!(planner.pop(Height(1)).unwrap().0, A);
    assert_eq!(planner.pop(Height(2)).unwrap().0, A);
    planner.refused(A, Height(1));
    assert_eq!(planner.status().buffered, 16, "what B gave stays");
    assert_eq!(planner.plan(Height(1), at(2)), [ask(B, 1, 16)]);
    let late = planner.answer(A, Height(33), blocks(33, 16), at(3));
    assert_eq!(
        (late, planner.status().buffered),
        (Ok(()), 16),
        "not taken from a liar"
    );
    planner.answer(B, Height(1), blocks(1, 16), at(4)).unwrap();
    assert_eq!(planner.pop(Height(1)).unwrap().0, B);
}

#[test]
fn a_liar_does_not_become_honest_by_connecting_again() {
    let mut planner = planner(&[(A, 16)]);
    planner.plan(Height(1), at(0));
    planner.answer(A, Height(1), blocks(1, 16), at(1)).unwrap();
    planner.refused(A, Height(1));
    planner.disconnected(A);
    planner.connected(A, Height(16));
    assert_eq!(planner.plan(Height(1), at(2)), []);
    assert_eq!(planner.plan(Height(1), at(1_001)), [ask(A, 1, 16)]);
}

#[test]
fn peers_that_only_left_a_question_open_displace_no_liar() {
    let mut planner = planner(&[(A, 16)]);
    planner.plan(Height(1), at(0));
    planner.answer(A, Height(1), blocks(1, 16), at(1)).unwrap();
    planner.refused(A, Height(1));
    planner.disconnected(A);
    for number in 100..300 {
        planner.connected(PeerId(number), Height(16));
        assert_eq!(planner.plan(Height(1), at(2)).len(), 1);
        planner.disconnected(PeerId(number));
    }
    assert_eq!(planner.disconnected.len(), DISCONNECTED_MAX);
    planner.connected(A, Height(16));
    assert_eq!(planner.plan(Height(1), at(3)), []);
}

#[test]
fn a_peer_that_only_lost_its_connection_starts_anew() {
    let mut planner = planner(&[(A, 16)]);
    planner.plan(Height(1), at(0));
    planner.plan(Height(1), at(2_000));
    planner.disconnected(A);
    assert_eq!(planner.answer(A, Height(1), blocks(1, 16), at(2_001)), Ok(()));
    planner.connected(A, Height(16));
    assert_eq!(planner.plan(Height(1), at(2_010)), [ask(A, 1, 16)]);
}

#[test]
fn the_range_of_a_peer_that_left_goes_to_another_at_once() {
    let mut planner = planner(&[(A, 16), (B, 16)]);
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 16)]);
    planner.disconnected(A);
    assert_eq!(planner.plan(Height(1), at(1)), [ask(B, 1, 16)]);
}
