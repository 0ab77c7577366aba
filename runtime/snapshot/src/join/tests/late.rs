//! Verdicts and ends of streams that come after the source has left or was left.

use super::*;

fn planner(chunks: u32) -> JoinPlanner {
    let missing = (0..chunks).map(|chunk| (chunk, CHUNK));
    let mut planner = JoinPlanner::new(JoinConfig::default(), missing, 0, Micros(0));
    planner.connected(A);
    planner
}

#[test]
fn a_liar_that_disconnects_before_the_verdict_stays_excluded() {
    let mut planner = planner(2);
    assert_eq!(planner.plan(Micros(0)).len(), 2);
    assert!(planner.delivered(A, 0, Micros(1)));
    planner.disconnected(A);
    assert_eq!(planner.refused(0, Micros(2)), Some(A));
    planner.connected(A);
    assert_eq!(planner.plan(Micros(3)), []);
    assert_eq!(planner.status(Micros(3)).sources_left, 1);
}

#[test]
fn a_chunk_that_is_verified_late_does_not_end_a_pause() {
    let mut planner = planner(3);
    assert_eq!(planner.plan(Micros(0)).len(), 3);
    assert!(planner.delivered(A, 0, Micros(1)));
    planner.failed(A, None, Micros(2));
    planner.verified(0, Micros(3));
    assert_eq!(planner.plan(Micros(4)), []);
    // After the pause, one chunk; when that is verified, all.
    assert_eq!(planner.plan(Micros(2 + S)), [Ask { source: A, chunk: 1 }]);
    assert!(planner.delivered(A, 1, Micros(3 + S)));
    planner.verified(1, Micros(4 + S));
    assert_eq!(planner.plan(Micros(5 + S)), [Ask { source: A, chunk: 2 }]);
}

#[test]
fn the_lack_of_a_chunk_that_is_asked_of_another_is_ignored() {
    let mut planner = planner(2);
    planner.connected(B);
    assert_eq!(
        planner.plan(Micros(0)),
        [Ask { source: A, chunk: 0 }, Ask { source: B, chunk: 1 }]
    );
    planner.failed(A, Some(1), Micros(1));
    planner.failed(A, Some(7), Micros(1));
    assert_eq!(planner.left(), []);
    planner.failed(A, Some(0), Micros(2));
    assert_eq!(planner.left().len(), 1);
}
