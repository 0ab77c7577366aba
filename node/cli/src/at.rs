//! Blocks in arguments: the one that a command is about, and the state that it reads.

use clap::Args;
use vibecoin_rpc_api::BlockRef;

use crate::error::CliError;

/// A block as typed.
///
/// # Errors
/// Exit 2 for a text that is not a block.
pub fn block(text: &str) -> Result<BlockRef, CliError> {
    text.parse::<BlockRef>().map_err(|error| {
        let error = CliError::from(error);
        // "pending" is one that there is not: its message names where to look.
        match text {
            "pending" => error,
            _ => {
                error.hint("write latest for the newest block, or a height: `vibecoin block list` shows them")
            }
        }
    })
}

/// The same for an option.
///
/// # Errors
/// As [`block`].
pub fn block_if_any(text: Option<&str>) -> Result<Option<BlockRef>, CliError> {
    text.map(block).transpose()
}

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
        block_if_any(self.at.as_deref())
    }
}
