//! The negotiation of a protocol (multistream-select), as it passes through a stream.
//!
//! ```text
//! peer:      header   proposal   proposal …
//! this node: header   "na"       the same proposal
//! line = length (varint, at most two bytes), text, newline
//! ```
//!
//! The peer may propose any names before the one that is agreed on, so the protocol is taken from the answer:
//! the proposal that this node repeats. `multistream-select` sets no bound on proposals; here they have one in
//! bytes and in number, since each costs this node an answer.

use std::io;

use vibecoin_primitives::limits::KIB;

/// Maximum number of bytes that a peer sends in one negotiation. An honest one sends about a hundred.
pub const NEGOTIATION_BYTES_MAX: usize = 2 * KIB;
/// Maximum number of lines that a peer sends in one negotiation: the header and its proposals.
pub const NEGOTIATION_LINES_MAX: usize = 16;
/// Number of bytes kept of a line. This node's protocol names are shorter.
const NAME_BYTES_MAX: usize = 128;
/// First line of each side.
const HEADER: &[u8] = b"/multistream/1.0.0\n";

/// Lines with a length in front, byte by byte.
#[derive(Debug, Default)]
struct Lines {
    /// Bits of the length read so far, and their number.
    len: usize,
    bits: u32,
    /// Remaining bytes of the line; `None` while its length is read.
    left: Option<usize>,
    /// The first bytes of the line that was read last.
    text: Vec<u8>,
    is_long: bool,
}

impl Lines {
    /// Reads a byte; returns true if it was the last one of a line.
    fn read(&mut self, byte: u8) -> bool {
        let left = if let Some(left) = self.left {
            if self.text.len() < NAME_BYTES_MAX {
                self.text.push(byte);
            } else {
                self.is_long = true;
            }
            left.saturating_sub(1)
        } else {
            let bits = usize::from(byte & 0x7f).checked_shl(self.bits).unwrap_or(0);
            self.len |= bits;
            self.bits = self.bits.saturating_add(7);
            if byte >= 0x80 {
                return false;
            }
            self.text.clear();
            self.is_long = false;
            std::mem::take(&mut self.len)
        };
        self.bits = 0;
        self.left = (left > 0).then_some(left);
        left == 0
    }

    /// The line that was read last, if it is short enough for a name.
    fn name(&self) -> Option<&[u8]> {
        let text = self.text.as_slice();
        (!self.is_long && text.starts_with(b"/") && text != HEADER).then_some(text)
    }
}

/// A negotiation in which the peer proposes.
#[derive(Debug, Default)]
pub struct Negotiation {
    proposed: Lines,
    answered: Lines,
    bytes: usize,
    lines: usize,
    protocol: Option<Vec<u8>>,
}

impl Negotiation {
    /// The protocol that was agreed on.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }

    /// Reads bytes of the peer before a protocol is agreed on.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when the peer exceeds the bounds of a negotiation.
    pub fn on_read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        for byte in bytes.iter().take(NEGOTIATION_BYTES_MAX) {
            if self.proposed.read(*byte) {
                self.lines = self.lines.saturating_add(1);
            }
        }
        if self.bytes > NEGOTIATION_BYTES_MAX || self.lines > NEGOTIATION_LINES_MAX {
            let error = "a negotiation of a protocol without end";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    /// Reads bytes of this node before a protocol is agreed on.
    pub fn on_write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.protocol.is_some() {
                return;
            }
            if self.answered.read(*byte)
                && let Some(name) = self.answered.name()
                && self.proposed.name() == Some(name)
            {
                self.protocol = Some(name.strip_suffix(b"\n").unwrap_or(name).to_vec());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;
    use crate::tests::varint;

    /// A line of a negotiation.
    pub fn line(text: &str) -> Vec<u8> {
        let len = varint(u64::try_from(text.len()).unwrap().saturating_add(1));
        [&len[..], text.as_bytes(), b"\n"].concat()
    }

    /// A negotiation after these lines of the peer, each with its answer.
    fn after(lines: &[(&str, &str)]) -> Negotiation {
        let mut negotiation = Negotiation::default();
        for (proposal, answer) in lines {
            for chunk in line(proposal).chunks(3) {
                negotiation.on_read(chunk).unwrap();
            }
            for chunk in line(answer).chunks(5) {
                negotiation.on_write(chunk);
            }
        }
        negotiation
    }

    const BEGIN: (&str, &str) = ("/multistream/1.0.0", "/multistream/1.0.0");

    #[test]
    fn the_protocol_is_the_proposal_that_is_repeated() {
        let junk = "/".repeat(320);
        let gossip = ("/meshsub/1.1.0", "/meshsub/1.1.0");
        let agreed = |lines: &[(&str, &str)]| after(lines).protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed(&[BEGIN]), None);
        assert_eq!(agreed(&[BEGIN, ("/meshsub/1.1.0", "na")]), None);
        assert_eq!(agreed(&[BEGIN, gossip]), Some(b"/meshsub/1.1.0".to_vec()));
        assert_eq!(
            agreed(&[BEGIN, (&junk, "na"), ("/a", "na"), gossip]),
            Some(b"/meshsub/1.1.0".to_vec())
        );
        // The names of the protocols are not a proposal that is repeated.
        assert_eq!(agreed(&[BEGIN, ("ls", "/meshsub/1.1.0\n")]), None);
        assert_eq!(agreed(&[BEGIN, (&junk, &junk)]), None, "no name of this node");
    }

    #[test]
    fn proposals_are_bounded_in_number_and_in_bytes() {
        let mut negotiation = Negotiation::default();
        let lines = (0..100).take_while(|_| negotiation.on_read(&line("/a")).is_ok());
        assert_eq!(lines.count(), NEGOTIATION_LINES_MAX);
        let mut empty = Negotiation::default();
        let lines = (0..100).take_while(|_| empty.on_read(&[0]).is_ok());
        assert_eq!(lines.count(), NEGOTIATION_LINES_MAX);
        let mut long = Negotiation::default();
        // A length of 16 KiB, and the name that never ends.
        long.on_read(&[0xff, 0x7f]).unwrap();
        let bytes = (0..10_000).take_while(|_| long.on_read(b"/").is_ok());
        assert_eq!(bytes.count(), NEGOTIATION_BYTES_MAX.saturating_sub(2));
        let mut endless = Negotiation::default();
        let bytes = (0..10_000).take_while(|_| endless.on_read(&[0xff]).is_ok());
        assert_eq!(bytes.count(), NEGOTIATION_BYTES_MAX, "a length that never ends");
    }
}
