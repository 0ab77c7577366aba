//! Sending of transactions, and parsing of amounts and recipients: shared by `transfer`, `tx` and `devnet faucet`.

use clap::ValueEnum;
use jsonrpsee::http_client::HttpClient;
use serde_json::{Value, json};
use vibecoin_client::{build, next_nonce, sign};
use vibecoin_primitives::{Address, AddressPrefix, Amount, Hash, Operation, SecretKey, TransactionBody};
use vibecoin_rpc_api::methods::TxApiClient;
use vibecoin_rpc_api::views::{
    StatusView, SubmitOptions, Submitted, TransactionState, TransactionView, Wait, WaitOptions,
};
use vibecoin_rpc_api::{AddressText, ApiError, Code, Text as _, U64};

use crate::chain::Chain;
use crate::context::Context;
use crate::error::{CliError, Sent};
use crate::exit::Exit;
use crate::numbers::number;
use crate::output::{Answer, cell, message};
use crate::taken::Signed;
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

/// Attempts of a payment whose nonce is taken by another program first.
const ATTEMPTS_MAX: usize = 32;
/// Maximum number of last heights drawn for a payment until the node knows no transaction with its hash.
const DRAWS_MAX: usize = 8;

/// Signs a payment and submits it. Equal payments requested at the same time are different transactions, each
/// with a separate nonce:
///
/// - programs that use the same home take turns, from reading the nonce to the pool's acknowledgment;
/// - a nonce that a program elsewhere has taken is refused by the pool, and the next one is tried, but only
///   once the other transaction is proven to be in a final block ([`Signed::prove_superseded`]): at no time
///   can more than one of the signed payments still be included;
/// - without `--valid-for`, the last height is drawn at random, and drawn again where the node knows the
///   resulting hash ([`sign_unknown`]): a node answers equal transactions as one, and one of two equal
///   payments from two homes would be lost. The remaining case is a draw of the same height (1 in 1,025 or
///   less) while the other payment is in flight to this node.
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
    let paid = sign_and_pay(context, client, chain, key, operations, choices, wait).await;
    paid.map_err(|error| error.of_sender(&chain.show(Address::from(key.public_key()))))
}

async fn sign_and_pay(
    context: &Context,
    client: &HttpClient,
    chain: &Chain,
    key: &SecretKey,
    operations: Vec<Operation>,
    choices: Choices,
    wait: WaitFor,
) -> Result<Answer, CliError> {
    let sender = key.public_key();
    // A nonce given by the user is not changed: the node decides about it.
    if choices.nonce.is_some() {
        let body = build(client, chain, sender, operations, choices).await?;
        let (body, hash, raw) = sign_unknown(client, chain, key, body, choices.valid_for).await?;
        let (fee, sent) = (body.fee, Sent::new(&body, Some(hash)));
        if wait == WaitFor::Final {
            expect_final(context, &hash);
        }
        let submitted = submit(context, raw, wait, Some(hash)).await;
        return Ok(report(
            &submitted.map_err(|error| sent.named_in(error))?,
            Some(fee),
        ));
    }
    context.expect_reports();
    let turn = Turn::take(context.home()?, &sender, context.timeout()).await?;
    context.expect_answer();
    let mut attempts = 0_usize;
    let (signed, fee, taken) = loop {
        attempts = attempts.saturating_add(1);
        let (nonce, seen) = next_nonce(client, sender).await?;
        let choices = Choices {
            nonce: Some(nonce.0),
            ..choices
        };
        let body = build(client, chain, sender, operations.clone(), choices).await?;
        let (body, hash, raw) = sign_unknown(client, chain, key, body, choices.valid_for).await?;
        let (fee, valid_until) = (body.fee, body.valid_until);
        let signed = Signed {
            sender: Address(sender.0),
            nonce,
            seen,
            valid_until,
            hash,
        };
        // The turn ends when the pool has it: only then does the next reader of the nonce see it.
        match submit(context, raw, WaitFor::Mempool, Some(hash)).await {
            Ok(taken) => break (signed, fee, taken),
            Err(error) if is_taken(&error) => {
                if let Err(why) = signed.prove_superseded(context, client, chain).await {
                    return Err(signed.unproven(&error, why));
                }
                if attempts >= ATTEMPTS_MAX {
                    return Err(error);
                }
            }
            Err(error) => return Err(signed.named_in(error)),
        }
    };
    drop(turn);
    if wait != WaitFor::Final {
        return Ok(report(&taken, Some(fee)));
    }
    let options = WaitOptions {
        timeout_ms: Some(U64(context.timeout_ms())),
    };
    expect_final(context, &signed.hash);
    let waited = TxApiClient::wait(&context.waiting_client()?, signed.hash.into(), Some(options)).await;
    let submitted = waited
        .map_err(CliError::from)
        .and_then(|submitted| about(Some(signed.hash), submitted));
    Ok(report(
        &submitted.map_err(|error| signed.named_in(error))?,
        Some(fee),
    ))
}

/// Returns true if the node refused a transaction because a different one has its nonce.
fn is_taken(error: &CliError) -> bool {
    [Code::NonceTooLow, Code::ReplacementUnderpriced]
        .iter()
        .any(|code| error.code == i64::from(code.number()))
}

/// Signs a payment. Unless its validity was given (`valid_for`), its last height is drawn until the node
/// knows no transaction with the hash. Only hashes leave this machine: a node that claims to know one learns
/// nothing and receives no second payment.
///
/// # Errors
/// Exit 4 if the node knows each of [`DRAWS_MAX`] hashes; nothing was sent.
async fn sign_unknown(
    client: &HttpClient,
    chain: &Chain,
    key: &SecretKey,
    mut body: TransactionBody,
    valid_for: Option<u64>,
) -> Result<(TransactionBody, Hash, Vec<u8>), CliError> {
    if valid_for.is_some() {
        let (hash, raw) = sign(body.clone(), &chain.genesis, key);
        return Ok((body, hash, raw));
    }
    for _ in 0..DRAWS_MAX {
        body.valid_until = chain.valid_until(Some(chain.valid_for_spread()));
        let (hash, raw) = sign(body.clone(), &chain.genesis, key);
        let found = about(Some(hash), TxApiClient::get_status(client, hash.into()).await?)?;
        if found.status == TransactionState::Unknown {
            return Ok((body, hash, raw));
        }
    }
    let message =
        format!("the node knows a payment with each of {DRAWS_MAX} last heights already; nothing was sent");
    Err(CliError::new(Exit::Rejected, message)
        .reason("known_payment")
        .hint("another --url names another node"))
}

/// From now on the command waits for the node to report a transaction in a block.
pub fn expect_final(context: &Context, hash: &Hash) {
    context.expect_event(format!("has {} in a block", hash.to_text()));
}

/// Identifies the transaction that an answer is about.
pub trait About {
    /// Its hash, and that of its receipt.
    fn hashes(&self) -> impl Iterator<Item = Hash>;
}

impl About for StatusView {
    fn hashes(&self) -> impl Iterator<Item = Hash> {
        std::iter::once(self.hash.0)
    }
}

impl About for TransactionView {
    fn hashes(&self) -> impl Iterator<Item = Hash> {
        std::iter::once(self.hash.0)
    }
}

impl About for Submitted {
    fn hashes(&self) -> impl Iterator<Item = Hash> {
        let of_receipt = self.receipt.iter().map(|receipt| receipt.hash.0);
        self.status.hashes().chain(of_receipt)
    }
}

/// Refuses an answer about a different transaction than the requested one: a server could substitute one that
/// is in a block. `None` where the hash cannot be known, without the genesis hash.
pub fn about<T: About>(hash: Option<Hash>, answer: T) -> Result<T, CliError> {
    let Some(asked) = hash else {
        return Ok(answer);
    };
    let other = answer.hashes().find(|named| *named != asked);
    match other {
        None => Ok(answer),
        Some(other) => {
            let (asked, other) = (asked.to_text(), other.to_text());
            let message = format!("the node was asked about transaction {asked} and answered about {other}");
            Err(CliError::new(Exit::Failure, message).reason("bad_answer"))
        }
    }
}

/// Sends a transaction and waits as requested. `hash` is the transaction's own, if it is known.
pub async fn submit(
    context: &Context,
    raw: Vec<u8>,
    wait: WaitFor,
    hash: Option<Hash>,
) -> Result<Submitted, CliError> {
    let options = SubmitOptions {
        wait: wait.into(),
        timeout_ms: Some(U64(context.timeout_ms())),
        min_height: None,
    };
    let client = context.waiting_client()?;
    about(
        hash,
        TxApiClient::submit(&client, raw.into(), Some(options)).await?,
    )
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
