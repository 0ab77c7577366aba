//! `vibecoin validator`: the validators, the proposer schedule, and voting.

use clap::Subcommand;
use vibecoin_primitives::PublicKey;
use vibecoin_rpc_api::methods::ConsensusApiClient as _;
use vibecoin_rpc_api::views::{ConsensusStatusView, ProposerTurnView, ScheduleOptions, ValidatorOptions};
use vibecoin_rpc_api::{Arg, Text as _, U64};

use crate::context::Context;
use crate::error::CliError;
use crate::numbers::whole;
use crate::output::{Answer, cell, message};
use crate::table::Column::{Left, Right};
use crate::table::Table;

/// Maximum number of heights that a node examines for one answer.
const HEIGHTS_MAX: u64 = 1_000;

/// The commands of `validator`.
#[derive(Debug, Subcommand)]
pub enum ValidatorCommand {
    /// The validators and their power
    List,
    /// What a validator did in the newest blocks
    Show {
        /// Its key: 0x and 64 hex digits
        key: String,
        /// How many blocks to look at, 1 to 1000
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32>(1..=HEIGHTS_MAX))]
        window: Option<u32>,
    },
    /// Whose turn it was, and whose it is to be
    Schedule {
        /// First height; default: the next one
        #[arg(long, value_name = "HEIGHT", allow_negative_numbers = true, value_parser = crate::numbers::number)]
        from: Option<u64>,
        /// How many heights, 1 to 1000
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32>(1..=HEIGHTS_MAX))]
        count: Option<u32>,
    },
    /// Where voting stands on the node
    Status {
        /// Why this height took the rounds it took
        #[arg(long, value_name = "HEIGHT", allow_negative_numbers = true, value_parser = crate::numbers::number)]
        rounds: Option<u64>,
    },
}

impl ValidatorCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let client = context.client()?;
        match self {
            Self::List => {
                let set = context.wait(async { Ok(client.get_validators().await?) })?;
                let mut table = Table::new([Left("key"), Right("power"), Left("payout")]);
                for validator in &set.validators {
                    table.row([
                        validator.key.0.to_text(),
                        validator.power.to_string(),
                        validator.payout.0.to_text(),
                    ]);
                }
                let text = table.text();
                Ok(Answer::new(set).text(text))
            }
            Self::Show { key, window } => {
                let key = Arg::new(PublicKey::from_text(&key)?);
                let options = Some(ValidatorOptions { window });
                let record = context.wait(async { Ok(client.get_validator(key, options).await?) })?;
                Ok(Answer::new(record))
            }
            Self::Schedule { from, count } => {
                let options = ScheduleOptions {
                    from_height: from.map(U64),
                    count,
                };
                let turns = context.wait(async { Ok(client.get_schedule(Some(options)).await?) })?;
                let text = turns.iter().map(turn).collect::<String>();
                Ok(Answer::new(turns).text(text))
            }
            Self::Status { rounds: None } => {
                let status = context.wait(async { Ok(client.get_status().await?) })?;
                let text = people(&status);
                Ok(Answer::new(status).text(text))
            }
            Self::Status { rounds: Some(height) } => {
                let rounds = context.wait(async { Ok(client.get_rounds(Some(U64(height))).await?) })?;
                let text = format!("height {}: {}\n", rounds.height, message(&rounds.why));
                Ok(Answer::new(rounds).text(text))
            }
        }
    }
}

fn turn(turn: &ProposerTurnView) -> String {
    let mut line = format!("{:>10}  {}", turn.height.0, turn.proposer.0.to_text());
    if let (Some(round @ 1..), Some(by)) = (turn.round, turn.created_by) {
        line.push_str(&format!("  missed; round {round} by {}", by.0.to_text()));
    }
    line.push('\n');
    line
}

fn people(status: &ConsensusStatusView) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<11}{}\n", cell(&value)));
    row("height", status.height.to_string());
    row("round", format!("{} ({})", status.round, status.step));
    if let Some(proposer) = status.proposer {
        row("proposer", proposer.0.to_text());
    }
    row(
        "votes",
        match (status.validator, status.abstaining) {
            (None, _) => "no: this node only follows".to_owned(),
            (Some(key), false) => format!("as {}", key.0.to_text()),
            (Some(key), true) => format!(
                "as {}, but not at this height: it may have voted before",
                key.0.to_text()
            ),
        },
    );
    for (name, tally) in [("prevotes", &status.prevotes), ("precommits", &status.precommits)] {
        if let Some(tally) = tally {
            let missing = tally.missing.len();
            row(
                name,
                format!(
                    "power {} of {} voters, {missing} missing",
                    tally.power, tally.voters
                ),
            );
        }
    }
    row("timeouts", format!("{} since the start", status.timeouts));
    text
}
