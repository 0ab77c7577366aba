//! Impersonator: statements in the names of others, which no signature covers.

use vibecoin_primitives::{Hash, Nonce, SecretKey, SignedVote, Transaction, TransactionBody, Vote, VoteKind};
use vibecoin_replica::Message;

use crate::signer::{Signer, vote_message};

/// Votes of both kinds in the name of every other validator.
pub fn votes(signer: &Signer, like: &Vote, block: Hash) -> Vec<Message> {
    let signature = signer.key.sign(b"whatever");
    let others = signer.validators.iter().filter(|key| **key != signer.me);
    let votes = others.flat_map(|validator| {
        [VoteKind::Prevote, VoteKind::Precommit].map(|kind| {
            vote_message(SignedVote {
                vote: Vote {
                    kind,
                    block: Some(block),
                    validator: *validator,
                    ..like.clone()
                },
                signature,
            })
        })
    });
    votes.collect()
}

/// A transaction of `victim`, signed with another key.
pub fn transaction(genesis: &Hash, victim: &TransactionBody, nonce: u64, thief: &SecretKey) -> Transaction {
    let body = TransactionBody {
        nonce: Nonce(nonce),
        ..victim.clone()
    };
    body.sign(genesis, thief)
}
