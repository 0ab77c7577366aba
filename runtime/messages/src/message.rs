//! Messages between replicas. The network checks their bounds before it decodes them.

use vibecoin_primitives::limits::BODY_BYTES_MAX;
use vibecoin_primitives::{BlockPart, CommitCertificate, Evidence, Hash, Header, Height, Transaction};
use wincode::containers;
use wincode::len::UseIntLen;
use wincode::{SchemaRead, SchemaWrite};

use crate::ConsensusMessage;

/// Maximum number of blocks in one response to a sync request.
pub const SYNC_BLOCKS_MAX: usize = 16;

/// A decided block with its proof.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct CertifiedBlock {
    /// The header.
    pub header: Header,
    /// The encoded body.
    #[wincode(with = "containers::Vec<u8, UseIntLen<u64, BODY_BYTES_MAX>>")]
    pub body: Vec<u8>,
    /// Precommits of a quorum for the header's hash.
    pub certificate: CommitCertificate,
}

/// One message between replicas.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Message {
    /// A vote, a proposal, or a certificate of a round.
    Consensus(ConsensusMessage),
    /// The body of a proposed block.
    Body {
        /// The header it belongs to.
        header: Box<Header>,
        /// The encoded body.
        #[wincode(with = "containers::Vec<u8, UseIntLen<u64, BODY_BYTES_MAX>>")]
        body: Vec<u8>,
    },
    /// Requests the body of a proposed block.
    BodyRequest {
        /// The block's height.
        height: Height,
        /// Its hash.
        block: Hash,
    },
    /// Requests decided blocks from this height on.
    SyncRequest {
        /// The first height wanted.
        from: Height,
        /// Number of blocks, 1 to [`SYNC_BLOCKS_MAX`].
        count: u32,
    },
    /// The response: decided blocks, ascending and without gaps, up to [`SYNC_BLOCKS_MAX`]; fewer than
    /// requested when they are large, none when the peer does not have them.
    SyncResponse {
        /// Echo of the request.
        from: Height,
        /// The decided blocks.
        blocks: Vec<CertifiedBlock>,
    },
    /// Transactions for the pool.
    Transactions(Vec<Transaction>),
    /// One part of a block under construction.
    Part(Box<BlockPart>),
    /// A double signature.
    Evidence(Box<Evidence>),
    /// The sender's newest durable block.
    Status {
        /// The height of that block.
        height: Height,
    },
}
