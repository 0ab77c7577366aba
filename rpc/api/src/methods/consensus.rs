//! `consensus_*`: validators and voting.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::views::{ConsensusStatusView, ParamsView, ProposerTurnView, ScheduleOptions, ValidatorSetView};

#[rpc(client, server, namespace = "consensus")]
pub trait ConsensusApi {
    /// Where consensus stands on this node.
    #[method(name = "getStatus", param_kind = map)]
    async fn get_status(&self) -> Result<ConsensusStatusView, ApiError>;

    /// The validators.
    #[method(name = "getValidators", param_kind = map)]
    async fn get_validators(&self) -> Result<ValidatorSetView, ApiError>;

    /// Who proposes the next heights if no turn is missed.
    #[method(name = "getSchedule", param_kind = map)]
    async fn get_schedule(&self, options: Option<ScheduleOptions>)
    -> Result<Vec<ProposerTurnView>, ApiError>;

    /// The chain's parameters.
    #[method(name = "getParams", param_kind = map)]
    async fn get_params(&self) -> Result<ParamsView, ApiError>;
}
