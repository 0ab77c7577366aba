//! Amnesiac: votes for the newest proposal, whatever it is locked on.

use vibecoin_primitives::{Hash, Vote};
use vibecoin_replica::Message;

use crate::signer::{Signer, for_block};

/// The vote for `block` in place of the one that respects the lock.
pub fn vote(signer: &Signer, vote: &Vote, block: Hash) -> Message {
    signer.vote(for_block(vote, Some(block)))
}
