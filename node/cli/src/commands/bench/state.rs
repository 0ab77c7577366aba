//! Durable blocks of random account updates, with the storage crate's benchmark.

use std::path::PathBuf;

use clap::Args;
use vibecoin_storage::StoreConfig;
use vibecoin_storage::bench::{StateBench, run};

use crate::error::CliError;
use crate::figures::Figures;
use crate::numbers::whole;
use crate::output::Answer;

/// Arguments of `bench state`.
#[derive(Args, Clone, Debug)]
pub struct StateArgs {
    /// Accounts in the state
    #[arg(long, default_value_t = 100_000, allow_negative_numbers = true, value_parser = whole::<u64>(1..=100_000_000))]
    pub accounts: u64,
    /// Blocks to commit
    #[arg(long, default_value_t = 20, allow_negative_numbers = true, value_parser = whole::<u64>(1..=1_000_000))]
    pub blocks: u64,
    /// Random accounts changed by each block
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true, value_parser = whole::<u64>(1..=100_000_000))]
    pub updates: u64,
    /// Proofs to make and verify
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true, value_parser = whole::<u64>(1..=100_000_000))]
    pub proofs: u64,
    /// Keep every row in memory
    #[arg(long)]
    pub warm: bool,
    /// An empty folder on the disk to measure [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl StateArgs {
    /// Runs the measurement.
    ///
    /// # Errors
    /// The errors of the storage crate.
    pub fn run(self) -> Result<Answer, CliError> {
        let parent = crate::environment::temporary_folder();
        let scratch = tempfile::tempdir_in(&parent).map_err(CliError::file("make a folder in", &parent))?;
        let folder = self.dir.unwrap_or_else(|| scratch.path().join("db"));
        let rows_cached_max = if self.warm {
            usize::try_from(self.accounts).unwrap_or(usize::MAX)
        } else {
            1
        };
        let report = run(&StateBench {
            folder,
            accounts: self.accounts,
            blocks: self.blocks,
            updates: self.updates,
            proofs: self.proofs,
            config: StoreConfig {
                rows_cached_max,
                ..StoreConfig::default()
            },
        })?;
        let mut figures = Figures::of("state");
        figures.add("accounts", self.accounts as f64, "accounts");
        figures.add("durable updates", report.updates_per_second, "updates/s");
        figures.add("block/p50", report.block_p50.as_secs_f64() * 1e3, "ms");
        figures.add("block/p99", report.block_p99.as_secs_f64() * 1e3, "ms");
        figures.add("cpu per update", report.cpu_us_per_update, "us");
        figures.add("written per update", report.bytes_per_update, "bytes");
        figures.add("disk per account", report.disk_bytes_per_account, "bytes");
        figures.add("proof/size", report.proof_bytes, "bytes");
        figures.add("proof/make", report.proofs_made_per_second, "1/s");
        figures.add("proof/verify", report.proofs_verified_per_second, "1/s");
        figures.add("memory/peak", report.peak_mib, "MiB");
        Ok(figures.answer())
    }
}
