//! Bodies of blocks that may be decided next, encoded once for all peers that request them.

use std::collections::VecDeque;

use vibecoin_network::wire::{BODY_MESSAGE_BYTES_MAX, ENVELOPE_BYTES, Frame};
use vibecoin_primitives::Hash;
use vibecoin_primitives::limits::MIB;

/// Maximum bytes of encoded bodies kept: the two largest, or all of a height with smaller ones.
pub const BODIES_BYTES_MAX: usize = 12 * MIB;

const _: () = assert!(2 * (BODY_MESSAGE_BYTES_MAX + ENVELOPE_BYTES) <= BODIES_BYTES_MAX);

/// Encoded bodies; the oldest is evicted first.
#[derive(Debug, Default)]
pub struct Bodies {
    frames: VecDeque<(Hash, Frame)>,
    bytes: usize,
}

impl Bodies {
    /// The body of this block, if it is kept.
    pub fn get(&self, block: &Hash) -> Option<Frame> {
        let found = self.frames.iter().find(|(kept, _)| kept == block);
        found.map(|(_, frame)| frame.clone())
    }

    /// Adds a body unless it is kept already.
    pub fn keep(&mut self, block: Hash, frame: Frame) {
        self.bytes = self.bytes.saturating_add(frame.byte_len());
        self.frames.push_back((block, frame));
        while self.bytes > BODIES_BYTES_MAX
            && let Some((_, oldest)) = self.frames.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.byte_len());
        }
    }

    /// Removes all of them: their height has ended.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tests::frame;

    #[test]
    fn bodies_are_bounded_in_bytes_and_the_newest_stays() {
        let mut bodies = Bodies::default();
        let block = |n| Hash([n; 32]);
        for n in 0..100 {
            bodies.keep(block(n), frame(MIB));
            assert!(bodies.bytes <= BODIES_BYTES_MAX, "{}", bodies.bytes);
        }
        assert!(bodies.get(&block(99)).is_some() && bodies.get(&block(98)).is_some());
        assert_eq!(bodies.get(&block(0)), None);
        assert_eq!(bodies.frames.len(), 11);
        bodies.clear();
        assert_eq!((bodies.get(&block(99)), bodies.bytes), (None, 0));
    }
}
