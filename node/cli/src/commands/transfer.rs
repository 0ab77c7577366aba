//! `vibecoin transfer`: all steps of a payment in one command.

use clap::Args;
use jsonrpsee::http_client::HttpClient;
use serde_json::json;
use vibecoin_client::{build, sign};
use vibecoin_primitives::{Amount, Operation};
use vibecoin_rpc_api::Text as _;

use crate::addresses::recipient;
use crate::chain;
use crate::choices::ChoiceArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::passphrase::PassphraseArgs;
use crate::sending::{Hex, WaitFor, pay, payment};
use crate::signer;

const EXAMPLES: &str = "\
Examples:
  vibecoin transfer vibet1… 1000 --from dev0 --home DIR --wait final
  vibecoin transfer vibet1… 1000 --from alice --dry-run   what would be sent

Amounts are base units. A transfer to an address without an account also burns the price of an account \
(`accountPrice` of `vibecoin rpc chain_getInfo`). Exit 4: refused, or included and failed.

With the chain's genesis file in the home (`vibecoin init --genesis FILE`) the node is not believed: the least fee \
follows from the file, what a full pool wants is paid up to as much again, the last height from a block under a certificate, and a nonce that another program took is proven before \
the payment is signed again. Without the file the node's word counts for the last height and, up to a bound, for the \
fee; a nonce that it calls taken ends with exit 4 and the hash of what was signed, which may still be included.";

/// Arguments of `transfer`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TransferArgs {
    /// Who receives: a bech32m address, or the name of a key of the home
    pub to: String,
    /// How much, in base units; at least 1
    #[arg(allow_negative_numbers = true, value_parser = payment)]
    pub amount: u64,
    /// Who pays: name or address of a key of the home
    #[arg(long, value_name = "KEY")]
    pub from: String,
    #[command(flatten)]
    choices: ChoiceArgs,
    /// How far to wait
    #[arg(long, value_enum, default_value = "final")]
    pub wait: WaitFor,
    /// Make and sign it, print it, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take a recipient in hex, which has no checksum
    #[arg(long)]
    pub allow_hex: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl TransferArgs {
    /// Sends the payment.
    ///
    /// # Errors
    /// Exit 4 when it is refused or fails, 6 when the wait times out.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let key = signer::load(context, &self.from, &self.passphrase)?;
        let client = context.client()?;
        context.wait(self.send(context, &client, &key))
    }

    async fn send(
        &self,
        context: &Context,
        client: &HttpClient,
        key: &vibecoin_primitives::SecretKey,
    ) -> Result<Answer, CliError> {
        let chain = chain::ask(context, client).await?;
        let to = recipient(context, &self.to, &chain.prefix, Hex::of_flag(self.allow_hex))?;
        let operations = vec![Operation::Transfer {
            to,
            amount: Amount(self.amount),
        }];
        if !self.dry_run {
            let choices = self.choices.into();
            return pay(context, client, &chain, key, operations, choices, self.wait).await;
        }
        let body = build(client, &chain, key.public_key(), operations, self.choices.into()).await?;
        let (fee, nonce, valid_until) = (body.fee, body.nonce, body.valid_until);
        let (hash, raw) = sign(body, &chain.genesis, key);
        Ok(Answer::new(json!({
            "hash": hash.to_text(),
            "status": "notSent",
            "from": chain.show(vibecoin_primitives::Address::from(key.public_key())),
            "to": chain.show(to),
            "amount": self.amount.to_string(),
            "fee": fee.0.to_string(),
            "nonce": nonce.0.to_string(),
            "validUntil": valid_until.0.to_string(),
            "raw": vibecoin_primitives::hex::encode(&raw),
        })))
    }
}
