//! Equivocator: two different statements where a correct validator signs one.

use vibecoin_primitives::{BlockPart, Hash, Header, PartContent, SignedVote};

use crate::signer::{Audience, NO_BLOCK, Outgoing, Signer, flipped, for_block, vote_message};

/// A vote and a second one, each to one half of the nodes or both to all.
pub fn votes(signer: &mut Signer, honest: &SignedVote, proposed: Option<Hash>, open: bool) -> Outgoing {
    let other = match honest.vote.block {
        Some(_) if signer.rng.chance(500) => None,
        Some(_) => Some(NO_BLOCK),
        None => Some(proposed.unwrap_or(NO_BLOCK)),
    };
    let other = signer.vote(for_block(&honest.vote, other));
    let honest = vote_message(honest.clone());
    if open || signer.rng.chance(300) {
        return vec![(Audience::All, honest), (Audience::All, other)];
    }
    vec![(Audience::First, honest), (Audience::Second, other)]
}

/// Makes the header that of another block, which is valid alone.
pub const fn header(header: &mut Header) {
    header.time.0 = header.time.0.wrapping_add(1);
}

/// Another part with the number of this one; `None` for an opening.
pub fn part(signer: &Signer, honest: &BlockPart) -> Option<BlockPart> {
    let PartContent::Tick(mut tick) = honest.content.clone() else {
        return None;
    };
    tick.hash = flipped(tick.hash);
    Some(signer.part(honest.signed.statement.clone(), PartContent::Tick(tick)))
}
