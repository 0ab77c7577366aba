//! `consensus_*`: validators and voting.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::scalars::{Arg, BytesArg, U64};
use crate::views::{
    ConsensusStatusView, EvidenceOptions, EvidenceView, Page, ParamsView, ProposerTurnView, RoundsView,
    ScheduleOptions, ValidatorOptions, ValidatorRecordView, ValidatorSetView,
};
use vibecoin_primitives::PublicKey;

#[rpc(client, server, namespace = "consensus")]
pub trait ConsensusApi {
    /// State of consensus on this node.
    #[method(name = "getStatus", param_kind = map)]
    async fn get_status(&self) -> Result<ConsensusStatusView, ApiError>;

    /// Record of the rounds of a height: as observed by this node for the newest 256 heights, from
    /// the chain for older ones. Default: the height being decided.
    ///
    /// Errors: 1101, 1103.
    #[method(name = "getRounds", param_kind = map)]
    async fn get_rounds(&self, height: Option<U64>) -> Result<RoundsView, ApiError>;

    /// The validators.
    #[method(name = "getValidators", param_kind = map)]
    async fn get_validators(&self) -> Result<ValidatorSetView, ApiError>;

    /// Record of a validator in the newest blocks, from the chain alone. Expensive.
    ///
    /// Errors: 1000, 1102 (not a validator).
    #[method(name = "getValidator", param_kind = map)]
    async fn get_validator(
        &self,
        key: Arg<PublicKey>,
        options: Option<ValidatorOptions>,
    ) -> Result<ValidatorRecordView, ApiError>;

    /// Proposers: the actual ones for heights that exist, the scheduled ones if no turn is missed
    /// for others.
    ///
    /// Errors: 1101, 1103.
    #[method(name = "getSchedule", param_kind = map)]
    async fn get_schedule(&self, options: Option<ScheduleOptions>)
    -> Result<Vec<ProposerTurnView>, ApiError>;

    /// The chain's parameters.
    #[method(name = "getParams", param_kind = map)]
    async fn get_params(&self) -> Result<ParamsView, ApiError>;

    /// Double-sign evidence: in blocks, ascending, then waiting on this node. A page scans up to 10,000
    /// blocks, so it may be short even if more follows.
    ///
    /// Errors: 1002, 1003, 1103.
    #[method(name = "getEvidence", param_kind = map)]
    async fn get_evidence(&self, options: Option<EvidenceOptions>) -> Result<Page<EvidenceView>, ApiError>;

    /// Submits double-sign evidence, encoded; returns its hash.
    ///
    /// Errors: 1000, 1203, 1401.
    #[method(name = "submitEvidence", param_kind = map)]
    async fn submit_evidence(&self, raw: BytesArg) -> Result<EvidenceView, ApiError>;
}
