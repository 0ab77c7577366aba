//! Transactions: as signed by a user, and as verified.
//!
//! A transaction is a body and a signature. The body lists operations that apply all or none. Signed are the
//! bytes `"vibecoin/transaction/v1" ‖ genesis hash (32) ‖ body`; only the first four bytes of the genesis
//! hash are sent, to distinguish "wrong chain" from "bad signature".
//!
//! Two hashes, never to be mixed up:
//! - [`Transaction::id`] covers the signed bytes: identifies the transaction in RPC, indexes and
//!   deduplication, and does not depend on the signature;
//! - [`Transaction::hash`] covers all sent bytes: the Merkle leaf of a tick, and the only key under
//!   which a verified signature may be remembered.

use wincode::containers;
use wincode::len::UseIntLen;
use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{OPERATIONS_MAX, SLOT_VALUE_BYTES_MAX, TRANSACTION_BYTES_MAX};
use crate::{
    Address, Amount, Domain, Encoded, Hash, Height, KnownKeys, Nonce, PublicKey, SecretKey, Signature,
    SignatureBatch, SignatureError, encode, encoded_len,
};

/// Prefix of the bytes that a transaction's signature covers.
pub const TRANSACTION_TAG: &[u8] = b"vibecoin/transaction/v1";

/// A signed transaction as it is sent. The enum tag is its version.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Transaction {
    /// Version 1.
    V1(TransactionV1),
}

/// Version 1 of a signed transaction.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct TransactionV1 {
    /// The signed body.
    pub body: TransactionBody,
    /// Signature by `body.sender`.
    pub signature: Signature,
}

/// The part of a transaction that the sender signs.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct TransactionBody {
    /// First four bytes of the genesis hash.
    pub chain: [u8; 4],
    /// The account that pays and signs, and on which the operations act.
    pub sender: PublicKey,
    /// Must equal the nonce of the sender's account.
    pub nonce: Nonce,
    /// Paid to the proposer's payout account, also when an operation fails.
    pub fee: Amount,
    /// Last height at which the transaction may be in a block.
    pub valid_until: Height,
    /// Applied in order, all or none. One to [`OPERATIONS_MAX`].
    #[wincode(
        with = "containers::Vec<Operation, UseIntLen<u64, { OPERATIONS_MAX * size_of::<Operation>() }>>"
    )]
    pub operations: Vec<Operation>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Operation {
    /// Moves `amount` to `to`, creating the account (for a price that is burned) when it is new.
    Transfer {
        /// The recipient.
        to: Address,
        /// The amount, above zero.
        amount: Amount,
    },
    /// Sets one slot of the sender's own storage; an empty value removes the slot.
    SetStorage {
        /// The slot.
        slot: Hash,
        /// The new value, up to [`SLOT_VALUE_BYTES_MAX`] bytes.
        #[wincode(with = "containers::Vec<u8, UseIntLen<u64, SLOT_VALUE_BYTES_MAX>>")]
        value: Vec<u8>,
    },
}

impl Encoded for Transaction {
    const NAME: &'static str = "transaction";
    const BYTES_MAX: usize = TRANSACTION_BYTES_MAX;
}

impl Encoded for TransactionBody {
    const NAME: &'static str = "transaction body";
    const BYTES_MAX: usize = TRANSACTION_BYTES_MAX;
}

impl TransactionBody {
    /// The bytes that are signed on the chain with this genesis hash.
    #[must_use]
    pub fn signing_bytes(&self, genesis: &Hash) -> Vec<u8> {
        signed_bytes(TRANSACTION_TAG, genesis, self)
    }

    /// Number of slots that the operations set or clear.
    #[must_use]
    pub fn slot_count(&self) -> u32 {
        let slots = self.operations.iter();
        let slots = slots.filter(|operation| matches!(operation, Operation::SetStorage { .. }));
        u32::try_from(slots.count()).unwrap_or(u32::MAX)
    }

    /// Signs with `key`, whose public half must be `self.sender`.
    #[must_use]
    pub fn sign(self, genesis: &Hash, key: &SecretKey) -> Transaction {
        let signature = key.sign(&self.signing_bytes(genesis));
        Transaction::V1(TransactionV1 {
            body: self,
            signature,
        })
    }
}

/// `tag ‖ genesis hash ‖ encoding of value`: the form of all signed bytes.
#[must_use]
pub fn signed_bytes<T>(tag: &[u8], genesis: &Hash, value: &T) -> Vec<u8>
where
    T: wincode::SchemaWrite<wincode::config::DefaultConfig, Src = T>,
{
    let body = encode(value);
    let mut bytes = Vec::with_capacity(tag.len().saturating_add(32).saturating_add(body.len()));
    bytes.extend_from_slice(tag);
    bytes.extend_from_slice(&genesis.0);
    bytes.extend_from_slice(&body);
    bytes
}

impl Transaction {
    /// The signed part.
    #[must_use]
    pub const fn body(&self) -> &TransactionBody {
        let Self::V1(inner) = self;
        &inner.body
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        let Self::V1(inner) = self;
        &inner.signature
    }

    /// Identifies the transaction: the hash of the signed bytes.
    #[must_use]
    pub fn id(&self, genesis: &Hash) -> Hash {
        Domain::TransactionId.hash(&self.body().signing_bytes(genesis))
    }

    /// The hash of all sent bytes, signature included.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::TransactionHash.hash(&encode(self))
    }

    /// Checks everything that needs no state: the chain prefix, the number of operations, then the signature.
    ///
    /// # Errors
    /// [`TransactionError`] with the first rule that does not hold.
    pub fn verify(self, genesis: &Hash) -> Result<VerifiedTransaction, TransactionError> {
        let signing = check_form(&self, genesis)?;
        self.body().sender.verify(&signing, self.signature())?;
        Ok(VerifiedTransaction::seal(self, &signing))
    }

    /// [`Transaction::verify`] for many at once: the same verdicts, two to five times cheaper.
    #[must_use]
    pub fn verify_batch(
        transactions: Vec<Self>,
        genesis: &Hash,
    ) -> Vec<Result<VerifiedTransaction, TransactionError>> {
        Self::verify_batch_with(transactions, genesis, &mut KnownKeys::default())
    }

    /// [`Transaction::verify_batch`] for a caller that checks batch after batch: a repeated sender costs less.
    #[must_use]
    pub fn verify_batch_with(
        transactions: Vec<Self>,
        genesis: &Hash,
        keys: &mut KnownKeys,
    ) -> Vec<Result<VerifiedTransaction, TransactionError>> {
        let mut batch = SignatureBatch::new();
        let formed: Vec<Result<VerifiedTransaction, TransactionError>> = transactions
            .into_iter()
            .map(|transaction| {
                let signing = check_form(&transaction, genesis)?;
                batch.push(&transaction.body().sender, &signing, transaction.signature());
                Ok(VerifiedTransaction::seal(transaction, &signing))
            })
            .collect();
        let mut verdicts = batch.verify_with(keys).into_iter();
        formed
            .into_iter()
            .map(|formed| {
                let sealed = formed?;
                verdicts.next().unwrap_or(Err(SignatureError::Mismatch))?;
                Ok(sealed)
            })
            .collect()
    }

    /// Checks transactions that are all discarded if one is invalid, as those of a block: `None` at the first
    /// malformed one, or for the cost of one batch when a signature does not hold. Never looks for the invalid one.
    #[must_use]
    pub fn verify_all(
        transactions: Vec<Self>,
        genesis: &Hash,
        keys: &mut KnownKeys,
    ) -> Option<Vec<VerifiedTransaction>> {
        let mut batch = SignatureBatch::new();
        let mut sealed = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            let signing = check_form(&transaction, genesis).ok()?;
            batch.push(&transaction.body().sender, &signing, transaction.signature());
            sealed.push(VerifiedTransaction::seal(transaction, &signing));
        }
        batch.all_hold(keys).then_some(sealed)
    }
}

fn check_form(transaction: &Transaction, genesis: &Hash) -> Result<Vec<u8>, TransactionError> {
    let body = transaction.body();
    if body.chain != genesis.prefix() {
        return Err(TransactionError::WrongChain {
            expected: crate::hex::encode(&genesis.prefix()),
            got: crate::hex::encode(&body.chain),
        });
    }
    if body.operations.is_empty() || body.operations.len() > OPERATIONS_MAX {
        return Err(TransactionError::OperationCount {
            got: body.operations.len(),
        });
    }
    Ok(body.signing_bytes(genesis))
}

/// Reason why a transaction is refused before any state is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The transaction was made for another chain.
    #[error("transaction names chain {got}, this chain is {expected}")]
    WrongChain {
        /// This chain's prefix.
        expected: String,
        /// The prefix found.
        got: String,
    },
    /// No operations, or too many.
    #[error("a transaction has 1 to {OPERATIONS_MAX} operations, this one has {got}")]
    OperationCount {
        /// Number of operations found.
        got: usize,
    },
    /// The signature rule does not hold.
    #[error("bad signature: {0}")]
    Signature(#[from] SignatureError),
}

/// A transaction whose form and signature have been checked. Only the verifier makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTransaction {
    transaction: Transaction,
    id: Hash,
    hash: Hash,
    bytes: u32,
}

impl VerifiedTransaction {
    fn seal(transaction: Transaction, signing: &[u8]) -> Self {
        let id = Domain::TransactionId.hash(signing);
        let encoded = encode(&transaction);
        let hash = Domain::TransactionHash.hash(&encoded);
        let bytes = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        Self {
            transaction,
            id,
            hash,
            bytes,
        }
    }

    /// The transaction.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The signed part.
    #[must_use]
    pub const fn body(&self) -> &TransactionBody {
        self.transaction.body()
    }

    /// The sender's address.
    #[must_use]
    pub const fn sender(&self) -> Address {
        Address(self.body().sender.0)
    }

    /// [`Transaction::id`].
    #[must_use]
    pub const fn id(&self) -> &Hash {
        &self.id
    }

    /// [`Transaction::hash`].
    #[must_use]
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Length of the encoding in bytes.
    #[must_use]
    pub const fn byte_len(&self) -> u32 {
        self.bytes
    }

    /// Unwraps the transaction.
    #[must_use]
    pub fn into_inner(self) -> Transaction {
        self.transaction
    }
}

/// Length of the encoding of `transaction` in bytes, as counted against block and pool limits.
#[must_use]
pub fn transaction_bytes(transaction: &Transaction) -> usize {
    encoded_len(transaction)
}
