//! Answers of a node about transactions, checked against the question.

use vibecoin_primitives::Hash;
use vibecoin_rpc_api::views::{StatusView, Submitted, TransactionView};

/// Identifies the transaction that an answer is about.
pub trait About {
    /// Its hash, and that of its receipt.
    fn hashes(&self) -> impl Iterator<Item = Hash>;
}

impl About for StatusView {
    fn hashes(&self) -> impl Iterator<Item = Hash> {
        std::iter::once(self.hash.0)
    }
}

impl About for TransactionView {
    fn hashes(&self) -> impl Iterator<Item = Hash> {
        std::iter::once(self.hash.0)
    }
}

impl About for Submitted {
    fn hashes(&self) -> impl Iterator<Item = Hash> {
        let of_receipt = self.receipt.iter().map(|receipt| receipt.hash.0);
        self.status.hashes().chain(of_receipt)
    }
}

/// An answer about another transaction than the requested one: a server could substitute one that is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node was asked about transaction {asked} and answered about {other}")]
pub struct OtherAnswer {
    /// The requested transaction.
    pub asked: Hash,
    /// The transaction that the answer is about.
    pub other: Hash,
}

/// Accepts an answer if it is about the requested transaction. `None` where the hash cannot be known, without the
/// genesis hash.
///
/// # Errors
/// It is about another one.
pub fn about<T: About>(hash: Option<Hash>, answer: T) -> Result<T, OtherAnswer> {
    let Some(asked) = hash else {
        return Ok(answer);
    };
    let other = answer.hashes().find(|named| *named != asked);
    match other {
        None => Ok(answer),
        Some(other) => Err(OtherAnswer { asked, other }),
    }
}
