//! Far voter: votes for distant heights and rounds.

use vibecoin_primitives::{Height, Round, Vote};
use vibecoin_replica::Message;

use crate::signer::Signer;

/// Votes for distant heights and rounds that follow each vote.
const FAR_VOTES: u64 = 12;

/// Votes like this one, for heights and rounds above it.
pub fn votes(signer: &mut Signer, vote: &Vote) -> Vec<Message> {
    let mut votes = Vec::new();
    for _ in 0..FAR_VOTES {
        let (heights, rounds) = (signer.rng.below(40), signer.rng.below(31));
        let far = Vote {
            height: Height(vote.height.0 + signer.rng.below(1 << heights)),
            round: Round(vote.round.0 + 1 + signer.rng.below(1 << rounds) as u32),
            ..vote.clone()
        };
        votes.push(signer.vote(far));
    }
    votes
}
