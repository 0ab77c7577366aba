//! Building and signing of transactions.

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::http_client::HttpClient;
use vibecoin_primitives::{
    Address, Amount, Hash, Height, Nonce, Operation, PublicKey, SecretKey, Signature, Transaction,
    TransactionBody, TransactionV1, encode, transaction_bytes,
};
use vibecoin_rpc_api::methods::{AccountApiClient as _, MempoolApiClient};

use crate::chain::{Chain, FeeError};

/// Parameters of a payment that have defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices {
    /// The fee; default: the minimum, and a bid where the node's pool is full.
    pub fee: Option<u64>,
    /// Upper bound of the fee when it is not given.
    pub fee_max: Option<u64>,
    /// The nonce; default: the next one, including the transactions in the pool.
    pub nonce: Option<u64>,
    /// Validity in heights.
    pub valid_for: Option<u64>,
}

/// Reason why a transaction was not built. Not `#[non_exhaustive]`: a caller that reports it must know every variant.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The node did not answer, or refused a query.
    #[error(transparent)]
    Rpc(#[from] ClientError),
    /// The fee is above its bound.
    #[error(transparent)]
    Fee(#[from] FeeError),
}

/// Fills in fee, nonce and last height.
///
/// # Errors
/// The errors of the node's answers, and those of [`Chain::fee_in`].
pub async fn build(
    client: &HttpClient,
    chain: &Chain,
    sender: PublicKey,
    operations: Vec<Operation>,
    choices: Choices,
) -> Result<TransactionBody, BuildError> {
    let nonce = match choices.nonce {
        Some(nonce) => Nonce(nonce),
        None => next_nonce(client, sender).await?.0,
    };
    let mut body = TransactionBody {
        chain: chain.genesis.prefix(),
        sender,
        nonce,
        fee: Amount(choices.fee.unwrap_or_default()),
        valid_until: chain.valid_until(choices.valid_for),
        operations,
    };
    if choices.fee.is_none() {
        let pool = MempoolApiClient::get_status(client).await?;
        body.fee = chain.fee_in(&pool, signed_bytes(&body), body.slot_count(), choices.fee_max)?;
    }
    Ok(body)
}

/// The next nonce of an account including the transactions in the pool, and the height of the state it was
/// read from.
///
/// # Errors
/// The error of the node's answer.
pub async fn next_nonce(client: &HttpClient, sender: PublicKey) -> Result<(Nonce, Height), ClientError> {
    let read = client.get_nonce(Address(sender.0).into()).await?;
    Ok((read.value.pending_next.into(), Height(read.context.height.0)))
}

/// Bytes of a transaction once it is signed. Every integer has a fixed size, so the fee does not matter.
fn signed_bytes(body: &TransactionBody) -> usize {
    let signature = Signature([0; 64]);
    transaction_bytes(&Transaction::V1(TransactionV1 {
        body: body.clone(),
        signature,
    }))
}

/// Signs and encodes a transaction.
#[must_use]
pub fn sign(body: TransactionBody, genesis: &Hash, key: &SecretKey) -> (Hash, Vec<u8>) {
    let transaction = body.sign(genesis, key);
    (transaction.id(genesis), encode(&transaction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_that_the_fee_is_for_is_the_size_that_is_sent() {
        let key = SecretKey::from_seed(&[1; 32]);
        let body = TransactionBody {
            chain: [0; 4],
            sender: key.public_key(),
            nonce: Nonce(1),
            fee: Amount(0),
            valid_until: Height(1),
            operations: vec![Operation::Transfer {
                to: Address([2; 32]),
                amount: Amount(1),
            }],
        };
        let expected = signed_bytes(&body);
        let body = TransactionBody {
            fee: Amount(u64::MAX),
            ..body
        };
        assert_eq!(sign(body, &Hash::ZERO, &key).1.len(), expected);
    }
}
