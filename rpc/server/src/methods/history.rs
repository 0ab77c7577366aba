//! Past proposers: the proposer order of heights that exist, read back from the chain.
//!
//! The order of a height is a record in the state before it. Only the newest state is kept readable, but
//! the diff of each block that changed the record holds it as it was before.

use vibecoin_primitives::{
    Address, Header, Height, PENALTY_OFFENCE, ProposerSchedule, PublicKey, Round, SlotRow, StateKey,
    account_key, decode, records, slot_key,
};
use vibecoin_rpc_api::views::{ProposerTurnView, ValidatorRecordView, ValidatorView};
use vibecoin_rpc_api::{ApiError, Code, Shown};
use vibecoin_rpc_backend::Backend;

use super::{Rpc, small};
use crate::errors::Coded as _;

/// Maximum number of heights that a schedule is computed ahead.
pub(super) const AHEAD_MAX: u64 = 1000;

impl<B: Backend> Rpc<B> {
    /// The proposer order of the next height, a record in the state.
    pub(super) fn next_schedule(&self) -> Result<(Height, ProposerSchedule), ApiError> {
        let read = self
            .backend
            .slots(None, &Address::system(), &[records::SCHEDULE])
            .coded()?;
        let bytes = read.value.into_iter().next().flatten();
        let bytes = bytes.ok_or_else(|| ApiError::internal("the state has no proposer schedule"))?;
        let schedule = decode(&bytes).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok((read.context.height.saturating_add(1), schedule))
    }

    /// The proposer order of a height that exists.
    pub(super) fn past_schedule(&self, height: Height) -> Result<ProposerSchedule, ApiError> {
        let set = &self.backend.facts().validators;
        // The order of one validator never changes, so that blocks do not write it.
        if set.members().len() == 1 {
            return Ok(ProposerSchedule::genesis(set));
        }
        let missing = || ApiError::internal(format!("the diff of height {height} has no proposer schedule"));
        let key = StateKey::Slot(account_key(&Address::system()), slot_key(&records::SCHEDULE));
        // A block that changed nothing about the order, because its proposer was the only one that was
        // not held back, does not write it. No validator is held back for longer than the longest
        // penalty.
        let newest = self.backend.head().header.height;
        let last = height.saturating_add(u64::from(PENALTY_OFFENCE)).min(newest);
        for later in (height.0..=last.0).map(Height) {
            let Some(diff) = self.backend.diff(later).coded()? else {
                break;
            };
            let at = diff.entries.binary_search_by_key(&key, |entry| entry.key);
            if let Some(row) = at.ok().and_then(|at| diff.entries.get(at)?.old.as_deref()) {
                let row: SlotRow = decode(row).map_err(|error| ApiError::internal(error.to_string()))?;
                return decode(&row.value).map_err(|error| ApiError::internal(error.to_string()));
            }
        }
        match self.next_schedule()? {
            (next, schedule) if next.0.saturating_sub(height.0) <= u64::from(PENALTY_OFFENCE) => Ok(schedule),
            _ => Err(missing()),
        }
    }

    /// Validators whose turns passed before this block was created. Costs a read of the block's
    /// diff only when there are any.
    fn passed_over(&self, header: &Header) -> Result<Vec<PublicKey>, ApiError> {
        if header.round == Round::ZERO {
            return Ok(Vec::new());
        }
        let set = &self.backend.facts().validators;
        let schedule = self.past_schedule(header.height)?;
        // After a whole cycle the same names repeat.
        let count = header.round.0.min(small(set.members().len()));
        Ok((0..count)
            .filter_map(|round| schedule.proposer(set, header.height, Round(round)))
            .map(|validator| validator.key)
            .collect())
    }

    /// The proposers of a height that exists; `None` above the head.
    pub(super) fn past_turn(&self, height: Height) -> Result<Option<ProposerTurnView>, ApiError> {
        let Some((header, _)) = self.backend.header(height).coded()? else {
            return Ok(None);
        };
        let passed_over = self.passed_over(&header)?;
        Ok(Some(ProposerTurnView {
            height: height.into(),
            proposer: Shown(passed_over.first().copied().unwrap_or(header.proposer)),
            round: Some(header.round.0),
            created_by: Some(Shown(header.proposer)),
            passed_over: passed_over.into_iter().map(Shown).collect(),
        }))
    }

    /// `count` turns from `from` on: past ones, then scheduled ones.
    pub(super) fn turns(&self, from: Option<Height>, count: u32) -> Result<Vec<ProposerTurnView>, ApiError> {
        let set = &self.backend.facts().validators;
        let (mut next, mut schedule) = self.next_schedule()?;
        let from = from.unwrap_or(next);
        if from.0 > next.0.saturating_add(AHEAD_MAX) {
            let message = format!("the schedule is told at most {AHEAD_MAX} heights ahead of {next}");
            let head = next.saturating_sub(1).0.to_string();
            return Err(ApiError::new(Code::FutureHeight, message).with("head", head));
        }
        let mut turns = Vec::new();
        // Genesis has no proposer.
        for height in (from.0.max(1)..).map(Height).take(count as usize) {
            if height < next {
                // The head may be a block further than when the schedule was read, never behind.
                turns.extend(self.past_turn(height)?);
                continue;
            }
            while next < height {
                schedule = schedule.after(set, next, Round::ZERO);
                next = next.saturating_add(1);
            }
            let Some(proposer) = schedule.proposer(set, height, Round::ZERO) else {
                break;
            };
            turns.push(ProposerTurnView {
                height: height.into(),
                proposer: Shown(proposer.key),
                round: None,
                created_by: None,
                passed_over: Vec::new(),
            });
        }
        Ok(turns)
    }

    /// The record of a validator in the newest `window` blocks.
    pub(super) fn record(&self, key: &PublicKey, window: u32) -> Result<ValidatorRecordView, ApiError> {
        let set = &self.backend.facts().validators;
        let Some((index, validator)) = set.find(key) else {
            let message = format!("{key} is not a validator of this chain");
            return Err(ApiError::new(Code::NotFound, message));
        };
        let head = self.backend.head().header.height;
        let least = self.backend.earliest().0.max(1);
        let from = head
            .0
            .saturating_add(1)
            .saturating_sub(u64::from(window))
            .max(least);
        let (mut proposed, mut missed, mut certificates, mut signed) = (0u32, 0u32, 0u32, 0u32);
        for height in (from..=head.0).map(Height) {
            if let Some((header, _)) = self.backend.header(height).coded()? {
                proposed = proposed.saturating_add(u32::from(header.proposer == *key));
                let passed = self.passed_over(&header)?.contains(key);
                missed = missed.saturating_add(u32::from(passed));
            }
            if let Some(certificate) = self.backend.certificate(height).coded()? {
                certificates = certificates.saturating_add(1);
                let by_it = certificate.signatures.iter().any(|entry| entry.validator == *key);
                signed = signed.saturating_add(u32::from(by_it));
            }
        }
        let uptime = signed.saturating_mul(1000).checked_div(certificates);
        let (next, schedule) = self.next_schedule()?;
        let penalty = schedule.turns.get(index).map(|turn| turn.penalty_until);
        Ok(ValidatorRecordView {
            validator: ValidatorView::new(validator, self.prefix()),
            from_height: from.into(),
            to_height: head.into(),
            proposed,
            missed,
            certificates,
            signed,
            uptime_permille: uptime.unwrap_or(0),
            penalty_until: penalty.filter(|until| *until > next).map(Into::into),
        })
    }
}
