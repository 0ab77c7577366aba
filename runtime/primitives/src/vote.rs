//! Votes, proposals, and the certificates and evidence made of them.

use std::collections::BTreeSet;

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{CERTIFICATE_BYTES_MAX, EVIDENCE_BYTES_MAX};
use crate::transaction::signed_bytes;
use crate::{
    Domain, Encoded, FaultModel, Hash, Header, Height, KnownKeys, PublicKey, Round, SecretKey, Signature,
    SignatureBatch, SignatureError, SignedPart, ValidatorSet, encode, planted,
};

/// Prefix of the bytes that a vote's signature covers.
pub const VOTE_TAG: &[u8] = b"vibecoin/vote/v1";
/// Prefix of the bytes that a proposal's signature covers.
pub const PROPOSAL_TAG: &[u8] = b"vibecoin/proposal/v1";

/// First or second step of voting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub enum VoteKind {
    /// A vote for a valid block.
    Prevote,
    /// A vote to decide a block that a quorum prevoted.
    Precommit,
}

/// The statement that a validator signs when it votes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub struct Vote {
    /// The step of the vote.
    pub kind: VoteKind,
    /// The height of the vote.
    pub height: Height,
    /// The round of the vote.
    pub round: Round,
    /// The block's hash; `None` is a nil vote.
    pub block: Option<Hash>,
    /// The voter.
    pub validator: PublicKey,
}

/// A vote with its signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub struct SignedVote {
    /// The signed vote.
    pub vote: Vote,
    /// Signature by `vote.validator`.
    pub signature: Signature,
}

/// The statement that a proposer signs.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Proposal {
    /// The height of the proposal.
    pub height: Height,
    /// The round of the proposal.
    pub round: Round,
    /// The block's header; the body is sent separately.
    pub header: Header,
    /// The round in which a quorum prevoted this block, for a block proposed again.
    pub lock_round: Option<Round>,
    /// The proposer.
    pub proposer: PublicKey,
}

/// A proposal with its signature.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct SignedProposal {
    /// The signed proposal.
    pub proposal: Proposal,
    /// Signature by `proposal.proposer`.
    pub signature: Signature,
}

impl Vote {
    /// The bytes that are signed on the chain with this genesis hash.
    #[must_use]
    pub fn signing_bytes(&self, genesis: &Hash) -> Vec<u8> {
        signed_bytes(VOTE_TAG, genesis, self)
    }

    /// Signs the vote.
    #[must_use]
    pub fn sign(self, genesis: &Hash, key: &SecretKey) -> SignedVote {
        let signature = key.sign(&self.signing_bytes(genesis));
        SignedVote {
            vote: self,
            signature,
        }
    }
}

impl SignedVote {
    /// Checks the signature alone; the caller checks whether the signer is a validator.
    ///
    /// # Errors
    /// [`SignatureError`] when the signature rule does not hold.
    pub fn verify(&self, genesis: &Hash) -> Result<(), SignatureError> {
        self.vote
            .validator
            .verify(&self.vote.signing_bytes(genesis), &self.signature)
    }
}

impl Proposal {
    /// The bytes that are signed on the chain with this genesis hash.
    #[must_use]
    pub fn signing_bytes(&self, genesis: &Hash) -> Vec<u8> {
        signed_bytes(PROPOSAL_TAG, genesis, self)
    }

    /// Signs the proposal.
    #[must_use]
    pub fn sign(self, genesis: &Hash, key: &SecretKey) -> SignedProposal {
        let signature = key.sign(&self.signing_bytes(genesis));
        SignedProposal {
            proposal: self,
            signature,
        }
    }
}

impl SignedProposal {
    /// Checks the signature alone; the caller checks whether it is the proposer's turn.
    ///
    /// # Errors
    /// [`SignatureError`] when the signature rule does not hold.
    pub fn verify(&self, genesis: &Hash) -> Result<(), SignatureError> {
        self.proposal
            .proposer
            .verify(&self.proposal.signing_bytes(genesis), &self.signature)
    }
}

impl Encoded for SignedVote {
    const NAME: &'static str = "vote";
    const BYTES_MAX: usize = 256;
}

impl Encoded for SignedProposal {
    const NAME: &'static str = "proposal";
    const BYTES_MAX: usize = crate::limits::HEADER_BYTES_MAX + 256;
}

/// One precommit of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct CommitSignature {
    /// The signer.
    pub validator: PublicKey,
    /// Signature over the precommit for the certificate's block.
    pub signature: Signature,
}

/// Precommits of a quorum, which make a block final. Entries in ascending validator order.
///
/// The certificates of two nodes for one block may hold different signers, so only the next block hashes a
/// certificate, and its copy is the one that counts.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct CommitCertificate {
    /// The block's height.
    pub height: Height,
    /// The round in which it was decided.
    pub round: Round,
    /// The block's hash.
    pub block: Hash,
    /// The precommits.
    pub signatures: Vec<CommitSignature>,
}

/// Reason why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The certificate is about another block or height.
    #[error(
        "certificate is for block {got} at height {got_height}, expected {expected} at height {expected_height}"
    )]
    OtherBlock {
        /// The expected block.
        expected: Hash,
        /// The expected height.
        expected_height: Height,
        /// The certified block.
        got: Hash,
        /// The certified height.
        got_height: Height,
    },
    /// Entries are not strictly ascending by validator.
    #[error("certificate entries are not strictly ascending at {validator}")]
    Order {
        /// The entry that is not above its predecessor.
        validator: PublicKey,
    },
    /// A signer is not a validator of that height.
    #[error("{validator} is not a validator at this height")]
    UnknownSigner {
        /// The signer.
        validator: PublicKey,
    },
    /// A signature does not verify; one invalid entry invalidates the certificate. The bad one is not
    /// identified: that would cost many checks, and the sender of the certificate is at fault in any case.
    #[error("one of the {signers} signatures in the certificate does not hold")]
    BadSignature {
        /// Number of signers in the certificate.
        signers: usize,
    },
    /// Not enough power.
    #[error("certificate has {got} of {total} power, which is no quorum")]
    NoQuorum {
        /// Power of the signers.
        got: u64,
        /// Power of the set.
        total: u64,
    },
}

impl Encoded for CommitCertificate {
    const NAME: &'static str = "commit certificate";
    const BYTES_MAX: usize = CERTIFICATE_BYTES_MAX;
}

impl CommitCertificate {
    /// The hash that the next header contains.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Certificate.hash(&encode(self))
    }

    /// Checks that `set` decided `block` at `height`: a quorum of distinct members of the set, in ascending
    /// order, every signature valid.
    ///
    /// # Errors
    /// [`CertificateError`] with the first rule that does not hold. Cheap rules are checked first.
    pub fn verify(
        &self,
        genesis: &Hash,
        fault_model: FaultModel,
        set: &ValidatorSet,
        height: Height,
        block: &Hash,
    ) -> Result<(), CertificateError> {
        if planted::is_other_certificate(self.height != height, self.block != *block) {
            return Err(CertificateError::OtherBlock {
                expected: *block,
                expected_height: height,
                got: self.block,
                got_height: self.height,
            });
        }
        let mut power = 0u64;
        let mut previous: Option<PublicKey> = None;
        for CommitSignature { validator, .. } in &self.signatures {
            if previous.is_some_and(|previous| !planted::is_in_order(&previous, validator)) {
                return Err(CertificateError::Order {
                    validator: *validator,
                });
            }
            previous = Some(*validator);
            let (_, member) = set.find(validator).ok_or(CertificateError::UnknownSigner {
                validator: *validator,
            })?;
            power = power.saturating_add(member.power.0);
        }
        let total = set.total_power();
        if !fault_model.is_quorum(power, total) {
            return Err(CertificateError::NoQuorum { got: power, total });
        }
        let mut batch = SignatureBatch::new();
        for CommitSignature { validator, signature } in &self.signatures {
            batch.push(
                validator,
                &self.precommit(*validator).signing_bytes(genesis),
                signature,
            );
        }
        let signers = self.signatures.len();
        let holds = batch.all_hold(&mut KnownKeys::default());
        holds
            .then_some(())
            .ok_or(CertificateError::BadSignature { signers })
    }

    /// The vote that an entry's signature covers.
    #[must_use]
    pub fn precommit(&self, validator: PublicKey) -> Vote {
        Vote {
            kind: VoteKind::Precommit,
            height: self.height,
            round: self.round,
            block: Some(self.block),
            validator,
        }
    }

    /// The signers.
    #[must_use]
    pub fn signers(&self) -> BTreeSet<PublicKey> {
        self.signatures.iter().map(|entry| entry.validator).collect()
    }
}

/// Two messages of which an honest validator signs only one. The pair proves itself.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum Evidence {
    /// Two votes of one kind, height and round for different blocks.
    DuplicateVote {
        /// The smaller of the two, by encoding.
        first: Box<SignedVote>,
        /// The larger.
        second: Box<SignedVote>,
    },
    /// Two proposals of one height and round for different blocks.
    DuplicateProposal {
        /// The smaller of the two, by encoding.
        first: Box<SignedProposal>,
        /// The larger.
        second: Box<SignedProposal>,
    },
    /// Two parts of one height, round and sequence number with different contents.
    DuplicatePart {
        /// The smaller of the two, by encoding.
        first: Box<SignedPart>,
        /// The larger.
        second: Box<SignedPart>,
    },
}

/// Reason why a pair of messages proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Signer, height, round or kind differ, or both are the same statement.
    #[error("the two messages do not contradict each other")]
    NoConflict,
    /// The pair is not in ascending order, so that it would have two encodings.
    #[error("the two messages are not in ascending order")]
    Order,
    /// The signer is not a validator of that height.
    #[error("{validator} is not a validator at this height")]
    UnknownSigner {
        /// The signer.
        validator: PublicKey,
    },
    /// A signature does not verify.
    #[error("bad signature: {0}")]
    Signature(#[from] SignatureError),
}

impl Encoded for Evidence {
    const NAME: &'static str = "evidence";
    const BYTES_MAX: usize = EVIDENCE_BYTES_MAX;
}

impl Evidence {
    /// Makes evidence of two votes, in the one order that counts.
    #[must_use]
    pub fn votes(a: SignedVote, b: SignedVote) -> Self {
        let (first, second) = if encode(&a) <= encode(&b) { (a, b) } else { (b, a) };
        Self::DuplicateVote {
            first: Box::new(first),
            second: Box::new(second),
        }
    }

    /// Makes evidence of two proposals, in the one order that counts.
    #[must_use]
    pub fn proposals(a: SignedProposal, b: SignedProposal) -> Self {
        let (first, second) = if encode(&a) <= encode(&b) { (a, b) } else { (b, a) };
        Self::DuplicateProposal {
            first: Box::new(first),
            second: Box::new(second),
        }
    }

    /// Makes evidence of two parts, in the one order that counts.
    #[must_use]
    pub fn parts(a: SignedPart, b: SignedPart) -> Self {
        let (first, second) = if encode(&a) <= encode(&b) { (a, b) } else { (b, a) };
        Self::DuplicatePart {
            first: Box::new(first),
            second: Box::new(second),
        }
    }

    /// The signer of both, and their height.
    #[must_use]
    pub fn offender(&self) -> (PublicKey, Height) {
        match self {
            Self::DuplicateVote { first, .. } => (first.vote.validator, first.vote.height),
            Self::DuplicateProposal { first, .. } => (first.proposal.proposer, first.proposal.height),
            Self::DuplicatePart { first, .. } => (first.statement.proposer, first.statement.height),
        }
    }

    /// The leaf of this evidence in the header's evidence tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Evidence.hash(&encode(self))
    }

    /// Checks that the pair proves a double signature by a member of `set`.
    ///
    /// # Errors
    /// [`EvidenceError`] with the first rule that does not hold.
    pub fn verify(&self, genesis: &Hash, set: &ValidatorSet) -> Result<(), EvidenceError> {
        let (validator, _) = self.offender();
        let conflict = match self {
            Self::DuplicateVote { first, second } => {
                let (a, b) = (&first.vote, &second.vote);
                (a.kind, a.height, a.round, a.validator) == (b.kind, b.height, b.round, b.validator)
                    && a.block != b.block
            }
            Self::DuplicateProposal { first, second } => {
                let (a, b) = (&first.proposal, &second.proposal);
                (a.height, a.round, a.proposer) == (b.height, b.round, b.proposer)
                    && (a.header.hash() != b.header.hash())
            }
            Self::DuplicatePart { first, second } => {
                let (a, b) = (&first.statement, &second.statement);
                (a.height, a.round, a.proposer, a.sequence) == (b.height, b.round, b.proposer, b.sequence)
                    && (a.parent, a.digest) != (b.parent, b.digest)
            }
        };
        if !conflict {
            return Err(EvidenceError::NoConflict);
        }
        set.find(&validator)
            .ok_or(EvidenceError::UnknownSigner { validator })?;
        // Both at once: a pair that proves nothing costs one check.
        let mut batch = SignatureBatch::new();
        match self {
            Self::DuplicateVote { first, second } => {
                if encode(first.as_ref()) >= encode(second.as_ref()) {
                    return Err(EvidenceError::Order);
                }
                for signed in [first, second] {
                    batch.push(&validator, &signed.vote.signing_bytes(genesis), &signed.signature);
                }
            }
            Self::DuplicateProposal { first, second } => {
                if encode(first.as_ref()) >= encode(second.as_ref()) {
                    return Err(EvidenceError::Order);
                }
                for signed in [first, second] {
                    batch.push(
                        &validator,
                        &signed.proposal.signing_bytes(genesis),
                        &signed.signature,
                    );
                }
            }
            Self::DuplicatePart { first, second } => {
                if encode(first.as_ref()) >= encode(second.as_ref()) {
                    return Err(EvidenceError::Order);
                }
                for signed in [first, second] {
                    batch.push(
                        &validator,
                        &signed.statement.signing_bytes(genesis),
                        &signed.signature,
                    );
                }
            }
        }
        let holds = batch.all_hold(&mut KnownKeys::default());
        holds
            .then_some(())
            .ok_or(EvidenceError::Signature(SignatureError::Mismatch))
    }
}
