//! The node's state machine as a plain value: [`Event`] in, [`Action`] out.
//!
//! ```text
//!  transactions ─▶ pool ─▶ Builder ─┐            ┌─▶ Append, SyncLog, Guard, Broadcast
//!                                   ├─▶ Orderer ─┤
//!  messages ──▶ bodies ──▶ judge ───┘            └─▶ Commit ─▶ (durable) ─▶ Committed ─▶ next height
//! ```
//!
//! No clock, no file, no socket, no thread. The engine feeds it events and performs its actions in order; the
//! simulator does the same with a simulated clock, disk and network. The tested code is the code that runs.
//!
//! Read in this order: [`event`] (the vocabulary), [`check`] (block validity), [`build`] (making a block),
//! [`assembly`] (a block that is being streamed in), the components with their state, and [`replica`](Replica),
//! which passes each input to the components and emits the actions that they return:
//!
//! | component | holds |
//! |---|---|
//! | `tip` | the chain, its head and the proposers of the next height |
//! | `streaming` | parts of blocks and the assemblies that they belong to |
//! | `bodies` | missing bodies and their requests, early bodies, bodies sent |
//! | `candidates` | judged blocks with the results of executing them |
//! | `timeliness` | blocks that arrived at another time than they name |
//! | `propose`, `block_size` | the block under construction and its size limit |
//! | `commit` | the decision, until its block is durable |
//! | `catch_up` | requests for decided blocks, and their responses |
//! | `peers`, `evidence` | connections and claimed heights; double signatures |
//!
//! [`intake`] and [`examine`] run before all of it: cheap checks precede the first signature. Bodies and decided
//! blocks arrive as [`ReceivedBody`] and [`ReceivedBlock`], which only [`examine`] makes.
//!
//! The messages are those of `vibecoin-messages`, and are exported here again.

pub mod assembly;
pub mod build;
pub mod check;
pub mod event;
pub mod examine;
pub mod intake;

mod block_size;
mod bodies;
mod candidates;
mod catch_up;
mod chain;
mod commit;
mod evidence;
mod peers;
mod planted;
mod propose;
mod received;
mod refusal;
mod replica;
mod streaming;
mod timeliness;
mod tip;
mod validation;

pub use bodies::{BODIES_PER_RETRY, EARLY_BODIES_MAX, RETRY_MICROS};
pub use candidates::{
    CANDIDATES_BYTES_MAX, CANDIDATES_MAX, EMPTY_FROM, LOG_BLOCK_BYTES_MAX, SMALL_BLOCK_BYTES,
};
pub use chain::{Chain, Head, Parent};
pub use event::{Action, Event, Fault, Now, Ticket};
pub use evidence::EVIDENCE_WAITING_MAX;
pub use intake::{Intake, Ruling, Stand};
pub use received::{LinkedBlock, ReceivedBlock, ReceivedBody};
pub use refusal::{Refusal, Refused};
pub use replica::Replica;
pub use streaming::{ASSEMBLIES_MAX, LATER_PARTS_BYTES_MAX, LATER_PARTS_MAX};
pub use validation::{BlockError, Executed, JudgeError, Validation};
pub use vibecoin_messages::{CertifiedBlock, GossipId, Message, PeerId, SYNC_BLOCKS_MAX, Severity};
