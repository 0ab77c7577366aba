//! `vibecoin mempool`: transactions pending on one node.

use clap::Subcommand;
use vibecoin_rpc_api::limits::PAGE_MAX;
use vibecoin_rpc_api::methods::MempoolApiClient as _;
use vibecoin_rpc_api::views::MempoolListOptions;
use vibecoin_rpc_api::{Arg, Cursor, Text as _};

use crate::addresses::named;
use crate::context::Context;
use crate::error::CliError;
use crate::numbers::whole;
use crate::output::Answer;

/// The commands of `mempool`.
#[derive(Debug, Subcommand)]
pub enum MempoolCommand {
    /// The pool in figures
    Status,
    /// List what waits
    List {
        /// Only of this sender
        #[arg(long)]
        sender: Option<String>,
        /// Items per page, 1 to 1000
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32>(1..=u64::from(PAGE_MAX)))]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// What waits for one account
    Account {
        /// Address, or the name of a key
        account: String,
    },
}

impl MempoolCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let client = context.client()?;
        match self {
            Self::Status => Ok(Answer::new(
                context.wait(async { Ok(client.get_status().await?) })?,
            )),
            Self::List {
                sender,
                limit,
                cursor,
            } => {
                let options = MempoolListOptions {
                    sender: sender
                        .as_deref()
                        .map(|sender| named(context, sender))
                        .transpose()?,
                    limit,
                    cursor: cursor
                        .as_deref()
                        .map(Cursor::from_text)
                        .transpose()?
                        .map(Arg::new),
                };
                Ok(Answer::new(
                    context.wait(async { Ok(client.list(Some(options)).await?) })?,
                ))
            }
            Self::Account { account } => {
                let address = named(context, &account)?;
                Ok(Answer::new(
                    context.wait(async { Ok(client.get_account(address).await?) })?,
                ))
            }
        }
    }
}
