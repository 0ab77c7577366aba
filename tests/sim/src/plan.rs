//! Configuration of a run: a seed, the number of validators, the sabotage, and the faults.

use vibecoin_primitives::planted::Bug;
use vibecoin_primitives::{Amount, ChainParams, FaultModel};
use vibecoin_tests_behaviours::{Behaviour, Rng};

/// The node that a [`Sabotage`] or a [`Behaviour`] applies to.
pub const SABOTEUR: usize = 0;

/// Heights of the phase with faults.
const HEIGHTS: u64 = 12;

/// A run. Equal configurations have equal traces.
#[derive(Clone, Debug)]
pub struct Config {
    /// The seed of every random choice.
    pub seed: u64,
    /// Validators.
    pub nodes: usize,
    /// Heights decided before faults are switched off.
    pub heights: u64,
    /// Fault model of the chain's quorums.
    pub fault_model: FaultModel,
    /// The promise that the node [`SABOTEUR`] breaks on purpose.
    pub sabotage: Sabotage,
    /// Byzantine behaviour of the validator [`SABOTEUR`].
    pub behaviour: Behaviour,
    /// The bug that every node has; only a build with the feature `planted` has any.
    pub bug: Option<Bug>,
    /// Number of nodes that are down for long between the two phases.
    pub outage: usize,
    /// Heights that they are down for, if they leave a quorum, and minimum heights of the calm
    /// phase.
    pub absence: [u64; 2],
    /// Messages lost during the outage, in thousandths.
    pub outage_loss: u64,
    /// True if every line of the trace is printed.
    pub print: bool,
}

impl Config {
    /// An honest run.
    #[must_use]
    pub const fn new(nodes: usize, seed: u64) -> Self {
        Self {
            seed,
            nodes,
            heights: HEIGHTS,
            fault_model: FaultModel::Byzantine,
            sabotage: Sabotage::None,
            behaviour: Behaviour::None,
            bug: None,
            outage: 0,
            absence: [0; 2],
            outage_loss: 0,
            print: false,
        }
    }

    /// A run with one promise broken.
    #[must_use]
    pub const fn sabotaged(nodes: usize, seed: u64, sabotage: Sabotage) -> Self {
        Self {
            sabotage,
            ..Self::new(nodes, seed)
        }
    }

    /// A run with one Byzantine validator.
    #[must_use]
    pub const fn lying(nodes: usize, seed: u64, behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            ..Self::new(nodes, seed)
        }
    }

    /// A run in the crash-fault mode with `dead` nodes down for long.
    #[must_use]
    pub const fn crashing(nodes: usize, seed: u64, dead: usize) -> Self {
        Self {
            fault_model: FaultModel::Crash,
            outage: dead,
            ..Self::new(nodes, seed)
        }
    }

    /// A run in which one validator is absent for long enough to be held back, returns, and is watched until
    /// its next turn.
    #[must_use]
    pub const fn returning(nodes: usize, seed: u64) -> Self {
        Self {
            outage: 1,
            absence: [20, 90],
            ..Self::new(nodes, seed)
        }
    }

    /// A run in which exactly three of four continue for `heights`, and one message of a hundred is
    /// lost.
    #[must_use]
    pub const fn exactly_a_quorum(seed: u64, heights: u64) -> Self {
        Self {
            outage: 1,
            absence: [heights, 0],
            outage_loss: 10,
            ..Self::new(4, seed)
        }
    }

    /// One of the kinds of runs of a long search: usually four honest validators, sometimes seven, three
    /// that may only stop, or one that is Byzantine.
    #[must_use]
    pub const fn of_many(seed: u64) -> Self {
        match seed % 50 {
            3 => Self::new(7, seed),
            13 => Self::crashing(3, seed, 1 + (seed / 50 % 2) as usize),
            23 => Self {
                outage: 1 + (seed / 50 % 2) as usize,
                ..Self::new(4, seed)
            },
            33 => Self::lying(
                7,
                seed,
                Behaviour::SIMULATED[(seed / 50) as usize % Behaviour::SIMULATED.len()],
            ),
            43 if (seed / 50).is_multiple_of(4) => Self::returning(4, seed),
            kind if kind % 5 == 0 => Self::lying(
                4,
                seed,
                Behaviour::SIMULATED[(seed / 5) as usize % Behaviour::SIMULATED.len()],
            ),
            _ => Self::new(4, seed),
        }
    }

    /// Returns true if this node is Byzantine.
    pub(crate) fn lies(&self, node: usize) -> bool {
        self.behaviour != Behaviour::None && (node == SABOTEUR || node >= self.nodes)
    }

    /// Returns true if this node equivocates with one key, or forgets its own votes. Twins do neither.
    pub(crate) fn contradicts_itself(&self, node: usize) -> bool {
        let forgets = matches!(
            self.sabotage,
            Sabotage::Equivocation | Sabotage::LogAndGuardLost | Sabotage::GuardUnsaved
        );
        node == SABOTEUR && (forgets || !matches!(self.behaviour, Behaviour::None | Behaviour::Twins))
    }

    /// The command that repeats this run and prints every step.
    #[must_use]
    pub fn replay_command(&self) -> String {
        let Self {
            seed,
            nodes,
            sabotage,
            behaviour,
            bug,
            outage,
            ..
        } = self;
        let features = if bug.is_some() { " --features planted" } else { "" };
        let mut line = format!(
            "cargo run --release -p vibecoin-tests-sim{features} --bin sim -- --seed {seed} --nodes {nodes}"
        );
        if self.fault_model == FaultModel::Crash {
            line += " --crash-faults";
        }
        if *outage > 0 {
            line += &format!(" --outage {outage}");
        }
        if self.absence != [0; 2] {
            line += &format!(" --absence {} --return {}", self.absence[0], self.absence[1]);
        }
        if self.outage_loss > 0 {
            line += &format!(" --outage-loss {}", self.outage_loss);
        }
        if *sabotage != Sabotage::None {
            line += &format!(" --sabotage {}", sabotage.name());
        }
        if *behaviour != Behaviour::None {
            line += &format!(" --lie {}", behaviour.name());
        }
        if let Some(bug) = bug {
            line += &format!(" --bug {}", bug.name());
        }
        line + " --trace"
    }
}

/// A promise that is broken on purpose, always at node [`SABOTEUR`]: a test of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// All promises are kept.
    None,
    /// A crash loses the consensus log, synced or not. The guard stays.
    LogLost,
    /// A crash loses log and guard.
    LogAndGuardLost,
    /// A crash damages the newest entry of the guard and the end of the log.
    GuardAndLogDamaged,
    /// From some moment on every write to the log fails.
    LogFails,
    /// Guard entries are not written.
    GuardUnsaved,
    /// The disk reports commits as durable, and loses the last one in the next crash.
    CommitForgotten,
    /// A crash loses the newest blocks of the database; log, guard and witness stay.
    TailLost,
    /// The validator signs a second, different prevote each time.
    Equivocation,
}

impl Sabotage {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::LogLost,
        Self::LogAndGuardLost,
        Self::GuardAndLogDamaged,
        Self::LogFails,
        Self::GuardUnsaved,
        Self::CommitForgotten,
        Self::TailLost,
        Self::Equivocation,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LogLost => "log-lost",
            Self::LogAndGuardLost => "log-and-guard-lost",
            Self::GuardAndLogDamaged => "guard-and-log-damaged",
            Self::LogFails => "log-fails",
            Self::GuardUnsaved => "guard-unsaved",
            Self::CommitForgotten => "commit-forgotten",
            Self::TailLost => "tail-lost",
            Self::Equivocation => "equivocation",
        }
    }
}

/// Intensity of the faults in the first phase. Ranges as in TigerBeetle's simulator
/// (`reliability.md`, section 1).
#[derive(Clone, Debug)]
pub struct Faults {
    /// Messages lost, in thousandths: 0 to 300.
    pub loss: u64,
    /// Messages that are delivered twice: 0 to 500.
    pub duplication: u64,
    /// Messages with a flipped bit: 0, in every fourth seed up to 10.
    pub damage: u64,
    /// Minimum delay of a message, microseconds.
    pub delay: u64,
    /// Maximum additional delay; messages overtake each other.
    pub jitter: u64,
    /// Messages that take a hundred times as long, in thousandths.
    pub stragglers: u64,
    /// Mean time between crashes, microseconds; 0 is none.
    pub crash_every: u64,
    /// Mean time until a crashed node is started again.
    pub down: u64,
    /// Crashes after which a node is started again only when faults are off, in thousandths: 0 to 200.
    pub stays_down: u64,
    /// Starts during which the power fails, in thousandths: 0 to 300.
    pub torn_starts: u64,
    /// Crashes that lose unsynced bytes, in thousandths: 800 to 1000. The others keep written bytes.
    pub tear: u64,
    /// Mean time between partitions; 0 is none.
    pub partition_every: u64,
    /// Mean time of a partition.
    pub partition: u64,
    /// Mean duration of a commit.
    pub commit: u64,
    /// Maximum difference of wall clocks, milliseconds.
    pub clock_offset: u64,
    /// Maximum difference of clock rates, in thousandths.
    pub clock_drift: u64,
    /// Mean time between transactions.
    pub traffic_every: u64,
    /// Number of changed rows after which a store materialises.
    pub step_updates: u64,
    /// Gossiped messages that a receiver passes on to each other node, in thousandths.
    pub relay: u64,
}

impl Faults {
    /// The faults of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let mut mostly = |permille: u64, least: u64, most: u64| {
            let drawn = rng.between(least, most);
            if rng.chance(permille) { drawn } else { 0 }
        };
        Self {
            loss: mostly(800, 1, 300),
            duplication: mostly(700, 1, 500),
            damage: mostly(250, 1, 10),
            delay: mostly(1000, 100, 15_000),
            jitter: mostly(900, 100, 40_000),
            stragglers: mostly(500, 1, 20),
            crash_every: mostly(850, 100_000, 2_000_000),
            down: mostly(1000, 1_000, 1_000_000),
            stays_down: mostly(500, 1, 200),
            tear: mostly(1000, 800, 1000),
            partition_every: mostly(600, 500_000, 4_000_000),
            partition: mostly(1000, 50_000, 3_000_000),
            commit: mostly(1000, 10, 20_000),
            clock_offset: mostly(700, 1, 500),
            clock_drift: mostly(500, 1, 30),
            traffic_every: mostly(1000, 10_000, 100_000),
            step_updates: mostly(1000, 1, 60),
            relay: mostly(300, 100, 1000),
            // The last to be drawn, so that the others keep the value that they have had for their seed.
            torn_starts: mostly(700, 10, 300),
        }
    }

    /// The remaining delays when faults are switched off: short deliveries and quick commits.
    pub(crate) fn calm(&self) -> Self {
        Self {
            loss: 0,
            duplication: 0,
            damage: 0,
            delay: 1_000,
            jitter: 1_000,
            stragglers: 0,
            crash_every: 0,
            torn_starts: 0,
            partition_every: 0,
            commit: 500,
            ..self.clone()
        }
    }
}

/// The power of each validator. That of a Byzantine one, or of one that loses blocks, is below a third, and
/// no validator alone is a quorum.
pub(crate) fn powers(config: &Config) -> Vec<u64> {
    let mut rng = Rng::new(config.seed, 6);
    let equal = rng.chance(600) || config.nodes < 4;
    let mut powers: Vec<u64> = (0..config.nodes)
        .map(|_| if equal { 1 } else { rng.between(1, 3) })
        .collect();
    if let Some(first) = powers.first_mut()
        && (config.behaviour != Behaviour::None
            || matches!(config.sabotage, Sabotage::TailLost | Sabotage::GuardAndLogDamaged))
    {
        // A validator that is silent for a height must not be needed for it: with a third of the power the
        // height would wait for ever. Of four or more, each with a power of one to three, the first one has a
        // power of one.
        *first = 1;
    }
    powers
}

/// The rules of the simulated chain: as on a devnet, but with a Proof of History that costs nothing.
pub(crate) fn params(seed: u64, fault_model: FaultModel) -> ChainParams {
    let mut rng = Rng::new(seed, 2);
    let ticks = rng.between(2, 4);
    ChainParams {
        network: "sim".to_owned(),
        fault_model,
        tick_ms: rng.between(1, 10) as u32,
        ticks_per_block: ticks as u16,
        hashes_per_tick: rng.between(2, 8) as u32,
        quiet_ticks: rng.below(ticks) as u16,
        block_transactions_max: rng.between(1, 40) as u32,
        empty_block_interval_ms: rng.between(20, 500) as u32,
        evidence_age_max: 50,
        // Few slots and a low price, so that blocks are full of them.
        fee_per_slot: Amount(50),
        transaction_slots_max: 3,
        block_slots_max: rng.between(3, 9) as u32,
        ..ChainParams::devnet()
    }
}
