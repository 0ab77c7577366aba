//! Transactions: unsigned, raw, waiting, included.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::limits::OPERATIONS_MAX;
use vibecoin_primitives::{Address, AddressPrefix, Hash, Height, Outcome, Receipt, Signature, Transaction};

use super::{Context, OperationView};
use crate::error::ApiError;
use crate::list::AtMost;
use crate::scalars::{AddressArg, AddressText, Bytes, Shown, U64, or_default};

/// A transaction before it is signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnsignedTransaction {
    /// Who will sign.
    pub sender: AddressArg,
    /// The sender's next nonce.
    pub nonce: U64,
    /// Base units for the proposer.
    pub fee: U64,
    /// Last height at which it may be in a block.
    pub valid_until: U64,
    /// One or more.
    pub operations: AtMost<OperationView, OPERATIONS_MAX>,
}

/// A transaction as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    /// Names the transaction; does not depend on the signature.
    pub hash: Shown<Hash>,
    /// Who pays and signs.
    pub sender: Shown<AddressText>,
    /// Its nonce.
    pub nonce: U64,
    /// Base units for the proposer.
    pub fee: U64,
    /// Last height at which it may be in a block.
    pub valid_until: U64,
    /// Applied in order, all or none.
    pub operations: Vec<OperationView>,
    /// The signature.
    pub signature: Shown<Signature>,
    /// Hash over all bytes, signature included: its leaf in the tick's Merkle tree.
    pub leaf_hash: Shown<Hash>,
    /// Bytes of its encoding.
    pub bytes: u32,
    /// Where it is; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<LocationView>,
}

impl Eq for TransactionView {}

impl TransactionView {
    /// The transaction as shown on this chain.
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

/// A place in the chain.
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

/// What became of a transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    /// The transaction.
    pub hash: Shown<Hash>,
    /// The block's height.
    pub height: U64,
    /// Position in the block, from zero.
    pub index: u32,
    /// Whether all operations applied. When not, none did, and fee and nonce were spent.
    pub success: bool,
    /// Base units paid to the proposer.
    pub fee: U64,
    /// Base units burned for new accounts and storage.
    pub burned: U64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
}

/// Why a transaction in a block failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// Position of the operation, from zero.
    pub operation: u32,
    /// A stable symbol.
    pub reason: String,
    /// For people.
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

/// How far a submission waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wait {
    /// Answer with the hash once the transaction is read; what the pool says is not waited for.
    None,
    /// Until the pool has taken or refused it.
    #[default]
    Mempool,
    /// Until it is in a block, which is final.
    Final,
}

/// Longest wait that a caller may ask for, in milliseconds.
pub const TIMEOUT_MS_MAX: u64 = 30_000;
/// The wait when the caller names none, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// Options of `tx_submit` and `tx_submitBatch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SubmitOptions {
    /// `none`, `mempool` (default) or `final`.
    #[serde(deserialize_with = "or_default")]
    pub wait: Wait,
    /// Milliseconds to wait for `final`, at most 30000, default 10000.
    pub timeout_ms: Option<U64>,
    /// Wait at most two seconds until the node has this height, else 1202.
    pub min_height: Option<U64>,
}

/// Options of `tx_wait`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WaitOptions {
    /// Milliseconds to wait, at most 30000, default 10000.
    pub timeout_ms: Option<U64>,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransactionState {
    /// Never seen here, or long forgotten.
    Unknown,
    /// In the pool, next in line for its sender.
    Pending,
    /// In the pool, behind a gap of nonces.
    Queued,
    /// In a block: final.
    Included,
    /// Left the pool; `reason` says why.
    Dropped,
    /// Another transaction took its nonce; `by` names it.
    Replaced,
    /// `validUntil` passed.
    Expired,
}

/// Where a transaction stands, with what is known: `tx_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// The transaction.
    pub hash: Shown<Hash>,
    /// Where it stands.
    pub status: TransactionState,
    /// The block, when included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<U64>,
    /// Position in the block, when included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Whether the operations applied, when included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Why it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Shown<Hash>>,
    /// The nonce that is missing first, when queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_nonce: Option<U64>,
}

/// The answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Where the transaction stands; the hash is in it.
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
        /// Why.
        error: ApiError,
    },
    /// Taken.
    Taken(Submitted),
}

/// The bytes to sign, and how to make a raw transaction of them: `tx_encode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncodedTransaction {
    /// Sign these with ed25519.
    pub signing_bytes: Shown<Bytes>,
    /// The raw transaction is these bytes followed by the 64 bytes of the signature.
    pub unsigned_raw: Shown<Bytes>,
    /// The transaction's hash, which the signature does not change.
    pub hash: Shown<Hash>,
    /// Bytes of the raw transaction.
    pub bytes: u32,
    /// Least fee for that size, base units.
    pub fee_min: U64,
}

/// A raw transaction in readable form, with checks that need no state: `tx_decode`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecodedTransaction {
    /// The transaction.
    pub transaction: TransactionView,
    /// Whether it names this chain.
    pub chain_matches: bool,
    /// Whether the signature rule holds; false when it names another chain.
    pub signature_valid: bool,
    /// Least fee for its size, base units.
    pub fee_min: U64,
    /// The first thing that is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a transaction would do: `tx_simulate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulationView {
    /// The state it was tried on.
    pub context: Context,
    /// The receipt it would get in the next block.
    pub receipt: ReceiptView,
}

/// The fee of a transaction: `tx_estimateFee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeEstimate {
    /// Least fee, base units.
    pub fee: U64,
    /// Bytes of the signed transaction.
    pub bytes: u32,
}
