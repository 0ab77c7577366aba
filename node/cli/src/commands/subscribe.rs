//! `vibecoin subscribe`: events of the chain, as they occur.

use clap::{Args, ValueEnum};
use vibecoin_rpc_api::views::{Topic, TopicParams};

use crate::addresses::named;
use crate::context::Context;
use crate::error::CliError;
use crate::follow::{Follow, follow};
use crate::output::Answer;

const EXAMPLES: &str = "\
Examples:
  vibecoin subscribe headers
  vibecoin -o ndjson subscribe account --account dev0 --from-height 0 \\
      --count 3";

/// What can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TopicName {
    /// Every block.
    Blocks,
    /// Every header.
    Headers,
    /// Changes of one account.
    Account,
    /// Every transaction, or those that an account sent or is paid by.
    Transactions,
}

impl From<TopicName> for Topic {
    fn from(name: TopicName) -> Self {
        match name {
            TopicName::Blocks => Self::Blocks,
            TopicName::Headers => Self::Headers,
            TopicName::Account => Self::Account,
            TopicName::Transactions => Self::Transactions,
        }
    }
}

/// Arguments of `subscribe`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SubscribeArgs {
    /// What to follow
    #[arg(value_enum)]
    topic: TopicName,
    /// Whose: address, or the name of a key
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    follow: Follow,
}

impl SubscribeArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node; exit 1 when it closes the subscription, 3 when it does so because it stops.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let params = match &self.account {
            Some(account) => Some(TopicParams {
                address: Some(named(context, account)?),
                transactions: None,
            }),
            None if self.topic == TopicName::Account => {
                return Err(CliError::usage("whose account?").hint("name it with --account ADDRESS"));
            }
            None => None,
        };
        follow(context, self.topic.into(), params, &self.follow)
    }
}
