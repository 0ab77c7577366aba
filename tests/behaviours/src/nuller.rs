//! Nuller: votes nil.

use vibecoin_primitives::Vote;
use vibecoin_replica::Message;

use crate::signer::{Signer, for_block};

/// The same vote for nil.
pub fn vote(signer: &Signer, vote: &Vote) -> Message {
    signer.vote(for_block(vote, None))
}
