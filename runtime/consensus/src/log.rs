//! Records of the consensus log: every input that the state of a height depends on.
//!
//! The log is reset once the height's block and certificate are durable elsewhere. It holds the inputs that
//! the core needs to return to the same state after a crash, so that the node derives the same votes that it
//! had signed. It is never trusted alone: [`crate::Guard`] decides which messages may be signed.

use vibecoin_primitives::{Block, Encoded, Header, Height, PublicKey, Round, SignedProposal, SignedVote};
use wincode::{SchemaRead, SchemaWrite};

use crate::PolkaCertificate;

/// Step whose timeout expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub enum TimeoutStep {
    /// No proposal arrived.
    Propose,
    /// Prevotes arrived, but no quorum for one choice.
    Prevote,
    /// Precommits arrived, but no quorum for one choice.
    Precommit,
}

/// One record of the log. The enum tag names the kind; a layout that changes gets a new tag, so an old
/// log stays readable.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum LogRecord {
    /// An accepted vote, ours or another's.
    Vote(SignedVote),
    /// An accepted proposal, ours or another's.
    Proposal(Box<SignedProposal>),
    /// A timeout expired.
    Timeout {
        /// The height of the timeout.
        height: Height,
        /// The round of the timeout.
        round: Round,
        /// The step whose timeout expired.
        step: TimeoutStep,
    },
    /// A block was built or checked.
    Value {
        /// The header of the block.
        header: Box<Header>,
        /// The round in which it was built or received.
        round: Round,
        /// The round of its proof of lock, if any.
        valid_round: Option<Round>,
        /// The proposer in that round.
        proposer: PublicKey,
        /// The verdict.
        valid: bool,
    },
    /// A verified polka certificate.
    Polka(PolkaCertificate),
    /// A block with its body. Appended by the caller before it reports the block to the orderer;
    /// [`crate::Orderer::replay`] skips it.
    Block(Box<Block>),
}

impl Encoded for LogRecord {
    const NAME: &'static str = "consensus log record";
    const BYTES_MAX: usize = Block::BYTES_MAX + 4;
}

impl LogRecord {
    /// The height that the record belongs to.
    #[must_use]
    pub fn height(&self) -> Height {
        match self {
            Self::Vote(vote) => vote.vote.height,
            Self::Proposal(proposal) => proposal.proposal.height,
            Self::Timeout { height, .. } => *height,
            Self::Value { header, .. } => header.height,
            Self::Polka(certificate) => certificate.height,
            Self::Block(block) => block.header.height,
        }
    }
}
