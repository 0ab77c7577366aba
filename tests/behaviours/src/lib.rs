//! Byzantine validators: what one may sign, send and withhold, one file per behaviour.
//!
//! The replica of such a node stays honest. Its outgoing messages are changed, multiplied or withheld, so that other
//! nodes see exactly what a hostile program could send, with valid timing and valid signatures.
//!
//! ```text
//! equivocator    two votes, proposals or parts in one place     accuser     evidence that proves nothing
//! amnesiac       votes against its lock                         invalid     headers with a wrong field
//! nuller         precommits nil                                 poh         a wrong Proof of History
//! withholder     keeps proposals, parts or bodies back          doubler     a transaction twice
//! impersonator   votes and transfers in other names             far_voter   distant heights and rounds
//! forger         certificates that prove nothing                staller     delays to the end of timeouts
//! ```
//!
//! Two hosts use them. [`Participant`] is the one of `tests/sim`: it sees received messages, the blocks that its
//! node makes and the states below them, and chooses the receivers of each message. [`Distorter`] is the one of the
//! node itself, built with the feature `byzantine` for `tests/faults`: it sees outgoing messages only.

mod behaviour;
mod blocks;
mod distorter;
mod participant;
mod rng;
mod signer;

mod accuser;
mod amnesiac;
mod doubler;
mod equivocator;
mod far_voter;
mod forger;
mod impersonator;
mod invalid;
mod nuller;
mod poh;
mod staller;
mod withholder;

pub use behaviour::Behaviour;
pub use distorter::{Distorter, VARIABLE};
pub use participant::{Ledger, Participant, Sent};
pub use rng::Rng;
pub use staller::{Stalled, Timed};
