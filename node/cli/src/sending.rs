//! Sending of transactions, and parsing of amounts and recipients: shared by `transfer`, `tx` and `devnet faucet`.

use clap::ValueEnum;
use jsonrpsee::http_client::HttpClient;
use serde_json::{Value, json};
use vibecoin_client::Payer;
use vibecoin_primitives::{Address, AddressPrefix, Amount, Hash, Operation, SecretKey};
use vibecoin_rpc_api::views::{Submitted, TransactionState, Wait};
use vibecoin_rpc_api::{AddressText, ApiError, Text as _, U64};

use crate::chain::Chain;
use crate::context::Context;
use crate::error::{CliError, Sent};
use crate::exit::Exit;
use crate::numbers::number;
use crate::output::{Answer, cell, message};
use crate::turn::Turn;

pub use vibecoin_client::Choices;

/// How far a sender waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// Not at all.
    None,
    /// Until the pool has taken or refused it.
    Mempool,
    /// Until it is in a block, which is final.
    #[default]
    Final,
}

impl From<WaitFor> for Wait {
    fn from(wait: WaitFor) -> Self {
        match wait {
            WaitFor::None => Self::None,
            WaitFor::Mempool => Self::Mempool,
            WaitFor::Final => Self::Final,
        }
    }
}

/// Signs a payment and submits it ([`Payer`]). Equal payments requested at the same time are different transactions, each
/// with a separate nonce: programs that use the same home take turns, from reading the nonce to the pool's
/// acknowledgment.
///
/// # Errors
/// The errors of the node; exit 6 when the turn times out, exit 4 for a refusal that is not proven, for a
/// full pool that requires more than the bound of the fee, and where every drawn hash is known. The data of
/// an error after sending identifies the signed transaction.
pub async fn pay(
    context: &Context,
    client: &HttpClient,
    chain: &Chain,
    key: &SecretKey,
    operations: Vec<Operation>,
    choices: Choices,
    wait: WaitFor,
) -> Result<Answer, CliError> {
    let payer = Payer {
        client,
        waiting: &context.waiting_client()?,
        chain,
        key,
        timeout: context.timeout(),
    };
    let paid = pay_in_turn(context, &payer, operations, choices, wait).await;
    paid.map_err(|error| error.of_sender(&chain.show(Address::from(key.public_key()))))
}

async fn pay_in_turn(
    context: &Context,
    payer: &Payer<'_>,
    operations: Vec<Operation>,
    choices: Choices,
    wait: WaitFor,
) -> Result<Answer, CliError> {
    // A nonce given by the user is not changed: the node decides about it.
    if choices.nonce.is_some() {
        let (payment, raw) = payer.sign(operations, choices).await?;
        if wait == WaitFor::Final {
            expect_final(context, &payment.hash);
        }
        let submitted = payer.submit(raw, wait.into(), Some(payment.hash)).await;
        let submitted = submitted.map_err(|error| Sent::from(payment).named_in(error.into()))?;
        return Ok(report(&submitted, Some(payment.fee)));
    }
    context.expect_reports();
    let turn = Turn::take(context.home()?, &payer.key.public_key(), context.timeout()).await?;
    context.expect_answer();
    let (payment, taken) = payer.pay_next(&operations, choices).await?;
    // Only when the pool has it does the next reader of the nonce see it.
    drop(turn);
    if wait != WaitFor::Final {
        return Ok(report(&taken, Some(payment.fee)));
    }
    expect_final(context, &payment.hash);
    Ok(report(&payer.settle(payment).await?, Some(payment.fee)))
}

/// From now on the command waits for the node to report a transaction in a block.
pub fn expect_final(context: &Context, hash: &Hash) {
    context.expect_event(format!("has {} in a block", hash.to_text()));
}

/// Outcome of a transaction, in the format of every sending command. A failed one ends with exit 4.
pub fn report(submitted: &Submitted, fee: Option<Amount>) -> Answer {
    let status = &submitted.status;
    let receipt = submitted.receipt.as_ref();
    let fee = receipt.map(|receipt| receipt.fee).or(fee.map(U64::from));
    let mut json = serde_json::to_value(submitted).unwrap_or(Value::Null);
    if let (Value::Object(fields), Some(fee)) = (&mut json, fee) {
        fields.insert("fee".to_owned(), json!(fee));
    }
    let failed = receipt.and_then(|receipt| receipt.failure.as_ref());
    let gone = matches!(
        status.status,
        TransactionState::Dropped | TransactionState::Replaced | TransactionState::Expired
    );
    let word = match status.status {
        // Without a wait the state of the pool is not received; "unknown" would suggest a loss.
        TransactionState::Unknown => Some("sent".to_owned()),
        state => serde_json::to_value(state)
            .ok()
            .and_then(|word| word.as_str().map(str::to_owned)),
    };
    if let Value::Object(fields) = &mut json {
        fields.insert("status".to_owned(), json!(word));
    }
    let mut text = format!(
        "hash    {}\nstatus  {}\n",
        status.hash.0.to_text(),
        word.unwrap_or_default()
    );
    if let Some(height) = status.height {
        text.push_str(&format!("height  {height}\n"));
    }
    if let Some(fee) = fee {
        text.push_str(&format!("fee     {fee}\n"));
    }
    if let Some(receipt) = receipt.filter(|receipt| receipt.burned.0 > 0) {
        text.push_str(&format!("burned  {}\n", receipt.burned));
    }
    if let Some(failure) = failed {
        text.push_str(&format!(
            "failed  operation {}: {} ({})\n",
            failure.operation,
            message(&failure.message),
            cell(&failure.reason)
        ));
    }
    if let Some(reason) = &status.reason {
        text.push_str(&format!("reason  {}\n", message(reason)));
    }
    let answer = Answer::new(json).text(text);
    if failed.is_some() || gone {
        answer.exit(Exit::Rejected)
    } else {
        answer
    }
}

/// Parses an amount.
///
/// # Errors
/// A message for the user.
pub fn amount(text: &str) -> Result<u64, String> {
    number(text).map_err(|_| {
        format!(
            "an amount is a whole number of base units, 0 to {}, without sign and leading zeros",
            u64::MAX
        )
    })
}

/// Parses the amount of a payment, which is positive.
///
/// # Errors
/// As [`amount`], and for 0.
pub fn payment(text: &str) -> Result<u64, String> {
    match funds(text) {
        Err(_) if text == "0" => Err("a transfer of 0 moves nothing and would still cost the fee".to_owned()),
        read => read,
    }
}

/// Parses a positive amount.
///
/// # Errors
/// A message for the user.
pub fn funds(text: &str) -> Result<u64, String> {
    let read = number(text).ok().filter(|amount| *amount > 0);
    read.ok_or_else(|| {
        format!(
            "an amount is here a whole number of base units, 1 to {}, without sign and leading zeros",
            u64::MAX
        )
    })
}

/// Permission for the hex form of an address in a payment: a typo in it cannot be detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hex {
    /// The flag for it was given.
    Allowed,
    /// The command has a flag for it, which was not given.
    NeedsFlag,
    /// Never accepted.
    Refused,
}

impl Hex {
    /// For a command with the flag.
    pub const fn of_flag(is_given: bool) -> Self {
        if is_given { Self::Allowed } else { Self::NeedsFlag }
    }
}

/// Parses an address for a payment: bech32m of this chain, or `0x` hex where that is allowed.
pub fn payee(text: &str, prefix: &AddressPrefix, hex: Hex) -> Result<Address, CliError> {
    if !text.starts_with("0x") || hex == Hex::Allowed {
        return address(text, prefix);
    }
    let hint = match hex {
        Hex::NeedsFlag => "use the bech32m form, or --allow-hex if you are sure",
        _ => "use the bech32m form",
    };
    let message = format!("{text} is hex, which has no checksum against typos");
    Err(CliError::usage(message).reason("bad_address").hint(hint))
}

/// Parses an address of this chain in either form. An error contains the text: there may be several.
pub fn address(text: &str, prefix: &AddressPrefix) -> Result<Address, CliError> {
    let read = AddressText::from_text(text).and_then(|address| address.on(prefix));
    read.map_err(|error| wrong_address(text, error))
}

/// The error of a text that is not an address of this chain.
pub fn wrong_address(text: &str, error: ApiError) -> CliError {
    let error = CliError::from(error);
    let message = message(&format!("{text:?}: {}", error.message));
    CliError { message, ..error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_wants_a_checksum_and_the_chains_prefix() {
        let prefix = AddressPrefix::new("vibet").unwrap();
        let to = Address([9; 32]);
        assert_eq!(payee(&to.to_text(&prefix), &prefix, Hex::Refused), Ok(to));
        let hex = vibecoin_primitives::hex::encode(&to.0);
        for (allowed, names_flag) in [(Hex::NeedsFlag, true), (Hex::Refused, false)] {
            let error = payee(&hex, &prefix, allowed).unwrap_err();
            assert_eq!(error.reason, "bad_address");
            assert_eq!(error.hint.unwrap().contains("--allow-hex"), names_flag);
        }
        assert_eq!(payee(&hex, &prefix, Hex::Allowed), Ok(to));
        let other = to.to_text(&AddressPrefix::new("vibe").unwrap());
        let error = payee(&other, &prefix, Hex::Allowed).unwrap_err();
        assert_eq!((error.exit, error.code), (Exit::Usage, 1001));
        assert!(
            error.message.contains(&other),
            "of several it is named: {}",
            error.message
        );
    }

    #[test]
    fn an_amount_is_a_whole_number_and_a_payment_more_than_nothing() {
        assert_eq!(
            (amount("0"), amount("18446744073709551615")),
            (Ok(0), Ok(u64::MAX))
        );
        for text in [
            "",
            "1.5",
            "-1",
            "+5",
            "007",
            "00",
            " 5",
            "1e3",
            "18446744073709551616",
            "x",
        ] {
            let error = "an amount is a whole number of base units, 0 to 18446744073709551615, without sign and leading zeros".to_owned();
            assert!(number(text).is_err(), "{text}");
            assert_eq!(amount(text), Err(error.clone()), "{text}");
            let error = error.replace(" is a", " is here a").replace(" 0 to ", " 1 to ");
            assert_eq!(payment(text), Err(error.clone()), "{text}");
            assert_eq!(funds(text), Err(error), "{text}");
        }
        assert_eq!((payment("1"), funds("1")), (Ok(1), Ok(1)));
        assert!(funds("0").unwrap_err().contains("1 to"));
        assert!(payment("0").unwrap_err().contains("moves nothing"));
    }
}
