//! `vibecoin account`: accounts as reported by a node, and proofs of them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use vibecoin_light::{PROOF_FILE_BYTES_MAX, ProofFile};
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::methods::{AccountApiClient as _, ProofApiClient as _};
use vibecoin_rpc_api::views::{
    AccountListOptions, AccountView, AddressesArg, AtOptions, Ctx, Page, ReadOptions,
};

use crate::addresses::named;
use crate::at::At;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::Answer;
use crate::program::quoted_path;
use crate::sending::amount;
use crate::table::Column::{Left, Right};
use crate::table::{PageArgs, Table, more};

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
        #[command(flatten)]
        page: PageArgs,
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
        /// The file to write; `-` is stdout
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        at: At,
    },
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
                page,
                min_balance,
                at,
            } => {
                let options = AccountListOptions {
                    at: at.get()?,
                    limit: page.limit,
                    cursor: page.cursor()?,
                    min_balance: min_balance.map(U64),
                };
                let client = context.client()?;
                let read = context.wait(async { Ok(client.list(Some(options)).await?) })?;
                let text = table(&read);
                Ok(Answer::new(read).text(text))
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

/// One line per account, and the state that they were read from.
fn table(read: &Ctx<Page<AccountView>>) -> String {
    let mut table = Table::new([Left("address"), Right("balance"), Right("nonce")]);
    for account in &read.value.items {
        table.row([
            account.address.0.to_string(),
            account.balance.to_string(),
            account.nonce.to_string(),
        ]);
    }
    format!(
        "{}height {}\n{}",
        table.text(),
        read.context.height,
        more(read.value.next_cursor.as_deref())
    )
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
    let mut json = json!({
        "file": out.display().to_string(),
        "bytes": bytes.len(),
        "height": found.header.height,
        "blockHash": found.header.hash,
        "stateRoot": found.header.state_root,
        "accounts": found.accounts,
    });
    let proof = file.to_text();
    let Some(out) = files::named_out(Some(out)) else {
        if let Value::Object(fields) = &mut json {
            fields.insert("text".to_owned(), json!(proof));
        }
        return Ok(Answer::new(json).text(proof));
    };
    files::write_out(&out, &proof, force)?;
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
