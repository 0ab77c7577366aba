//! Reasons why the node cannot answer.

use vibecoin_primitives::Height;

/// Reasons why the node cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The block does not exist yet.
    #[error("height {height} is in the future, the head is {head}")]
    Future {
        /// The requested height.
        height: Height,
        /// The newest height.
        head: Height,
    },
    /// This node no longer has it.
    #[error("height {height} is pruned, the earliest is {earliest}")]
    Pruned {
        /// The requested height.
        height: Height,
        /// The oldest height for which this kind of data is kept.
        earliest: Height,
    },
    /// The feature is switched off on this node.
    #[error("{feature} is not available on this node")]
    Disabled {
        /// Name of the feature.
        feature: &'static str,
    },
    /// The node is stopping.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// A bounded queue is full.
    #[error("the node is busy: {queue} is full")]
    Busy {
        /// Name of the queue.
        queue: &'static str,
    },
    /// A read failed or a task died: a fault of the node. The detail is for the log.
    #[error("internal error: {detail}")]
    Internal {
        /// Description of the fault.
        detail: String,
    },
}
