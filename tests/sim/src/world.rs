//! The scheduler: one queue of events, one virtual time, every choice from the seed.

mod action;
mod phases;
mod trouble;

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
    VerifiedTransaction, Vote, VoteKind,
};
use vibecoin_replica::{Action, Chain, Event, Message, Ticket};
use vibecoin_storage::kv::MemoryKv;
use vibecoin_storage::{StateView, StorageError, Store, StoreConfig};
use vibecoin_tests_behaviours::{Participant, Rng};

use crate::disk::Disk;
use crate::model::Model;
use crate::node::{Fault, GENESIS_MS, Node, Running, describe};
use crate::observer::{Observer, is_quorum};
use crate::plan::{params, powers};
use crate::trace::{Recorded, Short, Trace};
use crate::traffic::Traffic;
use crate::wire::{Gossip, Parcel};
use crate::{Behaviour, Config, Faults, Report, Rule, SABOTEUR, Sabotage, Violation};

/// Maximum duration of the phase with faults, in virtual microseconds; a seed with many faults may
/// decide little.
const STORM_MICROS_MAX: u64 = 60_000_000;
/// Time in which every node must gain [`CALM_HEIGHTS`] once faults are off.
const CALM_MICROS: u64 = 60_000_000;
const CALM_HEIGHTS: u64 = 3;
/// Time that each further height may add to that.
const HEIGHT_MICROS: u64 = 2_000_000;
/// Maximum time without a block in an outage that leaves a quorum and loses messages.
const GAP_MICROS: u64 = 5_000_000;
/// Valid transactions that must be included in blocks once faults are off.
const PROBES: u64 = 5;
/// Time in which they must be, and in which a double signature must be included in a block.
const PROBE_MICROS: u64 = 30_000_000;
const EVIDENCE_MICROS: u64 = 10_000_000;
/// Number of heights for which a proposer that stretches its turns is watched.
const PACE_HEIGHTS: u64 = 16;
/// Time of a height in addition to its timeouts: ticks, deliveries, commits, a requested body.
const PACE_SLACK_MICROS: u64 = 300_000;
/// Time for which a network without a quorum is watched.
const STOP_MICROS: u64 = 20_000_000;
/// A bound above the number of syncs of a recovery.
const RECOVERY_SYNCS_MAX: u64 = 5;
/// Transactions whose signatures have been checked, remembered for all nodes together.
const VERIFIED_MAX: usize = 4096;
/// Maximum number of consecutive wakes without progress that do not count as a busy loop.
const SPINS_MAX: u32 = 20;

pub enum Happening {
    Deliver(Parcel),
    /// The connection between two nodes may have changed.
    Link(usize, usize),
    /// A node notices that a peer's process has ended.
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
    /// The Byzantine node sends messages that it held back.
    Said {
        message: Message,
    },
}

pub struct World {
    pub config: Config,
    pub storm: Faults,
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
    /// Choices about starts that a power failure ends.
    starts: Rng,
    /// Nodes on the other side of the current partition.
    pub apart: BTreeSet<usize>,
    /// Pairs of connected nodes, the smaller index first.
    pub linked: BTreeSet<(usize, usize)>,
    pub gossip: Gossip,
    pub byzantine: Option<Participant>,
    /// Nodes that do not start before the outage is over.
    dead: BTreeSet<usize>,
    pub calm: bool,
    /// Time of the first decision of the newest height.
    pub decided_at: u64,
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
        if config.behaviour == Behaviour::Twins {
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
        let state = vibecoin_host::genesis_state(&genesis);
        drop(Store::create(Arc::new(kv.clone()), &state, store).expect("an empty memory takes a genesis"));
        let mut rng = Rng::new(config.seed, 4);
        let nodes = keys.into_iter().enumerate().map(|(index, key)| Node {
            lies: config.contradicts_itself(index),
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
            silent: None,
            signed: BTreeSet::new(),
        });
        let nodes: Vec<Node> = nodes.collect();
        let lies = config.behaviour != Behaviour::None || config.sabotage == Sabotage::Equivocation;
        let excused = lies.then(|| nodes[SABOTEUR].public);
        let byzantine = !matches!(config.behaviour, Behaviour::None | Behaviour::Twins);
        let byzantine = byzantine.then(|| {
            Participant::new(
                config.behaviour,
                config.seed,
                &chain,
                [SABOTEUR, nodes.len()],
                &nodes[SABOTEUR].key,
                Traffic::transfer_of_prober(&chain.genesis, 0, 1_000_000),
            )
        });
        Self {
            model: Model::new(&chain, &genesis, excused),
            observer: Observer::new(chain.validators.clone(), config.fault_model, excused),
            byzantine,
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
            starts: Rng::new(config.seed, 7),
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
            decided_at: 0,
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
            Happening::Said { message } => self.say_late(message),
        }
    }

    pub fn step(&mut self, index: usize, event: Event<StateView>) -> Result<(), Violation> {
        let now = self.nodes[index].now(self.now);
        let Some(running) = &mut self.nodes[index].running else {
            return Ok(());
        };
        let bug = Planted::new(self.config.bug);
        match &event {
            Event::Connected { peer, validator, .. } => running.intake.connected(*peer, *validator),
            Event::Disconnected { peer } => running.intake.disconnected(*peer),
            _ => {}
        }
        running.replica.step(now, event);
        drop(bug);
        self.perform(index)?;
        self.note_stand(index);
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
        let power = node.disk.power().clone();
        if self.starts.chance(self.faults.torn_starts) {
            power.fail_sync_after(self.starts.below(RECOVERY_SYNCS_MAX));
        }
        let bug = Planted::new(self.config.bug);
        let started = node.start(&self.chain, self.store, self.now, mono_base);
        drop(bug);
        if power.is_off() {
            if started.is_ok() {
                let detail = "a start went on after a sync that failed".to_owned();
                return Err(self.violation(index, (Rule::Recovery, detail)));
            }
            self.start_again(index);
            return Ok(());
        }
        power.hold();
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
            // A twin that received a different message of its own key before it sent one has no record of it.
            let reason = self.config.behaviour == Behaviour::Twins
                || matches!(
                    self.config.sabotage,
                    Sabotage::LogLost
                        | Sabotage::LogAndGuardLost
                        | Sabotage::GuardAndLogDamaged
                        | Sabotage::TailLost
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
        self.note_stand(index);
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
        // As the gossip layer does: the node relays it, and some others receive it.
        let packed = self.pack(Message::Transactions(vec![transaction]));
        let packed = packed.map_err(|fault| self.violation(at, fault))?;
        for to in 0..self.nodes.len() {
            if to != at && self.nodes[at].running.is_some() && self.rng.chance(600) {
                self.transmit(at, to, &packed, None);
            }
        }
        Ok(())
    }

    /// Checks signatures, as the node's verifying thread does, and hands over valid transactions.
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
}
