//! Why a height took the rounds it took.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::{Hash, PublicKey};

use crate::scalars::{Shown, U64};

/// The rounds of a height: `consensus_getRounds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundsView {
    /// The height.
    pub height: U64,
    /// `observed` by this node, or read from the `chain`, which keeps less.
    pub source: String,
    /// The block that was decided; absent while the height is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Shown<Hash>>,
    /// Summed power of the validators, to compare votes with.
    pub total_power: U64,
    /// Ascending by round.
    pub rounds: Vec<RoundView>,
    /// Earlier rounds that are not listed, because there were too many.
    pub rounds_left_out: u32,
    /// In words, for people.
    pub why: String,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundView {
    /// Its number.
    pub round: u32,
    /// Whose turn it was; absent when the round has not begun on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposer: Option<Shown<PublicKey>>,
    /// `open`, `decided`, or `passed` when the next one began.
    pub outcome: String,
    /// What the node saw of it; absent when read from the chain.
    #[serde(flatten)]
    pub observed: Option<ObservedRoundView>,
}

/// What a node saw of a round. Times are milliseconds after the round began there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedRoundView {
    /// When it began here, milliseconds since 1970.
    pub started_ms: U64,
    /// How long it took here; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<U64>,
    /// The block that was proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Shown<Hash>>,
    /// When the proposal came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal_after_ms: Option<U64>,
    /// `none`, `valid` or `invalid`.
    pub body: String,
    /// When the body was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_after_ms: Option<U64>,
    /// First votes.
    pub prevotes: TallyView,
    /// Second votes.
    pub precommits: TallyView,
    /// Waits that ran out.
    pub timeouts: Vec<TimeoutView>,
}

/// Votes of one kind, by power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TallyView {
    /// Power of everybody who voted.
    pub power: U64,
    /// Validators that voted.
    pub voters: u32,
    /// Power for each block.
    pub blocks: Vec<BlockPowerView>,
    /// Power for no block.
    pub nil: U64,
    /// Power for further blocks, when there were too many to tell apart.
    pub other: U64,
    /// Whose vote did not come.
    pub missing: Vec<Shown<PublicKey>>,
}

/// Power for a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockPowerView {
    /// The block.
    pub hash: Shown<Hash>,
    /// Power for it.
    pub power: U64,
}

/// A wait that ran out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutView {
    /// `propose`, `prevote` or `precommit`.
    pub step: String,
    /// When.
    pub after_ms: U64,
}
