//! A payer at one node, and a payment that it has signed.

use std::time::Duration;

use jsonrpsee::http_client::HttpClient;
use vibecoin_primitives::{Address, Amount, Hash, Height, Nonce, SecretKey, TransactionBody};
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;

use crate::chain::Chain;

/// A sender at one node.
#[derive(Clone, Copy)]
pub struct Payer<'a> {
    /// For calls that the node answers at once.
    pub client: &'a HttpClient,
    /// For calls that the node holds, up to the timeout.
    pub waiting: &'a HttpClient,
    /// The chain of the payments.
    pub chain: &'a Chain,
    /// The key that pays.
    pub key: &'a SecretKey,
    /// Timeout of a wait for the node.
    pub timeout: Duration,
}

/// A transaction that was signed and may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
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
    /// Its fee.
    pub fee: Amount,
}

impl Payment {
    pub(crate) fn of(body: &TransactionBody, hash: Hash, seen: Height) -> Self {
        Self {
            sender: Address(body.sender.0),
            nonce: body.nonce,
            seen,
            valid_until: body.valid_until,
            hash,
            fee: body.fee,
        }
    }
}

/// Time for which a node may hold a call, as a parameter.
#[must_use]
pub fn timeout_ms(timeout: Duration) -> U64 {
    U64(u64::try_from(timeout.as_millis())
        .unwrap_or(u64::MAX)
        .min(TIMEOUT_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_holds_a_call_no_longer_than_it_may() {
        assert_eq!(timeout_ms(Duration::from_secs(2)), U64(2_000));
        assert_eq!(timeout_ms(Duration::MAX), U64(TIMEOUT_MS_MAX));
    }
}
