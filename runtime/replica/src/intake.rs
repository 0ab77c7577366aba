//! Cheap checks of messages from peers, before any signature is checked.
//!
//! ```text
//! size ─▶ share of the peer ─▶ requested, or its sender's turn ─▶ (examine) hash ─▶ signature ─▶ the rest
//! ```
//!
//! An [`Intake`] remembers the open requests, the proposers in turn and how much each proposer may still
//! send. The owner of the replica feeds it: connections, requests as they leave, and [`Stand`] after each
//! step. It may lag behind the replica by a step, so no message that an honest peer sends around a change of
//! height or round is a fault: such messages are [`Ruling::Drop`]ped without blame.

use std::collections::{BTreeMap, VecDeque};

use vibecoin_consensus::MonoTime;
use vibecoin_primitives::limits::{KIB, TICKS_MAX};
use vibecoin_primitives::{
    BlockPart, ChainParams, Demand, Hash, Height, PartContent, PublicKey, Round, transaction_bytes,
};

use crate::refusal::{Refusal, Refused};
use crate::{Message, PeerId, planted};

/// Maximum number of open requests to one peer; older ones are forgotten. The planner pauses a peer that does
/// not answer, so honest peers are minutes away from it.
pub const OPEN_MAX: usize = 32;
/// Answered requests of one peer that are remembered, to distinguish a repeated response from an unsolicited one.
pub const ANSWERED_MAX: usize = 64;
/// Disconnected peers whose requests are remembered.
pub const DISCONNECTED_MAX: usize = 64;
/// Time after a request within which its response is accepted, in microseconds. Later ones are dropped without blame.
pub const ANSWER_GRACE_MICROS: u64 = 60_000_000;
/// Rounds below and above the present one whose parts are accepted.
const ROUNDS_BELOW: u32 = 2;
const ROUNDS_ABOVE: u32 = 3;
/// Parts with different content under a used sequence number, per block: each is evidence, one is enough.
const CONFLICTS_MAX: u32 = 4;
/// Blocks whose parts one proposer may send in a burst: twice the capacity of its queue to this node.
const BURST_BLOCKS: u64 = 8;
/// Small messages on the direct lane (a status, a body request) in a burst and per second. Honest nodes send
/// two statuses and up to five body requests a second.
const SMALL_BURST: u64 = 512;
const SMALL_PER_S: u64 = 128;
/// Requests for blocks in a burst and per second. A node that catches up sends one per response, and responses have a
/// rate limit in bytes.
const REQUESTS_BURST: u64 = 512;
const REQUESTS_PER_S: u64 = 128;
/// Minimum time between two flood reports about one peer, in microseconds.
const FLOOD_BLAME_MICROS: u64 = 250_000;
/// Bytes of a part beside its transactions.
const PART_BYTES_MIN: usize = 512;

/// Decision on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Pass it on to the expensive checks.
    Take,
    /// It contradicts an accepted part: only its statement is needed, not its transactions.
    Evidence,
    /// Not needed, without blame.
    Drop,
    /// Its sender is to blame.
    Refuse(Refusal),
}

/// Position of the replica, as far as [`Intake`] needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// The height being decided.
    pub height: Height,
    /// The current round.
    pub round: Round,
    /// First round of `turns`.
    pub first: Round,
    /// Proposers of the rounds at this height from `first` on.
    pub turns: Vec<PublicKey>,
    /// Proposers of the first rounds of the next height; empty while they are not known.
    pub next_turns: Vec<PublicKey>,
}

impl Stand {
    /// The first round of the window around `round`, and its length.
    #[must_use]
    pub const fn window(round: Round) -> (Round, u32) {
        let first = round.0.saturating_sub(ROUNDS_BELOW);
        let length = round.0.saturating_sub(first).saturating_add(ROUNDS_ABOVE);
        (Round(first), length.saturating_add(1))
    }

    /// Number of rounds of the next height whose proposers are named.
    pub const NEXT_ROUNDS: u32 = 2;
}

/// A leaky bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    level: u64,
    at: MonoTime,
}

impl Share {
    /// Adds `cost` if that keeps the level at or below `burst`.
    fn spend(&mut self, cost: u64, burst: u64, per_second: u64, now: MonoTime) -> bool {
        let elapsed = now.0.saturating_sub(self.at.0);
        let drained = elapsed.saturating_mul(per_second) / 1_000_000;
        if drained > 0 {
            self.level = self.level.saturating_sub(drained);
            self.at = now;
        }
        let level = self.level.saturating_add(cost);
        let fits = level <= burst;
        if fits {
            self.level = level;
        }
        fits
    }
}

/// A request for blocks.
#[derive(Clone, Copy, Debug)]
struct BlocksAsked {
    from: Height,
    count: u32,
    at: MonoTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Blocks(Height),
    Body(Hash),
}

#[derive(Debug, Default)]
struct Peer {
    validator: Option<PublicKey>,
    connected: bool,
    blocks: VecDeque<BlocksAsked>,
    bodies: VecDeque<(Hash, MonoTime)>,
    answered: VecDeque<Answered>,
    parts: Share,
    small: Share,
    requests: Share,
    flood_blamed: Option<MonoTime>,
}

fn remember<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(item);
}

impl Peer {
    /// Reports a flood at bounded intervals, and drops the rest of it.
    fn flood(&mut self, reason: &'static str, now: MonoTime) -> Ruling {
        let due = self
            .flood_blamed
            .is_none_or(|at| now >= at.after(FLOOD_BLAME_MICROS));
        if !due {
            return Ruling::Drop;
        }
        self.flood_blamed = Some(now);
        Ruling::Refuse(Refusal::free(Refused::Flood, reason))
    }

    fn body(&mut self, hash: Hash, now: MonoTime) -> Ruling {
        if let Some(at) = self.bodies.iter().position(|(asked, _)| *asked == hash) {
            let asked = self.bodies.remove(at);
            remember(&mut self.answered, Answered::Body(hash), ANSWERED_MAX);
            return in_time(asked.map(|(_, at)| at), now);
        }
        self.unexpected(Answered::Body(hash))
    }

    fn blocks(&mut self, from: Height, got: usize, now: MonoTime) -> Ruling {
        // One may have been abandoned and repeated with another count: the response belongs to the smallest
        // that it fits.
        let fits = |count: u32| u32::try_from(got).is_ok_and(|got| got <= count);
        let here = || self.blocks.iter().enumerate().filter(|(_, it)| it.from == from);
        let fitting = here()
            .filter(|(_, it)| fits(it.count))
            .min_by_key(|(_, it)| it.count);
        let Some((at, asked)) = fitting.or_else(|| here().next()) else {
            return self.unexpected(Answered::Blocks(from));
        };
        let asked = *asked;
        self.blocks.remove(at);
        remember(&mut self.answered, Answered::Blocks(from), ANSWERED_MAX);
        if !fits(asked.count) {
            let reason = "more blocks than were asked for";
            return Ruling::Refuse(Refusal::free(Refused::Oversized, reason));
        }
        in_time(Some(asked.at), now)
    }

    fn unexpected(&self, answer: Answered) -> Ruling {
        Ruling::Refuse(if self.answered.contains(&answer) {
            Refusal::free(Refused::Repeated, "a second answer to one question")
        } else {
            Refusal::free(Refused::Unasked, "an answer to no question")
        })
    }
}

/// A response after that time is not needed, and its peer may only be slow.
fn in_time(asked: Option<MonoTime>, now: MonoTime) -> Ruling {
    let in_time = asked.is_some_and(|at| now <= at.after(ANSWER_GRACE_MICROS));
    if in_time { Ruling::Take } else { Ruling::Drop }
}

/// Parts received of one block that is being streamed.
#[derive(Debug, Default)]
struct Stream {
    bytes: usize,
    transactions: usize,
    demand: Demand,
    conflicts: u32,
    /// The digest that arrived first, by sequence number.
    seen: BTreeMap<u32, Hash>,
}

/// The cheap checks. Bounded: requests and responses per peer, streams by the window of rounds.
#[derive(Debug)]
pub struct Intake {
    params: ChainParams,
    block_bytes: usize,
    parts_per_s: u64,
    stand: Stand,
    peers: BTreeMap<PeerId, Peer>,
    /// Disconnected peers, oldest first.
    disconnected: VecDeque<PeerId>,
    streams: BTreeMap<(Height, Round, PublicKey), Stream>,
}

impl Intake {
    /// An intake without peers or open requests.
    #[must_use]
    pub fn new(params: &ChainParams) -> Self {
        let block_bytes = params.block_bytes_max as usize;
        // A validator makes one block in each of its turns; twice that leaves capacity for failed rounds.
        let block_ms = params.ticks_ms(params.ticks_per_block).max(1);
        let bytes = u64::from(params.block_bytes_max).max(64 * 1024);
        Self {
            params: params.clone(),
            block_bytes,
            parts_per_s: bytes
                .saturating_mul(2_000)
                .checked_div(block_ms)
                .unwrap_or(u64::MAX),
            stand: Stand::default(),
            peers: BTreeMap::new(),
            disconnected: VecDeque::new(),
            streams: BTreeMap::new(),
        }
    }

    /// Updates the position of the replica.
    pub fn stand(&mut self, stand: Stand) {
        let (height, first) = (stand.height, stand.first);
        self.streams
            .retain(|(at, round, _), _| *at > height || (*at == height && *round >= first));
        self.stand = stand;
    }

    /// Registers a connected peer.
    pub fn connected(&mut self, peer: PeerId, validator: Option<PublicKey>) {
        self.disconnected.retain(|other| *other != peer);
        let known = self.peers.entry(peer).or_default();
        known.validator = validator;
        known.connected = true;
    }

    /// Removes a disconnected peer. Its requests are remembered for a while: their responses may be in flight.
    pub fn disconnected(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.connected = false;
        planted::on_disconnect(|| {
            known.blocks.clear();
            known.bodies.clear();
        });
        if self.disconnected.len() >= DISCONNECTED_MAX
            && let Some(oldest) = self.disconnected.pop_front()
        {
            self.peers.remove(&oldest);
        }
        self.disconnected.push_back(peer);
    }

    /// The validator that a connected peer proved to be.
    #[must_use]
    pub fn validator(&self, peer: PeerId) -> Option<PublicKey> {
        self.peers.get(&peer).and_then(|peer| peer.validator)
    }

    /// Records an outgoing message, if it is a request.
    pub fn asked(&mut self, to: PeerId, message: &Message, now: MonoTime) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        match message {
            Message::BodyRequest { block, .. } => remember(&mut peer.bodies, (*block, now), OPEN_MAX),
            Message::SyncRequest { from, count } => {
                let asked = BlocksAsked {
                    from: *from,
                    count: *count,
                    at: now,
                };
                remember(&mut peer.blocks, asked, OPEN_MAX);
            }
            _ => {}
        }
    }

    /// Rules on a message, as far as possible without checking a signature. Forgets the request of a
    /// response: one response for each.
    pub fn rule(&mut self, from: PeerId, message: &Message, now: MonoTime) -> Ruling {
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.connected) else {
            // Of a connection that ended meanwhile, or that has not begun yet.
            return match message {
                Message::Part(_) | Message::Body { .. } | Message::SyncResponse { .. } => Ruling::Drop,
                _ => Ruling::Take,
            };
        };
        match message {
            Message::Part(part) => self.part(from, part, now),
            Message::Body { header, .. } => peer.body(header.hash(), now),
            Message::SyncResponse { from: first, blocks } => peer.blocks(*first, blocks.len(), now),
            Message::Status { .. } | Message::BodyRequest { .. } => {
                if peer.small.spend(1, SMALL_BURST, SMALL_PER_S, now) {
                    Ruling::Take
                } else {
                    peer.flood("small messages without end", now)
                }
            }
            Message::SyncRequest { .. } => {
                if peer.requests.spend(1, REQUESTS_BURST, REQUESTS_PER_S, now) {
                    Ruling::Take
                } else {
                    peer.flood("requests for blocks without end", now)
                }
            }
            Message::Consensus(_) | Message::Evidence(_) | Message::Transactions(_) => Ruling::Take,
        }
    }

    fn part(&mut self, from: PeerId, part: &BlockPart, now: MonoTime) -> Ruling {
        let statement = &part.signed.statement;
        let refuse = |kind, reason| Ruling::Refuse(Refusal::free(kind, reason));
        let Some(peer) = self.peers.get_mut(&from) else {
            return Ruling::Drop;
        };
        // Parts are not forwarded: they arrive from the proposer, which has proven its key.
        if peer.validator != Some(statement.proposer) {
            return refuse(Refused::OutOfTurn, "a part of another one's block");
        }
        if usize::try_from(statement.sequence).unwrap_or(usize::MAX) > TICKS_MAX {
            return refuse(Refused::Oversized, "a part past the end of its block");
        }
        let bytes = part_bytes(part);
        if bytes > self.block_bytes.saturating_add(PART_BYTES_MIN) {
            return refuse(Refused::Oversized, "a part larger than a block");
        }
        let burst = u64::try_from(self.block_bytes.max(64 * KIB)).unwrap_or(u64::MAX);
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX);
        if !peer
            .parts
            .spend(cost, burst.saturating_mul(BURST_BLOCKS), self.parts_per_s, now)
        {
            return peer.flood("parts of more blocks than a validator can make", now);
        }
        match self.turn(statement.height, statement.round) {
            // Late, or of a height that this node has not reached.
            Turn::Elsewhere => return Ruling::Drop,
            Turn::Of(proposer) if proposer != statement.proposer => {
                return refuse(Refused::OutOfTurn, "a part out of turn");
            }
            Turn::Of(_) | Turn::Unknown => {}
        }
        let of = (statement.height, statement.round, statement.proposer);
        let stream = self.streams.entry(of).or_default();
        match stream.seen.get(&statement.sequence) {
            Some(digest) if *digest == statement.digest => return Ruling::Drop,
            Some(_) => {
                stream.conflicts = stream.conflicts.saturating_add(1);
                return if stream.conflicts > CONFLICTS_MAX {
                    refuse(Refused::Repeated, "parts of more than one block")
                } else {
                    Ruling::Evidence
                };
            }
            None => {}
        }
        let total = stream.bytes.saturating_add(bytes);
        let parts = stream.seen.len().saturating_add(1);
        let allowance = parts.saturating_mul(PART_BYTES_MIN);
        if total > self.block_bytes.saturating_add(allowance) {
            return refuse(Refused::Oversized, "parts of more bytes than a block has");
        }
        if let PartContent::Tick(tick) = &part.content {
            // The byte limit alone allows ten times the signatures that a block may have, and each would be checked.
            let transactions = stream.transactions.saturating_add(tick.transactions.len());
            let demand = stream.demand.of_block(&tick.transactions, &self.params);
            let (Ok(demand), true) = (
                demand,
                transactions <= self.params.block_transactions_max as usize,
            ) else {
                return refuse(Refused::Oversized, "parts that demand more than a block may");
            };
            (stream.transactions, stream.demand) = (transactions, demand);
        }
        stream.bytes = total;
        stream.seen.insert(statement.sequence, statement.digest);
        Ruling::Take
    }

    /// The turn at a height and round.
    fn turn(&self, height: Height, round: Round) -> Turn {
        let place = |turns: &[PublicKey], first: Round| {
            let at = round.0.checked_sub(first.0).map(usize::try_from);
            let at = at.and_then(Result::ok)?;
            turns.get(at).copied()
        };
        if height == self.stand.height {
            return place(&self.stand.turns, self.stand.first).map_or(Turn::Elsewhere, Turn::Of);
        }
        if height != self.stand.height.saturating_add(1) {
            return Turn::Elsewhere;
        }
        if self.stand.next_turns.is_empty() {
            // A peer that decided the present height before us begins the next one: any validator may be first there.
            return if round == Round::ZERO {
                Turn::Unknown
            } else {
                Turn::Elsewhere
            };
        }
        place(&self.stand.next_turns, Round::ZERO).map_or(Turn::Elsewhere, Turn::Of)
    }
}

enum Turn {
    Of(PublicKey),
    Unknown,
    Elsewhere,
}

/// Bytes of a part's transactions, plus an allowance for the rest of it.
#[must_use]
pub fn part_bytes(part: &BlockPart) -> usize {
    match &part.content {
        // Certificate and evidence are bounded by the wire, and only the first part has them.
        PartContent::Opening { .. } => PART_BYTES_MIN,
        PartContent::Tick(tick) => tick.transactions.iter().fold(PART_BYTES_MIN, |sum, tx| {
            sum.saturating_add(transaction_bytes(tx))
        }),
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
