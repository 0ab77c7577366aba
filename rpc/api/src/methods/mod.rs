//! The methods, one trait per namespace. `…Server` is what the node implements, `…Client` what callers
//! use; both are generated from the trait.
//!
//! Errors named with a method come on top of those that any call can give: -32602 (parameters), 1401
//! (rate limit), 1403 (timeout), 1204 (shutting down), -32603 (the node's own fault).
//!
//! Parameters are named in `registry` once more, with their kinds; a test keeps the two alike.

// The traits are read by the macro; what it generates is documented by it.
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
pub use admin::{NetAdminApiClient, NetAdminApiServer};
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
