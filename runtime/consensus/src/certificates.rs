//! Admission of certificates from other nodes.
//!
//! Any node can assemble certificates without end from a few votes, and an equivocating validator can sign
//! another vote for each: all of them are valid, and each would cost every node its signature checks and be
//! forwarded to all. So a certificate is accepted when it brings this node to a later round, when it has a vote
//! of a validator whose statements are still accepted, or as one of the first of its round. Those first ones are
//! forwarded whenever they arrive again: a node that was offline needs them, and a few prove as much as all.

use std::collections::{BTreeMap, BTreeSet};

use vibecoin_primitives::{PublicKey, Round, SignedVote, encode};

use crate::context::ValidatorSet;
use crate::shell::{Shell, Spoken};
use crate::{ConsensusMessage, RoundCertificateKind, Verdict};

/// Maximum number of certificates of one kind and round that are accepted without adding anything new.
const CERTIFICATES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    Polka,
    Skip,
    Precommit,
}

/// The round and the kind of proof of a certificate.
pub(crate) type Proven = (Round, Proof);

/// The certificates accepted at this height.
#[derive(Default)]
pub(crate) struct Certificates {
    taken: BTreeMap<Proven, BTreeSet<[u8; 32]>>,
    /// Proofs of which a certificate was accepted for the round that it leads to, and did not lead there.
    stuck: BTreeSet<Proven>,
}

impl Certificates {
    pub(crate) fn clear(&mut self) {
        self.taken.clear();
        self.stuck.clear();
    }

    fn has(&self, of: &Proven, name: &[u8; 32]) -> bool {
        self.taken.get(of).is_some_and(|names| names.contains(name))
    }

    fn has_room(&self, of: &Proven) -> bool {
        self.taken
            .get(of)
            .is_none_or(|names| names.len() < CERTIFICATES_MAX)
    }

    fn note(&mut self, of: Proven, name: [u8; 32]) {
        if self.has_room(&of) {
            self.taken.entry(of).or_default().insert(name);
        }
    }
}

/// The proof of a message, if it is a certificate.
pub(crate) const fn proven(message: &ConsensusMessage) -> Option<Proven> {
    match message {
        ConsensusMessage::Polka(certificate) => Some((certificate.round, Proof::Polka)),
        ConsensusMessage::Round(certificate) => Some((
            certificate.round,
            match certificate.kind {
                RoundCertificateKind::Skip => Proof::Skip,
                RoundCertificateKind::Precommit => Proof::Precommit,
            },
        )),
        ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) => None,
    }
}

/// Returns true if a certificate leads from `current` to a later round, as the core sees it.
fn leads_on((round, proof): Proven, current: Round) -> bool {
    proof != Proof::Polka && round > current
}

impl Shell {
    /// The rules for a certificate from another node; the core requires only those of [`Self::check_polka`]
    /// and [`Self::check_round`].
    pub(crate) fn check_foreign(
        &mut self,
        set: &ValidatorSet,
        message: &ConsensusMessage,
        current: Round,
    ) -> Verdict {
        let votes: Vec<SignedVote> = match message {
            ConsensusMessage::Polka(certificate) => certificate.votes().collect(),
            ConsensusMessage::Round(certificate) => certificate.signed_votes().collect(),
            ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) => return Verdict::Ignored,
        };
        let Some(of) = proven(message) else {
            return Verdict::Ignored;
        };
        let unknown: Vec<(Round, Spoken, PublicKey)> = votes
            .iter()
            .filter(|vote| !self.verifier.knows_vote(vote))
            .map(|vote| (vote.vote.round, Spoken::of(vote.vote.kind), vote.vote.validator))
            .collect();
        let name = *blake3::hash(&encode(message)).as_bytes();
        let is_wanted = (leads_on(of, current) && !self.certificates.stuck.contains(&of))
            || unknown.iter().any(|of| !self.has_spoken(of))
            || self.certificates.has_room(&of)
            || self.certificates.has(&of, &name);
        if !is_wanted {
            return Verdict::Ignored;
        }
        let verdict = match message {
            ConsensusMessage::Polka(certificate) => self.check_polka(set, certificate),
            ConsensusMessage::Round(certificate) => self.check_round(set, certificate),
            ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) => Verdict::Ignored,
        };
        if matches!(verdict, Verdict::Fresh | Verdict::Known) {
            self.certificates.note(of, name);
            for of in unknown {
                if !self.has_spoken(&of) {
                    self.note_spoken(of);
                }
            }
        }
        verdict
    }

    /// Records the round to which a certificate led.
    pub(crate) fn led_to(&mut self, of: Proven, before: Round, after: Round) {
        if leads_on(of, before) && leads_on(of, after) {
            self.certificates.stuck.insert(of);
        }
    }
}
