//! Reasons for the rounds of a height, in figures and in words.

use vibecoin_primitives::{Hash, Height, PublicKey, Round, ValidatorSet};
use vibecoin_rpc_api::views::{
    BlockPowerView, ObservedRoundView, RoundView, RoundsView, TallyView, TimeoutView,
};
use vibecoin_rpc_api::{ApiError, Code, Shown, U64};
use vibecoin_rpc_backend::{Backend, BodyVerdict, HeightRounds, RoundOutcome, RoundRecord, Tally};

use super::Rpc;
use crate::errors::Coded as _;

/// Maximum number of rounds of one height that are listed, the last ones.
const ROUNDS_MAX: u32 = 64;

impl<B: Backend> Rpc<B> {
    /// The rounds of a height: from memory, or from the chain.
    pub(super) fn rounds_view(&self, height: Option<U64>) -> Result<RoundsView, ApiError> {
        let head = self.backend.head().header.height;
        let height = height.map_or(head.saturating_add(1), Height::from);
        if let Some(rounds) = self.backend.rounds(height) {
            return Ok(self.observed(rounds));
        }
        if height > head {
            let message = format!("height {height} has not begun here, the head is {head}");
            return Err(ApiError::new(Code::FutureHeight, message).with("head", head.0.to_string()));
        }
        self.by_the_chain(height)
    }

    fn observed(&self, seen: HeightRounds) -> RoundsView {
        let set = &self.backend.facts().validators;
        let why = self.why(&seen);
        let rounds = seen.rounds.into_iter().map(|round| RoundView {
            round: round.round.0,
            proposer: round.proposer.map(Shown),
            outcome: outcome(round.outcome).to_owned(),
            observed: Some(observed_round(set, round)),
        });
        RoundsView {
            height: seen.height.into(),
            source: "observed".to_owned(),
            decided: seen.decided.map(Shown),
            total_power: U64(set.total_power()),
            rounds: rounds.collect(),
            rounds_left_out: seen.forgotten,
            why,
        }
    }

    /// A block contains the round in which it was created, its certificate the round in which it
    /// was decided; the proposers of the rounds before follow from the schedule.
    fn by_the_chain(&self, height: Height) -> Result<RoundsView, ApiError> {
        let missing = || ApiError::internal(format!("height {height} has no header"));
        let (header, hash) = self.backend.header(height).coded()?.ok_or_else(missing)?;
        let set = &self.backend.facts().validators;
        let mut view = RoundsView {
            height: height.into(),
            source: "chain".to_owned(),
            decided: Some(Shown(hash)),
            total_power: U64(set.total_power()),
            rounds: Vec::new(),
            rounds_left_out: 0,
            why: "genesis is decided by nobody".to_owned(),
        };
        let Some(certificate) = self.backend.certificate(height).coded()? else {
            return Ok(view);
        };
        let (created, decided) = (header.round, certificate.round);
        let first = decided.0.saturating_add(1).saturating_sub(ROUNDS_MAX);
        let schedule = (decided.0 > 0).then(|| self.past_schedule(height)).transpose()?;
        for round in first..=decided.0 {
            let by_schedule = schedule
                .as_ref()
                .and_then(|s| s.proposer(set, height, Round(round)));
            view.rounds.push(RoundView {
                round,
                proposer: Some(Shown(
                    by_schedule.map_or(header.proposer, |validator| validator.key),
                )),
                outcome: outcome(if round == decided.0 {
                    RoundOutcome::Decided
                } else {
                    RoundOutcome::Passed
                })
                .to_owned(),
                observed: None,
            });
        }
        view.rounds_left_out = first;
        view.why = match (created.0, decided.0) {
            (_, 0) => "decided in round 0".to_owned(),
            (0, _) => format!("the block of round 0 was decided in round {decided}"),
            _ if created == decided => {
                format!("the turns before round {created} passed without a block that a quorum took")
            }
            _ => format!("the block of round {created} was decided in round {decided}"),
        };
        Ok(view)
    }

    /// Describes in words the cause of each round that passed.
    fn why(&self, seen: &HeightRounds) -> String {
        let passed: Vec<String> = seen
            .rounds
            .iter()
            .filter(|round| round.outcome == RoundOutcome::Passed)
            .map(|round| format!("round {}: {}", round.round, self.why_passed(round)))
            .collect();
        let end = match seen.rounds.last() {
            Some(last) if last.outcome == RoundOutcome::Decided => format!("decided in round {}", last.round),
            Some(last) => format!("round {} runs", last.round),
            None => "decided elsewhere".to_owned(),
        };
        if passed.is_empty() {
            end
        } else {
            format!("{}; {end}", passed.join("; "))
        }
    }

    fn why_passed(&self, round: &RoundRecord) -> String {
        let facts = self.backend.facts();
        let total = facts.validators.total_power();
        let who = round
            .proposer
            .as_ref()
            .map_or_else(|| "its proposer".to_owned(), short);
        let Some((block, _)) = round.proposal else {
            return format!("no proposal of {who} came");
        };
        match round.body {
            None => return format!("the proposal of {who} came, its body did not"),
            Some((BodyVerdict::Invalid, _)) => return format!("the block of {who} breaks a rule"),
            Some((BodyVerdict::Valid, _)) => {}
        }
        for (what, tally) in [("prevoted", &round.prevotes), ("precommitted", &round.precommits)] {
            let power = power_for(tally, &block);
            if !facts.params.fault_model.is_quorum(power, total) {
                return format!("{power} of {total} {what} for the block of {who}");
            }
        }
        "the next round began first".to_owned()
    }
}

/// The first digits of a key: enough to distinguish validators in a sentence.
fn short(key: &PublicKey) -> String {
    key.to_string().chars().take(10).collect()
}

fn power_for(tally: &Tally, block: &Hash) -> u64 {
    let found = tally.blocks.iter().find(|(hash, _)| hash == block);
    found.map_or(0, |(_, power)| *power)
}

const fn outcome(outcome: RoundOutcome) -> &'static str {
    match outcome {
        RoundOutcome::Open => "open",
        RoundOutcome::Decided => "decided",
        RoundOutcome::Passed => "passed",
    }
}

fn observed_round(set: &ValidatorSet, round: RoundRecord) -> ObservedRoundView {
    ObservedRoundView {
        started_ms: round.started.into(),
        took_ms: round.took_ms.map(U64),
        proposal: round.proposal.map(|(hash, _)| Shown(hash)),
        proposal_after_ms: round.proposal.map(|(_, after)| U64(after)),
        body: match round.body {
            None => "none",
            Some((BodyVerdict::Valid, _)) => "valid",
            Some((BodyVerdict::Invalid, _)) => "invalid",
        }
        .to_owned(),
        body_after_ms: round.body.map(|(_, after)| U64(after)),
        prevotes: tally_view(set, &round.prevotes),
        precommits: tally_view(set, &round.precommits),
        timeouts: round
            .timeouts
            .iter()
            .map(|(wait, after)| TimeoutView {
                step: wait.name().to_owned(),
                after_ms: U64(*after),
            })
            .collect(),
    }
}

/// The view of votes, with the names of missing validators.
pub(super) fn tally_view(set: &ValidatorSet, tally: &Tally) -> TallyView {
    let absent = set.members().iter().enumerate();
    let absent = absent.filter(|(index, _)| !tally.voters.has(*index));
    TallyView {
        power: U64(tally.power()),
        voters: tally.voters.count(),
        blocks: tally
            .blocks
            .iter()
            .map(|(hash, power)| BlockPowerView {
                hash: Shown(*hash),
                power: U64(*power),
            })
            .collect(),
        nil: U64(tally.nil),
        other: U64(tally.other),
        missing: absent.map(|(_, validator)| Shown(validator.key)).collect(),
    }
}
