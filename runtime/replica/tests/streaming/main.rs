//! Four validators over states in memory and links with configured loss: blocks are streamed, fetched when
//! missed, agreed on, and caught up with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]
#![allow(missing_docs)]

mod blocks;
mod catching_up;
mod clocks;
mod evidence;
mod rounds;

use std::collections::VecDeque;
use std::sync::Arc;

use vibecoin_consensus::{
    BftOrderer, ConsensusMessage, LogRecord, MonoTime, Orderer as _, Progress, Verdict,
};
use vibecoin_execution::{DecidedBlock, MemoryState};
use vibecoin_primitives::planted::Planted;
use vibecoin_primitives::*;
use vibecoin_replica::assembly::{Assembly, Taken};
use vibecoin_replica::{
    Action, BODIES_PER_RETRY, CANDIDATES_MAX, CertifiedBlock, Chain, EMPTY_FROM, Event, Message, Now, Parent,
    PeerId, RETRY_MICROS, Refusal, Replica, Ticket, examine,
};
use vibecoin_tests_support::{self as support, key, opening, sign_part};

fn chain() -> Chain {
    support::chain(support::params(), 1..=4)
}

fn genesis(chain: &Chain) -> Parent<MemoryState> {
    support::genesis(chain, [50])
}

fn transfer(chain: &Chain, nonce: u64) -> Arc<VerifiedTransaction> {
    transfer_of(chain, nonce, 5)
}

fn transfer_of(chain: &Chain, nonce: u64, amount: u64) -> Arc<VerifiedTransaction> {
    let operations = vec![support::transfer(51, amount)];
    let signed = support::body(&chain.genesis, &key(50), nonce, operations).sign(&chain.genesis, &key(50));
    Arc::new(signed.verify(&chain.genesis).unwrap())
}

struct Node {
    replica: Replica<MemoryState, BftOrderer>,
    commits: Vec<DecidedBlock<MemoryState>>,
    blames: Vec<String>,
    /// Offset of its clock, in milliseconds ahead.
    ahead: u64,
    /// Number of proposals that it found untimely.
    untimely: usize,
    /// Round, transactions and bytes of each block written to its log.
    logged: Vec<(Round, usize, usize)>,
}

/// The event that a host makes of a message, after the checks in front of the replica.
fn received(chain: &Chain, from: PeerId, message: Message) -> Result<Event<MemoryState>, Refusal> {
    let verified = Vec::new();
    Ok(match message {
        Message::Body { header, body } => Event::Body {
            from,
            body: Box::new(examine::body(*header, &body)?),
            verified,
        },
        Message::SyncResponse { from: first, blocks } => {
            let linked = examine::blocks(first, blocks)?.into_iter();
            Event::Blocks {
                from,
                first,
                blocks: linked
                    .map(|block| examine::certificate(chain, block))
                    .collect::<Result<_, _>>()?,
                verified,
            }
        }
        message => Event::Message {
            from,
            message: Box::new(message),
            verified,
            gossip: None,
        },
    })
}

type Loses = Box<dyn FnMut(usize, usize, &Message) -> bool>;

/// Nodes whose messages arrive at once, in order, unless `loses` drops them.
struct Net {
    chain: Chain,
    nodes: Vec<Node>,
    wire: VecDeque<(usize, usize, Message)>,
    loses: Loses,
    sent: Vec<(usize, Message)>,
    /// The node that no planted bug affects.
    unaffected: Option<usize>,
    /// The wall clock is its value when the monotonic clock was zero.
    now: Now,
}

impl Net {
    /// `keys`: one node each; `None` is a follower.
    fn new(keys: &[Option<u8>]) -> Self {
        Self::with_clocks(keys, TimeMs(2_000_000), &[])
    }

    /// Nodes whose clocks start at `wall`, or so many milliseconds ahead of it.
    fn with_clocks(keys: &[Option<u8>], wall: TimeMs, ahead: &[u64]) -> Self {
        let chain = chain();
        let mut net = Self {
            nodes: Vec::new(),
            wire: VecDeque::new(),
            loses: Box::new(|_, _, _| false),
            sent: Vec::new(),
            unaffected: None,
            now: Now {
                mono: MonoTime(1),
                wall,
            },
            chain,
        };
        for n in keys {
            net.make(n.map(key));
        }
        for (node, ahead) in net.nodes.iter_mut().zip(ahead) {
            node.ahead = *ahead;
        }
        // All nodes are connected before any starts.
        for node in 0..keys.len() {
            for other in (0..keys.len()).filter(|other| *other != node) {
                let event = net.connected(other);
                net.step(node, event);
            }
        }
        (0..keys.len()).for_each(|node| net.start(node));
        net
    }

    /// A node that joins later.
    fn add(&mut self, key: Option<SecretKey>) {
        let mine = self.nodes.len();
        self.make(key);
        self.start(mine);
        for other in 0..mine {
            let (a, b) = (self.connected(other), self.connected(mine));
            self.step(mine, a);
            self.step(other, b);
        }
    }

    fn start(&mut self, node: usize) {
        let event = Event::Start {
            records: Vec::new(),
            guard: None,
        };
        self.step(node, event);
    }

    fn make(&mut self, key: Option<SecretKey>) {
        // The tests also sign in the names of these nodes.
        let orderer = support::orderer(&self.chain, key.as_ref()).with_unwatched_key();
        self.nodes.push(Node {
            replica: support::replica(&self.chain, key.as_ref(), orderer, genesis(&self.chain)),
            commits: Vec::new(),
            blames: Vec::new(),
            ahead: 0,
            untimely: 0,
            logged: Vec::new(),
        });
    }

    fn connected(&self, node: usize) -> Event<MemoryState> {
        let replica = &self.nodes[node].replica;
        Event::Connected {
            peer: PeerId(node as u64),
            head: replica.head().parent.header.height,
            validator: self
                .chain
                .validators
                .members()
                .iter()
                .map(|member| member.key)
                .find(|key| Some(*key) == replica.key()),
        }
    }

    fn clocks_of(&self, node: usize) -> Now {
        let wall = self.now.wall.0 + self.now.mono.0 / 1000 + self.nodes[node].ahead;
        Now {
            wall: TimeMs(wall),
            ..self.now
        }
    }

    fn step(&mut self, node: usize, event: Event<MemoryState>) {
        let now = self.clocks_of(node);
        let _without = (self.unaffected == Some(node)).then(|| Planted::new(None));
        self.nodes[node].replica.step(now, event);
        while let Some(action) = self.nodes[node].replica.poll() {
            match action {
                Action::Broadcast(message) => {
                    for to in (0..self.nodes.len()).filter(|to| *to != node) {
                        self.wire.push_back((node, to, message.clone()));
                    }
                    self.sent.push((node, message));
                }
                Action::Send { to, message } => {
                    self.wire.push_back((node, to.0 as usize, message.clone()));
                    self.sent.push((node, message));
                }
                Action::GiveBody { to, block } => {
                    let body = self.nodes[node].replica.body(&block).expect("the body is here");
                    self.wire.push_back((node, to.0 as usize, body.clone()));
                    self.sent.push((node, body));
                }
                Action::Commit(commit) => {
                    self.nodes[node].commits.push((*commit).clone());
                    let event = Event::Committed {
                        height: commit.header.height,
                        state: commit.state.clone(),
                    };
                    self.nodes[node].replica.step(now, event);
                }
                Action::Append(LogRecord::Block(block)) => {
                    let transactions = block.body.transactions().count();
                    let logged = (block.header.round, transactions, encode(&*block).len());
                    self.nodes[node].logged.push(logged);
                }
                Action::Untimely { .. } => self.nodes[node].untimely += 1,
                Action::Blame { reason, .. } => self.nodes[node].blames.push(reason),
                Action::Halt(fault) => panic!("node {node} halted: {fault}"),
                _ => {}
            }
        }
    }

    fn give(&mut self, node: usize, nonce: u64) {
        self.submit(node, transfer(&self.chain, nonce));
    }

    fn submit(&mut self, node: usize, transaction: Arc<VerifiedTransaction>) {
        let event = Event::Transactions {
            ticket: Ticket(transaction.body().nonce.0),
            transactions: vec![transaction],
        };
        self.step(node, event);
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message) {
        if let Message::SyncRequest { from: first, count } = message {
            self.serve(to, from, first, count);
            return;
        }
        let peer = PeerId(from as u64);
        match received(&self.chain, peer, message) {
            Ok(event) => self.step(to, event),
            Err(refusal) => {
                self.nodes[to].blames.push(refusal.reason.to_owned());
                let height = self.nodes[to].replica.head().parent.header.height;
                let height = height.saturating_add(1);
                self.step(to, Event::Refused { from: peer, height });
            }
        }
    }

    /// Answers a request for stored blocks, as a host does.
    fn serve(&mut self, node: usize, peer: usize, from: Height, count: u32) {
        let blocks = self.nodes[node].commits.iter();
        let blocks = blocks
            .filter(|commit| commit.header.height >= from)
            .take(count as usize)
            .map(|commit| CertifiedBlock {
                header: commit.header.clone(),
                body: encode(&commit.body),
                certificate: commit.certificate.clone(),
            });
        let blocks = blocks.collect();
        self.wire
            .push_back((node, peer, Message::SyncResponse { from, blocks }));
    }

    /// Delivers the next message, or lets the next deadline pass if there is none.
    fn pass(&mut self) {
        if let Some((from, to, message)) = self.wire.pop_front() {
            if !(self.loses)(from, to, &message) {
                self.deliver(from, to, message);
            }
            return;
        }
        let due = |node: &Node| node.replica.next_deadline();
        let next = self.nodes.iter().filter_map(due).min().expect("something is due");
        self.now.mono = self.now.mono.max(next);
        for node in 0..self.nodes.len() {
            if self.nodes[node].replica.next_deadline() <= Some(self.now.mono) {
                self.step(node, Event::Time);
            }
        }
    }

    /// Delivers everything; then lets the next deadline pass; until `node` has `blocks` blocks.
    fn until(&mut self, node: usize, blocks: usize) {
        for _ in 0..20_000 {
            if self.nodes[node].commits.len() >= blocks {
                return;
            }
            self.pass();
        }
        let heights: Vec<usize> = self.nodes.iter().map(|node| node.commits.len()).collect();
        panic!("node {node} has not got {blocks} blocks; all have {heights:?}");
    }

    fn body_requests(&self) -> usize {
        let asks = |(_, message): &&(usize, Message)| matches!(message, Message::BodyRequest { .. });
        self.sent.iter().filter(asks).count()
    }

    fn all_agree(&self, blocks: usize) {
        let first: Vec<Hash> = self.nodes[0].commits.iter().map(|commit| commit.hash).collect();
        for node in &self.nodes {
            let own: Vec<Hash> = node.commits.iter().map(|commit| commit.hash).collect();
            assert_eq!(own[..blocks], first[..blocks]);
        }
    }
}

const VALIDATORS: [Option<u8>; 4] = [Some(1), Some(2), Some(3), Some(4)];
