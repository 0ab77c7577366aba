//! The largest blocks that a profile allows, and the time to judge them.

use std::path::PathBuf;

use clap::Args;
use vibecoin_devnet::profile::Profile;
use vibecoin_engine::worst_block::{WorstBlock, run};
use vibecoin_primitives::FaultModel;

use crate::error::CliError;
use crate::exit::Exit;
use crate::figures::Figures;
use crate::network_args::NetworkProfile;
use crate::numbers::whole;
use crate::output::Answer;

/// Arguments of `bench worst-block`.
#[derive(Args, Clone, Debug)]
pub struct WorstBlockArgs {
    /// Parameters whose bounds the blocks go up to
    #[arg(long, value_enum, default_value_t = NetworkProfile::Devnet)]
    pub profile: NetworkProfile,
    /// Accounts in the state besides those that the blocks touch
    #[arg(long, default_value_t = 100_000, allow_negative_numbers = true, value_parser = whole::<usize>(0..=100_000_000))]
    pub accounts: usize,
    /// An empty folder on the disk to measure [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl WorstBlockArgs {
    /// Runs the measurement.
    ///
    /// # Errors
    /// Exit 1 when a block could not be made or judged.
    pub fn run(self) -> Result<Answer, CliError> {
        let parent = crate::environment::temporary_folder();
        let scratch = tempfile::tempdir_in(&parent).map_err(CliError::file("make a folder in", &parent))?;
        let folder = self.dir.unwrap_or_else(|| scratch.path().join("db"));
        let reports = run(&WorstBlock {
            folder,
            params: Profile::from(self.profile).params(FaultModel::Byzantine),
            accounts: self.accounts,
        });
        let reports = reports.map_err(|error| CliError::new(Exit::Failure, error.to_string()))?;
        let mut figures = Figures::of("worst-block");
        for report in reports {
            let kind = report.kind;
            let block_ms = report.block_time.as_secs_f64() * 1e3;
            let judged_ms = report.judged.as_secs_f64() * 1e3;
            let unknown_ms = report.judged_unknown.as_secs_f64() * 1e3;
            figures.add(
                format!("{kind}/transactions"),
                report.transactions as f64,
                "transactions",
            );
            figures.add(
                format!("{kind}/operations"),
                report.demand.operations as f64,
                "operations",
            );
            figures.add(format!("{kind}/slots"), report.demand.slots as f64, "slots");
            figures.add(format!("{kind}/block time"), block_ms, "ms");
            figures.add(format!("{kind}/judged"), judged_ms, "ms");
            figures.add(
                format!("{kind}/judged, part of the block time"),
                judged_ms / block_ms,
                "times",
            );
            figures.add(format!("{kind}/judged with signatures"), unknown_ms, "ms");
            figures.add(
                format!("{kind}/judged with signatures, part of the block time"),
                unknown_ms / block_ms,
                "times",
            );
        }
        Ok(figures.answer())
    }
}
