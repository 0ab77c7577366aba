//! Performs the effects of the consensus core.
//!
//! [`EffectHandler::perform`] dispatches; each topic has its file: `timers`, `votes`, `proposals`,
//! `certificates`, `signing`, `log`, `decide`, `replay`. The state that effects may access is in `state`, made
//! of parts that keep their own rules: `statements`, `blocks`, `propose_timer`, `burst`.

use std::convert::Infallible;

use malachitebft_core_consensus::{Effect, Error, Resumable as _, Resume, VoteExtensionError};
use malachitebft_core_types::CertificateError;
use vibecoin_primitives::Height;

use crate::context::{CoreInput, CoreState, Ctx, ValidatorSet};
use crate::convert::from_core;
use crate::{HaltReason, HeightParams};

mod blocks;
mod burst;
mod certificates;
mod decide;
mod log;
mod proposals;
mod propose_timer;
mod replay;
mod signing;
mod state;
mod statements;
mod timers;
mod votes;

pub(crate) use certificates::certificate_key;
pub(crate) use proposals::proposed_value;
pub(crate) use state::{HeightState, NodeState};

/// Performs effects on the state of the node and of the height in progress. The core yields effects while it
/// holds its own state, so this state is apart from it.
pub(crate) struct EffectHandler<'a> {
    node: &'a mut NodeState,
    state: &'a mut HeightState,
}

impl<'a> EffectHandler<'a> {
    pub const fn new(node: &'a mut NodeState, state: &'a mut HeightState) -> Self {
        Self { node, state }
    }
}

impl EffectHandler<'_> {
    /// Performs one effect of the core. It never reports a fault back: the core would log it and continue as
    /// if nothing had happened. Faults halt.
    pub fn perform(&mut self, effect: Effect<Ctx>) -> Result<Resume<Ctx>, Infallible> {
        match effect {
            Effect::CancelAllTimeouts(_) => self.cancel_all_timeouts(),
            Effect::CancelTimeout(timeout, _) => self.cancel_timeout(timeout),
            Effect::ScheduleTimeout(timeout, _) => self.schedule_timeout(timeout),
            Effect::StartRound(_, round, proposer, _, _) => {
                self.start_round(from_core::round(round), proposer.0);
            }
            Effect::PublishConsensusMsg(message, _) => self.publish(message),
            Effect::PublishLivenessMsg(message, _) => self.publish_liveness(message),
            Effect::RepublishVote(vote, _) => self.send_vote(vote),
            Effect::RepublishRoundCertificate(certificate, _) => self.send_round_certificate(certificate),
            Effect::GetValue(_, round, _, _) => self.request_value(from_core::round(round)),
            Effect::RestreamProposal(_, round, _, _, block, _) => {
                self.restream(from_core::round(round), block);
            }
            Effect::SignVote(vote, resume) => return Ok(resume.resume_with(self.sign_vote(vote))),
            Effect::SignProposal(proposal, resume) => {
                return Ok(resume.resume_with(self.sign_proposal(proposal)));
            }
            Effect::VerifySignature(message, _, resume) => {
                return Ok(resume.resume_with(self.verify_signature(message)));
            }
            Effect::VerifyCommitCertificate(certificate, _, _, resume) => {
                self.check_own_decision(certificate);
                // The core panics on a negative answer. It is negative only when memory is corrupt: then we
                // have halted.
                return Ok(resume.resume_with(Ok(())));
            }
            Effect::VerifyPolkaCertificate(certificate, _, _, resume) => {
                return Ok(resume.resume_with(self.verify_polka(certificate)));
            }
            Effect::VerifyRoundCertificate(certificate, _, _, resume) => {
                return Ok(resume.resume_with(self.verify_round_certificate(certificate)));
            }
            Effect::WalAppend(_, input, _) => self.append(input),
            Effect::Finalize(certificate, _, evidence, _) => self.finalize(certificate, evidence),
            // `Finalize` follows at once, as the core is given no target time.
            Effect::Decide(..) => {}
            // Synced blocks never go through the core.
            Effect::CertVerifiedSyncValue(..) | Effect::CertRejectedSyncValue(..) => {}
            Effect::VerifyExtendedCommitCertificate(_, _, _, _, resume) => {
                return Ok(resume.resume_with(Err(CertificateError::VerificationError(None))));
            }
            // Vote extensions are disabled.
            Effect::ExtendVote(_, _, _, _, resume) => return Ok(resume.resume_with(None)),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, resume) => {
                return Ok(resume.resume_with(Err(VoteExtensionError::InvalidVoteExtension)));
            }
        }
        Ok(Resume::Continue)
    }

    pub const fn validators(&self) -> &ValidatorSet {
        self.state.validators()
    }

    pub fn params(&self) -> &HeightParams {
        self.state.params()
    }

    pub fn height(&self) -> Height {
        self.params().height
    }

    pub fn is_decided(&self) -> bool {
        self.state.is_decided()
    }

    pub fn add_input(&mut self, input: CoreInput) {
        self.state.inputs.push_back(input);
    }

    /// The next input for the core. After a halt or a decision no more is fed.
    pub fn next_input(&mut self) -> Option<CoreInput> {
        if self.node.is_halted() || self.is_decided() {
            self.state.inputs.clear();
        }
        self.state.inputs.pop_front()
    }

    /// Reads the facts that only the core's state contains, after each input.
    pub fn after_input(&mut self, core: &CoreState) {
        if self.node.is_halted() || self.is_decided() {
            return;
        }
        self.expire_precommit_timer_on_nil_quorum(core);
        self.start_propose_timer_on_votes(core);
        self.halt_on_invalid_decision(core);
    }

    pub fn on_core_error(&mut self, error: &Error<Ctx>) {
        let height = self.height();
        match error {
            Error::ReplayDivergence(kind, _, round) => {
                let detail = format!("{kind} of round {round}");
                self.halt(HaltReason::ReplayDivergence { height, detail });
            }
            Error::UnexpectedResume(..) | Error::DecisionNotFound(..) => {
                self.halt(HaltReason::Core {
                    height,
                    detail: error.to_string(),
                });
            }
            // The input had no effect; the timers and the other validators carry the height on.
            _ => self.node.counters.core_errors = self.node.counters.core_errors.saturating_add(1),
        }
    }

    /// Stops for good. The first reason counts.
    pub fn halt(&mut self, reason: HaltReason) {
        if self.node.halt(reason) {
            self.state.burst.discard();
            self.state.timers.clear();
        }
    }

    /// Ends a call: its burst becomes outputs for the caller.
    pub fn close_burst(&mut self) {
        if self.node.is_halted() {
            self.state.burst.discard();
            return;
        }
        let guard = self.node.guard.take_unsaved();
        self.state.burst.close(guard, &mut self.node.out);
    }
}
