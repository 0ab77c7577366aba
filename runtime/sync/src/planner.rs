//! The planner: ranges requested, buffered blocks, peers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::Height;

use crate::peer::{GivenUp, Peer, smoothed};
use crate::{PeerId, PlannerConfig};

/// Maximum number of disconnected peers whose record is remembered.
const GONE_MAX: usize = 64;
/// Assumed size of a block before the first one arrived.
const BLOCK_BYTES_FIRST: u64 = 64 * 1024;

/// Properties of a block that the planner needs.
pub trait SyncBlock {
    /// The block's height.
    fn height(&self) -> Height;
    /// Approximate memory that it holds, in bytes.
    fn byte_len(&self) -> usize;
}

/// A request to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The recipient.
    pub peer: PeerId,
    /// The first height.
    pub from: Height,
    /// Number of blocks, one or more.
    pub count: u32,
}

/// Fault of a response that an honest peer never sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// This peer was not asked for that.
    #[error("blocks from height {from} came without having been asked for")]
    Unsolicited {
        /// The first height that the response names.
        from: Height,
    },
    /// More blocks than requested.
    #[error("{got} blocks came where {asked} were asked for")]
    TooMany {
        /// Number of blocks requested.
        asked: u32,
        /// Number of blocks received.
        got: usize,
    },
    /// The blocks do not start at the expected height, or leave a gap.
    #[error("the block of height {got} came where height {expected} was due")]
    OutOfOrder {
        /// The height expected.
        expected: Height,
        /// The height received.
        got: Height,
    },
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

/// A request in flight. Requests never overlap, so the first height identifies one.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    peer: PeerId,
    count: u32,
    sent: MonoTime,
    deadline: MonoTime,
    /// Estimate at the time of sending.
    bytes: usize,
    /// Beyond the peer's claim, requested because votes show that the block exists.
    guessed: bool,
}

#[derive(Debug)]
struct Held<B> {
    peer: PeerId,
    bytes: usize,
    block: B,
}

/// Plans the requests from one height to the head of the chain. See the crate's documentation.
///
/// Call [`Planner::plan`] after every other call and when [`Planner::next_deadline`] is due.
#[derive(Debug)]
pub struct Planner<B> {
    config: PlannerConfig,
    peers: BTreeMap<PeerId, Peer>,
    /// Disconnected peers with faults or an open request on their record, oldest first.
    gone: VecDeque<(PeerId, Peer)>,
    in_flight: BTreeMap<Height, InFlight>,
    held: BTreeMap<Height, Held<B>>,
    held_bytes: usize,
    /// Blocks handed out that are not below `next` yet, and the peers that sent them.
    taken: BTreeMap<Height, PeerId>,
    hint: Height,
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
            gone: VecDeque::new(),
            in_flight: BTreeMap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
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

    // ---- peers --------------------------------------------------------------------------------

    /// Adds a connected peer with the newest block that it announced.
    pub fn connected(&mut self, id: PeerId, head: Height) {
        self.found = self.found.max(head);
        if self.peers.contains_key(&id) {
            return self.head(id, head);
        }
        let known = self
            .gone
            .iter()
            .position(|(gone, _)| *gone == id)
            .and_then(|at| self.gone.remove(at))
            .map(|(_, peer)| peer.back(head, &self.config));
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
        self.take_back_all(id);
        let Some(peer) = self.peers.remove(&id) else {
            return;
        };
        if peer.is_worth_remembering() {
            if self.gone.len() >= GONE_MAX {
                // Identities are free: records with an open request only do not displace Byzantine ones.
                let harmless = self.gone.iter().position(|(_, gone)| gone.lies == 0);
                self.gone.remove(harmless.unwrap_or(0));
            }
            self.gone.push_back((id, peer));
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

    // ---- requests -----------------------------------------------------------------------------

    /// Requests to send now, lowest heights first. `next` is the height that the caller needs next.
    pub fn plan(&mut self, next: Height, now: MonoTime) -> Vec<Ask> {
        self.now = self.now.max(now);
        self.advanced(next);
        // A block that a peer had before this node connected: consensus will not deliver it.
        if std::mem::take(&mut self.found) >= self.next {
            self.undelivered = self.next;
        }
        self.give_up_late();
        let mut asks = Vec::new();
        if !self.is_due() {
            return asks;
        }
        self.ask_again_for_taken();
        let window_end = self.next.saturating_add(u64::from(self.config.window_blocks));
        let mut cursor = self.next;
        while self.in_flight.len() < self.config.requests_max {
            let Some((from, end)) = self.first_gap(cursor, window_end) else {
                break;
            };
            let Some((peer, count)) = self.choose(from, end) else {
                // Free peers may not have this height, or have failed at it, and still be needed above.
                if !self
                    .peers
                    .values()
                    .any(|peer| self.is_free(peer) && self.reach(peer) > from)
                {
                    break;
                }
                cursor = from.saturating_add(1);
                continue;
            };
            let Some((count, bytes)) = self.fit(from, count) else {
                break;
            };
            self.send(peer, from, count, bytes);
            asks.push(Ask { peer, from, count });
            cursor = from.saturating_add(u64::from(count));
        }
        asks
    }

    /// Returns true if there are blocks to request that consensus is not about to deliver.
    fn is_due(&mut self) -> bool {
        let (mut claimed, mut reach) = (Height::ZERO, Height::ZERO);
        for peer in self.peers.values().filter(|peer| !peer.rests(self.now)) {
            claimed = claimed.max(peer.claimed);
            reach = reach.max(self.reach(peer));
        }
        if reach < self.next {
            self.waiting_since = None;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(self.now);
        claimed > self.next || self.undelivered == self.next || since.after(self.config.grace) <= self.now
    }

    /// The highest block that a peer may be asked for: its claim, or a little of what votes show to exist.
    fn reach(&self, peer: &Peer) -> Height {
        let guess = self.hint.saturating_sub(1).min(
            self.next
                .saturating_add(u64::from(self.config.blocks_per_request_max).saturating_sub(1)),
        );
        if guess >= self.next && peer.lacks_until <= self.now {
            peer.claimed.max(guess)
        } else {
            peer.claimed
        }
    }

    fn is_free(&self, peer: &Peer) -> bool {
        peer.in_flight < self.config.requests_per_peer_max && !peer.rests(self.now)
    }

    /// The first run of heights at or above `cursor` that is neither held nor requested: its first height and
    /// the one after its last.
    fn first_gap(&self, cursor: Height, window_end: Height) -> Option<(Height, Height)> {
        let mut from = cursor.max(self.next);
        if let Some((start, ask)) = self.in_flight.range(..=from).next_back() {
            from = from.max(start.saturating_add(u64::from(ask.count)));
        }
        while from < window_end {
            if let Some(ask) = self.in_flight.get(&from) {
                from = from.saturating_add(u64::from(ask.count));
            } else if self.held.contains_key(&from) || self.taken.contains_key(&from) {
                from = from.saturating_add(1);
            } else {
                let above = [
                    self.in_flight.range(from..).next().map(|(height, _)| *height),
                    self.held.range(from..).next().map(|(height, _)| *height),
                    self.taken.range(from..).next().map(|(height, _)| *height),
                ];
                let end = above.into_iter().flatten().min();
                return Some((from, end.map_or(window_end, |end| end.min(window_end))));
            }
        }
        None
    }

    /// The peer to ask for the blocks from `from` to before `end`, and their count.
    ///
    /// Identities are free. So validators are preferred, and while one has the block all others together have
    /// one request at a time: silent peers that reconnect under new identities do not delay a node that knows
    /// a validator.
    fn choose(&self, from: Height, end: Height) -> Option<(PeerId, u32)> {
        let trusted = |peer: &Peer| peer.is_trusted() && !peer.rests(self.now) && self.reach(peer) >= from;
        let is_tried = |peer: &Peer| !peer.is_trusted() && peer.in_flight > 0;
        let only_trusted = self.peers.values().any(trusted) && self.peers.values().any(is_tried);
        let (id, peer, end) = self
            .peers
            .iter()
            .filter(|(_, peer)| self.is_free(peer) && self.reach(peer) >= from)
            .filter(|(_, peer)| peer.is_trusted() || !only_trusted)
            .filter_map(|(id, peer)| {
                let end = match &peer.avoid {
                    Some(avoid) if avoid.contains(&from) && self.others_have(*id, from) => from,
                    Some(avoid) if avoid.start > from => end.min(avoid.start),
                    _ => end,
                };
                (end > from).then_some((id, peer, end))
            })
            .min_by_key(|(id, peer, _)| {
                (
                    !peer.is_trusted(),
                    peer.failures(),
                    peer.in_flight,
                    peer.latency,
                    **id,
                )
            })?;
        let end = end.min(self.reach(peer).saturating_add(1));
        let blocks = end.0.saturating_sub(from.0).min(u64::from(peer.batch));
        Some((*id, u32::try_from(blocks).unwrap_or(u32::MAX).max(1)))
    }

    /// Returns true if another peer could be asked for a height at which this one failed.
    fn others_have(&self, id: PeerId, height: Height) -> bool {
        self.peers.iter().any(|(other, peer)| {
            *other != id
                && !peer.rests(self.now)
                && peer.claimed >= height
                && peer.avoid.as_ref().is_none_or(|avoid| !avoid.contains(&height))
        })
    }

    /// The part of a request that fits into the remaining memory, with its estimate. The lowest gap always
    /// fits: without it nothing above can be applied.
    fn fit(&mut self, from: Height, count: u32) -> Option<(u32, usize)> {
        let first = self.held.keys().next().is_none_or(|held| *held > from)
            && self.in_flight.range(self.next..from).next().is_none();
        let one = usize::try_from(self.block_bytes).unwrap_or(usize::MAX);
        loop {
            let used = self
                .in_flight
                .values()
                .fold(self.held_bytes, |sum, ask| sum.saturating_add(ask.bytes));
            let room = self.config.buffered_bytes_max.saturating_sub(used);
            let blocks = u32::try_from(room.checked_div(one).unwrap_or(usize::MAX)).unwrap_or(u32::MAX);
            let count = match blocks {
                0 if !first => return None,
                0 if self.drop_highest(from) => continue,
                blocks => count.min(blocks.max(1)),
            };
            let bytes = one
                .saturating_mul(usize::try_from(count).unwrap_or(usize::MAX))
                .min(self.config.answer_bytes_max);
            return Some((count, bytes));
        }
    }

    fn send(&mut self, id: PeerId, from: Height, count: u32, bytes: usize) {
        let patience = self.patience(id, from);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.in_flight = peer.in_flight.saturating_add(1);
        let last = from.saturating_add(u64::from(count).saturating_sub(1));
        let ask = InFlight {
            peer: id,
            count,
            sent: self.now,
            deadline: self.now.after(peer.timeout.min(patience)),
            bytes,
            guessed: last > peer.claimed,
        };
        self.in_flight.insert(from, ask);
    }

    /// Maximum time to wait for this peer: where a faster one could be asked instead, a slow one has no more
    /// than a multiple of its time.
    fn patience(&self, id: PeerId, from: Height) -> u64 {
        let others = self.peers.iter().filter(|(other, peer)| {
            **other != id
                && peer.latency > 0
                && peer.failures() == 0
                && peer.claimed >= from
                && !peer.rests(self.now)
        });
        let fastest = others.map(|(_, peer)| peer.latency).min();
        // A distant peer is not a silent one.
        let usual = match self.peers.get(&id).map_or(0, |peer| peer.latency) {
            0 => self.config.timeout_first,
            latency => latency.saturating_mul(2),
        };
        fastest.map_or(u64::MAX, |latency| {
            latency.saturating_mul(8).max(self.config.timeout_min).max(usual)
        })
    }

    fn give_up_late(&mut self) {
        let now = self.now;
        let late: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, ask)| ask.deadline <= now)
            .map(|(from, ask)| (*from, ask.count))
            .collect();
        for (from, count) in late {
            let id = self.take_back(from);
            if let Some(peer) = id.and_then(|id| self.peers.get_mut(&id)) {
                peer.timed_out(run(from, count), now, &self.config);
            }
        }
    }

    /// Abandons a request in flight and remembers it for its late response.
    fn take_back(&mut self, from: Height) -> Option<PeerId> {
        let ask = self.in_flight.remove(&from)?;
        let peer = self.peers.get_mut(&ask.peer)?;
        peer.in_flight = peer.in_flight.saturating_sub(1);
        peer.give_up(GivenUp {
            from,
            count: ask.count,
            sent: ask.sent,
            useful: true,
        });
        Some(ask.peer)
    }

    fn take_back_all(&mut self, id: PeerId) {
        let asked: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, ask)| ask.peer == id)
            .map(|(from, _)| *from)
            .collect();
        for from in asked {
            self.take_back(from);
        }
    }

    /// The caller took the block long ago and has not advanced: it lost it.
    fn ask_again_for_taken(&mut self) {
        if self.taken.contains_key(&self.next)
            && self
                .waiting_since
                .is_some_and(|since| since.after(self.config.taken_max) <= self.now)
        {
            self.taken.clear();
            self.waiting_since = Some(self.now);
        }
    }

    // ---- responses ----------------------------------------------------------------------------

    /// Processes a response. Responses that are late, repeated, or from a disconnected peer are harmless.
    ///
    /// # Errors
    /// [`AnswerFault`] names the fault of the peer; nothing of the response is kept.
    pub fn answer(
        &mut self,
        id: PeerId,
        from: Height,
        blocks: Vec<B>,
        now: MonoTime,
    ) -> Result<(), AnswerFault> {
        self.now = self.now.max(now);
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(());
        };
        // A request may have been abandoned and repeated with another count: the response counts for the
        // smallest that it fits. So a later one is never too long for the remaining request.
        let fits = |count: u32| u32::try_from(blocks.len()).is_ok_and(|got| got <= count);
        let open = self.in_flight.get(&from).filter(|ask| ask.peer == id).copied();
        let smallest = |count: u32| {
            fits(count)
                && peer
                    .fitting_given_up(from, fits)
                    .is_none_or(|other| count <= other)
        };
        let open = open.filter(|ask| smallest(ask.count) || !peer.has_given_up(from));
        let late = open.is_none();
        let request = match open {
            Some(ask) => {
                self.in_flight.remove(&from);
                peer.in_flight = peer.in_flight.saturating_sub(1);
                Some((ask.count, ask.sent, true, ask.guessed))
            }
            _ => peer
                .take_given_up(from, fits)
                .map(|ask| (ask.count, ask.sent, ask.useful, false)),
        };
        let Some((count, sent, useful, guessed)) = request else {
            // Possibly the response to a request from before a reconnection: not counted as a failure.
            return Err(AnswerFault::Unsolicited { from });
        };
        if let Err(fault) = check_form(from, count, &blocks) {
            peer.lied(run(from, count), now, &self.config);
            return Err(fault);
        }
        let Some(last) = blocks.last().map(SyncBlock::height) else {
            if guessed {
                peer.lacks_until = now.after(self.config.lacks_rest);
            } else if !late {
                peer.stalled(run(from, count), now, &self.config);
            }
            return Ok(());
        };
        if useful {
            let got = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
            peer.claimed = peer.claimed.max(last);
            peer.delivered(count, got, now.0.saturating_sub(sent.0), &self.config);
            self.keep(id, blocks);
        }
        Ok(())
    }

    /// Stores blocks by height. When full, the highest are dropped: the lowest are needed first.
    fn keep(&mut self, peer: PeerId, blocks: Vec<B>) {
        let largest = blocks.iter().map(SyncBlock::byte_len).max().unwrap_or_default();
        let largest = u64::try_from(largest).unwrap_or(u64::MAX).max(1);
        self.block_bytes = largest.max(smoothed(self.block_bytes, largest));
        for block in blocks {
            let height = block.height();
            if height < self.next || self.taken.contains_key(&height) || self.held.contains_key(&height) {
                continue;
            }
            let bytes = block.byte_len();
            self.held_bytes = self.held_bytes.saturating_add(bytes);
            self.held.insert(height, Held { peer, bytes, block });
            while self.held_bytes > self.config.buffered_bytes_max && self.held.len() > 1 {
                self.drop_highest(self.next);
            }
        }
    }

    /// Drops the highest buffered block, if it is above `keep`.
    fn drop_highest(&mut self, keep: Height) -> bool {
        let above = self
            .held
            .keys()
            .next_back()
            .copied()
            .filter(|highest| *highest > keep);
        above.and_then(|height| self.take(height)).is_some()
    }

    fn take(&mut self, height: Height) -> Option<Held<B>> {
        let held = self.held.remove(&height)?;
        self.held_bytes = self.held_bytes.saturating_sub(held.bytes);
        Some(held)
    }

    /// Hands out the block at `next`, if it is here, with the peer that sent it. It is not requested again,
    /// unless it is [refused](Self::refused) or has no effect for long.
    pub fn pop(&mut self, next: Height) -> Option<(PeerId, B)> {
        let held = self.take(next)?;
        self.taken.insert(next, held.peer);
        Some((held.peer, held.block))
    }

    /// The block that this peer sent for that height is invalid. Everything else from it is dropped, and
    /// others are asked.
    pub fn refused(&mut self, id: PeerId, height: Height) {
        let now = self.now;
        self.take_back_all(id);
        self.held.retain(|_, held| held.peer != id);
        self.held_bytes = self
            .held
            .values()
            .fold(0, |sum, held| sum.saturating_add(held.bytes));
        self.taken.retain(|at, from| *from != id || *at < height);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.lied(run(height, 1), now, &self.config);
        }
    }

    /// Drops blocks below `next`, which are not needed any more.
    pub fn advanced(&mut self, next: Height) {
        if next <= self.next {
            return;
        }
        self.next = next;
        self.waiting_since = None;
        self.taken = self.taken.split_off(&next);
        let above = self.held.split_off(&next);
        let below = std::mem::replace(&mut self.held, above);
        for held in below.values() {
            self.held_bytes = self.held_bytes.saturating_sub(held.bytes);
        }
        // Requests entirely below stay until their response, which measures the peer's speed.
    }

    // ---- for the caller -----------------------------------------------------------------------

    /// Time at which to call [`Planner::plan`] even without an event.
    #[must_use]
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let requests = self.in_flight.values().map(|ask| ask.deadline);
        let peers = self
            .peers
            .values()
            .filter(|peer| peer.claimed.max(self.hint.saturating_sub(1)) >= self.next)
            .flat_map(|peer| [peer.rest_until, peer.lacks_until]);
        let asked = self.in_flight.range(..=self.next).next_back();
        let is_asked = asked.is_some_and(|(from, ask)| run(*from, ask.count).contains(&self.next));
        let patience = if self.taken.contains_key(&self.next) {
            Some(self.config.taken_max)
        } else {
            (!is_asked && !self.held.contains_key(&self.next)).then_some(self.config.grace)
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
            buffered: self.held.len(),
            buffered_bytes: self.held_bytes,
            peers: self.peers.len(),
            resting: self.peers.values().filter(|peer| peer.rests(self.now)).count(),
        }
    }
}

fn run(from: Height, count: u32) -> Range<Height> {
    from..from.saturating_add(u64::from(count))
}

fn check_form<B: SyncBlock>(from: Height, count: u32, blocks: &[B]) -> Result<(), AnswerFault> {
    if u32::try_from(blocks.len()).is_ok_and(|got| got <= count) {
        let heights = (from.0..).map(Height);
        let wrong = heights
            .zip(blocks)
            .find(|(expected, block)| block.height() != *expected);
        wrong.map_or(Ok(()), |(expected, block)| {
            Err(AnswerFault::OutOfOrder {
                expected,
                got: block.height(),
            })
        })
    } else {
        Err(AnswerFault::TooMany {
            asked: count,
            got: blocks.len(),
        })
    }
}

#[cfg(test)]
mod tests;
