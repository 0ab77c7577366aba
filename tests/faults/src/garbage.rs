//! Attackers that send garbage. Some send bytes of no protocol, frames that are too large, one byte now
//! and then, or nothing at all after the dial; one implements the protocol well enough to be admitted,
//! and then sends messages that no honest node sends, on gossip and on every lane.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use vibecoin_byzantine::open_config;
use vibecoin_consensus::ConsensusMessage;
use vibecoin_network::{Network, NetworkConfig, NetworkEvent, Sink};
use vibecoin_primitives::{
    Evidence, Hash, Height, PartContent, PartStatement, Round, SecretKey, Signature, SignedVote, Tick,
    Transaction, TransactionBody, TransactionV1, Vote, VoteKind,
};
use vibecoin_replica::Message;
use vibecoin_tests_behaviours::Rng;
use vibecoin_tests_support::{body, sign_part, transfer};

use crate::cluster::Cluster;
use crate::homes::P2P_PORT;

/// Number of idle connections.
const HALF_OPEN: usize = 200;
/// Time limit of a write or read.
const LIMIT: Duration = Duration::from_secs(1);
/// Bytes of one burst of noise.
const BURST_BYTES: usize = 64 * 1024;
/// Pause of an attacker between two connections.
const REST: Duration = Duration::from_millis(5);

/// Totals of an attack.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Connections that the node closed while the attacker was still sending.
    pub dropped: u64,
    /// Messages of the admitted attacker.
    pub messages: u64,
    /// Number of times that a node dropped the admitted attacker.
    pub thrown_out: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections, {} KiB, {} dropped; {} bad messages, thrown out {} times",
            self.connections,
            self.bytes / 1024,
            self.dropped,
            self.messages,
            self.thrown_out
        )
    }
}

/// Counters of a running attack.
#[derive(Default)]
struct Counters(Mutex<Report>);

impl Counters {
    fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
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
                let mut random = Rng::new(seed.wrapping_add(u64::try_from(number).unwrap_or(0)), 0);
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
        scope.spawn(|| member(cluster, &counters, ended, seed));
    });
    counters.0.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn dial(target: SocketAddr, counters: &Counters) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, LIMIT).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    counters.count(|report| report.connections += 1);
    Some(stream)
}

/// Returns true if the bytes were sent. A node that closes the connection counts as one that defended
/// itself.
fn send(stream: &mut TcpStream, bytes: &[u8], counters: &Counters) -> bool {
    let sent = stream.write_all(bytes).is_ok();
    counters.count(|report| {
        if sent {
            report.bytes += bytes.len() as u64;
        } else {
            report.dropped += 1;
        }
    });
    sent
}

/// Random bytes, as many as the node takes.
fn noise(mut stream: TcpStream, random: &mut Rng, counters: &Counters, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let len = 1 + random.index(BURST_BYTES);
        if !send(&mut stream, &random.bytes(len), counters) {
            return;
        }
    }
}

/// Sends a correct start of the protocol negotiation, then announces a frame of 2^63 bytes, or the
/// handshake message of the maximum length with random contents.
fn oversize(mut stream: TcpStream, random: &mut Rng, counters: &Counters, _: &AtomicBool) {
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
    // The answer, or the end: keeping the connection open costs the node, not the attacker.
    let mut answer = [0; 64];
    while stream.read(&mut answer).is_ok_and(|len| len > 0) {}
}

/// One byte every half second: a connection whose message never completes.
fn drip(mut stream: TcpStream, random: &mut Rng, counters: &Counters, ended: &AtomicBool) {
    let begun = Instant::now();
    while !ended.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(15) {
        if !send(&mut stream, &random.bytes(1), counters) {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Many connections on which nothing is ever sent.
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

/// Lifetime of one identity. Peers that tolerate it for longer see the next one all the same.
const LIFE: Duration = Duration::from_secs(5);

/// Counts admissions and disconnections of the attacker.
#[derive(Default)]
struct Doors {
    let_in: AtomicU64,
    thrown_out: AtomicU64,
}

impl Sink for Doors {
    fn deliver(&self, event: NetworkEvent) -> bool {
        match event {
            NetworkEvent::Connected { .. } => self.let_in.fetch_add(1, Ordering::Relaxed),
            NetworkEvent::Disconnected { .. } => self.thrown_out.fetch_add(1, Ordering::Relaxed),
            NetworkEvent::Message { .. } => 0,
        };
        true
    }
}

/// Sends a correct handshake, and then invalid messages; with a new identity whenever all nodes have
/// dropped it.
fn member(cluster: &Cluster, counters: &Counters, ended: &AtomicBool, seed: u64) {
    let mut random = Rng::new(seed.wrapping_add(99), 0);
    while !ended.load(Ordering::Relaxed) {
        let doors = Arc::new(Doors::default());
        let config = stranger(cluster, &mut random);
        let (network, guard) = Network::start(config, doors.clone()).expect("a network without listeners");
        let born = Instant::now();
        let nodes = u64::try_from(cluster.plan.validators).unwrap_or(u64::MAX);
        while !ended.load(Ordering::Relaxed)
            && born.elapsed() < LIFE
            && doors.thrown_out.load(Ordering::Relaxed) < nodes
        {
            if doors.let_in.load(Ordering::Relaxed) > 0 {
                say(&network, &bad_message(cluster, &mut random));
                counters.count(|report| report.messages += 1);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        counters.count(|report| report.thrown_out += doors.thrown_out.load(Ordering::Relaxed));
        guard.stop();
    }
}

pub(crate) fn stranger(cluster: &Cluster, random: &mut Rng) -> NetworkConfig {
    let homes = &cluster.homes;
    let peers = homes.peer_ids.iter().enumerate().take(cluster.plan.validators);
    NetworkConfig {
        peers: peers
            .map(|(node, id)| format!("/ip4/{}/tcp/{P2P_PORT}/p2p/{id}", cluster.net.peer_address(node)))
            .collect(),
        agent: "nobody".to_owned(),
        head: Height(u64::MAX),
        ..open_config(homes.genesis_hash, fill(random), &homes.validators)
    }
}

fn say(network: &Network, message: &Message) {
    match message {
        Message::Part(_) => network.stream(message),
        Message::Consensus(_) | Message::Evidence(_) | Message::Transactions(_) => network.publish(message),
        _ => network.send_all(message),
    }
}

fn fill<const N: usize>(random: &mut Rng) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&random.bytes(N));
    bytes
}

/// A well-formed message with invalid contents.
fn bad_message(cluster: &Cluster, random: &mut Rng) -> Message {
    let genesis = cluster.homes.genesis_hash;
    let own = SecretKey::from_seed(&fill(random));
    let victim = cluster.homes.validators[random.index(cluster.homes.validators.len())];
    let height = Height(random.below(1 << 20));
    let mut vote = |validator| Vote {
        kind: VoteKind::Prevote,
        height,
        round: Round(u32::try_from(random.below(1_000)).unwrap_or(0)),
        block: Some(Hash(fill(random))),
        validator,
    };
    let forged = SignedVote {
        vote: vote(victim),
        signature: Signature([7; 64]),
    };
    let strange = vote(own.public_key()).sign(&genesis, &own);
    match random.below(9) {
        // In a validator's name, without its key, usually for distant heights.
        0 => Message::Consensus(ConsensusMessage::Vote(forged)),
        // Validly signed by a key without voting power.
        1 => Message::Consensus(ConsensusMessage::Vote(strange)),
        2 => Message::Evidence(Box::new(Evidence::votes(forged, strange))),
        3 => Message::Status {
            height: Height(u64::MAX),
        },
        4 => Message::SyncRequest {
            from: Height(0),
            count: u32::MAX,
        },
        5 => Message::SyncResponse {
            from: height,
            blocks: Vec::new(),
        },
        6 => Message::BodyRequest {
            height,
            block: Hash(fill(random)),
        },
        7 => Message::Transactions(vec![unsigned(&own, genesis)]),
        _ => {
            let content = PartContent::Tick(Tick {
                hash: Hash(fill(random)),
                transactions: Vec::new(),
            });
            let statement = PartStatement {
                height,
                round: Round(0),
                proposer: own.public_key(),
                parent: genesis,
                sequence: u32::MAX,
                digest: Hash::ZERO,
            };
            Message::Part(Box::new(sign_part(&genesis, &own, statement, content)))
        }
    }
}

/// A transaction with an invalid signature.
fn unsigned(key: &SecretKey, genesis: Hash) -> Transaction {
    let body = TransactionBody {
        valid_until: Height(50_000),
        ..body(&genesis, key, 0, vec![transfer(1, 1)])
    };
    Transaction::V1(TransactionV1 {
        body,
        signature: Signature([9; 64]),
    })
}
