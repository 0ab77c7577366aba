//! Distance of the node from the head, rate of catching up, and estimated time of arrival. Plain values: the
//! driver updates them, RPC reads them.
//!
//! A jumping estimate is worse than none. So the rate is taken over a window of time, and the time left moves
//! towards each new estimate by a fraction of the difference only, while it counts down between samples.

use std::collections::VecDeque;

use vibecoin_primitives::Height;
use vibecoin_rpc_backend::SyncStatus;

/// The window over which rates are taken, in milliseconds.
pub const WINDOW_MS: u64 = 30_000;
/// Maximum number of samples in the window; closer ones are left out.
const SAMPLES_MAX: usize = 120;
/// Minimum time between two samples that are kept.
const SAMPLE_MS: u64 = WINDOW_MS / SAMPLES_MAX as u64;
/// Minimum filled part of the window for an estimate: the first blocks are not representative.
const LEAST_MS: u64 = 2_000;
/// Maximum distance in blocks from the best peer at which a node counts as being at the head: one block may
/// be in flight, and one in production.
pub const SLACK: u64 = 2;
/// Weight of a new estimate: one of this many.
const SMOOTHING: u64 = 8;

/// State of catching up.
#[derive(Clone, Debug, Default)]
pub struct SyncView {
    /// Time, own height and target at that time; oldest first.
    samples: VecDeque<Sample>,
    current: Height,
    target: Height,
    peers: u32,
    /// The smoothed milliseconds left, and the time of their computation.
    eta: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    current: u64,
    target: u64,
}

impl SyncView {
    /// Adds a sample: own height, the highest one known to exist, and the number of peers that can serve
    /// blocks. `now_ms` is from a monotonic clock. Cheap; call it as often as you like.
    pub fn note(&mut self, now_ms: u64, current: Height, target: Height, peers: u32) {
        self.current = current;
        self.target = target.max(current);
        self.peers = peers;
        if self.is_synced() {
            self.eta = None;
        }
        let young = |sample: &Sample| now_ms.saturating_sub(sample.at_ms) < SAMPLE_MS;
        if self.samples.back().is_some_and(young) {
            return;
        }
        self.samples.push_back(Sample {
            at_ms: now_ms,
            current: current.0,
            target: self.target.0,
        });
        let outdated = |sample: &Sample| now_ms.saturating_sub(sample.at_ms) > WINDOW_MS;
        // One sample beyond the window stays, so that slow progress has two ends to be measured between.
        while self.samples.len() > SAMPLES_MAX || self.samples.get(1).is_some_and(outdated) {
            self.samples.pop_front();
        }
        if !self.is_synced() {
            self.estimate(now_ms);
        }
    }

    /// Returns true if the node is at the highest known block.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.target.0.saturating_sub(self.current.0) <= SLACK
    }

    /// Blocks per 1,000 seconds over the window.
    #[must_use]
    pub fn blocks_per_1000_s(&self) -> u64 {
        let Some((first, last, ms)) = self.ends() else {
            return 0;
        };
        per_1000_s(last.current.saturating_sub(first.current), ms)
    }

    /// The status that RPC reports. The time left counts down between two samples.
    #[must_use]
    pub fn status(&self, now_ms: u64) -> SyncStatus {
        let synced = self.is_synced();
        SyncStatus {
            synced,
            stage: if synced { "synced" } else { "blocks" }.to_owned(),
            target: self.target,
            peers: self.peers,
            blocks_per_1000_s: self.blocks_per_1000_s(),
            eta_ms: self
                .eta
                .filter(|_| !synced)
                .map(|(eta, at)| eta.saturating_sub(now_ms.saturating_sub(at))),
        }
    }

    fn ends(&self) -> Option<(Sample, Sample, u64)> {
        let (first, last) = (*self.samples.front()?, *self.samples.back()?);
        let ms = last.at_ms.saturating_sub(first.at_ms);
        (ms >= LEAST_MS).then_some((first, last, ms))
    }

    fn estimate(&mut self, now_ms: u64) {
        let Some((first, last, ms)) = self.ends() else {
            return;
        };
        // The head advances while the node catches up: the relevant rate is that at which the gap closes.
        let gap = last.target.saturating_sub(last.current);
        let closed = first.target.saturating_sub(first.current).saturating_sub(gap);
        let Some(fresh) = gap.saturating_mul(ms).checked_div(closed) else {
            // The gap does not close: there is no estimate.
            self.eta = None;
            return;
        };
        let smoothed = match self.eta {
            None => fresh,
            Some((eta, at)) => {
                let left = eta.saturating_sub(now_ms.saturating_sub(at));
                if fresh >= left {
                    left.saturating_add(fresh.saturating_sub(left) / SMOOTHING)
                } else {
                    left.saturating_sub(left.saturating_sub(fresh) / SMOOTHING)
                }
            }
        };
        self.eta = Some((smoothed, now_ms));
    }
}

fn per_1000_s(count: u64, ms: u64) -> u64 {
    count.saturating_mul(1_000_000).checked_div(ms).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// A node that catches up: `speed(ms)` blocks per second while the head makes two per second.
    fn run(seconds: u64, speed: impl Fn(u64) -> u64) -> Vec<(u64, SyncStatus)> {
        let mut view = SyncView::default();
        let (mut blocks_ms, mut seen) = (0u64, Vec::new());
        for step in 0..seconds * 10 {
            let now = step * 100;
            blocks_ms += speed(now) * 100;
            let target = Height(10_000 + now * 2 / 1000);
            view.note(now, Height(blocks_ms / 1000), target, 3);
            seen.push((now, view.status(now)));
        }
        seen
    }

    #[test]
    fn a_steady_rate_is_measured_and_the_end_is_told_within_a_tenth() {
        let seen = run(30, |_| 102);
        let (now, last) = seen.last().unwrap();
        assert!((100_000..=104_000).contains(&last.blocks_per_1000_s), "{last:?}");
        // 10,000 blocks at a gap that closes by 100 each second: the end is at 100 s.
        let end = now + last.eta_ms.unwrap();
        assert!((90_000..=110_000).contains(&end), "{end}");
        assert!(
            seen.iter()
                .all(|(now, status)| *now >= LEAST_MS || status.eta_ms.is_none())
        );
    }

    #[test]
    fn bursts_do_not_make_the_estimate_jump() {
        // A second of nothing, then a second at double speed.
        let seen = run(60, |ms| if ms / 1000 % 2 == 0 { 0 } else { 204 });
        let ends: Vec<u64> = seen
            .iter()
            .filter(|(now, _)| *now >= 10_000)
            .map(|(now, status)| now + status.eta_ms.unwrap())
            .collect();
        let jump = ends.windows(2).map(|pair| match pair {
            [a, b] => a.abs_diff(*b),
            _ => 0,
        });
        assert!(
            jump.max().unwrap() < 2_500,
            "the end moves by less than 2.5 s at a time: {ends:?}"
        );
        assert!(
            ends.iter().all(|end| (80_000..=125_000).contains(end)),
            "{ends:?}"
        );
    }

    #[test]
    fn a_gap_that_does_not_close_has_no_end_in_sight() {
        let seen = run(60, |_| 1);
        assert!(seen.iter().skip(30).all(|(_, status)| status.eta_ms.is_none()));
        assert!(!seen.last().unwrap().1.synced);
    }

    #[test]
    fn at_the_head_there_is_no_time_left_and_a_block_on_its_way_changes_nothing() {
        let mut view = SyncView::default();
        view.note(0, Height(100), Height(0), 0);
        assert!(view.status(0).synced, "a target below us is no target");
        view.note(1, Height(100), Height(100 + SLACK), 1);
        let status = view.status(1);
        assert_eq!(
            (status.synced, status.eta_ms, status.stage.as_str()),
            (true, None, "synced")
        );
        view.note(2, Height(100), Height(101 + SLACK), 1);
        assert!(!view.status(2).synced);
        assert_eq!(view.status(2).target, Height(101 + SLACK));
    }

    #[test]
    fn the_time_left_runs_down_between_two_looks_and_the_looks_are_bounded() {
        let mut view = SyncView::default();
        for step in 0..1000u64 {
            view.note(step * 100, Height(step), Height(5_000), 1);
        }
        assert!(view.samples.len() <= SAMPLES_MAX + 1);
        let (now, later) = (
            view.status(99_900).eta_ms.unwrap(),
            view.status(100_900).eta_ms.unwrap(),
        );
        assert_eq!(now - later, 1000);
    }
}
