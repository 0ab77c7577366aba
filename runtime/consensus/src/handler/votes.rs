//! Votes: the rules for those of other nodes, and sending and checking them for the core.

use malachitebft_core_consensus::{ConsensusMsg, LivenessMsg, SignedConsensusMsg};
use malachitebft_core_types as malachite;
use malachitebft_core_types::SignedMessage;
use vibecoin_primitives::{Height, PublicKey, SignedProposal, SignedVote};

use super::EffectHandler;
use super::statements::Slot;
use crate::context::Ctx;
use crate::convert::from_core;
use crate::future::Keeping;
use crate::verify::TOMBSTONE;
use crate::{ConsensusMessage, FUTURE_HEIGHTS, Verdict};

impl EffectHandler<'_> {
    pub fn check_vote(&mut self, signed: &SignedVote) -> Verdict {
        let vote = &signed.vote;
        if self.state.validators.member(&vote.validator).is_none() {
            return self.of_no_validator(&vote.validator, "vote of no validator");
        }
        if self.node.verifier.knows_vote(signed) {
            return Verdict::Known;
        }
        let slot = slot_of(signed);
        if self.state.statements.is_full(&slot) {
            return Verdict::Ignored;
        }
        if self.node.verifier.vote(signed) {
            self.state.statements.add(slot);
            Verdict::Fresh
        } else {
            Verdict::Rejected("bad signature of a vote")
        }
    }

    /// The verdict on a message that no validator signed. Its forwarder is not to blame where it may know the
    /// signer from an earlier height.
    pub(super) fn of_no_validator(&self, signer: &PublicKey, fault: &'static str) -> Verdict {
        if self.node.has_departed(signer) {
            Verdict::Ignored
        } else {
            Verdict::Rejected(fault)
        }
    }

    /// Rules for a vote of a later height: a validator of this height signed it. `None`: it may be kept.
    pub fn check_later_vote(&mut self, vote: &SignedVote, outlook: &Keeping) -> Option<Verdict> {
        if self.state.validators.member(&vote.vote.validator).is_none() {
            return Some(Verdict::Ignored);
        }
        if let Some(refusal) = outlook.refusal() {
            return Some(refusal);
        }
        let is_signed = self.node.verifier.vote(vote);
        (!is_signed).then_some(Verdict::Rejected("bad signature of a vote"))
    }

    /// A vote too far ahead to be kept. It still shows that a validator is there, which is worth recording:
    /// a node that was offline for long receives nothing nearer. The recorded height is never further ahead
    /// than this node can see, so one Byzantine validator cannot make it search for blocks forever.
    pub fn on_far_vote(&mut self, vote: &SignedVote) -> Verdict {
        let horizon = self.height().saturating_add(FUTURE_HEIGHTS).saturating_add(1);
        if self.node.highest_seen() >= horizon || self.state.validators.member(&vote.vote.validator).is_none()
        {
            return Verdict::Ignored;
        }
        if !self.node.verifier.vote(vote) {
            return Verdict::Rejected("bad signature of a vote");
        }
        self.record_height(horizon);
        Verdict::Ignored
    }

    /// Records that a validator is at `height`.
    pub fn record_height(&mut self, height: Height) {
        self.node.record_height(height);
    }

    pub(super) fn verify_signature(&mut self, signed: SignedMessage<Ctx, ConsensusMsg<Ctx>>) -> bool {
        let SignedMessage { message, signature } = signed;
        match message {
            ConsensusMsg::Vote(vote) => self.node.verifier.vote(&SignedVote {
                vote: from_core::vote(vote),
                signature,
            }),
            ConsensusMsg::Proposal(proposal) => self.node.verifier.proposal(&SignedProposal {
                proposal: from_core::proposal(&proposal),
                signature,
            }),
        }
    }

    pub(super) fn publish(&mut self, message: SignedConsensusMsg<Ctx>) {
        if !self.is_unlogged(message.signature()) {
            return;
        }
        match message {
            SignedConsensusMsg::Vote(vote) => self.send_vote(vote),
            SignedConsensusMsg::Proposal(proposal) => {
                let proposal = Box::new(from_core::signed_proposal(&proposal));
                self.send(ConsensusMessage::Proposal(proposal));
            }
        }
    }

    pub(super) fn publish_liveness(&mut self, message: LivenessMsg<Ctx>) {
        match message {
            LivenessMsg::Vote(vote) => self.send_vote(vote),
            LivenessMsg::PolkaCertificate(certificate) => self.send_polka(certificate),
            LivenessMsg::SkipRoundCertificate(certificate) => self.send_round_certificate(certificate),
        }
    }

    /// Sends a vote of this node, unless the guard refused to sign it.
    pub(super) fn send_vote(&mut self, vote: malachite::SignedVote<Ctx>) {
        if vote.signature != TOMBSTONE {
            self.send(ConsensusMessage::Vote(from_core::signed_vote(vote)));
        }
    }
}

/// The slot that a vote counts for.
pub(super) fn slot_of(signed: &SignedVote) -> Slot {
    Slot {
        round: signed.vote.round,
        kind: signed.vote.kind.into(),
        validator: signed.vote.validator,
    }
}
