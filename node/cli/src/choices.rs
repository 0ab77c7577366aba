//! The values of a transaction that a sender may choose, as options.

use clap::Args;

use crate::numbers::number;
use crate::sending::{Choices, amount};

/// What is chosen for the sender when left out.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ChoiceArgs {
    /// Fee in base units [default: the least; where the node's pool is full also a bid, of at most as much again]
    #[arg(long, allow_negative_numbers = true, value_parser = amount)]
    pub fee: Option<u64>,
    /// Sign nothing when the fee would be above this, in base units [default with a genesis file: twice the least;
    /// without: a thousand times what is usual]
    #[arg(long, value_name = "FEE", conflicts_with = "fee", allow_negative_numbers = true, value_parser = amount)]
    pub fee_max: Option<u64>,
    /// Nonce [default: the next one, with what waits in the pool counted]
    #[arg(long, allow_negative_numbers = true, value_parser = number)]
    pub nonce: Option<u64>,
    /// How many heights it stays valid, from the newest block on [default: 10000, or the chain's window]
    #[arg(long, value_name = "HEIGHTS", allow_negative_numbers = true, value_parser = number)]
    pub valid_for: Option<u64>,
}

impl From<ChoiceArgs> for Choices {
    fn from(args: ChoiceArgs) -> Self {
        Self {
            fee: args.fee,
            fee_max: args.fee_max,
            nonce: args.nonce,
            valid_for: args.valid_for,
        }
    }
}
