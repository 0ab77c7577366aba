//! Decides whether a payment refused for its nonce may be made again.
//!
//! The refusal alone proves nothing. A node could refuse every time, collect payments with consecutive
//! nonces, and have all of them included later. Nor is it sufficient that the nonce is used in a certified
//! state: the payment itself could have used it. The condition is a proof of a different transaction with
//! this sender and nonce in a final block: with it the refused payment can never be included, and the next
//! one is the only one.

use jsonrpsee::http_client::HttpClient;
use serde_json::json;
use vibecoin_light::{Fact, ProofFile, Trust, verify};
use vibecoin_primitives::{Address, Hash, Height, Nonce};
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::methods::{ChainApiClient as _, MempoolApiClient, ProofApiClient, TxApiClient};
use vibecoin_rpc_api::views::{
    BlockOptions, BlockTransactions, TransactionDetail, TransactionView, WaitOptions,
};

use crate::chain::Chain;
use crate::context::Context;
use crate::error::{CliError, Sent, lookup_hint};
use crate::exit::Exit;

/// Maximum number of blocks searched for the other transaction. There are few between reading a nonce and a
/// refusal.
const BLOCKS_MAX: u64 = 64;

/// A payment that was signed and sent.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    /// The sender.
    pub sender: Address,
    /// Its nonce.
    pub nonce: Nonce,
    /// The height of the state from which the nonce was read, as reported by the node.
    pub seen: Height,
    /// The last height at which it may be in a block.
    pub valid_until: Height,
    /// Its hash.
    pub hash: Hash,
}

impl Signed {
    /// Succeeds if a different transaction in a final block has the nonce. One that is in the pool is
    /// awaited.
    ///
    /// # Errors
    /// The reason why that is not proven.
    pub async fn prove_superseded(
        &self,
        context: &Context,
        client: &HttpClient,
        chain: &Chain,
    ) -> Result<(), CliError> {
        let Some(trust) = chain.trust() else {
            return Err(
                CliError::unverified("the home has no genesis file to check a proof with").hint(
                    "`vibecoin init --genesis FILE` gives the home the chain's genesis file, with which it is proven",
                ),
            );
        };
        let found = self.find(context, client, chain, trust);
        tokio::time::timeout(context.timeout(), found)
            .await
            .unwrap_or_else(|_| Err(CliError::new(Exit::Timeout, "no proof came in time")))
    }

    async fn find(
        &self,
        context: &Context,
        client: &HttpClient,
        chain: &Chain,
        trust: &Trust,
    ) -> Result<(), CliError> {
        // A transaction in the pool is not final. Once it is settled it is searched for in blocks like every
        // other, because a different one may have replaced it.
        let waiting = MempoolApiClient::get_account(client, self.sender.into()).await?;
        let mut waiting = waiting.pending.iter().chain(&waiting.queued);
        if let Some(other) = waiting.find(|entry| self.has_same_nonce(&entry.transaction, chain)) {
            let options = WaitOptions {
                timeout_ms: Some(U64(context.timeout_ms())),
            };
            let hash = other.transaction.hash.0;
            let _settled = TxApiClient::wait(client, hash.into(), Some(options)).await?;
            if self.is_proven_by(client, trust, hash).await? {
                return Ok(());
            }
        }
        for ahead in 1..=BLOCKS_MAX {
            let height = Height(self.seen.0.saturating_add(ahead));
            let options = BlockOptions {
                transactions: TransactionDetail::Full,
                ..BlockOptions::default()
            };
            let Some(block) = client.get_block(Some(height.into()), Some(options)).await? else {
                break;
            };
            let Some(BlockTransactions::Full(transactions)) = block.transactions else {
                continue;
            };
            for other in transactions {
                if self.has_same_nonce(&other, chain)
                    && self.is_proven_by(client, trust, other.hash.0).await?
                {
                    return Ok(());
                }
            }
        }
        Err(CliError::unverified("no other transaction with it was found"))
    }

    /// Returns true if the node reports a different transaction with the same sender and nonce: only a hint
    /// for the search.
    fn has_same_nonce(&self, other: &TransactionView, chain: &Chain) -> bool {
        other.nonce.0 == self.nonce.0
            && other.hash.0 != self.hash
            && other.sender.0.on(&chain.prefix) == Ok(self.sender)
    }

    /// Returns true if the transaction with this hash is proven to be in a block and to have the nonce.
    async fn is_proven_by(&self, client: &HttpClient, trust: &Trust, hash: Hash) -> Result<bool, CliError> {
        let Some(found) = ProofApiClient::get_transaction(client, hash.into()).await? else {
            return Ok(false);
        };
        let proven = ProofFile::from_bytes(&found.proof.0.0)
            .and_then(|file| verify(trust, &file))
            .map_err(|error| CliError::unverified(format!("the node's proof is invalid: {error}")))?;
        Ok(proven.facts.iter().any(|fact| match fact {
            Fact::Transaction { transaction, .. } => {
                transaction.sender() == self.sender
                    && transaction.body().nonce == self.nonce
                    && *transaction.id() != self.hash
            }
            _ => false,
        }))
    }

    /// The error of a refusal without proof: identifies the signed transaction, since it may still be
    /// included.
    pub fn unproven(&self, refusal: &CliError, why: CliError) -> CliError {
        let message = format!(
            "the node refuses the payment ({}), but does not prove that another one has its nonce: {}; no second payment was made",
            refusal.reason, why.message
        );
        let look = lookup_hint(self.hash);
        let hint = why
            .hint
            .map_or_else(|| look.clone(), |hint| format!("{look}; {hint}"));
        let error = CliError::new(Exit::Rejected, message)
            .reason("unproven_refusal")
            .hint(hint)
            .data(json!({ "refusal": refusal.reason }));
        self.named_in(error)
    }

    /// Adds the signed transaction to an error.
    pub fn named_in(&self, error: CliError) -> CliError {
        let sent = Sent {
            hash: Some(self.hash),
            nonce: self.nonce,
            valid_until: self.valid_until,
        };
        sent.named_in(error)
    }
}
