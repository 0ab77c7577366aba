//! Records of the consensus log.

use malachitebft_core_types::TimeoutKind;

use super::EffectHandler;
use crate::context::CoreInput;
use crate::convert::from_core;
use crate::{LogRecord, TimeoutStep};

impl EffectHandler<'_> {
    /// Logs an input that the core accepted. During replay only inputs missing from the log.
    pub(super) fn append(&mut self, input: CoreInput) {
        let height = self.height();
        let is_live = self.state.replay.is_none();
        let record = match input {
            CoreInput::Vote(vote) if self.is_unlogged(&vote.signature) => {
                LogRecord::Vote(from_core::signed_vote(vote))
            }
            CoreInput::Proposal(proposal) => {
                self.on_proposal_accepted(&proposal);
                if !self.is_unlogged(&proposal.signature) {
                    return;
                }
                LogRecord::Proposal(Box::new(from_core::signed_proposal(&proposal)))
            }
            CoreInput::ProposedValue(value, _) => {
                let valid = value.validity.is_valid();
                self.state.blocks.on_accepted(&value.value.hash(), valid);
                if !is_live {
                    return;
                }
                LogRecord::Value {
                    header: Box::new(value.value.header().clone()),
                    round: from_core::round(value.round),
                    valid_round: from_core::lock_round(value.valid_round),
                    proposer: value.proposer.0,
                    valid,
                }
            }
            CoreInput::PolkaCertificate(certificate) if is_live => {
                LogRecord::Polka(from_core::polka(certificate))
            }
            CoreInput::TimeoutElapsed(timeout) if is_live => {
                let step = match timeout.kind {
                    TimeoutKind::Propose => TimeoutStep::Propose,
                    TimeoutKind::Prevote => TimeoutStep::Prevote,
                    TimeoutKind::Precommit => TimeoutStep::Precommit,
                    TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return,
                };
                LogRecord::Timeout {
                    height,
                    round: from_core::round(timeout.round),
                    step,
                }
            }
            _ => return,
        };
        self.state.burst.append(record);
    }
}
