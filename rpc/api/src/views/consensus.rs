//! Validators and voting.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::{AddressPrefix, Hash, PublicKey, Validator, ValidatorSet};

use super::TallyView;
use crate::block_ref::BlockRef;
use crate::scalars::{AddressText, Bytes, CursorArg, Shown, U64};

/// State of consensus: `consensus_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusStatusView {
    /// The height being decided.
    pub height: U64,
    /// The round.
    pub round: u32,
    /// `propose`, `prevote`, `precommit`, `commit` or `idle`.
    pub step: String,
    /// Proposer of that round; absent when the schedule is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposer: Option<Shown<PublicKey>>,
    /// True if this node votes.
    pub is_validator: bool,
    /// The key that it votes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<Shown<PublicKey>>,
    /// Time of the newest commit on this node, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit_ms: Option<U64>,
    /// The double-sign guard keeps this node from voting at this height.
    #[serde(default)]
    pub abstaining: bool,
    /// Expired timeouts since the start.
    #[serde(default)]
    pub timeouts: U64,
    /// Prevotes seen in this round; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prevotes: Option<TallyView>,
    /// Precommits seen in this round; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precommits: Option<TallyView>,
}

/// One validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorView {
    /// Public key: identifies the validator and verifies its votes.
    pub key: Shown<PublicKey>,
    /// Voting power.
    pub power: U64,
    /// The account that its fees are credited to.
    pub payout: Shown<AddressText>,
}

impl ValidatorView {
    /// The view of the validator on this chain.
    #[must_use]
    pub const fn new(validator: &Validator, prefix: AddressPrefix) -> Self {
        Self {
            key: Shown(validator.key),
            power: U64(validator.power.0),
            payout: Shown(AddressText::new(validator.payout, prefix)),
        }
    }
}

/// The validators of a height: `consensus_getValidators`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorSetView {
    /// Hash of the set, contained in headers.
    pub hash: Shown<Hash>,
    /// Summed power.
    pub total_power: U64,
    /// Ascending by key.
    pub validators: Vec<ValidatorView>,
}

impl ValidatorSetView {
    /// The view of the set on this chain.
    #[must_use]
    pub fn new(set: &ValidatorSet, prefix: AddressPrefix) -> Self {
        Self {
            hash: Shown(set.hash()),
            total_power: U64(set.total_power()),
            validators: set
                .members()
                .iter()
                .map(|v| ValidatorView::new(v, prefix))
                .collect(),
        }
    }
}

/// Options of `consensus_getSchedule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScheduleOptions {
    /// The first height; default the next one. Up to 1000 heights ahead of it.
    pub from_height: Option<U64>,
    /// Number of heights, 1 to 1000, default 10.
    pub count: Option<u32>,
}

/// Past proposer of a height, or scheduled one if no turn is missed before:
/// `consensus_getSchedule`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposerTurnView {
    /// The height.
    pub height: U64,
    /// The proposer of round 0.
    pub proposer: Shown<PublicKey>,
    /// The round in which the block was created; absent for future heights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// The proposer that created it; absent for future heights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Shown<PublicKey>>,
    /// Validators whose turns passed without a block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<Shown<PublicKey>>,
}

/// Options of `consensus_getValidator`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ValidatorOptions {
    /// Number of newest blocks to include, 1 to 1000, default 100.
    pub window: Option<u32>,
}

/// Record of a validator in the newest blocks: `consensus_getValidator`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorRecordView {
    /// Key, power and payout.
    #[serde(flatten)]
    pub validator: ValidatorView,
    /// First included block.
    pub from_height: U64,
    /// Last included block.
    pub to_height: U64,
    /// Number of blocks that it created.
    pub proposed: u32,
    /// Number of its turns that passed without a block of it.
    pub missed: u32,
    /// Number of included certificates.
    pub certificates: u32,
    /// Of these, signed by it. A certificate holds a quorum, not all votes: a slow vote is left out.
    pub signed: u32,
    /// `signed` of `certificates`, in thousandths.
    pub uptime_permille: u32,
    /// Its turns go last below this height; absent when it serves no penalty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty_until: Option<U64>,
}

/// Options of `consensus_getEvidence`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EvidenceOptions {
    /// First block to scan; default: 10,000 blocks back.
    pub from: Option<BlockRef>,
    /// Items per page, 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// Cursor of the previous page.
    pub cursor: Option<CursorArg>,
}

/// Double-sign evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// Hash that identifies it.
    pub hash: Shown<Hash>,
    /// `duplicateVote`, `duplicateProposal` or `duplicatePart`.
    pub kind: String,
    /// The validator that signed both.
    pub offender: Shown<PublicKey>,
    /// Height of the two signatures.
    pub height: U64,
    /// The block that includes it; absent while it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<U64>,
    /// The evidence, encoded.
    pub raw: Shown<Bytes>,
}
