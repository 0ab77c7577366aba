//! `consensus_*`.

use jsonrpsee::core::async_trait;
use vibecoin_primitives::{Address, Height, ProposerSchedule, Round, decode, records};
use vibecoin_rpc_api::methods::ConsensusApiServer;
use vibecoin_rpc_api::views::{
    ConsensusStatusView, ParamsView, ProposerTurnView, ScheduleOptions, ValidatorSetView,
};
use vibecoin_rpc_api::{ApiError, Shown, U64};

use super::Rpc;
use crate::backend::Backend;

/// Heights that `consensus_getSchedule` tells when the caller names no number.
const SCHEDULE_DEFAULT: u32 = 10;
/// Most heights that it tells.
const SCHEDULE_MAX: u32 = 1000;

impl<B: Backend> Rpc<B> {
    /// The proposer order of the next height, a record in the state.
    fn schedule(&self) -> Result<(Height, ProposerSchedule), ApiError> {
        let read = self
            .backend
            .slots(None, &Address::system(), &[records::SCHEDULE])?;
        let bytes = read.value.into_iter().next().flatten();
        let bytes = bytes.ok_or_else(|| ApiError::internal("the state has no proposer schedule"))?;
        let schedule = decode(&bytes).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok((read.context.height.saturating_add(1), schedule))
    }
}

#[async_trait]
impl<B: Backend> ConsensusApiServer for Rpc<B> {
    async fn get_status(&self) -> Result<ConsensusStatusView, ApiError> {
        let status = self.backend.consensus_status();
        let set = &self.backend.facts().validators;
        let proposer = self
            .schedule()
            .ok()
            .filter(|(height, _)| *height == status.height);
        let proposer = proposer
            .and_then(|(height, schedule)| schedule.proposer(set, height, status.round).map(|v| v.key));
        Ok(ConsensusStatusView {
            height: status.height.into(),
            round: status.round.0,
            step: status.step.to_owned(),
            proposer: proposer.map(Shown),
            is_validator: status.validator.is_some(),
            validator: status.validator.map(Shown),
            last_commit_ms: status.last_commit.map(U64::from),
        })
    }

    async fn get_validators(&self) -> Result<ValidatorSetView, ApiError> {
        Ok(ValidatorSetView::new(
            &self.backend.facts().validators,
            self.prefix(),
        ))
    }

    async fn get_schedule(
        &self,
        options: Option<ScheduleOptions>,
    ) -> Result<Vec<ProposerTurnView>, ApiError> {
        let count = options.unwrap_or_default().count.unwrap_or(SCHEDULE_DEFAULT);
        if !(1..=SCHEDULE_MAX).contains(&count) {
            let message = format!("count is 1 to {SCHEDULE_MAX}, got {count}");
            return Err(ApiError::invalid_params("count_out_of_range", message));
        }
        self.expensive(move |rpc| {
            let set = &rpc.backend.facts().validators;
            let (mut height, mut schedule) = rpc.schedule()?;
            let mut turns = Vec::new();
            for _ in 0..count {
                let Some(proposer) = schedule.proposer(set, height, Round::ZERO) else {
                    break;
                };
                turns.push(ProposerTurnView {
                    height: height.into(),
                    proposer: Shown(proposer.key),
                });
                schedule = schedule.after(set, height, Round::ZERO);
                height = height.saturating_add(1);
            }
            Ok(turns)
        })
        .await
    }

    async fn get_params(&self) -> Result<ParamsView, ApiError> {
        Ok(ParamsView::from(&self.backend.facts().params))
    }
}
