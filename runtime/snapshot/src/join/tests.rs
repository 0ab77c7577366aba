//! The planner under simulated time, with sources of every kind.

#![allow(clippy::arithmetic_side_effects)]

use super::*;

mod late;

const MS: u64 = 1_000;
const S: u64 = 1_000 * MS;
const CHUNK: u32 = 500_000;
const A: SourceId = SourceId(1);
const B: SourceId = SourceId(2);
const C: SourceId = SourceId(3);

/// Behaviour of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Delivers this many bytes per second.
    Rate(u64),
    /// Delivers nothing.
    Silent,
    /// Delivers this many bytes per second up to half of its third chunk, then nothing.
    Stalls(u64),
    /// Delivers wrong bytes, at once.
    Lies,
    /// Fails at every request.
    Fails,
    /// Has none of the chunks.
    Lacks,
}

struct Peer {
    kind: Kind,
    /// Requests in order, and the bytes delivered of the first.
    queue: Vec<u32>,
    sent: u64,
    done: u32,
}

/// A download in simulated time, in steps of ten milliseconds.
struct Sim {
    planner: JoinPlanner,
    now: u64,
    peers: BTreeMap<SourceId, Peer>,
    /// Number of requests for each chunk.
    asked: BTreeMap<u32, u32>,
    left: Vec<(u64, Left)>,
    most_out: u64,
}

const STEP: u64 = 10 * MS;

impl Sim {
    fn new(config: JoinConfig, chunks: u32, kinds: &[(SourceId, Kind)]) -> Self {
        let missing = (0..chunks).map(|chunk| (chunk, CHUNK));
        let mut planner = JoinPlanner::new(config, missing, 0, Micros(0));
        let mut peers = BTreeMap::new();
        for (id, kind) in kinds {
            planner.connected(*id);
            let (queue, sent, done) = (Vec::new(), 0, 0);
            peers.insert(
                *id,
                Peer {
                    kind: *kind,
                    queue,
                    sent,
                    done,
                },
            );
        }
        Self {
            planner,
            now: 0,
            peers,
            asked: BTreeMap::new(),
            left: Vec::new(),
            most_out: 0,
        }
    }

    fn step(&mut self) {
        for (id, peer) in &mut self.peers {
            let now = Micros(self.now);
            match peer.kind {
                Kind::Silent => {}
                Kind::Fails if !peer.queue.is_empty() => self.planner.failed(*id, None, now),
                Kind::Lacks if !peer.queue.is_empty() => {
                    self.planner.failed(*id, peer.queue.first().copied(), now);
                }
                Kind::Lies if !peer.queue.is_empty() => {
                    let chunk = peer.queue.remove(0);
                    if self.planner.delivered(*id, chunk, now) {
                        assert_eq!(self.planner.refused(chunk, now), Some(*id));
                    }
                }
                Kind::Fails | Kind::Lacks | Kind::Lies => {}
                Kind::Rate(rate) => send(&mut self.planner, *id, peer, rate, now),
                Kind::Stalls(rate) => {
                    if peer.done < 2 || peer.sent < u64::from(CHUNK) / 2 {
                        send(&mut self.planner, *id, peer, rate, now);
                    }
                }
            }
        }
        let asks = self.planner.plan(Micros(self.now));
        for left in self.planner.left() {
            self.left.push((self.now, left));
            let peer = self.peers.get_mut(&left.source).unwrap();
            (peer.queue, peer.sent) = (Vec::new(), 0);
        }
        for Ask { source, chunk } in asks {
            *self.asked.entry(chunk).or_default() += 1;
            self.peers.get_mut(&source).unwrap().queue.push(chunk);
        }
        self.most_out = self.most_out.max(self.planner.bytes_out);
        self.now += STEP;
    }

    /// Runs to the end, and returns the time that it took.
    fn run(&mut self, micros_max: u64) -> u64 {
        while !self.planner.is_done() {
            assert!(
                self.now < micros_max,
                "not done after {} ms: {:?}",
                self.now / MS,
                self.left
            );
            self.step();
        }
        assert_eq!(self.planner.bytes_out, 0);
        assert_eq!(self.planner.bytes_done, self.planner.bytes_total);
        self.now
    }

    fn reasons(&self, id: SourceId) -> Vec<LeaveReason> {
        let of = self.left.iter().filter(|(_, left)| left.source == id);
        of.map(|(_, left)| left.reason).collect()
    }

    /// Number of requests beyond one for each chunk.
    fn repeated(&self) -> u32 {
        self.asked.values().map(|count| count - 1).sum()
    }
}

fn send(planner: &mut JoinPlanner, id: SourceId, peer: &mut Peer, rate: u64, now: Micros) {
    // A source that delivers less than a byte in a step delivers one now and then.
    let mut bytes = (now.0 + STEP) * rate / S - now.0 * rate / S;
    while let Some(chunk) = peer.queue.first().copied().filter(|_| bytes > 0) {
        let sent = bytes.min(u64::from(CHUNK) - peer.sent);
        peer.sent += sent;
        bytes -= sent;
        if peer.sent < u64::from(CHUNK) {
            planner.progress(id, chunk, u32::try_from(peer.sent).unwrap(), now);
            return;
        }
        peer.queue.remove(0);
        peer.sent = 0;
        peer.done += 1;
        if planner.delivered(id, chunk, now) {
            planner.verified(chunk, now);
        }
    }
}

#[test]
fn every_chunk_is_asked_for_once_and_the_work_is_shared_by_speed() {
    let kinds = [
        (A, Kind::Rate(20_000_000)),
        (B, Kind::Rate(10_000_000)),
        (C, Kind::Rate(10_000_000)),
    ];
    let mut sim = Sim::new(JoinConfig::default(), 400, &kinds);
    let took = sim.run(10 * S);
    assert_eq!(sim.repeated(), 0);
    assert_eq!(sim.left, []);
    // 200 MB at 40 MB/s, and the last chunks of the slower ones.
    assert!(took < 5 * S + 300 * MS, "{} ms", took / MS);
    let done: Vec<_> = sim.peers.values().map(|peer| peer.done).collect();
    assert!(done[0] > 190 && done[1] > 95 && done[2] > 95, "{done:?}");
}

#[test]
fn one_source_is_enough() {
    let mut sim = Sim::new(JoinConfig::default(), 20, &[(A, Kind::Rate(1_000_000))]);
    assert!(sim.run(11 * S) >= 10 * S);
    assert_eq!((sim.repeated(), sim.left.len()), (0, 0));
}

#[test]
fn a_silent_source_is_left_after_two_seconds_and_named() {
    let mut sim = Sim::new(
        JoinConfig::default(),
        100,
        &[(A, Kind::Silent), (B, Kind::Rate(10_000_000))],
    );
    let took = sim.run(8 * S);
    let (at, left) = sim.left[0];
    assert_eq!(
        left,
        Left {
            source: A,
            reason: LeaveReason::Silent { micros: 2 * S }
        }
    );
    assert_eq!(at, 2 * S);
    assert_eq!(left.reason.to_string(), "no byte for 2000 ms");
    assert!(took <= 6 * S, "{} ms", took / MS);
    // Four at first, and one after each pause.
    assert!(sim.repeated() <= 6, "{}", sim.repeated());
}

#[test]
fn a_source_that_stalls_in_the_middle_of_a_chunk_is_left() {
    let kinds = [(A, Kind::Stalls(10_000_000)), (B, Kind::Rate(10_000_000))];
    let mut sim = Sim::new(JoinConfig::default(), 100, &kinds);
    sim.run(8 * S);
    // Whichever is noticed first: no byte for two seconds, or no bytes in two busy seconds.
    assert!(matches!(
        sim.reasons(A)[0],
        LeaveReason::Silent { .. } | LeaveReason::Slow { .. }
    ));
    assert_eq!(sim.peers[&A].done, 2);
    assert!(sim.left[0].0 < 2_500 * MS);
    assert_eq!(sim.reasons(B), []);
}

#[test]
fn a_source_of_one_byte_per_second_is_left_and_the_end_does_not_wait_for_it() {
    let kinds = [
        (A, Kind::Rate(1)),
        (B, Kind::Rate(10_000_000)),
        (C, Kind::Rate(9_000_000)),
    ];
    for chunks in [10, 200] {
        let mut sim = Sim::new(JoinConfig::default(), chunks, &kinds);
        let took = sim.run(8 * S);
        let reasons = sim.reasons(A);
        assert!(
            matches!(
                reasons[..],
                [LeaveReason::Slow { .. } | LeaveReason::Silent { .. }]
            ),
            "{chunks}: {reasons:?}"
        );
        let alone = u64::from(chunks) * u64::from(CHUNK) * S / 19_000_000;
        assert!(took < alone.max(2 * S) + S, "{chunks}: {} ms", took / MS);
        assert_eq!(sim.repeated(), 4, "only what the slow one was asked for");
    }
}

#[test]
fn a_source_is_slow_beside_the_median_and_not_beside_the_fastest() {
    // One folder and two peers: the peers stay.
    let kinds = [
        (A, Kind::Rate(500_000_000)),
        (B, Kind::Rate(5_000_000)),
        (C, Kind::Rate(5_000_000)),
    ];
    let mut sim = Sim::new(JoinConfig::default(), 3_000, &kinds);
    sim.run(20 * S);
    assert_eq!(sim.left, []);
    // Two fast ones and a slow one: it goes.
    let kinds = [
        (A, Kind::Rate(50_000_000)),
        (B, Kind::Rate(50_000_000)),
        (C, Kind::Rate(5_000_000)),
    ];
    let mut sim = Sim::new(JoinConfig::default(), 1_000, &kinds);
    sim.run(20 * S);
    assert!(
        matches!(sim.reasons(C)[..], [LeaveReason::Slow { .. }]),
        "{:?}",
        sim.left
    );
}

#[test]
fn a_slow_source_is_better_than_none() {
    let kinds = [
        (A, Kind::Rate(1_000_000)),
        (B, Kind::Rate(20_000_000)),
        (C, Kind::Rate(20_000_000)),
    ];
    let mut sim = Sim::new(JoinConfig::default(), 400, &kinds);
    while sim.left.is_empty() {
        sim.step();
    }
    assert!(matches!(sim.reasons(A)[..], [LeaveReason::Slow { .. }]));
    assert_eq!(sim.planner.status(Micros(sim.now)).sources, 2);
    sim.planner.disconnected(B);
    sim.planner.disconnected(C);
    sim.peers.remove(&B);
    sim.peers.remove(&C);
    assert_eq!(sim.planner.status(Micros(sim.now)).sources, 1);
    sim.run(300 * S);
    assert!(sim.peers[&A].done > 100);
}

#[test]
fn a_liar_is_left_at_once_and_never_asked_again() {
    let kinds = [(A, Kind::Lies), (B, Kind::Rate(10_000_000))];
    let mut sim = Sim::new(JoinConfig::default(), 50, &kinds);
    sim.run(5 * S);
    assert_eq!(sim.reasons(A), [LeaveReason::Lied { chunk: 0 }]);
    sim.planner.disconnected(A);
    sim.planner.connected(A);
    let status = sim.planner.status(Micros(sim.now));
    assert_eq!(
        (status.sources, status.sources_left),
        (1, 1),
        "a new connection is no new source"
    );
    let mut alone = Sim::new(JoinConfig::default(), 5, &[(A, Kind::Lies)]);
    for _ in 0..10_000 {
        alone.step();
    }
    assert_eq!(alone.asked.values().sum::<u32>(), 4);
    assert_eq!(
        alone.planner.next_deadline(),
        None,
        "nothing will happen by itself"
    );
}

#[test]
fn a_source_that_fails_or_lacks_a_chunk_is_asked_again_after_growing_pauses() {
    for (kind, reason) in [
        (Kind::Fails, LeaveReason::Failed),
        (Kind::Lacks, LeaveReason::Lacks { chunk: 0 }),
    ] {
        let mut sim = Sim::new(JoinConfig::default(), 1, &[(A, kind)]);
        while sim.now < 70 * S {
            sim.step();
        }
        let times: Vec<_> = sim.left.iter().map(|(at, _)| at / S).collect();
        assert_eq!(times, [0, 1, 3, 7, 15, 31, 63]);
        assert!(sim.left.iter().all(|(_, left)| left.reason == reason));
    }
}

#[test]
fn a_source_that_recovers_is_used_again() {
    let mut sim = Sim::new(JoinConfig::default(), 40, &[(A, Kind::Silent)]);
    while sim.left.is_empty() {
        sim.step();
    }
    sim.peers.get_mut(&A).unwrap().kind = Kind::Rate(10_000_000);
    let first = sim.left[0].0;
    while sim.peers[&A].queue.is_empty() {
        sim.step();
    }
    assert_eq!(sim.now - STEP, first + S, "after its pause");
    assert_eq!(sim.peers[&A].queue.len(), 1, "one chunk at first");
    sim.run(10 * S);
    assert_eq!(sim.left.len(), 1);
}

#[test]
fn a_source_that_never_ends_a_chunk_is_left() {
    // Above the rate of silence, and with nothing to compare it with.
    let mut sim = Sim::new(JoinConfig::default(), 3, &[(A, Kind::Rate(1_000))]);
    while sim.left.is_empty() {
        sim.step();
    }
    assert_eq!(sim.left[0].0, 60 * S);
    assert_eq!(sim.reasons(A), [LeaveReason::Overdue { chunk: 0 }]);
}

#[test]
fn the_bytes_requested_and_held_are_bounded() {
    let config = JoinConfig {
        bytes_max: 3_000_000,
        ..JoinConfig::default()
    };
    let kinds = [
        (A, Kind::Rate(10_000_000)),
        (B, Kind::Rate(10_000_000)),
        (C, Kind::Rate(10_000_000)),
    ];
    let mut sim = Sim::new(config, 50, &kinds);
    sim.run(5 * S);
    assert_eq!(sim.most_out, 3_000_000);
    // A bound below one chunk allows one.
    let config = JoinConfig {
        bytes_max: 1,
        ..JoinConfig::default()
    };
    let mut planner = JoinPlanner::new(config, (0..5).map(|chunk| (chunk, CHUNK)), 0, Micros(0));
    planner.connected(A);
    assert_eq!(planner.plan(Micros(0)), [Ask { source: A, chunk: 0 }]);
    assert!(planner.delivered(A, 0, Micros(1)));
    assert_eq!(planner.plan(Micros(2)), [], "what is being verified counts");
    planner.verified(0, Micros(3));
    assert_eq!(planner.plan(Micros(4)), [Ask { source: A, chunk: 1 }]);
}

#[test]
fn bytes_that_were_not_asked_for_are_dropped() {
    let mut planner = JoinPlanner::new(
        JoinConfig::default(),
        (0..8).map(|chunk| (chunk, CHUNK)),
        0,
        Micros(0),
    );
    planner.connected(A);
    planner.connected(B);
    let asks = planner.plan(Micros(0));
    assert_eq!(asks.len(), 8);
    assert_eq!(asks[0], Ask { source: A, chunk: 0 });
    assert!(!planner.delivered(B, 0, Micros(1)), "asked of another");
    assert!(!planner.delivered(A, 99, Micros(1)), "no such chunk");
    assert!(planner.delivered(A, 0, Micros(1)));
    assert!(!planner.delivered(A, 0, Micros(1)), "twice");
    planner.verified(0, Micros(2));
    assert!(!planner.delivered(A, 0, Micros(3)), "done");
    planner.verified(0, Micros(3));
    planner.verified(5, Micros(3));
    assert_eq!(planner.refused(5, Micros(3)), None, "not held");
    let status = planner.status(Micros(3));
    assert_eq!((status.chunks_missing, status.bytes_done), (7, u64::from(CHUNK)));
    // Late bytes of a source that was left.
    planner.failed(A, None, Micros(4));
    assert!(!planner.delivered(A, 2, Micros(5)));
    planner.failed(A, None, Micros(5));
    assert_eq!(
        planner.left().len(),
        1,
        "the end of its streams is no second failure"
    );
}

#[test]
fn a_chunk_that_was_dropped_is_asked_for_again_without_blame() {
    let mut planner = JoinPlanner::new(JoinConfig::default(), [(7, CHUNK)], 0, Micros(0));
    planner.connected(A);
    assert_eq!(planner.plan(Micros(0)), [Ask { source: A, chunk: 7 }]);
    assert!(planner.delivered(A, 7, Micros(1)));
    planner.dropped(7);
    assert_eq!(planner.plan(Micros(2)), [Ask { source: A, chunk: 7 }]);
    assert_eq!(planner.left(), []);
}

#[test]
fn a_caller_that_was_suspended_blames_nobody() {
    let mut sim = Sim::new(
        JoinConfig::default(),
        100,
        &[(A, Kind::Rate(1_000_000)), (B, Kind::Silent)],
    );
    for _ in 0..50 {
        sim.step();
    }
    sim.now += 3_600 * S;
    for _ in 0..20 {
        sim.step();
    }
    assert_eq!(sim.left, [], "nobody was heard for an hour");
    for _ in 0..100 {
        sim.step();
    }
    assert!(
        matches!(sim.reasons(B)[..], [LeaveReason::Silent { .. }]),
        "{:?}",
        sim.left
    );
    assert_eq!(sim.reasons(A), []);
}

#[test]
fn the_figures_tell_rate_and_time_to_the_end() {
    let mut sim = Sim::new(JoinConfig::default(), 100, &[(A, Kind::Rate(5_000_000))]);
    let status = sim.planner.status(Micros(0));
    assert_eq!(
        (status.rate, status.eta, status.bytes_total),
        (0, None, 50_000_000)
    );
    while sim.now < 5 * S {
        sim.step();
    }
    let status = sim.planner.status(Micros(sim.now));
    assert!((4_500_000..5_700_000).contains(&status.rate), "{status:?}");
    assert!((4 * S..6 * S).contains(&status.eta.unwrap()), "{status:?}");
    assert!(
        status.bytes_done > 24_000_000 && status.idle < 200 * MS,
        "{status:?}"
    );
    // Resumed: what is there counts as done.
    let planner = JoinPlanner::new(JoinConfig::default(), [(3, 1_000)], 9_000, Micros(0));
    let status = planner.status(Micros(0));
    assert_eq!((status.bytes_done, status.bytes_total), (9_000, 10_000));
}
