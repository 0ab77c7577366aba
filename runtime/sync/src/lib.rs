//! Which blocks to ask for next, and from whom.
//!
//! Pure: the caller passes what happened and the time, and sends what [`Planner::plan`] returns. Blocks are
//! not looked into; whether a certificate holds is the caller's question, who tells by
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
//! - A peer that stays silent, has less than it claims or breaks the form of an answer rests, each time
//!   longer, and its range goes to another. So a false head costs a few requests and nothing more.
//! - Claims that their peers do not keep cease to count for the target, in and after the rest.
//! - What is here and what is asked for is bounded in blocks and in bytes.
//! - Votes of validators ([`Planner::hint`]) show that blocks exist when no peer has told its head.
//!
//! Reading order: [`config`], [`peer`] (what is known of one peer), [`planner`].

pub mod config;
pub mod peer;
pub mod planner;

pub use config::PlannerConfig;
pub use peer::PeerId;
pub use planner::{AnswerFault, Ask, Planner, PlannerStatus, SyncBlock};
