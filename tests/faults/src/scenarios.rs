//! The faults, one function per row of the test programme, and their expected effects.
//!
//! Correctness is asserted: no fork, nothing lost, the network heals. Rates and times depend on the
//! machine: they are measured, printed beside their targets, and judged by the reader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use vibecoin_tests_behaviours::Rng;

use crate::cluster::Cluster;
use crate::garbage;
use crate::history::{Summary, check};
use crate::observer::{Audit, Observer};
use crate::table::{Table, Verdict, seconds};
use crate::workload::{CLIENTS, Workload};

/// Time limit of a recovery; beyond it the network counts as not healed.
pub const HEALS_WITHIN: Duration = Duration::from_secs(90);
/// Wait for a block from which on its rounds are printed.
const LATE: Duration = Duration::from_millis(800);
/// Number of blocks after it reached the head until a restarted node takes part like the others.
const FOLLOWS: u64 = 2;
/// Time for which messages from before a cut may still be in transit.
const IN_FLIGHT: Duration = Duration::from_secs(2);
/// Number of violations that a failure prints.
const VIOLATIONS_SHOWN: usize = 20;

/// Duration of each fault.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Without faults, for the clean rate.
    pub clean: Duration,
    /// Each partition.
    pub partition: Duration,
    /// Each one-way cut.
    pub one_way: Duration,
    /// Loss.
    pub loss: Duration,
    /// A frozen node.
    pub pause: Duration,
    /// The restart storm.
    pub storm: Duration,
    /// Kills of one node after the other.
    pub kills: u32,
    /// Kills of all at once.
    pub kills_of_all: u32,
    /// Garbage from outside.
    pub garbage: Duration,
}

impl Lengths {
    /// For every change: about four minutes altogether.
    #[must_use]
    pub const fn short() -> Self {
        Self {
            clean: Duration::from_secs(12),
            partition: Duration::from_secs(20),
            one_way: Duration::from_secs(8),
            loss: Duration::from_secs(30),
            pause: Duration::from_secs(10),
            storm: Duration::from_secs(30),
            kills: 6,
            kills_of_all: 1,
            garbage: Duration::from_secs(20),
        }
    }

    /// As the test programme requires.
    #[must_use]
    pub const fn long() -> Self {
        Self {
            clean: Duration::from_secs(30),
            partition: Duration::from_secs(60),
            one_way: Duration::from_secs(60),
            loss: Duration::from_secs(180),
            pause: Duration::from_secs(30),
            storm: Duration::from_secs(300),
            kills: 60,
            kills_of_all: 10,
            garbage: Duration::from_secs(60),
        }
    }
}

/// A run over one cluster: the faults, and the table of their effects.
pub struct Run<'a> {
    cluster: &'a Cluster,
    lengths: Lengths,
    random: Rng,
    /// Blocks per 1,000 seconds without faults.
    clean_millirate: u64,
    /// Measured values.
    pub table: Table,
}

/// An answer of `consensus_getRounds` on one line.
fn rounds_in_short(view: &Value) -> String {
    let mut text = view["why"].as_str().unwrap_or("?").to_owned();
    for round in view["rounds"].as_array().into_iter().flatten() {
        let ms = |name: &str| round[name].as_str().unwrap_or("-").to_owned();
        text += &format!(
            " [round {}: took {} ms, proposal after {}, body after {}",
            round["round"],
            ms("tookMs"),
            ms("proposalAfterMs"),
            ms("bodyAfterMs")
        );
        for timeout in round["timeouts"].as_array().into_iter().flatten() {
            let step = timeout["step"].as_str().unwrap_or("?");
            text += &format!(
                ", {step} timeout at {}",
                timeout["afterMs"].as_str().unwrap_or("?")
            );
        }
        text += "]";
    }
    text
}

fn mib(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

impl<'a> Run<'a> {
    /// A run over a cluster whose validators are up.
    #[must_use]
    pub fn new(cluster: &'a Cluster, lengths: Lengths, seed: u64) -> Self {
        Self {
            cluster,
            lengths,
            random: Rng::new(seed, 0),
            clean_millirate: 0,
            table: Table::default(),
        }
    }

    fn all(&self) -> Vec<usize> {
        self.cluster.validators()
    }

    /// Sleeps through a fault and returns blocks per 1,000 seconds of these nodes, over its
    /// duration.
    fn rate_during(&self, nodes: &[usize], time: Duration) -> u64 {
        let (begun, from) = (Instant::now(), self.cluster.top(nodes));
        std::thread::sleep(time);
        let blocks = self.cluster.top(nodes).saturating_sub(from);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        blocks
            .saturating_mul(1_000_000_000)
            .checked_div(micros)
            .unwrap_or(0)
    }

    /// A rate relative to the clean one, in words; and true if it reaches a share of it.
    fn against_clean(&self, millirate: u64, percent: u64) -> (String, bool) {
        let share = millirate
            .saturating_mul(100)
            .checked_div(self.clean_millirate)
            .unwrap_or(0);
        let text = format!(
            "{share} % ({}.{:02} blocks/s)",
            millirate / 1000,
            millirate % 1000 / 10
        );
        (text, share >= percent)
    }

    /// Adds a row of a rate relative to the clean one.
    fn rate_row(&mut self, id: &str, what: &str, millirate: u64, percent: u64) {
        let (text, met) = self.against_clean(millirate, percent);
        let target = format!("≥ {percent} % of clean");
        self.table.row(id, what, &target, text, met);
    }

    /// Adds a row of the growth of memory.
    fn memory_row(&mut self, id: &str, what: &str, grown_kib: u64) {
        let text = format!("+{}", mib(grown_kib));
        let met = grown_kib <= 64 * 1024;
        self.table.row(id, what, "≤ +64 MiB", text, met);
    }

    /// Asserts that three of four decided blocks.
    fn assert_progress(&self, id: &str, millirate: u64) {
        let state = || self.cluster.describe();
        assert!(millirate > 0, "{id}: three of four made no block\n{}", state());
    }

    fn heal(&self) {
        self.cluster.net.heal().unwrap();
    }

    /// Waits until all validators are at one height; returns the time taken.
    fn wait_together(&self) -> Duration {
        let begun = Instant::now();
        let all = self.all();
        for node in &all {
            self.cluster.wait_at_head(*node, &all, HEALS_WITHIN);
        }
        begun.elapsed()
    }

    fn progress(&self) -> Duration {
        let all = self.all();
        let from = self.cluster.top(&all);
        self.cluster.wait_for_block(&all, from, HEALS_WITHIN)
    }

    /// The rate without faults, for comparison.
    pub fn clean(&mut self) {
        let all = self.all();
        self.clean_millirate = self.rate_during(&all, self.lengths.clean);
        let rate = self.clean_millirate;
        let text = format!("{}.{:02} blocks/s", rate / 1000, rate % 1000 / 10);
        self.table.row("", "clean block rate", "", text, Verdict::Figure);
        assert!(rate > 0, "no blocks without faults\n{}", self.cluster.describe());
    }

    /// N1: two against two. Neither side decides; afterwards the chain continues.
    pub fn two_against_two(&mut self) {
        let all = self.all();
        self.partition(&[&[0, 1], &[2, 3]]);
        std::thread::sleep(IN_FLIGHT);
        let before = self.cluster.top(&all);
        std::thread::sleep(self.lengths.partition.saturating_sub(IN_FLIGHT));
        let while_cut = self.cluster.top(&all).saturating_sub(before);
        assert_eq!(while_cut, 0, "N1: half of the power decided a block");
        let text = while_cut.to_string();
        self.table
            .row("N1", "2|2: blocks while cut", "0", text, while_cut == 0);
        self.heal();
        let first = self.cluster.wait_for_block(&all, before, HEALS_WITHIN);
        self.table.within("N1", "2|2: first block after heal", first, 10);
        self.wait_together();
    }

    /// N2: three against one.
    pub fn three_against_one(&mut self) {
        let most = [0, 1, 2];
        self.partition(&[&most, &[3]]);
        let rate = self.rate_during(&most, self.lengths.partition);
        self.rate_row("N2", "3|1: rate of the three", rate, 80);
        self.assert_progress("N2", rate);
        self.heal();
        let back = self.cluster.wait_at_head(3, &most, HEALS_WITHIN);
        self.table
            .within("N2", "3|1: the one at the head after heal", back, 10);
    }

    fn partition(&self, groups: &[&[usize]]) {
        self.cluster.net.partition(groups).unwrap();
    }

    /// N3: loss on every link, in both directions.
    pub fn loss(&mut self, percent: u32, rate_percent: u64) {
        let all = self.all();
        self.cluster.net.lose_everywhere(percent * 10_000).unwrap();
        let from = self.cluster.top(&all);
        let (rate, gap) = self.rate_and_gap(&all, self.lengths.loss);
        self.rate_row("N3", &format!("loss {percent} %: rate"), rate, rate_percent);
        let what = format!("loss {percent} %: longest time without a block");
        self.table.within("N3", &what, gap, 30);
        self.heal();
        self.cluster.wait_for_block(&all, from, HEALS_WITHIN);
        self.wait_together();
    }

    /// The rate, and the maximum time without a new head.
    fn rate_and_gap(&self, nodes: &[usize], time: Duration) -> (u64, Duration) {
        let (begun, from) = (Instant::now(), self.cluster.top(nodes));
        let (mut last, mut at, mut gap) = (from, begun, Duration::ZERO);
        while begun.elapsed() < time {
            std::thread::sleep(Duration::from_millis(100));
            let top = self.cluster.top(nodes);
            gap = gap.max(at.elapsed());
            if top > last {
                (last, at) = (top, Instant::now());
            }
        }
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let rate = last
            .saturating_sub(from)
            .saturating_mul(1_000_000_000)
            .checked_div(micros);
        (rate.unwrap_or(0), gap)
    }

    /// N5: one node receives nothing, then none receives from it.
    pub fn one_way(&mut self) {
        let others = [0, 1, 2];
        for deaf in [true, false] {
            for other in others {
                let (from, to) = if deaf { (other, 3) } else { (3, other) };
                self.cluster.net.cut(from, to).unwrap();
            }
            let name = if deaf { "hears nothing" } else { "is not heard" };
            let rate = self.rate_during(&others, self.lengths.one_way);
            self.rate_row("N5", &format!("one {name}: rate of the others"), rate, 80);
            self.assert_progress("N5", rate);
            self.heal();
            let back = self.cluster.wait_at_head(3, &others, HEALS_WITHIN);
            let what = format!("one {name}: at the head after heal");
            self.table.within("N5", &what, back, 10);
        }
    }

    /// N6: one node is frozen, with its connections open.
    pub fn frozen(&mut self, observer: &Observer<'_>) {
        let others = [0, 1, 2];
        let before = observer.rss_now_kib(&others);
        self.cluster.pause(3);
        let rate = self.rate_during(&others, self.lengths.pause);
        let grown = observer.rss_now_kib(&others).saturating_sub(before);
        self.cluster.resume(3);
        let back = self.cluster.wait_at_head(3, &others, HEALS_WITHIN);
        self.rate_row("N6", "one frozen: rate of the others", rate, 95);
        self.memory_row("N6", "one frozen: memory of the others", grown);
        self.table
            .within("N6", "one frozen: at the head afterwards", back, 15);
        self.assert_progress("N6", rate);
    }

    /// N9: every node is killed and restarted, each at a separate interval of one to five seconds.
    pub fn storm(&mut self) {
        let all = self.all();
        let ended = AtomicBool::new(false);
        let seed = self.random.next();
        let (cluster, length) = (self.cluster, self.lengths.storm);
        let restarts: u64 = std::thread::scope(|scope| {
            let storms: Vec<_> = all
                .iter()
                .map(|node| {
                    let (node, ended) = (*node, &ended);
                    let mut random = Rng::new(seed.wrapping_add(u64::try_from(node).unwrap_or(0)), 0);
                    scope.spawn(move || {
                        let mut restarts = 0u64;
                        while !ended.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(1_000 + random.below(4_000)));
                            cluster.kill(node);
                            cluster.start(&[node]);
                            restarts += 1;
                        }
                        restarts
                    })
                })
                .collect();
            std::thread::sleep(length);
            ended.store(true, Ordering::SeqCst);
            storms
                .into_iter()
                .map(|storm| storm.join().expect("a storm ends"))
                .sum()
        });
        let block = self.progress();
        let what = format!("{restarts} restarts: a block after the storm");
        self.table.within("N9", &what, block, 10);
        self.wait_together();
    }

    /// C3: `kill -9` of one node after the other, then of all at once.
    pub fn kills(&mut self) {
        let all = self.all();
        let mut times = Vec::new();
        for _ in 0..self.lengths.kills {
            let node = self.random.index(all.len());
            let others: Vec<usize> = all.iter().copied().filter(|other| *other != node).collect();
            let from = self.cluster.top(&all);
            self.cluster.kill(node);
            let took = self.cluster.wait_for_block(&others, from, HEALS_WITHIN);
            if took > LATE {
                println!(
                    "     node {node} killed at height {from}: {} until the next block",
                    seconds(took)
                );
                others
                    .iter()
                    .for_each(|other| self.tell_rounds(*other, from..from + 3));
            }
            times.push(took);
            self.cluster.start(&[node]);
            self.cluster.wait_at_head(node, &others, HEALS_WITHIN);
            // One of four may be missing, two may not: the next is killed when this one follows again.
            let beyond = self.cluster.top(&others).saturating_add(FOLLOWS);
            self.cluster.wait_all_reach(&all, beyond, HEALS_WITHIN);
        }
        times.sort_unstable();
        if let (Some(p50), Some(most)) = (times.get(times.len() / 2), times.last()) {
            let text = format!("p50 {}, max {}", seconds(*p50), seconds(*most));
            let met = *most <= Duration::from_secs(1);
            let what = format!("{} kills of one: next block of the others", times.len());
            self.table.row("C3", &what, "p99 ≤ 1 s", text, met);
        }
        let mut worst = Duration::ZERO;
        for _ in 0..self.lengths.kills_of_all {
            std::thread::scope(|scope| {
                for node in &all {
                    scope.spawn(|| self.cluster.kill(*node));
                }
            });
            self.cluster.start(&all);
            worst = worst.max(self.progress());
            self.wait_together();
        }
        let what = format!(
            "all killed at once, {} times: first block",
            self.lengths.kills_of_all
        );
        self.table.within("C3", &what, worst, 10);
    }

    /// Prints why blocks were late, as a node observed it.
    fn tell_rounds(&self, node: usize, heights: std::ops::Range<u64>) {
        for height in heights {
            let params = serde_json::json!({"height": height.to_string()});
            let told = match self.cluster.rpc(node).call("consensus_getRounds", &params) {
                Ok(view) => rounds_in_short(&view),
                Err(error) => format!("{error:?}"),
            };
            println!("     node {node}, height {height}: {told}");
        }
    }

    /// B6: garbage from a peer that is not a validator.
    pub fn garbage(&mut self, observer: &Observer<'_>) {
        let all = self.all();
        let before = observer.rss_now_kib(&all);
        let ended = AtomicBool::new(false);
        let seed = self.random.next();
        let (rate, report) = std::thread::scope(|scope| {
            let attack = scope.spawn(|| garbage::attack(self.cluster, &ended, seed));
            let rate = self.rate_during(&all, self.lengths.garbage);
            ended.store(true, Ordering::SeqCst);
            (rate, attack.join().expect("the attack ends"))
        });
        let grown = observer.rss_now_kib(&all).saturating_sub(before);
        self.cluster.assert_alive();
        println!("     {report}");
        self.rate_row("B6", "garbage: rate", rate, 90);
        self.memory_row("B6", "garbage: memory", grown);
        assert!(report.bytes > 0, "B6: nothing was sent");
        assert!(
            report.messages > 0,
            "B6: nobody let the stranger in who speaks the protocol"
        );
        self.progress();
        self.wait_together();
    }

    /// A new node starts with only the genesis file.
    pub fn join(&mut self, node: usize) {
        let all = self.all();
        let height = self.cluster.top(&all);
        let begun = Instant::now();
        self.cluster.start(&[node]);
        self.cluster
            .wait_at_head(node, &all, HEALS_WITHIN.saturating_mul(4));
        let took = begun.elapsed();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = height.saturating_mul(1000) / millis;
        let what = format!("a node joins from genesis at height {height}");
        let text = format!("{} ({rate} blocks/s)", seconds(took));
        self.table.row("", &what, "", text, Verdict::Figure);
    }
}

/// Runs clients and an observer around `faults`, then checks everything: history, chains, certificates.
/// Returns the audit and the clients' statistics.
pub fn under_observation(
    cluster: &Cluster,
    seed: u64,
    run: &mut Run<'_>,
    faults: impl FnOnce(&mut Run<'_>, &Observer<'_>, &Workload<'_>) + Send,
) -> (Audit, Summary) {
    let observer = Observer::new(cluster);
    let nodes = cluster.validators();
    let load = Workload::new(cluster, &nodes, seed);
    std::thread::scope(|scope| {
        let end = EndAll(&observer, &load);
        for node in 0..cluster.plan.nodes() {
            let observer = &observer;
            scope.spawn(move || observer.watch(node));
        }
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.run_client(client));
        }
        faults(run, &observer, &load);
        drop(end);
    });
    cluster.assert_alive();
    let running: Vec<usize> = (0..cluster.plan.nodes())
        .filter(|node| cluster.pid(*node).is_some())
        .collect();
    // No acknowledged block is above this height, and every node has it.
    let height = cluster.top(&running);
    cluster.wait_all_reach(&running, height, HEALS_WITHIN);
    let audit = observer.audit(&running, height, true);
    let history = load.history(running[0], height);
    let (summary, violations) = check(&history);
    let table = &mut run.table;
    let none = |count: usize| (count.to_string(), count == 0);
    let (text, met) = none(audit.wrong.len());
    let what = format!(
        "I1, I6, I7, I9 over {} blocks and {} certificates",
        audit.blocks, audit.certificates
    );
    table.row("", &what, "0 broken", text, met);
    let what = format!(
        "history: {} calls, {} ok ({} during faults), {} transfers acknowledged",
        summary.calls, summary.ok, summary.ok_in_faults, summary.acknowledged
    );
    let (text, met) = none(violations.len());
    table.row("", &what, "0 violations", text, met);
    let memory = mib(observer.rss_max_kib());
    table.row("", "most memory of a node", "", memory, Verdict::Figure);
    let text = format!("{} of {}", audit.later_rounds, audit.blocks);
    let what = "blocks that took more than one round";
    table.row("", what, "", text, Verdict::Figure);
    println!("\n{table}\ncalls without an answer: {}", load.reasons());
    audit.assert_clean();
    let shown: Vec<String> = violations
        .iter()
        .take(VIOLATIONS_SHOWN)
        .map(ToString::to_string)
        .collect();
    assert!(
        shown.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        shown.join("\n")
    );
    (audit, summary)
}

/// Ends observer and clients also when a fault fails: their threads would be joined for ever.
struct EndAll<'a>(&'a Observer<'a>, &'a Workload<'a>);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.0.end();
        self.1.end();
    }
}
