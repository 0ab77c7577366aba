//! Recovery from the log after the process ended.
//!
//! Replay feeds the core the contents of the log, in order, and the core reaches the same state and derives
//! the same messages. Nothing is sent, built or logged meanwhile, except new messages: those whose causes are
//! in the log, but not themselves.

use malachitebft_core_consensus::ProposedValue;
use malachitebft_core_types::{Validity, ValueOrigin};
use vibecoin_primitives::{Header, Proposal, PublicKey, Round, Signature, SignedProposal, SignedVote};

use super::EffectHandler;
use super::timers::timeout_of;
use crate::context::{self, BlockValue, CoreInput, CoreState, Key};
use crate::convert::{from_core, to_core};
use crate::timer_queue::TimerKind;
use crate::{ConsensusMessage, GuardEntry, LogRecord, Statement, TimeoutStep, planted};

/// State of a replay of the log: deferred work and new messages.
#[derive(Default)]
pub(crate) struct Replay {
    /// The core requested a block to propose.
    pub(super) build: bool,
    /// Signatures missing from the log: these messages are new.
    pub(super) signed: Vec<Signature>,
}

impl EffectHandler<'_> {
    /// Reads the log of this height and compares the guard with it. Returns the inputs for the core.
    pub fn recover(&mut self, records: Vec<LogRecord>) -> Vec<CoreInput> {
        let (inputs, signed) = self.read_log(records);
        let height = self.height();
        let node = &mut *self.node;
        node.guard.compare_with_log(height, signed);
        if let Some(through) = node.abstain_through {
            node.guard.abstain_through(through);
        }
        node.guard.keep_abstention();
        node.own.start(node.guard.newest());
        // Records just read may never have been synced: a killed process leaves them to the page cache.
        if !inputs.is_empty() {
            self.state.burst.mark_unsynced();
        }
        inputs
    }

    /// Begins the replay. Returns false, and halts, if this is the only validator of the chain and its guard
    /// is ahead of the log.
    pub fn begin_replay(&mut self) -> bool {
        if self.is_lone_set()
            && self.node.guard.newest().is_some()
            && self.state.validators.member(&self.node.me).is_some()
            && self.node.guard.abstains(self.height())
        {
            self.halt_behind_guard();
            return false;
        }
        self.state.replay = Some(Replay::default());
        true
    }

    /// Performs the remaining work at the end of a replay: everything that was held back and still matters.
    pub fn end_replay(&mut self, core: &CoreState) {
        let replay = self.state.replay.take().unwrap_or_default();
        if self.is_decided() {
            return;
        }
        let round = from_core::round(core.round());
        self.report_round(round, self.proposer(round));
        // Our messages of this round may not have left.
        if let Some(signed) = self.proposed_in(round)
            && !replay.signed.contains(&signed.signature)
        {
            let Proposal { round, header, .. } = &signed.proposal;
            self.restream(*round, header.hash());
            self.send(ConsensusMessage::Proposal(signed));
        }
        for vote in [&core.last_signed_prevote, &core.last_signed_precommit]
            .into_iter()
            .flatten()
        {
            if !replay.signed.contains(&vote.signature) {
                self.send_vote(vote.clone());
            }
        }
        if replay.build && core.driver.step_is_propose() {
            // Parts of a block may have left in this round: no other block is begun in it. A lone validator
            // has no peer to send parts to.
            if self.node.newest_in_doubt && !self.is_lone_set() {
                let _entered_or_refused = self.node.guard.build(self.height(), round);
            }
            self.request_block(round);
        }
        let unchecked = self.state.blocks.checks();
        self.state.burst.extend(unchecked);
    }

    /// Splits a log into inputs of the core and our own messages as the guard sees them. Blocks are the
    /// caller's; records of other heights were left by a commit whose reset of the log was interrupted.
    fn read_log(&mut self, records: Vec<LogRecord>) -> (Vec<CoreInput>, Vec<GuardEntry>) {
        let height = self.height();
        let (mut inputs, mut signed) = (Vec::new(), Vec::new());
        for record in records.into_iter().filter(|record| record.height() == height) {
            inputs.extend(match record {
                LogRecord::Vote(vote) => {
                    signed.extend(self.own_vote(&vote));
                    Some(CoreInput::Vote(to_core::signed_vote(vote)))
                }
                LogRecord::Proposal(proposal) => {
                    signed.extend(self.own_proposal(&proposal));
                    Some(CoreInput::Proposal(to_core::signed_proposal(*proposal)))
                }
                LogRecord::Timeout { round, step, .. } => {
                    Some(CoreInput::TimeoutElapsed(timeout_of(timer_kind(step), round)))
                }
                LogRecord::Value {
                    header,
                    round,
                    valid_round,
                    proposer,
                    valid,
                } => Some(self.logged_value(*header, (round, valid_round), proposer, valid)),
                LogRecord::Polka(certificate) => {
                    Some(CoreInput::PolkaCertificate(to_core::polka(certificate)))
                }
                LogRecord::Block(_) => None,
            });
        }
        (planted::replayed(inputs, &self.node.me), signed)
    }

    /// The guard entry of a logged vote, if it is ours.
    fn own_vote(&self, vote: &SignedVote) -> Option<GuardEntry> {
        let is_ours = vote.vote.validator == self.node.me;
        is_ours.then(|| Statement::vote(&vote.vote, &self.node.genesis).entry(vote.signature))
    }

    /// The guard entry of a logged proposal, if it is ours.
    fn own_proposal(&mut self, signed: &SignedProposal) -> Option<GuardEntry> {
        if signed.proposal.proposer != self.node.me {
            return None;
        }
        self.state.proposed = Some(Box::new(signed.clone()));
        let statement = Statement::proposal(&signed.proposal, &self.node.genesis);
        Some(statement.entry(signed.signature))
    }

    fn logged_value(
        &mut self,
        header: Header,
        (round, valid_round): (Round, Option<Round>),
        proposer: PublicKey,
        valid: bool,
    ) -> CoreInput {
        let value = BlockValue::new(header);
        self.state.blocks.on_logged(&value, round, valid);
        CoreInput::ProposedValue(
            ProposedValue {
                height: context::Height(self.height().0),
                round: to_core::round(round),
                valid_round: to_core::lock_round(valid_round),
                proposer: Key(proposer),
                value,
                validity: Validity::from_bool(valid),
            },
            ValueOrigin::Consensus,
        )
    }
}

const fn timer_kind(step: TimeoutStep) -> TimerKind {
    match step {
        TimeoutStep::Propose => TimerKind::Propose,
        TimeoutStep::Prevote => TimerKind::Prevote,
        TimeoutStep::Precommit => TimerKind::Precommit,
    }
}
