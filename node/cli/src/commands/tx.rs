//! `vibecoin tx`: transactions step by step, so that building, signing and sending can be on different
//! machines.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use vibecoin_client::{about, build, sign};
use vibecoin_primitives::limits::TRANSACTION_BYTES_MAX;
use vibecoin_primitives::{Address, AddressPrefix, Amount, Hash, Operation, Transaction, decode, hex};
use vibecoin_rpc_api::methods::{ChainApiClient as _, TxApiClient as _};
use vibecoin_rpc_api::views::{AtOptions, TransactionView, UnsignedTransaction, WaitOptions};
use vibecoin_rpc_api::{Text as _, U64};

use crate::addresses::recipient;
use crate::at::At;
use crate::chain;
use crate::choices::ChoiceArgs;
use crate::context::Context;
use crate::error::{CliError, Sent};
use crate::exit::Exit;
use crate::files;
use crate::output::Answer;
use crate::passphrase::PassphraseArgs;
use crate::sending::{Hex, WaitFor, expect_final, payment, report};
use crate::signer;

const EXAMPLES: &str = "\
Examples:
  vibecoin tx build --from alice --transfer vibet1…=1000 --out unsigned.json
  vibecoin tx sign unsigned.json --key alice --out signed.hex
  vibecoin tx send signed.hex --wait final
  vibecoin tx status 0x<hash>";

/// Maximum size of a file with an unsigned transaction, in bytes.
const UNSIGNED_BYTES_MAX: usize = 512 * 1024;
/// Maximum size of a file with a raw transaction in hex, in bytes. Transactions above the chain's limit are
/// sent all the same: the node reports the fault.
const RAW_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The commands of `tx`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum TxCommand {
    /// Make an unsigned transaction
    Build {
        /// Who will sign: an address, or the name of a key
        #[arg(long, value_name = "WHO")]
        from: String,
        /// A transfer to an address or to a key of the home; may be repeated. All operations apply, or none
        #[arg(long = "transfer", value_name = "ADDRESS=AMOUNT")]
        transfers: Vec<String>,
        /// A slot of the sender's storage; may be repeated. An empty value removes it
        #[arg(long = "set", value_name = "SLOT=HEX")]
        slots: Vec<String>,
        #[command(flatten)]
        choices: ChoiceArgs,
        /// Take recipients in hex
        #[arg(long)]
        allow_hex: bool,
        /// The file to write [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// Sign an unsigned transaction. Offline when the home has a genesis file
    Sign {
        /// The file made by `tx build`; `-` is stdin
        file: PathBuf,
        /// Name or address of the key
        #[arg(long)]
        key: String,
        /// The chain, instead of the home's or the node's
        #[arg(long, value_name = "HASH")]
        genesis_hash: Option<String>,
        /// The file to write [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there
        #[arg(long, requires = "out")]
        force: bool,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Send a signed transaction
    Send {
        /// The transaction as 0x hex, a file with it, or `-` for stdin
        raw: String,
        /// How far to wait
        #[arg(long, value_enum, default_value = "final")]
        wait: WaitFor,
    },
    /// Show a transaction that waits or is in a block; exit 5 when there is none
    Show {
        /// Its hash
        hash: String,
    },
    /// Wait until a transaction is in a block or will never be; exit 6 when the time is up first
    Wait {
        /// Its hash
        hash: String,
    },
    /// Where a transaction stands
    Status {
        /// Its hash
        hash: String,
    },
    /// Make a raw transaction readable, and check its signature. Offline when the home has a genesis file
    Decode {
        /// As for `send`
        raw: String,
    },
    /// What a raw transaction would do if it were next
    Simulate {
        /// As for `send`
        raw: String,
        #[command(flatten)]
        at: At,
    },
}

impl TxCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Build {
                from,
                transfers,
                slots,
                choices,
                allow_hex,
                out,
                force,
            } => {
                let sender = signer::resolve(context, &from)?;
                let client = context.client()?;
                let unsigned = context.wait(async {
                    let chain = chain::ask(context, &client).await?;
                    let operations = operations(&transfers, &slots, |to| {
                        recipient(context, to, &chain.prefix, Hex::of_flag(allow_hex))
                    })?;
                    let body = build(&client, &chain, sender, operations, choices.into()).await?;
                    Ok(UnsignedTransaction::new(&body, chain.prefix))
                })?;
                let json = json!(unsigned);
                match files::named_out(out) {
                    Some(path) => written(&path, &format!("{json}\n"), force),
                    None => Ok(Answer::new(&json).text(json.to_string())),
                }
            }
            Self::Sign {
                file,
                key,
                genesis_hash,
                out,
                force,
                passphrase,
            } => {
                let out = files::named_out(out);
                let out = out.as_deref().map(|path| (path, force));
                sign_file(context, &file, &key, genesis_hash.as_deref(), out, &passphrase)
            }
            Self::Send { raw, wait } => send(context, &raw, wait),
            Self::Show { hash } => {
                let found = call(context, &hash, async |client, hash| {
                    let found = client.get(hash.into()).await?;
                    Ok(found.map(|found| about(Some(hash), found)).transpose()?)
                })?;
                found.map(Answer::new).ok_or_else(|| unknown(&hash))
            }
            Self::Wait { hash } => {
                let options = WaitOptions {
                    timeout_ms: Some(U64(context.timeout_ms())),
                };
                expect_final(context, &Hash::from_text(&hash)?);
                let submitted = call(context, &hash, async |_, hash| {
                    answers(context).await?;
                    let client = context.waiting_client()?;
                    Ok(about(Some(hash), client.wait(hash.into(), Some(options)).await?)?)
                })?;
                Ok(report(&submitted, None))
            }
            Self::Status { hash } => Ok(Answer::new(call(context, &hash, async |client, hash| {
                Ok(about(Some(hash), client.get_status(hash.into()).await?)?)
            })?)),
            Self::Decode { raw } => decode_raw(context, raw_bytes(&raw)?),
            Self::Simulate { raw, at } => simulate(context, &raw, &at),
        }
    }
}

fn send(context: &Context, raw: &str, wait: WaitFor) -> Result<Answer, CliError> {
    let raw = raw_bytes(raw)?;
    // A transaction that cannot be decoded cannot be included either.
    let transaction = decode::<Transaction>(&raw).ok();
    let fee = transaction.as_ref().map(|transaction| transaction.body().fee);
    // In hex, which is the same on every network.
    let sender = transaction
        .as_ref()
        .map(|transaction| hex::encode(&transaction.body().sender.0));
    let genesis = context.built_genesis()?.map(|built| built.hash);
    let sent = transaction.map(|transaction| {
        let of_chain = genesis.filter(|hash| hash.prefix() == transaction.body().chain);
        Sent::new(transaction.body(), of_chain.map(|hash| transaction.id(&hash)))
    });
    if let Some(hash) = sent.and_then(|sent| sent.hash).filter(|_| wait == WaitFor::Final) {
        expect_final(context, &hash);
    }
    let hash = sent.and_then(|sent| sent.hash);
    let outcome = context.wait(async {
        answers(context).await?;
        let waiting = context.waiting_client()?;
        let submitted = vibecoin_client::submit(&waiting, raw, wait.into(), hash, context.timeout()).await?;
        Ok(report(&submitted, fee))
    });
    outcome.map_err(|error| match (sent, sender) {
        (Some(sent), Some(sender)) => sent.named_in(error).of_sender(&sender),
        _ => error,
    })
}

/// Asks the node for an answer that it gives at once: a call that it holds has more time than the timeout.
async fn answers(context: &Context) -> Result<(), CliError> {
    let _chain = context.client()?.get_info().await?;
    Ok(())
}

fn simulate(context: &Context, raw: &str, at: &At) -> Result<Answer, CliError> {
    let (raw, options) = (raw_bytes(raw)?, AtOptions { at: at.get()? });
    let client = context.client()?;
    let seen = context.wait(async { Ok(client.simulate(raw.into(), Some(options)).await?) })?;
    let failed = !seen.receipt.success;
    let answer = Answer::new(seen);
    Ok(if failed {
        answer.exit(Exit::Rejected)
    } else {
        answer
    })
}

fn unknown(hash: &str) -> CliError {
    CliError::new(Exit::NotFound, format!("the node knows no transaction {hash}"))
        .reason("no_transaction")
        .hint("it may have expired, or be on another chain")
}

/// Queries the node about one transaction.
fn call<T>(
    context: &Context,
    hash: &str,
    ask: impl AsyncFnOnce(&jsonrpsee::http_client::HttpClient, Hash) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let hash = Hash::from_text(hash)?;
    let client = context.client()?;
    context.wait(ask(&client, hash))
}

fn operations(
    transfers: &[String],
    slots: &[String],
    recipient: impl Fn(&str) -> Result<Address, CliError>,
) -> Result<Vec<Operation>, CliError> {
    let mut operations = Vec::with_capacity(transfers.len().saturating_add(slots.len()));
    for text in transfers {
        let (to, amount) = text
            .split_once('=')
            .ok_or_else(|| CliError::usage(format!("{text:?} is no ADDRESS=AMOUNT")))?;
        let amount = payment(amount)
            .map(Amount)
            .map_err(|error| CliError::usage(format!("{text:?}: {error}")))?;
        operations.push(Operation::Transfer {
            to: recipient(to)?,
            amount,
        });
    }
    for text in slots {
        let (slot, value) = text
            .split_once('=')
            .ok_or_else(|| CliError::usage(format!("{text:?} is no SLOT=HEX")))?;
        let value = if value.is_empty() {
            Vec::new()
        } else {
            crate::hex_args::bytes("value", value)?
        };
        operations.push(Operation::SetStorage {
            slot: Hash::from_text(slot)?,
            value,
        });
    }
    if operations.is_empty() {
        return Err(CliError::usage("a transaction has at least one operation")
            .hint("give --transfer ADDRESS=AMOUNT or --set SLOT=HEX"));
    }
    Ok(operations)
}

fn written(path: &Path, text: &str, force: bool) -> Result<Answer, CliError> {
    files::write_out(path, text, force)?;
    Ok(Answer::new(json!({ "file": path.display().to_string() })).text(format!("wrote {}", path.display())))
}

fn sign_file(
    context: &Context,
    file: &Path,
    key: &str,
    genesis_hash: Option<&str>,
    out: Option<(&Path, bool)>,
    passphrase: &PassphraseArgs,
) -> Result<Answer, CliError> {
    let text = files::read_text(file, UNSIGNED_BYTES_MAX)?;
    let unsigned: UnsignedTransaction = serde_json::from_str(&text).map_err(|error| {
        CliError::new(
            Exit::InvalidFile,
            format!("{} is no unsigned transaction: {error}", file.display()),
        )
    })?;
    let (genesis, prefix) = chain_of(context, genesis_hash)?;
    let key = signer::load(context, key, passphrase)?;
    let body = unsigned.body(&genesis, &prefix)?;
    if body.sender != key.public_key() {
        let message = format!(
            "the transaction is of {}, the key is {}",
            Address(body.sender.0).to_text(&prefix),
            Address::from(key.public_key()).to_text(&prefix)
        );
        return Err(CliError::usage(message).hint(
            "name the key of the sender with --key; `vibecoin keys list` shows them with their addresses",
        ));
    }
    let (hash, raw) = sign(body, &genesis, &key);
    let raw = hex::encode(&raw);
    match out {
        Some((path, force)) => written(path, &format!("{raw}\n"), force),
        None => Ok(Answer::new(json!({ "hash": hash.to_text(), "raw": raw })).text(raw)),
    }
}

/// The chain to sign for: from the argument, the home, or the node.
fn chain_of(context: &Context, genesis_hash: Option<&str>) -> Result<(Hash, AddressPrefix), CliError> {
    if let Some(text) = genesis_hash {
        return Ok((Hash::from_text(text)?, context.prefix()?));
    }
    if let Some(built) = context.built_genesis()? {
        return Ok((built.hash, context.prefix()?));
    }
    let client = context.client()?;
    let chain = context.wait(chain::ask(context, &client))?;
    Ok((chain.genesis, chain.prefix))
}

/// A raw transaction: hex, a file with hex, or stdin.
fn raw_bytes(text: &str) -> Result<Vec<u8>, CliError> {
    let text = if text.starts_with("0x") {
        text.to_owned()
    } else {
        files::read_text(Path::new(text.trim_start_matches('@')), RAW_TEXT_BYTES_MAX)?
    };
    if serde_json::from_str::<UnsignedTransaction>(&text).is_ok() {
        return Err(CliError::usage("this transaction is not signed")
            .reason("not_signed")
            .hint("sign it first with `vibecoin tx sign FILE --key KEY --out SIGNED`"));
    }
    hex::decode(text.trim())
        .map_err(|error| CliError::usage(format!("raw transaction: {error}")).reason("bad_encoding"))
}

fn decode_raw(context: &Context, raw: Vec<u8>) -> Result<Answer, CliError> {
    let Some(built) = context.built_genesis()? else {
        let client = context.client()?;
        let decoded = context.wait(async { Ok(client.decode(raw.into()).await?) })?;
        let bad = !(decoded.chain_matches && decoded.signature_valid);
        let answer = Answer::new(decoded);
        return Ok(if bad {
            answer.exit(Exit::VerificationFailed)
        } else {
            answer
        });
    };
    if raw.len() > TRANSACTION_BYTES_MAX {
        let message = format!(
            "{} bytes, a transaction has at most {TRANSACTION_BYTES_MAX}",
            raw.len()
        );
        return Err(CliError::unverified(message).reason("transaction_too_large"));
    }
    let transaction: Transaction =
        decode(&raw).map_err(|error| CliError::unverified(error.to_string()).reason("bad_encoding"))?;
    let prefix = context.prefix()?;
    let view = TransactionView::new(&transaction, transaction.id(&built.hash), prefix, None);
    let chain_matches = transaction.body().chain == built.hash.prefix();
    let checked = transaction.verify(&built.hash);
    let json = json!({
        "transaction": view,
        "chainMatches": chain_matches,
        "signatureValid": checked.is_ok(),
        "problem": checked.as_ref().err().map(ToString::to_string),
    });
    let answer = Answer::new(json);
    Ok(if checked.is_err() {
        answer.exit(Exit::VerificationFailed)
    } else {
        answer
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_in_order_and_a_transaction_has_one() {
        let prefix = AddressPrefix::new("vibet").unwrap();
        let to = Address([3; 32]).to_text(&prefix);
        let slot = Hash([4; 32]).to_text();
        let recipient = |to: &str| crate::sending::payee(to, &prefix, crate::sending::Hex::NeedsFlag);
        let read = operations(
            &[format!("{to}=5")],
            &[format!("{slot}=0x0102"), format!("{slot}=")],
            recipient,
        );
        assert_eq!(
            read.unwrap(),
            [
                Operation::Transfer {
                    to: Address([3; 32]),
                    amount: Amount(5)
                },
                Operation::SetStorage {
                    slot: Hash([4; 32]),
                    value: vec![1, 2]
                },
                Operation::SetStorage {
                    slot: Hash([4; 32]),
                    value: vec![]
                },
            ]
        );
        for bad in [
            to.clone(),
            format!("{to}="),
            format!("{to}=0"),
            format!("{to}=-1"),
            format!("{to}=18446744073709551616"),
        ] {
            assert_eq!(operations(&[bad], &[], recipient).unwrap_err().exit, Exit::Usage);
        }
        assert!(operations(&[], &[], recipient).is_err());
    }
}
