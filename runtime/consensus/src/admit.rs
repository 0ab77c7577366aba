//! Admission rules for messages before they reach the core: cheap rules first, signatures last.

use malachitebft_core_consensus::MAX_FUTURE_ROUND_LOOKAHEAD;
use vibecoin_primitives::Round;

use crate::active::ActiveHeight;
use crate::context::CoreInput;
use crate::convert::to_core;
use crate::future::FutureMessages;
use crate::handler::certificate_key;
use crate::{ConsensusMessage, FUTURE_HEIGHTS, Verdict};

/// An honest chain never reaches this round of one height: at a third of a second per round it takes days.
const ROUND_MAX: Round = Round(1_000_000);
/// Number of rounds ahead of ours for which votes and proposals are accepted, as in the core.
const ROUNDS_AHEAD: u32 = MAX_FUTURE_ROUND_LOOKAHEAD;

impl ActiveHeight<'_> {
    pub fn admit(&mut self, message: ConsensusMessage, future: &mut FutureMessages) -> Verdict {
        let handler = self.handler();
        if message.round() > ROUND_MAX {
            return Verdict::Rejected("round out of range");
        }
        let ahead = match message.height().0.checked_sub(handler.height().0) {
            None => return Verdict::Ignored,
            Some(ahead) => ahead,
        };
        if let Some(verdict) = handler.check_own_key(&message) {
            return verdict;
        }
        match ahead {
            0 if handler.is_decided() => Verdict::Ignored,
            0 => self.admit_now(message),
            1..=FUTURE_HEIGHTS => self.admit_later(message, future),
            _ => match message {
                ConsensusMessage::Vote(vote) => handler.on_far_vote(&vote),
                _ => Verdict::Ignored,
            },
        }
    }

    /// A message for the current height: cheap rules, then signatures, then the core.
    fn admit_now(&mut self, message: ConsensusMessage) -> Verdict {
        let round = self.round();
        let too_far = message.round().0 > round.0.saturating_add(ROUNDS_AHEAD);
        let handler = self.handler();
        let verdict = match &message {
            ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) if too_far => Verdict::Ignored,
            ConsensusMessage::Vote(vote) => handler.check_vote(vote),
            ConsensusMessage::Proposal(proposal) => handler.check_proposal(proposal),
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => {
                handler.check_certificate(&message, round)
            }
        };
        // A known message may still be new to the core: it can have arrived inside a certificate.
        if matches!(verdict, Verdict::Fresh | Verdict::Known) {
            handler.record_height(message.height());
            let key = certificate_key(&message);
            self.feed(core_input(message));
            if let Some(key) = key {
                let after = self.round();
                self.handler().on_certificate_applied(key, round, after);
            }
        }
        verdict
    }

    /// A message for one of the next heights: kept if a validator of this height signed it. The turn of that
    /// validator is checked again when the height begins. Capacity before the signature: a validator could sign votes
    /// for every round, and each would cost every node a signature check.
    fn admit_later(&mut self, message: ConsensusMessage, future: &mut FutureMessages) -> Verdict {
        let handler = self.handler();
        let height = message.height();
        let outlook = future.outlook(&message);
        let refusal = match &message {
            ConsensusMessage::Vote(vote) => handler.check_later_vote(vote, &outlook),
            ConsensusMessage::Proposal(proposal) => handler.check_later_proposal(proposal, &outlook),
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => Some(Verdict::Ignored),
        };
        if let Some(refusal) = refusal {
            return refusal;
        }
        let keeping = future.keep(message);
        handler.record_height(height);
        keeping.refusal().unwrap_or(Verdict::Fresh)
    }
}

fn core_input(message: ConsensusMessage) -> CoreInput {
    match message {
        ConsensusMessage::Vote(vote) => CoreInput::Vote(to_core::signed_vote(vote)),
        ConsensusMessage::Proposal(proposal) => CoreInput::Proposal(to_core::signed_proposal(*proposal)),
        ConsensusMessage::Polka(certificate) => CoreInput::PolkaCertificate(to_core::polka(certificate)),
        ConsensusMessage::Round(certificate) => {
            CoreInput::RoundCertificate(to_core::round_certificate(certificate))
        }
    }
}
