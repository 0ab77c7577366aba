#![allow(clippy::arithmetic_side_effects)]

use super::*;

const MS: u64 = 1_000;
const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
const C: PeerId = PeerId(3);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    height: Height,
    bytes: usize,
}

impl SyncBlock for Block {
    fn height(&self) -> Height {
        self.height
    }

    fn byte_len(&self) -> usize {
        self.bytes
    }
}

fn at(ms: u64) -> MonoTime {
    MonoTime(ms * MS)
}

fn blocks(from: u64, count: u64) -> Vec<Block> {
    sized(from, count, 1_000)
}

fn sized(from: u64, count: u64, bytes: usize) -> Vec<Block> {
    (from..from + count)
        .map(|height| Block {
            height: Height(height),
            bytes,
        })
        .collect()
}

fn ask(peer: PeerId, from: u64, count: u32) -> Ask {
    Ask {
        peer,
        from: Height(from),
        count,
    }
}

/// A planner with these peers and their heads.
fn planner(peers: &[(PeerId, u64)]) -> Planner<Block> {
    let patient = PlannerConfig {
        timeout_first: 2_000_000,
        timeout_min: 1_000_000,
        ..PlannerConfig::default()
    };
    with(patient, peers)
}

fn with(config: PlannerConfig, peers: &[(PeerId, u64)]) -> Planner<Block> {
    let mut planner = Planner::new(config);
    for (peer, head) in peers {
        planner.connected(*peer, Height(*head));
    }
    planner
}

/// A planner to which a connected peer announces its newest block.
fn planner_that_hears(peer: PeerId, head: u64) -> Planner<Block> {
    let mut planner = planner(&[(peer, head - 1)]);
    assert_eq!(planner.plan(Height(head), at(0)), []);
    planner.head(peer, Height(head));
    planner
}

#[test]
fn the_block_that_others_had_before_the_connection_is_asked_for_at_once() {
    let mut planner = planner(&[(A, 10)]);
    assert_eq!(planner.plan(Height(10), at(0)), [ask(A, 10, 1)]);
    let mut planner = planner_that_hears(A, 10);
    planner.connected(B, Height(10));
    assert_eq!(planner.plan(Height(10), at(1)), [ask(A, 10, 1)]);
    planner.answer(A, Height(10), blocks(10, 1), at(2)).unwrap();
    planner.pop(Height(10)).unwrap();
    planner.head(A, Height(11));
    assert_eq!(
        planner.plan(Height(11), at(3)),
        [],
        "the next one is about to be delivered"
    );
}

#[test]
fn the_lowest_ranges_go_to_several_peers_within_their_limits() {
    let mut planner = planner(&[(A, 1000), (B, 1000), (C, 40)]);
    let asks = planner.plan(Height(1), at(0));
    let expected = [
        ask(A, 1, 16),
        ask(B, 17, 16),
        ask(C, 33, 8),
        ask(A, 41, 16),
        ask(B, 57, 16),
    ];
    assert_eq!(asks, expected);
    assert_eq!(planner.plan(Height(1), at(1)), [], "everybody is busy");
    assert_eq!(planner.status().in_flight, 5);
}

#[test]
fn what_a_peer_showed_to_have_raises_its_claim_and_never_lowers_it() {
    let mut planner = planner_that_hears(A, 10);
    assert_eq!(planner.plan(Height(10), at(0)), [], "about to be delivered");
    planner.has(A, Height(3));
    assert_eq!(planner.plan(Height(10), at(1)), []);
    planner.has(A, Height(11));
    assert_eq!(planner.plan(Height(10), at(2)), [ask(A, 10, 2)]);
    planner.has(B, Height(99));
    assert_eq!(planner.status().peers, 1, "a stranger shows nothing");
}

#[test]
fn no_more_requests_are_on_their_way_than_allowed() {
    let peers: Vec<_> = (0..20).map(|n| (PeerId(n), 10_000)).collect();
    let mut planner = planner(&peers);
    assert_eq!(planner.plan(Height(1), at(0)).len(), 8);
}

#[test]
fn blocks_come_out_in_order_and_once() {
    let mut planner = planner(&[(A, 20), (B, 20)]);
    planner.plan(Height(1), at(0));
    planner.answer(B, Height(17), blocks(17, 4), at(10)).unwrap();
    assert_eq!(planner.pop(Height(1)), None);
    planner.answer(A, Height(1), blocks(1, 16), at(20)).unwrap();
    for height in 1..=20 {
        let (peer, block) = planner.pop(Height(height)).unwrap();
        assert_eq!(peer, if height <= 16 { A } else { B });
        assert_eq!(block.height, Height(height));
        assert_eq!(planner.pop(Height(height)), None);
        assert_eq!(planner.plan(Height(height), at(30)), [], "it is being committed");
        planner.advanced(Height(height + 1));
    }
    assert_eq!(planner.status().buffered_bytes, 0);
    assert_eq!(planner.plan(Height(21), at(40)), []);
    assert_eq!(planner.next_deadline(), None);
}

#[test]
fn the_block_that_consensus_is_about_to_deliver_is_asked_for_only_after_the_grace_time() {
    let mut planner = planner_that_hears(A, 10);
    assert_eq!(planner.plan(Height(11), at(0)), []);
    assert_eq!(planner.next_deadline(), None);
    assert_eq!(planner.plan(Height(10), at(1_000_000)), []);
    assert_eq!(planner.next_deadline(), None, "time does not go back");
    let mut planner = super::tests::planner_that_hears(A, 10);
    assert_eq!(planner.plan(Height(10), at(0)), []);
    assert_eq!(planner.next_deadline(), Some(at(300)));
    assert_eq!(planner.plan(Height(10), at(299)), []);
    assert_eq!(planner.plan(Height(10), at(300)), [ask(A, 10, 1)]);
}

#[test]
fn the_grace_time_begins_anew_with_each_height() {
    let mut planner = planner_that_hears(A, 10);
    assert_eq!(planner.plan(Height(10), at(0)), []);
    planner.head(A, Height(11));
    assert_eq!(planner.plan(Height(11), at(290)), [], "consensus delivered 10");
    assert_eq!(planner.plan(Height(11), at(400)), []);
    assert_eq!(planner.next_deadline(), Some(at(590)));
    planner.head(A, Height(12));
    assert_eq!(planner.plan(Height(11), at(410)), [ask(A, 11, 2)], "two behind");
}

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

#[test]
fn a_false_head_costs_a_few_requests_and_the_others_finish() {
    let mut planner = planner(&[(A, u64::MAX), (B, 16), (C, 16)]);
    assert_eq!(
        planner.status().target,
        Height(16),
        "one liar does not set the target"
    );
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 16), ask(A, 17, 16)]);
    planner.answer(A, Height(1), vec![], at(1)).unwrap();
    planner.answer(A, Height(17), vec![], at(1)).unwrap();
    assert_eq!(planner.plan(Height(1), at(1)), [ask(B, 1, 16)]);
    planner.answer(B, Height(1), blocks(1, 16), at(2)).unwrap();
    planner.advanced(Height(17));
    let mut asked = 0;
    let mut now = at(2);
    while now < at(600_000) {
        for ask in planner.plan(Height(17), now) {
            assert_eq!(ask.peer, A);
            asked += 1;
            planner.answer(A, ask.from, vec![], now).unwrap();
        }
        now = planner.next_deadline().unwrap();
    }
    assert!(asked < 80, "{asked} requests in ten minutes");
}

/// Two peers claim blocks that do not exist and answer nothing, during and after their pauses, and after they
/// reconnect.
#[test]
fn claims_that_are_never_kept_cease_to_count() {
    const D: PeerId = PeerId(4);
    let claim = Height(1 << 40);
    let mut planner = planner(&[(A, claim.0), (B, claim.0), (C, 16), (D, 16)]);
    assert_eq!(planner.status().target, claim, "nothing speaks against it yet");
    let asks = planner.plan(Height(17), at(0));
    assert!(asks.iter().any(|ask| ask.peer == A) && asks.iter().any(|ask| ask.peer == B));
    let mut now = planner.next_deadline().unwrap();
    while now < at(120_000) {
        planner.plan(Height(17), now);
        assert_eq!(planner.status().target, Height(16), "at {now:?}");
        now = planner.next_deadline().unwrap();
    }
    for peer in [A, B] {
        planner.disconnected(peer);
        planner.connected(peer, claim);
    }
    assert_eq!(planner.status().target, Height(16));
    for peer in [A, B] {
        planner.head(peer, Height(claim.0 + 1));
    }
    assert_eq!(planner.status().target, Height(16));
}

#[test]
fn a_claim_counts_again_once_its_peer_gives_blocks() {
    let mut planner = planner(&[(A, 1000)]);
    planner.plan(Height(1), at(0));
    planner.plan(Height(1), at(2_000));
    assert_eq!(planner.status().target, Height::ZERO);
    planner.answer(A, Height(1), blocks(1, 16), at(2_500)).unwrap();
    assert_eq!(planner.status().target, Height(1000));
}

/// A node that is behind does not report itself synced after one slow response of the only peer that serves it.
#[test]
fn the_claim_of_a_peer_that_gave_blocks_outlives_some_failures_in_a_row() {
    let mut planner = planner(&[(A, 1000)]);
    assert_eq!(planner.plan(Height(1), at(0)).len(), 2);
    planner.answer(A, Height(1), blocks(1, 16), at(1)).unwrap();
    for (misses, counts) in [(0, true), (1, true), (2, true), (3, false)] {
        let peer = planner.peers.get_mut(&A).unwrap();
        assert_eq!(peer.misses, misses);
        let target = planner.status().target;
        assert_eq!(target == Height(1000), counts, "{misses}");
        let (now, config) = (planner.now, planner.config.clone());
        planner
            .peers
            .get_mut(&A)
            .unwrap()
            .record_stall(run(Height(17), 16), now, &config);
    }
}

#[test]
fn a_peer_that_gave_a_bad_block_is_not_believed_whatever_it_gives_later() {
    let mut planner = planner(&[(A, 1000)]);
    planner.plan(Height(1), at(0));
    planner.answer(A, Height(1), blocks(1, 16), at(1)).unwrap();
    planner.refused(A, Height(1));
    assert_eq!(planner.status().target, Height::ZERO);
    assert_eq!(planner.plan(Height(1), at(10_000)).len(), 2);
    planner.answer(A, Height(1), blocks(1, 16), at(10_001)).unwrap();
    assert_eq!(planner.status().target, Height::ZERO);
}

#[test]
fn heights_at_the_end_of_the_range_do_not_overflow() {
    let mut planner = planner(&[(A, u64::MAX)]);
    planner.hint(Height(u64::MAX));
    for ask in planner.plan(Height(u64::MAX - 3), at(0)) {
        assert!(ask.from.0 >= u64::MAX - 3);
    }
    planner.plan(Height(u64::MAX), at(5_000));
    assert_eq!(planner.status().peers, 1);
}

#[test]
fn a_lowered_head_is_believed() {
    let mut planner = planner(&[(A, 1000)]);
    planner.head(A, Height(5));
    assert_eq!(planner.plan(Height(1), at(0)), [ask(A, 1, 5)]);
}

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
