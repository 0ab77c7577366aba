//! Messages for the next heights, kept until their height begins.
//!
//! Bounded per validator and height. Only messages whose signatures hold are kept, so no sender can occupy
//! another validator's capacity. Whether a message would be kept is asked before its signature is checked: one
//! that would not be costs nothing.

use std::collections::BTreeMap;

use vibecoin_primitives::{Height, PublicKey, SignedProposal, SignedVote};

use crate::{ConsensusMessage, Verdict};

/// Number of heights ahead of the current one for which messages are kept.
pub const FUTURE_HEIGHTS: u64 = 4;
/// Maximum number of votes of one validator kept for one height: both votes of four rounds.
const VOTES_MAX: usize = 8;
/// Maximum number of proposals of one validator kept for one height.
const PROPOSALS_MAX: usize = 2;

#[derive(Debug, Default)]
struct Kept {
    proposals: Vec<SignedProposal>,
    votes: Vec<SignedVote>,
}

#[derive(Debug, Default)]
pub(crate) struct FutureMessages {
    heights: BTreeMap<Height, BTreeMap<PublicKey, Kept>>,
}

/// Outcome of keeping a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    Kept,
    Known,
    Full,
}

impl Keeping {
    /// The verdict on a message that is not kept, whatever its signature is; `None` for one that is.
    pub const fn refusal(&self) -> Option<Verdict> {
        match self {
            Self::Kept => None,
            Self::Known => Some(Verdict::Known),
            Self::Full => Some(Verdict::Ignored),
        }
    }
}

fn outlook<T: PartialEq>(list: Option<&Vec<T>>, item: &T, max: usize) -> Keeping {
    match list {
        Some(list) if list.contains(item) => Keeping::Known,
        Some(list) if list.len() >= max => Keeping::Full,
        _ => Keeping::Kept,
    }
}

fn keep<T: PartialEq>(list: &mut Vec<T>, item: T, max: usize) -> Keeping {
    let outlook = outlook(Some(list), &item, max);
    if outlook == Keeping::Kept {
        list.push(item);
    }
    outlook
}

impl FutureMessages {
    fn kept(&self, height: Height, validator: &PublicKey) -> Option<&Kept> {
        self.heights.get(&height)?.get(validator)
    }

    /// Outcome of keeping this vote.
    fn outlook_of_vote(&self, vote: &SignedVote) -> Keeping {
        let kept = self.kept(vote.vote.height, &vote.vote.validator);
        outlook(kept.map(|kept| &kept.votes), vote, VOTES_MAX)
    }

    /// Outcome of keeping this proposal.
    fn outlook_of_proposal(&self, proposal: &SignedProposal) -> Keeping {
        let kept = self.kept(proposal.proposal.height, &proposal.proposal.proposer);
        outlook(kept.map(|kept| &kept.proposals), proposal, PROPOSALS_MAX)
    }

    fn slot(&mut self, height: Height, validator: PublicKey) -> &mut Kept {
        self.heights
            .entry(height)
            .or_default()
            .entry(validator)
            .or_default()
    }

    /// Outcome of [`FutureMessages::keep`], without keeping the message.
    pub fn outlook(&self, message: &ConsensusMessage) -> Keeping {
        match message {
            ConsensusMessage::Vote(vote) => self.outlook_of_vote(vote),
            ConsensusMessage::Proposal(proposal) => self.outlook_of_proposal(proposal),
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => Keeping::Full,
        }
    }

    /// Keeps a vote or a proposal; certificates are not kept.
    pub fn keep(&mut self, message: ConsensusMessage) -> Keeping {
        match message {
            ConsensusMessage::Vote(vote) => self.vote(vote),
            ConsensusMessage::Proposal(proposal) => self.proposal(*proposal),
            ConsensusMessage::Polka(_) | ConsensusMessage::Round(_) => Keeping::Full,
        }
    }

    fn vote(&mut self, vote: SignedVote) -> Keeping {
        keep(
            &mut self.slot(vote.vote.height, vote.vote.validator).votes,
            vote,
            VOTES_MAX,
        )
    }

    fn proposal(&mut self, proposal: SignedProposal) -> Keeping {
        let slot = self.slot(proposal.proposal.height, proposal.proposal.proposer);
        keep(&mut slot.proposals, proposal, PROPOSALS_MAX)
    }

    /// Takes the messages kept for `height`, proposals first, and drops those kept for lower heights.
    pub fn take(&mut self, height: Height) -> Vec<ConsensusMessage> {
        let mut later = self.heights.split_off(&height);
        let mut proposals = Vec::new();
        let mut votes = Vec::new();
        for kept in later.remove(&height).unwrap_or_default().into_values() {
            proposals.extend(
                kept.proposals
                    .into_iter()
                    .map(|p| ConsensusMessage::Proposal(Box::new(p))),
            );
            votes.extend(kept.votes.into_iter().map(ConsensusMessage::Vote));
        }
        self.heights = later;
        proposals.append(&mut votes);
        proposals
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use vibecoin_primitives::{Hash, Round, SecretKey, Vote, VoteKind};

    use super::*;

    fn vote(height: u64, round: u32) -> SignedVote {
        let key = SecretKey::from_seed(&[1; 32]);
        let vote = Vote {
            kind: VoteKind::Prevote,
            height: Height(height),
            round: Round(round),
            block: None,
            validator: key.public_key(),
        };
        vote.sign(&Hash::ZERO, &key)
    }

    #[test]
    fn a_validator_has_room_for_eight_votes_per_height_and_no_more() {
        let mut future = FutureMessages::default();
        for round in 0..8 {
            assert_eq!(future.outlook_of_vote(&vote(5, round)), Keeping::Kept);
            assert_eq!(future.vote(vote(5, round)), Keeping::Kept);
        }
        assert_eq!(future.outlook_of_vote(&vote(5, 8)), Keeping::Full);
        assert_eq!(future.vote(vote(5, 8)), Keeping::Full);
        assert_eq!(future.vote(vote(5, 3)), Keeping::Known);
        assert_eq!(future.vote(vote(6, 8)), Keeping::Kept);
    }

    #[test]
    fn taking_a_height_gives_its_messages_and_drops_lower_ones() {
        let mut future = FutureMessages::default();
        for height in [4, 5, 6] {
            future.vote(vote(height, 0));
        }
        assert_eq!(future.take(Height(5)), vec![ConsensusMessage::Vote(vote(5, 0))]);
        assert_eq!(future.take(Height(4)), vec![]);
        assert_eq!(future.take(Height(6)), vec![ConsensusMessage::Vote(vote(6, 0))]);
        assert!(future.heights.is_empty());
    }
}
