//! What came out of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vibecoin_primitives::Hash;

use crate::{Config, run};

/// What must hold. I1 to I10 are the invariants of `reliability.md` 2.1, D1 to D3 the rules on durable order
/// of its section 2.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// I1: no two nodes have different blocks at one height.
    Agreement,
    /// I2: every block re-executes to its roots on a second state.
    Validity,
    /// I3: what was acknowledged is there for ever, at its height.
    NoLoss,
    /// I4: every transaction at most once, nonces without gaps.
    NoDoubleEffect,
    /// I5: balances plus burned are what genesis made.
    Supply,
    /// I6: nobody signs two messages for one step, or builds two blocks for one round.
    NoEquivocation,
    /// Nobody precommits without a quorum of prevotes, or prevotes against its lock.
    Locking,
    /// Nobody proposes far more than its share in a row.
    Schedule,
    /// Evidence in blocks is good and new, and double signatures in the open end there.
    Evidence,
    /// I7: every certificate has a quorum of distinct validators.
    Certificates,
    /// I8: the Proof of History goes on where the parent's ended.
    ProofOfHistory,
    /// I9: a head never goes back, over restarts too.
    MonotonicHead,
    /// I10: logs and pools stay small.
    Bounded,
    /// D1: nothing signed leaves before its causes and its guard entry are durable.
    DurableOrder,
    /// D2 and D3: a height begins, and is told of, after its parent's commit is durable.
    CommitFirst,
    /// An honest node never stops by itself.
    NoHalt,
    /// A node that lost nothing does not abstain.
    NoAbstention,
    /// Nobody is blamed who followed the rules.
    NoBlame,
    /// A node starts again from what a crash leaves.
    Recovery,
    /// Without faults every node gains heights.
    Liveness,
    /// Without faults no proposer makes a height longer than a round may be.
    Pace,
    /// Without a quorum no height is gained.
    CleanStop,
    /// Without faults a good transaction gets into a block.
    Inclusion,
    /// No block is dated ahead of every clock, but for the earliest time that it may name.
    Time,
    /// Bytes on the wire are within its limits and open again.
    Wire,
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} violated by node {node} at {micros} µs: {detail}")]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// At which node.
    pub node: usize,
    /// When, in virtual microseconds.
    pub micros: u64,
    /// What was seen.
    pub detail: String,
}

/// Turns of a proposer that stretches them, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretched {
    /// Timed as late as the rule allows: the block was decided in its round.
    pub allowed: u64,
    /// The same, and another block was decided.
    pub allowed_lost: u64,
    /// Timed as if each part began the wait again: the block was decided in its round.
    pub dribbled: u64,
    /// The same, and another block was decided.
    pub dribbled_lost: u64,
}

impl Stretched {
    const fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.allowed_lost += other.allowed_lost;
        self.dribbled += other.dribbled;
        self.dribbled_lost += other.dribbled_lost;
    }
}

/// Figures of a run that kept all rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hash of every line of the trace.
    pub trace: Hash,
    /// Blocks decided.
    pub heights: u64,
    /// Virtual microseconds.
    pub micros: u64,
    /// Messages sent, one for each receiver.
    pub sent: u64,
    /// Lost by a link, a partition or a receiver that was down.
    pub lost: u64,
    /// That came twice.
    pub duplicated: u64,
    /// With a flipped bit.
    pub damaged: u64,
    /// Crashes.
    pub crashes: u64,
    /// Crashes that lost something which had been written but not synced.
    pub torn: u64,
    /// Starts that found a commit whose log was not reset yet.
    pub commits_found: u64,
    /// Blocks that were decided in a round after the first.
    pub late_rounds: u64,
    /// Proposals that a node found to come at another time than they name.
    pub untimely: u64,
    /// Sync requests that were answered with blocks.
    pub served: u64,
    /// Nodes that were further behind than consensus messages reach when faults went off.
    pub far_behind: u64,
    /// Transactions handed to nodes.
    pub submitted: u64,
    /// Transactions in blocks.
    pub transactions: u64,
    /// Of them, those that failed.
    pub failed: u64,
    /// Transactions that a pool refused.
    pub refused: u64,
    /// Starts after which a node abstained.
    pub abstentions: u64,
    /// Signatures that a guard refused.
    pub guard_refusals: u64,
    /// Inputs that the core answered with an error.
    pub core_errors: u64,
    /// What [`crate::SABOTEUR`] signed and sent after its log began to fail.
    pub signed_after_fault: u64,
    /// How often the database of [`crate::SABOTEUR`] lost its newest blocks.
    pub tails_lost: u64,
    /// Pieces of evidence in blocks, each against [`crate::SABOTEUR`].
    pub evidence: u64,
    /// Messages that were refused before a replica saw them.
    pub turned_away: u64,
    /// Messages that the liar changed, added or held back.
    pub lies: u64,
    /// Turns that the liar stretched.
    pub stretched: Stretched,
    /// Longest time of a height while a proposer that stretches its turns was watched, virtual microseconds.
    pub slowest: u64,
    /// Gossiped messages that were passed on.
    pub relayed: u64,
    /// Heights gained while nodes were dead for long.
    pub outage_heights: u64,
    /// The exit code of each node that halted.
    pub halted: Vec<Option<u8>>,
}

impl Report {
    /// Adds another run's figures; the trace, the slowest height and what halted stay.
    pub fn add(&mut self, other: &Self) {
        macro_rules! add {
            ($($field:ident)*) => { $(self.$field += other.$field;)* };
        }
        add! {
            heights micros sent lost duplicated damaged crashes torn commits_found late_rounds untimely served
            far_behind submitted transactions failed refused abstentions guard_refusals core_errors
            signed_after_fault tails_lost evidence turned_away lies relayed outage_heights
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

/// Names the seed if the code under test panics.
struct NameSeed<'a>(&'a Config);

impl Drop for NameSeed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: replay with\n  {}", self.0.seed, self.0.replay_command());
        }
    }
}

/// Runs and gives the report.
///
/// # Panics
/// With the seed and the command to run it again, when a rule did not hold.
#[must_use]
pub fn check(config: &Config) -> Report {
    let _seed = NameSeed(config);
    match run(config) {
        Ok(report) => report,
        Err(violation) => panic!("{violation}"),
    }
}

/// Runs. A panic would have been the end of a node's process, so it is a node that stopped by itself.
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
/// comes, with its number.
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
/// Never: a run that panics is one that broke a rule.
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

/// Runs several configurations on all cores and gives their reports, in order.
///
/// # Panics
/// With every seed that broke a rule and the command to run it again.
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
