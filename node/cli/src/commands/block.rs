//! `vibecoin block`: blocks, which are final as soon as they exist.

use clap::{Args, Subcommand, ValueEnum};
use vibecoin_rpc_api::limits::PAGE_MAX;
use vibecoin_rpc_api::methods::ChainApiClient as _;
use vibecoin_rpc_api::views::{BlockOptions, BlockRangeOptions, Order, Topic, TransactionDetail};

use crate::at::{block, block_if_any};
use crate::context::Context;
use crate::error::{CliError, NEWEST};
use crate::exit::Exit;
use crate::follow::{Follow, follow};
use crate::numbers::whole;
use crate::output::Answer;
use crate::table::Column::{Left, Right};
use crate::table::{Table, cursor, more};

/// How much of a block's transactions to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Detail {
    /// Their count.
    None,
    /// Their hashes.
    Hashes,
    /// Everything.
    Full,
}

impl From<Detail> for TransactionDetail {
    fn from(detail: Detail) -> Self {
        match detail {
            Detail::None => Self::None,
            Detail::Hashes => Self::Hashes,
            Detail::Full => Self::Full,
        }
    }
}

/// The commands of `block`.
#[derive(Debug, Subcommand)]
pub enum BlockCommand {
    /// Show a block; exit 5 when there is none
    Show {
        /// Height, hash, `latest`, `earliest` or `genesis`
        #[arg(default_value = "latest")]
        block: String,
        /// How much of the transactions
        #[arg(long, value_enum, default_value = "hashes")]
        transactions: Detail,
        /// And why it is final
        #[arg(long)]
        certificate: bool,
        /// And its ticks
        #[arg(long)]
        poh: bool,
    },
    /// List blocks, newest first
    List(ListArgs),
    /// Follow new blocks, until stopped
    Watch(Follow),
}

/// Arguments of `block list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// First block
    #[arg(long)]
    from: Option<String>,
    /// Last block
    #[arg(long)]
    to: Option<String>,
    /// Oldest first
    #[arg(long)]
    ascending: bool,
    /// Items per page, 1 to 1000
    #[arg(long, default_value_t = 20, allow_negative_numbers = true, value_parser = whole::<u32>(1..=u64::from(PAGE_MAX)))]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

impl BlockCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node, and exit 5 for a block that does not exist.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Show {
                block: typed,
                transactions,
                certificate,
                poh,
            } => {
                let options = BlockOptions {
                    transactions: transactions.into(),
                    certificate,
                    poh,
                };
                let wanted = block(&typed)?;
                let client = context.client()?;
                let found =
                    context.wait(async { Ok(client.get_block(Some(wanted), Some(options)).await?) })?;
                found.map(Answer::new).ok_or_else(|| {
                    CliError::new(Exit::NotFound, format!("there is no block {typed}"))
                        .reason("no_block")
                        .hint(NEWEST)
                })
            }
            Self::List(args) => args.run(context),
            Self::Watch(args) => follow(context, Topic::Blocks, None, &args),
        }
    }
}

impl ListArgs {
    fn run(self, context: &Context) -> Result<Answer, CliError> {
        let options = BlockRangeOptions {
            from: block_if_any(self.from.as_deref())?,
            to: block_if_any(self.to.as_deref())?,
            order: Some(if self.ascending { Order::Asc } else { Order::Desc }),
            limit: Some(self.limit),
            cursor: cursor(self.cursor.as_deref())?,
            transactions: None,
        };
        let client = context.client()?;
        let page = context.wait(async { Ok(client.get_blocks(Some(options)).await?) })?;
        let columns = [Right("height"), Right("timestampMs"), Right("txs"), Left("hash")];
        let mut table = Table::new(columns);
        for block in &page.items {
            let header = &block.header;
            table.row([
                header.height.to_string(),
                header.timestamp_ms.to_string(),
                block.tx_count.to_string(),
                header.hash.0.to_string(),
            ]);
        }
        let text = table.text() + &more(page.next_cursor.as_deref());
        Ok(Answer::new(page).text(text))
    }
}
