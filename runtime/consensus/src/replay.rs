//! Recovery from the log after the process ended.
//!
//! Replay feeds the core the contents of the log, in order, and the core reaches the same state and derives
//! the same messages. Nothing is sent, built or logged meanwhile, except new messages: those whose causes are
//! in the log, but not themselves.

use malachitebft_core_consensus::ProposedValue;
use malachitebft_core_types::{Validity, ValueOrigin};
use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{Height, Proposal, Signature, VoteKind};

use crate::context::{self, BlockValue, CoreInput, Key};
use crate::convert::{from_core, to_core};
use crate::shell::{Known, Shell, timeout_of};
use crate::timers::TimerKind;
use crate::{BftOrderer, ConsensusMessage, GuardEntry, LogRecord, Output, Statement, TimeoutStep};

/// State of a replay of the log: deferred work and new messages.
#[derive(Default)]
pub(crate) struct Replay {
    /// The core requested a block to propose.
    pub build: bool,
    /// Signatures missing from the log: these messages are new.
    pub signed: Vec<Signature>,
}

/// The log of one height, split by purpose.
pub(crate) struct ReadLog {
    pub inputs: Vec<CoreInput>,
    /// Our own messages as the guard sees them.
    pub signed: Vec<GuardEntry>,
}

impl BftOrderer {
    /// Performs the remaining work at the end of a replay: everything that was held back and still matters.
    pub(crate) fn after_replay(&mut self) {
        let Self {
            core: Some(core),
            shell,
            ..
        } = self
        else {
            return;
        };
        let replay = shell.replay.take().unwrap_or_default();
        let (Some(set), None) = (shell.set.clone(), shell.decided) else {
            return;
        };
        let height = set.params().height;
        let round = core.round();
        shell.burst.rest.push(Output::RoundStarted {
            height,
            round: from_core::round(round),
            proposer: context::key_of(set.proposer(round)),
        });
        // Our messages of this round may not have left.
        if let Some(signed) = shell.proposed_in(from_core::round(round))
            && !replay.signed.contains(&signed.signature)
        {
            let Proposal { round, header, .. } = &signed.proposal;
            let (round, block) = (*round, header.hash());
            shell.burst.rest.push(Output::Restream { height, round, block });
            shell.send(ConsensusMessage::Proposal(signed));
        }
        for vote in [&core.last_signed_prevote, &core.last_signed_precommit]
            .into_iter()
            .flatten()
        {
            if !replay.signed.contains(&vote.signature) {
                shell.send_vote(vote.clone());
            }
        }
        if replay.build && core.driver.step_is_propose() {
            // Parts of a block may have left in this round: no other block is begun in it. A lone validator
            // has no peer to send parts to.
            if shell.newest_in_doubt && set.params().validators.members().len() > 1 {
                let _entered_or_refused = shell.guard.build(height, from_core::round(round));
            }
            shell.ask_to_build(height, from_core::round(round));
        }
        let unchecked: Vec<Output> = shell
            .blocks
            .values()
            .filter(|known| known.proposed && known.verdict.is_none())
            .map(Known::check)
            .collect();
        shell.burst.rest.extend(unchecked);
    }
}

impl Shell {
    /// Splits a log. Blocks are the caller's; records of other heights were left by a commit whose reset of
    /// the log was interrupted.
    pub(crate) fn read_log(&mut self, height: Height, records: Vec<LogRecord>) -> ReadLog {
        let mut read = ReadLog {
            inputs: Vec::new(),
            signed: Vec::new(),
        };
        for record in records.into_iter().filter(|record| record.height() == height) {
            match record {
                LogRecord::Vote(vote) => {
                    if vote.vote.validator == self.me {
                        let statement = Statement::vote(&vote.vote, &self.genesis);
                        read.signed.push(statement.entry(vote.signature));
                    }
                    read.inputs.push(CoreInput::Vote(to_core::signed_vote(vote)));
                }
                LogRecord::Proposal(proposal) => {
                    if proposal.proposal.proposer == self.me {
                        let statement = Statement::proposal(&proposal.proposal, &self.genesis);
                        read.signed.push(statement.entry(proposal.signature));
                        self.proposed = Some(proposal.clone());
                    }
                    read.inputs
                        .push(CoreInput::Proposal(to_core::signed_proposal(*proposal)));
                }
                LogRecord::Timeout { round, step, .. } => {
                    let kind = match step {
                        TimeoutStep::Propose => TimerKind::Propose,
                        TimeoutStep::Prevote => TimerKind::Prevote,
                        TimeoutStep::Precommit => TimerKind::Precommit,
                    };
                    read.inputs
                        .push(CoreInput::TimeoutElapsed(timeout_of(kind, round)));
                }
                LogRecord::Value {
                    header,
                    round,
                    valid_round,
                    proposer,
                    valid,
                } => {
                    let value = BlockValue::new(*header);
                    let known = self.know(&value, round);
                    known.verdict = Some(valid);
                    known.taken = true;
                    read.inputs.push(CoreInput::ProposedValue(
                        ProposedValue {
                            height: context::Height(height.0),
                            round: to_core::round(round),
                            valid_round: to_core::lock_round(valid_round),
                            proposer: Key(proposer),
                            value,
                            validity: Validity::from_bool(valid),
                        },
                        ValueOrigin::Consensus,
                    ));
                }
                LogRecord::Polka(certificate) => {
                    read.inputs
                        .push(CoreInput::PolkaCertificate(to_core::polka(certificate)));
                }
                LogRecord::Block(_) => {}
            }
        }
        if active(Bug::LockForgotten) {
            read.inputs.retain(|input| match input {
                CoreInput::Vote(vote) => {
                    let vote = from_core::vote(vote.message.clone());
                    vote.kind == VoteKind::Precommit || vote.validator == self.me
                }
                CoreInput::PolkaCertificate(_) => false,
                _ => true,
            });
        }
        read
    }
}
