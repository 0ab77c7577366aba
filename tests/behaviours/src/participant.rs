//! The Byzantine participant of the simulator: its messages are changed, multiplied or withheld.

use std::collections::{BTreeMap, BTreeSet};

use vibecoin_consensus::ConsensusMessage;
use vibecoin_execution::State;
use vibecoin_primitives::{
    Block, CommitCertificate, Hash, Header, Height, Proposal, Round, SecretKey, SignedProposal, SignedVote,
    Transaction, TransactionBody, Vote, encode,
};
use vibecoin_replica::{CertifiedBlock, Chain, Message};

use crate::blocks::{Workshop, parts};
use crate::signer::{Audience, Signer, for_block, proposal_message, vote_message};
use crate::staller::Turn;
use crate::withholder::{Withheld, withheld};
use crate::{Behaviour, Rng, Stalled, forger};

/// Number of transactions that a Byzantine node remembers for replay.
const OLD_MAX: usize = 200;

/// A message and its receivers.
pub struct Sent {
    /// Numbers of the nodes.
    pub to: Vec<usize>,
    /// The message.
    pub message: Message,
}

/// The stored chain of the participant's own node.
pub trait Ledger {
    /// Form of its states.
    type State: State;

    /// The header of the block at a height.
    fn header(&self, height: Height) -> Option<Header>;

    /// The certificate of the block at a height.
    fn certificate(&self, height: Height) -> Option<CommitCertificate>;

    /// The newest state.
    fn state(&self) -> Self::State;
}

/// A block that the Byzantine node shows in place of its own.
struct Shown {
    to: Vec<usize>,
    header: Header,
    /// The bytes sent as its body.
    body: Vec<u8>,
}

/// Receivers, a block, and the bytes sent as its body.
type Offer = (Vec<usize>, Block, Vec<u8>);

/// One Byzantine validator of a simulated network.
pub struct Participant {
    behaviour: Behaviour,
    seed: u64,
    /// Number of its node.
    pub node: usize,
    nodes: usize,
    pub(crate) chain: Chain,
    pub(crate) signer: Signer,
    /// A transfer of another account.
    victim: TransactionBody,
    /// The newest proposal of each round that it received or made.
    proposed: BTreeMap<(Height, Round), Hash>,
    /// Blocks shown in place of one of its own.
    shown: BTreeMap<Hash, Vec<Shown>>,
    /// Transactions that it received.
    old: Vec<Transaction>,
    /// The turn whose parts and proposal it delays.
    pub(crate) turn: Option<Turn>,
    /// True if every node receives every message.
    pub open: bool,
    /// Number of changed, added and withheld messages.
    pub changed: u64,
    /// Outcomes of the turns that it stretched.
    pub stalled: Stalled,
}

impl Participant {
    /// The validator with this key, node `node` of `nodes`, with choices drawn from `seed`. `victim` is a transfer of
    /// another account.
    #[must_use]
    pub fn new(
        behaviour: Behaviour,
        seed: u64,
        chain: &Chain,
        [node, nodes]: [usize; 2],
        key: &SecretKey,
        victim: TransactionBody,
    ) -> Self {
        let members = chain.validators.members().iter();
        Self {
            behaviour,
            seed,
            node,
            nodes,
            signer: Signer {
                genesis: chain.genesis,
                key: key.clone(),
                me: key.public_key(),
                validators: members.map(|member| member.key).collect(),
                rng: Rng::new(seed, 7),
            },
            chain: chain.clone(),
            victim,
            proposed: BTreeMap::new(),
            shown: BTreeMap::new(),
            old: Vec::new(),
            turn: None,
            open: false,
            changed: 0,
            stalled: Stalled::default(),
        }
    }

    /// The behaviour at a height.
    pub(crate) fn at(&self, height: Height) -> Behaviour {
        match self.behaviour {
            // Any of the behaviours except none, mixed and twins.
            Behaviour::Mixed => {
                let kinds = Behaviour::SIMULATED.len() - 3;
                let mut rng = Rng::new(self.seed ^ (height.0 << 20), 8);
                Behaviour::SIMULATED[1 + rng.index(kinds)]
            }
            behaviour => behaviour,
        }
    }

    /// Numbers of the other nodes.
    #[must_use]
    pub fn others(&self) -> Vec<usize> {
        (0..self.nodes).filter(|node| *node != self.node).collect()
    }

    /// The two halves of the others at a height.
    fn halves(&self, height: Height) -> [Vec<usize>; 2] {
        let mut rng = Rng::new(self.seed ^ (height.0 << 20), 9);
        let (one, two): (BTreeSet<usize>, BTreeSet<usize>) =
            self.others().into_iter().partition(|_| rng.chance(500));
        [one.into_iter().collect(), two.into_iter().collect()]
    }

    /// Records a received message.
    pub fn on_received(&mut self, message: &Message) {
        match message {
            Message::Consensus(ConsensusMessage::Proposal(signed)) => self.record(&signed.proposal),
            Message::Transactions(transactions) if self.old.len() < OLD_MAX => {
                self.old.extend(transactions.iter().cloned());
            }
            _ => {}
        }
    }

    fn record(&mut self, proposal: &Proposal) {
        let at = (proposal.height, proposal.round);
        self.proposed.insert(at, proposal.header.hash());
    }

    /// The answer to a request for a block that its own node does not have.
    #[must_use]
    pub fn answer(&self, from: usize, message: &Message) -> Option<Sent> {
        let Message::BodyRequest { block, .. } = message else {
            return None;
        };
        let mut shown = self.shown.values().flatten();
        let shown = shown.find(|shown| shown.header.hash() == *block && shown.to.contains(&from))?;
        Some(Sent {
            to: vec![from],
            message: Message::Body {
                header: Box::new(shown.header.clone()),
                body: shown.body.clone(),
            },
        })
    }

    /// Messages in place of a block that its node has made.
    pub fn on_built(&mut self, block: &Block, ledger: &impl Ledger) -> Vec<Sent> {
        let Block { header, .. } = block;
        let behaviour = self.at(header.height);
        if header.proposer != self.signer.me
            || !behaviour.is_about_blocks()
            || self.shown.contains_key(&header.hash())
        {
            return Vec::new();
        }
        let blocks = self.blocks_for(behaviour, block, ledger);
        self.changed += u64::from(blocks.is_some());
        let blocks = blocks.unwrap_or_else(|| vec![(self.others(), block.clone(), encode(&block.body))]);
        let mut sent = Vec::new();
        let mut shown = Vec::new();
        for (to, block, body) in blocks {
            if behaviour != Behaviour::SwappedBody {
                for part in parts(&self.signer, &block) {
                    sent.push(Sent {
                        to: to.clone(),
                        message: Message::Part(Box::new(part)),
                    });
                }
            }
            sent.push(Sent {
                to: to.clone(),
                message: Message::Body {
                    header: Box::new(block.header.clone()),
                    body: body.clone(),
                },
            });
            shown.push(Shown {
                to,
                header: block.header,
                body,
            });
        }
        self.shown.insert(header.hash(), shown);
        sent
    }

    /// Blocks to show in place of this one; `None` if the behaviour does not apply to it.
    fn blocks_for(
        &mut self,
        behaviour: Behaviour,
        block: &Block,
        ledger: &impl Ledger,
    ) -> Option<Vec<Offer>> {
        let [one, two] = self.halves(block.header.height);
        let all = self.others();
        let honest = |to: Vec<usize>| (to, block.clone(), encode(&block.body));
        self.with_workshop(block.header.height, ledger, |workshop| {
            if behaviour == Behaviour::SwappedBody {
                let swapped = workshop.swapped(&block.body);
                return Some(vec![honest(one), (two, block.clone(), swapped)]);
            }
            let forged = workshop.forge(behaviour, block)?;
            let bytes = encode(&forged.body);
            Some(if behaviour == Behaviour::EquivocatingProposals {
                vec![honest(one), (two, forged, bytes)]
            } else {
                vec![(all, forged, bytes)]
            })
        })
    }

    fn with_workshop<T, L: Ledger>(
        &mut self,
        height: Height,
        ledger: &L,
        work: impl FnOnce(&mut Workshop<'_, L::State>) -> Option<T>,
    ) -> Option<T> {
        let parent = Height(height.0.checked_sub(1)?);
        let header = ledger.header(parent)?;
        let older = parent.0.checked_sub(1).map(Height);
        let older = older.and_then(|older| ledger.certificate(older));
        let state = ledger.state();
        let mut workshop = Workshop {
            chain: &self.chain,
            signer: &mut self.signer,
            parent: &header,
            state: &state,
            older,
            old: &self.old,
            victim: &self.victim,
        };
        work(&mut workshop)
    }

    /// Messages in place of one to a single node or to all.
    pub fn send(&mut self, to: Option<usize>, message: Message, ledger: &impl Ledger) -> Vec<Sent> {
        let to = to.map_or_else(|| self.others(), |to| vec![to]);
        match message {
            Message::Consensus(ConsensusMessage::Vote(vote)) if vote.vote.validator == self.signer.me => {
                let sent = self.votes(&vote, &to);
                self.changed += u64::from(sent.len() != 1 || sent[0].message != vote_message(vote));
                sent
            }
            Message::Consensus(ConsensusMessage::Proposal(signed))
                if signed.proposal.proposer == self.signer.me =>
            {
                self.proposals(*signed, to)
            }
            Message::Body { ref header, .. } if header.proposer == self.signer.me => {
                let kept = self.keeps(header.height, Some(header.hash()), &message);
                self.held_back(&kept, &to, message)
            }
            Message::Part(ref part) if part.signed.statement.proposer == self.signer.me => {
                let kept = self.keeps(part.signed.statement.height, None, &message);
                self.held_back(&kept, &to, message)
            }
            Message::SyncResponse { from, blocks } if self.at(from) == Behaviour::ForgedCertificates => {
                let blocks = self.forged_blocks(from, blocks, ledger);
                let message = Message::SyncResponse { from, blocks };
                vec![Sent { to, message }]
            }
            message => vec![Sent { to, message }],
        }
    }

    /// Nodes that do not get one of its own blocks, or a part of one.
    fn keeps(&self, height: Height, block: Option<Hash>, message: &Message) -> Vec<usize> {
        let behaviour = self.at(height);
        // The block shown in its place has been sent.
        let replaced =
            behaviour.is_about_blocks() && block.is_none_or(|block| self.shown.contains_key(&block));
        match withheld(behaviour, message) {
            Withheld::All => self.others(),
            Withheld::Half => {
                let [one, _] = self.halves(height);
                one
            }
            Withheld::None if replaced => self.others(),
            Withheld::None => Vec::new(),
        }
    }

    fn held_back(&mut self, kept: &[usize], to: &[usize], message: Message) -> Vec<Sent> {
        let left: Vec<usize> = to.iter().copied().filter(|node| !kept.contains(node)).collect();
        self.changed += u64::from(left.len() < to.len());
        if left.is_empty() {
            return Vec::new();
        }
        vec![Sent { to: left, message }]
    }

    fn proposals(&mut self, honest: SignedProposal, to: Vec<usize>) -> Vec<Sent> {
        self.record(&honest.proposal);
        let proposal = honest.proposal.clone();
        let (hash, behaviour) = (proposal.header.hash(), self.at(proposal.height));
        let message = proposal_message(honest);
        if withheld(behaviour, &message) == Withheld::All {
            self.changed += 1;
            return Vec::new();
        }
        let named_first = behaviour == Behaviour::FutureTime && self.signer.rng.chance(500);
        let Some(shown) = self.shown.get(&hash) else {
            return vec![Sent { to, message }];
        };
        let sent = shown.iter().map(|shown| self.propose(&proposal, shown));
        let turns = u32::try_from(self.nodes).expect("few nodes");
        // In its next turn at this height it claims a quorum for its block, and claims that before
        // this one.
        let again = Proposal {
            round: Round(proposal.round.0 + turns),
            lock_round: Some(proposal.round),
            ..proposal.clone()
        };
        let again = shown.iter().map(|shown| self.propose(&again, shown));
        again.filter(|_| named_first).chain(sent).collect()
    }

    fn propose(&self, proposal: &Proposal, shown: &Shown) -> Sent {
        let proposal = Proposal {
            header: shown.header.clone(),
            ..proposal.clone()
        };
        let to = if self.open {
            self.others()
        } else {
            shown.to.clone()
        };
        Sent {
            to,
            message: self.signer.proposal(proposal),
        }
    }

    fn votes(&mut self, honest: &SignedVote, to: &[usize]) -> Vec<Sent> {
        let Vote { height, round, .. } = honest.vote;
        let proposed = self.proposed.get(&(height, round)).copied();
        let behaviour = self.at(height);
        let Some(votes) = self.signer.votes(behaviour, honest, proposed, self.open) else {
            return self.for_shown(honest, to);
        };
        let [one, two] = self.halves(height);
        let sent = votes.into_iter().map(|(audience, message)| Sent {
            to: match audience {
                Audience::All => to.to_vec(),
                Audience::First => one.clone(),
                Audience::Second => two.clone(),
            },
            message,
        });
        sent.collect()
    }

    /// Turns votes for one of its own blocks into votes for the blocks shown in its place.
    fn for_shown(&self, honest: &SignedVote, to: &[usize]) -> Vec<Sent> {
        let shown = honest.vote.block.and_then(|block| self.shown.get(&block));
        let Some(shown) = shown else {
            return vec![Sent {
                to: to.to_vec(),
                message: vote_message(honest.clone()),
            }];
        };
        let votes = shown.iter().map(|shown| Sent {
            to: shown.to.clone(),
            message: self
                .signer
                .vote(for_block(&honest.vote, Some(shown.header.hash()))),
        });
        votes.collect()
    }

    /// Blocks for a node that catches up: one of them is replaced, under a certificate of the Byzantine
    /// node.
    fn forged_blocks(
        &mut self,
        from: Height,
        mut blocks: Vec<CertifiedBlock>,
        ledger: &impl Ledger,
    ) -> Vec<CertifiedBlock> {
        let index = self.signer.rng.index(blocks.len());
        let forged = self.with_workshop(Height(from.0 + index as u64), ledger, |workshop| {
            forger::certified(workshop, blocks.get_mut(index)?);
            Some(())
        });
        self.changed += u64::from(forged.is_some());
        blocks
    }
}
