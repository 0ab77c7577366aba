//! The passive observer: it receives every sent message, before any link loses it, and forgets nothing.
//!
//! An excused validator may equivocate and break its locks. All others must keep two rules that no
//! single node could check of the others: no validator signs two messages for one step, and none votes
//! against what the prevotes of all allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{
    CommitCertificate, FaultModel, Hash, Height, PublicKey, Round, SignedVote, ValidatorSet, VoteKind,
};
use vibecoin_replica::Message;

use crate::node::Fault;
use crate::report::Rule;

/// The kinds of messages of which a key signs one per round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saying {
    Built,
    /// A part of a block, with its number.
    Streamed(u32),
    Proposed,
    Prevoted,
    Precommitted,
}

type Place = (PublicKey, Height, Round, Saying);

/// All signed messages, and every block that was sent by its builder.
pub struct Observer {
    validators: Arc<ValidatorSet>,
    fault_model: FaultModel,
    said: BTreeMap<Place, Option<Hash>>,
    /// Validators that prevoted a block in a round.
    prevotes: BTreeMap<(Height, Hash, Round), BTreeSet<PublicKey>>,
    /// The last precommit of each key: a lock, until a later round prevotes another block.
    locks: BTreeMap<PublicKey, (Height, Round, Hash)>,
    /// A signer that may equivocate.
    excused: Option<PublicKey>,
    /// Number of its equivocations with two votes or two proposals that can be proven to any node.
    pub contradictions: u64,
}

/// Returns true if this power is a quorum: counted in the simplest way, apart from the code under test.
pub fn is_quorum(model: FaultModel, power: u64, total: u64) -> bool {
    match model {
        FaultModel::Byzantine => 3 * power > 2 * total,
        FaultModel::Crash => 2 * power > total,
    }
}

impl Observer {
    pub const fn new(
        validators: Arc<ValidatorSet>,
        fault_model: FaultModel,
        excused: Option<PublicKey>,
    ) -> Self {
        Self {
            validators,
            fault_model,
            said: BTreeMap::new(),
            prevotes: BTreeMap::new(),
            locks: BTreeMap::new(),
            excused,
            contradictions: 0,
        }
    }

    /// Takes a message from `sender`. `Err` names the validator, the broken rule, and the position.
    pub fn hear(&mut self, sender: PublicKey, message: &Message) -> Result<(), Fault> {
        // A forgery never verifies; only messages of a Byzantine node under its own name count.
        if self.excused == Some(sender) {
            return self.hear_liar(sender, message);
        }
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
                let part = &part.signed.statement;
                let saying = Saying::Streamed(part.sequence);
                self.note(
                    (part.proposer, part.height, part.round, saying),
                    Some(part.digest),
                )
            }
            _ => Ok(()),
        }
    }

    fn hear_liar(&mut self, liar: PublicKey, message: &Message) -> Result<(), Fault> {
        match message {
            Message::Consensus(ConsensusMessage::Vote(vote)) if vote.vote.validator == liar => {
                self.vote(vote)
            }
            Message::Consensus(ConsensusMessage::Proposal(signed)) if signed.proposal.proposer == liar => {
                let proposal = &signed.proposal;
                let place = (liar, proposal.height, proposal.round, Saying::Proposed);
                self.note(place, Some(proposal.header.hash()))
            }
            _ => Ok(()),
        }
    }

    /// Takes the precommits of a certificate.
    pub fn certificate(&mut self, certificate: &CommitCertificate) -> Result<(), Fault> {
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

    fn vote(&mut self, signed: &SignedVote) -> Result<(), Fault> {
        let vote = &signed.vote;
        let saying = match vote.kind {
            VoteKind::Prevote => Saying::Prevoted,
            VoteKind::Precommit => Saying::Precommitted,
        };
        self.note((vote.validator, vote.height, vote.round, saying), vote.block)?;
        let Some(block) = vote.block else { return Ok(()) };
        match vote.kind {
            VoteKind::Prevote => {
                self.respects_lock(vote.validator, vote.height, vote.round, block)?;
                let voters = self.prevotes.entry((vote.height, block, vote.round));
                voters.or_default().insert(vote.validator);
                Ok(())
            }
            VoteKind::Precommit => self.precommit(vote.validator, vote.height, vote.round, block),
        }
    }

    /// Returns true if a quorum prevoted the block in a round; `also` is counted as a voter, if given.
    fn is_polka(&self, height: Height, round: Round, block: Hash, also: Option<PublicKey>) -> bool {
        let mut voters = self
            .prevotes
            .get(&(height, block, round))
            .cloned()
            .unwrap_or_default();
        voters.extend(also);
        let powers = voters.iter().filter_map(|key| self.validators.find(key));
        let power: u64 = powers.map(|(_, validator)| validator.power.0).sum();
        is_quorum(self.fault_model, power, self.validators.total_power())
    }

    /// A prevote against a lock needs a quorum of prevotes in a round since.
    fn respects_lock(&self, key: PublicKey, height: Height, round: Round, block: Hash) -> Result<(), Fault> {
        let Some((_, locked_in, locked)) = self.locks.get(&key).filter(|(at, ..)| *at == height) else {
            return Ok(());
        };
        let free = locked == &block
            || round <= *locked_in
            || self.excused == Some(key)
            || (locked_in.0..round.0).any(|since| self.is_polka(height, Round(since), block, None));
        if free {
            return Ok(());
        }
        Err((
            Rule::Locking,
            format!(
                "{key} prevotes {block} at height {height} round {round}, but is locked on {locked} since round {locked_in}"
            ),
        ))
    }

    fn precommit(&mut self, key: PublicKey, height: Height, round: Round, block: Hash) -> Result<(), Fault> {
        // Its own prevote may have been logged and not sent when it crashed.
        if self.excused != Some(key) && !self.is_polka(height, round, block, Some(key)) {
            let detail =
                format!("{key} precommits {block} at height {height} round {round} without a quorum");
            return Err((Rule::Locking, detail));
        }
        let lock = self.locks.entry(key).or_insert((height, round, block));
        if (lock.0, lock.1) < (height, round) {
            *lock = (height, round, block);
        }
        Ok(())
    }

    fn note(&mut self, place: Place, block: Option<Hash>) -> Result<(), Fault> {
        let first = *self.said.entry(place).or_insert(block);
        if first == block {
            return Ok(());
        }
        if self.excused == Some(place.0) {
            self.contradictions += 1;
            return Ok(());
        }
        let (key, height, round, saying) = place;
        Err((
            Rule::NoEquivocation,
            format!("{key} {saying:?} {first:?} and {block:?} at height {height} round {round}"),
        ))
    }
}
