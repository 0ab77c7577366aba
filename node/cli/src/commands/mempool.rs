//! `vibecoin mempool`: transactions pending on one node.

use clap::Subcommand;
use vibecoin_rpc_api::methods::MempoolApiClient as _;
use vibecoin_rpc_api::views::{MempoolEntryView, MempoolListOptions, Page};

use crate::addresses::named;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::table::Column::{Left, Right};
use crate::table::{PageArgs, Table, more};

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
        #[command(flatten)]
        page: PageArgs,
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
            Self::List { sender, page } => {
                let options = MempoolListOptions {
                    sender: sender
                        .as_deref()
                        .map(|sender| named(context, sender))
                        .transpose()?,
                    limit: page.limit,
                    cursor: page.cursor()?,
                };
                let page = context.wait(async { Ok(client.list(Some(options)).await?) })?;
                let text = table(&page);
                Ok(Answer::new(page).text(text))
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

/// One line per transaction.
fn table(page: &Page<MempoolEntryView>) -> String {
    let mut table = Table::new([
        Left("hash"),
        Left("sender"),
        Right("nonce"),
        Right("fee"),
        Left("waits"),
    ]);
    for entry in &page.items {
        let transaction = &entry.transaction;
        table.row([
            transaction.hash.0.to_string(),
            transaction.sender.0.to_string(),
            transaction.nonce.to_string(),
            transaction.fee.to_string(),
            if entry.queued {
                "behind a nonce"
            } else {
                "for a block"
            }
            .to_owned(),
        ]);
    }
    table.text() + &more(page.next_cursor.as_deref())
}
