//! `vibecoin poh`: the Proof of History.

use clap::Subcommand;
use vibecoin_rpc_api::methods::PohApiClient as _;

use crate::at::{block, block_if_any};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::poh_speed::PohArgs;

/// The commands of `poh`.
#[derive(Debug, Subcommand)]
pub enum PohCommand {
    /// The proposer's clock as it runs
    Status,
    /// Let the node compute ticks again; exit 8 when one is wrong
    Verify {
        /// Height, hash or `latest`
        #[arg(default_value = "latest")]
        block: String,
        /// And all blocks up to this one, at most 100
        #[arg(long, value_name = "BLOCK")]
        to: Option<String>,
    },
    /// Measure this machine, as `bench poh`
    Bench,
}

impl PohCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Status => {
                let client = context.client()?;
                Ok(Answer::new(
                    context.wait(async { Ok(client.get_status().await?) })?,
                ))
            }
            Self::Verify { block: typed, to } => {
                let first = block(&typed)?;
                let to = block_if_any(to.as_deref())?;
                let client = context.client()?;
                let verdict = context.wait(async { Ok(client.verify(Some(first), to).await?) })?;
                let valid = verdict.valid;
                let answer = Answer::new(verdict);
                Ok(if valid {
                    answer
                } else {
                    answer.exit(crate::exit::Exit::VerificationFailed)
                })
            }
            Self::Bench => {
                vibecoin_keystore::process::allow_measurements();
                PohArgs::default().run()
            }
        }
    }
}
