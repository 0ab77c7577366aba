//! Answers to clients while faults ran, and the check that one chain explains all of them.
//!
//! The chain is the total order, so the check needs no search: see [`check`].

mod check;
mod record;
#[cfg(test)]
mod tests;

pub use check::{OK_IN_FAULTS_MIN, OK_PER_SECOND_MIN, Summary, Violation, check};
pub use record::{
    AccountState, Call, ChainBlock, ChainTransfer, Done, History, Outcome, Phase, ReadAnswer, SupplyAnswer,
    Transfer,
};
