//! The planner: its state, the peers, and what the caller learns of it. Requests are chosen in `requests`,
//! responses processed in `responses`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::Height;

use crate::peer::Peer;
use crate::{PeerId, PlannerConfig};
use requests::InFlight;
use responses::Buffered;

mod requests;
mod responses;

pub use requests::Ask;
pub use responses::AnswerFault;

/// Maximum number of disconnected peers whose record is remembered.
const DISCONNECTED_MAX: usize = 64;
/// Assumed size of a block before the first one arrived.
const BLOCK_BYTES_FIRST: u64 = 64 * 1024;

/// Properties of a block that the planner needs.
pub trait SyncBlock {
    /// The block's height.
    fn height(&self) -> Height;
    /// Approximate memory that it holds, in bytes.
    fn byte_len(&self) -> usize;
}

/// Snapshot of the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlannerStatus {
    /// The height to reach, by the claims of peers that did not fail to deliver what they claim. With three
    /// or more of those, two must claim it, so that one false claim does not distort an estimate; the plan
    /// itself follows the highest claim. Identities are free: a caller that must not be misled uses the
    /// claims of validators ([`Planner::claim`]).
    pub target: Height,
    /// Number of requests in flight.
    pub in_flight: usize,
    /// Number of blocks buffered until their turn.
    pub buffered: usize,
    /// Bytes of the buffered blocks.
    pub buffered_bytes: usize,
    /// Number of connected peers.
    pub peers: usize,
    /// Number of those that are paused because of failures.
    pub resting: usize,
}

/// Plans the requests from one height to the head of the chain. See the crate's documentation.
///
/// Call [`Planner::plan`] after every other call and when [`Planner::next_deadline`] is due.
#[derive(Debug)]
pub struct Planner<B> {
    config: PlannerConfig,
    peers: BTreeMap<PeerId, Peer>,
    /// Disconnected peers with faults or an open request on their record, oldest first.
    disconnected: VecDeque<(PeerId, Peer)>,
    /// Requests in flight, by their first height. They never overlap.
    in_flight: BTreeMap<Height, InFlight>,
    /// Blocks that wait for their turn, at heights that are neither requested nor handed out, and their bytes.
    buffered: BTreeMap<Height, Buffered<B>>,
    buffered_bytes: usize,
    /// Blocks handed out that are not below `next` yet, and the peers that sent them.
    taken: BTreeMap<Height, PeerId>,
    /// The highest height for which votes were seen.
    hint: Height,
    /// The height that the caller needs next; never falls.
    next: Height,
    /// Time at which the block at `next` was first known to exist.
    waiting_since: Option<MonoTime>,
    /// The highest head of a newly connected peer since the last plan.
    found: Height,
    /// The height at which that was the next block.
    undelivered: Height,
    /// The estimated size of a block: rises at once, falls slowly.
    block_bytes: u64,
    now: MonoTime,
}

impl<B: SyncBlock> Planner<B> {
    /// Makes a planner without peers.
    #[must_use]
    pub fn new(config: PlannerConfig) -> Self {
        Self {
            config: config.normal(),
            peers: BTreeMap::new(),
            disconnected: VecDeque::new(),
            in_flight: BTreeMap::new(),
            buffered: BTreeMap::new(),
            buffered_bytes: 0,
            taken: BTreeMap::new(),
            hint: Height::ZERO,
            next: Height::ZERO,
            waiting_since: None,
            found: Height::ZERO,
            undelivered: Height::ZERO,
            block_bytes: BLOCK_BYTES_FIRST,
            now: MonoTime::default(),
        }
    }

    /// Adds a connected peer with the newest block that it announced.
    pub fn connected(&mut self, id: PeerId, head: Height) {
        self.found = self.found.max(head);
        if self.peers.contains_key(&id) {
            return self.head(id, head);
        }
        let known = self
            .disconnected
            .iter()
            .position(|(other, _)| *other == id)
            .and_then(|at| self.disconnected.remove(at))
            .map(|(_, peer)| peer.reconnected(head, &self.config));
        let peer = known.unwrap_or_else(|| Peer::new(head, &self.config));
        self.peers.insert(id, peer);
    }

    /// The peer proved to be a validator, of which there are few: it is asked before others.
    pub fn is_validator(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.is_validator = true;
        }
    }

    /// Removes a disconnected peer. Its requests are sent to others; blocks that it delivered are kept.
    pub fn disconnected(&mut self, id: PeerId) {
        self.abandon_all(id);
        let Some(peer) = self.peers.remove(&id) else {
            return;
        };
        if peer.is_worth_remembering() {
            if self.disconnected.len() >= DISCONNECTED_MAX {
                // Identities are free: records with an open request only do not displace Byzantine ones.
                let harmless = self
                    .disconnected
                    .iter()
                    .position(|(_, peer)| peer.violations == 0);
                self.disconnected.remove(harmless.unwrap_or(0));
            }
            self.disconnected.push_back((id, peer));
        }
    }

    /// Updates the newest block that a peer announced; it may be lower than before.
    pub fn head(&mut self, peer: PeerId, head: Height) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.claimed = head;
        }
    }

    /// The peer showed that it has the blocks up to this one.
    pub fn has(&mut self, peer: PeerId, head: Height) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.claimed = peer.claimed.max(head);
        }
    }

    /// Verified votes of validators were seen for heights up to this one, so the block below exists.
    pub fn hint(&mut self, height: Height) {
        self.hint = self.hint.max(height);
    }

    /// Time at which to call [`Planner::plan`] even without an event.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let requests = self.in_flight.values().map(|ask| ask.deadline);
        let peers = self
            .peers
            .values()
            .filter(|peer| peer.claimed.max(self.hint.saturating_sub(1)) >= self.next)
            .flat_map(|peer| [peer.paused_until, peer.lacks_until]);
        let asked = self.in_flight.range(..=self.next).next_back();
        let is_asked = asked.is_some_and(|(from, ask)| run(*from, ask.count).contains(&self.next));
        let patience = if self.taken.contains_key(&self.next) {
            Some(self.config.taken_max)
        } else {
            (!is_asked && !self.buffered.contains_key(&self.next)).then_some(self.config.grace)
        };
        let waiting = self
            .waiting_since
            .zip(patience)
            .map(|(since, patience)| since.after(patience));
        requests
            .chain(peers)
            .chain(waiting)
            .filter(|at| *at > self.now)
            .min()
    }

    /// The newest block that a connected peer claims to have.
    #[must_use]
    pub fn claim(&self, peer: PeerId) -> Option<Height> {
        self.peers.get(&peer).map(|peer| peer.claimed)
    }

    /// Snapshot of the planner.
    #[must_use]
    pub fn status(&self) -> PlannerStatus {
        let mut claims: Vec<_> = self
            .peers
            .values()
            .filter(|peer| peer.is_credible())
            .map(|peer| Reverse(peer.claimed))
            .collect();
        claims.sort_unstable();
        let backed = usize::from(claims.len() > 2);
        let target = claims.get(backed).map_or(Height::ZERO, |claim| claim.0);
        PlannerStatus {
            target: target.max(self.next.saturating_sub(1)),
            in_flight: self.in_flight.len(),
            buffered: self.buffered.len(),
            buffered_bytes: self.buffered_bytes,
            peers: self.peers.len(),
            resting: self
                .peers
                .values()
                .filter(|peer| peer.is_paused(self.now))
                .count(),
        }
    }
}

fn run(from: Height, count: u32) -> Range<Height> {
    from..from.saturating_add(u64::from(count))
}

#[cfg(test)]
mod tests;
