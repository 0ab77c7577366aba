//! `consensus_*`.

use jsonrpsee::core::async_trait;
use vibecoin_primitives::{Height, PublicKey};
use vibecoin_rpc_api::methods::ConsensusApiServer;
use vibecoin_rpc_api::views::{
    ConsensusStatusView, EvidenceOptions, EvidenceView, Page, ParamsView, ProposerTurnView, RoundsView,
    ScheduleOptions, ValidatorOptions, ValidatorRecordView, ValidatorSetView,
};
use vibecoin_rpc_api::{ApiError, Arg, BytesArg, Shown, U64};
use vibecoin_rpc_backend::Backend;

use super::Rpc;
use super::rounds::tally_view;

/// Default number of heights of `consensus_getSchedule`.
const SCHEDULE_DEFAULT: u32 = 10;
/// Maximum number of heights of `consensus_getSchedule`.
const SCHEDULE_MAX: u32 = 1000;
/// Default number of blocks of `consensus_getValidator`.
const WINDOW_DEFAULT: u32 = 100;
/// Maximum number of blocks of `consensus_getValidator`.
const WINDOW_MAX: u32 = 1000;

/// A number of heights within its range.
fn within(name: &str, got: u32, most: u32) -> Result<u32, ApiError> {
    if (1..=most).contains(&got) {
        return Ok(got);
    }
    let message = format!("{name} is 1 to {most}, got {got}");
    Err(ApiError::invalid_params(&format!("{name}_out_of_range"), message).with("parameter", name))
}

#[async_trait]
impl<B: Backend> ConsensusApiServer for Rpc<B> {
    async fn get_status(&self) -> Result<ConsensusStatusView, ApiError> {
        let status = self.backend.consensus_status();
        let set = &self.backend.facts().validators;
        let proposer = self
            .next_schedule()
            .ok()
            .filter(|(height, _)| *height == status.height);
        let proposer = proposer
            .and_then(|(height, schedule)| schedule.proposer(set, height, status.round).map(|v| v.key));
        let rounds = self.backend.rounds(status.height);
        let round = rounds.and_then(|seen| seen.rounds.into_iter().find(|r| r.round == status.round));
        Ok(ConsensusStatusView {
            height: status.height.into(),
            round: status.round.0,
            step: status.step.to_owned(),
            proposer: proposer.map(Shown),
            is_validator: status.validator.is_some(),
            validator: status.validator.map(Shown),
            last_commit_ms: status.last_commit.map(U64::from),
            abstaining: status.abstaining,
            timeouts: U64(status.timeouts),
            prevotes: round.as_ref().map(|round| tally_view(set, &round.prevotes)),
            precommits: round.as_ref().map(|round| tally_view(set, &round.precommits)),
        })
    }

    async fn get_rounds(&self, height: Option<U64>) -> Result<RoundsView, ApiError> {
        self.rounds_view(height)
    }

    async fn get_validators(&self) -> Result<ValidatorSetView, ApiError> {
        Ok(ValidatorSetView::new(
            &self.backend.facts().validators,
            self.prefix(),
        ))
    }

    async fn get_validator(
        &self,
        key: Arg<PublicKey>,
        options: Option<ValidatorOptions>,
    ) -> Result<ValidatorRecordView, ApiError> {
        let key = key.get()?;
        let window = options.unwrap_or_default().window.unwrap_or(WINDOW_DEFAULT);
        let window = within("window", window, WINDOW_MAX)?;
        self.expensive(move |rpc| rpc.record(&key, window)).await
    }

    async fn get_schedule(
        &self,
        options: Option<ScheduleOptions>,
    ) -> Result<Vec<ProposerTurnView>, ApiError> {
        let options = options.unwrap_or_default();
        let count = within("count", options.count.unwrap_or(SCHEDULE_DEFAULT), SCHEDULE_MAX)?;
        let from = options.from_height.map(Height::from);
        self.expensive(move |rpc| rpc.turns(from, count)).await
    }

    async fn get_params(&self) -> Result<ParamsView, ApiError> {
        Ok(ParamsView::from(&self.backend.facts().params))
    }

    async fn get_evidence(&self, options: Option<EvidenceOptions>) -> Result<Page<EvidenceView>, ApiError> {
        let options = options.unwrap_or_default();
        self.evidence_page(options)
    }

    async fn submit_evidence(&self, raw: BytesArg) -> Result<EvidenceView, ApiError> {
        let raw = raw.get()?;
        self.expensive(move |rpc| rpc.take_evidence(&raw.0)).await
    }
}
