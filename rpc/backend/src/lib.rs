//! Interface between the servers of `rpc/server` and a node: the trait [`Backend`] and its types. The engine
//! implements it; tests use a small chain in memory (`mock` of the server).
//!
//! Values are those of `vibecoin-primitives`: their JSON form is defined by the server. Neither side of the
//! interface is known here.
//!
//! Contract of an implementation:
//! - reads never wait for the thread that makes blocks, and are consistent: one call answers from one
//!   state, and names it;
//! - everything it shows is final and durable. [`Backend::head`], [`Backend::head_watch`] and the
//!   answers of one node never go back;
//! - what is final can be read at once, even while indexes are still being written behind the commit;
//! - methods without `async` return within about a millisecond, except those documented as
//!   "expensive": the server calls these on a blocking thread, a bounded number at a time.

mod backend;
mod block;
mod caller;
mod consensus;
mod error;
mod facts;
mod node;
mod peers;
mod pool;
mod refusal;
mod rounds;
mod snapshots;
mod state;
mod transaction;

pub use backend::Backend;
pub use block::{CommittedBlock, Head};
pub use caller::Caller;
pub use consensus::{ConsensusStatus, PohStatus};
pub use error::BackendError;
pub use facts::{BuildFacts, ChainFacts};
pub use node::{HealthCheck, NodeStatus, SyncStatus, Waiting};
pub use peers::{Ban, NetworkFacts, Peer, PeersView};
pub use pool::{PoolAccount, PoolEntry, PoolStatus};
pub use refusal::Refusal;
pub use rounds::{BodyVerdict, HeightRounds, RoundOutcome, RoundRecord, Tally, Voters, Wait};
pub use snapshots::{SnapshotFacts, SnapshotJob, SnapshotMaker};
pub use state::{AccountProof, Read, StateContext, StateProofs};
pub use transaction::{Admitted, TransactionStatus};
