//! Certificates: the rules for those of other nodes, and sending and checking them for the core.
//!
//! Any node can assemble certificates without end from a few votes, and an equivocating validator can sign
//! another vote for each: all of them are valid, and each would cost every node its signature checks and be
//! forwarded to all. So a certificate is accepted when it brings this node to a later round, when it has a vote
//! of a validator whose statements are still accepted, or as one of the first of its round. Those first ones are
//! forwarded whenever they arrive again: a node that was offline needs them, and a few prove as much as all.

use std::collections::{BTreeMap, BTreeSet};

use malachitebft_core_types as malachite;
use malachitebft_core_types::CertificateError;
use vibecoin_primitives::{Round, SignedVote, VoteKind, encode};

use super::EffectHandler;
use super::statements::Slot;
use super::votes::slot_of;
use crate::context::{self, Ctx};
use crate::convert::from_core;
use crate::{ConsensusMessage, PolkaCertificate, RoundCertificate, RoundCertificateKind, Verdict};

/// Maximum number of certificates of one kind and round that are accepted without adding anything new.
const CERTIFICATES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CertificateKind {
    Polka,
    Skip,
    Precommit,
}

/// The round and the kind of a certificate.
pub(crate) type CertificateKey = (Round, CertificateKind);

/// The certificates accepted at this height.
#[derive(Default)]
pub(crate) struct AcceptedCertificates {
    digests: BTreeMap<CertificateKey, BTreeSet<[u8; 32]>>,
    /// Keys of which a certificate was accepted for the round that it leads to, and did not lead there.
    stuck: BTreeSet<CertificateKey>,
}

impl AcceptedCertificates {
    fn contains(&self, key: &CertificateKey, digest: &[u8; 32]) -> bool {
        self.digests
            .get(key)
            .is_some_and(|digests| digests.contains(digest))
    }

    fn has_capacity(&self, key: &CertificateKey) -> bool {
        self.digests
            .get(key)
            .is_none_or(|digests| digests.len() < CERTIFICATES_MAX)
    }

    fn insert(&mut self, key: CertificateKey, digest: [u8; 32]) {
        if self.has_capacity(&key) {
            self.digests.entry(key).or_default().insert(digest);
        }
    }
}

/// The key of a message, if it is a certificate.
pub(crate) const fn certificate_key(message: &ConsensusMessage) -> Option<CertificateKey> {
    match message {
        ConsensusMessage::Polka(certificate) => Some((certificate.round, CertificateKind::Polka)),
        ConsensusMessage::Round(certificate) => Some((
            certificate.round,
            match certificate.kind {
                RoundCertificateKind::Skip => CertificateKind::Skip,
                RoundCertificateKind::Precommit => CertificateKind::Precommit,
            },
        )),
        ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) => None,
    }
}

/// Returns true if a certificate leads from `current` to a later round, as the core sees it.
fn leads_on((round, kind): CertificateKey, current: Round) -> bool {
    kind != CertificateKind::Polka && round > current
}

impl EffectHandler<'_> {
    /// The rules for a certificate of another node; the core requires only those of [`Self::check_polka`]
    /// and [`Self::check_round_certificate`].
    pub fn check_certificate(&mut self, message: &ConsensusMessage, current: Round) -> Verdict {
        let votes: Vec<SignedVote> = match message {
            ConsensusMessage::Polka(certificate) => certificate.votes().collect(),
            ConsensusMessage::Round(certificate) => certificate.signed_votes().collect(),
            ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) => return Verdict::Ignored,
        };
        let Some(key) = certificate_key(message) else {
            return Verdict::Ignored;
        };
        let unknown: Vec<Slot> = votes
            .iter()
            .filter(|vote| !self.node.verifier.knows_vote(vote))
            .map(slot_of)
            .collect();
        let digest = *blake3::hash(&encode(message)).as_bytes();
        let certificates = &self.state.certificates;
        let is_wanted = (leads_on(key, current) && !certificates.stuck.contains(&key))
            || unknown.iter().any(|slot| !self.state.statements.is_full(slot))
            || certificates.has_capacity(&key)
            || certificates.contains(&key, &digest);
        if !is_wanted {
            return Verdict::Ignored;
        }
        let verdict = match message {
            ConsensusMessage::Polka(certificate) => self.check_polka(certificate),
            ConsensusMessage::Round(certificate) => self.check_round_certificate(certificate),
            ConsensusMessage::Vote(_) | ConsensusMessage::Proposal(_) => Verdict::Ignored,
        };
        if matches!(verdict, Verdict::Fresh | Verdict::Known) {
            self.state.certificates.insert(key, digest);
            for slot in unknown {
                if !self.state.statements.is_full(&slot) {
                    self.state.statements.add(slot);
                }
            }
        }
        verdict
    }

    /// Records the round to which a certificate led.
    pub fn on_certificate_applied(&mut self, key: CertificateKey, before: Round, after: Round) {
        if leads_on(key, before) && leads_on(key, after) {
            self.state.certificates.stuck.insert(key);
        }
    }

    fn check_polka(&mut self, certificate: &PolkaCertificate) -> Verdict {
        let votes: Vec<SignedVote> = certificate.votes().collect();
        let model = self.params().fault_model;
        self.check_votes(&votes, |power, total| model.is_quorum(power, total))
    }

    fn check_round_certificate(&mut self, certificate: &RoundCertificate) -> Verdict {
        if certificate.kind == RoundCertificateKind::Precommit
            && certificate
                .votes
                .iter()
                .any(|vote| vote.kind == VoteKind::Prevote)
        {
            return Verdict::Rejected("prevote in a certificate of precommits");
        }
        let votes: Vec<SignedVote> = certificate.signed_votes().collect();
        let model = self.params().fault_model;
        self.check_votes(&votes, |power, total| match certificate.kind {
            RoundCertificateKind::Precommit => model.is_quorum(power, total),
            RoundCertificateKind::Skip => context::is_honest(model, power, total),
        })
    }

    fn check_votes(&mut self, votes: &[SignedVote], enough: impl FnOnce(u64, u64) -> bool) -> Verdict {
        let verifier = &mut self.node.verifier;
        let known = votes.iter().all(|vote| verifier.knows_vote(vote));
        match verifier.certificate(&self.state.params().validators, votes, enough) {
            Ok(()) if known => Verdict::Known,
            Ok(()) => Verdict::Fresh,
            Err(fault) => Verdict::Rejected(fault.text()),
        }
    }

    #[expect(clippy::result_large_err, reason = "the core's type")]
    pub(super) fn verify_polka(
        &mut self,
        certificate: malachite::PolkaCertificate<Ctx>,
    ) -> Result<(), CertificateError<Ctx>> {
        core_verdict(self.check_polka(&from_core::polka(certificate)))
    }

    #[expect(clippy::result_large_err, reason = "the core's type")]
    pub(super) fn verify_round_certificate(
        &mut self,
        certificate: malachite::RoundCertificate<Ctx>,
    ) -> Result<(), CertificateError<Ctx>> {
        core_verdict(self.check_round_certificate(&from_core::round_certificate(certificate)))
    }

    pub(super) fn send_polka(&mut self, certificate: malachite::PolkaCertificate<Ctx>) {
        if self.state.replay.is_none() {
            self.send(ConsensusMessage::Polka(from_core::polka(certificate)));
        }
    }

    pub(super) fn send_round_certificate(&mut self, certificate: malachite::RoundCertificate<Ctx>) {
        if self.state.replay.is_none() {
            self.send(ConsensusMessage::Round(from_core::round_certificate(certificate)));
        }
    }
}

#[expect(clippy::result_large_err, reason = "the core's type")]
fn core_verdict(verdict: Verdict) -> Result<(), CertificateError<Ctx>> {
    match verdict {
        Verdict::Fresh | Verdict::Known => Ok(()),
        Verdict::Ignored | Verdict::Rejected(_) => Err(CertificateError::VerificationError(None)),
    }
}
