//! Scheduling of queued requests for blocks. Plain values: the caller has the clock and the disk.
//!
//! ```text
//! ask ──▶ places of a class (two requests for old blocks and one for a body, per peer) ──▶ next: peers in turn, at the
//!                                                                                          pace of the class
//! ```
//!
//! Validators and configured peers have separate slots and a separate budget and go first, so no number of
//! unknown peers delays a validator that catches up. Within a class each peer has its turn, and a turn is one
//! response of bounded size: a peer that always has requests queued receives no more than one that sends
//! a request now and then.
//!
//! There is no budget per peer: a peer may use what the others of its class leave. A node that joins alone
//! receives the whole budget of the unknown peers, and many peers together receive no more than one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use vibecoin_primitives::limits::MIB;
use vibecoin_primitives::{Hash, Height};
use vibecoin_replica::PeerId;

/// Maximum number of peers of a class with queued requests. More than there are connection slots by default.
pub const PEERS_MAX: usize = 256;
/// Maximum number of queued requests of one peer for old blocks: as many as an honest peer has in flight. One
/// for a body is beside them.
pub const REQUESTS_PER_PEER_MAX: usize = 2;
/// Budget that a class may accumulate, as a time: allows a short chain to be fetched at once.
const SAVED: Duration = Duration::from_secs(4);
/// Fraction of a second's budget that a response may take when nothing is accumulated. A peer of unknown
/// speed has 600 ms for a response, two of its requests are queued, and others may be before it.
const ANSWERS_PER_S: u64 = 8;

/// The class whose slots and byte budget a peer shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Validators and peers that the operator configured.
    Known,
    /// All other peers.
    Stranger,
}

/// Bytes per second of the answers to each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paces {
    /// For all validators and configured peers together.
    pub known: u64,
    /// For all other peers together.
    pub strangers: u64,
}

impl Paces {
    /// The paces of a node that runs a validator. Encryption and sending use the processor that it votes
    /// with: 50 MB/s cost two busy cores a quarter of their blocks. A joining node requests from all nodes
    /// that it finds, so from four validators it receives 8 MiB/s, more than it can execute.
    pub const VALIDATOR: Self = Self {
        known: 16 * MIB as u64,
        strangers: 2 * MIB as u64,
    };
    /// The paces of other nodes, which exist to serve requests.
    pub const FULL_NODE: Self = Self {
        known: 16 * MIB as u64,
        strangers: 8 * MIB as u64,
    };
}

/// A request of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Decided blocks.
    Blocks { from: Height, count: u32 },
    /// The body of a block that may be decided next.
    Body(Hash),
}

impl Request {
    const fn is_body(&self) -> bool {
        matches!(self, Self::Body(_))
    }
}

/// A request to serve next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub class: Class,
    pub peer: PeerId,
    pub request: Request,
    /// Size in bytes beyond which the response takes no further block.
    pub bytes_enough: usize,
}

/// Next step of the serving thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Serve this request.
    Answer(Turn),
    /// Wait for this long, unless a request arrives.
    Wait(Duration),
    /// Wait until a request arrives.
    Idle,
}

/// A budget of bytes. A response may begin while some is left, and its size is charged afterwards.
#[derive(Debug)]
struct Budget {
    per_s: u64,
    /// Time at which everything charged so far is earned.
    earned_at: Duration,
}

impl Budget {
    fn time(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let nanos = u128::from(bytes)
            .saturating_mul(1_000_000_000)
            .checked_div(u128::from(self.per_s));
        Duration::from_nanos(nanos.map_or(u64::MAX, |nanos| u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Accumulated budget, as a time.
    fn saved(&self, now: Duration) -> Duration {
        SAVED.saturating_sub(self.earned_at.saturating_sub(now))
    }

    /// Time until the budget is positive.
    fn wait(&self, now: Duration) -> Duration {
        let owed = self.earned_at.saturating_sub(now);
        if owed < SAVED {
            return Duration::ZERO;
        }
        // A wait of zero would not be a wait.
        owed.saturating_sub(SAVED).max(Duration::from_millis(1))
    }

    fn take(&mut self, bytes: usize, now: Duration) {
        let begun = self.earned_at.max(now);
        self.earned_at = begun.saturating_add(self.time(bytes));
    }

    /// Size of a response for this number of waiting peers: their share of the accumulated budget.
    fn share(&self, peers: usize, now: Duration) -> usize {
        let saved = self.saved(now).as_millis();
        let bytes = saved.saturating_mul(u128::from(self.per_s)) / 1_000;
        let peers = u128::try_from(peers).unwrap_or(u128::MAX).max(1);
        let part = bytes.checked_div(peers).unwrap_or(0);
        let least = u128::from(self.per_s / ANSWERS_PER_S);
        usize::try_from(part.max(least)).unwrap_or(usize::MAX)
    }
}

/// Queued requests of one class.
#[derive(Debug)]
struct Places {
    waiting: BTreeMap<PeerId, VecDeque<Request>>,
    /// Each peer with a request, once; the next one first.
    order: VecDeque<PeerId>,
    budget: Budget,
}

impl Places {
    const fn new(per_s: u64) -> Self {
        Self {
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            budget: Budget {
                per_s,
                earned_at: Duration::ZERO,
            },
        }
    }

    fn ask(&mut self, peer: PeerId, request: Request) -> bool {
        if let Some(own) = self.waiting.get_mut(&peer) {
            // Its request for a body, if any, is at the front: the body is of use for less than a second. An
            // earlier request is for another round, or for a height that has ended.
            let bodies = usize::from(own.front().is_some_and(Request::is_body));
            if request.is_body() {
                if bodies > 0 {
                    own.pop_front();
                }
                own.push_front(request);
                return true;
            }
            // A peer that exceeds its number of requests has abandoned its oldest one.
            if own.len().saturating_sub(bodies) >= REQUESTS_PER_PEER_MAX {
                own.remove(bodies);
            }
            own.push_back(request);
            return true;
        }
        if self.order.len() >= PEERS_MAX {
            return false;
        }
        self.waiting.insert(peer, VecDeque::from([request]));
        self.order.push_back(peer);
        true
    }

    fn forget(&mut self, peer: PeerId) {
        if self.waiting.remove(&peer).is_some() {
            self.order.retain(|other| *other != peer);
        }
    }

    /// Removes and returns the next request and its peer, which goes behind all others.
    fn turn(&mut self) -> Option<(PeerId, Request)> {
        let peer = self.order.pop_front()?;
        let own = self.waiting.get_mut(&peer)?;
        let request = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&peer);
        } else {
            self.order.push_back(peer);
        }
        Some((peer, request?))
    }
}

/// Queued requests of both classes.
#[derive(Debug)]
pub struct Turns {
    known: Places,
    strangers: Places,
}

impl Turns {
    /// No requests, and both budgets full.
    pub const fn new(paces: Paces) -> Self {
        Self {
            known: Places::new(paces.known),
            strangers: Places::new(paces.strangers),
        }
    }

    const fn of(&mut self, class: Class) -> &mut Places {
        match class {
            Class::Known => &mut self.known,
            Class::Stranger => &mut self.strangers,
        }
    }

    /// Queues a request; returns false when every slot of the class is taken.
    pub fn ask(&mut self, class: Class, peer: PeerId, request: Request) -> bool {
        self.of(class).ask(peer, request)
    }

    /// Drops the requests of a disconnected peer.
    pub fn forget(&mut self, peer: PeerId) {
        self.known.forget(peer);
        self.strangers.forget(peer);
    }

    /// Next step at `now`, a time since any fixed moment.
    pub fn next(&mut self, now: Duration) -> Next {
        let mut next = Next::Idle;
        for class in [Class::Known, Class::Stranger] {
            let places = self.of(class);
            let peers = places.order.len();
            if peers == 0 {
                continue;
            }
            let wait = places.budget.wait(now);
            if wait.is_zero() {
                let bytes_enough = places.budget.share(peers, now);
                if let Some((peer, request)) = places.turn() {
                    return Next::Answer(Turn {
                        class,
                        peer,
                        request,
                        bytes_enough,
                    });
                }
            } else {
                next = match next {
                    Next::Wait(other) => Next::Wait(other.min(wait)),
                    _ => Next::Wait(wait),
                };
            }
        }
        next
    }

    /// Charges a response of `bytes` bytes to a peer of this class.
    pub fn spent(&mut self, class: Class, bytes: usize, now: Duration) {
        self.of(class).budget.take(bytes, now);
    }

    /// Returns true if no request is queued and no state of any peer is kept.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let none = |places: &Places| places.waiting.is_empty() && places.order.is_empty();
        none(&self.known) && none(&self.strangers)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::panic)]
mod tests {
    use super::*;

    const PACES: Paces = Paces {
        known: 8 * MIB as u64,
        strangers: MIB as u64,
    };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn request(from: u64) -> Request {
        Request::Blocks {
            from: Height(from),
            count: 16,
        }
    }

    /// Requests of peers, in the order of their responses.
    fn requests(turns: &mut Turns) -> Vec<Request> {
        let next = || match turns.next(at(0)) {
            Next::Answer(turn) => Some(turn.request),
            Next::Wait(_) | Next::Idle => None,
        };
        std::iter::from_fn(next).collect()
    }

    fn stranger(turns: &mut Turns, peer: u64, from: u64) -> bool {
        turns.ask(Class::Stranger, PeerId(peer), request(from))
    }

    /// Peers in the order of their responses at `now`, each of `bytes` bytes.
    fn answered(turns: &mut Turns, bytes: usize, now: Duration) -> Vec<u64> {
        let mut peers = Vec::new();
        while let Next::Answer(turn) = turns.next(now) {
            turns.spent(turn.class, bytes, now);
            peers.push(turn.peer.0);
        }
        peers
    }

    #[test]
    fn peers_have_their_turns_however_many_requests_each_has() {
        let mut turns = Turns::new(PACES);
        for from in [1, 17] {
            assert!(stranger(&mut turns, 1, from));
        }
        assert!(stranger(&mut turns, 2, 1));
        assert!(stranger(&mut turns, 3, 1));
        assert_eq!(answered(&mut turns, 0, at(0)), [1, 2, 3, 1]);
        assert!(turns.is_empty());
    }

    #[test]
    fn a_third_request_takes_the_place_of_the_first_of_the_same_peer() {
        let mut turns = Turns::new(PACES);
        for from in [1, 17, 33] {
            assert!(stranger(&mut turns, 1, from));
        }
        assert_eq!(requests(&mut turns), [17, 33].map(request));
    }

    #[test]
    fn a_peer_waits_for_one_body_which_goes_before_its_old_blocks_and_displaces_none() {
        let mut turns = Turns::new(PACES);
        let body = |n| Request::Body(Hash([n; 32]));
        for asked in [request(1), body(1), request(17), body(2), request(33)] {
            assert!(turns.ask(Class::Stranger, PeerId(1), asked));
        }
        assert_eq!(requests(&mut turns), [body(2), request(17), request(33)]);
        assert!(turns.is_empty());
    }

    #[test]
    fn bodies_are_given_at_the_pace_of_old_blocks() {
        let mut turns = Turns::new(PACES);
        let mut bodies = 0;
        for ms in 0..10_000 {
            for peer in 0..10 {
                turns.ask(Class::Stranger, PeerId(peer), Request::Body(Hash::ZERO));
            }
            while let Next::Answer(turn) = turns.next(at(ms)) {
                turns.spent(turn.class, MIB, at(ms));
                bodies += 1;
            }
        }
        assert_eq!(bodies, 14, "10 s at 1 MiB/s, and 4 MiB saved");
    }

    #[test]
    fn strangers_that_hold_every_place_of_theirs_take_none_of_known_peers() {
        let mut turns = Turns::new(PACES);
        let places = u64::try_from(PEERS_MAX).unwrap_or_default();
        assert!((0..places).all(|peer| stranger(&mut turns, peer, 1)));
        assert!(!stranger(&mut turns, places, 1));
        assert!(
            stranger(&mut turns, 0, 17),
            "those who wait keep their second place"
        );
        let validator = PeerId(places + 1);
        assert!(turns.ask(Class::Known, validator, request(1)));
        let Next::Answer(first) = turns.next(at(0)) else {
            panic!("nothing to answer");
        };
        assert_eq!((first.class, first.peer), (Class::Known, validator));
        turns.forget(PeerId(0));
        assert!(stranger(&mut turns, places, 1), "one that left leaves its place");
    }

    #[test]
    fn strangers_together_get_their_budget_and_what_was_saved_and_no_more() {
        let mut turns = Turns::new(PACES);
        let (mut bytes, mut of) = (0, [0_usize; 8]);
        for ms in 0..20_000 {
            for peer in 0..8 {
                stranger(&mut turns, peer, ms);
            }
            while let Next::Answer(turn) = turns.next(at(ms)) {
                let answer = turn.bytes_enough.min(4 * MIB);
                turns.spent(turn.class, answer, at(ms));
                bytes += answer;
                if let Some(of) = usize::try_from(turn.peer.0).ok().and_then(|at| of.get_mut(at)) {
                    *of += answer;
                }
                stranger(&mut turns, turn.peer.0, ms);
            }
        }
        let (least, most) = (24 * MIB - MIB / 4, 24 * MIB + MIB / 4);
        assert!(
            (least..=most).contains(&bytes),
            "{bytes} bytes in 20 s at 1 MiB/s and 4 MiB saved"
        );
        let [first, .., last] = of;
        assert!(of.iter().all(|of| of.abs_diff(bytes / 8) < MIB), "{of:?}");
        assert!(first.abs_diff(last) < MIB, "{of:?}");
    }

    #[test]
    fn a_peer_that_asks_now_and_then_waits_for_one_answer_of_each_other_at_most() {
        let mut turns = Turns::new(PACES);
        for peer in 0..8 {
            stranger(&mut turns, peer, 1);
            stranger(&mut turns, peer, 17);
        }
        turns.spent(Class::Stranger, 64 * MIB, at(0));
        let debt = turns.next(at(0));
        let Next::Wait(wait) = debt else {
            panic!("{debt:?}");
        };
        assert_eq!(wait, Duration::from_secs(60));
        stranger(&mut turns, 100, 1);
        let mut now = wait;
        let mut before = 0;
        loop {
            match turns.next(now) {
                Next::Answer(turn) if turn.peer == PeerId(100) => break,
                Next::Answer(turn) => {
                    assert_eq!(turn.bytes_enough, MIB / 8, "nothing is saved");
                    turns.spent(turn.class, turn.bytes_enough, now);
                    stranger(&mut turns, turn.peer.0, 1);
                    before += 1;
                }
                Next::Wait(time) => now += time,
                Next::Idle => panic!("a request is lost"),
            }
        }
        assert_eq!(before, 8);
    }

    #[test]
    fn a_lone_stranger_has_all_that_strangers_may_have() {
        let mut turns = Turns::new(PACES);
        stranger(&mut turns, 1, 1);
        let Next::Answer(turn) = turns.next(at(0)) else {
            panic!("nothing to answer");
        };
        assert_eq!(turn.bytes_enough, 4 * MIB, "all that is saved");
    }

    #[test]
    fn what_strangers_owe_delays_no_known_peer() {
        let mut turns = Turns::new(PACES);
        turns.spent(Class::Stranger, 1 << 40, at(0));
        stranger(&mut turns, 1, 1);
        turns.ask(Class::Known, PeerId(2), request(1));
        assert_eq!(answered(&mut turns, MIB, at(0)), [2]);
        assert!(matches!(turns.next(at(0)), Next::Wait(_)));
        turns.forget(PeerId(1));
        assert_eq!(turns.next(at(0)), Next::Idle);
        assert!(turns.is_empty());
    }
}
