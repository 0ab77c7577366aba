//! Requests: the ranges requested, the peers asked, and the times.

use super::*;

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
    let mut planner = planner_that_hears(A, 10);
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
