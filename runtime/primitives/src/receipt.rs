//! Receipts: outcomes of the transactions of a block.

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{RECEIPT_BYTES_MAX, RECEIPTS_BYTES_MAX};
use crate::{Amount, Domain, Encoded, Hash, encode, merkle};

/// The outcome of one transaction in a block. The enum tag is its version.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Receipt {
    /// Version 1.
    V1(ReceiptV1),
}

/// Version 1 of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ReceiptV1 {
    /// [`crate::Transaction::id`].
    pub transaction: Hash,
    /// Base units paid to the proposer.
    pub fee: Amount,
    /// Base units burned for new accounts and storage; zero when an operation failed.
    pub burned: Amount,
    /// Outcome of the operations.
    pub outcome: Outcome,
}

/// Outcome of the operations of a transaction, with the reason of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Outcome {
    /// All operations applied.
    Success,
    /// None applied; fee and nonce were spent.
    Failed {
        /// Position of the operation that failed, from zero.
        operation: u32,
        /// Reason of the failure.
        reason: Failure,
    },
}

/// Reason why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, thiserror::Error)]
pub enum Failure {
    /// The sender does not have the amount that the operation moves or burns.
    #[error("insufficient funds: the operation needs {needed}, the account has {available}")]
    InsufficientFunds {
        /// Base units needed by the operation, prices included.
        needed: Amount,
        /// Base units the account had left.
        available: Amount,
    },
    /// A transfer of zero.
    #[error("a transfer moves at least one base unit")]
    ZeroAmount,
    /// The recipient's balance would not fit.
    #[error("the recipient's balance would overflow")]
    BalanceOverflow,
    /// The recipient is an account of the chain itself.
    #[error("the recipient belongs to the chain and takes no transfers")]
    SystemRecipient,
    /// A slot's value is longer than the chain allows.
    #[error("a slot holds at most {limit} bytes")]
    ValueTooLong {
        /// The chain's limit in bytes.
        limit: u32,
    },
    /// An amount plus a price does not fit in 64 bits.
    #[error("the cost of the operation overflows")]
    CostOverflow,
}

impl Receipt {
    /// The fields of the current version.
    #[must_use]
    pub const fn v1(&self) -> &ReceiptV1 {
        let Self::V1(inner) = self;
        inner
    }

    /// The leaf of this receipt in the block's receipt tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Receipt.hash(&encode(self))
    }
}

/// The receipts of one block, in transaction order.
#[derive(Clone, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct Receipts(pub Vec<Receipt>);

impl Receipts {
    /// The receipt root of the header.
    #[must_use]
    pub fn root(&self) -> Hash {
        let leaves: Vec<_> = self.0.iter().map(Receipt::hash).collect();
        merkle::root(&leaves)
    }
}

impl Encoded for Receipt {
    const NAME: &'static str = "receipt";
    const BYTES_MAX: usize = RECEIPT_BYTES_MAX;
}

impl Encoded for Receipts {
    const NAME: &'static str = "receipts";
    const BYTES_MAX: usize = RECEIPTS_BYTES_MAX;
}
