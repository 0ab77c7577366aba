//! Copies of gossiped messages.
//!
//! A node that waits for others publishes its votes again, each time with a different number in front, so
//! that the copy is not taken for a duplicate: a message that was lost, or arrived too early to be of use,
//! arrives again. Any peer can put a different number in front of another's message, and every copy is
//! forwarded by every node. So a message is forwarded in a small burst and then at the rate at which an
//! honest node sends it again, however many copies arrive. Relays are not blamed for copies: each forwards a
//! few, so a message arrives with as many copies as there are relays. Only a peer that sends far more copies
//! of one message than a relay may, and more than all other peers together, is blamed. Refused copies are
//! duplicates, so no honest message is lost.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use libp2p::PeerId as LibPeer;
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::lanes::Rank;

/// Number of messages whose copies are counted, on each topic.
const COUNTED_MAX: usize = 8_192;
/// Rate limit for forwarding a message: interval and burst. Two nodes that lost each other send each vote ten
/// times in the second after they reconnect, and then once in each of the chain's timeouts.
const EACH: Duration = Duration::from_millis(500);
const BURST: u32 = 4;
/// Lead in refused copies of a message that the peer that sends the most of them must have over all others
/// together, for more of them to count against it.
const LEAD_MAX: u32 = 64;
/// Number of such copies of all messages that an unknown peer may send at once, and the interval at which one
/// is forgiven.
const EXCESS_MAX: u32 = 256;
const EXCESS_EACH: Duration = Duration::from_millis(20);
/// The same for validators and configured peers. One that forwards an attacker's copies of every statement of
/// a height that does not end is far ahead of all others here, when these copies arrived here first: two a
/// second of some 400 messages. A ban for that would stop the chain.
const KNOWN_EXCESS_MAX: u32 = 16_384;
const KNOWN_EXCESS_EACH: Duration = Duration::from_micros(500);
/// Number of peers whose refused copies are counted.
const PEERS_MAX: usize = 1_024;

/// Identity of a message without the number of its copy.
pub type Name = [u8; 16];

/// Returns the name of an envelope.
pub fn name_of(envelope: &[u8]) -> Name {
    let mut name = Name::default();
    let hash = blake3::hash(envelope);
    for (to, from) in name.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    name
}

/// Verdict on a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It may be delivered and forwarded.
    Fresh,
    /// The message was forwarded often enough.
    Enough,
    /// The same, and its sender sent too many such copies.
    Fault,
}

/// The copies of one message.
struct Counted {
    passed: Bucket,
    /// The peer with the most refused copies, and its lead over all others together.
    most: Option<LibPeer>,
    lead: u32,
}

impl Counted {
    /// Counts a refused copy; returns `true` when its sender is far ahead of all others.
    fn refused(&mut self, from: LibPeer) -> bool {
        if self.most == Some(from) {
            self.lead = self.lead.saturating_add(1);
            return self.lead > LEAD_MAX;
        }
        if self.lead == 0 {
            (self.most, self.lead) = (Some(from), 1);
        } else {
            self.lead = self.lead.saturating_sub(1);
        }
        false
    }
}

/// The copies of one topic.
#[derive(Default)]
pub struct Repeats {
    counted: HashMap<Name, Counted>,
    order: VecDeque<Name>,
    excess: HashMap<LibPeer, Bucket>,
}

/// The copies of each topic: messages that unknown peers invent on one take no space on the other.
#[derive(Default)]
pub struct AllRepeats {
    pub consensus: Repeats,
    pub transactions: Repeats,
}

impl Repeats {
    /// Counts a copy that a peer sent.
    pub fn copy(&mut self, name: Name, from: LibPeer, rank: Rank, now: Instant) -> Repeat {
        if let Some(counted) = self.counted.get_mut(&name) {
            if counted.passed.take(now) {
                return Repeat::Fresh;
            }
            if counted.refused(from) {
                return self.excess_of(from, rank, now);
            }
            return Repeat::Enough;
        }
        if self.order.len() >= COUNTED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.counted.remove(&oldest);
        }
        let mut passed = Bucket::new(EACH, BURST, now);
        passed.take(now);
        self.order.push_back(name);
        let counted = Counted {
            passed,
            most: None,
            lead: 0,
        };
        self.counted.insert(name, counted);
        Repeat::Fresh
    }

    fn excess_of(&mut self, from: LibPeer, rank: Rank, now: Instant) -> Repeat {
        if self.excess.len() >= PEERS_MAX && !self.excess.contains_key(&from) {
            self.excess.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.excess.len() >= PEERS_MAX && !self.excess.contains_key(&from) {
            return Repeat::Enough;
        }
        let fresh = || match rank {
            Rank::Stranger => Bucket::new(EXCESS_EACH, EXCESS_MAX, now),
            Rank::Known => Bucket::new(KNOWN_EXCESS_EACH, KNOWN_EXCESS_MAX, now),
        };
        let bucket = self.excess.entry(from).or_insert_with(fresh);
        if bucket.take(now) {
            Repeat::Enough
        } else {
            Repeat::Fault
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn later(start: Instant, ms: u64) -> Instant {
        start.checked_add(Duration::from_millis(ms)).unwrap()
    }

    #[test]
    fn a_message_passes_a_few_times_at_once_and_then_at_the_pace_of_an_honest_sender() {
        let (mut repeats, peer, start) = (Repeats::default(), LibPeer::random(), Instant::now());
        let vote = name_of(b"vote");
        let passed = |repeats: &mut Repeats, at: Instant, count: usize| {
            let copies = (0..count).map(|_| repeats.copy(vote, peer, Rank::Stranger, at));
            copies.filter(|copy| *copy == Repeat::Fresh).count()
        };
        assert_eq!(passed(&mut repeats, start, 100), 4);
        assert_eq!(passed(&mut repeats, later(start, 500), 100), 1);
        assert_eq!(
            repeats.copy(name_of(b"another"), peer, Rank::Stranger, start),
            Repeat::Fresh
        );
        // At the rate of the chain's timeouts: each copy passes.
        for turn in 4..40 {
            assert_eq!(
                passed(&mut repeats, later(start, 500 * turn), 1),
                1,
                "turn {turn}"
            );
        }
    }

    #[test]
    fn a_peer_that_numbers_anothers_message_a_thousand_times_is_at_fault_and_an_honest_one_is_not() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let [liar, honest] = [(); 2].map(|()| LibPeer::random());
        let vote = name_of(b"vote");
        let copies: Vec<Repeat> = (0..1_000)
            .map(|_| repeats.copy(vote, liar, Rank::Stranger, start))
            .collect();
        let fault = copies.iter().position(|copy| *copy == Repeat::Fault);
        assert_eq!(
            fault,
            Some(324),
            "4 that passed, 64 in the lead and 256 that count"
        );
        // Five votes of a node that reconnects: ten times a second, for a second, every ten seconds.
        for second in (10..200_u64).step_by(10) {
            for tenth in 0..10 {
                let now = later(start, 1_000 * second + 100 * tenth);
                for vote in [b"a", b"b", b"c", b"d", b"e"] {
                    assert_ne!(
                        repeats.copy(name_of(vote), honest, Rank::Stranger, now),
                        Repeat::Fault
                    );
                }
            }
        }
    }

    #[test]
    fn relays_of_an_attackers_copies_are_not_at_fault() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let relays = [(); 2].map(|()| LibPeer::random());
        // Unknown peers give each relay different copies of every vote; each relay forwards four at once, and
        // two a second.
        for vote in 0..2_000_u32 {
            for turn in 0..8 {
                let now = later(start, u64::from(vote) * 50 + turn * 500);
                let copies = if turn == 0 { 4 } else { 1 };
                for _ in 0..copies {
                    for relay in relays {
                        let copy = repeats.copy(name_of(&vote.to_le_bytes()), relay, Rank::Stranger, now);
                        assert_ne!(copy, Repeat::Fault, "vote {vote}, turn {turn}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_validator_that_forwards_an_attackers_copies_while_a_height_does_not_end_is_not_at_fault() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let [attacker, relay] = [(); 2].map(|()| LibPeer::random());
        let banned_at = |repeats: &mut Repeats, rank| {
            // The attacker's own copies arrive first and use up the limit, every half second for ten minutes.
            (0..1_200_u64).find(|turn| {
                let now = later(start, turn * 500);
                (0..400_u32).any(|vote| {
                    let name = name_of(&vote.to_le_bytes());
                    let _passed = repeats.copy(name, attacker, Rank::Known, now);
                    repeats.copy(name, relay, rank, now) == Repeat::Fault
                })
            })
        };
        assert_eq!(banned_at(&mut repeats, Rank::Known), None);
        assert!(banned_at(&mut Repeats::default(), Rank::Stranger).is_some());
        // Without end is also too much for a validator.
        let vote = name_of(b"vote");
        let mut copies =
            (0..40_000).map(|_| repeats.copy(vote, attacker, Rank::Known, later(start, 600_000)));
        assert!(copies.any(|copy| copy == Repeat::Fault));
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for number in 0..20_000_u32 {
            let name = name_of(&number.to_le_bytes());
            let peer = LibPeer::random();
            let copies = (0..6).filter(|_| repeats.copy(name, peer, Rank::Stranger, now) == Repeat::Fresh);
            assert_eq!(copies.count(), 4);
        }
        assert_eq!(repeats.counted.len(), COUNTED_MAX);
        assert_eq!(repeats.order.len(), COUNTED_MAX);
        assert!(repeats.excess.len() <= PEERS_MAX);
    }
}
