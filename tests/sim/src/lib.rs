//! A whole network from one seed: the node's own code over a fake clock, a fake wire and fake disks.
//!
//! ```text
//!              ┌──────────── World: one queue of happenings, one virtual time ────────────┐
//!   traffic ──▶│ node 0            node 1            ...                                  │──▶ Report
//!   faults  ──▶│ Replica, Store    Replica, Store       ── bytes over links that lose,    │    or
//!              │ log, guard        log, guard              repeat, delay, damage, cut ──  │──▶ Violation
//!              └──────┬───────────────────┬───────────────────────────────────────────────┘
//!                     ▼ what is decided   ▼ what is signed
//!                   Chain model         Observer
//! ```
//!
//! The code under test is the production code: `Replica` with `BftOrderer`, `Store`, `ConsensusLog`,
//! `GuardFile`, `HeadWitness`, `Envelope`. Only the clock, the wire and the bytes below the files are
//! simulated.
//!
//! A run has two phases. In the first, all faults of [`Faults`] are active; every step is checked
//! against the invariants of `reliability.md`, section 2.1 ([`Rule`] lists them). In the second, faults
//! are off, and every node must gain three heights within a virtual minute. A [`Sabotage`] breaks one
//! promise on purpose: the tests of this crate show that each of them is detected.
//!
//! Read in this order: `plan` (configuration of a run), `world` (the scheduler), `node` (performing
//! actions), `disk`, `model` and `observer` (the invariants), `traffic`, `trace`. The behaviours of a Byzantine
//! validator are in `tests/behaviours`.
//!
//! Out of scope: threads, sockets, RocksDB and real files are tested by `storage` and `tests/e2e`.

mod disk;
mod intake;
mod ledger;
mod leftovers;
mod model;
mod node;
mod observer;
mod plan;
mod report;
mod trace;
mod traffic;
mod wire;
mod world;

pub use leftovers::{Leftovers, poison};
pub use plan::{Config, Faults, SABOTEUR, Sabotage};
pub use report::{Report, Rule, Violation, check, check_all, run_all, run_each};
pub use vibecoin_tests_behaviours::{Behaviour, Stalled};
pub use world::run;
