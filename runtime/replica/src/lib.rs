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
//! [`assembly`] (a block that is being streamed in), [`replica`](Replica) and its parts `propose`, `candidates`
//! and `catch_up`. [`intake`] and [`examine`] run before it: cheap checks precede the first signature.

pub mod assembly;
pub mod build;
pub mod check;
pub mod event;
pub mod examine;
pub mod intake;
pub mod message;

mod candidates;
mod catch_up;
mod chain;
mod evidence;
mod known;
mod load;
mod propose;
mod replica;

pub use candidates::{
    ASSEMBLIES_MAX, CANDIDATES_BYTES_MAX, CANDIDATES_MAX, EARLY_BODIES_MAX, EMPTY_FROM,
    LATER_PARTS_BYTES_MAX, LATER_PARTS_MAX, LOG_BLOCK_BYTES_MAX, SMALL_BLOCK_BYTES,
};
pub use chain::Chain;
pub use check::{BlockError, Executed, JudgeError, Parent};
pub use event::{Action, Event, Fault, GossipId, Now, Ticket};
pub use evidence::EVIDENCE_WAITING_MAX;
pub use intake::{Intake, Refusal, Refused, Ruling, Severity, Stand};
pub use message::{CertifiedBlock, Message, SYNC_BLOCKS_MAX};
pub use replica::{BODIES_PER_RETRY, Head, RETRY_MICROS, Replica};
pub use vibecoin_sync::PeerId;
