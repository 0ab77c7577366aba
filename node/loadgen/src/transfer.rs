//! Transfers, signed.

use vibecoin_client::{Chain, FeeError, sign};
use vibecoin_primitives::{Address, Amount, Hash, Height, Nonce, Operation, SecretKey, TransactionBody};

/// Amount of each transfer of a load.
pub(crate) const AMOUNT: Amount = Amount(1);

/// A transfer that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Index of the sending account.
    pub account: usize,
    /// Its hash.
    pub hash: Hash,
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// Properties that all transfers of a load have in common.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Genesis hash of the chain.
    pub genesis: Hash,
    /// The fee.
    pub fee: Amount,
    /// The last height at which it may be in a block.
    pub valid_until: Height,
}

impl Terms {
    /// Transfers with this fee that are valid for as long as the chain allows.
    pub(crate) fn on(chain: &Chain, fee: Amount) -> Self {
        let valid_until = chain.valid_until(Some(chain.info.params.validity_window.0));
        Self {
            genesis: chain.genesis,
            fee,
            // The chain has advanced while the accounts were funded, and continues to.
            valid_until: Height(valid_until.0.saturating_sub(1)),
        }
    }

    /// Signs a transfer of the account with this index.
    #[must_use]
    pub fn sign(&self, account: usize, key: &SecretKey, nonce: u64, to: Address, amount: Amount) -> Signed {
        let body = TransactionBody {
            chain: self.genesis.prefix(),
            sender: key.public_key(),
            nonce: Nonce(nonce),
            fee: self.fee,
            valid_until: self.valid_until,
            operations: vec![Operation::Transfer { to, amount }],
        };
        let (hash, raw) = sign(body, &self.genesis, key);
        Signed { account, hash, raw }
    }
}

/// The minimum fee of a transfer. All transfers have one size.
///
/// # Errors
/// As [`Chain::fee`].
pub(crate) fn transfer_fee(chain: &Chain) -> Result<Amount, FeeError> {
    let terms = Terms {
        genesis: chain.genesis,
        fee: Amount(0),
        valid_until: Height(0),
    };
    let key = SecretKey::from_seed(&[0; 32]);
    let transfer = terms.sign(0, &key, 0, Address([0; 32]), AMOUNT);
    chain.fee(transfer.raw.len(), 0, None)
}
