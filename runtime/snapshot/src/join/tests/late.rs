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
