//! What a run is: a seed, the number of validators, what is broken on purpose, and the faults.

use vibecoin_primitives::ChainParams;

use crate::rng::Rng;

/// The node that a [`Sabotage`] is done to.
pub const SABOTEUR: usize = 0;

/// Heights that the phase with faults goes on for.
const HEIGHTS: u64 = 12;

/// A run. Two equal ones give equal traces.
#[derive(Clone, Debug)]
pub struct Config {
    /// Decides everything else.
    pub seed: u64,
    /// Validators.
    pub nodes: usize,
    /// Heights decided before faults are switched off.
    pub heights: u64,
    /// What is broken on purpose.
    pub sabotage: Sabotage,
    /// Whether every line of the trace is printed.
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
            sabotage: Sabotage::None,
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

    /// The command that runs this again and prints every step.
    #[must_use]
    pub fn replay_command(&self) -> String {
        let Self {
            seed,
            nodes,
            sabotage,
            ..
        } = self;
        let sabotage = if *sabotage == Sabotage::None {
            String::new()
        } else {
            format!(" --sabotage {}", sabotage.name())
        };
        format!(
            "cargo run --release -p vibecoin-tests-sim --bin sim -- --seed {seed} --nodes {nodes}{sabotage} --trace"
        )
    }
}

/// A promise that is broken on purpose, always at node [`SABOTEUR`]: a test of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// All promises are kept.
    None,
    /// A crash takes the consensus log with it, synced or not. The guard stays.
    LogLost,
    /// A crash takes log and guard.
    LogAndGuardLost,
    /// From some moment on every write to the log fails.
    LogFails,
    /// Guard entries are not written.
    GuardUnsaved,
    /// The disk says that commits are durable, and forgets the last one in the next crash.
    CommitForgotten,
    /// The validator signs a second, different prevote each time.
    Equivocation,
}

impl Sabotage {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::LogLost,
        Self::LogAndGuardLost,
        Self::LogFails,
        Self::GuardUnsaved,
        Self::CommitForgotten,
        Self::Equivocation,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LogLost => "log-lost",
            Self::LogAndGuardLost => "log-and-guard-lost",
            Self::LogFails => "log-fails",
            Self::GuardUnsaved => "guard-unsaved",
            Self::CommitForgotten => "commit-forgotten",
            Self::Equivocation => "equivocation",
        }
    }
}

/// How bad the first phase is. Ranges as in TigerBeetle's simulator (`reliability.md`, section 1).
#[derive(Clone, Debug)]
pub struct Faults {
    /// Messages lost, in thousandths: 0 to 300.
    pub loss: u64,
    /// Messages that come twice: 0 to 500.
    pub duplication: u64,
    /// Messages with a flipped bit: 0, in every fourth seed up to 10.
    pub damage: u64,
    /// Shortest way of a message, microseconds.
    pub delay: u64,
    /// What is added to it at most; messages overtake each other.
    pub jitter: u64,
    /// Messages that take a hundred times as long, in thousandths.
    pub stragglers: u64,
    /// Mean time between crashes, microseconds; 0 is none.
    pub crash_every: u64,
    /// Mean time until a crashed node is started again.
    pub down: u64,
    /// Crashes after which a node is started again only when faults are off, in thousandths: 0 to 200.
    pub stays_down: u64,
    /// Crashes that lose what was not synced, in thousandths: 800 to 1000. The others keep what was written.
    pub tear: u64,
    /// Mean time between partitions; 0 is none.
    pub partition_every: u64,
    /// Mean time of a partition.
    pub partition: u64,
    /// Mean time that a commit takes.
    pub commit: u64,
    /// How much wall clocks differ at most, milliseconds.
    pub clock_offset: u64,
    /// How much faster or slower clocks run at most, in thousandths.
    pub clock_drift: u64,
    /// Mean time between transactions.
    pub traffic_every: u64,
    /// Changed rows after which a store materialises.
    pub step_updates: u64,
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
        }
    }

    /// What is left when faults are switched off: short ways and quick commits.
    pub(crate) fn calm(&self) -> Self {
        Self {
            loss: 0,
            duplication: 0,
            damage: 0,
            delay: 1_000,
            jitter: 1_000,
            stragglers: 0,
            crash_every: 0,
            partition_every: 0,
            commit: 500,
            ..self.clone()
        }
    }
}

/// The rules of the simulated chain: as on a devnet, but with a Proof of History that costs nothing.
pub(crate) fn params(seed: u64) -> ChainParams {
    let mut rng = Rng::new(seed, 2);
    let ticks = rng.between(2, 4);
    ChainParams {
        network: "sim".to_owned(),
        tick_ms: rng.between(1, 10) as u32,
        ticks_per_block: ticks as u16,
        hashes_per_tick: rng.between(2, 8) as u32,
        quiet_ticks: rng.below(ticks) as u16,
        block_transactions_max: rng.between(1, 40) as u32,
        empty_block_interval_ms: rng.between(20, 500) as u32,
        evidence_age_max: 50,
        ..ChainParams::devnet()
    }
}
