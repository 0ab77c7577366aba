//! `faucet`: funds for an account, from the key that the devnet was created with.

use std::path::Path;

use clap::Args;
use vibecoin_devnet::client;
use vibecoin_devnet::plan::FAUCET;
use vibecoin_primitives::{Amount, Operation, SecretKey};

use super::state::Devnet;
use crate::addresses::recipient;
use crate::chain;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Answer;
use crate::passphrase::PassphraseArgs;
use crate::program::Typed;
use crate::sending::{Choices, Hex, WaitFor, pay, payment};
use crate::signer;

/// Default amount: a thousand coins.
const AMOUNT_DEFAULT: u64 = 1_000_000_000_000;

/// Arguments of `faucet`.
#[derive(Args, Clone, Debug)]
pub struct FaucetArgs {
    /// Who receives: an address, or the name of a key of the first node's home
    to: String,
    /// How much, in base units
    #[arg(allow_negative_numbers = true, value_parser = payment, default_value_t = AMOUNT_DEFAULT)]
    amount: u64,
    /// How far to wait
    #[arg(long, value_enum, default_value = "final")]
    wait: WaitFor,
}

/// The faucet's key, from the home of the first node, and a context of a running node.
pub fn funder(context: &Context, net: &Devnet) -> Result<(SecretKey, Context), CliError> {
    let first = net.node(0)?;
    let node = net.running().into_iter().next().ok_or_else(no_node)?;
    let context = context.at(node.url(), &first.home);
    let open = PassphraseArgs {
        password_file: None,
        allow_unencrypted: true,
    };
    let shown = Typed::elsewhere(&context.globals.url, context.home()?);
    let key = signer::load(&context, FAUCET, &open).map_err(|error| shown.error(error))?;
    Ok((key, context))
}

/// The error when no node runs.
pub fn no_node() -> CliError {
    client::no_node().into()
}

/// Sends the transfer.
pub fn run(context: &Context, dir: &Path, args: &FaucetArgs) -> Result<Answer, CliError> {
    let net = Devnet::look(dir)?;
    let (key, context) = funder(context, &net)?;
    let paid = paid(&context, &key, args);
    Typed::elsewhere(&context.globals.url, context.home()?).outcome(paid)
}

fn paid(context: &Context, key: &SecretKey, args: &FaucetArgs) -> Result<Answer, CliError> {
    let client = context.client()?;
    context.wait(async {
        let chain = chain::ask(context, &client).await?;
        let to = recipient(context, &args.to, &chain.prefix, Hex::Refused)?;
        let operations = vec![Operation::Transfer {
            to,
            amount: Amount(args.amount),
        }];
        pay(
            context,
            &client,
            &chain,
            key,
            operations,
            Choices::default(),
            args.wait,
        )
        .await
    })
}
