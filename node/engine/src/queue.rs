//! A queue with priority classes, bounded in bytes per peer and in total, fair between peers.
//!
//! ```text
//!  class 0 (dearest)   peer a ▪▪▪  peer b ▪        round robin between peers,
//!  class 1             peer c ▪▪▪▪▪▪▪▪             the dearest class first,
//!  class 2 (strangers) …                           and every so often a lower one
//! ```
//!
//! No class takes space from another. Within a class a peer has its own bound, and where the class is full,
//! the peer with the largest share loses its newest item to one with less: a flood displaces itself.

use std::collections::{BTreeMap, VecDeque};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use vibecoin_replica::PeerId;

/// Fixed cost of an item beside its bytes.
pub const ITEM_BYTES: usize = 256;
/// Maximum number of consecutive items of the highest class while a lower one waits.
const IN_A_ROW_MAX: u32 = 16;

/// Bounds of one class.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Maximum bytes of one peer.
    pub peer_bytes_max: usize,
    /// Maximum bytes of all peers together.
    pub bytes_max: usize,
}

struct Item<T> {
    bytes: usize,
    value: T,
}

struct Waiting<T> {
    bytes: usize,
    items: VecDeque<Item<T>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            bytes: 0,
            items: VecDeque::new(),
        }
    }
}

struct Class<T> {
    bounds: Bounds,
    bytes: usize,
    peers: BTreeMap<PeerId, Waiting<T>>,
    /// Peer of the last turn.
    last: PeerId,
}

impl<T> Class<T> {
    const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            bytes: 0,
            peers: BTreeMap::new(),
            last: PeerId(0),
        }
    }

    fn push(&mut self, peer: PeerId, bytes: usize, value: T) -> bool {
        let bytes = bytes.saturating_add(ITEM_BYTES);
        let held = self.peers.get(&peer).map_or(0, |waiting| waiting.bytes);
        let after = held.saturating_add(bytes);
        if after > self.bounds.peer_bytes_max || bytes > self.bounds.bytes_max {
            return false;
        }
        while self.bytes.saturating_add(bytes) > self.bounds.bytes_max {
            let fattest = self.peers.iter().max_by_key(|(_, waiting)| waiting.bytes);
            let Some((fattest, _)) = fattest.filter(|(_, waiting)| waiting.bytes > after) else {
                return false;
            };
            let fattest = *fattest;
            self.drop_newest(fattest);
        }
        let waiting = self.peers.entry(peer).or_default();
        waiting.bytes = after;
        waiting.items.push_back(Item { bytes, value });
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    fn drop_newest(&mut self, peer: PeerId) {
        let Some(waiting) = self.peers.get_mut(&peer) else {
            return;
        };
        if let Some(item) = waiting.items.pop_back() {
            waiting.bytes = waiting.bytes.saturating_sub(item.bytes);
            self.bytes = self.bytes.saturating_sub(item.bytes);
        }
        if waiting.items.is_empty() {
            self.peers.remove(&peer);
        }
    }

    fn pop(&mut self) -> Option<T> {
        let next = self.peers.range(PeerId(self.last.0.saturating_add(1))..).next();
        let peer = *next.or_else(|| self.peers.iter().next())?.0;
        self.last = peer;
        let waiting = self.peers.get_mut(&peer)?;
        let item = waiting.items.pop_front()?;
        waiting.bytes = waiting.bytes.saturating_sub(item.bytes);
        self.bytes = self.bytes.saturating_sub(item.bytes);
        if waiting.items.is_empty() {
            self.peers.remove(&peer);
        }
        Some(item.value)
    }

    fn forget(&mut self, peer: PeerId) {
        if let Some(waiting) = self.peers.remove(&peer) {
            self.bytes = self.bytes.saturating_sub(waiting.bytes);
        }
    }
}

struct Classes<T> {
    classes: Vec<Class<T>>,
    in_a_row: u32,
}

impl<T> Classes<T> {
    fn pop(&mut self) -> Option<T> {
        let mut open: Vec<usize> = Vec::with_capacity(self.classes.len());
        for (index, class) in self.classes.iter().enumerate() {
            if class.bytes > 0 {
                open.push(index);
            }
        }
        let turn_of_lower = self.in_a_row >= IN_A_ROW_MAX && open.len() > 1;
        let index = if turn_of_lower {
            open.get(1)?
        } else {
            open.first()?
        };
        self.in_a_row = if turn_of_lower || open.len() < 2 {
            0
        } else {
            self.in_a_row.saturating_add(1)
        };
        self.classes.get_mut(*index)?.pop()
    }
}

/// The queue. Any thread may push; one thread pops.
pub struct FairQueue<T> {
    classes: Mutex<Classes<T>>,
    bell: Sender<()>,
    rung: Receiver<()>,
}

impl<T> FairQueue<T> {
    /// An empty queue with one class for each of the bounds, in descending priority.
    pub fn new(bounds: impl IntoIterator<Item = Bounds>) -> Self {
        let (bell, rung) = bounded(1);
        Self {
            classes: Mutex::new(Classes {
                classes: bounds.into_iter().map(Class::new).collect(),
                in_a_row: 0,
            }),
            bell,
            rung,
        }
    }

    /// Adds an item of `bytes` bytes; returns `false` when its peer or its class has no space for it.
    pub fn push(&self, class: usize, peer: PeerId, bytes: usize, item: T) -> bool {
        let mut classes = self.classes.lock();
        let taken = classes
            .classes
            .get_mut(class)
            .is_some_and(|class| class.push(peer, bytes, item));
        drop(classes);
        if taken {
            self.ring();
        }
        taken
    }

    /// Signals the bell, for input beside the queue.
    pub fn ring(&self) {
        // A full channel is fine: the signal is pending already.
        let _rings = self.bell.try_send(());
    }

    /// Removes and returns the next item.
    pub fn pop(&self) -> Option<T> {
        self.classes.lock().pop()
    }

    /// Removes and returns the next item of one class.
    pub fn pop_of(&self, class: usize) -> Option<T> {
        self.classes.lock().classes.get_mut(class)?.pop()
    }

    /// Drops the items of a disconnected peer.
    pub fn forget(&self, peer: PeerId) {
        for class in &mut self.classes.lock().classes {
            class.forget(peer);
        }
    }

    /// Signalled after each push. A receiver must pop until the queue is empty before it waits again.
    pub const fn bell(&self) -> &Receiver<()> {
        &self.rung
    }

    /// Bytes queued in a class.
    #[cfg(test)]
    pub fn bytes(&self, class: usize) -> usize {
        let classes = self.classes.lock();
        classes.classes.get(class).map_or(0, |class| class.bytes)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);
    const C: PeerId = PeerId(3);

    fn queue(peer: usize, total: usize, classes: usize) -> FairQueue<u32> {
        let bounds = Bounds {
            peer_bytes_max: peer * (100 + ITEM_BYTES),
            bytes_max: total * (100 + ITEM_BYTES),
        };
        FairQueue::new((0..classes).map(|_| bounds))
    }

    fn rest(queue: &FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn peers_take_turns_and_each_keeps_its_order() {
        let queue = queue(9, 99, 1);
        for (peer, item) in [(A, 10), (A, 11), (A, 12), (B, 20), (C, 30), (C, 31)] {
            assert!(queue.push(0, peer, 100, item));
        }
        assert_eq!(rest(&queue), [10, 20, 30, 11, 31, 12]);
        assert_eq!(queue.bytes(0), 0);
    }

    #[test]
    fn a_peer_has_no_more_than_its_share() {
        let queue = queue(2, 99, 1);
        assert!(queue.push(0, A, 100, 10));
        assert!(queue.push(0, A, 100, 11));
        assert!(!queue.push(0, A, 100, 12));
        assert!(queue.push(0, B, 100, 20));
        assert_eq!(queue.pop(), Some(10));
        assert!(queue.push(0, A, 100, 13));
    }

    #[test]
    fn in_a_full_class_a_flood_makes_room_for_a_peer_with_less() {
        let queue = queue(4, 5, 1);
        for item in 0..4 {
            assert!(queue.push(0, A, 100, item));
        }
        assert!(queue.push(0, B, 100, 20));
        assert!(queue.push(0, C, 100, 30), "the flood loses its newest item");
        assert!(!queue.push(0, A, 100, 9), "and gets nothing for it");
        assert_eq!(rest(&queue), [0, 20, 30, 1, 2]);
    }

    #[test]
    fn a_full_class_takes_no_room_from_another() {
        let queue = queue(2, 2, 2);
        for item in 0..9 {
            queue.push(1, A, 100, item);
        }
        assert!(queue.push(0, A, 100, 90));
        assert!(queue.push(0, B, 100, 91));
        assert_eq!(rest(&queue), [90, 91, 0, 1]);
    }

    #[test]
    fn a_lower_class_has_its_turn_while_the_dearest_is_busy() {
        let queue = queue(99, 99, 2);
        for item in 0..40 {
            queue.push(0, A, 100, item);
        }
        assert!(queue.push(1, B, 100, 99));
        let order = rest(&queue);
        let place = order.iter().position(|item| *item == 99);
        assert_eq!(place, Some(usize::try_from(IN_A_ROW_MAX).unwrap_or(usize::MAX)));
    }

    #[test]
    fn an_item_larger_than_its_class_is_refused_and_a_peer_that_is_gone_leaves_nothing() {
        let queue = queue(2, 2, 1);
        assert!(!queue.push(0, A, 1_000_000, 1));
        assert!(queue.push(0, A, 100, 2));
        queue.forget(A);
        assert_eq!((queue.bytes(0), queue.pop()), (0, None));
    }

    #[test]
    fn the_bell_rings_once_for_what_waits() {
        let queue = queue(9, 9, 1);
        queue.push(0, A, 100, 1);
        queue.push(0, A, 100, 2);
        assert!(queue.bell().try_recv().is_ok());
        assert!(queue.bell().try_recv().is_err());
        queue.push(0, A, 100, 3);
        assert!(queue.bell().try_recv().is_ok());
    }
}
