//! Heads that peers claim.

use super::*;

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
