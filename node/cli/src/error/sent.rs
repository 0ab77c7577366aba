//! The transaction that an error concerns.

use serde_json::{Value, json};
use vibecoin_client::{NotProven, OtherAnswer, PayError, Payment, SubmitError, Unproven};
use vibecoin_primitives::{Hash, Height, Nonce, TransactionBody};
use vibecoin_rpc_api::{Code, Text as _};

use super::{CliError, waiting_hint};
use crate::exit::Exit;

/// Identifies a signed transaction that was submitted. The node has it, whatever it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its hash; `None` where the genesis hash that it depends on is not known.
    pub hash: Option<Hash>,
    /// Its nonce.
    pub nonce: Nonce,
    /// The last height at which it may be in a block.
    pub valid_until: Height,
}

impl Sent {
    /// From a transaction's body.
    pub fn new(body: &TransactionBody, hash: Option<Hash>) -> Self {
        Self {
            hash,
            nonce: body.nonce,
            valid_until: body.valid_until,
        }
    }

    /// Adds the transaction to an error that occurred after signing. Where the outcome is unknown, the hint
    /// has the command that queries it, before another transaction is made.
    pub fn named_in(self, error: CliError) -> CliError {
        let is = |code: Code| error.code == i64::from(code.number());
        let is_refused = matches!(error.exit, Exit::Rejected | Exit::Usage);
        let is_taken = is(Code::NonceTooLow) || is(Code::ReplacementUnderpriced);
        let is_unknown = error.data.get("status").and_then(Value::as_str) == Some("unknown");
        let hint = match (self.hash, error.hint) {
            (None, hint) => hint,
            (Some(hash), _) if is(Code::Timeout) && !is_unknown => Some(waiting_hint(&hash.to_text())),
            (_, hint) if is_refused && !is_taken => hint,
            (Some(hash), Some(hint)) => Some(format!("{}; {hint}", lookup_hint(hash))),
            (Some(hash), None) => Some(lookup_hint(hash)),
        };
        CliError {
            hint,
            sent: Some(Box::new(self)),
            ..error
        }
    }

    /// The structured details.
    pub fn to_json(self) -> Value {
        json!({
            "hash": self.hash.map(|hash| hash.to_text()),
            "nonce": self.nonce.0.to_string(),
            "validUntil": self.valid_until.0.to_string(),
        })
    }

    /// The line of text.
    pub fn to_text(self) -> String {
        let hash = self
            .hash
            .map_or_else(|| "a transaction".to_owned(), |hash| hash.to_text());
        format!(
            "{hash} with nonce {} may be included until height {}",
            self.nonce, self.valid_until
        )
    }
}

/// The command that queries the outcome of a transaction.
pub fn lookup_hint(hash: Hash) -> String {
    format!(
        "ask with `vibecoin tx status {}`, also at another node, before you pay again",
        hash.to_text()
    )
}

impl From<Payment> for Sent {
    fn from(payment: Payment) -> Self {
        Self {
            hash: Some(payment.hash),
            nonce: payment.nonce,
            valid_until: payment.valid_until,
        }
    }
}

impl From<OtherAnswer> for CliError {
    fn from(error: OtherAnswer) -> Self {
        Self::new(Exit::Failure, error.to_string()).reason("bad_answer")
    }
}

impl From<SubmitError> for CliError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Rpc(error) => error.into(),
            SubmitError::OtherAnswer(error) => error.into(),
        }
    }
}

impl From<PayError> for CliError {
    fn from(error: PayError) -> Self {
        match error {
            PayError::Rpc(error) => error.into(),
            PayError::Build(error) => error.into(),
            PayError::OtherAnswer(error) => error.into(),
            PayError::Known => Self::new(Exit::Rejected, format!("{error}; nothing was sent"))
                .reason("known_payment")
                .hint("another --url names another node"),
            PayError::Sent(sent) => Sent::from(sent.payment).named_in(sent.cause.into()),
            PayError::Unproven(found) => unproven(*found),
            PayError::Overtaken(refusal) => refusal.into(),
        }
    }
}

impl From<Unproven> for CliError {
    fn from(error: Unproven) -> Self {
        let message = error.to_string();
        match error {
            Unproven::NoTrust => Self::unverified(message).hint(
                "`vibecoin init --genesis FILE` gives the home the chain's genesis file, with which it is proven",
            ),
            Unproven::Timeout => Self::new(Exit::Timeout, message),
            Unproven::Rpc(error) => error.into(),
            Unproven::BadProof(_) | Unproven::NotFound => Self::unverified(message),
        }
    }
}

/// The error of a refusal without proof: identifies the signed transaction, since it may still be included.
fn unproven(found: NotProven) -> CliError {
    let (refusal, why) = (CliError::from(found.refusal), CliError::from(found.why));
    let message = format!(
        "the node refuses the payment ({}), but does not prove that another one has its nonce: {}; no second payment was made",
        refusal.reason, why.message
    );
    let look = lookup_hint(found.payment.hash);
    let hint = why
        .hint
        .map_or_else(|| look.clone(), |hint| format!("{look}; {hint}"));
    let error = CliError::new(Exit::Rejected, message)
        .reason("unproven_refusal")
        .hint(hint)
        .data(json!({ "refusal": refusal.reason }));
    Sent::from(found.payment).named_in(error)
}

#[cfg(test)]
mod tests {
    use jsonrpsee::core::client::Error as ClientError;
    use jsonrpsee::types::ErrorObjectOwned;
    use vibecoin_client::AfterSending;
    use vibecoin_primitives::{Address, Amount};
    use vibecoin_rpc_api::ApiError;

    use super::*;

    #[test]
    fn a_payment_that_may_still_be_included_is_named() {
        let payment = Payment {
            sender: Address([1; 32]),
            nonce: Nonce(3),
            seen: Height(5),
            valid_until: Height(9),
            hash: Hash([2; 32]),
            fee: Amount(7),
        };
        let refused = |code| {
            let error = ErrorObjectOwned::from(ApiError::new(code, "x"));
            SubmitError::Rpc(ClientError::Call(error))
        };
        let hash = payment.hash.to_text();
        let unproven = CliError::from(PayError::Unproven(Box::new(NotProven {
            payment,
            refusal: refused(Code::NonceTooLow),
            why: Unproven::NoTrust,
        })));
        assert_eq!(
            (unproven.exit, unproven.reason.as_str()),
            (Exit::Rejected, "unproven_refusal")
        );
        assert!(
            unproven.message.contains("(nonce_too_low)"),
            "{}",
            unproven.message
        );
        assert_eq!(unproven.sent, Some(Box::new(Sent::from(payment))));
        let hint = unproven.hint.unwrap_or_default();
        assert!(
            hint.contains(&format!("`vibecoin tx status {hash}`")) && hint.contains("init --genesis FILE"),
            "{hint}"
        );
        let late = CliError::from(PayError::Sent(Box::new(AfterSending {
            payment,
            cause: refused(Code::Timeout),
        })));
        assert_eq!((late.exit, late.sent), (Exit::Timeout, unproven.sent));
        let hint = late.hint.unwrap_or_default();
        assert!(hint.contains(&format!("`vibecoin tx wait {hash}`")), "{hint}");
        let known = CliError::from(PayError::Known);
        assert_eq!(
            (known.exit, known.reason.as_str(), known.sent),
            (Exit::Rejected, "known_payment", None)
        );
        assert!(known.message.ends_with("nothing was sent"), "{}", known.message);
    }
}
