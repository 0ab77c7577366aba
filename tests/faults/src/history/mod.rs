//! What clients were told while faults ran, and whether one chain explains all of it.
//!
//! The chain gives the total order, so the check needs no search: see [`check`].

mod check;
mod record;
#[cfg(test)]
mod tests;

pub use check::{OK_IN_FAULTS_MIN, OK_PER_SECOND_MIN, Summary, Violation, check};
pub use record::{
    AccountState, Call, ChainBlock, ChainTransfer, Done, History, Outcome, Phase, ReadAnswer, SupplyAnswer,
    Transfer,
};
