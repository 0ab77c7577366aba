//! `vibecoin bench`: figures as JSON, with their units. These are not tests: no figure is too low.

pub mod codec;
pub mod load;
pub mod state;
pub mod verify;
pub mod worst_block;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::poh_speed::PohArgs;

const EXAMPLES: &str = "\
Examples:
  vibecoin bench verify -o json
  vibecoin bench state --accounts 1000000
  vibecoin -u http://127.0.0.1:8545 bench load --home DIR --accounts 10000 \\
      --transactions 100000";

/// The commands of `bench`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum BenchCommand {
    /// Durable blocks of account updates on RocksDB, and proofs
    State(state::StateArgs),
    /// Making and checking the Proof of History
    Poh(PohArgs),
    /// Encoding and decoding
    Codec(codec::CodecArgs),
    /// Signatures, one by one and in batches
    Verify(verify::VerifyArgs),
    /// The largest block of each kind that a profile allows, and the time to judge it
    WorstBlock(worst_block::WorstBlockArgs),
    /// Transfers through a running node, until they are final
    Load(load::LoadArgs),
}

impl BenchCommand {
    /// Runs the measurement.
    ///
    /// # Errors
    /// The error that stopped the measurement.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        // A user who measures may also profile; the keys of a measurement have no value.
        vibecoin_keystore::process::allow_measurements();
        match self {
            Self::State(args) => args.run(),
            Self::Poh(args) => args.run(),
            Self::Codec(args) => Ok(args.run()),
            Self::Verify(args) => Ok(args.run()),
            Self::WorstBlock(args) => args.run(),
            Self::Load(args) => args.run(context),
        }
    }
}
