//! The passive observer: it hears everything that is sent, before any link loses it, and forgets nothing.

use std::collections::BTreeMap;

use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{CommitCertificate, Hash, Height, PublicKey, Round, SignedVote, VoteKind};
use vibecoin_replica::Message;

/// What a key says once in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saying {
    Built,
    Part(u32),
    Proposed,
    Prevoted,
    Precommitted,
}

type Place = (PublicKey, Height, Round, Saying);

/// Everything that was signed, and every block that was sent by its builder.
pub struct Observer {
    said: BTreeMap<Place, Option<Hash>>,
    /// A signer that may contradict itself.
    excused: Option<PublicKey>,
}

impl Observer {
    pub fn new(excused: Option<PublicKey>) -> Self {
        Self {
            said: BTreeMap::new(),
            excused,
        }
    }

    /// Takes what `sender` sends. `Err` says who contradicts itself, and where.
    pub fn hear(&mut self, sender: PublicKey, message: &Message) -> Result<(), String> {
        match message {
            Message::Consensus(ConsensusMessage::Vote(vote)) => self.vote(vote),
            Message::Consensus(ConsensusMessage::Polka(polka)) => {
                polka.votes().try_for_each(|vote| self.vote(&vote))
            }
            Message::Consensus(ConsensusMessage::Round(round)) => {
                round.signed_votes().try_for_each(|vote| self.vote(&vote))
            }
            Message::Consensus(ConsensusMessage::Proposal(signed)) => {
                let proposal = &signed.proposal;
                let place = (
                    proposal.proposer,
                    proposal.height,
                    proposal.round,
                    Saying::Proposed,
                );
                self.note(place, Some(proposal.header.hash()))
            }
            Message::Body { header, .. } if header.proposer == sender => self.note(
                (sender, header.height, header.round, Saying::Built),
                Some(header.hash()),
            ),
            Message::Part(part) => {
                let said = &part.signed.statement;
                self.note(
                    (
                        said.proposer,
                        said.height,
                        said.round,
                        Saying::Part(said.sequence),
                    ),
                    Some(said.digest),
                )
            }
            _ => Ok(()),
        }
    }

    /// Takes the precommits of a certificate.
    pub fn certificate(&mut self, certificate: &CommitCertificate) -> Result<(), String> {
        let CommitCertificate {
            height,
            round,
            block,
            signatures,
        } = certificate;
        signatures.iter().try_for_each(|entry| {
            self.note(
                (entry.validator, *height, *round, Saying::Precommitted),
                Some(*block),
            )
        })
    }

    fn vote(&mut self, signed: &SignedVote) -> Result<(), String> {
        let vote = &signed.vote;
        let saying = match vote.kind {
            VoteKind::Prevote => Saying::Prevoted,
            VoteKind::Precommit => Saying::Precommitted,
        };
        self.note((vote.validator, vote.height, vote.round, saying), vote.block)
    }

    fn note(&mut self, place: Place, block: Option<Hash>) -> Result<(), String> {
        let first = *self.said.entry(place).or_insert(block);
        if first == block || self.excused == Some(place.0) {
            return Ok(());
        }
        let (key, height, round, saying) = place;
        Err(format!(
            "{key} {saying:?} {first:?} and {block:?} at height {height} round {round}"
        ))
    }
}
