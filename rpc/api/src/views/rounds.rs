//! Record of the rounds of a height.

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
    /// The decided block; absent while the height is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Shown<Hash>>,
    /// Summed power of the validators, to compare votes with.
    pub total_power: U64,
    /// Ascending by round.
    pub rounds: Vec<RoundView>,
    /// Number of earlier rounds that are not listed, because there were too many.
    pub rounds_left_out: u32,
    /// Explanation for humans.
    pub why: String,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundView {
    /// Its number.
    pub round: u32,
    /// Its proposer; absent when the round has not begun on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposer: Option<Shown<PublicKey>>,
    /// `open`, `decided`, or `passed` when the next one began.
    pub outcome: String,
    /// The node's observations; absent when read from the chain.
    #[serde(flatten)]
    pub observed: Option<ObservedRoundView>,
}

/// A node's observations of a round. Times are milliseconds after the round began there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedRoundView {
    /// Start of the round on this node, milliseconds since 1970.
    pub started_ms: U64,
    /// Duration on this node; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<U64>,
    /// The proposed block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Shown<Hash>>,
    /// Arrival time of the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal_after_ms: Option<U64>,
    /// `none`, `valid` or `invalid`.
    pub body: String,
    /// Time of the verdict on the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_after_ms: Option<U64>,
    /// Prevotes.
    pub prevotes: TallyView,
    /// Precommits.
    pub precommits: TallyView,
    /// Expired timeouts.
    pub timeouts: Vec<TimeoutView>,
}

/// Votes of one kind, by power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TallyView {
    /// Power of all voters.
    pub power: U64,
    /// Validators that voted.
    pub voters: u32,
    /// Power for each block.
    pub blocks: Vec<BlockPowerView>,
    /// Power for no block.
    pub nil: U64,
    /// Power for further blocks, when there were too many to count separately.
    pub other: U64,
    /// Validators whose votes did not arrive.
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

/// An expired timeout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutView {
    /// `propose`, `prevote` or `precommit`.
    pub step: String,
    /// Time of the expiry.
    pub after_ms: U64,
}
