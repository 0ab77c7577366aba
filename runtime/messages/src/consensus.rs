//! Messages of the consensus protocol, between validators.

use vibecoin_primitives::limits::{HEADER_BYTES_MAX, VALIDATORS_MAX};
use vibecoin_primitives::{
    Encoded, Hash, Height, PublicKey, Round, Signature, SignedProposal, SignedVote, Vote, VoteKind,
};
use wincode::{SchemaRead, SchemaWrite};

/// A message of the consensus protocol. The enum tag is its version.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum ConsensusMessage {
    /// A prevote or a precommit.
    Vote(SignedVote),
    /// A block proposed for a round; the body travels apart.
    Proposal(Box<SignedProposal>),
    /// A quorum prevoted one block in one round.
    Polka(PolkaCertificate),
    /// Enough votes to enter a round.
    Round(RoundCertificate),
}

/// One signature in a certificate whose votes differ in nothing but the signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct VoteSignature {
    /// The signer.
    pub validator: PublicKey,
    /// Signature over the vote that the certificate implies.
    pub signature: Signature,
}

/// Prevotes of a quorum for one block in one round. Entries in strictly ascending validator order.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct PolkaCertificate {
    /// The height of the prevotes.
    pub height: Height,
    /// The round of the prevotes.
    pub round: Round,
    /// The block that they are for.
    pub block: Hash,
    /// The prevotes.
    pub signatures: Vec<VoteSignature>,
}

/// Justification for entering a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub enum RoundCertificateKind {
    /// Votes of the round itself, of more power than may be faulty: the node may skip to the round.
    Skip,
    /// Precommits of a quorum in the previous round.
    Precommit,
}

/// One vote of a [`RoundCertificate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct RoundVote {
    /// The step of the vote.
    pub kind: VoteKind,
    /// The block voted for, if any.
    pub block: Option<Hash>,
    /// The voter.
    pub validator: PublicKey,
    /// Signature over that vote.
    pub signature: Signature,
}

/// Votes that justify entering a round. Entries in strictly ascending validator order.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct RoundCertificate {
    /// The height of the votes.
    pub height: Height,
    /// The round of the votes.
    pub round: Round,
    /// The justification that they provide.
    pub kind: RoundCertificateKind,
    /// The votes, one per validator.
    pub votes: Vec<RoundVote>,
}

const POLKA_BYTES_MAX: usize = VALIDATORS_MAX * 96 + 64;
const ROUND_BYTES_MAX: usize = VALIDATORS_MAX * 133 + 64;

impl Encoded for PolkaCertificate {
    const NAME: &'static str = "polka certificate";
    const BYTES_MAX: usize = POLKA_BYTES_MAX;
}

impl Encoded for RoundCertificate {
    const NAME: &'static str = "round certificate";
    const BYTES_MAX: usize = ROUND_BYTES_MAX;
}

impl Encoded for ConsensusMessage {
    const NAME: &'static str = "consensus message";
    const BYTES_MAX: usize = ROUND_BYTES_MAX + 4;
}

const _: () = assert!(POLKA_BYTES_MAX <= ROUND_BYTES_MAX);
const _: () = assert!(HEADER_BYTES_MAX + 256 <= ROUND_BYTES_MAX);

impl ConsensusMessage {
    /// The height that the message is about.
    #[must_use]
    pub fn height(&self) -> Height {
        match self {
            Self::Vote(vote) => vote.vote.height,
            Self::Proposal(proposal) => proposal.proposal.height,
            Self::Polka(certificate) => certificate.height,
            Self::Round(certificate) => certificate.height,
        }
    }

    /// The round that the message is about.
    #[must_use]
    pub fn round(&self) -> Round {
        match self {
            Self::Vote(vote) => vote.vote.round,
            Self::Proposal(proposal) => proposal.proposal.round,
            Self::Polka(certificate) => certificate.round,
            Self::Round(certificate) => certificate.round,
        }
    }
}

impl PolkaCertificate {
    /// The prevotes that the certificate is made of.
    pub fn votes(&self) -> impl Iterator<Item = SignedVote> + '_ {
        self.signatures.iter().map(|entry| SignedVote {
            vote: Vote {
                kind: VoteKind::Prevote,
                height: self.height,
                round: self.round,
                block: Some(self.block),
                validator: entry.validator,
            },
            signature: entry.signature,
        })
    }
}

impl RoundCertificate {
    /// The votes that the certificate is made of.
    pub fn signed_votes(&self) -> impl Iterator<Item = SignedVote> + '_ {
        self.votes.iter().map(|entry| SignedVote {
            vote: Vote {
                kind: entry.kind,
                height: self.height,
                round: self.round,
                block: entry.block,
                validator: entry.validator,
            },
            signature: entry.signature,
        })
    }
}
