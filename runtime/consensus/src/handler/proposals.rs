//! Proposals: the rules for those of other nodes, requests to build, check and stream blocks, and verdicts.

use malachitebft_core_consensus::ProposedValue;
use malachitebft_core_types as malachite;
use malachitebft_core_types::{Proposal as _, Validity, ValueOrigin};
use vibecoin_primitives::{Hash, Header, Height, Proposal, PublicKey, Round, SignedProposal};

use super::EffectHandler;
use super::blocks::AfterProposal;
use super::statements::{Slot, StatementKind};
use crate::context::{self, BlockValue, CoreInput, Ctx, Key};
use crate::convert::{from_core, to_core};
use crate::future::Keeping;
use crate::{Building, ConsensusMessage, GuardStep, Output, Position, Verdict};

impl EffectHandler<'_> {
    /// Rules for a proposal that hold whatever the body is. The core would accept a header whose creator is
    /// not the scheduled one, so such a header never reaches it.
    pub fn check_proposal(&mut self, signed: &SignedProposal) -> Verdict {
        let proposal = &signed.proposal;
        if let Err(fault) = proposal_shape(proposal) {
            return Verdict::Rejected(fault);
        }
        if self.state.validators.member(&proposal.proposer).is_none() {
            return self.of_no_validator(&proposal.proposer, "proposal of no validator");
        }
        let slot = Slot {
            round: proposal.round,
            kind: StatementKind::Proposal,
            validator: proposal.proposer,
        };
        let in_turn = self.proposer(proposal.round) == proposal.proposer
            && self.proposer(proposal.header.round) == proposal.header.proposer;
        if !in_turn {
            // The forwarder may be a height behind and unable to determine the turn: only the signature shows
            // that it is at fault. Not recorded: messages out of turn must not fill the memory. Counted,
            // since each costs a signature check.
            return if self.state.statements.is_full(&slot) {
                Verdict::Ignored
            } else if signed.verify(&self.node.genesis).is_ok() {
                self.state.statements.add(slot);
                Verdict::Ignored
            } else {
                Verdict::Rejected("bad signature of a proposal")
            };
        }
        if self.node.verifier.knows_proposal(signed) {
            return Verdict::Known;
        }
        if self.state.statements.is_full(&slot) {
            return Verdict::Ignored;
        }
        if self.node.verifier.proposal(signed) {
            self.state.statements.add(slot);
            Verdict::Fresh
        } else {
            Verdict::Rejected("bad signature of a proposal")
        }
    }

    /// Rules for a proposal of a later height: a validator of this height signed it. Its turn is checked again
    /// when the height begins. `None`: it may be kept.
    pub fn check_later_proposal(&mut self, signed: &SignedProposal, outlook: &Keeping) -> Option<Verdict> {
        if self.state.validators.member(&signed.proposal.proposer).is_none() {
            return Some(Verdict::Ignored);
        }
        if let Err(fault) = proposal_shape(&signed.proposal) {
            return Some(Verdict::Rejected(fault));
        }
        if let Some(refusal) = outlook.refusal() {
            return Some(refusal);
        }
        let is_signed = self.node.verifier.proposal(signed);
        (!is_signed).then_some(Verdict::Rejected("bad signature of a proposal"))
    }

    pub(super) fn start_round(&mut self, round: Round, proposer: PublicKey) {
        if let Some(replay) = &mut self.state.replay {
            replay.build = false;
        } else {
            self.report_round(round, proposer);
        }
    }

    pub(super) fn report_round(&mut self, round: Round, proposer: PublicKey) {
        let height = self.height();
        self.state.burst.push(Output::RoundStarted {
            height,
            round,
            proposer,
        });
    }

    /// The core needs a block to propose.
    pub(super) fn request_value(&mut self, round: Round) {
        if let Some(replay) = &mut self.state.replay {
            replay.build = true;
        } else {
            self.request_block(round);
        }
    }

    pub(super) fn request_block(&mut self, round: Round) {
        let height = self.height();
        match self.node.guard.build(height, round) {
            Ok(building) => {
                let step = GuardStep::Building;
                self.node.own.signed(Position { height, round, step }, Hash::ZERO);
                let rebuild = building == Building::Again;
                self.state.streaming = (!rebuild).then_some((round, 0));
                self.state.burst.push(Output::Build {
                    height,
                    round,
                    rebuild,
                });
            }
            Err(_) => self.on_refusal(),
        }
    }

    pub(super) fn restream(&mut self, round: Round, block: Hash) {
        if self.state.replay.is_none() {
            let height = self.height();
            self.state.burst.push(Output::Restream { height, round, block });
        }
    }

    pub(super) fn send(&mut self, message: ConsensusMessage) {
        self.state.burst.push(Output::Send(message));
    }

    /// Our proposal for `round`, if we made one.
    pub(super) fn proposed_in(&self, round: Round) -> Option<Box<SignedProposal>> {
        let proposed = self.state.proposed.as_ref();
        proposed.filter(|signed| signed.proposal.round == round).cloned()
    }

    /// Records a block that this node built. Returns false if it is not of this node or not of this height.
    pub fn on_built(&mut self, height: Height, round: Round, value: &BlockValue) -> bool {
        let Header {
            height: of,
            round: at,
            proposer,
            ..
        } = value.header();
        let is_ours = self.height() == height && (*of, *at, *proposer) == (height, round, self.node.me);
        if is_ours {
            self.state.blocks.on_built(value, round);
        }
        is_ours
    }

    /// Records a verdict of the caller. Returns false if it is not of this height, or not the first.
    pub fn on_checked(&mut self, value: &BlockValue, valid: bool) -> bool {
        let header = value.header();
        self.height() == header.height && self.state.blocks.on_checked(value, header.round, valid)
    }

    /// The core accepted a proposal of the scheduled proposer: its body is requested, unless it was checked.
    pub(super) fn on_proposal_accepted(&mut self, proposal: &malachite::SignedProposal<Ctx>) {
        let round = from_core::round(proposal.message.round());
        let value = proposal.message.value();
        let is_checked = match self.state.blocks.on_proposed(value, round) {
            AfterProposal::Check(check) => {
                if self.state.replay.is_none() {
                    self.state.burst.push(check);
                }
                false
            }
            AfterProposal::AwaitVerdict => false,
            AfterProposal::Feed { valid } => {
                self.add_input(proposed_value(value.clone(), valid));
                true
            }
            AfterProposal::Nothing => true,
        };
        // A proposer of a later round shows nothing about the first.
        if round == Round::ZERO && !is_checked {
            self.release_propose_timer();
        }
    }
}

/// The caller's verdict as the core accepts it. The round is that of the block's creation: the core pairs
/// verdicts and proposals by the block alone.
pub(crate) fn proposed_value(value: BlockValue, valid: bool) -> CoreInput {
    let header = value.header();
    CoreInput::ProposedValue(
        ProposedValue {
            height: context::Height(header.height.0),
            round: to_core::round(header.round),
            valid_round: malachite::Round::Nil,
            proposer: Key(header.proposer),
            value,
            validity: Validity::from_bool(valid),
        },
        ValueOrigin::Consensus,
    )
}

/// Rules that relate a proposal to its header, independent of the turn.
fn proposal_shape(proposal: &Proposal) -> Result<(), &'static str> {
    let Proposal {
        height,
        round,
        header,
        lock_round,
        proposer,
    } = proposal;
    if header.height != *height {
        return Err("header of another height");
    }
    match lock_round {
        None if header.round != *round => Err("block of another round without a proof of lock"),
        None if header.proposer != *proposer => Err("block of another proposer without a proof of lock"),
        Some(lock) if lock >= round => Err("proof of lock from no earlier round"),
        Some(lock) if header.round > *lock => Err("block created after its proof of lock"),
        _ => Ok(()),
    }
}
