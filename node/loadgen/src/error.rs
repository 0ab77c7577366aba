//! Errors of a load.

use jsonrpsee::core::client::Error as ClientError;
use vibecoin_client::{BuildError, FeeError};
use vibecoin_rpc_api::views::Submitted;
use vibecoin_rpc_api::{ApiError, Text as _};

/// Reason why a load ended early. Not `#[non_exhaustive]`: a caller that reports it must know every variant.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A node did not answer, or refused a call.
    #[error(transparent)]
    Rpc(#[from] ClientError),
    /// A funding transaction could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The fee of a transfer is above its bound.
    #[error(transparent)]
    Fee(#[from] FeeError),
    /// A value of a node cannot be read, or it refused a funding transaction.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A funding transaction failed, or is not final in time.
    #[error("{}", unfunded(.0))]
    Unfunded(Box<Submitted>),
    /// The subscription to the blocks of a node ended.
    #[error("the node went away")]
    Disconnected,
    /// Blocks stopped.
    #[error("no block for {seconds} s although transfers wait")]
    Silent {
        /// Time without a block, in seconds.
        seconds: u64,
    },
    /// The node closed the subscription to its blocks.
    #[error("the node closed the subscription: {0}")]
    Closed(String),
    /// An event of the subscription is not of the expected form.
    #[error("the node's event cannot be read: {0}")]
    BadEvent(serde_json::Error),
    /// The block of an event is not of the expected form.
    #[error("the node's block cannot be read: {0}")]
    BadBlock(serde_json::Error),
    /// No node was given.
    #[error("there is no node to send to")]
    NoNode,
    /// The observation of the blocks ended before the load.
    #[error("nobody watches the blocks any more")]
    Unobserved,
}

fn unfunded(submitted: &Submitted) -> String {
    let hash = submitted.status.hash.0.to_text();
    let state = match submitted.status.success {
        Some(_) => "did not succeed",
        None => "is not final in time, and may still become so",
    };
    format!("funding transaction {hash} {state}")
}
