//! The state that a command reads, as an option.

use clap::Args;
use vibecoin_rpc_api::BlockRef;

use crate::error::CliError;

/// The state to read.
#[derive(Args, Clone, Debug, Default)]
pub struct At {
    /// Height, block hash, `latest`, `earliest` or `genesis`; today nodes keep the newest state alone
    #[arg(long, value_name = "BLOCK")]
    pub at: Option<String>,
}

impl At {
    /// The block as an RPC argument.
    ///
    /// # Errors
    /// Exit 2 for a text that is not a block.
    pub fn get(&self) -> Result<Option<BlockRef>, CliError> {
        Ok(self.at.as_deref().map(str::parse).transpose()?)
    }
}
