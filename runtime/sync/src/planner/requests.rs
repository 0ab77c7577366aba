//! Choice of requests: the next gaps, the peers to ask, and the memory that the responses may take.

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::Height;

use super::{Planner, SyncBlock, run};
use crate::PeerId;
use crate::peer::{Abandoned, Peer};

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

/// A request in flight. Requests never overlap, so the first height identifies one.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) peer: PeerId,
    pub(super) count: u32,
    pub(super) sent: MonoTime,
    pub(super) deadline: MonoTime,
    /// Estimate of the response's bytes at the time of sending.
    bytes: usize,
    /// Beyond the peer's claim, requested because votes show that the block exists.
    pub(super) guessed: bool,
}

impl<B: SyncBlock> Planner<B> {
    /// Requests to send now, lowest heights first. `next` is the height that the caller needs next.
    pub fn plan(&mut self, next: Height, now: MonoTime) -> Vec<Ask> {
        self.now = self.now.max(now);
        self.advanced(next);
        // A block that a peer had before this node connected: consensus will not deliver it.
        if std::mem::take(&mut self.found) >= self.next {
            self.undelivered = self.next;
        }
        self.abandon_late();
        let mut asks = Vec::new();
        if !self.is_due() {
            return asks;
        }
        self.release_lost();
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
        for peer in self.peers.values().filter(|peer| !peer.is_paused(self.now)) {
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
        peer.in_flight < self.config.requests_per_peer_max && !peer.is_paused(self.now)
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
            } else if self.buffered.contains_key(&from) || self.taken.contains_key(&from) {
                from = from.saturating_add(1);
            } else {
                let above = [
                    self.in_flight.range(from..).next().map(|(height, _)| *height),
                    self.buffered.range(from..).next().map(|(height, _)| *height),
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
        let trusted =
            |peer: &Peer| peer.is_trusted() && !peer.is_paused(self.now) && self.reach(peer) >= from;
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
                && !peer.is_paused(self.now)
                && peer.claimed >= height
                && peer.avoid.as_ref().is_none_or(|avoid| !avoid.contains(&height))
        })
    }

    /// The part of a request that fits into the remaining memory, with its estimate. The lowest gap always
    /// fits: without it nothing above can be applied.
    fn fit(&mut self, from: Height, count: u32) -> Option<(u32, usize)> {
        let first = self.buffered.keys().next().is_none_or(|held| *held > from)
            && self.in_flight.range(self.next..from).next().is_none();
        let one = usize::try_from(self.block_bytes).unwrap_or(usize::MAX);
        loop {
            let used = self
                .in_flight
                .values()
                .fold(self.buffered_bytes, |sum, ask| sum.saturating_add(ask.bytes));
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
                && !peer.is_paused(self.now)
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

    /// Abandons the requests whose deadline has passed.
    fn abandon_late(&mut self) {
        let now = self.now;
        let late: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, ask)| ask.deadline <= now)
            .map(|(from, ask)| (*from, ask.count))
            .collect();
        for (from, count) in late {
            let id = self.abandon(from);
            if let Some(peer) = id.and_then(|id| self.peers.get_mut(&id)) {
                peer.record_timeout(run(from, count), now, &self.config);
            }
        }
    }

    /// Abandons a request in flight and remembers it for its late response.
    fn abandon(&mut self, from: Height) -> Option<PeerId> {
        let ask = self.in_flight.remove(&from)?;
        let peer = self.peers.get_mut(&ask.peer)?;
        peer.in_flight = peer.in_flight.saturating_sub(1);
        peer.abandon(Abandoned {
            from,
            count: ask.count,
            sent: ask.sent,
            useful: true,
        });
        Some(ask.peer)
    }

    /// Abandons all requests to a peer.
    pub(super) fn abandon_all(&mut self, id: PeerId) {
        let asked: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, ask)| ask.peer == id)
            .map(|(from, _)| *from)
            .collect();
        for from in asked {
            self.abandon(from);
        }
    }

    /// The caller took the block long ago and has not advanced: it lost it.
    fn release_lost(&mut self) {
        if self.taken.contains_key(&self.next)
            && self
                .waiting_since
                .is_some_and(|since| since.after(self.config.taken_max) <= self.now)
        {
            self.taken.clear();
            self.waiting_since = Some(self.now);
        }
    }
}
