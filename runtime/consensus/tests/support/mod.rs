//! A network of orderers in one thread: simulated clock, network and disk, everything from one seed.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vibecoin_consensus::*;
use vibecoin_primitives::*;

pub const GENESIS: Hash = Hash([7; 32]);
/// A block with this transaction root is invalid, on every node.
pub const BAD_ROOT: Hash = Hash([0xba; 32]);

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub fn key(i: usize) -> SecretKey {
    vibecoin_tests_support::key(i as u8 + 1)
}

/// Keys in the order of the set, and the set.
pub fn validators(n: usize) -> (Vec<SecretKey>, Arc<ValidatorSet>) {
    let mut keys: Vec<SecretKey> = (0..n).map(key).collect();
    keys.sort_by_key(SecretKey::public_key);
    let set = keys
        .iter()
        .map(|k| Validator {
            key: k.public_key(),
            power: Power(1),
            payout: Address([200; 32]),
        })
        .collect();
    (keys, Arc::new(ValidatorSet::new(set).unwrap()))
}

pub fn timeouts() -> Timeouts {
    Timeouts::from(&ChainParams::devnet())
}

pub fn params(height: u64, set: &Arc<ValidatorSet>, schedule: &ProposerSchedule) -> HeightParams {
    HeightParams {
        height: Height(height),
        validators: Arc::clone(set),
        schedule: schedule.clone(),
        fault_model: FaultModel::Byzantine,
        timeouts: timeouts(),
    }
}

pub fn header(height: Height, round: Round, proposer: PublicKey, parent: Hash, salt: u64) -> Header {
    let mut state_root = [0; 32];
    state_root[..8].copy_from_slice(&salt.to_le_bytes());
    Header {
        height,
        round,
        proposer,
        parent,
        time: TimeMs(1000 * height.0),
        ticks: 1,
        poh_seq: height.0,
        state_root: Hash(state_root),
        ..vibecoin_tests_support::header()
    }
}

pub fn drain(orderer: &mut BftOrderer) -> Vec<Output> {
    let outputs: Vec<Output> = std::iter::from_fn(|| orderer.poll()).collect();
    assert_in_order(&outputs);
    outputs
}

/// The contract of one burst: appends, one sync, one guard entry, then the rest.
pub fn assert_in_order(outputs: &[Output]) {
    let rank = |output: &Output| match output {
        Output::Append(_) => 0,
        Output::SyncLog => 1,
        Output::Guard(_) => 2,
        Output::Decided { .. } => 4,
        _ => 3,
    };
    let ranks: Vec<i32> = outputs.iter().map(rank).collect();
    assert!(ranks.is_sorted(), "outputs out of order: {outputs:?}");
    assert!(ranks.iter().filter(|r| **r == 1).count() <= 1);
    assert!(ranks.iter().filter(|r| **r == 2).count() <= 1);
}

/// State that survives a crash.
#[derive(Clone, Default)]
pub struct Disk {
    pub log: Vec<Vec<u8>>,
    pub unsynced: Vec<Vec<u8>>,
    pub guard: Option<Vec<u8>>,
    pub chain: Vec<(Header, CommitCertificate)>,
}

pub struct Node {
    pub orderer: BftOrderer,
    pub key: SecretKey,
    pub disk: Disk,
    pub up: bool,
    /// Number of outputs still performed before the node crashes.
    pub dies_after: Option<u64>,
    pub evidence: Vec<Evidence>,
    pub halted: Option<HaltReason>,
    pub abstained: bool,
    pub rounds: u64,
    pub decided_invalid: bool,
}

#[derive(Clone)]
pub enum Happening {
    Deliver(usize, ConsensusMessage),
    Built(usize, Header),
    Checked(usize, Header),
    Poll(usize),
    Restart(usize),
}

/// Byzantine behaviour of a validator that otherwise follows the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Sends nothing at all.
    Silent,
    /// Sends a second prevote for a made-up block.
    DoublePrevote,
    /// Sends a second proposal for another block.
    DoublePropose,
    /// Builds blocks that are invalid.
    BadBlocks,
}

#[derive(Clone)]
pub struct Config {
    pub n: usize,
    pub seed: u64,
    pub loss_permille: u64,
    pub delay_us: u64,
    pub fault_model: FaultModel,
    pub faults: Vec<Fault>,
    /// Number of heights between crashes of a node in the middle of a burst; 0 is never.
    pub crash_every: u64,
    pub lose_log: bool,
    pub lose_guard: bool,
    /// From virtual second 0.1 to 2, nodes in the set receive no messages from outside of it.
    pub partition: Vec<usize>,
}

impl Config {
    pub fn new(n: usize, seed: u64) -> Self {
        Self {
            n,
            seed,
            loss_permille: 0,
            delay_us: 2_000,
            fault_model: FaultModel::Byzantine,
            faults: vec![Fault::None; n],
            crash_every: 0,
            lose_log: false,
            lose_guard: false,
            partition: vec![],
        }
    }
}

pub struct Net {
    pub config: Config,
    pub now: u64,
    pub nodes: Vec<Node>,
    pub set: Arc<ValidatorSet>,
    queue: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    rng: Rng,
    trace: blake3::Hasher,
    bodies: BTreeSet<Hash>,
    said: BTreeMap<(PublicKey, Height, Round, u8), Option<Hash>>,
    built: BTreeMap<(PublicKey, Height, Round), Hash>,
    pub conflicts: u64,
    pub crashes: u64,
    pub sent: u64,
    next_crash: u64,
}

impl Net {
    pub fn new(config: Config) -> Self {
        let (keys, set) = validators(config.n);
        let nodes = keys
            .into_iter()
            .map(|key| Node {
                orderer: BftOrderer::new(OrdererConfig {
                    genesis: GENESIS,
                    key: Some(key.clone()),
                }),
                key,
                disk: Disk::default(),
                up: false,
                dies_after: None,
                evidence: vec![],
                halted: None,
                abstained: false,
                rounds: 0,
                decided_invalid: false,
            })
            .collect();
        let mut net = Self {
            now: 0,
            nodes,
            set,
            queue: BTreeMap::new(),
            serial: 0,
            rng: Rng::new(config.seed),
            trace: blake3::Hasher::new(),
            bodies: BTreeSet::new(),
            said: BTreeMap::new(),
            built: BTreeMap::new(),
            conflicts: 0,
            crashes: 0,
            sent: 0,
            next_crash: 3,
            config,
        };
        for i in 0..net.nodes.len() {
            if net.config.faults[i] != Fault::Silent {
                net.start(i);
                net.later(300_000, Happening::Poll(i));
            }
        }
        net
    }

    fn later(&mut self, after: u64, happening: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), happening);
    }

    fn schedule(&self, i: usize) -> ProposerSchedule {
        let mut schedule = ProposerSchedule::genesis(&self.set);
        for (header, _) in &self.nodes[i].disk.chain {
            schedule = schedule.after(&self.set, header.height, header.round);
        }
        schedule
    }

    fn params(&self, i: usize) -> HeightParams {
        HeightParams {
            fault_model: self.config.fault_model,
            ..params(
                self.nodes[i].disk.chain.len() as u64 + 1,
                &self.set,
                &self.schedule(i),
            )
        }
    }

    /// Starts a node from its disk.
    fn start(&mut self, i: usize) {
        let params = self.params(i);
        let now = MonoTime(self.now);
        let node = &mut self.nodes[i];
        let records = node.disk.log.iter().map(|bytes| decode(bytes).unwrap()).collect();
        let guard = node.disk.guard.as_ref().map(|bytes| decode(bytes).unwrap());
        node.orderer = BftOrderer::new(OrdererConfig {
            genesis: GENESIS,
            key: Some(node.key.clone()),
        });
        node.up = true;
        node.orderer.replay(params, records, guard, now);
        node.abstained |= node.orderer.status().abstaining;
        node.orderer.start_propose_timer(now);
        self.perform(i);
    }

    fn crash(&mut self, i: usize) {
        self.crashes += 1;
        let keep = self.rng.below(3);
        let (lose_log, lose_guard) = (self.config.lose_log, self.config.lose_guard);
        let node = &mut self.nodes[i];
        node.up = false;
        node.dies_after = None;
        // Of the bytes written but not synced, any prefix may survive.
        let written = node.disk.unsynced.len() as u64 * keep / 2;
        let survives: Vec<Vec<u8>> = node.disk.unsynced.drain(..).take(written as usize).collect();
        node.disk.log.extend(survives);
        if lose_log {
            node.disk.log.clear();
        }
        if lose_guard {
            node.disk.guard = None;
        }
        self.later(50_000, Happening::Restart(i));
    }

    /// Performs every output of the node, until it is done or crashes.
    fn perform(&mut self, i: usize) {
        loop {
            let outputs = drain(&mut self.nodes[i].orderer);
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                if let Some(left) = &mut self.nodes[i].dies_after {
                    if *left == 0 {
                        return self.crash(i);
                    }
                    *left -= 1;
                }
                self.perform_one(i, output);
            }
        }
    }

    fn perform_one(&mut self, i: usize, output: Output) {
        let fault = self.config.faults[i];
        let key = self.nodes[i].key.clone();
        let me = key.public_key();
        match output {
            Output::Append(record) => {
                let bytes = encode(&record);
                assert_eq!(decode::<LogRecord>(&bytes).unwrap(), record);
                self.nodes[i].disk.unsynced.push(bytes);
            }
            Output::SyncLog => {
                let disk = &mut self.nodes[i].disk;
                disk.log.append(&mut disk.unsynced);
            }
            Output::Guard(entry) => {
                let disk = &mut self.nodes[i].disk;
                let before = disk
                    .guard
                    .as_ref()
                    .map(|bytes| decode::<GuardEntry>(bytes).unwrap());
                assert!(before.is_none_or(|before| before.position() < entry.position()));
                disk.guard = Some(encode(&entry));
            }
            Output::Send(message) => {
                self.note_own(i, &message);
                self.broadcast(i, &message);
                match message {
                    ConsensusMessage::Vote(vote)
                        if fault == Fault::DoublePrevote && vote.vote.kind == VoteKind::Prevote =>
                    {
                        let other = Vote {
                            block: Some(Hash([9; 32])),
                            ..vote.vote
                        };
                        self.broadcast(i, &ConsensusMessage::Vote(other.sign(&GENESIS, &key)));
                    }
                    ConsensusMessage::Proposal(proposal)
                        if fault == Fault::DoublePropose && proposal.proposal.proposer == me =>
                    {
                        let mut other = proposal.proposal.clone();
                        other.header.time = TimeMs(other.header.time.0 + 1);
                        let other = Box::new(other.sign(&GENESIS, &key));
                        self.broadcast(i, &ConsensusMessage::Proposal(other));
                    }
                    _ => {}
                }
            }
            Output::RoundStarted { .. } => self.nodes[i].rounds += 1,
            Output::Build {
                height,
                round,
                rebuild,
            } => {
                let stored = self.nodes[i].disk.log.iter().chain(&self.nodes[i].disk.unsynced);
                let mut stored = stored.filter_map(|bytes| match decode(bytes).unwrap() {
                    LogRecord::Block(block) => Some(block.header),
                    _ => None,
                });
                let stored = stored.rfind(|h| (h.height, h.round, h.proposer) == (height, round, me));
                let block = match (rebuild, stored) {
                    (true, None) => return,
                    (true, Some(stored)) => stored,
                    (false, _) => {
                        let parent = self.nodes[i]
                            .disk
                            .chain
                            .last()
                            .map_or(GENESIS, |(header, _)| header.hash());
                        let mut block = header(height, round, me, parent, self.rng.next());
                        if fault == Fault::BadBlocks {
                            block.tx_root = BAD_ROOT;
                        }
                        block
                    }
                };
                // Streaming begins at once: two different blocks here would be two signed streams.
                let streamed = self
                    .built
                    .entry((me, height, round))
                    .or_insert_with(|| block.hash());
                if *streamed != block.hash() {
                    self.conflicts += 1;
                }
                self.later(5_000, Happening::Built(i, block));
            }
            Output::Check { header, .. } => {
                let delay = 1_000 + self.rng.below(self.config.delay_us + 1);
                self.later(delay, Happening::Checked(i, *header));
            }
            Output::Restream { .. } => {}
            Output::Decided {
                certificate,
                header,
                evidence,
            } => {
                let height = Height(self.nodes[i].disk.chain.len() as u64 + 1);
                certificate
                    .verify(
                        &GENESIS,
                        self.config.fault_model,
                        &self.set,
                        height,
                        &header.hash(),
                    )
                    .unwrap();
                for evidence in &evidence {
                    evidence.verify(&GENESIS, &self.set).unwrap();
                }
                let node = &mut self.nodes[i];
                node.decided_invalid |= header.tx_root == BAD_ROOT;
                node.evidence.extend(evidence);
                node.disk.chain.push((*header, certificate));
                node.disk.log.clear();
                node.disk.unsynced.clear();
                let params = self.params(i);
                let now = MonoTime(self.now);
                let node = &mut self.nodes[i];
                node.orderer.start_height(params, now);
                node.orderer.start_propose_timer(now);
            }
            Output::Halt(reason) => {
                self.nodes[i].halted = Some(reason);
                self.nodes[i].up = false;
            }
        }
    }

    /// Nothing signed leaves before its record and its guard entry are durable, and no key ever signs two
    /// messages in one step.
    fn note_own(&mut self, i: usize, message: &ConsensusMessage) {
        let node = &self.nodes[i];
        let me = node.key.public_key();
        let (height, round, step, block, record) = match message {
            ConsensusMessage::Vote(vote) if vote.vote.validator == me => {
                let step = if vote.vote.kind == VoteKind::Prevote {
                    GuardStep::Prevote
                } else {
                    GuardStep::Precommit
                };
                let record = LogRecord::Vote(vote.clone());
                (vote.vote.height, vote.vote.round, step, vote.vote.block, record)
            }
            ConsensusMessage::Proposal(proposal) if proposal.proposal.proposer == me => {
                let Proposal {
                    height,
                    round,
                    header,
                    ..
                } = &proposal.proposal;
                (
                    *height,
                    *round,
                    GuardStep::Proposal,
                    Some(header.hash()),
                    LogRecord::Proposal(proposal.clone()),
                )
            }
            _ => return,
        };
        assert!(
            node.disk.log.contains(&encode(&record)),
            "sent before it was in the log: {message:?}"
        );
        let guard: GuardEntry =
            decode(node.disk.guard.as_ref().expect("sent without a guard entry")).unwrap();
        assert!(
            guard.position() >= Position { height, round, step },
            "sent ahead of the guard: {message:?}"
        );
        let before = self.said.entry((me, height, round, step as u8)).or_insert(block);
        if *before != block {
            self.conflicts += 1;
        }
    }

    fn broadcast(&mut self, from: usize, message: &ConsensusMessage) {
        self.sent += 1;
        let bytes = encode(message);
        assert_eq!(&decode::<ConsensusMessage>(&bytes).unwrap(), message);
        self.trace.update(&bytes);
        for to in 0..self.nodes.len() {
            let cut = (100_000..2_000_000).contains(&self.now)
                && self.config.partition.contains(&from) != self.config.partition.contains(&to);
            if to == from || cut || self.rng.below(1000) < self.config.loss_permille {
                continue;
            }
            let delay = self.config.delay_us / 2 + self.rng.below(self.config.delay_us + 1);
            self.later(delay, Happening::Deliver(to, message.clone()));
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = MonoTime(self.now);
        let (i, up) = match &happening {
            Happening::Deliver(i, _)
            | Happening::Built(i, _)
            | Happening::Checked(i, _)
            | Happening::Poll(i)
            | Happening::Restart(i) => (*i, self.nodes[*i].up),
        };
        match happening {
            Happening::Restart(_) => {
                return if self.nodes[i].halted.is_none() {
                    self.start(i)
                };
            }
            Happening::Poll(_) => self.later(300_000, Happening::Poll(i)),
            _ => {}
        }
        if !self.nodes[i].up || !up {
            return;
        }
        match happening {
            Happening::Deliver(_, message) => {
                let verdict = self.nodes[i].orderer.on_message(message, now);
                let byzantine = self
                    .config
                    .faults
                    .iter()
                    .any(|f| *f != Fault::None && *f != Fault::Silent);
                assert!(
                    byzantine || !matches!(verdict, Verdict::Rejected(_)),
                    "{verdict:?}"
                );
            }
            Happening::Built(_, header) => {
                self.append_block(i, &header);
                self.bodies.insert(header.hash());
                let (height, round) = (header.height, header.round);
                let built = BlockEvent::Built {
                    height,
                    round,
                    header: Box::new(header),
                };
                self.nodes[i].orderer.on_block(built, now);
            }
            Happening::Checked(_, header) => {
                self.append_block(i, &header);
                let valid = header.tx_root != BAD_ROOT;
                self.nodes[i].orderer.on_block(
                    BlockEvent::Checked {
                        header: Box::new(header),
                        valid,
                    },
                    now,
                );
            }
            Happening::Poll(_) => self.sync(i),
            Happening::Restart(_) => {}
        }
        self.perform(i);
    }

    fn append_block(&mut self, i: usize, header: &Header) {
        let block = Block {
            header: header.clone(),
            body: Body::V1(BodyV1::default()),
        };
        self.nodes[i]
            .disk
            .unsynced
            .push(encode(&LogRecord::Block(Box::new(block))));
    }

    /// A node that is behind fetches the next block with its certificate from any other.
    fn sync(&mut self, i: usize) {
        let height = self.nodes[i].disk.chain.len();
        let found = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(j, node)| {
                let cut = (100_000..2_000_000).contains(&self.now)
                    && self.config.partition.contains(&i) != self.config.partition.contains(j);
                node.up && !cut
            })
            .find_map(|(_, node)| node.disk.chain.get(height).cloned());
        if let Some((header, certificate)) = found {
            let event = BlockEvent::Synced {
                header: Box::new(header),
                certificate,
                valid: true,
            };
            self.nodes[i].orderer.on_block(event, MonoTime(self.now));
        }
    }

    fn maybe_crash(&mut self) {
        if self.config.crash_every == 0 {
            return;
        }
        let i = (self.crashes as usize) % self.nodes.len();
        let node = &mut self.nodes[i];
        if node.up && node.dies_after.is_none() && node.disk.chain.len() as u64 >= self.next_crash {
            // Somewhere within the next bursts, between any two outputs.
            node.dies_after = Some(self.rng.below(40));
            self.next_crash += self.config.crash_every;
        }
    }

    pub fn lowest(&self) -> u64 {
        let up = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(i, _)| self.config.faults[*i] != Fault::Silent);
        up.map(|(_, node)| node.disk.chain.len() as u64).min().unwrap()
    }

    /// Runs until every node that is not silent has `heights` blocks; false when `limit` seconds of
    /// virtual time pass first.
    pub fn run(&mut self, heights: u64, limit: u64) -> bool {
        while self.lowest() < heights {
            self.maybe_crash();
            let deadline = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| node.up)
                .filter_map(|(i, node)| node.orderer.next_deadline().map(|at| (at.0, i)))
                .min();
            let next = self.queue.keys().next().copied();
            match (next, deadline) {
                (Some((at, _)), deadline) if deadline.is_none_or(|(d, _)| at <= d) => {
                    let ((at, _), happening) = self.queue.pop_first().unwrap();
                    self.now = self.now.max(at);
                    self.happen(happening);
                }
                (_, Some((at, i))) => {
                    self.now = self.now.max(at);
                    self.nodes[i].orderer.on_time(MonoTime(self.now));
                    self.perform(i);
                }
                _ => return false,
            }
            if self.now > limit * 1_000_000 {
                return false;
            }
        }
        true
    }

    pub fn assert_one_chain(&self) {
        for node in &self.nodes {
            for (mine, theirs) in node.disk.chain.iter().zip(&self.longest().disk.chain) {
                assert_eq!(mine.0, theirs.0, "fork");
            }
            assert!(!node.decided_invalid);
            assert_eq!(node.orderer.status().counters.core_errors, 0);
        }
    }

    pub fn longest(&self) -> &Node {
        self.nodes
            .iter()
            .max_by_key(|node| node.disk.chain.len())
            .unwrap()
    }

    pub fn fingerprint(&self) -> Hash {
        let mut trace = self.trace.clone();
        trace.update(&self.now.to_le_bytes());
        Hash(*trace.finalize().as_bytes())
    }
}
