//! Whole runs, for the tests of every change and for the long script.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use vibecoin_primitives::Hash;
use vibecoin_tests_nodes::sibling;

use crate::cluster::{Cluster, SAFETY_HALT, hash};
use crate::history::OK_IN_FAULTS_MIN;
use crate::homes::{PACE_MS, Plan, Transport};
use crate::netns::{Net, probe};
use crate::observer::Observer;
use crate::scenarios::{HEALS_WITHIN, Lengths, Run, under_observation};
use crate::table::{Table, Verdict};

/// Length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// For every change.
    Short,
    /// As the test programme requires.
    Long,
}

/// Blocks that must be decided before any fault.
const WARM_UP_BLOCKS: u64 = 5;

fn say(text: &str) {
    println!("-- {text}");
}

/// Prints a description of the machine. The figures mean nothing without it.
fn announce(what: &str, seed: u64) {
    let machine = probe().unwrap();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    println!("== {what}: seed {seed}, {machine}, load {}", load.join(" "));
}

/// Starts the validators and waits for their first blocks.
fn up(cluster: &Cluster) {
    let begun = Instant::now();
    let all = cluster.validators();
    cluster.start(&all);
    cluster.wait_for_block(&all, WARM_UP_BLOCKS, HEALS_WITHIN);
    for node in &all {
        cluster.wait_at_head(*node, &all, HEALS_WITHIN);
    }
    say(&format!(
        "{} validators are at the head after {} ms",
        all.len(),
        begun.elapsed().as_millis()
    ));
}

/// Four validators and a follower pass through every network fault, with clients on them all the
/// time.
pub fn network(length: Length, seed: u64) {
    announce("four validators and what is between them", seed);
    let mut plan = Plan::validators(4);
    plan.followers = 1;
    let cluster = Cluster::new(plan);
    up(&cluster);
    let lengths = match length {
        Length::Short => Lengths::short(),
        Length::Long => Lengths::long(),
    };
    let mut run = Run::new(&cluster, lengths, seed);
    let begun = Instant::now();
    let (audit, summary) = under_observation(&cluster, seed, &mut run, |run, observer, load| {
        run.clean();
        load.faults_begin();
        let step = |name: &str| {
            say(&format!(
                "{} s: {name}; {} ok calls so far",
                begun.elapsed().as_secs(),
                load.ok()
            ));
        };
        step("N1, two against two");
        run.two_against_two();
        step("N2, three against one");
        run.three_against_one();
        step("N3, loss");
        if length == Length::Long {
            run.loss(5, 80);
        }
        run.loss(20, 30);
        step("N5, one-way cuts");
        run.one_way();
        step("N6, a frozen node");
        run.frozen(observer);
        step("B6, garbage");
        run.garbage(observer);
        step("C3, kill -9");
        run.kills();
        step("N9, restart storm");
        run.storm();
        load.faults_end();
        step("a node joins from genesis");
        run.join(4);
    });
    say(&format!(
        "{} s: {} blocks, {} certificates, {} calls, all of one chain",
        begun.elapsed().as_secs(),
        audit.blocks,
        audit.certificates,
        summary.calls
    ));
}

/// One validator alone is killed repeatedly under the clients: the smallest run of everything here.
pub fn alone(seed: u64) {
    under_kills("one validator", 1, seed, |lengths| {
        (lengths.kills, lengths.kills_of_all) = (0, 4);
    });
}

/// Four validators under the clients: one after the other is killed and started again, twenty times, then
/// all at once.
pub fn kills(seed: u64) {
    under_kills("four validators, one killed at a time", 4, seed, |lengths| {
        (lengths.kills, lengths.kills_of_all) = (20, 3);
    });
}

fn under_kills(title: &str, validators: usize, seed: u64, how_often: impl FnOnce(&mut Lengths)) {
    announce(title, seed);
    let cluster = Cluster::new(Plan::validators(validators));
    up(&cluster);
    let mut lengths = Lengths::short();
    how_often(&mut lengths);
    let mut run = Run::new(&cluster, lengths, seed);
    let _results = under_observation(&cluster, seed, &mut run, |run, _, load| {
        run.clean();
        load.faults_begin();
        run.kills();
        load.wait_for_ok(OK_IN_FAULTS_MIN);
        load.faults_end();
    });
}

/// N3: four validators lose packets, first over TCP and then over QUIC, each against its own clean rate.
pub fn loss(seed: u64) {
    for transport in [Transport::Tcp, Transport::Quic] {
        announce(&format!("four validators that lose packets, {transport:?}"), seed);
        let mut plan = Plan::validators(4);
        plan.transport = transport;
        let cluster = Cluster::new(plan);
        up(&cluster);
        let mut run = Run::new(&cluster, Lengths::short(), seed);
        let _results = under_observation(&cluster, seed, &mut run, |run, _, load| {
            run.clean();
            load.faults_begin();
            run.loss(5, 80);
            run.loss(20, 30);
            load.wait_for_ok(OK_IN_FAULTS_MIN);
            load.faults_end();
        });
    }
}

/// Crash-fault mode: three nodes survive the loss of one; without two they stop, and nothing forks.
pub fn crash(seed: u64) {
    announce("three validators that trust each other not to lie", seed);
    let cluster = Cluster::new(Plan {
        validators: 3,
        followers: 0,
        crash_model: true,
        transport: Transport::Both,
        pace_ms: PACE_MS,
    });
    up(&cluster);
    let observer = Observer::new(&cluster);
    let mut table = Table::default();
    let all = cluster.validators();
    let kill = |node: usize| {
        cluster.kill(node);
        cluster.top(&all)
    };

    let from = kill(0);
    let two = [1, 2];
    let first = cluster.wait_for_block(&two, from, HEALS_WITHIN);
    let more = cluster.wait_for_block(&two, from.saturating_add(10), HEALS_WITHIN);
    let text = format!("first {} ms, ten {} ms", first.as_millis(), more.as_millis());
    let what = "crash-fault mode, one of three killed: next blocks";
    table.row("", what, "progress", text, true);

    let _before = kill(1);
    // Transactions in transit may complete; after that none may.
    std::thread::sleep(Duration::from_secs(2));
    let stopped = cluster.top(&[2]);
    std::thread::sleep(Duration::from_secs(8));
    let after = cluster.top(&[2]);
    assert_eq!(after, stopped, "one of three decided a block");
    cluster.assert_alive();
    let what = "crash-fault mode, two of three killed: blocks in 8 s";
    table.row("", what, "0", "0".to_owned(), true);

    cluster.start(&[0, 1]);
    let back = cluster.wait_for_block(&all, stopped, HEALS_WITHIN);
    let height = cluster.top(&all);
    cluster.wait_all_reach(&all, height, HEALS_WITHIN);
    let text = format!("{} ms", back.as_millis());
    let (what, met) = (
        "crash-fault mode, both back: first block",
        back <= Duration::from_secs(10),
    );
    table.row("", what, "≤ 10 s", text, met);
    let audit = observer.audit(&all, cluster.bottom(&all), true);
    let text = format!(
        "{} blocks, {} certificates of two of three",
        audit.blocks, audit.certificates
    );
    let met = audit.wrong.is_empty();
    table.row("", "crash-fault mode: one chain", "0 forks", text, met);
    println!("\n{table}");
    audit.assert_clean();
}

/// N4: every packet takes 100 ± 30 ms.
pub fn link(seed: u64) {
    announce("four validators far from each other", seed);
    let plan = Plan::validators(4);
    let mut net = Net::new(plan.nodes()).unwrap();
    let netwire = sibling("vibecoin-netwire", "-p vibecoin-tests-faults --bins");
    net.emulate(&netwire, seed, "").unwrap();
    let mut cluster = Cluster::over(net, plan);
    up(&cluster);
    let all = cluster.validators();
    let mut table = Table::default();
    for links in [
        "delay-ms=0",
        "delay-ms=70 jitter-ms=60",
        "delay-ms=20 jitter-ms=10 loss=0.02 reorder=0.02",
    ] {
        cluster.net.set_links(links).unwrap();
        let from = cluster.top(&all);
        let begun = Instant::now();
        cluster.wait_for_block(&all, from.saturating_add(30), HEALS_WITHIN);
        let blocks = cluster.top(&all).saturating_sub(from).max(1);
        let interval = begun.elapsed().as_millis() / u128::from(blocks);
        let what = format!("{links}: block interval");
        table.row("N4", &what, "", format!("{interval} ms"), Verdict::Figure);
    }
    cluster.net.set_links("").unwrap();
    for node in &all {
        cluster.wait_at_head(*node, &all, HEALS_WITHIN);
    }
    let audit = Observer::new(&cluster).audit(&all, cluster.bottom(&all), true);
    println!("\n{table}");
    audit.assert_clean();
}

/// Behaviours of the last of four validators, with the expected evidence.
const LIES: [(&str, &str, bool); 13] = [
    ("B1", "equivocating-votes", true),
    ("B1", "equivocating-proposals", true),
    ("B1", "equivocating-parts", true),
    ("B1", "nil-precommits", false),
    ("B1", "withheld-proposals", false),
    ("B1", "withheld-parts", false),
    ("B3", "wrong-state-root", false),
    ("B3", "wrong-parent", false),
    ("B3", "wrong-tx-root", false),
    ("B3", "future-time", false),
    ("B3", "transaction-twice", false),
    ("B4", "wrong-poh", false),
    ("B4", "wrong-ticks", false),
];

/// Time for which the network is watched under each behaviour.
const LYING: Duration = Duration::from_secs(20);
/// Seconds after which evidence must be visible over RPC, counted from the first block.
const EVIDENCE_VISIBLE_S_MAX: u64 = 10;
/// Percent of the clean rate that the three honest ones must keep.
const LYING_PERCENT_MIN: u64 = 60;
/// Rounds beside the first one that a block may take when one validator proposes what the others
/// refuse (B3).
const EXTRA_ROUNDS_MAX: u64 = 1;

/// B1, B3, B4: one of four validators is Byzantine, with one behaviour after the other.
pub fn byzantine(seed: u64) {
    announce("four validators, one of which lies", seed);
    let program = sibling(
        "vibecoin-byzantine",
        "-p vibecoin-tests-faults --features byzantine --bins",
    );
    let honest = [0, 1, 2];
    let mut table = Table::default();
    let mut clean = 0;
    for (id, lie, double) in std::iter::once(("", "none", false)).chain(LIES) {
        let mut cluster = Cluster::new(Plan::validators(4));
        let variables = vec![("VIBECOIN_BYZANTINE".to_owned(), lie.to_owned())];
        cluster.replace_program(3, program.clone(), variables);
        let all = cluster.validators();
        cluster.start(&all);
        let observer = Observer::new(&cluster);
        cluster.wait_for_block(&honest, 0, HEALS_WITHIN);
        let first = Instant::now();
        let (visible, from, begun) = std::thread::scope(|scope| {
            let visible = double.then(|| scope.spawn(|| evidence_visible(&observer, &honest, first)));
            cluster.wait_for_block(&all, WARM_UP_BLOCKS, HEALS_WITHIN);
            let (from, begun) = (cluster.top(&honest), Instant::now());
            std::thread::sleep(LYING);
            let visible = visible.and_then(|asked| asked.join().expect("evidence is asked for"));
            (visible, from, begun)
        });
        let blocks = cluster.top(&honest).saturating_sub(from);
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let millirate = blocks.saturating_mul(1_000_000) / took.max(1);
        if lie == "none" {
            clean = millirate;
        }
        cluster.assert_alive();
        let height = cluster.top(&honest);
        cluster.wait_all_reach(&honest, height, HEALS_WITHIN);
        let audit = observer.audit(&honest, height, false);
        let share = millirate * 100 / clean.max(1);
        let mut text = format!(
            "{share} % of clean, {} blocks with evidence, {} shown, {} of {} in later rounds, the latest {}",
            audit.blocks_with_evidence, audit.evidence, audit.later_rounds, audit.blocks, audit.round_max
        );
        let caught = audit.blocks_with_evidence > 0;
        let mut target = format!("≥ {LYING_PERCENT_MIN} %, no fork");
        let mut met = share >= LYING_PERCENT_MIN && caught == double;
        if double {
            let after = visible.map_or("never".to_owned(), |time| format!("{} ms", time.as_millis()));
            text += &format!(", evidence by RPC after {after}");
            target += &format!(", evidence by RPC in {EVIDENCE_VISIBLE_S_MAX} s");
            met &= visible.is_some_and(|time| time <= Duration::from_secs(EVIDENCE_VISIBLE_S_MAX));
        }
        if id == "B3" {
            target += &format!(", round ≤ {EXTRA_ROUNDS_MAX}");
            met &= audit.round_max <= EXTRA_ROUNDS_MAX;
        }
        table.row(id, lie, &target, text, met);
        audit.assert_clean();
        assert!(
            blocks > 0,
            "{lie}: the honest three stopped\n{}",
            cluster.describe()
        );
        assert_eq!(caught, double, "{lie}: evidence in blocks");
    }
    for lie in TWO_LIES {
        two_liars(lie, &program, &mut table);
    }
    println!("\n{table}");
    assert_eq!(table.missed(), 0, "targets are missed");
}

/// Time from `begun` until one of these nodes first reports evidence; `None` when none does while they are
/// watched.
fn evidence_visible(observer: &Observer<'_>, nodes: &[usize], begun: Instant) -> Option<Duration> {
    while begun.elapsed() < LYING {
        if nodes.iter().any(|node| observer.evidence(*node) > 0) {
            return Some(begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

/// Behaviours of two of four together, beyond the fault tolerance of these networks.
const TWO_LIES: [&str; 3] = [
    "equivocating-votes",
    "equivocating-proposals",
    "equivocating-parts",
];

/// The log lines of a node that ends with it: the contradicting blocks.
const HALTS: [&str; 2] = [
    "two blocks are certified at height",
    "has a quorum but is invalid here",
];

/// B8: two of four validators are Byzantine. The network may stop or fork, but no honest node ever replaces a
/// block that it has called final, and one that ends does so with exit code 30.
fn two_liars(lie: &str, program: &Path, table: &mut Table) {
    let honest = [0, 1];
    let mut cluster = Cluster::new(Plan::validators(4));
    for liar in [2, 3] {
        let variables = vec![("VIBECOIN_BYZANTINE".to_owned(), lie.to_owned())];
        cluster.replace_program(liar, program.to_path_buf(), variables);
    }
    cluster.start(&[0, 1, 2, 3]);
    let observer = Observer::new(&cluster);
    let hash_at = |node: usize, height: u64| hash(&cluster.header(node, height)?["hash"]);
    let mut final_blocks: BTreeMap<(usize, u64), Hash> = BTreeMap::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        for node in honest {
            let Ok(head) = cluster.head(node) else { continue };
            for height in 1..=head.height {
                if final_blocks.contains_key(&(node, height)) {
                    continue;
                }
                if let Some(hash) = hash_at(node, height) {
                    final_blocks.insert((node, height), hash);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut replaced = 0;
    for ((node, height), before) in &final_blocks {
        replaced += usize::from(hash_at(*node, *height).is_some_and(|now| now != *before));
    }
    let ends: Vec<Option<i32>> = honest.iter().map(|node| cluster.exit_code(*node)).collect();
    let differs = |(place, hash): &(&(usize, u64), &Hash)| {
        let other = final_blocks.get(&(1, place.1));
        place.0 == 0 && other.is_some_and(|other| other != *hash)
    };
    let forked = final_blocks.iter().filter(differs).count();
    let text = format!(
        "{} final blocks seen, {replaced} replaced, {forked} heights forked, ended with {ends:?}",
        final_blocks.len()
    );
    let good_end = ends.iter().flatten().all(|code| *code == SAFETY_HALT);
    // A node that ended has the reason in its log; one that continues reports the evidence of both
    // signatures.
    let shows = |node: usize, end: Option<i32>| match end {
        Some(_) => {
            let log = std::fs::read_to_string(cluster.log(node)).unwrap_or_default();
            HALTS.iter().any(|text| log.contains(text))
        }
        None => observer.evidence(node) > 0,
    };
    let proven = honest.iter().zip(&ends).all(|(node, end)| shows(*node, *end));
    let (what, met) = (format!("two of four: {lie}"), replaced == 0 && good_end && proven);
    let target = "no final block replaced, ends with 30 only, with the evidence";
    let text = format!("{text}, evidence on both: {proven}");
    table.row("B8", &what, target, text, met);
    assert!(
        replaced == 0 && good_end,
        "{lie} by two: {replaced} blocks replaced, ends {ends:?}"
    );
}
