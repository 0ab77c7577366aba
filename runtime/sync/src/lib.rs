//! Plan of block requests: the next heights, and the peers to ask.
//!
//! Pure: the caller passes events and the time, and sends the requests that [`Planner::plan`] returns. Block
//! contents are not inspected; the caller verifies certificates, and reports bad blocks by
//! [`Planner::refused`].
//!
//! ```text
//!   next                                             claimed heads
//!    │                                                     │
//!    ▼                                                     ▼
//!    ·  ·  ·  ·  ▒  ▒  ▒  ▒  █  █  █  █  ▒  ▒  ▒  ▒  ·  ·  ·
//!   └─ asked: A ─┘          └─ here: C ─┘└ asked: B ┘
//!       one window of heights; the lowest missing range is asked first
//! ```
//!
//! - A node that is one block behind asks only after a grace time: consensus is about to deliver that block.
//! - A peer that stays silent, has less than it claims or violates the form of a response is paused, each time
//!   longer, and its range is requested from another. So a false head costs a few requests and nothing more.
//! - Claims that their peers do not fulfil cease to count for the target, during and after the pause.
//! - The blocks held and requested are bounded in number and in bytes.
//! - Votes of validators ([`Planner::hint`]) show that blocks exist before any peer has announced its head.
//!
//! Reading order: [`config`], [`peer`] (the record of one peer), [`planner`].

pub mod config;
pub mod peer;
pub mod planner;

pub use config::PlannerConfig;
pub use planner::{AnswerFault, Ask, Planner, PlannerStatus, SyncBlock};
pub use vibecoin_messages::PeerId;
