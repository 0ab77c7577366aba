//! Sizes, memory, the window, hints and strangers.

use super::*;

#[test]
fn short_answers_make_short_requests_and_full_ones_longer_again() {
    let mut planner = planner(&[(A, 10_000)]);
    planner.plan(Height(1), at(0));
    planner.answer(A, Height(1), blocks(1, 3), at(1)).unwrap();
    assert_eq!(planner.plan(Height(1), at(1)), [ask(A, 4, 3)]);
    planner.answer(A, Height(4), blocks(4, 3), at(2)).unwrap();
    assert_eq!(planner.plan(Height(1), at(2)), [ask(A, 7, 6)]);
}

#[test]
fn memory_is_bounded_and_the_lowest_blocks_have_the_right_of_way() {
    let config = PlannerConfig {
        buffered_bytes_max: 1_000_000,
        ..PlannerConfig::default()
    };
    let mut planner = with(config, &[(A, 1000), (B, 1000)]);
    // 64 KiB a block are assumed at first: 15 fit.
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 15)]);
    planner
        .answer(A, Height(1), sized(1, 15, 100_000), at(1))
        .unwrap();
    assert_eq!(planner.status().buffered_bytes, 1_000_000, "five were too much");
    assert_eq!(planner.plan(Height(1), at(2)), []);
    for height in 1..=4 {
        planner.pop(Height(height)).unwrap();
    }
    planner.advanced(Height(5));
    assert_eq!(planner.plan(Height(5), at(3)), [ask(B, 11, 4)]);
}

#[test]
fn a_missing_lowest_block_pushes_out_higher_ones() {
    let config = PlannerConfig {
        buffered_bytes_max: 1_000_000,
        requests_per_peer_max: 1,
        ..PlannerConfig::default()
    };
    let mut planner = with(config, &[(A, 1000), (B, 1000)]);
    planner.block_bytes = 20_000;
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 16), ask(B, 17, 16)]);
    planner
        .answer(B, Height(17), sized(17, 16, 62_500), at(1))
        .unwrap();
    assert_eq!(planner.status().buffered_bytes, 1_000_000);
    assert_eq!(planner.plan(Height(1), at(2_000)), [ask(B, 1, 1)]);
    assert_eq!(planner.status().buffered, 15);
}

#[test]
fn blocks_beyond_the_window_wait() {
    let config = PlannerConfig {
        window_blocks: 20,
        ..PlannerConfig::default()
    };
    let mut planner = with(config, &[(A, 1000), (B, 1000)]);
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 16), ask(B, 17, 4)]);
}

#[test]
fn votes_show_that_a_block_exists_when_no_peer_has_told_its_head() {
    let mut planner = planner(&[(A, 0), (B, 0)]);
    planner.hint(Height(10));
    assert_eq!(planner.plan(Height(10), at(0)), [], "10 is being voted on");
    planner.hint(Height(12));
    assert_eq!(
        planner.plan(Height(10), at(0)),
        [],
        "consensus may deliver it yet"
    );
    assert_eq!(planner.plan(Height(10), at(300)), [ask(A, 10, 2)]);
    planner.answer(A, Height(10), vec![], at(310)).unwrap();
    assert_eq!(planner.status().resting, 0, "it never said that it has it");
    assert_eq!(planner.plan(Height(10), at(310)), [ask(B, 10, 2)]);
    planner.answer(B, Height(10), blocks(10, 2), at(320)).unwrap();
    assert_eq!(planner.status().buffered, 2);
}

#[test]
fn a_false_hint_costs_one_request_per_peer_and_second() {
    let mut planner = planner(&[(A, 9), (B, 9)]);
    planner.hint(Height(1 << 63));
    let mut asked = 0;
    let mut now = at(0);
    while now < at(60_000) {
        for ask in planner.plan(Height(10), now) {
            asked += 1;
            planner.answer(ask.peer, ask.from, vec![], now).unwrap();
        }
        now = planner.next_deadline().unwrap();
    }
    assert!(asked <= 122, "{asked} requests in a minute");
}

#[test]
fn a_block_that_was_handed_out_without_effect_is_asked_for_again() {
    let mut planner = planner(&[(A, 16)]);
    planner.plan(Height(1), at(0));
    planner.answer(A, Height(1), blocks(1, 16), at(1)).unwrap();
    planner.pop(Height(1)).unwrap();
    assert_eq!(planner.plan(Height(1), at(9_999)), []);
    assert_eq!(planner.next_deadline(), Some(at(10_000)));
    assert_eq!(planner.plan(Height(1), at(10_000)), [ask(A, 1, 1)]);
}

/// Peers that connect, are asked, stay silent until the request is abandoned, disconnect, and return under
/// another identity.
#[test]
fn silent_strangers_that_come_and_go_cost_one_request_at_a_time() {
    let mut planner = planner(&[(A, 400)]);
    planner.is_validator(A);
    let (mut next, mut silent) = (1u64, 0u64);
    // 200 plans, in each of which the validator answers and six other peers connect and disconnect.
    for look in 0..200u64 {
        let now = at(10 + look * 100);
        for number in 0..6 {
            planner.connected(PeerId(100 + look * 6 + number), Height(400));
            if let Some(old) = (look * 6 + number).checked_sub(42) {
                planner.disconnected(PeerId(100 + old));
            }
        }
        for ask in planner.plan(Height(next), now) {
            if ask.peer == A {
                let given = blocks(ask.from.0, u64::from(ask.count));
                planner.answer(A, ask.from, given, now).unwrap();
            } else {
                silent += 1;
            }
        }
        while planner.pop(Height(next)).is_some() {
            next += 1;
        }
    }
    assert!(next > 390, "{next} of 400 blocks, {silent} requests to strangers");
    assert!(silent < 40, "{silent} requests to strangers");
}
