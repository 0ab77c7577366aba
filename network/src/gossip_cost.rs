//! The work that gossip frames cause beyond their bytes.
//!
//! `libp2p-gossipsub` looks each message up in its duplicate cache and each id of a control message in its
//! own tables, before this crate sees it. Both cost far more than the few bytes that they take on the wire,
//! so the meter charges them where the bytes are read.

/// Charge per field of a frame: a message, known or not, or a control message. An empty frame costs as much.
const FIELD_BYTES: usize = 256;
/// Charge per byte of anything but a message. Ids of two bytes, four with their header, are charged as 128
/// bytes each.
const CONTROL_WEIGHT: usize = 32;
/// Field of a frame that holds a message.
const PUBLISH: u64 = 2;

/// Part of a frame that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Length of the frame.
    Frame,
    /// Number and type of a field.
    Tag,
    /// Length of a field.
    Length,
    /// An integer.
    Integer,
    /// Content of a field, with its remaining number of bytes.
    Content(u64),
}

/// Reads a stream of length-delimited protobuf frames, down to their fields.
#[derive(Debug)]
pub struct GossipCost {
    part: Part,
    /// Remaining bytes of the frame.
    left: u64,
    /// The integer being read, and its bits so far.
    value: u64,
    bits: u32,
    is_message: bool,
}

impl GossipCost {
    /// Starts at the first byte after the negotiation of a stream.
    pub const fn new() -> Self {
        Self {
            part: Part::Frame,
            left: 0,
            value: 0,
            bits: 0,
            is_message: false,
        }
    }

    /// Reads the next bytes of the stream and returns the charge for them beside their count.
    pub fn charge(&mut self, mut bytes: &[u8]) -> usize {
        let mut charge = 0usize;
        while let Some((byte, rest)) = bytes.split_first() {
            let read = if let Part::Content(left) = self.part {
                let len = usize::try_from(left.min(self.left)).unwrap_or(usize::MAX);
                let read = len.min(bytes.len());
                bytes = bytes.get(read..).unwrap_or_default();
                let count = u64::try_from(read).unwrap_or(u64::MAX);
                self.part = Part::Content(left.saturating_sub(count));
                read
            } else {
                bytes = rest;
                if self.integer(*byte) {
                    charge = charge.saturating_add(self.advance());
                }
                1
            };
            if self.part == Part::Frame {
                continue;
            }
            if !self.is_message {
                charge = charge.saturating_add(read.saturating_mul(CONTROL_WEIGHT));
            }
            self.end(read);
        }
        charge
    }

    /// Adds a byte to the integer; returns true if it was the last one. An integer that is too long ends
    /// there: the library refuses it.
    fn integer(&mut self, byte: u8) -> bool {
        let bits = u64::from(byte & 0x7f).checked_shl(self.bits).unwrap_or(0);
        self.value |= bits;
        self.bits = self.bits.saturating_add(7);
        byte < 0x80 || self.bits >= u64::BITS
    }

    /// Continues after an integer; returns the charge for a field that begins.
    fn advance(&mut self) -> usize {
        let value = std::mem::take(&mut self.value);
        self.bits = 0;
        match self.part {
            Part::Frame => {
                self.left = value.saturating_add(1);
                self.part = Part::Tag;
                self.is_message = true;
                if value == 0 { FIELD_BYTES } else { 0 }
            }
            Part::Tag => {
                self.is_message = value >> 3 == PUBLISH && value & 7 == 2;
                self.part = match value & 7 {
                    0 => Part::Integer,
                    1 => Part::Content(8),
                    2 => Part::Length,
                    5 => Part::Content(4),
                    _ => Part::Content(u64::MAX),
                };
                FIELD_BYTES
            }
            Part::Length => {
                self.part = Part::Content(value);
                0
            }
            Part::Integer | Part::Content(_) => {
                self.part = Part::Tag;
                0
            }
        }
    }

    /// Ends the field and the frame where they end.
    fn end(&mut self, read: usize) {
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(count);
        if self.left == 0 {
            *self = Self::new();
        } else if self.part == Part::Content(0) {
            self.part = Part::Tag;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::tests::{field, varint};

    /// The charge for these bytes, which is the same for every split of them.
    fn charge(bytes: &[u8]) -> usize {
        let by = |len: usize| {
            let mut cost = GossipCost::new();
            bytes.chunks(len).map(|chunk| cost.charge(chunk)).sum::<usize>()
        };
        let whole = by(bytes.len());
        assert!((1..9).all(|len| by(len) == whole));
        whole
    }

    fn frame(content: &[u8]) -> Vec<u8> {
        [varint(content.len() as u64), content.to_vec()].concat()
    }

    #[test]
    fn a_message_costs_a_little_however_long_it_is_and_known_ones_are_no_exception() {
        let message = |len: usize| field(2, &field(2, &vec![1; len]));
        assert_eq!(charge(&frame(&message(10))), FIELD_BYTES);
        assert_eq!(charge(&frame(&message(30_000))), FIELD_BYTES);
        let many: Vec<u8> = (0..100).flat_map(|_| message(10)).collect();
        assert_eq!(charge(&frame(&many)), 100 * FIELD_BYTES);
        let frames: Vec<u8> = (0..100).flat_map(|_| frame(&message(10))).collect();
        assert_eq!(charge(&frames), 100 * FIELD_BYTES);
    }

    #[test]
    fn ids_of_control_messages_cost_many_times_their_bytes() {
        let ids: Vec<u8> = (0..4_000u16).flat_map(|id| field(1, &id.to_le_bytes())).collect();
        for kind in [1, 2, 5] {
            let control = field(3, &field(kind, &ids));
            let expected = FIELD_BYTES + control.len() * CONTROL_WEIGHT;
            assert_eq!(charge(&frame(&control)), expected);
        }
        let subscription = field(1, &field(2, b"topic"));
        assert_eq!(charge(&frame(&subscription)), FIELD_BYTES + 9 * CONTROL_WEIGHT);
    }

    #[test]
    fn what_follows_a_field_of_any_type_is_read_on() {
        let message = field(2, b"message");
        let integer = [8 << 3, 0xff, 1];
        let fixed = [&[9 << 3 | 1][..], &[7; 8], &[9 << 3 | 5][..], &[7; 4]].concat();
        let content = [&integer[..], &message, &fixed, &message].concat();
        let others = (integer.len() + fixed.len()) * CONTROL_WEIGHT;
        assert_eq!(charge(&frame(&content)), 5 * FIELD_BYTES + others);
        // An undefined type takes the rest of its frame, and no field goes past its frame.
        let none = frame(&[[2 << 3 | 7].as_slice(), &message].concat());
        let long = [4, 2 << 3 | 2, 200, 1, 0].to_vec();
        let stream = [none.clone(), long, frame(&message)].concat();
        let expected = 3 * FIELD_BYTES + (none.len() - 1) * CONTROL_WEIGHT;
        assert_eq!(charge(&stream), expected);
    }

    #[test]
    fn an_empty_frame_costs_as_much_as_a_message() {
        assert_eq!(charge(&[0; 100]), 100 * FIELD_BYTES);
        // A length of zero in two bytes.
        assert_eq!(charge(&[0x80, 0].repeat(100)), 100 * FIELD_BYTES);
    }
}
