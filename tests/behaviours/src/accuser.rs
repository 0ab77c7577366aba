//! Accuser: evidence against an innocent validator, or the same evidence in each of its blocks.

use vibecoin_primitives::{Evidence, Hash, Header, Height, PublicKey, Round, Vote, VoteKind};

use crate::signer::Signer;

/// Two votes that the accused validator never signed.
pub fn slander(signer: &mut Signer, header: &Header) -> Option<Evidence> {
    let index = signer.rng.index(signer.validators.len() - 1);
    let me = signer.me;
    let victim = *signer.validators.iter().filter(|key| **key != me).nth(index)?;
    let of = (header.height, header.round);
    Some(two_votes(signer, victim, of, header.parent))
}

/// Two prevotes of the validator itself for height 1: the same each time, so that its first block with them is valid.
pub fn confession(signer: &Signer) -> Evidence {
    two_votes(signer, signer.me, (Height(1), Round(0)), signer.genesis)
}

/// Prevotes for nil and for a block in the name of a validator, signed with the own key.
fn two_votes(
    signer: &Signer,
    validator: PublicKey,
    (height, round): (Height, Round),
    block: Hash,
) -> Evidence {
    let vote = |block| {
        let vote = Vote {
            kind: VoteKind::Prevote,
            height,
            round,
            block,
            validator,
        };
        vote.sign(&signer.genesis, &signer.key)
    };
    Evidence::votes(vote(None), vote(Some(block)))
}
