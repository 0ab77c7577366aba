//! The numbers by which other crates know peers. An identity that reconnects has its previous number, so that
//! state kept of it elsewhere (proofs, refusals) still applies; and it still owes its pending responses. A
//! connection may break on one side only: the peer then answers on the next one the requests of the last.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use libp2p::PeerId as LibPeer;
use vibecoin_messages::PeerId;

use crate::lanes::{Owed, Rank};

/// Maximum number of disconnected peers of each rank whose numbers are kept: unknown peers, whose identities
/// are free, do not displace validators.
const DISCONNECTED_MAX: usize = 1_024;

struct Numbered {
    number: PeerId,
    /// The rank on the newest connection that completed the hello; `None` before any did.
    rank: Option<Rank>,
    owed: Arc<Owed>,
}

/// PeerNumbers of connected peers, and of some disconnected ones.
pub struct PeerNumbers {
    next: u64,
    of: HashMap<LibPeer, Numbered>,
    /// Connected peers.
    connected: BTreeMap<PeerId, LibPeer>,
    /// Disconnected peers, the oldest first.
    disconnected_strangers: VecDeque<LibPeer>,
    disconnected_known: VecDeque<LibPeer>,
}

impl PeerNumbers {
    pub fn new() -> Self {
        Self {
            next: 1,
            of: HashMap::new(),
            connected: BTreeMap::new(),
            disconnected_strangers: VecDeque::new(),
            disconnected_known: VecDeque::new(),
        }
    }

    const fn disconnected_of(&mut self, rank: Rank) -> &mut VecDeque<LibPeer> {
        match rank {
            Rank::Stranger => &mut self.disconnected_strangers,
            Rank::Known => &mut self.disconnected_known,
        }
    }

    /// Returns the number of a peer that connects.
    pub fn connected(&mut self, peer: LibPeer) -> PeerId {
        let remembered = self.of.get(&peer).map(|known| (known.number, known.rank));
        let number = match remembered {
            Some((number, rank)) => {
                if let Some(rank) = rank {
                    self.disconnected_of(rank).retain(|other| *other != peer);
                }
                number
            }
            None => {
                let number = PeerId(self.next);
                self.next = self.next.saturating_add(1);
                let numbered = Numbered {
                    number,
                    rank: None,
                    owed: Arc::default(),
                };
                self.of.insert(peer, numbered);
                number
            }
        };
        self.connected.insert(number, peer);
        number
    }

    /// Records that the peer completed its hello and is announced to other crates. Returns the responses that
    /// it owes.
    pub fn admitted(&mut self, peer: &LibPeer, rank: Rank) -> Arc<Owed> {
        let Some(known) = self.of.get_mut(peer) else {
            return Arc::default();
        };
        known.rank = Some(rank);
        Arc::clone(&known.owed)
    }

    /// Records that the last connection of the peer ended.
    pub fn disconnected(&mut self, peer: &LibPeer) {
        let Some(known) = self.of.get(peer) else { return };
        let rank = known.rank;
        self.connected.remove(&known.number);
        let Some(rank) = rank else {
            self.of.remove(peer);
            return;
        };
        known.owed.shorten();
        let disconnected = self.disconnected_of(rank);
        disconnected.push_back(*peer);
        if disconnected.len() > DISCONNECTED_MAX
            && let Some(oldest) = disconnected.pop_front()
        {
            self.of.remove(&oldest);
        }
    }

    /// The peer with this number, if it is connected.
    pub fn peer(&self, number: PeerId) -> Option<LibPeer> {
        self.connected.get(&number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(numbers: &mut PeerNumbers, peer: LibPeer, rank: Option<Rank>) -> PeerId {
        let number = numbers.connected(peer);
        assert_eq!(numbers.peer(number), Some(peer));
        if let Some(rank) = rank {
            numbers.admitted(&peer, rank);
        }
        numbers.disconnected(&peer);
        assert_eq!(numbers.peer(number), None);
        number
    }

    #[test]
    fn an_identity_keeps_its_number_and_no_other_gets_it() {
        let mut numbers = PeerNumbers::new();
        let [a, b] = [(); 2].map(|()| LibPeer::random());
        let first = visit(&mut numbers, a, Some(Rank::Stranger));
        assert_ne!(visit(&mut numbers, b, Some(Rank::Stranger)), first);
        assert_eq!(
            visit(&mut numbers, a, None),
            first,
            "a visit without a hello changes nothing"
        );
        assert_eq!(visit(&mut numbers, a, Some(Rank::Known)), first);
        assert_eq!(visit(&mut numbers, a, None), first);
    }

    #[test]
    fn a_peer_owes_on_its_next_connection_what_it_owed_on_the_last_and_a_few_answers_at_most() {
        use crate::wire::kind;
        use vibecoin_primitives::{Hash, Height};
        let mut numbers = PeerNumbers::new();
        let [honest, other] = [(); 2].map(|()| LibPeer::random());
        let question = vibecoin_messages::Message::BodyRequest {
            height: Height(1),
            block: Hash::ZERO,
        };
        let meet = |numbers: &mut PeerNumbers, peer| {
            numbers.connected(peer);
            numbers.admitted(&peer, Rank::Stranger)
        };
        meet(&mut numbers, honest).asked(&question);
        numbers.disconnected(&honest);
        assert!(!meet(&mut numbers, other).take(kind::BODY), "asked of another");
        let owed = meet(&mut numbers, honest);
        assert!(owed.take(kind::BODY));
        assert!(!owed.take(kind::BODY), "one answer for each question");
        (0..1_000).for_each(|_| owed.asked(&question));
        numbers.disconnected(&honest);
        let owed = meet(&mut numbers, honest);
        assert_eq!((0..1_000).filter(|_| owed.take(kind::BODY)).count(), 16);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_strangers_displace_no_validator() {
        let mut numbers = PeerNumbers::new();
        let [validator, first] = [(); 2].map(|()| LibPeer::random());
        let number = visit(&mut numbers, validator, Some(Rank::Known));
        let old = visit(&mut numbers, first, Some(Rank::Stranger));
        for _ in 0..3_000 {
            visit(&mut numbers, LibPeer::random(), Some(Rank::Stranger));
            visit(&mut numbers, LibPeer::random(), None);
        }
        assert_eq!(numbers.of.len(), DISCONNECTED_MAX.saturating_add(1));
        assert_eq!(visit(&mut numbers, validator, None), number);
        assert_ne!(visit(&mut numbers, first, None), old, "it is forgotten");
    }
}
