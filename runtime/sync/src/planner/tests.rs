#![allow(clippy::arithmetic_side_effects)]

use super::*;

mod blame;
mod bounds;
mod claims;
mod requests;
mod silence;

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
