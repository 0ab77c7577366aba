//! The methods, one trait per namespace. `…Server` is implemented by the node, `…Client` is used by
//! callers; both are generated from the trait.
//!
//! Errors named with a method are in addition to those that any call can return: -32602
//! (parameters), 1401 (rate limit), 1403 (timeout), 1204 (shutting down), -32603 (a fault of the
//! node).
//!
//! Parameters are repeated in `registry`, with their kinds; a test compares the two.

// The macro reads the traits, and documents the items that it generates.
#![allow(missing_docs, clippy::too_many_arguments)]

mod account;
mod admin;
mod chain;
mod consensus;
mod dev;
mod mempool;
mod net;
mod node;
mod poh;
mod proof;
mod rpc;
mod subscription;
mod tx;

pub use account::{AccountApiClient, AccountApiServer};
pub use admin::{NetAdminApiClient, NetAdminApiServer, SnapshotAdminApiClient, SnapshotAdminApiServer};
pub use chain::{ChainApiClient, ChainApiServer};
pub use consensus::{ConsensusApiClient, ConsensusApiServer};
pub use dev::{DevApiClient, DevApiServer};
pub use mempool::{MempoolApiClient, MempoolApiServer};
pub use net::{NetApiClient, NetApiServer};
pub use node::{NodeApiClient, NodeApiServer};
pub use poh::{PohApiClient, PohApiServer};
pub use proof::{ProofApiClient, ProofApiServer};
pub use rpc::{RpcApiClient, RpcApiServer};
pub use subscription::{SubscriptionApiClient, SubscriptionApiServer};
pub use tx::{TxApiClient, TxApiServer};
