//! The Proof of History.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::Hash;

use crate::scalars::{CursorArg, Shown, U64};

/// Progress of the proposer's clock: `poh_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PohStatusView {
    /// The height in progress.
    pub height: U64,
    /// Number of its completed ticks.
    pub tick: u32,
    /// The newest hash.
    pub hash: Shown<Hash>,
    /// Hashes per tick.
    pub hashes_per_tick: u32,
    /// Ticks per block.
    pub ticks_per_block: u16,
    /// Hashes per second measured on the node's machine; 0 when not measured.
    pub measured_hash_rate: U64,
    /// Delay of the newest tick of the node's own block, milliseconds; 0 when it makes none.
    pub drift_ms: i32,
}

/// Timing parameters of the chain: `poh_getParams`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PohParamsView {
    /// Nominal milliseconds of a tick.
    pub tick_ms: u32,
    /// Hashes of a tick, exactly.
    pub hashes_per_tick: u32,
    /// Ticks of a block created in round 0.
    pub ticks_per_block: u16,
    /// Ticks of a block created in a later round.
    pub ticks_per_later_round_block: u16,
    /// Ticks before the end of a block at which intake closes.
    pub quiet_ticks: u16,
}

/// One tick of a block: `poh_getEntries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PohEntryView {
    /// Position in the block, from zero.
    pub index: u32,
    /// Hashes of the tick.
    pub num_hashes: u32,
    /// The hash at its end.
    pub hash: Shown<Hash>,
    /// The mixed-in hash: the Merkle root of its transactions, zeros when there are none.
    pub mixin: Shown<Hash>,
    /// Its transactions, in order.
    pub tx_hashes: Vec<Shown<Hash>>,
}

/// Options of `poh_getEntries`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EntriesOptions {
    /// Items per page, 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// Cursor of the previous page.
    pub cursor: Option<CursorArg>,
}

/// Verdict on the ticks of blocks: `poh_verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PohVerdict {
    /// True if the ticks of all blocks follow from each other.
    pub valid: bool,
    /// Number of verified blocks.
    pub blocks: u32,
    /// Hashes computed.
    pub hashes: U64,
    /// Height of the first invalid block, with its first bad tick in `reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<U64>,
    /// Description of its fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Milliseconds taken.
    pub elapsed_ms: U64,
}

/// Position of a transaction in the order: `poh_getTransactionOrder`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionOrderView {
    /// The block's height.
    pub height: U64,
    /// Position in the block, from zero.
    pub index: u32,
    /// The tick that contains it, from zero.
    pub tick: u32,
    /// Position in the tick, from zero.
    pub entry: u32,
    /// The hash before the tick: the transaction entered after it was known.
    pub prev_hash: Shown<Hash>,
    /// The hash that the transaction is mixed into.
    pub next_hash: Shown<Hash>,
    /// Hashes of the Proof of History since genesis at the end of the tick.
    pub sequence: U64,
}
