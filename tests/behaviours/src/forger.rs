//! Forger: certificates of rounds and of blocks that prove nothing.

use vibecoin_consensus::{
    ConsensusMessage, PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote, VoteSignature,
};
use vibecoin_execution::State;
use vibecoin_primitives::{CommitCertificate, CommitSignature, Hash, Round, Vote, VoteKind};
use vibecoin_replica::{CertifiedBlock, Message};

use crate::blocks::Workshop;
use crate::signer::Signer;

/// Certificates of the round of a vote, for `block`.
pub fn round_certificates(signer: &mut Signer, vote: &Vote, block: Hash) -> Vec<Message> {
    let Vote { height, round, .. } = *vote;
    let count = signer.validators.len();
    let mine = |kind| {
        let vote = Vote {
            kind,
            height,
            round,
            block: Some(block),
            validator: signer.me,
        };
        vote.sign(&signer.genesis, &signer.key).signature
    };
    let entry = VoteSignature {
        validator: signer.me,
        signature: mine(VoteKind::Prevote),
    };
    let precommit = RoundVote {
        kind: VoteKind::Precommit,
        block: Some(block),
        validator: signer.me,
        signature: mine(VoteKind::Precommit),
    };
    let signatures = match signer.rng.below(3) {
        0 => vec![entry],
        1 => vec![entry; count],
        _ => {
            let everybody = signer.validators.iter().map(|validator| VoteSignature {
                validator: *validator,
                signature: entry.signature,
            });
            everybody.collect()
        }
    };
    let kind = if signer.rng.chance(500) {
        RoundCertificateKind::Skip
    } else {
        RoundCertificateKind::Precommit
    };
    let votes = vec![precommit; if signer.rng.chance(500) { 1 } else { count }];
    let certificates = [
        ConsensusMessage::Polka(PolkaCertificate {
            height,
            round,
            block,
            signatures,
        }),
        ConsensusMessage::Round(RoundCertificate {
            height,
            round: if kind == RoundCertificateKind::Skip {
                Round(round.0 + 1)
            } else {
                round
            },
            kind,
            votes,
        }),
    ];
    Vec::from(certificates.map(Message::Consensus))
}

/// Replaces a block for a node that catches up, or its certificate.
pub fn certified<S: State>(workshop: &mut Workshop<'_, S>, block: &mut CertifiedBlock) {
    if workshop.signer.rng.chance(700) {
        block.header.time.0 += 1;
        block.certificate = CommitCertificate {
            block: block.header.hash(),
            ..block.certificate.clone()
        };
        let count = workshop.signer.validators.len();
        let count = if workshop.signer.rng.chance(500) { count } else { 1 };
        if workshop.signer.rng.chance(800) {
            block.certificate.signatures = alone(workshop.signer, &block.certificate, count);
        } else if let Some(older) = workshop.older.clone() {
            block.certificate = older;
        }
    } else {
        block.certificate = certificate(workshop.signer, workshop.older.as_ref(), &block.certificate);
    }
}

/// A certificate with one fault; `older` is that of another block.
pub fn certificate(
    signer: &mut Signer,
    older: Option<&CommitCertificate>,
    good: &CommitCertificate,
) -> CommitCertificate {
    let mut forged = good.clone();
    let count = signer.validators.len();
    match signer.rng.below(6) {
        0 => forged.signatures = alone(signer, &forged, 1),
        1 => forged.signatures = alone(signer, &forged, count),
        2 => {
            if let Some(older) = older {
                forged = older.clone();
            } else {
                forged.height.0 += 1;
            }
        }
        3 => forged.signatures.reverse(),
        4 => {
            let mine = signer.key.sign(b"something else");
            forged
                .signatures
                .iter_mut()
                .for_each(|entry| entry.signature = mine);
        }
        _ => {
            forged.signatures.pop();
            forged.signatures.truncate(2 * count / 3);
        }
    }
    forged
}

/// The validator's own precommit, `count` times.
fn alone(signer: &Signer, certificate: &CommitCertificate, count: usize) -> Vec<CommitSignature> {
    let signed = certificate
        .precommit(signer.me)
        .sign(&signer.genesis, &signer.key);
    let entry = CommitSignature {
        validator: signed.vote.validator,
        signature: signed.signature,
    };
    vec![entry; count]
}
