//! `vibecoin block`: blocks, which are final as soon as they exist.

use clap::{Args, Subcommand, ValueEnum};
use vibecoin_rpc_api::limits::PAGE_MAX;
use vibecoin_rpc_api::methods::ChainApiClient as _;
use vibecoin_rpc_api::views::{BlockOptions, BlockRangeOptions, Order, Topic, TransactionDetail};
use vibecoin_rpc_api::{Arg, BlockRef, Cursor, Text as _};

use crate::context::Context;
use crate::error::{CliError, NEWEST};
use crate::exit::Exit;
use crate::follow::{Follow, follow};
use crate::numbers::whole;
use crate::output::{Answer, message};

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
                block,
                transactions,
                certificate,
                poh,
            } => {
                let options = BlockOptions {
                    transactions: transactions.into(),
                    certificate,
                    poh,
                };
                let wanted: BlockRef = block.parse()?;
                let client = context.client()?;
                let found =
                    context.wait(async { Ok(client.get_block(Some(wanted), Some(options)).await?) })?;
                found.map(Answer::new).ok_or_else(|| {
                    CliError::new(Exit::NotFound, format!("there is no block {block}"))
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
        let block = |text: Option<String>| text.as_deref().map(str::parse::<BlockRef>).transpose();
        let options = BlockRangeOptions {
            from: block(self.from)?,
            to: block(self.to)?,
            order: Some(if self.ascending { Order::Asc } else { Order::Desc }),
            limit: Some(self.limit),
            cursor: self
                .cursor
                .as_deref()
                .map(Cursor::from_text)
                .transpose()?
                .map(Arg::new),
            transactions: None,
        };
        let client = context.client()?;
        let page = context.wait(async { Ok(client.get_blocks(Some(options)).await?) })?;
        let mut text = format!("{:>10}  {:>13}  {:>6}  hash\n", "height", "timestampMs", "txs");
        for block in &page.items {
            let header = &block.header;
            text.push_str(&format!(
                "{:>10}  {:>13}  {:>6}  {}\n",
                header.height.0, header.timestamp_ms.0, block.tx_count, header.hash.0
            ));
        }
        if let Some(cursor) = &page.next_cursor {
            text.push_str(&format!("more: --cursor {}\n", message(cursor)));
        }
        Ok(Answer::new(page).text(text))
    }
}
