//! What the consensus log stores: every input that the state of a height depends on.
//!
//! The log is reset once the height's block and certificate are durable elsewhere. It holds what the
//! core needs to come back to the same state after a crash, so that the node derives the very votes it
//! had signed. It is never trusted alone: [`crate::Guard`] decides what may be signed.

use vibecoin_primitives::{Block, Encoded, Header, Height, PublicKey, Round, SignedProposal, SignedVote};
use wincode::{SchemaRead, SchemaWrite};

use crate::PolkaCertificate;

/// Which wait ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub enum TimeoutStep {
    /// No proposal came.
    Propose,
    /// Prevotes came, but no quorum for one choice.
    Prevote,
    /// Precommits came, but no quorum for one choice.
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
    /// A wait ran out.
    Timeout {
        /// At which height.
        height: Height,
        /// In which round.
        round: Round,
        /// Which wait.
        step: TimeoutStep,
    },
    /// A block was built or checked.
    Value {
        /// Its header.
        header: Box<Header>,
        /// The round it was built or seen in.
        round: Round,
        /// The round of its proof of lock, if any.
        valid_round: Option<Round>,
        /// Who proposed it in that round.
        proposer: PublicKey,
        /// The verdict.
        valid: bool,
    },
    /// A verified polka certificate.
    Polka(PolkaCertificate),
    /// A block with its body. Appended by the caller before it tells the orderer about the block;
    /// [`crate::Orderer::replay`] passes over it.
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
