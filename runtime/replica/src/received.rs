//! Bodies and decided blocks of peers, hashed, decoded and proven once, before the replica receives them.
//!
//! Only [`crate::examine`] makes these values: a body that is in one has the hash that its header names, and the
//! certificate of a decided block is valid. The replica neither hashes, decodes nor verifies them again.

use vibecoin_primitives::{Body, CommitCertificate, Hash, Header, Height};

/// A decoded body takes less than this many times its encoded bytes: a transfer takes 1.7 times as many.
const DECODED_PER_ENCODED: usize = 2;

/// The body of a proposed block: the one that its header names.
#[derive(Clone, Debug)]
pub struct ReceivedBody {
    pub(crate) header: Header,
    /// The hash of the header.
    pub(crate) hash: Hash,
    /// `None`: the bytes that the header names do not decode, so the block is invalid.
    pub(crate) body: Option<Body>,
}

impl ReceivedBody {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The body; `None` when its bytes do not decode.
    #[must_use]
    pub const fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }
}

/// A block of a response whose header, links and body hash were checked, and whose certificate was not.
#[derive(Clone, Debug)]
pub struct LinkedBlock {
    pub(crate) header: Header,
    /// The hash of the header.
    pub(crate) hash: Hash,
    /// The encoded body.
    pub(crate) encoded: Vec<u8>,
    pub(crate) certificate: CommitCertificate,
}

impl LinkedBlock {
    /// The height that its header names.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.header.height
    }
}

/// A decided block: its certificate is valid, and its body is the one that its header names.
#[derive(Clone, Debug)]
pub struct ReceivedBlock {
    pub(crate) header: Header,
    /// The hash of the header.
    pub(crate) hash: Hash,
    /// `None`: the bytes that the header names do not decode, so the block is invalid.
    pub(crate) body: Option<Body>,
    pub(crate) certificate: CommitCertificate,
    /// Number of bytes of the encoded body.
    pub(crate) encoded_len: usize,
}

impl ReceivedBlock {
    /// The height that its header names.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.header.height
    }

    /// The body; `None` when its bytes do not decode.
    #[must_use]
    pub const fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// Upper bound of the memory that it holds, in bytes.
    pub(crate) const fn memory(&self) -> usize {
        self.encoded_len.saturating_mul(DECODED_PER_ENCODED)
    }
}
