//! The Byzantine validator of the fault tests: a node whose outgoing messages are distorted.
//!
//! A message about to be broadcast is dropped, modified and signed again, or sent twice in different forms.

use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{BlockPart, ChainParams, Hash, Proposal, SecretKey, SignedProposal, SignedVote};
use vibecoin_replica::Message;

use crate::doubler::Doubler;
use crate::signer::{Signer, flipped, proposal_message, vote_message};
use crate::withholder::{Withheld, withheld};
use crate::{Behaviour, Rng, equivocator, invalid};

/// Environment variable that selects the behaviour.
pub const VARIABLE: &str = "VIBECOIN_BYZANTINE";

/// Distorts the outgoing messages of an honest replica.
pub struct Distorter {
    behaviour: Behaviour,
    signer: Signer,
    doubler: Doubler,
}

impl Distorter {
    /// A validator with this behaviour and this key.
    #[must_use]
    pub fn new(behaviour: Behaviour, genesis: Hash, key: SecretKey, params: &ChainParams) -> Self {
        Self {
            behaviour,
            signer: Signer {
                genesis,
                me: key.public_key(),
                key,
                validators: Vec::new(),
                rng: Rng::new(0, 7),
            },
            doubler: Doubler::new(params),
        }
    }

    /// Selected by the variable [`VARIABLE`]; `None` without a key.
    ///
    /// # Errors
    /// A message, when the variable does not name a behaviour.
    pub fn from_environment(
        genesis: Hash,
        key: Option<&SecretKey>,
        params: &ChainParams,
    ) -> Result<Option<Self>, String> {
        let name = std::env::var(VARIABLE).unwrap_or_else(|_| "none".to_owned());
        let behaviour = Self::named(&name)?;
        Ok(key.map(|key| Self::new(behaviour, genesis, key.clone(), params)))
    }

    /// The behaviour with this name, if a node can have it.
    ///
    /// # Errors
    /// All names, to be shown for a mistyped one.
    pub fn named(name: &str) -> Result<Behaviour, String> {
        let all = Behaviour::DISTORTING;
        let found = all.into_iter().find(|behaviour| behaviour.name() == name);
        found.ok_or_else(|| {
            let names = all.map(Behaviour::name).join(", ");
            format!("unknown behaviour {name:?}; known are {names}")
        })
    }

    /// Messages to send in place of `message`, in order.
    pub fn distort(&mut self, message: Message) -> Vec<Message> {
        match message {
            Message::Consensus(ConsensusMessage::Vote(vote)) => self.votes(vote),
            Message::Consensus(ConsensusMessage::Proposal(proposal)) => self.proposals(*proposal),
            Message::Part(part) => self.parts(*part),
            other => vec![other],
        }
    }

    fn votes(&mut self, honest: SignedVote) -> Vec<Message> {
        if honest.vote.validator == self.signer.me
            && let Some(votes) = self.signer.votes(self.behaviour, &honest, None, true)
        {
            return votes.into_iter().map(|(_, message)| message).collect();
        }
        vec![vote_message(honest)]
    }

    fn proposals(&self, honest: SignedProposal) -> Vec<Message> {
        let proposal = honest.proposal.clone();
        let message = proposal_message(honest);
        if proposal.proposer != self.signer.me {
            return vec![message];
        }
        if withheld(self.behaviour, &message) == Withheld::All {
            return Vec::new();
        }
        let mut header = proposal.header.clone();
        let wrong = flipped(header.body_hash);
        if !invalid::alter(self.behaviour, &mut header, wrong) {
            return vec![message];
        }
        let other = self.signer.proposal(Proposal { header, ..proposal });
        if self.behaviour == Behaviour::EquivocatingProposals {
            vec![message, other]
        } else {
            vec![other]
        }
    }

    fn parts(&mut self, honest: BlockPart) -> Vec<Message> {
        let say = |part| Message::Part(Box::new(part));
        if honest.signed.statement.proposer != self.signer.me {
            return vec![say(honest)];
        }
        match self.behaviour {
            Behaviour::TransactionTwice => vec![say(self.doubler.part(&self.signer, honest))],
            Behaviour::EquivocatingParts => {
                let other = equivocator::part(&self.signer, &honest);
                std::iter::once(honest).chain(other).map(say).collect()
            }
            Behaviour::WrongPoh => {
                let other = equivocator::part(&self.signer, &honest);
                vec![say(other.unwrap_or(honest))]
            }
            behaviour => {
                let message = say(honest);
                match withheld(behaviour, &message) {
                    Withheld::All => Vec::new(),
                    _ => vec![message],
                }
            }
        }
    }
}
