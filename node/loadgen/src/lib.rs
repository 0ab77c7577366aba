//! Load on running nodes: transfers between accounts of the generator, until they are final.
//!
//! ```text
//!  Plan ─▶ Load::prepare: fund accounts ─▶ sign ─▶ Load::run: send ─▶ nodes ─▶ blocks ─▶ Report
//!                                          (not counted)      └─ follow the blocks ─┘
//! ```
//!
//! A [`Plan`] is one of two loops:
//!
//! - closed: a number of transfers, over several connections to one node, each of which sends a request when the one
//!   before is answered. Any failure of the node ends it. Measures the node's capacity;
//! - open: transfers at a rate and for a time, to several nodes at once. A node that does not answer is passed
//!   over. One transfer of each batch is a sample: sent to one node, and final when the *next* node has announced its
//!   block, the view of a user of another node.
//!
//! The crate has no texts for users: progress ([`Progress`]), figures ([`Report`]) and errors ([`LoadError`]) are
//! values. [`Usage`] and [`Meter`] read the processor time and the memory of nodes on this machine.
//!
//! Read in this order: `plan`, `load` (the steps), `transfer`, `accounts`, `closed` and `submit`, `open`, `send` and
//! `watch`, `settle`, `report`.

mod accounts;
mod announced;
mod blocks;
mod closed;
mod error;
mod load;
mod node;
mod open;
mod outcome;
mod plan;
mod progress;
mod report;
mod send;
mod settle;
mod submit;
mod supply;
mod transfer;
mod usage;
mod watch;

pub use accounts::{Funding, Member, Seen};
pub use announced::BlockFigures;
pub use error::LoadError;
pub use load::Load;
pub use node::Node;
pub use outcome::Outcome;
pub use plan::{ClosedLoop, Loop, OpenLoop, Plan};
pub use progress::Progress;
pub use report::{Report, Samples};
pub use settle::Settled;
pub use supply::Supply;
pub use transfer::{Signed, Terms};
pub use usage::{Cost, Meter, Usage};
