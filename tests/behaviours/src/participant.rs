//! Outgoing-message faults of a Byzantine node: its messages are changed, multiplied or withheld.

use std::collections::{BTreeMap, BTreeSet};

use vibecoin_consensus::{
    ConsensusMessage, PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote, VoteSignature,
};
use vibecoin_primitives::{
    Block, CommitCertificate, Hash, Header, Height, Proposal, PublicKey, Round, SecretKey, SignedVote,
    Transaction, Vote, VoteKind, encode,
};
use vibecoin_replica::{CertifiedBlock, Chain, Message};
use vibecoin_storage::Store;

use crate::forge::{Workshop, after, parts, vote_of};
use crate::rng::Rng;
use crate::stretch::Turn;
use crate::{Config, Lie, Stretched};

/// Number of transactions that a Byzantine node remembers for replay.
const OLD_MAX: usize = 200;
/// Votes for distant heights and rounds that follow each vote.
const FAR_VOTES: u64 = 12;

/// A message and its receivers.
pub struct Said {
    pub to: Vec<usize>,
    pub message: Message,
}

/// A block that the Byzantine node shows in place of its own.
struct Shown {
    to: Vec<usize>,
    header: Header,
    /// The bytes sent as its body.
    body: Vec<u8>,
}

pub struct Liar {
    lie: Lie,
    seed: u64,
    pub node: usize,
    nodes: usize,
    pub(crate) chain: Chain,
    key: SecretKey,
    pub(crate) me: PublicKey,
    pub(crate) rng: Rng,
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
    pub lies: u64,
    /// Outcomes of the turns that it stretched.
    pub stretched: Stretched,
}

impl Liar {
    pub fn new(config: &Config, chain: &Chain, node: usize, nodes: usize, key: &SecretKey) -> Self {
        Self {
            lie: config.lie,
            seed: config.seed,
            node,
            nodes,
            chain: chain.clone(),
            key: key.clone(),
            me: key.public_key(),
            rng: Rng::new(config.seed, 7),
            proposed: BTreeMap::new(),
            shown: BTreeMap::new(),
            old: Vec::new(),
            turn: None,
            open: false,
            lies: 0,
            stretched: Stretched::default(),
        }
    }

    /// The behaviour at a height.
    pub(crate) fn at(&self, height: Height) -> Lie {
        let kinds = Lie::ALL.len() - 3;
        match self.lie {
            // Any of the behaviours except none, mixed and twins.
            Lie::Mixed => Lie::ALL[1 + Rng::new(self.seed ^ (height.0 << 20), 8).index(kinds)],
            lie => lie,
        }
    }

    pub(crate) fn others(&self) -> Vec<usize> {
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
    pub fn hear(&mut self, message: &Message) {
        match message {
            Message::Consensus(ConsensusMessage::Proposal(signed)) => {
                let Proposal {
                    height,
                    round,
                    header,
                    ..
                } = &signed.proposal;
                self.proposed.insert((*height, *round), header.hash());
            }
            Message::Transactions(transactions) if self.old.len() < OLD_MAX => {
                self.old.extend(transactions.iter().cloned());
            }
            _ => {}
        }
    }

    /// The answer to a request for a block that its own node does not have.
    pub fn answer(&mut self, from: usize, message: &Message) -> Option<Said> {
        let Message::BodyRequest { block, .. } = message else {
            return None;
        };
        let mut shown = self.shown.values().flatten();
        let shown = shown.find(|shown| shown.header.hash() == *block && shown.to.contains(&from))?;
        Some(Said {
            to: vec![from],
            message: Message::Body {
                header: Box::new(shown.header.clone()),
                body: shown.body.clone(),
            },
        })
    }

    /// Messages in place of a block that its node has made.
    pub fn built(&mut self, block: &Block, store: &Store) -> Vec<Said> {
        let Block { header, .. } = block;
        let lie = self.at(header.height);
        if header.proposer != self.me || !lie.is_about_blocks() || self.shown.contains_key(&header.hash()) {
            return Vec::new();
        }
        let [one, two] = self.halves(header.height);
        let all = self.others();
        let as_it_is = |to: Vec<usize>| (to, block.clone(), encode(&block.body));
        let blocks = self.with_workshop(header.height, store, |workshop| match lie {
            Lie::EquivocatingProposals => {
                let other = workshop.forge(lie, block)?;
                let bytes = encode(&other.body);
                Some(vec![as_it_is(one), (two, other, bytes)])
            }
            Lie::SwappedBody => {
                let swapped = workshop.swapped(&block.body);
                Some(vec![as_it_is(one), (two, block.clone(), swapped)])
            }
            _ => {
                let forged = workshop.forge(lie, block)?;
                let bytes = encode(&forged.body);
                Some(vec![(all.clone(), forged, bytes)])
            }
        });
        let lied = blocks.is_some();
        self.lies += u64::from(lied);
        let blocks = blocks.unwrap_or_else(|| vec![as_it_is(all)]);
        let mut said = Vec::new();
        let mut shown = Vec::new();
        for (to, block, body) in blocks {
            if lie != Lie::SwappedBody {
                for part in parts(&self.chain.genesis, &self.key, &block) {
                    said.push(Said {
                        to: to.clone(),
                        message: Message::Part(Box::new(part)),
                    });
                }
            }
            said.push(Said {
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
        said
    }

    fn with_workshop<T>(
        &mut self,
        height: Height,
        store: &Store,
        work: impl FnOnce(&mut Workshop<'_>) -> Option<T>,
    ) -> Option<T> {
        let parent = Height(height.0.checked_sub(1)?);
        let header = store.blocks().header(parent).ok()??;
        let older = parent.0.checked_sub(1).map(Height);
        let older = older.and_then(|older| store.blocks().certificate(older).ok().flatten());
        let state = store.view();
        let mut workshop = Workshop {
            chain: &self.chain,
            key: &self.key,
            rng: &mut self.rng,
            parent: &header,
            state: &state,
            older,
            old: &self.old,
        };
        work(&mut workshop)
    }

    /// Messages in place of one to a single node or to all.
    pub fn speak(&mut self, to: Option<usize>, message: Message, store: &Store) -> Vec<Said> {
        let to = to.map_or_else(|| self.others(), |to| vec![to]);
        let as_it_is = |message| {
            vec![Said {
                to: to.clone(),
                message,
            }]
        };
        match message {
            Message::Consensus(ConsensusMessage::Vote(vote)) if vote.vote.validator == self.me => {
                let said = self.vote(&vote, &to);
                self.lies += u64::from(said.len() != 1 || said[0].message != vote_message(vote));
                said
            }
            Message::Consensus(ConsensusMessage::Proposal(signed)) if signed.proposal.proposer == self.me => {
                let proposal = &signed.proposal;
                let (hash, lie) = (proposal.header.hash(), self.at(proposal.height));
                self.proposed.insert((proposal.height, proposal.round), hash);
                if lie == Lie::WithheldProposals {
                    self.lies += 1;
                    return Vec::new();
                }
                let named_first = lie == Lie::FutureTime && self.rng.chance(500);
                let Some(shown) = self.shown.get(&hash) else {
                    return as_it_is(Message::Consensus(ConsensusMessage::Proposal(signed)));
                };
                let said = shown.iter().map(|shown| self.propose(proposal, shown));
                let turns = u32::try_from(self.nodes).expect("few nodes");
                // In its next turn at this height it claims a quorum for its block, and claims that before
                // this one.
                let again = Proposal {
                    round: Round(proposal.round.0 + turns),
                    lock_round: Some(proposal.round),
                    ..proposal.clone()
                };
                let again = shown.iter().map(|shown| self.propose(&again, shown));
                again.filter(|_| named_first).chain(said).collect()
            }
            Message::Body { ref header, .. } if header.proposer == self.me => {
                let kept = self.keeps(header.height, Some(header.hash()));
                self.held_back(kept, &to, message)
            }
            Message::Part(ref part) if part.signed.statement.proposer == self.me => {
                let statement = &part.signed.statement;
                let kept = self.keeps(statement.height, None);
                self.held_back(kept, &to, message)
            }
            Message::SyncResponse { from, blocks } if self.at(from) == Lie::ForgedCertificates => {
                let blocks = self.forged_blocks(from, blocks, store);
                as_it_is(Message::SyncResponse { from, blocks })
            }
            message => as_it_is(message),
        }
    }

    /// Nodes that do not get one of its own blocks.
    fn keeps(&self, height: Height, block: Option<Hash>) -> Vec<usize> {
        match self.at(height) {
            Lie::WithheldProposals => self.others(),
            Lie::WithheldBodies => {
                let [one, _] = self.halves(height);
                one
            }
            // The block shown in its place has been sent.
            lie if lie.is_about_blocks() && block.is_none_or(|block| self.shown.contains_key(&block)) => {
                self.others()
            }
            _ => Vec::new(),
        }
    }

    fn held_back(&mut self, kept: Vec<usize>, to: &[usize], message: Message) -> Vec<Said> {
        let left: Vec<usize> = to.iter().copied().filter(|node| !kept.contains(node)).collect();
        self.lies += u64::from(left.len() < to.len());
        if left.is_empty() {
            return Vec::new();
        }
        vec![Said { to: left, message }]
    }

    fn propose(&self, proposal: &Proposal, shown: &Shown) -> Said {
        let proposal = Proposal {
            header: shown.header.clone(),
            ..proposal.clone()
        };
        let signed = proposal.sign(&self.chain.genesis, &self.key);
        let to = if self.open {
            self.others()
        } else {
            shown.to.clone()
        };
        Said {
            to,
            message: Message::Consensus(ConsensusMessage::Proposal(Box::new(signed))),
        }
    }

    fn sign(&self, vote: Vote) -> Message {
        vote_message(vote.sign(&self.chain.genesis, &self.key))
    }

    fn vote(&mut self, signed: &SignedVote, to: &[usize]) -> Vec<Said> {
        let vote = &signed.vote;
        let lie = self.at(vote.height);
        let for_block = |block| Vote {
            block,
            ..vote.clone()
        };
        let said = |to: &[usize], message| Said {
            to: to.to_vec(),
            message,
        };
        let honest = said(to, vote_message(signed.clone()));
        let proposed = self.proposed.get(&(vote.height, vote.round)).copied();
        match (lie, vote.kind) {
            (Lie::EquivocatingPrevotes, VoteKind::Prevote)
            | (Lie::EquivocatingPrecommits, VoteKind::Precommit) => {
                let other = match vote.block {
                    Some(_) if self.rng.chance(500) => None,
                    Some(_) => Some(Hash([9; 32])),
                    None => Some(proposed.unwrap_or(Hash([9; 32]))),
                };
                let other = self.sign(for_block(other));
                if self.open || self.rng.chance(300) {
                    return vec![honest, said(to, other)];
                }
                let [one, two] = self.halves(vote.height);
                vec![
                    Said { to: one, ..honest },
                    Said {
                        to: two,
                        message: other,
                    },
                ]
            }
            (Lie::Amnesia, _) => match proposed {
                Some(block) => vec![said(to, self.sign(for_block(Some(block))))],
                None => vec![honest],
            },
            (Lie::NilPrecommits, VoteKind::Precommit) => vec![said(to, self.sign(for_block(None)))],
            (Lie::ForgedVotes, _) => {
                let block = proposed.or(Some(Hash([9; 32])));
                let signature = self.key.sign(b"whatever");
                let members = self.chain.validators.members();
                let in_their_names =
                    members
                        .iter()
                        .filter(|member| member.key != self.me)
                        .flat_map(|member| {
                            [VoteKind::Prevote, VoteKind::Precommit].map(|kind| {
                                let like = Vote { kind, ..vote.clone() };
                                said(to, vote_message(vote_of(member.key, &like, block, signature)))
                            })
                        });
                in_their_names.chain([honest]).collect()
            }
            (Lie::ForgedCertificates, _) => {
                let forged = self.round_certificates(vote, proposed.unwrap_or(Hash([9; 32])));
                let forged = forged
                    .into_iter()
                    .map(|message| said(to, Message::Consensus(message)));
                forged.chain([honest]).collect()
            }
            (Lie::FarVotes, _) => {
                let mut votes = vec![honest];
                for _ in 0..FAR_VOTES {
                    let (heights, rounds) = (self.rng.below(40), self.rng.below(31));
                    let far = Vote {
                        height: Height(vote.height.0 + self.rng.below(1 << heights)),
                        round: Round(vote.round.0 + 1 + self.rng.below(1 << rounds) as u32),
                        ..vote.clone()
                    };
                    votes.push(said(to, self.sign(far)));
                }
                votes
            }
            _ => self.for_shown(signed, to),
        }
    }

    /// Turns votes for one of its own blocks into votes for the blocks shown in its place.
    fn for_shown(&self, signed: &SignedVote, to: &[usize]) -> Vec<Said> {
        let vote = &signed.vote;
        let shown = vote.block.and_then(|block| self.shown.get(&block));
        let Some(shown) = shown else {
            return vec![Said {
                to: to.to_vec(),
                message: vote_message(signed.clone()),
            }];
        };
        let votes = shown.iter().map(|shown| Said {
            to: shown.to.clone(),
            message: self.sign(Vote {
                block: Some(shown.header.hash()),
                ..vote.clone()
            }),
        });
        votes.collect()
    }

    /// Certificates of a round that prove nothing.
    fn round_certificates(&mut self, vote: &Vote, block: Hash) -> Vec<ConsensusMessage> {
        let Vote { height, round, .. } = *vote;
        let count = self.chain.validators.members().len();
        let mine = |kind| {
            let vote = Vote {
                kind,
                height,
                round,
                block: Some(block),
                validator: self.me,
            };
            vote.sign(&self.chain.genesis, &self.key).signature
        };
        let entry = VoteSignature {
            validator: self.me,
            signature: mine(VoteKind::Prevote),
        };
        let everybody = self
            .chain
            .validators
            .members()
            .iter()
            .map(|member| VoteSignature {
                validator: member.key,
                signature: entry.signature,
            });
        let signatures = match self.rng.below(3) {
            0 => vec![entry],
            1 => vec![entry; count],
            _ => everybody.collect(),
        };
        let precommit = RoundVote {
            kind: VoteKind::Precommit,
            block: Some(block),
            validator: self.me,
            signature: mine(VoteKind::Precommit),
        };
        let kind = if self.rng.chance(500) {
            RoundCertificateKind::Skip
        } else {
            RoundCertificateKind::Precommit
        };
        let votes = vec![precommit; if self.rng.chance(500) { 1 } else { count }];
        vec![
            ConsensusMessage::Polka(PolkaCertificate {
                height,
                round,
                block,
                signatures,
            }),
            ConsensusMessage::Round(RoundCertificate {
                height,
                round: if kind == RoundCertificateKind::Skip {
                    after(round)
                } else {
                    round
                },
                kind,
                votes,
            }),
        ]
    }

    /// Blocks for a node that catches up: one of them is replaced, under a certificate of the Byzantine
    /// node.
    fn forged_blocks(
        &mut self,
        from: Height,
        mut blocks: Vec<CertifiedBlock>,
        store: &Store,
    ) -> Vec<CertifiedBlock> {
        let index = self.rng.index(blocks.len());
        let forged = self.with_workshop(Height(from.0 + index as u64), store, |workshop| {
            let block = blocks.get_mut(index)?;
            if workshop.rng.chance(700) {
                block.header.time.0 += 1;
                let certificate = CommitCertificate {
                    block: block.header.hash(),
                    ..block.certificate.clone()
                };
                block.certificate = certificate;
                let count = workshop.chain.validators.members().len();
                let count = if workshop.rng.chance(500) { count } else { 1 };
                if workshop.rng.chance(800) {
                    block.certificate.signatures = workshop.alone(&block.certificate, count);
                } else if let Some(older) = workshop.older.clone() {
                    block.certificate = older;
                }
            } else {
                block.certificate = workshop.certificate(&block.certificate);
            }
            Some(())
        });
        self.lies += u64::from(forged.is_some());
        blocks
    }
}

const fn vote_message(signed: SignedVote) -> Message {
    Message::Consensus(ConsensusMessage::Vote(signed))
}
