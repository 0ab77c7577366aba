//! A decided block with everything that is stored of it.

use vibecoin_primitives::{Body, CommitCertificate, Hash, Header, Receipts, StateDiff};

/// A decided block: its replica hands it over, and the store commits it as it is. `S` is the form of the state.
#[derive(Clone, Debug)]
pub struct DecidedBlock<S> {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// The body.
    pub body: Body,
    /// The precommits that decided it.
    pub certificate: CommitCertificate,
    /// One receipt per transaction, in order.
    pub receipts: Receipts,
    /// The changed rows.
    pub diff: StateDiff,
    /// Identifiers of the transactions, in order.
    pub ids: Vec<Hash>,
    /// The state after the block: the result of applying its changes to the parent's state.
    pub state: S,
}
