//! Validators and voting.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::{AddressPrefix, Hash, PublicKey, Validator, ValidatorSet};

use crate::scalars::{AddressText, Shown, U64};

/// Where consensus stands: `consensus_getStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusStatusView {
    /// The height being decided.
    pub height: U64,
    /// The round.
    pub round: u32,
    /// `propose`, `prevote`, `precommit`, `commit` or `idle`.
    pub step: String,
    /// Who proposes in that round; absent when the schedule is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposer: Option<Shown<PublicKey>>,
    /// Whether this node votes.
    pub is_validator: bool,
    /// The key it votes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<Shown<PublicKey>>,
    /// When the newest block was committed here, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit_ms: Option<U64>,
}

/// One validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorView {
    /// Names the validator and checks its votes.
    pub key: Shown<PublicKey>,
    /// Voting power.
    pub power: U64,
    /// The account that its fees are credited to.
    pub payout: Shown<AddressText>,
}

impl ValidatorView {
    /// The validator as shown on this chain.
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
    /// Hash that headers carry.
    pub hash: Shown<Hash>,
    /// Summed power.
    pub total_power: U64,
    /// Ascending by key.
    pub validators: Vec<ValidatorView>,
}

impl ValidatorSetView {
    /// The set as shown on this chain.
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
    /// How many heights from the next one on, 1 to 1000, default 10.
    pub count: Option<u32>,
}

/// Who is to propose, if no turn is missed before: `consensus_getSchedule`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposerTurnView {
    /// The height.
    pub height: U64,
    /// The proposer of round 0.
    pub proposer: Shown<PublicKey>,
}
