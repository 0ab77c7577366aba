//! The scheduler: one queue of happenings, one virtual time, every choice from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vibecoin_consensus::ConsensusMessage;
use vibecoin_consensus::Verdict;
use vibecoin_consensus::{FUTURE_HEIGHTS, LogRecord, Orderer as _};
use vibecoin_genesis::{BuiltGenesis, Genesis};
use vibecoin_network::Envelope;
use vibecoin_primitives::planted::Planted;
use vibecoin_primitives::{
    Address, Block, Hash, Height, PENALTY_MAX, Power, SecretKey, TimeMs, Transaction, Validator,
    VerifiedTransaction, Vote, VoteKind, encode,
};
use vibecoin_replica::{Action, CertifiedBlock, Chain, Commit, Event, Message, SYNC_BLOCKS_MAX, Ticket};
use vibecoin_storage::kv::MemoryKv;
use vibecoin_storage::{CommitBlock, GenesisState, StateView, StorageError, Store, StoreConfig};

use crate::disk::{Disk, guard_row};
use crate::liar::Liar;
use crate::model::Model;
use crate::node::{Fault, GENESIS_MS, Node, describe};
use crate::observer::{Observer, is_quorum};
use crate::plan::{params, powers};
use crate::rng::Rng;
use crate::trace::{Recorded, Short, Trace};
use crate::traffic::Traffic;
use crate::wire::{Gossip, Parcel};
use crate::{Config, Faults, Lie, Report, Rule, SABOTEUR, Sabotage, Violation};

/// Longest phase with faults, in virtual microseconds; a stormy seed may decide little.
const STORM_MICROS_MAX: u64 = 60_000_000;
/// In which time every node must gain [`CALM_HEIGHTS`] once faults are off.
const CALM_MICROS: u64 = 60_000_000;
const CALM_HEIGHTS: u64 = 3;
/// Bytes of blocks in one answer to a sync request.
const SERVE_BYTES_MAX: usize = 1 << 20;
/// Good transactions that must get into blocks once faults are off.
const PROBES: u64 = 5;
/// In which time they must, and in which time a double signature must end in a block.
const PROBE_MICROS: u64 = 30_000_000;
const EVIDENCE_MICROS: u64 = 10_000_000;
/// How long a network without a quorum is watched.
const STOP_MICROS: u64 = 20_000_000;
/// Transactions whose signatures have been checked, remembered for all nodes together.
const VERIFIED_MAX: usize = 4096;
/// Wakes in a row without progress that are no busy loop yet.
const SPINS_MAX: u32 = 20;

pub enum Happening {
    Deliver(Parcel),
    /// Whether two nodes are connected may have changed.
    Link(usize, usize),
    /// A node finds that a peer's process is gone.
    Gone {
        node: usize,
        peer: usize,
    },
    Wake {
        node: usize,
        boot: u64,
    },
    Stored {
        node: usize,
        boot: u64,
    },
    Crash,
    Start {
        node: usize,
    },
    Cut,
    Heal,
    Submit,
}

/// What performing an action led to.
enum Flow {
    Go,
    /// The power failed in the middle of it.
    Dead,
    Halted(u8),
}

pub struct World {
    config: Config,
    storm: Faults,
    pub faults: Faults,
    pub chain: Chain,
    store: StoreConfig,
    pub envelope: Envelope,
    pub nodes: Vec<Node>,
    pub now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    rng: Rng,
    pub wire: Rng,
    /// Nodes on the other side of the present partition.
    pub apart: BTreeSet<usize>,
    /// Pairs of nodes that see each other, the smaller first.
    pub linked: BTreeSet<(usize, usize)>,
    pub gossip: Gossip,
    pub liar: Option<Liar>,
    /// Nodes that do not start before the outage is over.
    dead: BTreeSet<usize>,
    pub calm: bool,
    model: Model,
    pub observer: Observer,
    traffic: Traffic,
    /// Transactions whose signatures have been checked, by their hash over all bytes.
    verified: BTreeMap<Hash, Option<Arc<VerifiedTransaction>>>,
    pub trace: Trace,
    pub report: Report,
}

/// Runs a seed.
///
/// # Errors
/// [`Violation`] of the first rule that did not hold.
pub fn run(config: &Config) -> Result<Report, Violation> {
    Planted::reset_noise();
    let mut world = World::new(config);
    world.start_all()?;
    world.storm()?;
    world.outage()?;
    world.calm()?;
    world.finish()
}

fn build_genesis(config: &Config, keys: &[SecretKey]) -> BuiltGenesis {
    let payout = |index: usize| Address::from(SecretKey::from_seed(&[200 + index as u8; 32]).public_key());
    let powers = powers(config);
    let validators = keys
        .iter()
        .zip(powers)
        .enumerate()
        .map(|(index, (key, power))| Validator {
            key: key.public_key(),
            power: Power(power),
            payout: payout(index),
        });
    let genesis = Genesis {
        time: TimeMs(GENESIS_MS - 1000),
        params: params(config.seed, config.fault_model),
        validators: validators.collect(),
        accounts: Traffic::balances().collect(),
    };
    genesis.build().expect("the simulated genesis keeps the rules")
}

impl World {
    fn new(config: &Config) -> Self {
        let mut keys: Vec<SecretKey> = (0..config.nodes)
            .map(|i| SecretKey::from_seed(&[1 + i as u8; 32]))
            .collect();
        keys.sort_by_key(SecretKey::public_key);
        let genesis = build_genesis(config, &keys);
        let chain = Chain::new(genesis.hash, genesis.params.clone(), genesis.validators.clone());
        if config.lie == Lie::Twins {
            keys.push(keys[SABOTEUR].clone());
        }
        let storm = Faults::draw(config.seed);
        let store = StoreConfig {
            background: false,
            step_updates: storm.step_updates as usize,
            rows_cached_max: 64,
            ..StoreConfig::default()
        };
        let kv = MemoryKv::new();
        let state = GenesisState {
            header: genesis.header.clone(),
            body: genesis.body.clone(),
            params: genesis.params.clone(),
            validators: genesis.validators.clone(),
            accounts: genesis.accounts.clone(),
            slots: genesis.slots.clone(),
        };
        drop(Store::create(Arc::new(kv.clone()), &state, store).expect("an empty memory takes a genesis"));
        let mut rng = Rng::new(config.seed, 4);
        let nodes = keys.into_iter().map(|key| Node {
            public: key.public_key(),
            key,
            disk: Disk::new(&kv),
            running: None,
            boot: 0,
            halted: None,
            acked: (Height(0), genesis.hash),
            wall_ahead: rng.below(storm.clock_offset + 1),
            pace: 1000 + rng.below(2 * storm.clock_drift + 1) - storm.clock_drift,
            log_failed: false,
        });
        let nodes: Vec<Node> = nodes.collect();
        let lies = config.lie != Lie::None || config.sabotage == Sabotage::Equivocation;
        let excused = lies.then(|| nodes[SABOTEUR].public);
        let liar = !matches!(config.lie, Lie::None | Lie::Twins);
        let liar = liar.then(|| Liar::new(config, &chain, SABOTEUR, nodes.len(), &nodes[SABOTEUR].key));
        Self {
            model: Model::new(&chain, &genesis, excused),
            observer: Observer::new(chain.validators.clone(), config.fault_model, excused),
            liar,
            dead: BTreeSet::new(),
            linked: BTreeSet::new(),
            gossip: Gossip::default(),
            verified: BTreeMap::new(),
            traffic: Traffic::new(config.seed, genesis.hash),
            trace: Trace::new(config.print),
            report: Report {
                halted: vec![None; nodes.len()],
                ..Report::default()
            },
            envelope: Envelope::new(&genesis.hash),
            wire: Rng::new(config.seed, 5),
            config: config.clone(),
            faults: storm.clone(),
            storm,
            chain,
            store,
            nodes,
            now: 0,
            queue: BTreeMap::new(),
            serial: 0,
            rng,
            apart: BTreeSet::new(),
            calm: false,
        }
    }

    pub fn violation(&self, node: usize, (rule, detail): Fault) -> Violation {
        Violation {
            rule,
            node,
            micros: self.now,
            detail,
        }
    }

    pub fn later(&mut self, after: u64, happening: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), happening);
    }

    // ---- phases -------------------------------------------------------------------------------

    fn start_all(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            let after = self.rng.below(50_000);
            self.later(after, Happening::Start { node });
        }
        self.later(1, Happening::Submit);
        for (mean, happening) in [
            (self.faults.crash_every, Happening::Crash),
            (self.faults.partition_every, Happening::Cut),
        ] {
            if mean > 0 {
                let after = self.rng.wait(mean);
                self.later(after, happening);
            }
        }
        Ok(())
    }

    fn storm(&mut self) -> Result<(), Violation> {
        self.trace.note(0, format_args!("storm: {:?}", self.storm));
        while self.model.height().0 < self.config.heights && self.now < STORM_MICROS_MAX {
            self.advance()?;
        }
        Ok(())
    }

    /// Faults off, but some nodes are dead for long: the others go on, if they are a quorum.
    fn outage(&mut self) -> Result<(), Violation> {
        if self.config.outage == 0 {
            return Ok(());
        }
        self.quiet();
        self.start_everybody()?;
        while self.dead.len() < self.config.outage {
            self.dead.insert(self.rng.index(self.nodes.len()));
        }
        let dead = self.dead.clone();
        for node in &dead {
            self.crash(*node);
        }
        let alive: Vec<usize> = (0..self.nodes.len())
            .filter(|node| !dead.contains(node))
            .collect();
        let members = self.chain.validators.members();
        let power: u64 = members
            .iter()
            .filter(|member| alive.iter().any(|node| self.nodes[*node].public == member.key))
            .map(|member| member.power.0)
            .sum();
        let goes_on = is_quorum(
            self.config.fault_model,
            power,
            self.chain.validators.total_power(),
        );
        let before = self.model.height();
        self.trace.note(
            self.now,
            format_args!("outage of {dead:?}: power {power} is left, a quorum: {goes_on}"),
        );
        if goes_on {
            self.reach(&alive, Height(before.0 + CALM_HEIGHTS))?;
        } else {
            let until = self.now + STOP_MICROS;
            while self.now < until {
                self.advance()?;
            }
            // One height may have been decided already, its votes being on their way.
            if self.model.height().0 > before.0 + 1 {
                let detail = format!("{before} became {} without a quorum", self.model.height());
                return Err(self.violation(alive.first().copied().unwrap_or(0), (Rule::CleanStop, detail)));
            }
        }
        self.report.outage_heights = self.model.height().0 - before.0;
        self.dead.clear();
        Ok(())
    }

    fn quiet(&mut self) {
        self.faults = self.storm.calm();
        self.calm = true;
        self.apart.clear();
        if let Some(liar) = &mut self.liar {
            liar.open = true;
        }
        self.look_at_links();
    }

    fn start_everybody(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            if let Some(running) = &mut self.nodes[node].running {
                running.dies_after = None;
            } else if self.nodes[node].halted.is_none() {
                self.start(node)?;
            }
        }
        Ok(())
    }

    /// Runs until each of these nodes, if it follows the rules, has stored a height.
    fn reach(&mut self, nodes: &[usize], target: Height) -> Result<(), Violation> {
        let until = self.now + CALM_MICROS;
        while let Some(slow) = nodes.iter().copied().find(|index| {
            let node = &self.nodes[*index];
            !self.config.lies(*index) && node.halted.is_none() && node.acked.0 < target
        }) {
            if self.now > until {
                let node = &self.nodes[slow];
                let status = node
                    .running
                    .as_ref()
                    .map(|running| running.replica.orderer().status());
                let detail = format!("height {} instead of {target}: {status:?}", node.acked.0);
                return Err(self.violation(slow, (Rule::Liveness, detail)));
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Faults off, everybody up: the chain goes on, and everybody follows. Liars go on lying.
    fn calm(&mut self) -> Result<(), Violation> {
        self.quiet();
        let target = Height(self.model.height().0 + CALM_HEIGHTS);
        self.trace.note(
            self.now,
            format_args!("calm: everybody must reach height {target}"),
        );
        let far_behind = |node: &&Node| node.acked.0.saturating_add(FUTURE_HEIGHTS + 1) < self.model.height();
        self.report.far_behind = self.nodes.iter().filter(far_behind).count() as u64;
        self.start_everybody()?;
        self.probe()?;
        let everybody: Vec<usize> = (0..self.nodes.len()).collect();
        self.reach(&everybody, target)?;
        let until = self.now + PROBE_MICROS;
        while self.model.nonce(&Traffic::prober()) < PROBES {
            if self.now > until {
                let detail = format!(
                    "{} of {PROBES} good transactions are in blocks",
                    self.model.nonce(&Traffic::prober())
                );
                return Err(self.violation(SABOTEUR, (Rule::Inclusion, detail)));
            }
            self.advance()?;
        }
        self.await_evidence()
    }

    /// Once faults are off, a double signature ends in a block. The time counts from the next one: a liar
    /// that is being passed over has to wait for its turn first.
    fn await_evidence(&mut self) -> Result<(), Violation> {
        let before = self.observer.contradictions;
        let last = self.model.height().0 + 2 * u64::from(PENALTY_MAX);
        let mut until = None;
        while self.config.lie.is_evident()
            && self.nodes[SABOTEUR].halted.is_none()
            && self.model.evidence.is_empty()
        {
            if until.is_none() && self.observer.contradictions > before {
                until = Some(self.now + EVIDENCE_MICROS);
            }
            let late = until.is_some_and(|until| self.now > until);
            if late || self.model.height().0 > last {
                let detail = if late {
                    "somebody signs everything twice, and no block says so"
                } else {
                    "a liar never gets a turn again"
                };
                return Err(self.violation(SABOTEUR, (Rule::Evidence, detail.to_owned())));
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Hands good transactions to everybody, once: a pool that has them must not lose them.
    fn probe(&mut self) -> Result<(), Violation> {
        let probes: Vec<Transaction> = (0..PROBES).map(|nonce| self.traffic.probe(nonce)).collect();
        for node in 0..self.nodes.len() {
            self.take_transactions(node, probes.clone())?;
        }
        Ok(())
    }

    /// Every node that is left has the same chain, on disk too.
    fn finish(mut self) -> Result<Report, Violation> {
        for index in 0..self.nodes.len() {
            if self.nodes[index].halted.is_none() {
                // The checks of a start are the node's own.
                let _bug = Planted::new(self.config.bug);
                self.check_chain(index)
                    .map_err(|fault| self.violation(index, fault))?;
            }
        }
        self.report.lies = self.liar.as_ref().map_or(0, |liar| liar.lies);
        self.report.trace = self.trace.hash();
        self.report.heights = self.model.height().0;
        self.report.micros = self.now;
        self.report.transactions = self
            .model
            .iter()
            .map(|(_, decided)| decided.ids.len() as u64)
            .sum();
        self.report.evidence = self.model.evidence.len() as u64;
        for (_, decided) in self.model.iter() {
            self.report.late_rounds += u64::from(decided.block.header.round.0 > 0);
            let failed = decided
                .receipts
                .0
                .iter()
                .filter(|r| r.v1().outcome != vibecoin_primitives::Outcome::Success);
            self.report.failed += failed.count() as u64;
        }
        Ok(self.report)
    }

    fn check_chain(&mut self, index: usize) -> Result<(), Fault> {
        self.count(index);
        let node = &mut self.nodes[index];
        node.running = None;
        node.disk.crash(&mut self.rng, true);
        let fail = |error: StorageError| (Rule::Recovery, error.to_string());
        let store = node
            .disk
            .open(&self.chain.genesis, self.store)
            .map_err(fail)?
            .store;
        let head = store.head().height;
        if head < node.acked.0 {
            return Err((
                Rule::MonotonicHead,
                format!("ends at {head}, acknowledged was {}", node.acked.0),
            ));
        }
        for (height, decided) in self.model.iter().take_while(|(height, _)| *height <= head) {
            let differs = |what: &str| {
                Err((
                    Rule::NoLoss,
                    format!("{what} of {height} differ from what was decided"),
                ))
            };
            if store.blocks().block(height).map_err(fail)?.as_ref() != Some(&decided.block) {
                return differs("header or body");
            }
            if store.blocks().receipts(height).map_err(fail)?.as_ref() != Some(&decided.receipts) {
                return differs("receipts");
            }
            if store.states().root(height).map_err(fail)? != Some(decided.block.header.state_root) {
                return differs("state roots");
            }
            for (index, id) in decided.ids.iter().enumerate() {
                let place = store.transactions().place(id).map_err(fail)?;
                if place.map(|place| (place.height, place.index as usize)) != Some((height, index)) {
                    return Err((
                        Rule::NoLoss,
                        format!("transaction {id} of {height} is found at {place:?}"),
                    ));
                }
            }
        }
        let newest = self
            .model
            .at(head)
            .map_or(Hash::ZERO, |decided| decided.block.header.state_root);
        if head > Height(0) && store.view().root() != newest {
            return Err((
                Rule::Validity,
                format!(
                    "the state has root {}, block {head} says {newest}",
                    store.view().root()
                ),
            ));
        }
        Ok(())
    }

    // ---- happenings ---------------------------------------------------------------------------

    fn advance(&mut self) -> Result<(), Violation> {
        let ((at, _), happening) = self.queue.pop_first().expect("traffic never ends");
        self.now = at;
        match happening {
            Happening::Deliver(parcel) => self.deliver(parcel),
            Happening::Link(a, b) => self.link(a, b),
            Happening::Gone { node, peer } => self.gone(node, peer),
            Happening::Wake { node, boot } => self.wake(node, boot),
            Happening::Stored { node, boot } => self.stored(node, boot),
            Happening::Start { node } => match self.nodes[node].running {
                None if self.nodes[node].halted.is_none() && !self.dead.contains(&node) => self.start(node),
                _ => Ok(()),
            },
            Happening::Crash => self.choose_victim(),
            Happening::Cut => {
                self.cut();
                Ok(())
            }
            Happening::Heal => {
                self.apart.clear();
                self.trace.note(self.now, format_args!("partition heals"));
                self.look_at_links();
                Ok(())
            }
            Happening::Submit => self.submit(),
        }
    }

    pub fn step(&mut self, index: usize, event: Event<StateView>) -> Result<(), Violation> {
        let now = self.nodes[index].now(self.now);
        let Some(running) = &mut self.nodes[index].running else {
            return Ok(());
        };
        let bug = Planted::new(self.config.bug);
        running.replica.step(now, event);
        drop(bug);
        self.perform(index)?;
        self.rearm(index);
        Ok(())
    }

    fn wake(&mut self, index: usize, boot: u64) -> Result<(), Violation> {
        let (now, at) = (self.nodes[index].now(self.now), self.now);
        let node = &mut self.nodes[index];
        let Some(running) = node
            .running
            .as_mut()
            .filter(|r| node.boot == boot && r.wake_at == Some(at))
        else {
            return Ok(());
        };
        running.wake_at = None;
        self.step(index, Event::Time)?;
        let Some(running) = &mut self.nodes[index].running else {
            return Ok(());
        };
        let due = running
            .replica
            .next_deadline()
            .is_some_and(|deadline| deadline <= now.mono);
        running.spins = if due { running.spins + 1 } else { 0 };
        if running.spins > SPINS_MAX {
            let detail = format!("woken {SPINS_MAX} times, and its deadline is still in the past");
            return Err(self.violation(index, (Rule::Bounded, detail)));
        }
        Ok(())
    }

    /// Sets the alarm to the replica's next deadline.
    fn rearm(&mut self, index: usize) {
        let node = &self.nodes[index];
        let Some(running) = &node.running else { return };
        let Some(deadline) = running.replica.next_deadline() else {
            return;
        };
        let at = node.true_time(deadline).max(self.now + 1);
        if running.wake_at == Some(at) {
            return;
        }
        let boot = node.boot;
        self.later(at - self.now, Happening::Wake { node: index, boot });
        if let Some(running) = &mut self.nodes[index].running {
            running.wake_at = Some(at);
        }
    }

    fn start(&mut self, index: usize) -> Result<(), Violation> {
        let mono_base = self.rng.below(1_000_000_000);
        let node = &mut self.nodes[index];
        let bug = Planted::new(self.config.bug);
        let started = node.start(&self.chain, self.store, self.now, mono_base);
        drop(bug);
        let started = started.map_err(|fault| self.violation(index, fault))?;
        self.trace.note(
            self.now,
            format_args!(
                "{index} starts at {} with {} log records, guard {:?}",
                started.head, started.records, started.guard
            ),
        );
        self.report.commits_found += u64::from(started.log_is_older);
        let status = self.nodes[index]
            .running
            .as_ref()
            .map(|running| running.replica.orderer().status());
        if status.is_some_and(|status| status.abstaining) {
            self.report.abstentions += 1;
            self.trace.note(self.now, format_args!("{index} abstains"));
            // A twin that heard its own key say something else before it spoke has no record of what it said.
            let reason = self.config.lie == Lie::Twins
                || matches!(
                    self.config.sabotage,
                    Sabotage::LogLost | Sabotage::LogAndGuardLost
                );
            if !reason {
                let detail = format!(
                    "abstains after {} records, guard {:?}",
                    started.records, started.guard
                );
                return Err(self.violation(index, (Rule::NoAbstention, detail)));
            }
        }
        self.perform(index)?;
        self.rearm(index);
        self.look_at_links();
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Violation> {
        let after = self.rng.wait(self.faults.traffic_every);
        self.later(after, Happening::Submit);
        let transaction = self.traffic.next(&self.model);
        let at = self.rng.index(self.nodes.len());
        self.report.submitted += 1;
        self.trace.note(
            self.now,
            format_args!(
                "client gives {} to {at}",
                Short(&transaction.id(&self.chain.genesis))
            ),
        );
        self.take_transactions(at, vec![transaction.clone()])?;
        // What the gossip layer does: the node passes it on, and some others get it.
        let packed = self.pack(Message::Transactions(vec![transaction]));
        let packed = packed.map_err(|fault| self.violation(at, fault))?;
        for to in 0..self.nodes.len() {
            if to != at && self.nodes[at].running.is_some() && self.rng.chance(600) {
                self.transmit(at, to, &packed, None);
            }
        }
        Ok(())
    }

    /// Checks signatures, as the node's verifying thread does, and hands over what is good.
    pub fn take_transactions(
        &mut self,
        index: usize,
        transactions: Vec<Transaction>,
    ) -> Result<(), Violation> {
        if self.nodes[index].running.is_none() {
            return Ok(());
        }
        let mut good = Vec::new();
        for transaction in transactions {
            let hash = transaction.hash();
            let checked = match self.verified.get(&hash) {
                Some(checked) => checked.clone(),
                None => {
                    // The verdict is a function of the bytes that this hash covers, signature included.
                    let checked = transaction.verify(&self.chain.genesis).ok().map(Arc::new);
                    if self.verified.len() >= VERIFIED_MAX {
                        self.verified.clear();
                    }
                    self.verified.insert(hash, checked.clone());
                    checked
                }
            };
            good.extend(checked);
        }
        let transactions = good;
        if transactions.is_empty() {
            return Ok(());
        }
        self.step(
            index,
            Event::Transactions {
                ticket: Ticket(self.serial),
                transactions,
            },
        )
    }

    // ---- partitions ---------------------------------------------------------------------------

    fn cut(&mut self) {
        if !self.calm {
            self.apart = (0..self.nodes.len()).filter(|_| self.rng.chance(500)).collect();
            self.trace
                .note(self.now, format_args!("partition: {:?} apart", self.apart));
            self.look_at_links();
            let (lasts, next) = (
                self.rng.wait(self.faults.partition),
                self.rng.wait(self.faults.partition_every),
            );
            self.later(lasts, Happening::Heal);
            self.later(lasts + next, Happening::Cut);
        }
    }

    /// The saboteur's second prevote, for a block that nobody made.
    fn equivocate(&mut self, from: usize, message: &Message) -> Result<(), Fault> {
        if let Message::Consensus(ConsensusMessage::Vote(signed)) = message
            && signed.vote.kind == VoteKind::Prevote
            && signed.vote.validator == self.nodes[from].public
        {
            let vote = Vote {
                block: Some(Hash([9; 32])),
                ..signed.vote.clone()
            };
            let vote = vote.sign(&self.chain.genesis, &self.nodes[from].key);
            let to: Vec<usize> = (0..self.nodes.len()).filter(|peer| *peer != from).collect();
            self.send(from, &to, Message::Consensus(ConsensusMessage::Vote(vote)))?;
        }
        Ok(())
    }

    /// A liar that has made a block shows others in its place.
    fn show(&mut self, index: usize, block: &Block) -> Result<(), Fault> {
        let Some(liar) = self.liar.as_mut().filter(|liar| liar.node == index) else {
            return Ok(());
        };
        let Some(running) = &self.nodes[index].running else {
            return Ok(());
        };
        // A liar executes like everybody.
        let bug = Planted::new(self.config.bug);
        let said = liar.built(block, &running.store);
        drop(bug);
        for said in said {
            self.send(index, &said.to, said.message)?;
        }
        Ok(())
    }

    // ---- crashes ------------------------------------------------------------------------------

    fn choose_victim(&mut self) -> Result<(), Violation> {
        if self.calm {
            return Ok(());
        }
        let after = self.rng.wait(self.faults.crash_every);
        self.later(after, Happening::Crash);
        let sabotaged = !matches!(self.config.sabotage, Sabotage::None | Sabotage::Equivocation);
        let victim = if sabotaged && self.rng.chance(700) {
            SABOTEUR
        } else {
            self.rng.index(self.nodes.len())
        };
        let all = self.rng.chance(50);
        for index in 0..self.nodes.len() {
            if index == victim || all {
                let actions = self.rng.below(12);
                match &mut self.nodes[index].running {
                    Some(running) if actions > 3 => running.dies_after = Some(actions - 4),
                    Some(_) => self.crash(index),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn crash(&mut self, index: usize) {
        self.count(index);
        let Some(running) = self.nodes[index].running.take() else {
            return;
        };
        self.unlink(index);
        // The thread that commits may have been done, or not.
        if let Some(commit) = running.committing
            && self.rng.chance(500)
        {
            let _bug = Planted::new(self.config.bug);
            running
                .store
                .commit(&block_of(*commit))
                .expect("memory does not fail");
        }
        let torn = self.rng.chance(self.faults.tear);
        let (sabotage, next) = (self.config.sabotage, Height(running.store.head().height.0 + 1));
        let disk = &mut self.nodes[index].disk;
        let lost = disk.crash(&mut self.rng, torn);
        if index == SABOTEUR {
            if matches!(sabotage, Sabotage::LogLost | Sabotage::LogAndGuardLost) {
                disk.lose_log(next);
            }
            if sabotage == Sabotage::LogAndGuardLost {
                disk.lose_guard();
            }
        }
        self.report.crashes += 1;
        self.report.torn += u64::from(lost);
        self.trace.note(
            self.now,
            format_args!("{index} crashes, torn {torn}, lost {lost}"),
        );
        // In an outage a node stays dead until it ends.
        if !self.calm && !self.rng.chance(self.faults.stays_down) {
            let after = self.rng.wait(self.faults.down);
            self.later(after, Happening::Start { node: index });
        }
    }

    /// Adds what a process counted before it ends.
    fn count(&mut self, index: usize) {
        if let Some(running) = &self.nodes[index].running {
            let counters = running.replica.orderer().status().counters;
            self.report.guard_refusals += counters.refused;
            self.report.core_errors += counters.core_errors;
        }
    }

    fn halt(&mut self, index: usize, code: u8) -> Result<(), Violation> {
        self.trace
            .note(self.now, format_args!("{index} halts with code {code}"));
        self.nodes[index].running = None;
        self.unlink(index);
        self.nodes[index].halted = Some(code);
        self.report.halted[index] = Some(code);
        Ok(())
    }

    // ---- actions ------------------------------------------------------------------------------

    fn perform(&mut self, index: usize) -> Result<(), Violation> {
        loop {
            let Some(running) = &mut self.nodes[index].running else {
                return Ok(());
            };
            let Some(action) = running.replica.poll() else {
                return Ok(());
            };
            let dies = running.dies_after == Some(0);
            running.dies_after = running.dies_after.map(|left| left.saturating_sub(1));
            if dies {
                // Half of the deaths are between two actions, half in the middle of a sync.
                if !is_sync(&action) || self.rng.chance(500) {
                    self.crash(index);
                    return Ok(());
                }
                self.nodes[index].disk.power().fail_next_sync();
            }
            let flow = self
                .act(index, action)
                .map_err(|fault| self.violation(index, fault))?;
            match flow {
                Flow::Go if !dies => {}
                Flow::Go | Flow::Dead => {
                    self.crash(index);
                    return Ok(());
                }
                Flow::Halted(code) => return self.halt(index, code),
            }
        }
    }

    fn act(&mut self, index: usize, action: Action<StateView>) -> Result<Flow, Fault> {
        let sabotage = if index == SABOTEUR {
            self.config.sabotage
        } else {
            Sabotage::None
        };
        let now = self.now;
        let trace = &mut self.trace;
        let node = &mut self.nodes[index];
        let Some(running) = &mut node.running else {
            return Ok(Flow::Go);
        };
        match action {
            Action::Append(record) => {
                trace.note(now, format_args!("{index} appends {}", Recorded(&record)));
                if sabotage == Sabotage::LogFails && record.height() > Height(3) {
                    node.disk.fail_log();
                    node.log_failed = true;
                }
                let written = written(running.log.append(&encode(&record)));
                if let LogRecord::Block(block) = &record {
                    self.show(index, block)?;
                }
                Ok(written)
            }
            Action::SyncLog => {
                trace.note(now, format_args!("{index} syncs its log"));
                Ok(written(running.log.sync()))
            }
            Action::Guard(entry) => {
                trace.note(now, format_args!("{index} guards {}", entry.position()));
                if sabotage == Sabotage::GuardUnsaved {
                    return Ok(Flow::Go);
                }
                let stored = running.guard.store(guard_row(&entry));
                if let Err(StorageError::Refused(detail)) = &stored {
                    return Err((Rule::NoEquivocation, detail.clone()));
                }
                Ok(written(stored))
            }
            Action::Broadcast(message) => {
                trace.note(now, format_args!("{index} -> all  {}", describe(&message)));
                let twice = (sabotage == Sabotage::Equivocation).then(|| message.clone());
                self.say(index, None, message)?;
                if let Some(message) = twice {
                    self.equivocate(index, &message)?;
                }
                Ok(Flow::Go)
            }
            Action::Send { to, message } => {
                trace.note(now, format_args!("{index} -> {}  {}", to.0, describe(&message)));
                self.say(index, Some(to.0 as usize), message).map(|()| Flow::Go)
            }
            Action::Forward { gossip, verdict } => {
                if matches!(verdict, Verdict::Fresh | Verdict::Known) {
                    self.forward(index, gossip.0);
                }
                Ok(Flow::Go)
            }
            Action::Serve { to, from, count } => {
                let message = serve(&running.store, from, count)
                    .map_err(|error| (Rule::Recovery, error.to_string()))?;
                self.report.served += 1;
                self.say(index, Some(to.0 as usize), message).map(|()| Flow::Go)
            }
            Action::Commit(commit) => self.decided(index, commit).map(|()| Flow::Go),
            Action::ResetLog { height } => {
                let head = running.store.head().height;
                if height.0 != head.0 + 1 {
                    return Err((
                        Rule::CommitFirst,
                        format!("the log is reset for {height}, the head is {head}"),
                    ));
                }
                Ok(written(running.log.reset(height)))
            }
            Action::Admitted { results, .. } => {
                self.report.refused += results.iter().filter(|result| result.is_err()).count() as u64;
                Ok(Flow::Go)
            }
            Action::RoundStarted { height, round, .. } => {
                trace.note(now, format_args!("{index} is at {height}/{round}"));
                Ok(Flow::Go)
            }
            Action::Untimely {
                height, round, time, ..
            } => {
                trace.note(
                    now,
                    format_args!("{index} finds {height}/{round} untimely, dated {time}"),
                );
                self.report.untimely += 1;
                Ok(Flow::Go)
            }
            Action::Blame { peer, reason } => {
                trace.note(now, format_args!("{index} blames {}: {reason}", peer.0));
                let innocent = self.storm.damage == 0 && !self.config.lies(peer.0 as usize);
                if innocent && self.config.sabotage == Sabotage::None {
                    return Err((Rule::NoBlame, format!("blames node {}: {reason}", peer.0)));
                }
                Ok(Flow::Go)
            }
            Action::Halt(fault) => {
                trace.note(now, format_args!("{index} halts: {fault}"));
                match sabotage {
                    _ if self.config.lies(index) => Ok(Flow::Halted(fault.exit_code())),
                    Sabotage::None | Sabotage::Equivocation => Err((Rule::NoHalt, fault.to_string())),
                    _ => Ok(Flow::Halted(fault.exit_code())),
                }
            }
        }
    }

    fn decided(&mut self, index: usize, commit: Box<Commit<StateView>>) -> Result<(), Fault> {
        let height = commit.header.height;
        self.trace.note(
            self.now,
            format_args!("{index} decides {height} {}", Short(&commit.hash)),
        );
        let honest = (0..self.nodes.len()).filter(|node| !self.config.lies(*node));
        let clocks = honest.map(|node| self.nodes[node].now(self.now).wall);
        self.model.decide(&commit, clocks.max().unwrap_or_default())?;
        self.observer.certificate(&commit.certificate)?;
        let node = &mut self.nodes[index];
        let boot = node.boot;
        let Some(running) = &mut node.running else {
            return Ok(());
        };
        if running.committing.replace(commit).is_some() {
            return Err((
                Rule::CommitFirst,
                format!("{height} is decided before the block below is stored"),
            ));
        }
        let after = self.rng.wait(self.faults.commit);
        self.later(after, Happening::Stored { node: index, boot });
        Ok(())
    }

    /// The block becomes durable, the node is told, and so is everybody who waits for it.
    fn stored(&mut self, index: usize, boot: u64) -> Result<(), Violation> {
        let sabotage = if index == SABOTEUR {
            self.config.sabotage
        } else {
            Sabotage::None
        };
        let node = &mut self.nodes[index];
        let Some(running) = node.running.as_mut().filter(|_| node.boot == boot) else {
            return Ok(());
        };
        let Some(commit) = running.committing.take() else {
            return Ok(());
        };
        let (height, hash) = (commit.header.height, commit.hash);
        if sabotage == Sabotage::CommitForgotten && height >= Height(3) {
            node.disk.forgotten = Some(node.disk.kv.crash());
        }
        let bug = Planted::new(self.config.bug);
        let committed = running.store.commit(&block_of(*commit));
        drop(bug);
        let recorded = running.witness.record(vibecoin_storage::Head { height, hash });
        let unsynced = node.disk.kv.unsynced();
        let fault = match (committed, recorded) {
            (Ok(state), Ok(())) if unsynced == 0 => {
                node.acked = (height, hash);
                self.trace
                    .note(self.now, format_args!("{index} has stored {height}"));
                return self.step(index, Event::Committed { height, state });
            }
            (Err(error), _) | (_, Err(error)) => (Rule::CommitFirst, error.to_string()),
            _ => (
                Rule::CommitFirst,
                format!("{height} is told of, and {unsynced} batches are not synced"),
            ),
        };
        Err(self.violation(index, fault))
    }
}

fn is_sync(action: &Action<StateView>) -> bool {
    matches!(
        action,
        Action::SyncLog | Action::Guard(_) | Action::ResetLog { .. }
    )
}

/// The result of a write: D6, the first error is the last.
fn written(result: Result<(), StorageError>) -> Flow {
    match result {
        Ok(()) => Flow::Go,
        Err(StorageError::Io { detail, .. }) if detail.contains("power") => Flow::Dead,
        Err(error) => Flow::Halted(error.exit_code()),
    }
}

fn block_of(commit: Commit<StateView>) -> CommitBlock {
    let Commit {
        header,
        body,
        certificate,
        receipts,
        diff,
        ids,
        state,
        ..
    } = commit;
    CommitBlock {
        header,
        body,
        certificate,
        receipts,
        diff,
        state,
        ids,
    }
}

/// Blocks from a height on, as many as fit.
fn serve(store: &Store, from: Height, count: u32) -> Result<Message, StorageError> {
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    let reader = store.blocks();
    for height in (from.0..).map(Height).take(SYNC_BLOCKS_MAX.min(count as usize)) {
        let (Some(header), Some(body), Some(certificate)) = (
            reader.header(height)?,
            reader.body_bytes(height)?,
            reader.certificate(height)?,
        ) else {
            break;
        };
        bytes += body.len();
        if bytes > SERVE_BYTES_MAX && !blocks.is_empty() {
            break;
        }
        blocks.push(CertifiedBlock {
            header,
            body,
            certificate,
        });
    }
    Ok(Message::SyncResponse { from, blocks })
}
