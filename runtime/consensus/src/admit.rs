//! Admission rules for messages before they reach the core: cheap rules first, signatures last.

use malachitebft_core_consensus::MAX_FUTURE_ROUND_LOOKAHEAD;
use vibecoin_primitives::{Height, Proposal, PublicKey, Round, SignedProposal, SignedVote, VoteKind};

use crate::certificates;
use crate::context::{self, CoreInput, ValidatorSet};
use crate::convert::{from_core, to_core};
use crate::future::Keeping;
use crate::shell::{STATEMENTS_MAX, Shell, Spoken};
use crate::{
    BftOrderer, ConsensusMessage, FUTURE_HEIGHTS, HaltReason, PolkaCertificate, RoundCertificate,
    RoundCertificateKind, Statement, Verdict,
};

/// An honest chain never reaches this round of one height: at a third of a second per round it takes days.
const ROUND_MAX: Round = Round(1_000_000);
/// Number of rounds ahead of ours for which votes and proposals are accepted, as in the core.
const ROUNDS_AHEAD: u32 = MAX_FUTURE_ROUND_LOOKAHEAD;

impl BftOrderer {
    pub(crate) fn admit(&mut self, message: ConsensusMessage) -> Verdict {
        let Some(current) = self.shell.height() else {
            return Verdict::Ignored;
        };
        if message.round() > ROUND_MAX {
            return Verdict::Rejected("round out of range");
        }
        let ahead = match message.height().0.checked_sub(current.0) {
            None => return Verdict::Ignored,
            Some(ahead) => ahead,
        };
        if let Some(verdict) = self.shell.watch_own_key(&message) {
            return verdict;
        }
        match ahead {
            0 if self.shell.decided.is_some() => Verdict::Ignored,
            0 => self.admit_now(message),
            1..=FUTURE_HEIGHTS => self.admit_later(message),
            _ => self.admit_far(current, &message),
        }
    }

    /// A message too far ahead to be kept. It still shows that a validator is there, which is worth recording:
    /// a node that was offline for long receives nothing nearer. The recorded height is never further ahead
    /// than this node can see, so one Byzantine validator cannot make it search for blocks forever.
    fn admit_far(&mut self, current: Height, message: &ConsensusMessage) -> Verdict {
        let (Some(set), ConsensusMessage::Vote(vote)) = (self.shell.set.clone(), message) else {
            return Verdict::Ignored;
        };
        let horizon = current.saturating_add(FUTURE_HEIGHTS).saturating_add(1);
        if self.shell.highest_seen >= horizon || set.member(&vote.vote.validator).is_none() {
            return Verdict::Ignored;
        }
        if !self.shell.verifier.vote(vote) {
            return Verdict::Rejected("bad signature of a vote");
        }
        self.shell.saw(horizon);
        Verdict::Ignored
    }

    /// A message for the current height: cheap rules, then signatures, then the core.
    pub(crate) fn admit_now(&mut self, message: ConsensusMessage) -> Verdict {
        let (Some(set), Some(core)) = (self.shell.set.clone(), &self.core) else {
            return Verdict::Ignored;
        };
        let round = from_core::round(core.round());
        let too_far = message.round().0 > round.0.saturating_add(ROUNDS_AHEAD);
        let verdict = match &message {
            ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) if too_far => Verdict::Ignored,
            ConsensusMessage::Vote(vote) => self.shell.check_vote(&set, vote),
            ConsensusMessage::Proposal(proposal) => self.shell.check_proposal(&set, proposal),
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => {
                self.shell.check_foreign(&set, &message, round)
            }
        };
        // A known message may still be new to the core: it can have arrived inside a certificate.
        if matches!(verdict, Verdict::Fresh | Verdict::Known) {
            self.shell.saw(message.height());
            let proven = certificates::proven(&message);
            self.feed(match message {
                ConsensusMessage::Vote(vote) => CoreInput::Vote(to_core::signed_vote(vote)),
                ConsensusMessage::Proposal(proposal) => {
                    CoreInput::Proposal(to_core::signed_proposal(*proposal))
                }
                ConsensusMessage::Polka(certificate) => {
                    CoreInput::PolkaCertificate(to_core::polka(certificate))
                }
                ConsensusMessage::Round(certificate) => {
                    CoreInput::RoundCertificate(to_core::round_certificate(certificate))
                }
            });
            if let (Some(of), Some(core)) = (proven, &self.core) {
                self.shell.led_to(of, round, from_core::round(core.round()));
            }
        }
        verdict
    }

    /// A message for one of the next heights: kept if a validator of this height signed it. The turn of that
    /// validator is checked again when the height begins.
    pub(crate) fn admit_later(&mut self, message: ConsensusMessage) -> Verdict {
        let Some(set) = self.shell.set.clone() else {
            return Verdict::Ignored;
        };
        let height = message.height();
        let keeping = match message {
            ConsensusMessage::Vote(vote) => {
                if set.member(&vote.vote.validator).is_none() {
                    return Verdict::Ignored;
                }
                if !self.shell.verifier.vote(&vote) {
                    return Verdict::Rejected("bad signature of a vote");
                }
                self.future.vote(vote)
            }
            ConsensusMessage::Proposal(proposal) => {
                if set.member(&proposal.proposal.proposer).is_none() {
                    return Verdict::Ignored;
                }
                if let Err(fault) = proposal_shape(&proposal.proposal) {
                    return Verdict::Rejected(fault);
                }
                if !self.shell.verifier.proposal(&proposal) {
                    return Verdict::Rejected("bad signature of a proposal");
                }
                self.future.proposal(*proposal)
            }
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => return Verdict::Ignored,
        };
        self.shell.saw(height);
        match keeping {
            Keeping::Kept => Verdict::Fresh,
            Keeping::Known => Verdict::Known,
            Keeping::Full => Verdict::Ignored,
        }
    }
}

impl Shell {
    /// Halts when a message under this node's own key was signed by another process. `None`: it is another
    /// validator's, or may be ours.
    fn watch_own_key(&mut self, message: &ConsensusMessage) -> Option<Verdict> {
        let (statement, what) = match message {
            ConsensusMessage::Vote(signed) if signed.vote.validator == self.me => {
                let what = match signed.vote.kind {
                    VoteKind::Prevote => "prevote",
                    VoteKind::Precommit => "precommit",
                };
                (Statement::vote(&signed.vote, &self.genesis), what)
            }
            ConsensusMessage::Proposal(signed) if signed.proposal.proposer == self.me => {
                (Statement::proposal(&signed.proposal, &self.genesis), "proposal")
            }
            _ => return None,
        };
        if !self.own.is_foreign(statement.position(), &statement.digest()) {
            return None;
        }
        let signed = match message {
            ConsensusMessage::Vote(vote) => self.verifier.vote(vote),
            ConsensusMessage::Proposal(proposal) => self.verifier.proposal(proposal),
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => false,
        };
        if !signed {
            return Some(Verdict::Rejected("bad signature in our name"));
        }
        self.halt_elsewhere(what, message.height(), message.round());
        Some(Verdict::Ignored)
    }

    pub(crate) fn halt_elsewhere(&mut self, what: &'static str, height: Height, round: Round) {
        self.halt(HaltReason::KeyUsedElsewhere { what, height, round });
    }

    pub(crate) fn saw(&mut self, height: Height) {
        self.highest_seen = self.highest_seen.max(height);
    }

    pub(crate) fn check_vote(&mut self, set: &ValidatorSet, vote: &SignedVote) -> Verdict {
        if set.member(&vote.vote.validator).is_none() {
            return self.of_no_validator(&vote.vote.validator, "vote of no validator");
        }
        if self.verifier.knows_vote(vote) {
            return Verdict::Known;
        }
        let of = (vote.vote.round, Spoken::of(vote.vote.kind), vote.vote.validator);
        if self.has_spoken(&of) {
            return Verdict::Ignored;
        }
        if self.verifier.vote(vote) {
            self.note_spoken(of);
            Verdict::Fresh
        } else {
            Verdict::Rejected("bad signature of a vote")
        }
    }

    /// Keeps the keys that leave with this set, for as long as a node that forwards their messages could be behind.
    pub(crate) fn note_who_left(&mut self, set: &ValidatorSet) {
        let height = set.params().height;
        self.left
            .retain(|key, since| height < since.saturating_add(FUTURE_HEIGHTS) && set.member(key).is_none());
        let Some(old) = &self.set else { return };
        for member in old.params().validators.members() {
            if set.member(&member.key).is_none() {
                self.left.insert(member.key, height);
            }
        }
    }

    /// The verdict on a message that no validator signed. Its forwarder is not to blame where it may know the
    /// signer from an earlier height.
    fn of_no_validator(&self, signer: &PublicKey, fault: &'static str) -> Verdict {
        if self.left.contains_key(signer) {
            Verdict::Ignored
        } else {
            Verdict::Rejected(fault)
        }
    }

    /// Returns true if the maximum number of statements was accepted of an equivocating validator.
    pub(crate) fn has_spoken(&self, of: &(Round, Spoken, PublicKey)) -> bool {
        self.spoken.get(of).is_some_and(|taken| *taken >= STATEMENTS_MAX)
    }

    pub(crate) fn note_spoken(&mut self, of: (Round, Spoken, PublicKey)) {
        let taken = self.spoken.entry(of).or_default();
        *taken = taken.saturating_add(1);
    }

    /// Rules for a proposal that hold whatever the body is. The core would accept a header whose creator is
    /// not the scheduled one, so such a header never reaches it.
    pub(crate) fn check_proposal(&mut self, set: &ValidatorSet, signed: &SignedProposal) -> Verdict {
        let proposal = &signed.proposal;
        let turn = |round| context::key_of(set.proposer(to_core::round(round)));
        if let Err(fault) = proposal_shape(proposal) {
            return Verdict::Rejected(fault);
        }
        if set.member(&proposal.proposer).is_none() {
            return self.of_no_validator(&proposal.proposer, "proposal of no validator");
        }
        let of = (proposal.round, Spoken::Proposal, proposal.proposer);
        let in_turn = turn(proposal.round) == proposal.proposer
            && turn(proposal.header.round) == proposal.header.proposer;
        if !in_turn {
            // The forwarder may be a height behind and unable to determine the turn: only the signature shows
            // that it is at fault. Not recorded: messages out of turn must not fill the memory. Counted,
            // since each costs a signature check.
            return if self.has_spoken(&of) {
                Verdict::Ignored
            } else if signed.verify(&self.genesis).is_ok() {
                self.note_spoken(of);
                Verdict::Ignored
            } else {
                Verdict::Rejected("bad signature of a proposal")
            };
        }
        if self.verifier.knows_proposal(signed) {
            return Verdict::Known;
        }
        if self.has_spoken(&of) {
            return Verdict::Ignored;
        }
        if self.verifier.proposal(signed) {
            self.note_spoken(of);
            Verdict::Fresh
        } else {
            Verdict::Rejected("bad signature of a proposal")
        }
    }

    pub(crate) fn check_polka(&mut self, set: &ValidatorSet, certificate: &PolkaCertificate) -> Verdict {
        let votes: Vec<SignedVote> = certificate.votes().collect();
        let model = set.params().fault_model;
        self.check_certificate(set, &votes, |power, total| model.is_quorum(power, total))
    }

    pub(crate) fn check_round(&mut self, set: &ValidatorSet, certificate: &RoundCertificate) -> Verdict {
        if certificate.kind == RoundCertificateKind::Precommit
            && certificate
                .votes
                .iter()
                .any(|vote| vote.kind == VoteKind::Prevote)
        {
            return Verdict::Rejected("prevote in a certificate of precommits");
        }
        let votes: Vec<SignedVote> = certificate.signed_votes().collect();
        let model = set.params().fault_model;
        self.check_certificate(set, &votes, |power, total| match certificate.kind {
            RoundCertificateKind::Precommit => model.is_quorum(power, total),
            RoundCertificateKind::Skip => context::is_honest(model, power, total),
        })
    }

    pub(crate) fn check_certificate(
        &mut self,
        set: &ValidatorSet,
        votes: &[SignedVote],
        enough: impl FnOnce(u64, u64) -> bool,
    ) -> Verdict {
        let known = votes.iter().all(|vote| self.verifier.knows_vote(vote));
        match self.verifier.certificate(&set.params().validators, votes, enough) {
            Ok(()) if known => Verdict::Known,
            Ok(()) => Verdict::Fresh,
            Err(fault) => Verdict::Rejected(fault.text()),
        }
    }
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
