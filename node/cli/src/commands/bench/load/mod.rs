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

pub mod accounts;
mod blocks;
pub mod process;
mod submit;

use std::time::{Duration, Instant};

use clap::Args;
use rayon::prelude::*;
use serde_json::json;
use vibecoin_primitives::{Address, Amount, Height, Nonce, Operation, TransactionBody};

use super::rounded;
use crate::chain::Chain;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::numbers::whole;
use crate::output::{self, Answer};
use crate::passphrase::PassphraseArgs;
use crate::sending::sign;
use crate::signer;
use accounts::{Member, Supply};
use blocks::Blocks;
use process::Usage;

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

/// Amount of each transfer.
pub const AMOUNT: Amount = Amount(1);

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

    async fn load(
        &self,
        context: &Context,
        funder: &vibecoin_primitives::SecretKey,
    ) -> Result<Answer, CliError> {
        let say = |text: String| {
            if !context.globals.quiet && !context.globals.no_progress {
                output::note(&text);
            }
        };
        let client = context.client()?;
        let chain = Chain::ask(context, &client).await?;
        let fee = transfer_fee(&chain)?;
        say(format!("funding {} accounts", self.accounts));
        let mut members = accounts::members(self.accounts);
        accounts::fund(
            context,
            &client,
            &chain,
            funder,
            &mut members,
            self.need(&chain, fee),
        )
        .await?;
        let before = accounts::read(&client, &members).await?;

        say(format!("signing {} transfers", self.transactions));
        let begun = Instant::now();
        let queues = self.sign(&chain, &before, &members, fee)?;
        let signing = begun.elapsed();

        say(format!("submitting over {} connections", self.connections));
        let pid = process::pid_of(context);
        let mut blocks = Blocks::follow(context, &client).await?;
        let cpu_before = pid.map(Usage::of);
        let begun = Instant::now();
        let submitted = submit::all(context, queues, &mut blocks, self).await?;
        let submitting = begun.elapsed();
        blocks.wait_for(submitted.taken).await?;
        let after = accounts::reached(&client, &members, &before, &submitted, &mut blocks).await?;
        let wall = blocks.last_with_transfers().saturating_duration_since(begun);
        let cpu = pid
            .zip(cpu_before)
            .map(|(pid, before)| Usage::of(pid).since(&before));

        say("adding up balances".to_owned());
        let supply = Supply::read(&client).await?;
        let moved = accounts::check(&before, &after, &submitted, fee);
        let stats = blocks.stats(chain.info.params.block_transactions_max);
        let taken = submitted.taken;
        let per_transfer = |nanos: u64| rounded(nanos as f64 / 1e3 / taken.max(1) as f64);
        let stages = cpu.as_ref().map(|usage| {
            usage
                .threads
                .iter()
                .map(|(name, nanos)| (name.clone(), json!(per_transfer(*nanos))))
                .collect::<serde_json::Map<_, _>>()
        });
        let rate = taken as f64 / wall.as_secs_f64().max(1e-9);
        let holds = supply.holds && moved.is_ok();
        let json = json!({
            "bench": "load",
            "cores": super::cores(),
            "accounts": self.accounts,
            "transactions": self.transactions,
            "batch": self.batch,
            "connections": self.connections,
            "taken": taken,
            "final": taken,
            "rejected": submitted.rejected,
            "retried": submitted.retried,
            "transfersPerSecond": rounded(rate),
            "wallSeconds": rounded(wall.as_secs_f64()),
            "submitSeconds": rounded(submitting.as_secs_f64()),
            "signSecondsNotCounted": rounded(signing.as_secs_f64()),
            "nodeCpuSeconds": cpu.as_ref().map(|usage| rounded(usage.total() as f64 / 1e9)),
            "cpuUsPerTransfer": cpu.as_ref().map(|usage| per_transfer(usage.total())),
            "cpuUsPerTransferByThread": stages,
            "blocks": stats.blocks,
            "blockTimeMs": { "p50": stats.time_p50_ms, "p99": stats.time_p99_ms, "max": stats.time_max_ms },
            "transfersPerBlock": { "mean": rounded(stats.fill_mean), "max": stats.fill_max },
            "fillPercent": { "mean": rounded(stats.fill_mean_percent), "max": rounded(stats.fill_max_percent) },
            "supply": supply.json,
            "balancesAddUp": holds,
            "problem": moved.err(),
        });
        let text = format!(
            "{taken} transfers final in {:.2} s: {rate:.0} transfers/s\n\
             node CPU per transfer: {}\n\
             blocks: {}, time p50 {} ms, p99 {} ms, max {} ms; {:.0} transfers each\n\
             rejected: {}\nbalances add up: {}\n",
            wall.as_secs_f64(),
            cpu.as_ref().map_or_else(
                || "not known".to_owned(),
                |usage| format!("{} us", per_transfer(usage.total()))
            ),
            stats.blocks,
            stats.time_p50_ms,
            stats.time_p99_ms,
            stats.time_max_ms,
            stats.fill_mean,
            serde_json::to_string(&submitted.rejected).unwrap_or_default(),
            if holds { "yes" } else { "NO" },
        );
        let answer = Answer::new(json).text(text);
        Ok(if holds {
            answer
        } else {
            answer.exit(Exit::VerificationFailed)
        })
    }

    /// Balance that an account needs for its share of the transfers.
    fn need(&self, chain: &Chain, fee: Amount) -> Amount {
        let each = self.transactions.div_ceil(self.accounts);
        let cost = fee.0.saturating_add(AMOUNT.0).saturating_mul(each);
        Amount(cost.saturating_add(chain.info.params.account_price.0))
    }

    /// Signs every transfer: to the next account, with the nonces of each sender in order and all of one
    /// sender in one queue.
    fn sign(
        &self,
        chain: &Chain,
        before: &[accounts::Seen],
        members: &[Member],
        fee: Amount,
    ) -> Result<Vec<Vec<submit::Signed>>, CliError> {
        let valid_until = chain.valid_until(Some(chain.info.params.validity_window.0));
        // The chain has advanced while the accounts were funded, and continues to.
        let valid_until = Height(valid_until.0.saturating_sub(1));
        let count = members.len() as u64;
        let signed: Vec<submit::Signed> = (0..self.transactions)
            .into_par_iter()
            .filter_map(|number| {
                let index = usize::try_from(number.checked_rem(count)?).ok()?;
                let next = usize::try_from(number.saturating_add(1).checked_rem(count)?).ok()?;
                let (sender, to) = (members.get(index)?, members.get(next)?);
                let nonce = before
                    .get(index)?
                    .nonce
                    .saturating_add(number.checked_div(count)?);
                let body = TransactionBody {
                    chain: chain.genesis.prefix(),
                    sender: sender.key.public_key(),
                    nonce: Nonce(nonce),
                    fee,
                    valid_until,
                    operations: vec![Operation::Transfer {
                        to: to.address,
                        amount: AMOUNT,
                    }],
                };
                let (_, raw) = sign(body, &chain.genesis, &sender.key);
                Some(submit::Signed { account: index, raw })
            })
            .collect();
        let mut queues: Vec<Vec<submit::Signed>> = (0..self.connections).map(|_| Vec::new()).collect();
        for transfer in signed {
            let queue = transfer.account.checked_rem(queues.len());
            if let Some(queue) = queue.and_then(|queue| queues.get_mut(queue)) {
                queue.push(transfer);
            }
        }
        Ok(queues)
    }
}

/// The minimum fee of a transfer. All transfers have one size.
///
/// # Errors
/// As [`Chain::fee`].
pub fn transfer_fee(chain: &Chain) -> Result<Amount, CliError> {
    let key = vibecoin_primitives::SecretKey::from_seed(&[0; 32]);
    let body = TransactionBody {
        chain: chain.genesis.prefix(),
        sender: key.public_key(),
        nonce: Nonce(0),
        fee: Amount(0),
        valid_until: Height(0),
        operations: vec![Operation::Transfer {
            to: Address([0; 32]),
            amount: AMOUNT,
        }],
    };
    chain.fee(sign(body, &chain.genesis, &key).1.len(), 0, None)
}
