//! Ordering and finality: the next block is decided by votes.
//!
//! [`Orderer`] is a state machine without clock, socket, file or thread. The caller feeds it messages,
//! facts about blocks and the time, and performs the [`Output`]s it polls, in order. [`BftOrderer`] is
//! the implementation: it drives a Tendermint-style core, whose types never leave this crate.
//!
//! Duties of the caller:
//!
//! 1. At start: [`Orderer::replay`] with the records of the consensus log and the newest guard entry,
//!    both possibly empty. Afterwards one [`Orderer::start_height`] per height, after the previous
//!    block is durable.
//! 2. After every call, [`Orderer::poll`] until it returns `None`, and perform each output before the
//!    next. Within one burst the order is: every [`Output::Append`], then [`Output::SyncLog`], then up to
//!    one [`Output::Guard`], then messages to send and requests for work, and last
//!    [`Output::Decided`]. So nothing signed leaves before its causes and the guard entry that covers it
//!    are durable.
//! 3. Call [`Orderer::on_time`] at or after [`Orderer::next_deadline`].
//! 4. Answer [`Output::Build`] with [`BlockEvent::Built`] and [`Output::Check`] with
//!    [`BlockEvent::Checked`]. The block itself must be appended to the log ([`LogRecord::Block`])
//!    *before* either event.
//! 5. After [`Output::Halt`] nothing follows: end the process with the exit code of [`HaltReason::class`].
//!
//! A lone validator decides height 1:
//!
//! ```
//! # use std::sync::Arc;
//! # use vibecoin_consensus::*;
//! # use vibecoin_primitives::*;
//! # let genesis = Hash([7; 32]);
//! # let key = SecretKey::from_seed(&[1; 32]);
//! # let me = key.public_key();
//! # let validator = Validator { key: me, power: Power(1), payout: Address([9; 32]) };
//! # let validators = Arc::new(ValidatorSet::new(vec![validator])?);
//! # let build = |height, round| Header {
//! #     version: BLOCK_VERSION, height, round, proposer: me, parent: genesis, time: TimeMs(5), ticks: 1,
//! #     poh_seq: 1, poh_hash: Hash::ZERO, body_hash: Hash::ZERO, tx_root: Hash::ZERO,
//! #     receipt_root: Hash::ZERO, evidence_root: Hash::ZERO, state_root: Hash::ZERO,
//! #     validators_hash: Hash::ZERO, next_validators_hash: Hash::ZERO, params_hash: Hash::ZERO,
//! #     last_commit_hash: Hash::ZERO,
//! # };
//! let params = HeightParams {
//!     height: Height(1),
//!     schedule: ProposerSchedule::genesis(&validators),
//!     validators: Arc::clone(&validators),
//!     fault_model: FaultModel::Byzantine,
//!     timeouts: Timeouts::from(&ChainParams::devnet()),
//! };
//! let mut orderer = BftOrderer::new(OrdererConfig { genesis, key: Some(key) });
//! orderer.replay(params, vec![], None, MonoTime(0));
//! let mut decided = None;
//! while let Some(output) = orderer.poll() {
//!     match output {
//!         Output::Build { height, round, .. } => {
//!             let header = Box::new(build(height, round));
//!             orderer.on_block(BlockEvent::Built { height, round, header }, MonoTime(100_000));
//!         }
//!         Output::Decided { certificate, .. } => decided = Some(certificate),
//!         _ => {} // append, sync, guard, send: here are no disk and no peers
//!     }
//! }
//! let certificate = decided.ok_or("not decided")?;
//! certificate.verify(&genesis, FaultModel::Byzantine, &validators, Height(1), &certificate.block)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The messages between validators are those of `vibecoin-messages`, and are exported here again.
//!
//! Modules: [`orderer`] (the trait and its vocabulary), [`log`] (records of the log), [`guard`] (double-sign
//! protection); private: `bft` (the calls), `active` (the height in progress), `admit` (rules for messages),
//! `handler` (performs the core's effects, a file per topic), `context` (our types as the core sees them),
//! `convert`, `timer_queue`, `wait` (for a proposal), `verify`, `own`, `future`.

pub mod guard;
pub mod log;
pub mod orderer;

mod active;
mod admit;
mod bft;
mod context;
mod convert;
mod future;
mod handler;
mod own;
mod planted;
mod timer_queue;
mod verify;
mod wait;

pub use bft::{BftOrderer, OrdererConfig};
pub use future::FUTURE_HEIGHTS;
pub use guard::{Building, Guard, GuardEntry, GuardRefusal, GuardStep, Position, Statement};
pub use log::{LogRecord, TimeoutStep};
pub use orderer::{
    BlockEvent, Counters, HaltReason, HeightParams, MonoTime, Orderer, Output, Progress, Status, Step,
    Timeouts,
};
pub use vibecoin_messages::{
    ConsensusMessage, PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote, Verdict,
    VoteSignature,
};
pub use wait::PROPOSE_STRETCH_DIVISOR;
