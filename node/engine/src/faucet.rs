//! Funds for developers: transfers from the last of the ten accounts that a dev chain starts with.

use tokio::sync::{Mutex, MutexGuard};
use vibecoin_keystore::{KeyError, dev_keys};
use vibecoin_primitives::{
    Address, Amount, ChainParams, Hash, Height, Nonce, Operation, SecretKey, Transaction, TransactionBody,
    transaction_bytes,
};

/// Accounts that a dev chain starts with; the last one pays, so that the first ones stay unchanged.
const DEV_ACCOUNTS: u32 = 10;
/// Validity of a faucet transfer, in heights.
const VALID_HEIGHTS: u64 = 100;

/// The account that pays. Its key is public, as are all keys of dev chains.
pub struct Faucet {
    key: SecretKey,
    address: Address,
    /// One transfer at a time: each needs the nonce after the previous one.
    turn: Mutex<()>,
}

impl Faucet {
    /// The faucet of a dev chain; `None` on any other chain.
    ///
    /// # Errors
    /// [`KeyError`] when the developers' keys cannot be derived: a bug.
    pub fn of(params: &ChainParams) -> Result<Option<Self>, KeyError> {
        if !params.dev {
            return Ok(None);
        }
        let last = dev_keys(DEV_ACCOUNTS)?.pop();
        Ok(last.map(|(_, key)| Self {
            address: Address::from(key.public_key()),
            key,
            turn: Mutex::new(()),
        }))
    }

    /// Waits for its turn; hold it until the pool has taken the transaction.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The account that pays.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// A signed transfer with the minimum fee.
    pub fn gift(
        &self,
        genesis: &Hash,
        params: &ChainParams,
        head: Height,
        nonce: Nonce,
        to: Address,
        amount: Amount,
    ) -> Transaction {
        let ahead = params.validity_window.min(VALID_HEIGHTS);
        let body = TransactionBody {
            chain: genesis.prefix(),
            sender: self.key.public_key(),
            nonce,
            fee: Amount(0),
            valid_until: head.saturating_add(ahead),
            operations: vec![Operation::Transfer { to, amount }],
        };
        // The fee has a fixed length, so a draft signature determines the final size.
        let draft = body.clone().sign(genesis, &self.key);
        let bytes = u32::try_from(transaction_bytes(&draft)).unwrap_or(u32::MAX);
        let fee = params.fee_for(bytes, 0);
        TransactionBody { fee, ..body }.sign(genesis, &self.key)
    }
}
