//! `vibecoin account`: accounts as reported by a node, and proofs of them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use vibecoin_keystore::NEW_NAME_BYTES_MAX;
use vibecoin_light::{PROOF_FILE_BYTES_MAX, ProofFile};
use vibecoin_primitives::{Address, AddressPrefix};
use vibecoin_rpc_api::limits::PAGE_MAX;
use vibecoin_rpc_api::methods::{AccountApiClient as _, ProofApiClient as _};
use vibecoin_rpc_api::views::{AccountListOptions, AddressesArg, AtOptions, ReadOptions};
use vibecoin_rpc_api::{AddressArg, AddressText, Arg, BlockRef, Cursor, Text as _, U64};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::Answer;
use crate::program::quoted_path;
use crate::sending::{Hex, amount, payee, wrong_address};
use crate::usage::whole;

const EXAMPLES: &str = "\
Examples:
  vibecoin account show dev0               a name of the keystore, or an address
  vibecoin account show vibet1… --at 100
  vibecoin account proof vibet1… --out proof.json
  vibecoin proof verify proof.json --genesis genesis.toml";

/// The commands of `account`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum AccountCommand {
    /// Show an account; exit 5 when there is none
    Show {
        /// Address, or the name of a key
        account: String,
        #[command(flatten)]
        at: At,
    },
    /// List all accounts, page by page
    List {
        /// Items per page, 1 to 1000
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32>(1..=u64::from(PAGE_MAX)))]
        limit: Option<u32>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
        /// Leave out accounts that own less, in base units
        #[arg(long, allow_negative_numbers = true, value_parser = amount)]
        min_balance: Option<u64>,
        #[command(flatten)]
        at: At,
    },
    /// Fetch a proof that the account is as it is, or that there is none
    Proof {
        /// Address, or the name of a key
        account: String,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        at: At,
    },
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
        Ok(self.at.as_deref().map(str::parse).transpose()?)
    }
}

impl AccountCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node, and exit 5 for an account that does not exist.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Show { account, at } => show(context, &account, &at),
            Self::List {
                limit,
                cursor,
                min_balance,
                at,
            } => {
                let cursor = cursor
                    .as_deref()
                    .map(Cursor::from_text)
                    .transpose()?
                    .map(Arg::new);
                let options = AccountListOptions {
                    at: at.get()?,
                    limit,
                    cursor,
                    min_balance: min_balance.map(U64),
                };
                let client = context.client()?;
                let page = context.wait(async { Ok(client.list(Some(options)).await?) })?;
                Ok(Answer::new(page))
            }
            Self::Proof {
                account,
                out,
                force,
                at,
            } => proof(context, &account, out, force, &at),
        }
    }
}

/// An address as typed, or that of a key of the home. The node checks the prefix.
///
/// # Errors
/// Exit 5 for a text as short as a name that is not the name of a key, 2 for an address with a typo.
pub fn named(context: &Context, text: &str) -> Result<AddressArg, CliError> {
    if looks_like_an_address(text) {
        let read = AddressText::from_text(text);
        return Ok(Arg::new(read.map_err(|error| wrong_address(text, error))?));
    }
    match context.keys_with(text).and_then(|keys| Ok(keys.find(text)?)) {
        Ok(info) => Ok(Address::from(info.public_key).into()),
        // A key that exists and cannot be read is reported as such, not taken for an address.
        Err(error) if error.exit != Exit::NotFound => Err(error),
        Err(error) => match AddressText::from_text(text) {
            Ok(address) => Ok(Arg::new(address)),
            Err(_) => Err(context.or_address(text, error)),
        },
    }
}

/// Recipient of a payment: an address as [`payee`] accepts it, or the name of a key of the home.
pub fn recipient(
    context: &Context,
    text: &str,
    prefix: &AddressPrefix,
    hex: Hex,
) -> Result<Address, CliError> {
    if looks_like_an_address(text) {
        return payee(text, prefix, hex);
    }
    Ok(named(context, text)?.get()?.on(prefix)?)
}

fn looks_like_an_address(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X") || text.len() > NEW_NAME_BYTES_MAX
}

fn show(context: &Context, account: &str, at: &At) -> Result<Answer, CliError> {
    let address = named(context, account)?;
    let options = ReadOptions {
        at: at.get()?,
        min_height: None,
    };
    let client = context.client()?;
    let read = context.wait(async { Ok(client.get(address, Some(options)).await?) })?;
    let Some(view) = &read.value else {
        let message = format!("there is no account {account} at height {}", read.context.height);
        return Err(CliError::new(Exit::NotFound, message)
            .reason("no_account")
            .hint("an account exists once it has received something: `vibecoin transfer ADDRESS AMOUNT --from KEY`")
            .data(json!({ "context": read.context })));
    };
    let mut text = format!(
        "address  {}\nbalance  {}\nnonce    {}\n",
        view.address.0, view.balance, view.nonce
    );
    if let Some(root) = &view.storage_root {
        text.push_str(&format!("storage  {}\n", root.0));
    }
    text.push_str(&format!("height   {}\n", read.context.height));
    Ok(Answer::new(&read).text(text))
}

fn proof(context: &Context, account: &str, out: PathBuf, force: bool, at: &At) -> Result<Answer, CliError> {
    let address = named(context, account)?;
    let options = AtOptions { at: at.get()? };
    let client = context.client()?;
    let found = context.wait(async {
        Ok(client
            .get_account(AddressesArg::One(address), Some(options))
            .await?)
    })?;
    let bytes = &found.proof.0.0;
    if bytes.len() > PROOF_FILE_BYTES_MAX {
        return Err(CliError::unverified(format!(
            "the node sent a proof of {} bytes",
            bytes.len()
        )));
    }
    // The file has one canonical form, which is made here and not by the node.
    let file = ProofFile::from_bytes(bytes)
        .map_err(|error| CliError::unverified(format!("the node sent no proof: {error}")))?;
    files::write_out(&out, &file.to_text(), force)?;
    let json = json!({
        "file": out,
        "bytes": bytes.len(),
        "height": found.header.height,
        "blockHash": found.header.hash,
        "stateRoot": found.header.state_root,
        "accounts": found.accounts,
    });
    // A fault of the home's file is reported by the check.
    let is_known = context.genesis().is_ok_and(|genesis| genesis.is_some());
    let text = format!(
        "wrote {}: {} bytes, height {}\n{}",
        out.display(),
        bytes.len(),
        found.header.height,
        check_hint(&out, is_known)
    );
    Ok(Answer::new(json).text(text))
}

/// The command that checks a proof. `is_known`: the home has the genesis file.
fn check_hint(proof: &Path, is_known: bool) -> String {
    let proof = quoted_path(proof);
    if is_known {
        format!("check it with `vibecoin proof verify {proof}`")
    } else {
        format!("check it with `vibecoin proof verify {proof} --genesis FILE`")
    }
}
