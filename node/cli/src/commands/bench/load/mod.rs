//! Transfers through a running node: submitted in batches, until all of them are final.
//!
//! ```text
//!  accounts ──fund──▶ sign everything ──▶ submit over several connections ──▶ all nonces reached?
//!                     (not counted)        head of the chain, followed ─────▶ times, fill
//!                                                                             balances add up?
//! ```
//!
//! The figures cover the time from the first submission to the moment when the last transfer was known to be
//! final. The processor time of the node's threads is read from the system when the node runs on this
//! machine.

mod report;

use std::time::Duration;

use clap::Args;
use vibecoin_config::Paths;
use vibecoin_devnet::running::{ENDPOINT_BYTES_MAX, Running};
use vibecoin_loadgen::{ClosedLoop, Funding, Load, Loop, Plan, Progress, Supply, Usage};
use vibecoin_primitives::{Address, SecretKey};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::numbers::whole;
use crate::output::Answer;
use crate::passphrase::PassphraseArgs;
use crate::{chain, files, loading, signer};

/// Arguments of `bench load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Accounts that send and receive
    #[arg(long, default_value_t = 1_000, allow_negative_numbers = true, value_parser = whole::<u64>(2..=1_000_000))]
    pub accounts: u64,
    /// Transfers
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true, value_parser = whole::<u64>(1..=10_000_000))]
    pub transactions: u64,
    /// Transfers per request
    #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = whole::<u64>(1..=100))]
    pub batch: u64,
    /// Connections that submit
    #[arg(long, default_value_t = 4, allow_negative_numbers = true, value_parser = whole::<u64>(1..=256))]
    pub connections: u64,
    /// Who funds the accounts: name or address of a key of the home
    #[arg(long, default_value = "dev0")]
    pub from: String,
    /// Seconds after which the run is given up
    #[arg(long, default_value_t = 600, allow_negative_numbers = true, value_parser = whole::<u64>(1..=86_400))]
    pub limit: u64,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl LoadArgs {
    /// Runs the load.
    ///
    /// # Errors
    /// Exit 6 when it does not end in time, 8 when balances do not add up.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let key = signer::load(context, &self.from, &self.passphrase)?;
        let limit = Duration::from_secs(self.limit);
        context.wait_unreported(async {
            let work = self.load(context, &key);
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(CliError::new(
                    Exit::Timeout,
                    format!("the load did not end within {} s", self.limit),
                ))
            })
        })
    }

    async fn load(&self, context: &Context, funder: &SecretKey) -> Result<Answer, CliError> {
        let node = loading::target(context)?;
        let chain = chain::ask(context, node.client()).await?;
        let plan = Plan {
            accounts: self.accounts,
            batch: self.batch,
            timeout_ms: context.timeout_ms(),
            pace: Loop::Closed(ClosedLoop {
                transactions: self.transactions,
                connections: self.connections,
            }),
        };
        let funding = Funding {
            client: node.client(),
            key: funder,
        };
        let nodes = std::slice::from_ref(&node);
        let progress = |step: Progress| self.report(context, step);
        let load = Load::prepare(&plan, &chain, funding, nodes, &progress).await;
        let load = load.map_err(|error| {
            CliError::from(error).of_sender(&chain.show(Address::from(funder.public_key())))
        })?;
        let pid = pid_of(context);
        let before = pid.map(Usage::of);
        let load = load.run().await?;
        let cpu = pid.zip(before).map(|(pid, before)| Usage::of(pid).since(&before));
        loading::note(context, "adding up balances");
        let supply = Supply::read(node.client()).await?;
        Ok(report::answer(&report::Facts {
            args: self,
            load,
            cpu,
            supply,
            block_transactions_max: chain.info.params.block_transactions_max,
        }))
    }

    fn report(&self, context: &Context, step: Progress) {
        let text = match step {
            Progress::Funding => format!("funding {} accounts", self.accounts),
            Progress::Signing => format!("signing {} transfers", self.transactions),
            Progress::Sending => format!("submitting over {} connections", self.connections),
            // Steps of the open loop.
            Progress::Sent { .. } | Progress::Settling => return,
        };
        loading::note(context, &text);
    }
}

/// The process of the home's node, provided that it is the one that is measured.
fn pid_of(context: &Context) -> Option<u32> {
    let home = context.home().ok()?;
    let endpoint = files::read_text(&Paths::endpoint_in(home), ENDPOINT_BYTES_MAX).ok()?;
    if endpoint.trim() != context.url().ok()?.secret().trim_end_matches('/') {
        return None;
    }
    Running::on(home).map(|running| running.pid)
}
