//! Double votes of one validator that every node knows, or that were never signed (41).

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use vibecoin_primitives::{Evidence, Hash, Height, Round, SecretKey, SignedVote, VoteKind};
use vibecoin_replica::Message;

use crate::attack::{Setting, Stage};
use crate::gossip;
use crate::session::Session;

/// Pieces in one frame.
const PER_FRAME: usize = 32;
/// Pieces about one offence, and of those with a bad signature.
const PIECES: u32 = 4_000;
const BAD_PIECES: u32 = 512;
/// The height of the offence, and the heights of invented offences: all old when an attack begins.
const OFFENCE: Height = Height(1);
const NO_OFFENCE: Height = Height(2);

/// Each second connection sends pieces with bad signatures, the others the pieces about one offence: first
/// each once, then as further copies.
pub fn flood<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut stream = session.gossip().await?;
        let are_bad = stage.next_message(1) % 2 == 1;
        let pieces = if are_bad {
            &stage.material.bad_evidence
        } else {
            &stage.material.evidence
        };
        for copy in 0..u16::MAX {
            for chunk in pieces.chunks(PER_FRAME) {
                let made = chunk.iter().map(|piece| {
                    let message = Message::Evidence(Box::new(piece.clone()));
                    gossip::packed(&stage.envelope, &message, copy)
                });
                let frame = gossip::statements(stage, made);
                session.write(&mut stream, &frame, chunk.len() as u64).await?;
                if are_bad {
                    session.offend("evidence that proves nothing");
                }
            }
        }
        Ok(())
    })
}

/// Validly signed pieces that all prove one offence, each by the votes of another round.
#[must_use]
pub fn of_one_offence(setting: &Setting, key: &SecretKey) -> Vec<Evidence> {
    let piece = |round| {
        let [first, second] = votes(setting, key, OFFENCE, round);
        Evidence::votes(first, second)
    };
    (0..PIECES).map(piece).collect()
}

/// Pieces in whose second vote the signature covers other bytes.
#[must_use]
pub fn badly_signed(setting: &Setting, key: &SecretKey) -> Vec<Evidence> {
    let signature = key.sign(b"something else");
    let piece = |round| {
        let [first, mut second] = votes(setting, key, NO_OFFENCE, round);
        second.signature = signature;
        Evidence::votes(first, second)
    };
    (0..BAD_PIECES).map(piece).collect()
}

fn votes(setting: &Setting, key: &SecretKey, height: Height, round: u32) -> [SignedVote; 2] {
    let of = (height, Round(round));
    [None, Some(Hash([1; 32]))]
        .map(|block| vibecoin_tests_support::vote(&setting.genesis, key, VoteKind::Prevote, of, block))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vibecoin_primitives::EvidenceError;

    use super::*;

    #[test]
    fn one_kind_of_piece_proves_an_offence_and_the_other_fails_by_its_signature() {
        let key = SecretKey::from_seed(&[5; 32]);
        let setting = Setting {
            genesis: Hash([3; 32]),
            targets: Vec::new(),
            sources: Vec::new(),
            strangers: 1,
            time: Duration::ZERO,
            key: None,
            validators: Vec::new(),
        };
        let set = vibecoin_tests_support::validators([5]);
        let good = of_one_offence(&setting, &key);
        assert!(
            good.iter()
                .take(9)
                .all(|piece| piece.verify(&setting.genesis, &set).is_ok())
        );
        assert!(good.iter().all(|piece| piece.offence() == good[0].offence()));
        for piece in badly_signed(&setting, &key).iter().take(9) {
            let verdict = piece.verify(&setting.genesis, &set);
            assert!(matches!(verdict, Err(EvidenceError::Signature(_))), "{verdict:?}");
        }
    }
}
