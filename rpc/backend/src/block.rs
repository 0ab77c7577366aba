//! Blocks as they were committed.

use vibecoin_primitives::{Body, CommitCertificate, Hash, Header, Receipts};

/// The newest block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// Transactions in it.
    pub transactions: u32,
}

/// A block with all that was committed with it.
#[derive(Clone, Debug)]
pub struct CommittedBlock {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// The body.
    pub body: Body,
    /// One receipt per transaction, in order.
    pub receipts: Receipts,
    /// Proof of finality; `None` for genesis only.
    pub certificate: Option<CommitCertificate>,
}
