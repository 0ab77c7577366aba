//! The envelope of every message between nodes.
//!
//! ```text
//! offset  bytes  field
//!      0      1  version of the wire, 1
//!      1      4  first bytes of the genesis hash
//!      5      1  kind (the message's enum tag again, so that limits hold before decoding)
//!      6      …  the message, encoded by primitives::codec
//! ```

use std::sync::Arc;

use vibecoin_messages::Message;
use vibecoin_primitives::limits::{BODY_BYTES_MAX, EVIDENCE_BYTES_MAX, HEADER_BYTES_MAX, KIB, MIB};
use vibecoin_primitives::{BlockPart, Encoded, Hash, encode};
use wincode::{SchemaRead, SchemaWrite};

/// The version of this program.
pub const WIRE_VERSION: u8 = 1;
/// Bytes before the message.
pub const ENVELOPE_BYTES: usize = 6;

/// Maximum size of a consensus message in bytes.
pub const CONSENSUS_BYTES_MAX: usize = 64 * KIB;
/// Maximum size of a proposed body with its header, in bytes.
pub const BODY_MESSAGE_BYTES_MAX: usize = BODY_BYTES_MAX + HEADER_BYTES_MAX + 64;
/// Maximum size of a request in bytes.
pub const REQUEST_BYTES_MAX: usize = 128;
/// Maximum size of a response to a sync request in bytes; a sender includes fewer blocks when they are large.
pub const SYNC_BYTES_MAX: usize = 16 * MIB;
/// Maximum size of a batch of transactions in bytes.
pub const TRANSACTIONS_BYTES_MAX: usize = 128 * KIB;
/// Maximum size of one part of a block in bytes.
pub const PART_BYTES_MAX: usize = BlockPart::BYTES_MAX + 64;
/// Maximum size of a piece of evidence in bytes.
pub const EVIDENCE_MESSAGE_BYTES_MAX: usize = EVIDENCE_BYTES_MAX + 64;

// The maximum of all limits bounds the decoder.
const _: () = assert!(BODY_MESSAGE_BYTES_MAX <= SYNC_BYTES_MAX);
const _: () = assert!(PART_BYTES_MAX <= SYNC_BYTES_MAX);
const _: () = assert!(CONSENSUS_BYTES_MAX <= SYNC_BYTES_MAX && TRANSACTIONS_BYTES_MAX <= SYNC_BYTES_MAX);

/// Reason for which bytes from a peer were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Fewer bytes than an envelope has.
    #[error("message of {got} bytes is shorter than its envelope of {ENVELOPE_BYTES}")]
    Short {
        /// Bytes received.
        got: usize,
    },
    /// A different version of the wire format.
    #[error("peer speaks wire version {got}, this node speaks {WIRE_VERSION}")]
    Version {
        /// The peer's version.
        got: u8,
    },
    /// A different chain.
    #[error("message is for the chain that starts with {got}, this chain starts with {expected}")]
    Chain {
        /// This chain's prefix.
        expected: String,
        /// The prefix found.
        got: String,
    },
    /// A kind that this version does not know.
    #[error("unknown message kind {got}")]
    Kind {
        /// The kind found.
        got: u8,
    },
    /// Over the limit of its kind; nothing was decoded.
    #[error("message kind {kind} of {got} bytes is over its limit of {limit}")]
    TooLarge {
        /// The kind.
        kind: u8,
        /// Bytes received.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The message does not decode, or not canonically.
    #[error(transparent)]
    Codec(#[from] vibecoin_primitives::CodecError),
    /// The envelope's kind differs from the message's.
    #[error("envelope says kind {envelope}, the message is kind {message}")]
    KindMismatch {
        /// The envelope's kind.
        envelope: u8,
        /// The message's kind.
        message: u8,
    },
}

/// Kinds of messages, as in an envelope.
pub mod kind {
    /// A proposed body.
    pub const BODY: u8 = 1;
    /// A request for a body.
    pub const BODY_REQUEST: u8 = 2;
    /// A request for blocks.
    pub const SYNC_REQUEST: u8 = 3;
    /// Blocks in response to a request.
    pub const SYNC_RESPONSE: u8 = 4;
    /// A part of a block.
    pub const PART: u8 = 6;
    /// The sender's newest block.
    pub const STATUS: u8 = 8;
}

/// Limits by kind, in the order of the enum [`Message`].
const LIMITS: [usize; 9] = [
    CONSENSUS_BYTES_MAX,
    BODY_MESSAGE_BYTES_MAX,
    REQUEST_BYTES_MAX,
    REQUEST_BYTES_MAX,
    SYNC_BYTES_MAX,
    TRANSACTIONS_BYTES_MAX,
    PART_BYTES_MAX,
    EVIDENCE_MESSAGE_BYTES_MAX,
    REQUEST_BYTES_MAX,
];

const fn kind_of(message: &Message) -> u8 {
    match message {
        Message::Consensus(_) => 0,
        Message::Body { .. } => kind::BODY,
        Message::BodyRequest { .. } => kind::BODY_REQUEST,
        Message::SyncRequest { .. } => kind::SYNC_REQUEST,
        Message::SyncResponse { .. } => kind::SYNC_RESPONSE,
        Message::Transactions(_) => 5,
        Message::Part(_) => kind::PART,
        Message::Evidence(_) => 7,
        Message::Status { .. } => kind::STATUS,
    }
}

/// A message for the codec; the limit of its kind has been checked by then.
#[derive(SchemaWrite, SchemaRead)]
struct Carried(Message);

impl Encoded for Carried {
    const NAME: &'static str = "message";
    const BYTES_MAX: usize = SYNC_BYTES_MAX;
}

/// A message that is encoded once for all of its receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Arc<[u8]>);

impl Frame {
    /// Bytes of the message and its envelope.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.0)
    }
}

/// Encodes and decodes messages for one chain.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    chain: [u8; 4],
}

impl Envelope {
    /// Envelopes for the chain with this genesis hash.
    #[must_use]
    pub const fn new(genesis: &Hash) -> Self {
        Self {
            chain: genesis.prefix(),
        }
    }

    /// Encodes a message.
    #[must_use]
    pub fn pack(&self, message: &Message) -> Vec<u8> {
        let mut bytes = vec![WIRE_VERSION];
        bytes.extend_from_slice(&self.chain);
        bytes.push(kind_of(message));
        bytes.extend_from_slice(&encode(message));
        bytes
    }

    /// Encodes a message for several peers.
    #[must_use]
    pub fn frame(&self, message: &Message) -> Frame {
        Frame(self.pack(message).into())
    }

    /// Checks an envelope whose message has `len` bytes, before any of them is received; returns its kind.
    ///
    /// # Errors
    /// [`WireError`] for the first rule that is broken.
    pub fn peek(&self, head: &[u8; ENVELOPE_BYTES], len: usize) -> Result<u8, WireError> {
        let [version, a, b, c, d, kind] = *head;
        if version != WIRE_VERSION {
            return Err(WireError::Version { got: version });
        }
        if [a, b, c, d] != self.chain {
            let hex = vibecoin_primitives::hex::encode;
            return Err(WireError::Chain {
                expected: hex(&self.chain),
                got: hex(&[a, b, c, d]),
            });
        }
        let limit = *LIMITS
            .get(usize::from(kind))
            .ok_or(WireError::Kind { got: kind })?;
        if len > limit {
            return Err(WireError::TooLarge {
                kind,
                got: len,
                limit,
            });
        }
        Ok(kind)
    }

    /// Decodes the bytes of [`Envelope::pack`]; every other sequence of bytes is refused.
    ///
    /// # Errors
    /// [`WireError`] for the first rule that is broken; sizes are checked before decoding.
    pub fn open(&self, bytes: &[u8]) -> Result<Message, WireError> {
        let Some((head, rest)) = bytes.split_first_chunk::<ENVELOPE_BYTES>() else {
            return Err(WireError::Short { got: bytes.len() });
        };
        let kind = self.peek(head, rest.len())?;
        let Carried(message) = vibecoin_primitives::decode(rest)?;
        if kind_of(&message) != kind {
            return Err(WireError::KindMismatch {
                envelope: kind,
                message: kind_of(&message),
            });
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vibecoin_primitives::Height;

    const GENESIS: Hash = Hash([3; 32]);

    #[test]
    fn a_packed_message_opens_on_its_own_chain_only() {
        let message = Message::SyncRequest {
            from: Height(7),
            count: 3,
        };
        let bytes = Envelope::new(&GENESIS).pack(&message);
        assert_eq!(Envelope::new(&GENESIS).open(&bytes), Ok(message));
        let other = Envelope::new(&Hash([4; 32])).open(&bytes);
        assert!(matches!(other, Err(WireError::Chain { .. })), "{other:?}");
    }

    #[test]
    fn size_and_kind_are_checked_before_decoding() {
        let envelope = Envelope::new(&GENESIS);
        let mut bytes = envelope.pack(&Message::SyncRequest {
            from: Height(7),
            count: 3,
        });
        bytes.resize(ENVELOPE_BYTES + REQUEST_BYTES_MAX + 1, 0);
        assert!(matches!(
            envelope.open(&bytes),
            Err(WireError::TooLarge { kind: 3, .. })
        ));
        bytes[5] = 9;
        assert_eq!(envelope.open(&bytes), Err(WireError::Kind { got: 9 }));
        bytes[0] = 2;
        assert_eq!(envelope.open(&bytes), Err(WireError::Version { got: 2 }));
        assert_eq!(envelope.open(&bytes[..5]), Err(WireError::Short { got: 5 }));
        let mut lying = envelope.pack(&Message::SyncRequest {
            from: Height(7),
            count: 3,
        });
        lying[5] = 5;
        assert_eq!(
            envelope.open(&lying),
            Err(WireError::KindMismatch {
                envelope: 5,
                message: 3
            })
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_open_to_nothing_or_to_exactly_themselves(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let envelope = Envelope::new(&GENESIS);
            let mut framed = vec![WIRE_VERSION, 3, 3, 3, 3, bytes.first().copied().unwrap_or(0) % 9];
            framed.extend_from_slice(&bytes);
            if let Ok(message) = envelope.open(&framed) {
                prop_assert_eq!(envelope.pack(&message), framed);
            }
        }
    }
}
