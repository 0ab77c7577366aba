//! Payments that are made once: signing, submitting, and the next nonce when another transaction has taken one.

use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::HttpClient;
use vibecoin_primitives::{Hash, Height, Operation, TransactionBody};
use vibecoin_rpc_api::methods::TxApiClient;
use vibecoin_rpc_api::views::{SubmitOptions, Submitted, TransactionState, Wait, WaitOptions};
use vibecoin_rpc_api::{ApiError, Code};

use crate::answer::{OtherAnswer, about};
use crate::payment::{Payer, Payment, timeout_ms};
use crate::superseded::Unproven;
use crate::transaction::{BuildError, Choices, build, next_nonce, sign};

/// Attempts of a payment whose nonce is taken by another program first.
const ATTEMPTS_MAX: usize = 32;
/// Maximum number of last heights drawn for a payment until the node knows no transaction with its hash.
const DRAWS_MAX: usize = 8;

/// Reason why a payment was not made, or why its outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// The node did not answer, or refused a query; nothing was sent.
    #[error(transparent)]
    Rpc(#[from] ClientError),
    /// The transaction was not built; nothing was sent.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The node answered about another transaction; nothing was sent.
    #[error(transparent)]
    OtherAnswer(#[from] OtherAnswer),
    /// The node knows a transaction with each of the drawn hashes; nothing was sent.
    #[error("the node knows a payment with each of {DRAWS_MAX} last heights already")]
    Known,
    /// The transaction was sent: the node has it, whatever it answers.
    #[error("{}", .0.cause)]
    Sent(Box<AfterSending>),
    /// The node refused the transaction for its nonce, and did not prove that another transaction has it: the refused
    /// one may still be included.
    #[error("the nonce of the payment is refused, and not proven to be used: {}", .0.why)]
    Unproven(Box<NotProven>),
    /// The nonce was taken by other transactions again and again; none of the payments can be included any more.
    #[error("{0}")]
    Overtaken(SubmitError),
}

/// A failure after a transaction was sent.
#[derive(Debug)]
pub struct AfterSending {
    /// The transaction.
    pub payment: Payment,
    /// Error of the node's answer.
    pub cause: SubmitError,
}

/// A refusal without proof.
#[derive(Debug)]
pub struct NotProven {
    /// The transaction.
    pub payment: Payment,
    /// The refusal.
    pub refusal: SubmitError,
    /// Reason why it is not proven that another transaction has the nonce.
    pub why: Unproven,
}

/// Error of a submission or of the wait behind it.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The node did not answer, or refused the transaction.
    #[error(transparent)]
    Rpc(#[from] ClientError),
    /// The node answered about another transaction.
    #[error(transparent)]
    OtherAnswer(#[from] OtherAnswer),
}

impl SubmitError {
    /// Returns true if the node refused a transaction because a different one has its nonce.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let Self::Rpc(error) = self else {
            return false;
        };
        let class = ApiError::from_client(error).and_then(|error| error.class());
        matches!(class, Some(Code::NonceTooLow | Code::ReplacementUnderpriced))
    }
}

impl Payer<'_> {
    /// Builds a transaction and signs it as [`Self::pay_next`] does, for the nonce in `choices` or the next one.
    ///
    /// # Errors
    /// As [`Self::pay_next`]; nothing was sent.
    pub async fn sign(
        &self,
        operations: Vec<Operation>,
        choices: Choices,
    ) -> Result<(Payment, Vec<u8>), PayError> {
        let body = build(
            self.client,
            self.chain,
            self.key.public_key(),
            operations,
            choices,
        )
        .await?;
        self.sign_unknown(body, choices.valid_for, Height::ZERO).await
    }

    /// Signs a payment with the next nonce and submits it until the node's pool has it. A nonce that a program elsewhere
    /// has taken is refused by the pool, and the next one is tried, but only once the other transaction is proven to be
    /// in a final block ([`Payment::prove_superseded`]): at no time can more than one of the signed payments still be
    /// included. Programs that share the key must take turns: they would read the same nonce.
    ///
    /// Without a validity in `choices`, the last height is drawn at random, and drawn again where the node knows the
    /// resulting hash: a node answers equal transactions as one, and one of two equal payments from two homes would be
    /// lost. The remaining case is a draw of the same height (1 in 1,025 or less) while the other payment is in flight to
    /// this node.
    ///
    /// # Errors
    /// Those of [`PayError`]; an error after sending has the payment.
    pub async fn pay_next(
        &self,
        operations: &[Operation],
        choices: Choices,
    ) -> Result<(Payment, Submitted), PayError> {
        let mut attempts = 0_usize;
        loop {
            attempts = attempts.saturating_add(1);
            let sender = self.key.public_key();
            let (nonce, seen) = next_nonce(self.client, sender).await?;
            let choices = Choices {
                nonce: Some(nonce.0),
                ..choices
            };
            let body = build(self.client, self.chain, sender, operations.to_vec(), choices).await?;
            let (payment, raw) = self.sign_unknown(body, choices.valid_for, seen).await?;
            // Only when the pool has it does the next reader of the nonce see it.
            let refusal = match self.submit(raw, Wait::Mempool, Some(payment.hash)).await {
                Ok(taken) => return Ok((payment, taken)),
                Err(error) if error.is_taken() => error,
                Err(cause) => return Err(after_sending(payment, cause)),
            };
            if let Err(why) = payment.prove_superseded(self).await {
                return Err(PayError::Unproven(Box::new(NotProven {
                    payment,
                    refusal,
                    why,
                })));
            }
            if attempts >= ATTEMPTS_MAX {
                return Err(PayError::Overtaken(refusal));
            }
        }
    }

    /// Signs a transaction. Unless its validity was given (`valid_for`), its last height is drawn until the node knows no
    /// transaction with the hash. Only hashes leave this machine: a node that claims to know one learns nothing and
    /// receives no second payment.
    async fn sign_unknown(
        &self,
        mut body: TransactionBody,
        valid_for: Option<u64>,
        seen: Height,
    ) -> Result<(Payment, Vec<u8>), PayError> {
        let genesis = &self.chain.genesis;
        if valid_for.is_some() {
            let (hash, raw) = sign(body.clone(), genesis, self.key);
            return Ok((Payment::of(&body, hash, seen), raw));
        }
        for _ in 0..DRAWS_MAX {
            body.valid_until = self.chain.valid_until(Some(self.chain.valid_for_spread()));
            let (hash, raw) = sign(body.clone(), genesis, self.key);
            let found = about(
                Some(hash),
                TxApiClient::get_status(self.client, hash.into()).await?,
            )?;
            if found.status == TransactionState::Unknown {
                return Ok((Payment::of(&body, hash, seen), raw));
            }
        }
        Err(PayError::Known)
    }

    /// Submits a transaction and waits as requested. `hash` is its own, if it is known.
    ///
    /// # Errors
    /// The error of the node's answer.
    pub async fn submit(
        &self,
        raw: Vec<u8>,
        wait: Wait,
        hash: Option<Hash>,
    ) -> Result<Submitted, SubmitError> {
        submit(self.waiting, raw, wait, hash, self.timeout).await
    }

    /// Waits until a payment is in a block or can never be.
    ///
    /// # Errors
    /// The error of the node's answer, with the payment.
    pub async fn settle(&self, payment: Payment) -> Result<Submitted, PayError> {
        let options = WaitOptions {
            timeout_ms: Some(timeout_ms(self.timeout)),
        };
        let waited = TxApiClient::wait(self.waiting, payment.hash.into(), Some(options)).await;
        let settled = waited
            .map_err(SubmitError::from)
            .and_then(|submitted| Ok(about(Some(payment.hash), submitted)?));
        settled.map_err(|cause| after_sending(payment, cause))
    }
}

fn after_sending(payment: Payment, cause: SubmitError) -> PayError {
    PayError::Sent(Box::new(AfterSending { payment, cause }))
}

/// Submits a transaction with a client whose calls may be held up to `timeout`, and waits as requested. `hash` is the
/// transaction's own, if it is known.
///
/// # Errors
/// The error of the node's answer.
pub async fn submit(
    waiting: &HttpClient,
    raw: Vec<u8>,
    wait: Wait,
    hash: Option<Hash>,
    timeout: Duration,
) -> Result<Submitted, SubmitError> {
    let options = SubmitOptions {
        wait,
        timeout_ms: Some(timeout_ms(timeout)),
        min_height: None,
    };
    let submitted = TxApiClient::submit(waiting, raw.into(), Some(options)).await?;
    Ok(about(hash, submitted)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_used_nonce_is_tried_again() {
        use jsonrpsee::types::ErrorObjectOwned;
        let refused = |code| {
            let error = ErrorObjectOwned::from(ApiError::new(code, "x"));
            SubmitError::Rpc(ClientError::Call(error)).is_taken()
        };
        assert!(refused(Code::NonceTooLow) && refused(Code::ReplacementUnderpriced));
        for code in [Code::NonceTooHigh, Code::FeeTooLow, Code::Timeout, Code::Expired] {
            assert!(!refused(code), "{code:?}");
        }
        assert!(!SubmitError::Rpc(ClientError::RequestTimeout).is_taken());
        let (asked, other) = (Hash([1; 32]), Hash([2; 32]));
        assert!(!SubmitError::from(OtherAnswer { asked, other }).is_taken());
    }
}
