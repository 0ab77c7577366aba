//! Blocks, headers, certificates, and the chain as a whole.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::{ChainParams, CommitCertificate, FaultModel, Hash, Header, PublicKey, Signature};

use super::{PohEntryView, TransactionView};
use crate::block_ref::BlockRef;
use crate::scalars::{CursorArg, Shown, U64, or_default};

/// The chain: `chain_getInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainInfo {
    /// Name of the chain.
    pub chain_id: String,
    /// Name of the network, from genesis.
    pub network: String,
    /// Hash of block 0.
    pub genesis_hash: Shown<Hash>,
    /// The part of addresses before the `1`.
    pub address_prefix: String,
    /// Symbol of the currency. All amounts are base units; see `decimals`.
    pub symbol: String,
    /// Decimal places between the symbol's unit and the base unit.
    pub decimals: u8,
    /// Version of blocks.
    pub protocol_version: u16,
    /// Version of this interface, semantic.
    pub api_version: String,
    /// True if this is a chain for development.
    pub dev: bool,
    /// The chain's rules.
    pub params: ParamsView,
    /// The newest block.
    pub head: HeadView,
    /// The oldest height whose block this node has.
    pub earliest: U64,
}

/// The chain's parameters, with the units in the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParamsView {
    /// Hash of the parameters, contained in every header.
    pub hash: Shown<Hash>,
    /// `byzantine` (quorum above 2/3) or `crash` (quorum above 1/2).
    pub fault_model: String,
    /// Nominal milliseconds between two full blocks.
    pub block_time_target_ms: U64,
    /// Nominal milliseconds of a tick.
    pub tick_ms: u32,
    /// Ticks of a block.
    pub ticks_per_block: u16,
    /// Hashes of a tick.
    pub hashes_per_tick: u32,
    /// Maximum bytes of the transactions of a block.
    pub block_bytes_max: u32,
    /// Maximum number of transactions of a block.
    pub block_transactions_max: u32,
    /// Maximum bytes of a transaction.
    pub transaction_bytes_max: u32,
    /// Maximum number of operations of a transaction.
    pub operations_max: u32,
    /// Maximum bytes of a slot's value.
    pub slot_value_bytes_max: u32,
    /// Maximum number of operations of a block.
    pub block_operations_max: u32,
    /// Maximum number of slots that a block sets or clears.
    pub block_slots_max: u32,
    /// Maximum bytes of the old and new rows of a block, each old row counted at its largest.
    pub block_state_bytes_max: u32,
    /// Maximum bytes of the evidence of a block.
    pub block_evidence_bytes_max: u32,
    /// Maximum number of slots that a transaction sets or clears.
    pub transaction_slots_max: u32,
    /// Maximum bytes of the old and new rows of a transaction.
    pub transaction_state_bytes_max: u32,
    /// Maximum number of heights that `validUntil` may be ahead.
    pub validity_window: U64,
    /// Minimum fee of a transaction, base units.
    pub fee_min: U64,
    /// Minimum fee per byte on top of it, base units.
    pub fee_per_byte: U64,
    /// Minimum fee per slot that is set or cleared, on top of both, base units.
    pub fee_per_slot: U64,
    /// Burned when an account is created, base units.
    pub account_price: U64,
    /// Burned per byte of a slot, base units.
    pub storage_byte_price: U64,
    /// Maximum time without a block, milliseconds; 0 means no empty blocks.
    pub empty_block_interval_ms: u32,
    /// Timeouts in milliseconds: first propose, prevote, precommit; growth per round; maximum.
    pub timeouts_ms: [u32; 5],
    /// Maximum age of evidence, in heights.
    pub evidence_age_max: U64,
}

impl From<&ChainParams> for ParamsView {
    fn from(params: &ChainParams) -> Self {
        Self {
            hash: Shown(params.hash()),
            fault_model: match params.fault_model {
                FaultModel::Byzantine => "byzantine".to_owned(),
                FaultModel::Crash => "crash".to_owned(),
            },
            block_time_target_ms: U64(params.ticks_ms(params.ticks_per_block)),
            tick_ms: params.tick_ms,
            ticks_per_block: params.ticks_per_block,
            hashes_per_tick: params.hashes_per_tick,
            block_bytes_max: params.block_bytes_max,
            block_transactions_max: params.block_transactions_max,
            transaction_bytes_max: params.transaction_bytes_max,
            operations_max: params.operations_max,
            slot_value_bytes_max: params.slot_value_bytes_max,
            block_operations_max: params.block_operations_max,
            block_slots_max: params.block_slots_max,
            block_state_bytes_max: params.block_state_bytes_max,
            block_evidence_bytes_max: params.block_evidence_bytes_max,
            transaction_slots_max: params.transaction_slots_max,
            transaction_state_bytes_max: params.transaction_state_bytes_max,
            validity_window: U64(params.validity_window),
            fee_min: params.fee_min.into(),
            fee_per_byte: params.fee_per_byte.into(),
            fee_per_slot: params.fee_per_slot.into(),
            account_price: params.account_price.into(),
            storage_byte_price: params.storage_byte_price.into(),
            empty_block_interval_ms: params.empty_block_interval_ms,
            timeouts_ms: [
                params.timeout_propose_ms,
                params.timeout_prevote_ms,
                params.timeout_precommit_ms,
                params.timeout_delta_ms,
                params.timeout_max_ms,
            ],
            evidence_age_max: U64(params.evidence_age_max),
        }
    }
}

/// Summary of the newest block: `chain_getHead`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadView {
    /// Its height.
    pub height: U64,
    /// Its hash.
    pub hash: Shown<Hash>,
    /// Root of the state after it.
    pub state_root: Shown<Hash>,
    /// Its time, milliseconds since 1970.
    pub timestamp_ms: U64,
    /// Its proposer.
    pub proposer: Shown<PublicKey>,
    /// Transactions in it.
    pub tx_count: u32,
}

impl HeadView {
    /// The head with this header.
    #[must_use]
    pub fn new(header: &Header, hash: Hash, tx_count: u32) -> Self {
        Self {
            height: header.height.into(),
            hash: Shown(hash),
            state_root: Shown(header.state_root),
            timestamp_ms: header.time.into(),
            proposer: Shown(header.proposer),
            tx_count,
        }
    }
}

/// A header and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderView {
    /// The block's hash, which validators sign.
    pub hash: Shown<Hash>,
    /// Version of the block.
    pub version: u16,
    /// Position in the chain; genesis is 0.
    pub height: U64,
    /// The round in which the block was created.
    pub round: u32,
    /// Its proposer; zeros for genesis.
    pub proposer: Shown<PublicKey>,
    /// The parent's hash; zeros for genesis.
    pub parent_hash: Shown<Hash>,
    /// Milliseconds since 1970.
    pub timestamp_ms: U64,
    /// Ticks in the body.
    pub ticks: u16,
    /// Hashes of the Proof of History since genesis.
    pub poh_sequence: U64,
    /// The last tick's hash.
    pub poh_hash: Shown<Hash>,
    /// Hash of the encoded body.
    pub body_hash: Shown<Hash>,
    /// Merkle root over the ticks' transaction roots.
    pub transaction_root: Shown<Hash>,
    /// Merkle root over the receipts.
    pub receipt_root: Shown<Hash>,
    /// Merkle root over the evidence.
    pub evidence_root: Shown<Hash>,
    /// Root of the state after the block.
    pub state_root: Shown<Hash>,
    /// Hash of the validators of this height.
    pub validators_hash: Shown<Hash>,
    /// Hash of the validators of the next height.
    pub next_validators_hash: Shown<Hash>,
    /// Hash of the chain's parameters.
    pub params_hash: Shown<Hash>,
    /// Hash of the parent's certificate; zeros at heights 0 and 1.
    pub last_commit_hash: Shown<Hash>,
}

impl HeaderView {
    /// The header with its hash, which the caller provides.
    #[must_use]
    pub fn new(header: &Header, hash: Hash) -> Self {
        Self {
            hash: Shown(hash),
            version: header.version,
            height: header.height.into(),
            round: header.round.0,
            proposer: Shown(header.proposer),
            parent_hash: Shown(header.parent),
            timestamp_ms: header.time.into(),
            ticks: header.ticks,
            poh_sequence: U64(header.poh_seq),
            poh_hash: Shown(header.poh_hash),
            body_hash: Shown(header.body_hash),
            transaction_root: Shown(header.tx_root),
            receipt_root: Shown(header.receipt_root),
            evidence_root: Shown(header.evidence_root),
            state_root: Shown(header.state_root),
            validators_hash: Shown(header.validators_hash),
            next_validators_hash: Shown(header.next_validators_hash),
            params_hash: Shown(header.params_hash),
            last_commit_hash: Shown(header.last_commit_hash),
        }
    }
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockView {
    /// The header's fields.
    #[serde(flatten)]
    pub header: HeaderView,
    /// Transactions in it.
    pub tx_count: u32,
    /// The transactions, in the detail that `transactions` requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<BlockTransactions>,
    /// The certificate, when requested; absent for genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateView>,
    /// The ticks, when requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poh: Option<Vec<PohEntryView>>,
}

/// The transactions of a block, in block order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BlockTransactions {
    /// Their hashes.
    Hashes(Vec<Shown<Hash>>),
    /// All of them.
    Full(Vec<TransactionView>),
}

/// Detail of a block's transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransactionDetail {
    /// Their count only.
    None,
    /// Their hashes.
    #[default]
    Hashes,
    /// Full transactions.
    Full,
}

/// Proof of a block's finality: the precommits of a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// The block's height.
    pub height: U64,
    /// The round in which it was decided.
    pub round: u32,
    /// The block's hash.
    pub block_hash: Shown<Hash>,
    /// The precommits, ascending by validator.
    pub signatures: Vec<CommitSignatureView>,
}

/// One precommit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSignatureView {
    /// The signing validator.
    pub validator: Shown<PublicKey>,
    /// The signature.
    pub signature: Shown<Signature>,
}

impl From<&CommitCertificate> for CertificateView {
    fn from(certificate: &CommitCertificate) -> Self {
        let signatures = certificate.signatures.iter().map(|entry| CommitSignatureView {
            validator: Shown(entry.validator),
            signature: Shown(entry.signature),
        });
        Self {
            height: certificate.height.into(),
            round: certificate.round.0,
            block_hash: Shown(certificate.block),
            signatures: signatures.collect(),
        }
    }
}

/// Options of `chain_getBlock`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BlockOptions {
    /// `none`, `hashes` (default) or `full`.
    #[serde(deserialize_with = "or_default")]
    pub transactions: TransactionDetail,
    /// True to add the certificate.
    #[serde(deserialize_with = "or_default")]
    pub certificate: bool,
    /// True to add the ticks.
    #[serde(deserialize_with = "or_default")]
    pub poh: bool,
}

/// Options of `chain_getBlocks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BlockRangeOptions {
    /// First block, inclusive; default `earliest`.
    pub from: Option<BlockRef>,
    /// Last block, inclusive; default `latest`.
    pub to: Option<BlockRef>,
    /// `asc` or `desc` (default).
    pub order: Option<Order>,
    /// Items per page, 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// Cursor of the previous page.
    pub cursor: Option<CursorArg>,
    /// `none` (default) or `hashes`; full blocks are read one by one.
    pub transactions: Option<TransactionDetail>,
}

/// Direction of a list of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

/// Supply of the currency, base units: `chain_getSupply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyView {
    /// Sum of all balances: created minus burned.
    pub total: U64,
    /// Created by genesis.
    pub genesis: U64,
    /// Burned since genesis.
    pub burned: U64,
    /// Created since genesis; always zero yet.
    pub minted: U64,
    /// Locked by validators; always zero yet.
    pub staked: U64,
}

/// Fees for a transaction of `bytes` bytes, base units: `chain_getFeeSuggestion`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeSuggestion {
    /// The lowest fee that is accepted now.
    pub slow: U64,
    /// Above the lowest by a margin.
    pub normal: U64,
    /// Above the fees of the majority of pooled transactions.
    pub fast: U64,
    /// Transaction size that the figures apply to: one transfer.
    pub bytes: u32,
    /// Fee for each further byte.
    pub per_byte: U64,
    /// Fee for each slot that is set or cleared.
    pub per_slot: U64,
}

/// Options of `chain_getStats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StatsOptions {
    /// Number of newest blocks to include, 2 to 1000, default 100.
    pub window: Option<u32>,
}

/// Statistics over the newest blocks: `chain_getStats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsView {
    /// First included block.
    pub from_height: U64,
    /// Last included block.
    pub to_height: U64,
    /// Transactions in them.
    pub tx_count: U64,
    /// Transactions per 1000 seconds of chain time.
    pub tx_per_1000_s: U64,
    /// Median time between two blocks, milliseconds.
    pub block_time_p50_ms: U64,
    /// 95th percentile, milliseconds.
    pub block_time_p95_ms: U64,
    /// Blocks without a transaction.
    pub empty_blocks: u32,
}
