//! Conversions between our types and the core's.

use malachitebft_core_types as malachite;
use vibecoin_primitives as p;

/// From our types to the core's.
pub(crate) mod to_core {
    use malachitebft_core_types::{NilOrVal, SignedMessage, VoteType};
    use vibecoin_primitives::{Hash, VoteKind};

    use super::{malachite, p};
    use crate::context::{BlockValue, Ctx, Height, Key, Proposal, Vote};
    use crate::{PolkaCertificate, RoundCertificate, RoundCertificateKind};

    pub const fn round(round: p::Round) -> malachite::Round {
        malachite::Round::new(round.0)
    }

    pub fn lock_round(lock: Option<p::Round>) -> malachite::Round {
        lock.map_or(malachite::Round::Nil, round)
    }

    const fn vote_kind(kind: VoteKind) -> VoteType {
        match kind {
            VoteKind::Prevote => VoteType::Prevote,
            VoteKind::Precommit => VoteType::Precommit,
        }
    }

    fn block(block: Option<Hash>) -> NilOrVal<Hash> {
        block.map_or(NilOrVal::Nil, NilOrVal::Val)
    }

    pub fn signed_vote(signed: p::SignedVote) -> malachite::SignedVote<Ctx> {
        let p::SignedVote { vote, signature } = signed;
        let vote = Vote {
            kind: vote_kind(vote.kind),
            height: Height(vote.height.0),
            round: round(vote.round),
            block: block(vote.block),
            validator: Key(vote.validator),
        };
        SignedMessage::new(vote, signature)
    }

    pub fn signed_proposal(signed: p::SignedProposal) -> malachite::SignedProposal<Ctx> {
        let p::SignedProposal { proposal, signature } = signed;
        let proposal = Proposal {
            height: Height(proposal.height.0),
            round: round(proposal.round),
            block: BlockValue::new(proposal.header),
            lock_round: lock_round(proposal.lock_round),
            proposer: Key(proposal.proposer),
        };
        SignedMessage::new(proposal, signature)
    }

    pub fn polka(certificate: PolkaCertificate) -> malachite::PolkaCertificate<Ctx> {
        malachite::PolkaCertificate {
            height: Height(certificate.height.0),
            round: round(certificate.round),
            value_id: certificate.block,
            polka_signatures: certificate
                .signatures
                .into_iter()
                .map(|entry| malachite::PolkaSignature::new(Key(entry.validator), entry.signature))
                .collect(),
        }
    }

    pub fn round_certificate(certificate: RoundCertificate) -> malachite::RoundCertificate<Ctx> {
        malachite::RoundCertificate {
            height: Height(certificate.height.0),
            round: round(certificate.round),
            cert_type: match certificate.kind {
                RoundCertificateKind::Skip => malachite::RoundCertificateType::Skip,
                RoundCertificateKind::Precommit => malachite::RoundCertificateType::Precommit,
            },
            round_signatures: certificate
                .votes
                .into_iter()
                .map(|vote| {
                    malachite::RoundSignature::new(
                        vote_kind(vote.kind),
                        block(vote.block),
                        Key(vote.validator),
                        vote.signature,
                    )
                })
                .collect(),
        }
    }
}

/// From the core's types to ours. Entries of certificates are sorted by validator.
pub(crate) mod from_core {
    use malachitebft_core_types::{NilOrVal, VoteType};
    use vibecoin_primitives::{Hash, VoteKind};

    use super::{malachite, p};
    use crate::context::{Ctx, Proposal, Vote};
    use crate::{PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote, VoteSignature};

    pub fn round(round: malachite::Round) -> p::Round {
        p::Round(round.as_u32().unwrap_or(0))
    }

    pub fn lock_round(round: malachite::Round) -> Option<p::Round> {
        round.as_u32().map(p::Round)
    }

    const fn vote_kind(kind: VoteType) -> VoteKind {
        match kind {
            VoteType::Prevote => VoteKind::Prevote,
            VoteType::Precommit => VoteKind::Precommit,
        }
    }

    const fn block(block: NilOrVal<Hash>) -> Option<Hash> {
        match block {
            NilOrVal::Nil => None,
            NilOrVal::Val(hash) => Some(hash),
        }
    }

    pub fn vote(vote: Vote) -> p::Vote {
        p::Vote {
            kind: vote_kind(vote.kind),
            height: p::Height(vote.height.0),
            round: round(vote.round),
            block: block(vote.block),
            validator: vote.validator.0,
        }
    }

    pub fn signed_vote(signed: malachite::SignedVote<Ctx>) -> p::SignedVote {
        p::SignedVote {
            vote: vote(signed.message),
            signature: signed.signature,
        }
    }

    pub fn proposal(proposal: &Proposal) -> p::Proposal {
        p::Proposal {
            height: p::Height(proposal.height.0),
            round: round(proposal.round),
            header: proposal.block.header().clone(),
            lock_round: lock_round(proposal.lock_round),
            proposer: proposal.proposer.0,
        }
    }

    pub fn signed_proposal(signed: &malachite::SignedProposal<Ctx>) -> p::SignedProposal {
        p::SignedProposal {
            proposal: proposal(&signed.message),
            signature: signed.signature,
        }
    }

    pub fn polka(certificate: malachite::PolkaCertificate<Ctx>) -> PolkaCertificate {
        let mut signatures: Vec<VoteSignature> = certificate
            .polka_signatures
            .into_iter()
            .map(|entry| VoteSignature {
                validator: entry.address.0,
                signature: entry.signature,
            })
            .collect();
        signatures.sort_by_key(|entry| entry.validator);
        PolkaCertificate {
            height: p::Height(certificate.height.0),
            round: round(certificate.round),
            block: certificate.value_id,
            signatures,
        }
    }

    pub fn round_certificate(certificate: malachite::RoundCertificate<Ctx>) -> RoundCertificate {
        let mut votes: Vec<RoundVote> = certificate
            .round_signatures
            .into_iter()
            .map(|entry| RoundVote {
                kind: vote_kind(entry.vote_type),
                block: block(entry.value_id),
                validator: entry.address.0,
                signature: entry.signature,
            })
            .collect();
        votes.sort_by_key(|vote| vote.validator);
        RoundCertificate {
            height: p::Height(certificate.height.0),
            round: round(certificate.round),
            kind: match certificate.cert_type {
                malachite::RoundCertificateType::Skip => RoundCertificateKind::Skip,
                malachite::RoundCertificateType::Precommit => RoundCertificateKind::Precommit,
            },
            votes,
        }
    }

    pub fn commit(certificate: malachite::CommitCertificate<Ctx>) -> p::CommitCertificate {
        let mut signatures: Vec<p::CommitSignature> = certificate
            .commit_signatures
            .into_iter()
            .map(|entry| p::CommitSignature {
                validator: entry.address.0,
                signature: entry.signature,
            })
            .collect();
        signatures.sort_by_key(|entry| entry.validator);
        p::CommitCertificate {
            height: p::Height(certificate.height.0),
            round: round(certificate.round),
            block: certificate.value_id,
            signatures,
        }
    }
}
