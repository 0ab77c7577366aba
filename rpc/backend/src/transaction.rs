//! Status of a transaction, from its submission to its end.

use vibecoin_primitives::{Hash, Height, Nonce, Outcome};

/// Status of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Never seen here, or long forgotten.
    Unknown,
    /// In the pool and next in line for its sender.
    Pending,
    /// In the pool behind a gap of nonces.
    Queued {
        /// The nonce that is missing first.
        expected: Nonce,
    },
    /// Left this node's pool, and a later block may include it all the same: other nodes may have it. It ends when
    /// a block uses its nonce, or with its last height.
    Departed {
        /// Id of the replacement, if it was replaced.
        by: Option<Hash>,
        /// Reason for which it left.
        reason: String,
        /// The last height whose block may include it.
        valid_until: Height,
    },
    /// In a block: final.
    Included {
        /// The block.
        height: Height,
        /// Position in the block, from zero.
        index: u32,
        /// Success or failure of its operations.
        outcome: Outcome,
    },
    /// Left the pool, and another transaction used its nonce.
    Dropped {
        /// Reason of the drop.
        reason: String,
    },
    /// Another transaction with the same sender and nonce is in a block.
    Replaced {
        /// Its id.
        by: Hash,
    },
    /// Its `valid_until` passed before a block included it.
    Expired,
}

impl TransactionStatus {
    /// Returns true if the status is final.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        !matches!(
            self,
            Self::Unknown | Self::Pending | Self::Queued { .. } | Self::Departed { .. }
        )
    }
}

/// A transaction that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// [`vibecoin_primitives::Transaction::id`].
    pub id: Hash,
    /// Pending or queued; or its existing status, when the same bytes were sent before.
    pub status: TransactionStatus,
}
