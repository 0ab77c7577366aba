//! A stranger who sends garbage: bytes that are no protocol, frames that are too large, dials that lead
//! nowhere, one byte a second.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::homes::P2P_PORT;
use crate::random::Random;

/// Connections that are opened and left alone.
const HALF_OPEN: usize = 200;
/// How long a write or read may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Bytes of one burst of noise.
const BURST_BYTES: usize = 64 * 1024;
/// How long an attacker rests between two connections.
const REST: Duration = Duration::from_millis(5);

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes that went out.
    pub bytes: u64,
    /// Connections that the node closed while we still talked.
    pub dropped: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections, {} KiB, {} dropped by the node",
            self.connections,
            self.bytes / 1024,
            self.dropped
        )
    }
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

/// Attacks the validators' network listeners from the host until `ended`.
pub fn attack(cluster: &Cluster, ended: &AtomicBool, seed: u64) -> Report {
    let targets: Vec<SocketAddr> = cluster
        .validators()
        .into_iter()
        .filter_map(|node| {
            format!("{}:{P2P_PORT}", cluster.net.peer_address(node))
                .parse()
                .ok()
        })
        .collect();
    let counters = Counters::default();
    std::thread::scope(|scope| {
        for (number, kind) in [noise, oversize, drip].into_iter().enumerate() {
            let (targets, counters) = (&targets, &counters);
            scope.spawn(move || {
                let mut random = Random::new(seed.wrapping_add(u64::try_from(number).unwrap_or(0)));
                while !ended.load(Ordering::Relaxed) {
                    let target = targets[random.index(targets.len())];
                    if let Some(stream) = dial(target, counters) {
                        kind(stream, &mut random, counters, ended);
                    }
                    std::thread::sleep(REST);
                }
            });
        }
        scope.spawn(|| half_open(&targets, &counters, ended));
    });
    Report {
        connections: counters.connections.into_inner(),
        bytes: counters.bytes.into_inner(),
        dropped: counters.dropped.into_inner(),
    }
}

fn dial(target: SocketAddr, counters: &Counters) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, LIMIT).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    counters.connections.fetch_add(1, Ordering::Relaxed);
    Some(stream)
}

/// Whether the bytes went out. A node that closes the connection counts as one that defended itself.
fn send(stream: &mut TcpStream, bytes: &[u8], counters: &Counters) -> bool {
    let sent = stream.write_all(bytes).is_ok();
    if sent {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        counters.bytes.fetch_add(len, Ordering::Relaxed);
    } else {
        counters.dropped.fetch_add(1, Ordering::Relaxed);
    }
    sent
}

/// Random bytes, as many as the node takes.
fn noise(mut stream: TcpStream, random: &mut Random, counters: &Counters, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let len = 1 + random.index(BURST_BYTES);
        if !send(&mut stream, &random.bytes(len), counters) {
            return;
        }
    }
}

/// Speaks the first words of the protocol negotiation rightly, then announces a frame of 2^63 bytes, or the
/// handshake message of the greatest length with rubbish in it.
fn oversize(mut stream: TcpStream, random: &mut Random, counters: &Counters, _: &AtomicBool) {
    if !send(&mut stream, b"\x13/multistream/1.0.0\n", counters) {
        return;
    }
    if random.below(2) == 0 {
        let mut frame = vec![0xff; 8];
        frame.push(0x7f);
        frame.extend(random.bytes(BURST_BYTES));
        send(&mut stream, &frame, counters);
    } else if send(&mut stream, b"\x07/noise\n", counters) {
        let mut frame = vec![0xff, 0xff];
        frame.extend(random.bytes(usize::from(u16::MAX)));
        send(&mut stream, &frame, counters);
    }
    // The answer, or the end: a node that keeps the connection open costs itself, not us.
    let mut answer = [0; 64];
    while stream.read(&mut answer).is_ok_and(|len| len > 0) {}
}

/// One byte every half second: a connection that is always about to say something.
fn drip(mut stream: TcpStream, random: &mut Random, counters: &Counters, ended: &AtomicBool) {
    let begun = Instant::now();
    while !ended.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(15) {
        if !send(&mut stream, &random.bytes(1), counters) {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Many connections on which nothing is ever said.
fn half_open(targets: &[SocketAddr], counters: &Counters, ended: &AtomicBool) {
    let mut open = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        for target in targets {
            open.extend(dial(*target, counters));
        }
        let surplus = open.len().saturating_sub(HALF_OPEN);
        open.drain(..surplus);
        std::thread::sleep(REST * 4);
    }
}
