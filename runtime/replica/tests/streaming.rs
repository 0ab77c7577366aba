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

#[test]
fn streamed_blocks_are_decided_without_anybody_asking_for_a_body() {
    let mut net = Net::new(&VALIDATORS);
    (0..4).for_each(|node| net.give(node, 0));
    for node in 0..4 {
        net.until(node, 3);
    }
    net.all_agree(3);
    let transactions: usize = net.nodes[0].commits.iter().map(|commit| commit.ids.len()).sum();
    assert_eq!(transactions, 1);
    assert_eq!(net.body_requests(), 0);
    assert!(net.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn an_idle_proposer_that_holds_its_block_open_is_not_passed_over() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 4);
    for commit in &net.nodes[0].commits {
        assert_eq!(commit.header.round, Round(0), "height {}", commit.header.height);
    }
}

#[test]
fn a_liar_at_work_on_later_rounds_does_not_take_an_idle_proposers_turn() {
    let mut net = Net::new(&VALIDATORS);
    let (liar, chain) = (key(3), net.chain.clone());
    let mut lied_at = Height(0);
    let mut lies = 0;
    while net.nodes[0].commits.len() < 8 {
        if let Some((_, _, Message::Part(part))) = net.wire.front()
            && part.signed.statement.height > lied_at
        {
            let PartStatement { height, parent, .. } = part.signed.statement;
            lied_at = height;
            // One of these rounds is its turn; its messages about the others are ignored.
            for round in (1..4).map(Round) {
                let header = Header {
                    height,
                    round,
                    parent,
                    proposer: liar.public_key(),
                    ..genesis(&chain).header
                };
                let proposal = Proposal {
                    height,
                    round,
                    header,
                    lock_round: None,
                    proposer: liar.public_key(),
                };
                let tick = PartContent::Tick(Tick {
                    hash: Hash([77; 32]),
                    transactions: vec![transfer(&chain, 0).transaction().clone()],
                });
                let statement = PartStatement {
                    height,
                    round,
                    proposer: liar.public_key(),
                    parent,
                    sequence: 1,
                    digest: Hash::ZERO,
                };
                let part = sign_part(&chain.genesis, &liar, statement, tick);
                let proposal = Box::new(proposal.sign(&chain.genesis, &liar));
                for to in [0, 1, 3] {
                    net.deliver(2, to, Message::Part(Box::new(part.clone())));
                    net.deliver(
                        2,
                        to,
                        Message::Consensus(ConsensusMessage::Proposal(proposal.clone())),
                    );
                }
                lies += 1;
            }
        }
        net.pass();
    }
    assert!(lies >= 3 * 8, "{lies}");
    for commit in &net.nodes[0].commits {
        assert_eq!(commit.header.round, Round(0), "height {}", commit.header.height);
    }
}

#[test]
fn a_transaction_that_only_the_proposer_knows_is_checked_and_executed_by_all() {
    let mut net = Net::new(&VALIDATORS);
    // Whichever node proposes, three of four see it for the first time in a part.
    net.give(0, 0);
    for node in 0..4 {
        net.until(node, 5);
    }
    net.all_agree(5);
    let transactions: usize = net.nodes[3].commits.iter().map(|commit| commit.ids.len()).sum();
    assert_eq!(transactions, 1);
    assert_eq!(net.body_requests(), 0);
}

#[test]
fn a_lost_part_is_made_up_for_by_the_body() {
    // With three of four validators, none may be missing.
    let mut net = Net::new(&[Some(1), Some(2), Some(3)]);
    net.loses = Box::new(|_, to, message| {
        to == 2 && matches!(message, Message::Part(part) if part.signed.statement.sequence == 2)
    });
    net.until(2, 3);
    net.all_agree(2);
    assert!(net.body_requests() >= 1, "nothing was lost");
}

#[test]
fn a_block_that_its_proposer_keeps_from_one_validator_costs_that_one_no_time() {
    const BLOCKS: usize = 12;
    let mut net = Net::new(&VALIDATORS);
    net.loses = Box::new(|from, to, message| {
        from == 0 && to == 1 && matches!(message, Message::Part(_) | Message::Body { .. })
    });
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..20_000 {
        if net.nodes.iter().all(|node| node.commits.len() >= BLOCKS) {
            break;
        }
        net.pass();
        for (node, times) in net.nodes.iter().zip(&mut times) {
            times.resize(node.commits.len(), net.now.mono);
        }
    }
    assert_eq!(
        times[1][..BLOCKS],
        times[2][..BLOCKS],
        "the others got it at these times"
    );
    let commits = net.nodes[2].commits.iter();
    let kept_back = commits.filter(|commit| commit.header.proposer == key(1).public_key());
    let kept_back = kept_back.count();
    assert!(kept_back >= 2, "{kept_back}");
    assert!(
        net.body_requests() <= 2 * (kept_back + 1),
        "{}",
        net.body_requests()
    );
}

#[test]
fn parts_in_any_order_make_the_same_block() {
    let mut net = Net::new(&VALIDATORS);
    let mut held = false;
    // Node 3 gets the first tick of every block after the others: it is delayed once more.
    net.loses = Box::new(move |_, to, message| {
        let first = to == 3 && matches!(message, Message::Part(part) if part.signed.statement.sequence == 1);
        held = first && !held;
        held
    });
    net.until(0, 1);
    let late: Vec<(usize, Message)> = net
        .sent
        .iter()
        .filter(|(_, message)| matches!(message, Message::Part(part) if part.signed.statement.sequence == 1))
        .cloned()
        .collect();
    for (from, message) in late {
        net.wire.push_front((from, 3, message));
    }
    net.until(3, 2);
    net.all_agree(1);
}

#[test]
fn a_node_without_a_key_follows_by_asking_for_bodies() {
    let mut net = Net::new(&[Some(1), Some(2), Some(3), Some(4), None]);
    net.loses = Box::new(|_, to, message| to == 4 && matches!(message, Message::Part(_)));
    net.until(4, 3);
    net.all_agree(2);
    assert!(net.body_requests() >= 2);
}

#[test]
fn who_dates_blocks_ahead_of_the_other_clocks_is_passed_over_and_follows() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 0, 60_000, 0]);
    for node in 0..4 {
        net.until(node, 12);
    }
    net.all_agree(12);
    let now = net.clocks_of(0).wall;
    for commit in &net.nodes[0].commits {
        let Header {
            height,
            time,
            proposer,
            ..
        } = commit.header;
        assert!(
            time <= now,
            "height {height} is dated {time}, the clock shows {now}"
        );
        assert_ne!(proposer, key(3).public_key(), "height {height}");
    }
    for (node, untimely) in net.nodes.iter().map(|node| node.untimely).enumerate() {
        assert!(untimely > 0, "node {node}");
    }
    assert!(net.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn a_lock_that_is_named_first_does_not_make_a_block_timely() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 0, 60_000, 0]);
    let mut shown = 0;
    for _ in 0..20_000 {
        if let Some((2, _, Message::Consensus(ConsensusMessage::Proposal(first)))) = net.wire.front().cloned()
            && first.proposal.lock_round.is_none()
        {
            // Its next turn at this height is four rounds later: there it claims a quorum of this round.
            let again = Proposal {
                round: Round(first.proposal.round.0 + 4),
                lock_round: Some(first.proposal.round),
                ..first.proposal
            };
            let again = Box::new(again.sign(&net.chain.genesis, &key(3)));
            for to in [0, 1, 3] {
                net.deliver(
                    2,
                    to,
                    Message::Consensus(ConsensusMessage::Proposal(again.clone())),
                );
            }
            shown += 1;
        }
        net.pass();
    }
    assert!(shown > 0);
    assert!(net.nodes[0].commits.len() > 12, "{}", net.nodes[0].commits.len());
    let now = net.clocks_of(0).wall;
    for commit in &net.nodes[0].commits {
        let Header { height, time, .. } = commit.header;
        assert!(
            time <= now,
            "height {height} is dated {time}, the clock shows {now}"
        );
    }
}

#[test]
fn clocks_within_the_chains_tolerance_cost_no_round() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 1_000, 2_000, 2_490]);
    net.until(0, 12);
    for commit in &net.nodes[0].commits {
        assert_eq!(commit.header.round, Round(0), "height {}", commit.header.height);
    }
    assert!(net.nodes.iter().all(|node| node.untimely == 0));
}

#[test]
fn a_chain_that_is_ahead_of_every_clock_goes_on_at_its_earliest_times() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(0), &[]);
    net.until(0, 12);
    let mut before = TimeMs(1_000_000);
    for commit in &net.nodes[0].commits {
        let Header {
            time, ticks, round, ..
        } = commit.header;
        assert_eq!(time.0, before.0 + net.chain.params.ticks_ms(ticks));
        assert_eq!(round, Round(0));
        before = time;
    }
    assert!(net.nodes.iter().all(|node| node.untimely == 0));
}

#[test]
fn clocks_that_disagree_cost_rounds_and_stop_nobody() {
    let mut net = Net::with_clocks(&VALIDATORS, TimeMs(2_000_000), &[0, 0, 9_000, 9_000]);
    for node in 0..4 {
        net.until(node, 3);
    }
    net.all_agree(3);
    // 500 ms for the clocks and 2,000 ms for the message, once more with each round.
    assert_eq!(net.nodes[0].commits[0].header.round, Round(4));
}

#[test]
fn a_node_without_a_key_does_not_ask_its_clock() {
    let keys = [Some(1), Some(2), Some(3), Some(4), None];
    let mut net = Net::with_clocks(&keys, TimeMs(2_000_000), &[0, 0, 0, 0, 1_000_000]);
    net.until(4, 12);
    net.all_agree(11);
    assert!(net.nodes.iter().all(|node| node.untimely == 0));
}

#[test]
fn a_node_that_joins_late_catches_up_with_certified_blocks() {
    let mut net = Net::new(&VALIDATORS);
    net.give(1, 0);
    net.until(0, 40);
    net.add(None);
    net.until(4, 45);
    net.all_agree(40);
    assert!(net.nodes[4].blames.is_empty(), "{:?}", net.nodes[4].blames);
}

#[test]
fn a_synced_block_with_a_wrong_certificate_is_refused_and_its_sender_blamed() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 20);
    net.add(None);
    let mut lies = 1;
    net.loses = Box::new(move |_, _, message| {
        let lie = lies > 0 && matches!(message, Message::SyncResponse { .. });
        lies -= i32::from(lie);
        lie
    });
    // Node 1 sends block 1 under the certificate of block 2 before any peer answers correctly.
    let commits = &net.nodes[1].commits;
    let forged = CertifiedBlock {
        header: commits[0].header.clone(),
        body: encode(&commits[0].body),
        certificate: commits[1].certificate.clone(),
    };
    let asked = net
        .sent
        .iter()
        .any(|(node, message)| *node == 4 && matches!(message, Message::SyncRequest { .. }));
    assert!(asked, "the node that joins asks at once");
    for peer in 0..4 {
        let blocks = vec![forged.clone()];
        let from = Height(1);
        net.deliver(peer, 4, Message::SyncResponse { from, blocks });
    }
    assert!(net.nodes[4].commits.is_empty());
    assert!(!net.nodes[4].blames.is_empty());
    net.until(4, 20);
    net.all_agree(20);
}

#[test]
fn a_peer_that_asks_for_a_body_over_and_over_gets_a_few_at_a_time() {
    let mut net = Net::new(&VALIDATORS);
    let proposal = |(node, message): &(usize, Message)| match message {
        Message::Consensus(ConsensusMessage::Proposal(signed)) => {
            Some((*node, signed.proposal.header.clone()))
        }
        _ => None,
    };
    // The first proposal is dropped for all, so that its proposer still has the block at hand.
    net.loses = Box::new(|_, _, _| true);
    let (proposer, header) = loop {
        net.pass();
        if let Some(found) = net.sent.iter().find_map(proposal) {
            break found;
        }
    };
    let asker = (proposer + 1) % 4;
    let bodies = |net: &Net| {
        let body = |(_, to, message): &&(usize, usize, Message)| {
            *to == asker && matches!(message, Message::Body { .. })
        };
        net.wire.iter().filter(body).count()
    };
    let ask = |net: &mut Net, times: usize| {
        for _ in 0..times {
            let message = Message::BodyRequest {
                height: header.height,
                block: header.hash(),
            };
            net.deliver(asker, proposer, message);
        }
    };
    net.wire.clear();
    ask(&mut net, 100);
    assert_eq!(bodies(&net), BODIES_PER_RETRY as usize);
    net.now.mono = net.now.mono.after(RETRY_MICROS);
    ask(&mut net, 1);
    assert_eq!(
        bodies(&net),
        BODIES_PER_RETRY as usize + 1,
        "later it may ask again"
    );
}

/// Two prevotes of one validator for different blocks of a height.
fn double_vote(net: &Net, height: Height) -> Evidence {
    support::double_vote(&net.chain.genesis, &key(4), height, Round(0))
}

#[test]
fn evidence_about_a_height_to_come_is_in_no_block_and_stops_nobody() {
    let mut net = Net::new(&VALIDATORS);
    let evidence = double_vote(&net, Height(1_000_000_000));
    for to in 0..3 {
        let message = Message::Evidence(Box::new(evidence.clone()));
        net.wire.push_back((3, to, message));
    }
    (0..4).for_each(|node| net.until(node, 8));
    net.all_agree(8);
    let carried: Vec<&Evidence> = net.nodes[0]
        .commits
        .iter()
        .flat_map(|commit| &commit.body.v1().evidence)
        .collect();
    assert_eq!(carried, Vec::<&Evidence>::new());
    assert!(net.nodes.iter().all(|node| node.blames.is_empty()));
}

#[test]
fn evidence_that_a_client_repeats_is_told_to_peers_once() {
    let mut net = Net::new(&VALIDATORS);
    let evidence = double_vote(&net, Height(1));
    let repeat = |net: &mut Net| {
        for _ in 0..1_000 {
            net.step(0, Event::Evidence(Box::new(evidence.clone())));
        }
    };
    let told = |net: &Net| {
        let sent = net.sent.iter();
        sent.filter(|(node, message)| *node == 0 && matches!(message, Message::Evidence(_)))
            .count()
    };
    repeat(&mut net);
    assert_eq!(told(&net), 1);
    let carried = |net: &Net| {
        let commits = net.nodes[0].commits.iter();
        commits
            .filter(|commit| !commit.body.v1().evidence.is_empty())
            .count()
    };
    net.until(0, 8);
    assert_eq!(carried(&net), 1);
    repeat(&mut net);
    net.until(0, 12);
    assert_eq!((told(&net), carried(&net)), (1, 1), "what is recorded is no news");
}

#[test]
fn two_different_parts_in_one_place_become_evidence_in_a_block() {
    let mut net = Net::new(&VALIDATORS);
    // Height 1: each proposer also signs another opening, which reaches every node.
    while !net
        .sent
        .iter()
        .any(|(_, message)| matches!(message, Message::Part(_)))
    {
        net.until(0, 0);
        let (from, to, message) = net.wire.pop_front().unwrap_or_else(|| panic!("no part was sent"));
        net.wire.push_back((from, to, message));
    }
    let (proposer, honest) = net
        .sent
        .iter()
        .find_map(|(node, message)| match message {
            Message::Part(part) => Some((*node, part.signed.statement.clone())),
            _ => None,
        })
        .unwrap();
    let tick = PartContent::Tick(Tick {
        hash: Hash([77; 32]),
        transactions: Vec::new(),
    });
    let secret = (1..=4)
        .map(key)
        .find(|key| key.public_key() == honest.proposer)
        .unwrap();
    let other = PartStatement {
        sequence: 1,
        ..honest.clone()
    };
    assert_eq!(
        honest.digest,
        opening().digest(),
        "height 1 has no parent certificate"
    );
    let lie = sign_part(&net.chain.genesis, &secret, other, tick);
    for to in (0..4).filter(|to| *to != proposer) {
        net.wire
            .push_back((proposer, to, Message::Part(Box::new(lie.clone()))));
    }
    net.until(0, 6);
    let evidence: Vec<&Evidence> = net.nodes[0]
        .commits
        .iter()
        .flat_map(|commit| &commit.body.v1().evidence)
        .collect();
    assert!(
        evidence
            .iter()
            .any(|piece| matches!(piece, Evidence::DuplicatePart { .. })),
        "{evidence:?}"
    );
    assert!(
        evidence
            .iter()
            .all(|piece| piece.offender() == (honest.proposer, honest.height))
    );
}

#[test]
fn gossiped_statements_get_a_verdict_each() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 1);
    let of = (Height(2), Round(0));
    let stranger = support::vote(&net.chain.genesis, &key(9), VoteKind::Prevote, of, None);
    let message = Message::Consensus(vibecoin_consensus::ConsensusMessage::Vote(stranger));
    let event = Event::Message {
        from: PeerId(1),
        message: Box::new(message),
        verified: Vec::new(),
        gossip: Some(vibecoin_replica::GossipId(7)),
    };
    net.nodes[0].replica.step(net.now, event);
    let mut verdicts = Vec::new();
    while let Some(action) = net.nodes[0].replica.poll() {
        if let Action::Forward { gossip, verdict } = action {
            verdicts.push((gossip.0, verdict));
        }
    }
    assert!(
        matches!(verdicts[..], [(7, Verdict::Rejected(_))]),
        "{verdicts:?}"
    );
}

/// Lets `rounds` rounds fail, each without a proposal; returns the highest number of blocks that the first node held.
fn fail_rounds(net: &mut Net, rounds: u32) -> usize {
    net.loses =
        Box::new(|_, _, message| matches!(message, Message::Consensus(ConsensusMessage::Proposal(_))));
    (0..4).for_each(|node| net.give(node, 0));
    let round = |net: &Net| net.nodes[0].replica.orderer().status().round.0;
    let mut held_max = 0;
    for _ in 0..4_000_000 {
        if round(net) >= rounds {
            break;
        }
        net.pass();
        held_max = held_max.max(net.nodes[0].replica.candidates_held().0);
    }
    assert!(round(net) >= rounds, "only {} rounds", round(net));
    held_max
}

#[test]
fn rounds_that_go_on_failing_hold_few_blocks_and_fill_no_log() {
    let mut net = Net::new(&VALIDATORS);
    let held_max = fail_rounds(&mut net, 1_000);
    assert!(held_max <= CANDIDATES_MAX + 1, "{held_max} blocks");
    let logged = net.nodes.iter().flat_map(|node| &node.logged);
    let (mut late, mut bytes) = (0, 0);
    for (round, transactions, size) in logged {
        if *round >= EMPTY_FROM {
            assert_eq!(*transactions, 0, "a block of {round} has transactions");
            (late, bytes) = (late + 1, bytes + size);
        }
    }
    assert!(late > 50, "{late} blocks of late rounds");
    assert!(bytes / late < 4_096, "{bytes} bytes in {late} blocks");
    // Once proposals arrive, the first block is empty. With it the transaction leaves, which has waited for
    // longer than the pool keeps any; sent again, it is committed.
    net.loses = Box::new(|_, _, _| false);
    (0..4).for_each(|node| net.until(node, 1));
    (0..4).for_each(|node| net.give(node, 0));
    net.until(0, 3);
    let transactions: usize = net.nodes[0].commits.iter().map(|commit| commit.ids.len()).sum();
    assert_eq!(transactions, 1);
}

#[test]
fn a_proposal_that_never_follows_its_parts_is_waited_for_one_and_a_half_propose_timeouts() {
    let mut net = Net::new(&VALIDATORS);
    net.loses =
        Box::new(|_, _, message| matches!(message, Message::Consensus(ConsensusMessage::Proposal(_))));
    let begins = net.now.mono;
    (0..4).for_each(|node| net.give(node, 0));
    let round = |net: &Net| net.nodes[0].replica.orderer().status().round;
    for _ in 0..2_000 {
        if round(&net) > Round::ZERO {
            break;
        }
        net.pass();
    }
    assert_eq!(round(&net), Round(1));
    assert_eq!(net.now.mono, begins.after(450_000));
}

#[test]
fn only_parts_without_a_gap_and_without_fault_count_as_progress() {
    let mut net = Net::new(&VALIDATORS);
    net.until(0, 1);
    let parts: Vec<BlockPart> = net
        .sent
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Part(part) if part.signed.statement.height == Height(1) => Some((**part).clone()),
            _ => None,
        })
        .collect();
    let chain = net.chain.clone();
    let proposer = parts[0].signed.statement.proposer;
    let mut assembly = Assembly::new(&chain, &genesis(&chain), Round::ZERO, proposer).unwrap();
    let mut parts_after = |part: &BlockPart| {
        let taken = assembly.take(&chain, part.clone(), &|_| None);
        assert!(matches!(taken, Ok(Taken::Fresh)));
        let Progress { parts, of } = assembly.progress();
        assert_eq!(of, 5, "the opening and four ticks");
        parts
    };
    assert_eq!(parts_after(&parts[0]), 1);
    assert_eq!(parts_after(&parts[2]), 1, "the first tick is missing");
    assert_eq!(parts_after(&parts[1]), 3);
    let secret = (1..=4).map(key).find(|key| key.public_key() == proposer).unwrap();
    let content = PartContent::Tick(Tick {
        hash: Hash([77; 32]),
        transactions: vec![transfer(&chain, 7).transaction().clone()],
    });
    let odd = sign_part(
        &chain.genesis,
        &secret,
        parts[3].signed.statement.clone(),
        content,
    );
    assert_eq!(parts_after(&odd), 0, "a transaction that may not be in the block");
}

/// Bugs that these tests find.
#[cfg(feature = "planted")]
mod planted_bugs {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use vibecoin_execution::planted::POISON;
    use vibecoin_primitives::planted::Bug;

    use super::*;

    #[test]
    fn candidates_that_are_never_dropped_are_found() {
        let _planted = Planted::new(Some(Bug::CandidatesKept));
        // A node holds its own blocks, one in four rounds.
        let rounds = 4 * (CANDIDATES_MAX as u32 + 4);
        let held_max = fail_rounds(&mut Net::new(&VALIDATORS), rounds);
        assert!(held_max > CANDIDATES_MAX + 1, "{held_max} blocks");
    }

    /// Height and round of a part with a transaction: the only one is that which panics the executor.
    fn poisoned(message: &Message) -> Option<(Height, Round)> {
        let Message::Part(part) = message else { return None };
        let PartContent::Tick(tick) = &part.content else {
            return None;
        };
        let statement = &part.signed.statement;
        (!tick.transactions.is_empty()).then_some((statement.height, statement.round))
    }

    /// The first node, which has no bug, alone has a transaction that panics the executor of the others.
    fn with_poison() -> Net {
        let mut net = Net::new(&VALIDATORS);
        net.unaffected = Some(0);
        net.loses = Box::new(|_, _, message| matches!(message, Message::Transactions(_)));
        let poison = transfer_of(&net.chain, 0, POISON.0);
        net.submit(0, poison);
        net
    }

    #[test]
    fn a_proposed_block_that_panics_the_executor_is_invalid_and_the_next_proposer_goes_on() {
        let _planted = Planted::new(Some(Bug::PoisonPanics));
        let mut net = with_poison();
        (0..4).for_each(|node| net.until(node, 9));
        net.all_agree(9);
        let sent = net.sent.iter();
        let proposed: Vec<_> = sent
            .filter_map(|(from, message)| Some((*from, poisoned(message)?)))
            .collect();
        let mut rounds: Vec<_> = proposed.iter().map(|(_, round)| *round).collect();
        rounds.dedup();
        assert!(!rounds.is_empty());
        assert!(proposed.iter().all(|(from, _)| *from == 0), "{proposed:?}");
        let judges = (1..4).map(|n| net.nodes[n].replica.key().unwrap());
        let judges: Vec<PublicKey> = judges.collect();
        for (height, round) in rounds.into_iter().filter(|(height, _)| height.0 <= 9) {
            let prevotes: Vec<&Vote> = net
                .sent
                .iter()
                .filter_map(|(_, message)| match message {
                    Message::Consensus(ConsensusMessage::Vote(signed)) => Some(&signed.vote),
                    _ => None,
                })
                .filter(|vote| (vote.height, vote.round, vote.kind) == (height, round, VoteKind::Prevote))
                .filter(|vote| judges.contains(&vote.validator))
                .collect();
            assert!(prevotes.len() >= 3, "{height}/{round}: {prevotes:?}");
            assert!(prevotes.iter().all(|vote| vote.block.is_none()), "{prevotes:?}");
            let commit = &net.nodes[0].commits[height.0 as usize - 1];
            assert!(commit.header.round > round, "height {height}");
            assert_ne!(commit.header.proposer, key(1).public_key(), "height {height}");
        }
        for node in &net.nodes {
            // Judged, not only missed.
            assert!(node.logged.iter().any(|(_, transactions, _)| *transactions == 1));
            assert!(node.commits.iter().all(|commit| commit.ids.is_empty()));
        }
    }

    #[test]
    fn a_panic_that_is_not_contained_is_found() {
        let _planted = Planted::new(Some(Bug::PanicUncontained));
        let mut net = with_poison();
        let ended = catch_unwind(AssertUnwindSafe(|| net.until(1, 9)));
        let reason = ended.unwrap_err();
        assert_eq!(reason.downcast_ref::<&str>(), Some(&"planted"));
    }
}
