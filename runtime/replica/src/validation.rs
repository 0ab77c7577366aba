//! Outcome of validating a block.

use vibecoin_execution::BlockOutcome;
use vibecoin_poh::PohError;
use vibecoin_primitives::{CertificateError, Excess, Hash, StateDiff, TransactionError};

/// Reason why a block is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// A field of the header differs from the value that its parent and the rules require.
    #[error("header field {field} is {got}, expected {expected}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// The value that the rules require.
        expected: String,
        /// The value found.
        got: String,
    },
    /// The body is over a limit of the chain's parameters.
    #[error("{what} is {got}, allowed are {limit}")]
    Limit {
        /// The counted quantity.
        what: &'static str,
        /// The count found.
        got: usize,
        /// The maximum allowed.
        limit: usize,
    },
    /// The Proof of History does not hold.
    #[error(transparent)]
    Poh(#[from] PohError),
    /// The parent's certificate does not hold.
    #[error("certificate of the parent: {0}")]
    Certificate(#[from] CertificateError),
    /// A piece of evidence proves nothing, is too old, or is repeated.
    #[error("evidence {index}: {detail}")]
    Evidence {
        /// Position in the body, from zero.
        index: usize,
        /// The violation.
        detail: String,
    },
    /// A transaction is malformed or its signature invalid.
    #[error("transaction {index}: {fault}")]
    Transaction {
        /// Position in the block, from zero.
        index: usize,
        /// The violation.
        fault: TransactionError,
    },
    /// A transaction is not allowed in the block, or the state could not be computed.
    #[error("execution: {0}")]
    Execution(String),
}

/// Reason why a block could not be judged: a fault of this node, never of the block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parent state could not be read: {0}")]
pub struct JudgeError(pub String);

/// Results of executing a valid block.
#[derive(Clone, Debug)]
pub struct Executed<S> {
    /// Receipts, fees and burned amounts.
    pub outcome: BlockOutcome,
    /// The changed rows.
    pub diff: StateDiff,
    /// The state after the block.
    pub state: S,
    /// Identifiers of the transactions, in block order.
    pub ids: Vec<Hash>,
}

/// Verdict on a block, or the reason why there is none.
#[derive(Clone, Debug)]
pub enum Validation<S> {
    /// The block is valid.
    Valid(Executed<S>),
    /// The block is invalid.
    Invalid(BlockError),
    /// This node could not read its own state; the block is not judged.
    Fault(JudgeError),
}

/// Reason why a validation ended early.
pub(crate) enum Stop {
    Invalid(BlockError),
    Fault(JudgeError),
}

impl From<BlockError> for Stop {
    fn from(error: BlockError) -> Self {
        Self::Invalid(error)
    }
}

impl From<JudgeError> for Stop {
    fn from(error: JudgeError) -> Self {
        Self::Fault(error)
    }
}

impl<S> From<Result<Executed<S>, Stop>> for Validation<S> {
    fn from(result: Result<Executed<S>, Stop>) -> Self {
        match result {
            Ok(executed) => Self::Valid(executed),
            Err(Stop::Invalid(error)) => Self::Invalid(error),
            Err(Stop::Fault(error)) => Self::Fault(error),
        }
    }
}

impl From<Excess> for BlockError {
    fn from(Excess { what, got, limit }: Excess) -> Self {
        Self::Limit {
            what,
            got: usize::try_from(got).unwrap_or(usize::MAX),
            limit: limit as usize,
        }
    }
}
