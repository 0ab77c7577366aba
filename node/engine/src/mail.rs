//! Inputs from the network queued for the driver: connections, statements, and the newest heads of peers.
//!
//! | what | bound | when full |
//! |---|---|---|
//! | connections made and ended | two for each peer that is, or was last known to be, connected | never lost |
//! | statements and requests of validators | [`VALIDATORS`] | the flooding peer's are dropped |
//! | those of other peers | [`OTHERS`] | the flooding peer's are dropped |
//! | heads | one for each connected peer | the newest replaces the previous one |

use std::collections::{BTreeMap, VecDeque};

use crossbeam_channel::Receiver;
use parking_lot::Mutex;
use vibecoin_primitives::limits::{KIB, MIB};
use vibecoin_primitives::{Height, PublicKey};
use vibecoin_replica::{Message, PeerId};

use crate::driver::NodeEvent;
use crate::queue::{Bounds, FairQueue};

/// Bounds of consensus statements, evidence and requests for bodies from peers that are validators.
pub const VALIDATORS: Bounds = Bounds {
    peer_bytes_max: MIB,
    bytes_max: 16 * MIB,
};
/// The same for all other peers.
pub const OTHERS: Bounds = Bounds {
    peer_bytes_max: 256 * KIB,
    bytes_max: 4 * MIB,
};
/// Maximum number of consecutive statements taken while a head waits.
const IN_A_ROW_MAX: u32 = 32;

/// A connection that was made or has ended.
enum Meeting {
    Made {
        peer: PeerId,
        head: Height,
        validator: Option<PublicKey>,
    },
    Ended {
        peer: PeerId,
    },
}

#[derive(Default)]
struct Slots {
    meetings: VecDeque<Meeting>,
    heads: BTreeMap<PeerId, Height>,
    in_a_row: u32,
}

/// The mailbox that the network fills and the driver empties.
pub struct Mailbox {
    slots: Mutex<Slots>,
    statements: FairQueue<NodeEvent>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
            statements: FairQueue::new([VALIDATORS, OTHERS]),
        }
    }
}

impl Mailbox {
    /// A peer is connected.
    pub fn connected(&self, peer: PeerId, head: Height, validator: Option<PublicKey>) {
        self.slots.lock().meetings.push_back(Meeting::Made {
            peer,
            head,
            validator,
        });
        self.statements.ring();
    }

    /// A peer is disconnected. If the driver was not notified of its connection, neither event is delivered.
    pub fn disconnected(&self, peer: PeerId) {
        let mut slots = self.slots.lock();
        slots.heads.remove(&peer);
        let made = slots
            .meetings
            .iter()
            .rposition(|meeting| matches!(meeting, Meeting::Made { peer: made, .. } if *made == peer));
        match made {
            Some(at) => {
                slots.meetings.remove(at);
            }
            None => slots.meetings.push_back(Meeting::Ended { peer }),
        }
        drop(slots);
        self.statements.forget(peer);
        self.statements.ring();
    }

    /// A peer reports its newest block.
    pub fn head(&self, peer: PeerId, height: Height) {
        self.slots.lock().heads.insert(peer, height);
        self.statements.ring();
    }

    /// Adds a statement or a request of `bytes` bytes; returns `false` when there is no space.
    pub fn push(&self, by_validator: bool, peer: PeerId, bytes: usize, event: NodeEvent) -> bool {
        self.statements
            .push(usize::from(!by_validator), peer, bytes, event)
    }

    /// Removes and returns the next input.
    pub fn pop(&self) -> Option<NodeEvent> {
        let mut slots = self.slots.lock();
        if let Some(meeting) = slots.meetings.pop_front() {
            return Some(match meeting {
                Meeting::Made {
                    peer,
                    head,
                    validator,
                } => NodeEvent::Connected {
                    peer,
                    head,
                    validator,
                },
                Meeting::Ended { peer } => NodeEvent::Disconnected { peer },
            });
        }
        if slots.in_a_row < IN_A_ROW_MAX
            && let Some(event) = self.statements.pop()
        {
            slots.in_a_row = slots.in_a_row.saturating_add(1);
            return Some(event);
        }
        slots.in_a_row = 0;
        let Some((peer, height)) = slots.heads.pop_first() else {
            return self.statements.pop();
        };
        Some(NodeEvent::Message {
            from: peer,
            message: Box::new(Message::Status { height }),
            verified: Vec::new(),
            gossip: None,
        })
    }

    /// Signalled after each arrival; pop until the mailbox is empty before waiting again.
    pub const fn bell(&self) -> &Receiver<()> {
        self.statements.bell()
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);

    fn statement(mail: &Mailbox, by_validator: bool, peer: PeerId) -> bool {
        let message = Message::BodyRequest {
            height: Height(peer.0),
            block: vibecoin_primitives::Hash::ZERO,
        };
        let event = NodeEvent::Message {
            from: peer,
            message: Box::new(message),
            verified: Vec::new(),
            gossip: None,
        };
        mail.push(by_validator, peer, 200, event)
    }

    /// Remaining contents, one word each.
    fn rest(mail: &Mailbox) -> Vec<String> {
        let name = |event| match event {
            NodeEvent::Connected { peer, .. } => format!("connected {}", peer.0),
            NodeEvent::Disconnected { peer } => format!("disconnected {}", peer.0),
            NodeEvent::Message { from, message, .. } => match *message {
                Message::Status { height } => format!("head {} {height}", from.0),
                _ => format!("statement {}", from.0),
            },
            _ => panic!("nothing else was put in"),
        };
        std::iter::from_fn(|| mail.pop()).map(name).collect()
    }

    #[test]
    fn a_flood_of_heads_is_one_head_and_displaces_no_vote() {
        let mail = Mailbox::default();
        for height in 0..100_000 {
            mail.head(A, Height(height));
        }
        assert!(statement(&mail, true, B));
        assert_eq!(rest(&mail), ["statement 2", "head 1 99999"]);
    }

    #[test]
    fn a_connection_is_never_lost_however_full_the_box_is() {
        let mail = Mailbox::default();
        while statement(&mail, false, A) {}
        while statement(&mail, true, A) {}
        mail.connected(B, Height(5), None);
        assert_eq!(rest(&mail).first().map(String::as_str), Some("connected 2"));
    }

    #[test]
    fn connections_that_come_and_go_leave_nothing_behind() {
        let mail = Mailbox::default();
        for peer in (10..5_000).map(PeerId) {
            mail.connected(peer, Height(5), None);
            mail.head(peer, Height(6));
            assert!(statement(&mail, false, peer));
            mail.disconnected(peer);
        }
        assert_eq!(rest(&mail), Vec::<String>::new());
        mail.connected(A, Height(1), None);
        assert_eq!(rest(&mail), ["connected 1"]);
        mail.disconnected(A);
        mail.connected(A, Height(2), None);
        assert_eq!(rest(&mail), ["disconnected 1", "connected 1"]);
    }

    #[test]
    fn strangers_take_no_room_of_validators() {
        let mail = Mailbox::default();
        for peer in (100..200).map(PeerId) {
            while statement(&mail, false, peer) {}
        }
        assert!(statement(&mail, true, B));
        assert_eq!(rest(&mail).first().map(String::as_str), Some("statement 2"));
    }

    #[test]
    fn a_head_gets_its_turn_while_validators_talk() {
        let mail = Mailbox::default();
        mail.head(B, Height(7));
        for _ in 0..100 {
            assert!(statement(&mail, true, A));
        }
        let order = rest(&mail);
        let at = order.iter().position(|word| word == "head 2 7");
        assert_eq!(at, Some(usize::try_from(IN_A_ROW_MAX).unwrap_or(usize::MAX)));
    }
}
