//! The attacks with their parameters and targets.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vibecoin_byzantine::{Attack, MARK_PORT, Report};

use super::arena::{ADMIN_PORT, Arena, FOLLOWER, How, METRICS_PORT, TRAITOR, interfaces, peers};
use crate::scenarios::HEALS_WITHIN;
use crate::table::{Table, Verdict};

/// Duration of the clean rate's measurement, and of the rate afterwards.
const CLEAN: Duration = Duration::from_secs(12);
/// Time in which a network must recover.
const RECOVERS: Duration = Duration::from_secs(5);
/// Percent of the clean rate at which it counts as recovered: the resolution of twelve seconds.
const RECOVERED_PERCENT: u64 = 95;
/// Milliseconds within which an honest client is answered, at the 99th percentile.
const HONEST_MS_MAX: u64 = 100;
/// Time limit of a health check.
const HEALTH: Duration = Duration::from_secs(2);
/// Interval of the honest client's calls.
const HONEST_BEAT: Duration = Duration::from_millis(50);
/// Milliseconds for which a socket that sends nothing useful may be kept.
const USELESS_MS_MAX: u64 = 12_000;
/// The same on the network listener: 4 s for the handshakes, 4 s from there for the hello, and some for a
/// busy node.
const SILENT_PEER_MS_MAX: u64 = 6_000;
/// Minimum percentage of offenders that are dropped. Under load a node resets streams before it has read
/// anything, and it cannot punish an unread message: one in thousands. Of fewer than a hundred, all must be.
const DROPPED_PERCENT: u64 = 99;
/// Entries of a node's address book that one attacker's addresses may have.
const BOOK_SHARE_MAX: usize = 128;

/// One attack with its parameters and targets.
pub struct Case {
    /// Name on the command line.
    pub name: &'static str,
    id: &'static str,
    attack: Attack,
    strangers: usize,
    spread: bool,
    seconds: u64,
    on: On,
    key: Key,
    rate_percent: u64,
    memory_mib: u64,
    must_drop: bool,
    /// Blocks that the chain must have before, at [`FAST_MS`]; 0: at the usual interval, and as few as there
    /// are.
    blocks: u64,
    /// Kind of answer that proves that the attack reached its target; empty: none is needed.
    answer: &'static str,
}

/// Milliseconds between two blocks of a chain that must become long.
const FAST_MS: u64 = 100;

/// Targets of an attack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// The network listeners of all nodes that run.
    All,
    /// That of one node.
    One,
    /// The RPC listener of one node.
    Rpc,
    /// Its RPC, admin and metrics listeners.
    Listeners,
}

/// The key that the attacker has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Only keys that it generates.
    None,
    /// That of the fourth validator, which does not run.
    Traitor,
    /// That of a funded account.
    Account,
}

const fn peer(name: &'static str, id: &'static str, attack: Attack, strangers: usize) -> Case {
    Case {
        name,
        id,
        attack,
        strangers,
        spread: true,
        seconds: 15,
        on: On::All,
        key: Key::None,
        rate_percent: 90,
        memory_mib: 64,
        must_drop: false,
        blocks: 0,
        answer: "",
    }
}

/// An attack on the RPC listener of one node.
const fn rpc(name: &'static str, id: &'static str, attack: Attack, strangers: usize) -> Case {
    peer(name, id, attack, strangers).on(On::Rpc)
}

impl Case {
    const fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    const fn key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    const fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    const fn memory_mib(mut self, mib: u64) -> Self {
        self.memory_mib = mib;
        self
    }

    const fn rate_percent(mut self, percent: u64) -> Self {
        self.rate_percent = percent;
        self
    }

    const fn blocks(mut self, blocks: u64) -> Self {
        self.blocks = blocks;
        self
    }

    const fn answer(mut self, answer: &'static str) -> Self {
        self.answer = answer;
        self
    }

    const fn must_drop(mut self) -> Self {
        self.must_drop = true;
        self
    }

    const fn one_address(mut self) -> Self {
        self.spread = false;
        self
    }
}

/// All attacks.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    peer("blocks", "1", Attack::Blocks, 1).memory_mib(128).must_drop(),
    peer("blocks-4", "1", Attack::Blocks, 4).memory_mib(128).must_drop(),
    peer("bodies", "1", Attack::Bodies, 2).memory_mib(128).must_drop(),
    peer("parts", "2", Attack::Parts, 1).key(Key::Traitor).must_drop(),
    peer("status", "6", Attack::Status, 16).one_address().must_drop(),
    peer("status-16", "6", Attack::Status, 16).must_drop(),
    peer("slow-frames", "7", Attack::SlowFrames, 40).on(On::One).memory_mib(128).seconds(20).must_drop(),
    peer("copies", "11", Attack::Copies, 1).must_drop(),
    peer("book", "15", Attack::Book, 8).seconds(40),
    peer("frames", "B6", Attack::Frames, 4).must_drop(),
    peer("grafts", "B6", Attack::Grafts, 4).must_drop(),
    peer("unwanted", "53", Attack::Unwanted, 1),
    peer("streams", "B6", Attack::Streams, 4).must_drop(),
    peer("p2p-silent", "4", Attack::P2pSilent, 2_000).on(On::One).seconds(30),
    peer("stream-churn", "37", Attack::StreamChurn, 4).must_drop(),
    peer("fetch", "37", Attack::Fetch, 8).blocks(600),
    peer("votes", "B7", Attack::Votes, 1).key(Key::Traitor),
    peer("ghosts", "41", Attack::Ghosts, 3).must_drop(),
    peer("certificates", "41", Attack::Certificates, 2).must_drop(),
    peer("certificates-valid", "41", Attack::CertificatesValid, 1).key(Key::Traitor),
    peer("evidence", "41", Attack::Evidence, 2).key(Key::Traitor).must_drop(),
    peer("transactions", "B7", Attack::Transactions, 2).must_drop(),
    peer("unfunded", "M2", Attack::Unfunded, 2),
    rpc("rpc-silent", "4", Attack::RpcSilent, 1_000).on(On::Listeners).one_address().seconds(30),
    rpc("rpc-slow", "4", Attack::RpcSlow, 1_000).on(On::Listeners).seconds(30),
    rpc("rpc-prefaces", "4", Attack::RpcPrefaces, 200).on(On::Listeners).seconds(30),
    rpc("rpc-batches", "M4", Attack::RpcBatches, 1_000),
    rpc("rpc-unread", "M5", Attack::RpcUnread, 500).memory_mib(100).seconds(20),
    rpc("rpc-flood", "B7", Attack::RpcFlood, 16).rate_percent(80),
    rpc("rpc-unmatched", "9", Attack::RpcUnmatched, 8).blocks(600).seconds(20),
    rpc("rpc-evidence", "41", Attack::RpcEvidence, 64).key(Key::Traitor).answer("result"),
    rpc("rpc-poh", "41", Attack::RpcPoh, 200).blocks(120).answer("result"),
    rpc("rpc-waits", "41", Attack::RpcWaits, 256).key(Key::Account).answer("result"),
    rpc("rpc-lists", "41", Attack::RpcLists, 64).answer("too_expensive"),
];

/// Settings of a node for the attacks on RPC: the other listeners, and the default limits.
const RPC_SETTINGS: &[(&str, &str)] = &[
    ("METRICS__LISTEN", "ADDRESS:9464"),
    ("ADMIN__LISTEN", "ADDRESS:9465"),
    ("RPC__COST_PER_S_PER_IP", "5000"),
];

/// Measurements of an honest client.
#[derive(Default)]
struct Honest {
    millis: Vec<u64>,
    failed: u64,
    /// The same of the metrics page, which has a separate listener, if there is one.
    health_millis: Vec<u64>,
    health_failed: u64,
}

fn p99(millis: &mut [u64]) -> u64 {
    millis.sort_unstable();
    let at = millis.len().saturating_sub(1) * 99 / 100;
    millis.get(at).copied().unwrap_or(0)
}

impl Honest {
    fn p99(&mut self) -> u64 {
        p99(&mut self.millis)
    }

    /// Adds the health checks to a row; returns true if they were answered in time.
    fn row_of_health(&mut self, target: &mut String, text: &mut String) -> bool {
        let worst = p99(&mut self.health_millis);
        *target += &format!(", health p99 ≤ {HONEST_MS_MAX} ms");
        *text += &format!(
            ", health p99 {worst} ms, {} of {} failed",
            self.health_failed,
            self.health_millis.len()
        );
        !self.health_millis.is_empty() && worst <= HONEST_MS_MAX && self.health_failed == 0
    }
}

/// Runs one case on a separate network.
pub fn run(name: &str, table: &mut Table) {
    let Some(case) = CASES.iter().find(|case| case.name == name) else {
        return;
    };
    let rpc = matches!(case.on, On::Rpc | On::Listeners);
    let settings: &[(&str, &str)] = match (rpc, case.attack) {
        (true, _) => RPC_SETTINGS,
        (_, Attack::Book) => &[("P2P__EXCHANGE", "true")],
        _ => &[],
    };
    let arena = if case.blocks > 0 {
        Arena::paced(settings, FAST_MS)
    } else {
        Arena::new(settings)
    };
    arena.start(&[0, 1, 2, 3, FOLLOWER]);
    arena
        .cluster
        .wait_all_reach(&[0, 1, 2, 3], case.blocks, HEALS_WITHIN.saturating_mul(2));
    let running: &[usize] = match case.key {
        Key::Traitor => &[0, 1, 2, FOLLOWER],
        Key::None | Key::Account => &[0, 1, 2, 3, FOLLOWER],
    };
    let validators: Vec<usize> = running.iter().copied().filter(|node| *node != FOLLOWER).collect();
    // Nodes whose rate is measured: under an attack on RPC, those that still answer.
    let watched: &[usize] = match case.on {
        On::Rpc | On::Listeners => validators.get(1..).unwrap_or_default(),
        On::All | On::One => running,
    };
    if case.key == Key::Traitor {
        arena.cluster.kill(TRAITOR);
        // Its turns are passed over after a few.
        std::thread::sleep(RECOVERS);
    }
    if case.attack == Attack::Book {
        count_dials(&arena);
    }
    let clean = arena.millirate(watched, CLEAN);
    let targets = match case.on {
        On::All => peers(running),
        On::One => peers(&[0]),
        On::Rpc => interfaces(&[0]),
        On::Listeners => {
            let mut listeners = interfaces(&[0]);
            listeners.extend([(0, METRICS_PORT), (0, ADMIN_PORT)]);
            listeners
        }
    };
    let time = Duration::from_secs(case.seconds);
    let how = How {
        targets: &targets,
        strangers: case.strangers,
        spread: case.spread,
        key: match case.key {
            Key::None => None,
            Key::Traitor => Some(arena.traitor_key()),
            Key::Account => arena.cluster.homes.accounts.first().cloned(),
        },
        time,
    };
    let ended = AtomicBool::new(false);
    let ((during, report, mut honest, after), grown) = arena.growth(|| {
        std::thread::scope(|scope| {
            let mut attacker = arena.attacker(case.attack, &how);
            attacker.go();
            let honest = scope.spawn(|| honest_client(&arena, &ended));
            let health = rpc.then(|| scope.spawn(|| health_client(&arena, &ended)));
            let during = arena.millirate(watched, time.saturating_sub(Duration::from_secs(1)));
            let report = attacker.report();
            ended.store(true, Ordering::Relaxed);
            let mut honest = honest.join().expect("an honest client");
            if let Some(health) = health {
                (honest.health_millis, honest.health_failed) = health.join().expect("health checks");
            }
            std::thread::sleep(RECOVERS);
            (during, report, honest, arena.millirate(watched, CLEAN))
        })
    });
    arena.cluster.assert_alive();
    let percent = |rate: u64| rate.saturating_mul(100) / clean.max(1);
    let mut met = clean > 0
        && percent(during) >= case.rate_percent
        && percent(after) >= RECOVERED_PERCENT
        && grown <= case.memory_mib * 1024;
    let mut target = format!(
        "≥ {} %, then 100 %, ≤ +{} MiB",
        case.rate_percent, case.memory_mib
    );
    let mut text = format!(
        "{} % of {}.{:02}/s, then {} %, +{} MiB",
        percent(during),
        clean / 1000,
        clean % 1000 / 10,
        percent(after),
        grown / 1024
    );
    if rpc {
        let p99 = honest.p99();
        target += &format!(", p99 ≤ {HONEST_MS_MAX} ms");
        text += &format!(
            ", honest p99 {p99} ms, {} of {} failed",
            honest.failed,
            honest.millis.len()
        );
        met &= p99 <= HONEST_MS_MAX && honest.failed == 0;
        met &= honest.row_of_health(&mut target, &mut text);
        if case.on == On::Listeners {
            target += &format!(", closed in {} s", USELESS_MS_MAX / 1000);
            met &= report.longest_ms <= USELESS_MS_MAX;
        }
    }
    if case.attack == Attack::P2pSilent {
        target += &format!(
            ", closed in {} s, each honest peer admitted in 5 s",
            SILENT_PEER_MS_MAX / 1000
        );
        met &= report.longest_ms <= SILENT_PEER_MS_MAX && report.offences > 0 && report.refused == 0;
    }
    if case.must_drop {
        target += ", dropped in 5 s";
        met &= report.offences > 0 && report.dropped * 100 >= report.offences * DROPPED_PERCENT;
    }
    text += &shown(&report);
    // An attack that no node admitted proves nothing.
    if !rpc && report.admitted == 0 {
        text += " VOID";
        met = false;
    }
    if !case.answer.is_empty() && !report.answers.contains_key(case.answer) {
        text += &format!(" VOID: no answer was {:?}", case.answer);
        met = false;
    }
    table.row(case.id, case.name, &target, text, met);
    if case.attack == Attack::Book {
        book(&arena, table);
    }
}

fn shown(report: &Report) -> String {
    let mut text = format!(
        "; dropped {} of {} (longest stay {} ms), {} connections, {} admitted, {} refused, {} MiB, {} messages",
        report.dropped,
        report.offences,
        report.longest_ms,
        report.connections,
        report.admitted,
        report.refused,
        report.bytes >> 20,
        report.messages
    );
    if report.fetched_blocks > 0 {
        text += &format!(
            ", {} blocks of {} KiB fetched",
            report.fetched_blocks,
            report.fetched_bytes >> 10
        );
    }
    if !report.answers.is_empty() {
        text += &format!(", answers {:?}", report.answers);
    }
    if !report.kept.is_empty() {
        text += &format!(", kept after {:?}", report.kept);
    }
    if report.refused > 0 {
        text += &format!(", refused last with {:?}", report.reason);
    }
    text
}

/// Calls one node until the end, from a separate address.
fn honest_client(arena: &Arena, ended: &AtomicBool) -> Honest {
    let rpc = arena.cluster.rpc(0);
    let mut honest = Honest::default();
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if rpc.call("chain_getHead", &json!({})).is_err() {
            honest.failed += 1;
        }
        honest
            .millis
            .push(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        std::thread::sleep(HONEST_BEAT.saturating_sub(begun.elapsed()));
    }
    honest
}

/// Requests one node's metrics page until the end: milliseconds of each answer, and the number of those that
/// failed.
fn health_client(arena: &Arena, ended: &AtomicBool) -> (Vec<u64>, u64) {
    let address = format!("{}:{METRICS_PORT}", arena.cluster.net.address(0));
    let address: SocketAddr = address.parse().expect("an address");
    let (mut millis, mut failed) = (Vec::new(), 0);
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        failed += u64::from(!shows_metrics(address));
        millis.push(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        std::thread::sleep(HONEST_BEAT.saturating_sub(begun.elapsed()));
    }
    (millis, failed)
}

fn shows_metrics(address: SocketAddr) -> bool {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, HEALTH)?;
        stream.set_read_timeout(Some(HEALTH))?;
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    ask().is_ok_and(|line| line.starts_with("HTTP/1.1 200 "))
}

/// Packets that reveal dials to addresses from an unauthenticated peer: to loopback, and to a name
/// server.
fn count_dials(arena: &Arena) {
    for node in [0, 1, 2, 3, FOLLOWER] {
        let counted = arena.cluster.net.lead_astray(node).and_then(|()| {
            let net = &arena.cluster.net;
            net.count_leaving(node, &format!("-p tcp --syn --dport {MARK_PORT} -d 127.0.0.0/8"))?;
            net.count_leaving(node, &format!("-p tcp --syn --dport {MARK_PORT}"))?;
            net.count_leaving(node, "-p udp --dport 53")
        });
        counted.unwrap();
    }
}

/// Contents of the address books, and the number of dials to forbidden addresses.
fn book(arena: &Arena, table: &mut Table) {
    let (mut loopback, mut dials, mut names, mut worst) = (0, 0, 0, (0, 0));
    for node in [0, 1, 2, 3, FOLLOWER] {
        let counts = arena.cluster.net.counted(node).unwrap_or_default();
        let count = |at: usize| counts.get(at).copied().unwrap_or(0);
        loopback += count(0);
        dials += count(1);
        names += count(2);
        // The address book is written at the end.
        arena.cluster.stop(node);
        let text = std::fs::read_to_string(arena.cluster.homes.paths[node].join("peers.json"));
        let entries: Vec<Value> = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
        let mark = format!("/{MARK_PORT}/");
        let mut marked: Vec<&str> = entries
            .iter()
            .filter_map(Value::as_str)
            .filter(|entry| entry.contains(&mark))
            .filter_map(|entry| entry.rsplit('/').next())
            .collect();
        marked.sort_unstable();
        marked.dedup();
        worst = worst.max((marked.len(), entries.len()));
    }
    let text = format!("{} peers of {} addresses in the worst book", worst.0, worst.1);
    let target = format!("≤ {BOOK_SHARE_MAX} of one attacker");
    table.row("15", "book: entries", &target, text, worst.0 <= BOOK_SHARE_MAX);
    let text = format!("{loopback} to loopback, {names} to a name server");
    table.row(
        "15",
        "book: dials on a stranger's word",
        "0",
        text,
        loopback + names == 0,
    );
    table.row(
        "15",
        "book: dials to made-up addresses",
        "",
        dials.to_string(),
        Verdict::Figure,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_a_case_or_a_suite_and_every_name_is_another() {
        let mut names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
        for attack in Attack::ALL {
            let has_case = CASES.iter().any(|case| case.attack == *attack);
            assert!(has_case || attack.name().starts_with("liar-"), "{attack:?}");
        }
    }

    #[test]
    fn the_honest_client_is_judged_by_its_slowest_calls() {
        let mut honest = Honest {
            millis: (1..=200).rev().collect(),
            ..Honest::default()
        };
        assert_eq!(honest.p99(), 198);
        assert_eq!(Honest::default().p99(), 0);
    }
}
