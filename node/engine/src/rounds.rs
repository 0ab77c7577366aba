//! This node's record of the rounds of the newest heights. A plain value: the driver updates it, RPC reads
//! it, and the durations of a decided height go to the metrics.
//!
//! The driver passes it everything that it appends to the consensus log ([`RoundBook::record`]): accepted
//! votes, proposals, verdicts and expired timeouts, own and others'. So it has the orderer's knowledge, and
//! nothing more.

use std::collections::VecDeque;
use std::sync::Arc;

use vibecoin_consensus::{LogRecord, TimeoutStep};
use vibecoin_primitives::{
    FaultModel, Hash, Height, PublicKey, Round, SignedVote, TimeMs, ValidatorSet, VoteKind,
};
use vibecoin_replica::Now;
use vibecoin_rpc_backend::{BodyVerdict, HeightRounds, RoundOutcome, RoundRecord, Tally, Wait};

/// Number of heights kept.
pub const HEIGHTS_MAX: usize = 256;
/// Number of rounds kept per height, the newest ones.
pub const ROUNDS_MAX: usize = 64;
/// Number of blocks distinguished among the votes of one kind in one round.
const CHOICES_MAX: usize = 4;
/// Number of expired timeouts kept per round: one of each kind, and a few after restarts.
const TIMEOUTS_MAX: usize = 8;

/// Completion times of the steps of the deciding round, in microseconds after the round began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// The proposal had arrived.
    pub proposal: Option<u64>,
    /// The body was judged.
    pub body: Option<u64>,
    /// A quorum had prevoted one block.
    pub prevotes: Option<u64>,
    /// A quorum had precommitted one block, or the height was decided.
    pub precommits: Option<u64>,
}

/// The rounds of the newest [`HEIGHTS_MAX`] heights.
#[derive(Debug)]
pub struct RoundBook {
    validators: Arc<ValidatorSet>,
    fault_model: FaultModel,
    /// Ascending by height; the last one is being decided.
    heights: VecDeque<HeightRounds>,
    /// Start of the newest round, on the monotonic clock.
    began: u64,
    steps: Steps,
}

impl RoundBook {
    /// An empty book.
    #[must_use]
    pub const fn new(validators: Arc<ValidatorSet>, fault_model: FaultModel) -> Self {
        Self {
            validators,
            fault_model,
            heights: VecDeque::new(),
            began: 0,
            steps: Steps {
                proposal: None,
                body: None,
                prevotes: None,
                precommits: None,
            },
        }
    }

    /// The rounds of a height, if they are kept.
    #[must_use]
    pub fn get(&self, height: Height) -> Option<HeightRounds> {
        let newest = self.heights.back()?.height;
        let back = usize::try_from(newest.0.checked_sub(height.0)?).ok()?;
        // Heights are consecutive, except for gaps where blocks were fetched from peers.
        let from = self.heights.len().saturating_sub(back.saturating_add(1));
        let mut near = self.heights.iter().skip(from);
        near.find(|seen| seen.height == height).cloned()
    }

    /// Records the start of a round.
    pub fn round_started(&mut self, height: Height, round: Round, proposer: PublicKey, now: Now) {
        let began = self.began;
        if self.heights.back().is_none_or(|seen| seen.height < height) {
            self.heights.push_back(HeightRounds {
                height,
                ..HeightRounds::default()
            });
            if self.heights.len() > HEIGHTS_MAX {
                self.heights.pop_front();
            }
        }
        let Some(seen) = self.heights.back_mut().filter(|seen| seen.height == height) else {
            return;
        };
        // Votes for a round may arrive before it begins on this node.
        if let Some(last) = seen
            .rounds
            .iter_mut()
            .rfind(|r| r.outcome == RoundOutcome::Open && r.round < round)
        {
            last.outcome = RoundOutcome::Passed;
            last.took_ms = Some(millis(now.mono.0.saturating_sub(began)));
        }
        let record = find(seen, round);
        record.proposer = Some(proposer);
        record.started = now.wall;
        self.began = now.mono.0;
        self.steps = Steps::default();
    }

    /// Records an entry of the consensus log.
    pub fn record(&mut self, record: &LogRecord, now: Now) {
        match record {
            LogRecord::Vote(vote) => self.vote(vote, now),
            LogRecord::Proposal(proposal) => {
                let proposal = &proposal.proposal;
                self.proposal(proposal.height, proposal.round, proposal.header.hash(), now);
            }
            LogRecord::Value {
                header, round, valid, ..
            } => {
                self.body(header.height, *round, *valid, now);
            }
            LogRecord::Timeout { height, round, step } => self.timeout(*height, *round, *step, now),
            // Its votes; known ones change nothing.
            LogRecord::Polka(certificate) => {
                for vote in certificate.votes() {
                    self.vote(&vote, now);
                }
            }
            LogRecord::Block(_) => {}
        }
    }

    /// Records the arrival of a proposal.
    pub fn proposal(&mut self, height: Height, round: Round, block: Hash, now: Now) {
        let after = self.since(now);
        let Some(record) = self.round(height, round) else {
            return;
        };
        if record.proposal.is_none() {
            record.proposal = Some((block, millis(after)));
            self.steps.proposal.get_or_insert(after);
        }
    }

    /// Records the verdict on the body of the round's block.
    pub fn body(&mut self, height: Height, round: Round, valid: bool, now: Now) {
        let after = self.since(now);
        let Some(record) = self.round(height, round) else {
            return;
        };
        if record.body.is_none() {
            let verdict = if valid {
                BodyVerdict::Valid
            } else {
                BodyVerdict::Invalid
            };
            record.body = Some((verdict, millis(after)));
            self.steps.body.get_or_insert(after);
        }
    }

    /// Records a vote. Each validator counts once per round and kind.
    pub fn vote(&mut self, vote: &SignedVote, now: Now) {
        let vote = &vote.vote;
        let after = self.since(now);
        let Some((index, power)) = self
            .validators
            .find(&vote.validator)
            .map(|(index, validator)| (index, validator.power.0))
        else {
            return;
        };
        let Some(record) = self.round(vote.height, vote.round) else {
            return;
        };
        let tally = match vote.kind {
            VoteKind::Prevote => &mut record.prevotes,
            VoteKind::Precommit => &mut record.precommits,
        };
        if !tally.voters.insert(index) {
            return;
        }
        let for_choice = count(tally, vote.block, power);
        if vote.block.is_some()
            && self
                .fault_model
                .is_quorum(for_choice, self.validators.total_power())
        {
            let step = match vote.kind {
                VoteKind::Prevote => &mut self.steps.prevotes,
                VoteKind::Precommit => &mut self.steps.precommits,
            };
            step.get_or_insert(after);
        }
    }

    /// Records an expired timeout of this node.
    pub fn timeout(&mut self, height: Height, round: Round, step: TimeoutStep, now: Now) {
        let after = self.since(now);
        let Some(record) = self.round(height, round) else {
            return;
        };
        if record.timeouts.len() < TIMEOUTS_MAX {
            record.timeouts.push((wait(step), millis(after)));
        }
    }

    /// Records the decision of a height. Returns the steps of its last round, and its number of rounds on
    /// this node.
    pub fn decided(&mut self, height: Height, block: Hash, round: Round, now: Now) -> (Steps, u32) {
        let after = self.since(now);
        let Some(seen) = self.heights.back_mut().filter(|seen| seen.height == height) else {
            return (Steps::default(), 1);
        };
        seen.decided = Some(block);
        // A fetched block is decided in a round that may never have begun on this node.
        for record in &mut seen.rounds {
            if record.round == round {
                record.outcome = RoundOutcome::Decided;
                record.took_ms.get_or_insert(millis(after));
            } else if record.outcome == RoundOutcome::Open {
                record.outcome = RoundOutcome::Passed;
            }
        }
        let mut steps = self.steps;
        steps.precommits.get_or_insert(after);
        (steps, round.0.saturating_add(1))
    }

    fn since(&self, now: Now) -> u64 {
        now.mono.0.saturating_sub(self.began)
    }

    /// The record of a round of the height in progress.
    fn round(&mut self, height: Height, round: Round) -> Option<&mut RoundRecord> {
        let seen = self.heights.back_mut().filter(|seen| seen.height == height)?;
        Some(find(seen, round))
    }
}

/// Finds or creates the record of a round.
fn find(seen: &mut HeightRounds, round: Round) -> &mut RoundRecord {
    let at = match seen.rounds.binary_search_by_key(&round, |record| record.round) {
        Ok(at) => at,
        Err(at) => {
            seen.rounds.insert(at, blank(round));
            at
        }
    };
    if seen.rounds.len() > ROUNDS_MAX {
        seen.rounds.remove(0);
        seen.forgotten = seen.forgotten.saturating_add(1);
    }
    let at = at.min(seen.rounds.len().saturating_sub(1));
    #[expect(
        clippy::indexing_slicing,
        reason = "the list has at least the record that was just put in"
    )]
    &mut seen.rounds[at]
}

const fn blank(round: Round) -> RoundRecord {
    RoundRecord {
        round,
        proposer: None,
        started: TimeMs(0),
        proposal: None,
        body: None,
        prevotes: Tally::EMPTY,
        precommits: Tally::EMPTY,
        timeouts: Vec::new(),
        outcome: RoundOutcome::Open,
        took_ms: None,
    }
}

/// Adds a vote and returns the power of its choice; 0 for a choice that is not distinguished.
fn count(tally: &mut Tally, block: Option<Hash>, power: u64) -> u64 {
    let Some(block) = block else {
        tally.nil = tally.nil.saturating_add(power);
        return tally.nil;
    };
    if let Some((_, sum)) = tally.blocks.iter_mut().find(|(hash, _)| *hash == block) {
        *sum = sum.saturating_add(power);
        return *sum;
    }
    if tally.blocks.len() < CHOICES_MAX {
        tally.blocks.push((block, power));
        return power;
    }
    tally.other = tally.other.saturating_add(power);
    0
}

const fn wait(step: TimeoutStep) -> Wait {
    match step {
        TimeoutStep::Propose => Wait::Propose,
        TimeoutStep::Prevote => Wait::Prevote,
        TimeoutStep::Precommit => Wait::Precommit,
    }
}

const fn millis(micros: u64) -> u64 {
    micros / 1000
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
