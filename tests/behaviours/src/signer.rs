//! The key of a Byzantine validator, and what it signs with it.

use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{
    BlockPart, Hash, PartContent, PartStatement, Proposal, PublicKey, SecretKey, SignedProposal, SignedVote,
    Vote, VoteKind,
};
use vibecoin_replica::Message;

use crate::{Behaviour, Rng};
use crate::{amnesiac, equivocator, far_voter, forger, impersonator, nuller};

/// Hash of a block that no validator makes.
pub const NO_BLOCK: Hash = Hash([9; 32]);

/// Receivers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All that the honest message goes to.
    All,
    /// One half of the other nodes.
    First,
    /// The other half.
    Second,
}

/// Messages with their receivers, in order.
pub type Outgoing = Vec<(Audience, Message)>;

/// A validator's key on a chain, with the source of its random choices.
pub struct Signer {
    pub genesis: Hash,
    pub key: SecretKey,
    pub me: PublicKey,
    /// Keys of all validators, in the order of the set.
    pub validators: Vec<PublicKey>,
    pub rng: Rng,
}

impl Signer {
    pub fn vote(&self, vote: Vote) -> Message {
        vote_message(vote.sign(&self.genesis, &self.key))
    }

    pub fn proposal(&self, proposal: Proposal) -> Message {
        proposal_message(proposal.sign(&self.genesis, &self.key))
    }

    /// A part with this content; the digest in the statement is replaced.
    pub fn part(&self, statement: PartStatement, content: PartContent) -> BlockPart {
        let statement = PartStatement {
            digest: content.digest(),
            ..statement
        };
        BlockPart {
            signed: statement.sign(&self.genesis, &self.key),
            content,
        }
    }

    /// Messages in place of one of its own votes; `None` if the behaviour does not concern it. `proposed` is the
    /// block of the newest proposal of the round, and an open network has no halves.
    pub fn votes(
        &mut self,
        behaviour: Behaviour,
        honest: &SignedVote,
        proposed: Option<Hash>,
        open: bool,
    ) -> Option<Outgoing> {
        let vote = &honest.vote;
        match (behaviour, vote.kind) {
            (Behaviour::EquivocatingVotes, _)
            | (Behaviour::EquivocatingPrevotes, VoteKind::Prevote)
            | (Behaviour::EquivocatingPrecommits, VoteKind::Precommit) => {
                Some(equivocator::votes(self, honest, proposed, open))
            }
            (Behaviour::Amnesia, _) => {
                let against_lock = proposed.map(|block| amnesiac::vote(self, vote, block));
                Some(to_all(vec![
                    against_lock.unwrap_or_else(|| vote_message(honest.clone())),
                ]))
            }
            (Behaviour::NilPrecommits, VoteKind::Precommit) => Some(to_all(vec![nuller::vote(self, vote)])),
            (Behaviour::ForgedVotes, _) => {
                let mut messages = impersonator::votes(self, vote, proposed.unwrap_or(NO_BLOCK));
                messages.push(vote_message(honest.clone()));
                Some(to_all(messages))
            }
            (Behaviour::ForgedCertificates, _) => {
                let mut messages = forger::round_certificates(self, vote, proposed.unwrap_or(NO_BLOCK));
                messages.push(vote_message(honest.clone()));
                Some(to_all(messages))
            }
            (Behaviour::FarVotes, _) => {
                let mut messages = vec![vote_message(honest.clone())];
                messages.extend(far_voter::votes(self, vote));
                Some(to_all(messages))
            }
            _ => None,
        }
    }
}

fn to_all(messages: Vec<Message>) -> Outgoing {
    let messages = messages.into_iter();
    messages.map(|message| (Audience::All, message)).collect()
}

pub const fn vote_message(signed: SignedVote) -> Message {
    Message::Consensus(ConsensusMessage::Vote(signed))
}

pub fn proposal_message(signed: SignedProposal) -> Message {
    Message::Consensus(ConsensusMessage::Proposal(Box::new(signed)))
}

/// The same vote for another block, or for nil.
pub fn for_block(vote: &Vote, block: Option<Hash>) -> Vote {
    Vote {
        block,
        ..vote.clone()
    }
}

/// The hash with one bit changed.
pub fn flipped(mut hash: Hash) -> Hash {
    hash.0[0] ^= 1;
    hash
}
