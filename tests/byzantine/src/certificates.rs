//! Endless certificates: all invalid, or all valid (41).

use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use vibecoin_consensus::{
    ConsensusMessage, PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote, VoteSignature,
};
use vibecoin_primitives::{Hash, Height, PublicKey, Round, SecretKey, Signature, SignedVote, Vote, VoteKind};
use vibecoin_replica::Message;

use crate::attack::Stage;
use crate::session::{Event, Session};
use crate::{gossip, material};

/// Certificates in one frame.
const PER_FRAME: usize = 32;
/// Rounds of forged ones, and heights from the head on: the head is known half a second late.
const ROUNDS: u32 = 8;
const HEIGHTS: u64 = 4;
/// Certificates that are made from one vote of another validator before the next one is used: 12,000 a second
/// of three validators that each vote eight times.
const PER_VOTE: usize = 512;

/// Well-formed certificates in the validators' names, whose signatures cover other bytes.
pub fn forged<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut stream = session.gossip().await?;
        let mut validators = stage.setting.validators.clone();
        validators.sort_unstable();
        let signature = SecretKey::from_seed(&[0x44; 32]).sign(b"something else");
        loop {
            let (head, from) = (stage.head(), stage.next_message(PER_FRAME) as u64);
            let made = (from..from + PER_FRAME as u64).map(|number| {
                let height = Height(head + 1 + number % HEIGHTS);
                let forged = forge(height, number, &validators, signature);
                gossip::packed(&stage.envelope, &Message::Consensus(forged), 0)
            });
            let frame = gossip::statements(stage, made);
            session.write(&mut stream, &frame, PER_FRAME as u64).await?;
            session.offend("certificates that prove nothing");
            tokio::task::yield_now().await;
        }
    })
}

fn forge(height: Height, number: u64, validators: &[PublicKey], signature: Signature) -> ConsensusMessage {
    let block = Hash(material::numbered(0x79, number));
    let round = Round(number as u32 % ROUNDS);
    let kind = match number / HEIGHTS % 3 {
        0 => {
            let signed = |validator: &PublicKey| VoteSignature {
                validator: *validator,
                signature,
            };
            return ConsensusMessage::Polka(PolkaCertificate {
                height,
                round,
                block,
                signatures: validators.iter().map(signed).collect(),
            });
        }
        1 => RoundCertificateKind::Skip,
        _ => RoundCertificateKind::Precommit,
    };
    let vote = |validator: &PublicKey| RoundVote {
        kind: VoteKind::Precommit,
        block: Some(block),
        validator: *validator,
        signature,
    };
    ConsensusMessage::Round(RoundCertificate {
        height,
        round,
        kind,
        votes: validators.iter().map(vote).collect(),
    })
}

/// Valid certificates of the newest round in which another validator voted: its vote, and one of the
/// attacker, each for another block. No rule is broken: a peer that relays valid messages is not at fault.
pub fn valid<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let Some(key) = stage.setting.key.clone() else {
            return Ok(());
        };
        let own = key.public_key();
        let mut stream = session.gossip().await?;
        let mut newest: Option<SignedVote> = None;
        while let Some(event) = session.event().await {
            let mut waiting = Some(event);
            while let Some(event) = waiting {
                if let Some(vote) = vote_of(stage, &event).filter(|vote| vote.vote.validator != own) {
                    let at = |vote: &SignedVote| (vote.vote.height, vote.vote.round);
                    if newest.as_ref().is_none_or(|newest| at(newest) <= at(&vote)) {
                        newest = Some(vote);
                    }
                }
                waiting = session.event().now_or_never().flatten();
            }
            let Some(vote) = &newest else { continue };
            for _ in 0..PER_VOTE / PER_FRAME {
                let from = stage.next_message(PER_FRAME) as u64;
                let made = (from..from + PER_FRAME as u64).map(|number| {
                    let certificate = with_ours(&stage.setting.genesis, &key, vote, number);
                    gossip::packed(&stage.envelope, &Message::Consensus(certificate), 0)
                });
                let frame = gossip::statements(stage, made);
                session.write(&mut stream, &frame, PER_FRAME as u64).await?;
            }
        }
        Ok(())
    })
}

fn vote_of(stage: &Stage, event: &Event) -> Option<SignedVote> {
    let Event::Gossip(_, data) = event else {
        return None;
    };
    match gossip::opened(stage, data)? {
        Message::Consensus(ConsensusMessage::Vote(vote)) => Some(vote),
        _ => None,
    }
}

/// Half of four validators' power, which is more than may be faulty: the round may be skipped to.
fn with_ours(genesis: &Hash, key: &SecretKey, other: &SignedVote, number: u64) -> ConsensusMessage {
    let (height, round) = (other.vote.height, other.vote.round);
    let ours = Vote {
        kind: VoteKind::Prevote,
        height,
        round,
        block: Some(Hash(material::numbered(0x7a, number))),
        validator: key.public_key(),
    };
    let mut votes = [other.clone(), ours.sign(genesis, key)].map(|signed| RoundVote {
        kind: signed.vote.kind,
        block: signed.vote.block,
        validator: signed.vote.validator,
        signature: signed.signature,
    });
    votes.sort_unstable_by_key(|vote| vote.validator);
    ConsensusMessage::Round(RoundCertificate {
        height,
        round,
        kind: RoundCertificateKind::Skip,
        votes: votes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: Hash = Hash([3; 32]);

    fn votes(message: &ConsensusMessage) -> Vec<SignedVote> {
        match message {
            ConsensusMessage::Polka(certificate) => certificate.votes().collect(),
            ConsensusMessage::Round(certificate) => certificate.signed_votes().collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn each_number_makes_another_valid_certificate_of_one_honest_vote() {
        let [honest, key] = [7, 8].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let vote = Vote {
            kind: VoteKind::Precommit,
            height: Height(9),
            round: Round(2),
            block: None,
            validator: honest.public_key(),
        };
        let vote = vote.sign(&GENESIS, &honest);
        let [first, second] = [1, 2].map(|number| with_ours(&GENESIS, &key, &vote, number));
        assert_ne!(first, second);
        for votes in [votes(&first), votes(&second)] {
            assert!(votes.contains(&vote));
            assert!(votes[0].vote.validator < votes[1].vote.validator);
            assert!(votes.iter().all(|vote| vote.verify(&GENESIS).is_ok()));
        }
    }

    #[test]
    fn a_forged_certificate_has_every_validator_and_no_right_signature() {
        let validators = [1, 2, 3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]).public_key());
        let signature = SecretKey::from_seed(&[9; 32]).sign(b"something else");
        for number in 0..3 * HEIGHTS {
            let votes = votes(&forge(Height(5), number, &validators, signature));
            assert_eq!(votes.len(), validators.len());
            assert!(votes.iter().all(|vote| vote.verify(&GENESIS).is_err()));
        }
    }
}
