//! `vibecoin proof`: offline verification of a node's proofs.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use vibecoin_light::{Fact, PROOF_FILE_BYTES_MAX, ProofFile, Proven, verify, verify_light_block};
use vibecoin_primitives::{AddressPrefix, Hash, Height, hex};
use vibecoin_rpc_api::Text as _;
use vibecoin_rpc_api::views::{AccountView, ReceiptView, TransactionView};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::Answer;

const EXAMPLES: &str = "\
Examples:
  vibecoin account proof vibet1… --out proof.json
  vibecoin proof verify proof.json --genesis genesis.toml

No node is asked. Exit 0: what is printed is proven. Exit 8: the file proves nothing; the reason says why.";

/// The commands of `proof`.
#[derive(Debug, Subcommand)]
pub enum ProofCommand {
    /// Check a proof with the genesis file alone; exit 8 when anything in it is off
    #[command(after_help = EXAMPLES)]
    Verify {
        /// The proof
        file: PathBuf,
        /// The genesis file, which is the only thing that is trusted [default: that of the home]
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// What the genesis file must hash to, if you know it from elsewhere
        #[arg(long, value_name = "HASH")]
        genesis_hash: Option<String>,
        /// The file proves a block alone, without any fact of its state (`proof_getLightBlock`)
        #[arg(long)]
        light_block: bool,
    },
}

impl ProofCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 8 when nothing is proven.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let Self::Verify {
            file,
            genesis,
            genesis_hash,
            light_block,
        } = self;
        let genesis_path = context.genesis_or(genesis)?;
        if !files::exists(&genesis_path)? {
            return Err(CliError::new(Exit::NotFound, format!("there is no genesis file {}", genesis_path.display()))
                .hint("give the chain's genesis file with --genesis: without something to trust nothing can be proven"));
        }
        let built = files::build(&genesis_path, &files::genesis(&genesis_path)?)?;
        if let Some(pinned) = genesis_hash {
            let pinned = Hash::from_text(&pinned)?;
            if pinned != built.hash {
                let message = format!(
                    "{} is the chain {}, not {pinned}",
                    genesis_path.display(),
                    built.hash
                );
                return Err(CliError::unverified(message).reason("other_chain"));
            }
        }
        let proof = read(&file)?;
        let trust = files::trust(&built);
        // A file that lost its claims does not prove the user's claim: only on request.
        let proven = if light_block {
            verify_light_block(&trust, &proof)
        } else {
            verify(&trust, &proof)
        }
        .map_err(|error| {
            let invalid = CliError::unverified(format!("{}: {error}", file.display())).reason("proof_invalid");
            invalid.hint("the proof is not of the chain of this genesis file, or was altered: name the chain's own with --genesis FILE, or fetch the proof again")
        })?;
        let prefix = built
            .params
            .prefix()
            .map_err(|error| CliError::new(Exit::InvalidFile, error.to_string()))?;
        Ok(answer(&proven, &built.hash, prefix))
    }
}

/// Reads a proof file. Any fault in its bytes is a failed verification.
fn read(path: &Path) -> Result<ProofFile, CliError> {
    let invalid =
        |what: String| CliError::unverified(format!("{}: {what}", path.display())).reason("proof_invalid");
    let most = PROOF_FILE_BYTES_MAX.saturating_mul(2).saturating_add(128);
    let text = files::read_text(path, most).map_err(|error| match error.exit {
        Exit::InvalidFile => CliError {
            hint: error.hint,
            ..invalid(error.message)
        },
        _ => error,
    })?;
    ProofFile::from_text(&text).map_err(|error| {
        invalid(error.to_string()).hint(
            "a proof file has one form, byte for byte: one that a tool has laid out anew must be fetched again, with `vibecoin account proof ADDRESS --out FILE --force`",
        )
    })
}

fn answer(proven: &Proven, genesis: &Hash, prefix: AddressPrefix) -> Answer {
    let facts: Vec<Value> = proven
        .facts
        .iter()
        .map(|fact| view(fact, proven.height, genesis, prefix))
        .collect();
    let mut json = json!({
        "valid": true,
        "genesisHash": genesis.to_string(),
        "height": proven.height.0.to_string(),
        "blockHash": proven.block.to_string(),
        "stateRoot": proven.state_root.to_string(),
        "timestampMs": proven.time.0.to_string(),
        "facts": facts,
    });
    // The common case, a single account, is readable without knowledge of lists of facts.
    if let ([Fact::Account { address, account }], Value::Object(fields)) =
        (proven.facts.as_slice(), &mut json)
    {
        fields.insert("address".to_owned(), json!(address.to_text(&prefix)));
        let account = account
            .as_ref()
            .map(|account| AccountView::new(*address, account, prefix));
        fields.insert("account".to_owned(), json!(account));
    }
    let mut text = format!(
        "valid: block {} at height {}, chain {genesis}\n",
        proven.block, proven.height
    );
    for fact in &proven.facts {
        text.push_str(&say(fact, prefix));
    }
    Answer::new(json).text(text)
}

fn view(fact: &Fact, height: Height, genesis: &Hash, prefix: AddressPrefix) -> Value {
    match fact {
        Fact::Account { address, account } => json!({
            "type": "account",
            "address": address.to_text(&prefix),
            "value": account.as_ref().map(|account| AccountView::new(*address, account, prefix)),
        }),
        Fact::Slot { address, slot, value } => json!({
            "type": "slot",
            "address": address.to_text(&prefix),
            "slot": slot.to_string(),
            "value": value.as_ref().map(|value| hex::encode(value)),
        }),
        Fact::Transaction {
            transaction,
            tick,
            index,
            receipt,
        } => {
            let inner = transaction.transaction();
            let position = u32::try_from(*index).unwrap_or(u32::MAX);
            json!({
                "type": "transaction",
                "transaction": TransactionView::new(inner, inner.id(genesis), prefix, None),
                "tick": tick.to_string(),
                "index": index.to_string(),
                "receipt": ReceiptView::new(receipt, height, position),
            })
        }
    }
}

fn say(fact: &Fact, prefix: AddressPrefix) -> String {
    match fact {
        Fact::Account {
            address,
            account: Some(account),
        } => format!(
            "account {} has balance {} and nonce {}\n",
            address.to_text(&prefix),
            account.balance,
            account.nonce
        ),
        Fact::Account {
            address,
            account: None,
        } => format!("account {} does not exist\n", address.to_text(&prefix)),
        Fact::Slot {
            address,
            slot,
            value: Some(value),
        } => {
            format!(
                "slot {slot} of {} is {}\n",
                address.to_text(&prefix),
                hex::encode(value)
            )
        }
        Fact::Slot {
            address,
            slot,
            value: None,
        } => format!("slot {slot} of {} is empty\n", address.to_text(&prefix)),
        Fact::Transaction {
            transaction,
            tick,
            index,
            receipt,
        } => format!(
            "transaction {} is in tick {tick}, position {index}: {:?}\n",
            transaction.id(),
            receipt.v1().outcome
        ),
    }
}
