//! Limits of the machine: few file descriptors (M6), one key on two nodes (B2), a clock that is wrong (N7).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vibecoin_byzantine::{Attack, Report};
use vibecoin_tests_nodes::copy;

use super::arena::{Arena, FOLLOWER, How, TRAITOR, interfaces, peers};
use super::limits::{ALL, CLEAN, VALIDATORS, rounds};
use crate::cluster::{SAFETY_HALT, number};
use crate::homes::binary;
use crate::scenarios::HEALS_WITHIN;
use crate::table::Table;

/// Nodes with 256 file descriptors.
pub const DESCRIPTORS: &str = "descriptors";
/// One key on two nodes.
pub const TWINS: &str = "twins";
/// A validator whose clock is wrong.
pub const CLOCK: &str = "clock";

/// A program that runs the node behind these words, with more of them at the end.
fn wrapped(folder: &Path, before: &str, after: &str) -> PathBuf {
    let path = folder.join("node.sh");
    let script = format!("#!/bin/sh\nexec {before} {} \"$@\" {after}\n", binary().display());
    std::fs::write(&path, script).expect("write a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("make it executable");
    path
}

/// M6: nodes with 256 file descriptors, and more clients than that.
pub fn descriptors(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = wrapped(folder.path(), "prlimit --nofile=256:256", "");
    let mut arena = Arena::new(&[]);
    for node in ALL {
        arena.cluster.replace_program(node, program.clone(), Vec::new());
    }
    arena.start(&ALL);
    let clean = arena.millirate(&VALIDATORS, CLEAN);
    let how = How {
        targets: &interfaces(&[0, 1]),
        strangers: 400,
        spread: true,
        key: None,
        time: Duration::from_secs(15),
    };
    // The two that are attacked may be unable to answer others; the chain shows if they take part.
    let (percent, report, back) = crowd(&arena, Attack::RpcSilent, &how, &[2, 3], clean);
    let text = format!(
        "{percent} %, {} connections, asked again after {} ms",
        report.connections,
        back.as_millis()
    );
    let met = percent >= 90 && back <= Duration::from_secs(5);
    table.row("M6", DESCRIPTORS, "no end, ≥ 90 %, back in 5 s", text, met);
    // The same with connections to the network listeners: validators must keep their connections.
    std::thread::sleep(Duration::from_secs(5));
    let how = How {
        targets: &peers(&[0, 1]),
        ..how
    };
    let (percent, report, back) = crowd(&arena, Attack::P2pSilent, &how, &VALIDATORS, clean);
    let text = format!(
        "{percent} %, {} connections, longest stay {} ms, {} honest strangers admitted, {} not, back after {} ms",
        report.connections,
        report.longest_ms,
        report.admitted,
        report.refused,
        back.as_millis()
    );
    let met = percent >= 90 && back <= Duration::from_secs(5) && report.connections > 400;
    let what = format!("{DESCRIPTORS}: network listeners");
    table.row("M6", &what, "no end, ≥ 90 %, back in 5 s", text, met);
}

/// Attacks two nodes: the block rate of the watched ones in percent of the clean one, the report, and the time until
/// an attacked node is at the head.
fn crowd(
    arena: &Arena,
    attack: Attack,
    how: &How<'_>,
    watched: &[usize],
    clean: u64,
) -> (u64, Report, Duration) {
    let mut attacker = arena.attacker(attack, how);
    attacker.go();
    let during = arena.millirate(watched, how.time);
    let report = attacker.report();
    arena.cluster.assert_alive();
    let back = arena.cluster.wait_at_head(0, &VALIDATORS, HEALS_WITHIN);
    (during.saturating_mul(100) / clean.max(1), report, back)
}

/// B2: the same key on two unmodified nodes. The others continue; the twins may stop themselves.
pub fn twins(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = wrapped(folder.path(), "", "--validator");
    let mut arena = Arena::new(&[]);
    let homes = arena.cluster.homes.paths.clone();
    let node_key = std::fs::read(homes[FOLLOWER].join("node.key")).expect("the follower's own key");
    // Everything of the validator's home, before it ever ran, except the name on the network.
    copy(&homes[TRAITOR].join("."), &homes[FOLLOWER]);
    std::fs::write(homes[FOLLOWER].join("node.key"), node_key).expect("write the key back");
    arena.cluster.replace_program(FOLLOWER, program, Vec::new());
    let honest = [0, 1, 2];
    arena.start(&honest);
    std::thread::sleep(Duration::from_secs(5));
    let clean = arena.millirate(&honest, CLEAN);
    arena.cluster.start(&[TRAITOR, FOLLOWER]);
    let from = arena.cluster.top(&honest);
    let rate = arena.millirate(&honest, Duration::from_secs(30));
    let to = arena.cluster.top(&honest);
    let hash = |node| Some(arena.cluster.header(node, from)?["hash"].clone());
    let hashes = honest.map(hash);
    let agree = hashes.iter().all(|hash| hash.is_some() && *hash == hashes[0]);
    let (later, longest) = rounds(&arena, from, to);
    let percent = rate.saturating_mul(100) / clean.max(1);
    let running = |node: usize| arena.cluster.head(node).is_ok();
    let ends = [TRAITOR, FOLLOWER].map(|twin| arena.cluster.exit_code(twin));
    let text = format!(
        "{percent} % of three, {later} of {} in later rounds, longest gap {longest} ms; twins ended with {ends:?}",
        to.saturating_sub(from)
    );
    let mut ended = ends.iter().flatten();
    // One that ends leaves the other alone with the key: so one or both must, and for no other reason.
    let stopped = ends.iter().any(Option::is_some) && ended.all(|code| *code == SAFETY_HALT);
    let met = percent >= 60 && agree && stopped && honest.iter().all(|node| running(*node));
    let target = format!("≥ 60 %, no fork, honest nodes stay, a twin ends with {SAFETY_HALT}");
    table.row("B2", TWINS, &target, text, met);
}

/// Path of the library of Debian's package faketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Milliseconds that the newest block may be ahead of this machine's clock.
const AHEAD_MS_MAX: u64 = 500;

/// Runs validator 3 with the library of faketime, and these variables for it, from its next start on.
fn fake_clock(arena: &mut Arena, variables: &[(&str, &str)]) {
    let always = [("LD_PRELOAD", FAKETIME), ("DONT_FAKE_MONOTONIC", "1")];
    let all = always.iter().chain(variables);
    let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    arena.cluster.replace_program(3, binary(), all.collect());
}

/// N7: the clock of one validator is wrong by an hour, or by half a second.
pub fn clock(table: &mut Table) {
    assert!(
        Path::new(FAKETIME).is_file(),
        "the Debian package faketime is missing"
    );
    for (shift, percent_min) in [("+0.5s", 90), ("-0.5s", 90), ("+3600s", 60), ("-3600s", 60)] {
        let mut arena = Arena::new(&[]);
        let honest = [0, 1, 2];
        arena.start(&honest);
        // Three of four, the fourth missing: the cost of its absence is part of the clean rate.
        std::thread::sleep(Duration::from_secs(3));
        let clean = arena.millirate(&honest, CLEAN);
        fake_clock(&mut arena, &[("FAKETIME", shift)]);
        arena.cluster.start(&[3]);
        let shown = under_clock(&arena, &honest, clean, Duration::from_secs(20));
        let target = format!("≥ {percent_min} %, ≤ {AHEAD_MS_MAX} ms ahead");
        let what = format!("{CLOCK}: one at {shift}");
        let met = shown.percent >= percent_min && shown.ahead_ms <= AHEAD_MS_MAX;
        table.row("N7", &what, &target, shown.text("three"), met);
    }
    clock_steps(table);
}

/// N7: the clock of one validator jumps by an hour while it runs, and back.
fn clock_steps(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("clock");
    let set = |shift: &str| std::fs::write(&file, shift).expect("write the clock's file");
    set("+0");
    let mut arena = Arena::new(&[]);
    let all = [0, 1, 2, 3];
    let path = file.display().to_string();
    fake_clock(
        &mut arena,
        &[("FAKETIME_TIMESTAMP_FILE", &path), ("FAKETIME_NO_CACHE", "1")],
    );
    arena.start(&all);
    std::thread::sleep(Duration::from_secs(3));
    let honest = [0, 1, 2];
    let clean = arena.millirate(&honest, CLEAN);
    for shift in ["+3600", "-3600", "+0"] {
        set(shift);
        let shown = under_clock(&arena, &honest, clean, Duration::from_secs(15));
        // From four running validators to three: the cost of the absence is not the clock's.
        let what = format!("{CLOCK}: a step to {shift} s in mid-run");
        let met = shown.percent >= 50 && shown.ahead_ms <= AHEAD_MS_MAX && shown.blocks > 0;
        table.row("N7", &what, "≥ 50 %, ≤ 500 ms ahead", shown.text("four"), met);
    }
}

/// Blocks of a network in which one clock is wrong.
struct UnderClock {
    /// Block rate, in percent of the clean one.
    percent: u64,
    blocks: u64,
    /// Blocks that took more than one round, and the longest time between two.
    rounds: (u64, u64),
    ahead_ms: u64,
}

fn under_clock(arena: &Arena, honest: &[usize], clean: u64, time: Duration) -> UnderClock {
    let from = arena.cluster.top(honest);
    let rate = arena.millirate(honest, time);
    arena.cluster.assert_alive();
    let to = arena.cluster.top(honest);
    UnderClock {
        percent: rate.saturating_mul(100) / clean.max(1),
        blocks: to.saturating_sub(from),
        ahead_ms: ahead_ms(arena, to),
        rounds: rounds(arena, from, to),
    }
}

impl UnderClock {
    fn text(&self, of: &str) -> String {
        let Self {
            percent,
            blocks,
            rounds: (later, longest),
            ahead_ms,
        } = self;
        format!(
            "{percent} % of {of}, {later} of {blocks} in later rounds, longest gap {longest} ms, newest block {ahead_ms} ms ahead"
        )
    }
}

/// Lead of a block's time over the clock of this machine.
fn ahead_ms(arena: &Arena, height: u64) -> u64 {
    let header = arena.cluster.header(0, height);
    let time = header.and_then(|header| number(&header["timestampMs"]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    time.unwrap_or(0)
        .saturating_sub(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
