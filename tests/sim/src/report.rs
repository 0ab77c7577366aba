//! Results of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vibecoin_primitives::{FaultClass, Hash};

use crate::{Config, Stalled, run};

/// The checked rules. I1 to I10 are the invariants of `reliability.md` 2.1, D1 to D3 the rules on durable
/// order of its section 2.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// I1: no two nodes have different blocks at one height.
    Agreement,
    /// I2: every block re-executes to its roots on a second state.
    Validity,
    /// I3: an acknowledged block is there for ever, at its height.
    NoLoss,
    /// I4: a transaction is included no more than once, nonces without gaps.
    NoDoubleEffect,
    /// I5: the sum of balances and burned is that of genesis.
    Supply,
    /// I6: no validator signs two messages for one step, or builds two blocks for one round.
    NoEquivocation,
    /// No validator precommits without a quorum of prevotes, or prevotes against its lock.
    Locking,
    /// No validator proposes far more than its share in a row.
    Schedule,
    /// Evidence in blocks is valid and new, and public double signatures are included.
    Evidence,
    /// I7: every certificate has a quorum of distinct validators.
    Certificates,
    /// I8: the Proof of History continues where the parent's ended.
    ProofOfHistory,
    /// I9: a head never goes back, across restarts too.
    MonotonicHead,
    /// I10: logs and pools stay small.
    Bounded,
    /// D1: nothing signed leaves before its causes and its guard entry are durable.
    DurableOrder,
    /// D2 and D3: a height begins, and is announced, after its parent's commit is durable.
    CommitFirst,
    /// An honest node never stops on a fault.
    NoHalt,
    /// A node that lost no data does not abstain.
    NoAbstention,
    /// No peer is blamed that followed the rules.
    NoBlame,
    /// A node starts again from the state that a crash leaves.
    Recovery,
    /// Without faults every node gains heights.
    Liveness,
    /// Without faults no proposer makes a height longer than a round may be.
    Pace,
    /// Without a quorum no height is gained.
    CleanStop,
    /// Without faults a valid transaction is included in a block.
    Inclusion,
    /// No block's time is ahead of every clock, except for the earliest permitted time.
    Time,
    /// Messages are within the size limits and decode again.
    Wire,
}

/// A violated rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} violated by node {node} at {micros} µs: {detail}")]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Index of the node.
    pub node: usize,
    /// Time, in virtual microseconds.
    pub micros: u64,
    /// Description of the observation.
    pub detail: String,
}

/// Statistics of a run that kept all rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hash of every line of the trace.
    pub trace: Hash,
    /// Blocks decided.
    pub heights: u64,
    /// Duration, in virtual microseconds.
    pub micros: u64,
    /// Messages sent, counted per receiver.
    pub sent: u64,
    /// Messages lost by a link, a partition or a receiver that was down.
    pub lost: u64,
    /// Messages delivered twice.
    pub duplicated: u64,
    /// Messages with a flipped bit.
    pub damaged: u64,
    /// Number of crashes.
    pub crashes: u64,
    /// Crashes that lost written but unsynced bytes.
    pub torn: u64,
    /// Starts that found a commit whose log was not reset yet.
    pub commits_found: u64,
    /// Blocks that were decided in a round after the first.
    pub late_rounds: u64,
    /// Proposals whose time a node found to differ from their arrival.
    pub untimely: u64,
    /// Sync requests that were answered with blocks.
    pub served: u64,
    /// Nodes that were further behind than consensus messages reach when faults went off.
    pub far_behind: u64,
    /// Transactions handed to nodes.
    pub submitted: u64,
    /// Transactions in blocks.
    pub transactions: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// Transactions that a pool refused.
    pub refused: u64,
    /// Starts after which a node abstained.
    pub abstentions: u64,
    /// Signatures that a guard refused.
    pub guard_refusals: u64,
    /// Inputs that the core answered with an error.
    pub core_errors: u64,
    /// Messages that [`crate::SABOTEUR`] signed and sent after its log began to fail.
    pub signed_after_fault: u64,
    /// Number of times that the database of [`crate::SABOTEUR`] lost its newest blocks.
    pub tails_lost: u64,
    /// Starts that a power failure ended before the node ran.
    pub torn_starts: u64,
    /// Signatures that a disk lost with the end of the log.
    pub signatures_lost: u64,
    /// Pieces of evidence in blocks, each against [`crate::SABOTEUR`].
    pub evidence: u64,
    /// Messages that were refused before a replica received them.
    pub turned_away: u64,
    /// Messages that the Byzantine node changed, added or withheld.
    pub lies: u64,
    /// Turns that the Byzantine node stretched.
    pub stretched: Stalled,
    /// Longest time of a height while a proposer that stretches its turns was watched, virtual microseconds.
    pub slowest: u64,
    /// Gossiped messages that were passed on.
    pub relayed: u64,
    /// Heights gained while nodes were down for long.
    pub outage_heights: u64,
    /// The class of the fault of each node that halted.
    pub halted: Vec<Option<FaultClass>>,
}

impl Report {
    /// Adds another run's figures; the trace, the slowest height and the exit codes stay.
    pub fn add(&mut self, other: &Self) {
        macro_rules! add {
            ($($field:ident)*) => { $(self.$field += other.$field;)* };
        }
        add! {
            heights micros sent lost duplicated damaged crashes torn commits_found late_rounds untimely served
            far_behind submitted transactions failed refused abstentions guard_refusals core_errors
            signed_after_fault tails_lost torn_starts signatures_lost evidence turned_away lies relayed outage_heights
        }
        self.stretched.add(other.stretched);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace,
            heights,
            micros,
            sent,
            lost,
            duplicated,
            damaged,
            crashes,
            torn,
            ..
        } = self;
        writeln!(f, "trace          {trace}")?;
        writeln!(
            f,
            "heights        {heights} in {} ms of virtual time, {} in a later round, {} proposals untimely",
            micros / 1000,
            self.late_rounds,
            self.untimely
        )?;
        writeln!(
            f,
            "messages       {sent} sent, {lost} lost, {duplicated} twice, {damaged} damaged"
        )?;
        writeln!(
            f,
            "crashes        {crashes}, {torn} of them lost unsynced bytes, {} before the log was reset",
            self.commits_found
        )?;
        writeln!(
            f,
            "sync           {} requests answered, {} nodes far behind",
            self.served, self.far_behind
        )?;
        let Self {
            submitted,
            transactions,
            failed,
            refused,
            ..
        } = self;
        writeln!(
            f,
            "transactions   {submitted} submitted, {transactions} in blocks ({failed} failed), {refused} refused"
        )?;
        let Self {
            abstentions,
            guard_refusals,
            evidence,
            halted,
            ..
        } = self;
        write!(
            f,
            "guard          {abstentions} abstentions, {guard_refusals} refusals, {} core errors; ",
            self.core_errors
        )?;
        writeln!(f, "{evidence} pieces of evidence; halted {halted:?}")?;
        let Self {
            lies,
            relayed,
            outage_heights,
            ..
        } = self;
        write!(
            f,
            "others         {lies} lies, {relayed} relayed, {outage_heights} heights in the outage"
        )
    }
}

/// Prints the seed if the code under test panics.
struct NameSeed<'a>(&'a Config);

impl Drop for NameSeed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: replay with\n  {}", self.0.seed, self.0.replay_command());
        }
    }
}

/// Runs and returns the report.
///
/// # Panics
/// With the seed and the command to repeat the run, when a rule did not hold.
#[must_use]
pub fn check(config: &Config) -> Report {
    let _seed = NameSeed(config);
    match run(config) {
        Ok(report) => report,
        Err(violation) => panic!("{violation}"),
    }
}

/// Runs. A panic would end a node's process, so it counts as a node that halted.
fn run_or_panic(config: &Config) -> Result<Report, Violation> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _seed = NameSeed(config);
        run(config)
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Violation {
            rule: Rule::NoHalt,
            node: 0,
            micros: 0,
            detail: format!("panicked: {}", text.unwrap_or("without a text")),
        })
    })
}

/// Runs numbered configurations on all cores, each run on one thread, and hands over each result as it
/// arrives, with its number.
///
/// # Panics
/// When `done` does.
pub fn run_each(
    count: usize,
    config: impl Fn(usize) -> Config + Sync,
    done: impl Fn(usize, Result<Report, Violation>) + Sync,
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let config = config(index);
            done(index, run_or_panic(&config));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(work);
        }
    });
}

/// Runs several configurations on all cores; results in order.
///
/// # Panics
/// Never: a run that panics counts as a violated rule.
#[must_use]
pub fn run_all(configs: &[Config]) -> Vec<Result<Report, Violation>> {
    let results = Mutex::new(BTreeMap::new());
    run_each(
        configs.len(),
        |index| configs[index].clone(),
        |index, result| {
            results.lock().expect("no run panicked").insert(index, result);
        },
    );
    let results = results.into_inner().expect("no run panicked");
    results.into_values().collect()
}

/// Runs several configurations on all cores and returns their reports, in order.
///
/// # Panics
/// With every seed that broke a rule and the command to repeat it.
#[must_use]
pub fn check_all(configs: &[Config]) -> Vec<Report> {
    let results = run_all(configs);
    let broken: Vec<String> = configs
        .iter()
        .zip(&results)
        .filter_map(|(config, result)| {
            let violation = result.as_ref().err()?;
            Some(format!(
                "seed {}: {violation}\n  {}",
                config.seed,
                config.replay_command()
            ))
        })
        .collect();
    assert!(
        broken.is_empty(),
        "{} of {} runs broke a rule:\n{}",
        broken.len(),
        configs.len(),
        broken.join("\n")
    );
    results.into_iter().flatten().collect()
}
