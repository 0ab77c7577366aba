//! Reasons why a transaction was refused.

use vibecoin_mempool::MempoolError;
use vibecoin_primitives::TransactionError;

use crate::BackendError;

/// Reason why a transaction was refused, as stated by the part of the node that refused it. The server gives it the
/// code and the words of the interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its form or its signature is invalid.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The pool refused it; or, of a simulation, no block could include it.
    #[error(transparent)]
    Pool(#[from] MempoolError),
    /// The node cannot answer at present.
    #[error(transparent)]
    Unavailable(#[from] BackendError),
}

impl Refusal {
    /// Returns true if the signature was checked, and is invalid.
    #[must_use]
    pub const fn is_bad_signature(&self) -> bool {
        matches!(self, Self::Transaction(TransactionError::Signature(_)))
    }
}
