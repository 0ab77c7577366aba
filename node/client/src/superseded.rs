//! Decides whether a payment refused for its nonce may be made again.
//!
//! The refusal alone proves nothing. A node could refuse every time, collect payments with consecutive
//! nonces, and have all of them included later. Nor is it sufficient that the nonce is used in a certified
//! state: the payment itself could have used it. The condition is a proof of a different transaction with
//! this sender and nonce in a final block: with it the refused payment can never be included, and the next
//! one is the only one.

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::HttpClient;
use vibecoin_light::{Fact, LightError, ProofFile, Trust, verify};
use vibecoin_primitives::{Hash, Height};
use vibecoin_rpc_api::methods::{ChainApiClient as _, MempoolApiClient, ProofApiClient, TxApiClient};
use vibecoin_rpc_api::views::{
    BlockOptions, BlockTransactions, TransactionDetail, TransactionView, WaitOptions,
};

use crate::chain::Chain;
use crate::payment::{Payer, Payment, timeout_ms};

/// Maximum number of blocks searched for the other transaction. There are few between reading a nonce and a
/// refusal.
const BLOCKS_MAX: u64 = 64;

/// Reason why it is not proven that a different transaction has the nonce of a payment.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// There is no genesis file to check a proof with.
    #[error("the home has no genesis file to check a proof with")]
    NoTrust,
    /// The timeout expired.
    #[error("no proof came in time")]
    Timeout,
    /// The node did not answer, or refused a query.
    #[error(transparent)]
    Rpc(#[from] ClientError),
    /// The node's proof proves nothing.
    #[error("the node's proof is invalid: {0}")]
    BadProof(LightError),
    /// There is no such transaction in the pool and in the newest blocks.
    #[error("no other transaction with it was found")]
    NotFound,
}

impl Payment {
    /// Succeeds if a different transaction in a final block has the nonce. One that is in the pool is
    /// awaited.
    ///
    /// # Errors
    /// The reason why that is not proven.
    pub async fn prove_superseded(&self, payer: &Payer<'_>) -> Result<(), Unproven> {
        let trust = payer.chain.trust().ok_or(Unproven::NoTrust)?;
        tokio::time::timeout(payer.timeout, self.find(payer, trust))
            .await
            .unwrap_or(Err(Unproven::Timeout))
    }

    async fn find(&self, payer: &Payer<'_>, trust: &Trust) -> Result<(), Unproven> {
        let Payer { client, chain, .. } = *payer;
        // A transaction in the pool is not final. Once it is settled it is searched for in blocks like every
        // other, because a different one may have replaced it.
        let waiting = MempoolApiClient::get_account(client, self.sender.into()).await?;
        let mut waiting = waiting.pending.iter().chain(&waiting.queued);
        if let Some(other) = waiting.find(|entry| self.has_same_nonce(&entry.transaction, chain)) {
            let options = WaitOptions {
                timeout_ms: Some(timeout_ms(payer.timeout)),
            };
            let hash = other.transaction.hash.0;
            let _settled = TxApiClient::wait(payer.waiting, hash.into(), Some(options)).await?;
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
        Err(Unproven::NotFound)
    }

    /// Returns true if the node reports a different transaction with the same sender and nonce: only a hint
    /// for the search.
    fn has_same_nonce(&self, other: &TransactionView, chain: &Chain) -> bool {
        other.nonce.0 == self.nonce.0
            && other.hash.0 != self.hash
            && other.sender.0.on(&chain.prefix) == Ok(self.sender)
    }

    /// Returns true if the transaction with this hash is proven to be in a block and to have the nonce.
    async fn is_proven_by(&self, client: &HttpClient, trust: &Trust, hash: Hash) -> Result<bool, Unproven> {
        let Some(found) = ProofApiClient::get_transaction(client, hash.into()).await? else {
            return Ok(false);
        };
        let proven = ProofFile::from_bytes(&found.proof.0.0)
            .and_then(|file| verify(trust, &file))
            .map_err(Unproven::BadProof)?;
        Ok(proven.facts.iter().any(|fact| match fact {
            Fact::Transaction { transaction, .. } => {
                transaction.sender() == self.sender
                    && transaction.body().nonce == self.nonce
                    && *transaction.id() != self.hash
            }
            _ => false,
        }))
    }
}
