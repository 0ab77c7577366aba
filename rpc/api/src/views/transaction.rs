//! Transactions: unsigned, raw, waiting, included.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::limits::OPERATIONS_MAX;
use vibecoin_primitives::{
    Address, AddressPrefix, Hash, Height, Outcome, Receipt, Signature, Transaction, TransactionBody,
};

use super::{Context, OperationView};
use crate::error::ApiError;
use crate::list::AtMost;
use crate::scalars::{AddressArg, AddressText, Bytes, Shown, U64, or_default};

/// A transaction before it is signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnsignedTransaction {
    /// The signer's address.
    pub sender: AddressArg,
    /// The sender's next nonce.
    pub nonce: U64,
    /// Base units for the proposer.
    pub fee: U64,
    /// Last height whose block may include it.
    pub valid_until: U64,
    /// The operations, one or more.
    pub operations: AtMost<OperationView, OPERATIONS_MAX>,
}

impl UnsignedTransaction {
    /// The view of a body, with addresses in this notation.
    #[must_use]
    pub fn new(body: &TransactionBody, prefix: AddressPrefix) -> Self {
        let operations = body.operations.iter();
        Self {
            sender: AddressText::new(Address(body.sender.0), prefix).into(),
            nonce: body.nonce.into(),
            fee: body.fee.into(),
            valid_until: body.valid_until.into(),
            operations: operations
                .map(|operation| OperationView::new(operation, prefix))
                .collect(),
        }
    }

    /// Converts the view to the body of a transaction on the chain with this genesis hash and prefix.
    ///
    /// # Errors
    /// 1000 and 1001 for texts that are malformed or of another network, 1402 for too many operations.
    pub fn body(self, genesis: &Hash, prefix: &AddressPrefix) -> Result<TransactionBody, ApiError> {
        let operations = self.operations.get("operations")?.into_iter();
        Ok(TransactionBody {
            chain: genesis.prefix(),
            sender: self.sender.get()?.on(prefix)?.public_key(),
            nonce: self.nonce.into(),
            fee: self.fee.into(),
            valid_until: self.valid_until.into(),
            operations: operations
                .map(|operation| operation.get(prefix))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    /// Transaction id; does not depend on the signature.
    pub hash: Shown<Hash>,
    /// The account that pays and signs.
    pub sender: Shown<AddressText>,
    /// Its nonce.
    pub nonce: U64,
    /// Base units for the proposer.
    pub fee: U64,
    /// Last height whose block may include it.
    pub valid_until: U64,
    /// Operations, applied in order, all or none.
    pub operations: Vec<OperationView>,
    /// The signature.
    pub signature: Shown<Signature>,
    /// Hash over all bytes, signature included: its leaf in the tick's Merkle tree.
    pub leaf_hash: Shown<Hash>,
    /// Bytes of its encoding.
    pub bytes: u32,
    /// Its location; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<LocationView>,
}

impl Eq for TransactionView {}

impl TransactionView {
    /// The view of the transaction on this chain.
    #[must_use]
    pub fn new(
        transaction: &Transaction,
        id: Hash,
        prefix: AddressPrefix,
        location: Option<LocationView>,
    ) -> Self {
        let body = transaction.body();
        let bytes = vibecoin_primitives::transaction_bytes(transaction);
        Self {
            hash: Shown(id),
            sender: Shown(AddressText::new(Address(body.sender.0), prefix)),
            nonce: body.nonce.into(),
            fee: body.fee.into(),
            valid_until: body.valid_until.into(),
            operations: body
                .operations
                .iter()
                .map(|op| OperationView::new(op, prefix))
                .collect(),
            signature: Shown(*transaction.signature()),
            leaf_hash: Shown(transaction.hash()),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            location,
        }
    }
}

/// Location in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocationView {
    /// The block's height.
    pub height: U64,
    /// The block's hash.
    pub block_hash: Shown<Hash>,
    /// Position in the block, from zero.
    pub index: u32,
}

/// Outcome of a transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    /// The transaction.
    pub hash: Shown<Hash>,
    /// The block's height.
    pub height: U64,
    /// Position in the block, from zero.
    pub index: u32,
    /// True if all operations applied. Otherwise none did, and fee and nonce were spent.
    pub success: bool,
    /// Base units paid to the proposer.
    pub fee: U64,
    /// Base units burned for new accounts and storage.
    pub burned: U64,
    /// Reason of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
}

/// Failure of a transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// Position of the operation, from zero.
    pub operation: u32,
    /// A stable symbol.
    pub reason: String,
    /// Description for humans.
    pub message: String,
}

impl FailureView {
    fn new(outcome: &Outcome) -> Option<Self> {
        let Outcome::Failed { operation, reason } = outcome else {
            return None;
        };
        // The variant's name in snake case: `InsufficientFunds { .. }` becomes `insufficient_funds`.
        let name: String = format!("{reason:?}")
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        let mut symbol = String::with_capacity(name.len().saturating_add(4));
        for c in name.chars() {
            if c.is_ascii_uppercase() && !symbol.is_empty() {
                symbol.push('_');
            }
            symbol.push(c.to_ascii_lowercase());
        }
        Some(Self {
            operation: *operation,
            reason: symbol,
            message: reason.to_string(),
        })
    }
}

impl ReceiptView {
    /// The receipt at this place.
    #[must_use]
    pub fn new(receipt: &Receipt, height: Height, index: u32) -> Self {
        let receipt = receipt.v1();
        let failure = FailureView::new(&receipt.outcome);
        Self {
            hash: Shown(receipt.transaction),
            height: height.into(),
            index,
            success: failure.is_none(),
            fee: receipt.fee.into(),
            burned: receipt.burned.into(),
            failure,
        }
    }
}

/// Extent of a submission's wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wait {
    /// Answer with the hash once the transaction is read, without waiting for the pool's verdict.
    None,
    /// Until the pool has accepted or refused it.
    #[default]
    Mempool,
    /// Until it is in a block, which is final.
    Final,
}

/// Maximum wait that a caller may request, in milliseconds.
pub const TIMEOUT_MS_MAX: u64 = 30_000;
/// Default wait, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// Options of `tx_submit` and `tx_submitBatch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SubmitOptions {
    /// `none`, `mempool` (default) or `final`.
    #[serde(deserialize_with = "or_default")]
    pub wait: Wait,
    /// Milliseconds to wait for `final`, up to 30000, default 10000.
    pub timeout_ms: Option<U64>,
    /// Wait up to two seconds until the node has this height, else 1202.
    pub min_height: Option<U64>,
}

/// Options of `tx_wait`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WaitOptions {
    /// Milliseconds to wait, up to 30000, default 10000.
    pub timeout_ms: Option<U64>,
}

/// Status of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransactionState {
    /// Never seen here, or long forgotten.
    Unknown,
    /// In the pool, next in line for its sender. With `reason`: it left this node's pool, for `by` if it was
    /// replaced, and a block may still include it.
    Pending,
    /// In the pool, behind a gap of nonces.
    Queued,
    /// In a block: final.
    Included,
    /// Left the pool, and another transaction used its nonce: final. `reason` has the cause.
    Dropped,
    /// Another transaction with its nonce is in a block: final. `by` is its hash.
    Replaced,
    /// `validUntil` passed and no block has it: final.
    Expired,
}

/// Status of a transaction, with further facts: `tx_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// The transaction.
    pub hash: Shown<Hash>,
    /// State of the transaction.
    pub status: TransactionState,
    /// The block, when included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<U64>,
    /// Position in the block, when included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// True if the operations applied, when included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Reason for which it left the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Hash of the transaction that replaced it in the pool, when pending, or in a block, when replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Shown<Hash>>,
    /// The nonce that is missing first, when queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_nonce: Option<U64>,
}

/// The answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Status of the transaction, with its hash.
    #[serde(flatten)]
    pub status: StatusView,
    /// The receipt, when included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptView>,
}

/// One entry of the answer to `tx_submitBatch`, in the order of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BatchEntry {
    /// Refused; the others are not affected.
    Refused {
        /// The error.
        error: ApiError,
    },
    /// Accepted.
    Taken(Submitted),
}

/// The bytes to sign, and the parts of the raw transaction: `tx_encode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncodedTransaction {
    /// Message to sign with ed25519.
    pub signing_bytes: Shown<Bytes>,
    /// The raw transaction is these bytes followed by the 64 bytes of the signature.
    pub unsigned_raw: Shown<Bytes>,
    /// The transaction's hash, which the signature does not change.
    pub hash: Shown<Hash>,
    /// Bytes of the raw transaction.
    pub bytes: u32,
    /// Minimum fee for that size, base units.
    pub fee_min: U64,
}

/// A raw transaction in readable form, with checks that need no state: `tx_decode`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecodedTransaction {
    /// The transaction.
    pub transaction: TransactionView,
    /// True if it is for this chain.
    pub chain_matches: bool,
    /// True if the signature rule holds; false when it is for another chain.
    pub signature_valid: bool,
    /// Minimum fee for its size, base units.
    pub fee_min: U64,
    /// The first fault of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Expected result of a transaction: `tx_simulate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulationView {
    /// The state that it was executed on.
    pub context: Context,
    /// The receipt that it would get in the next block.
    pub receipt: ReceiptView,
}

/// The fee of a transaction: `tx_estimateFee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeEstimate {
    /// Minimum fee, base units.
    pub fee: U64,
    /// Bytes of the signed transaction.
    pub bytes: u32,
}
