//! Signatures of this node's key: votes, proposals and parts, and those that another process made.

use malachitebft_core_types as malachite;
use malachitebft_core_types::SignedMessage;
use vibecoin_primitives::{PartStatement, Signature, SignedPart, SignedProposal, SignedVote, VoteKind};

use super::EffectHandler;
use crate::context::{self, Ctx};
use crate::convert::from_core;
use crate::verify::TOMBSTONE;
use crate::{ConsensusMessage, HaltReason, HeightParams, Statement, Verdict};

impl EffectHandler<'_> {
    /// Returns true if a message of ours is not in the log yet. Refused signatures are not messages.
    pub(super) fn is_unlogged(&self, signature: &Signature) -> bool {
        let replay = self.state.replay.as_ref();
        *signature != TOMBSTONE && replay.is_none_or(|replay| replay.signed.contains(signature))
    }

    pub(super) fn sign_vote(&mut self, vote: context::Vote) -> malachite::SignedVote<Ctx> {
        let ours = from_core::vote(vote.clone());
        let signature = self.sign(&Statement::vote(&ours, &self.node.genesis));
        if let Some(signature) = signature {
            self.node.verifier.remember_vote(SignedVote {
                vote: ours,
                signature,
            });
        }
        SignedMessage::new(vote, signature.unwrap_or(TOMBSTONE))
    }

    pub(super) fn sign_proposal(&mut self, proposal: context::Proposal) -> malachite::SignedProposal<Ctx> {
        let ours = from_core::proposal(&proposal);
        let signature = self.sign(&Statement::proposal(&ours, &self.node.genesis));
        if let Some(signature) = signature {
            let signed = SignedProposal {
                proposal: ours,
                signature,
            };
            self.node.verifier.remember_proposal(&signed);
            self.state.proposed = Some(Box::new(signed));
        }
        SignedMessage::new(proposal, signature.unwrap_or(TOMBSTONE))
    }

    fn sign(&mut self, statement: &Statement) -> Option<Signature> {
        let key = self.node.key.as_ref()?;
        match self.node.guard.sign(statement, key) {
            Ok(signature) => {
                self.node.own.signed(statement.position(), statement.digest());
                self.node.counters.signed = self.node.counters.signed.saturating_add(1);
                if let Some(replay) = &mut self.state.replay {
                    replay.signed.push(signature);
                }
                Some(signature)
            }
            Err(_) => {
                self.on_refusal();
                None
            }
        }
    }

    /// The guard refused to sign. The node continues without the signature; a lone validator cannot continue.
    pub(super) fn on_refusal(&mut self) {
        self.node.counters.refused = self.node.counters.refused.saturating_add(1);
        if self.is_lone_set() {
            self.halt_behind_guard();
        }
    }

    /// Returns true if the set has one validator.
    pub(super) fn is_lone_set(&self) -> bool {
        self.params().validators.members().len() == 1
    }

    /// Halts, as the guard is ahead of the log and no other validator has the block.
    pub(super) fn halt_behind_guard(&mut self) {
        if let Some(newest) = self.node.guard.newest() {
            let (guard_height, guard_round) = (newest.height, newest.round);
            self.halt(HaltReason::GuardAhead {
                height: self.height(),
                guard_height,
                guard_round,
            });
        }
    }

    /// See [`crate::Orderer::sign_part`].
    pub fn sign_part(&mut self, statement: PartStatement) -> Option<SignedPart> {
        let node = &mut *self.node;
        let key = node.key.as_ref().filter(|_| statement.proposer == node.me)?;
        if node.is_halted() {
            return None;
        }
        let HeightParams { height, .. } = *self.state.params();
        let (round, next) = self.state.streaming?;
        if (statement.height, statement.round, statement.sequence) != (height, round, next) {
            return None;
        }
        self.state.streaming = Some((round, next.saturating_add(1)));
        node.counters.signed = node.counters.signed.saturating_add(1);
        node.own.signed_part(&statement);
        Some(statement.sign(&node.genesis, key))
    }

    /// Halts when a message under this node's own key was signed by another process. `None`: it is another
    /// validator's, or may be ours.
    pub fn check_own_key(&mut self, message: &ConsensusMessage) -> Option<Verdict> {
        let node = &mut *self.node;
        let (statement, what) = match message {
            ConsensusMessage::Vote(signed) if signed.vote.validator == node.me => {
                let what = match signed.vote.kind {
                    VoteKind::Prevote => "prevote",
                    VoteKind::Precommit => "precommit",
                };
                (Statement::vote(&signed.vote, &node.genesis), what)
            }
            ConsensusMessage::Proposal(signed) if signed.proposal.proposer == node.me => {
                (Statement::proposal(&signed.proposal, &node.genesis), "proposal")
            }
            _ => return None,
        };
        if !node.own.is_foreign(statement.position(), &statement.digest()) {
            return None;
        }
        let is_signed = match message {
            ConsensusMessage::Vote(vote) => node.verifier.vote(vote),
            ConsensusMessage::Proposal(proposal) => node.verifier.proposal(proposal),
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => false,
        };
        if !is_signed {
            return Some(Verdict::Rejected("bad signature in our name"));
        }
        let (height, round) = (message.height(), message.round());
        self.halt(HaltReason::KeyUsedElsewhere { what, height, round });
        Some(Verdict::Ignored)
    }
}
