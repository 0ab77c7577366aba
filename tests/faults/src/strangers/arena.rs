//! The network that is attacked, and the attacker's process.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vibecoin_byzantine::{Attack, Report};
use vibecoin_keystore::{NoPassphrase, NodeKeyRole, NodeKeys};
use vibecoin_primitives::{AddressPrefix, SecretKey, hex};
use vibecoin_tests_nodes::{Piped, sibling};

use crate::cluster::Cluster;
use crate::homes::{P2P_PORT, Plan, RPC_PORT, Transport, binary};
use crate::netns::Net;
use crate::scenarios::HEALS_WITHIN;

/// Validators of the network; a follower is numbered after them.
pub const VALIDATORS: usize = 4;
/// The node that follows.
pub const FOLLOWER: usize = VALIDATORS;
/// The validator whose key the attacker has, in attacks with a key.
pub const TRAITOR: usize = VALIDATORS - 1;
/// Port of the metrics listener.
pub const METRICS_PORT: u16 = 9_464;
/// Port of the admin listener.
pub const ADMIN_PORT: u16 = 9_465;
/// Milliseconds between two blocks: slow enough that the nodes leave the processors idle for half of the
/// time, fast enough that a few seconds hold many blocks.
const PACE_MS: u64 = 250;
/// Blocks that must be decided first.
const WARM_UP_BLOCKS: u64 = 8;
/// Subnets that the attacker has addresses in, and addresses in each.
const SUBNETS: u8 = 8;
const PER_SUBNET: u8 = 2;
/// Priority of the attacker: it shares the nodes' processors, which a remote attacker does not.
const NICE: &str = "10";
/// Sampling interval of memory.
const LOOK: Duration = Duration::from_millis(100);
/// Attempts to read a head before it counts as unknown.
const HEAD_TRIES: usize = 3;

/// A network of validators and a follower, and a namespace for the attacker.
pub struct Arena {
    /// The nodes.
    pub cluster: Cluster,
    /// The attacker's namespace.
    pub attacker: usize,
    sources: Vec<Ipv4Addr>,
    keys: tempfile::TempDir,
}

/// Height of a node, and the time of the observation.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    at: Instant,
    height: u64,
}

impl Mark {
    /// Blocks per 1,000 seconds between two marks of one node.
    fn rate_to(&self, later: &Self) -> u64 {
        let micros = u64::try_from(later.at.saturating_duration_since(self.at).as_micros());
        let blocks = later.height.saturating_sub(self.height);
        blocks.saturating_mul(1_000_000_000) / micros.unwrap_or(u64::MAX).max(1)
    }
}

impl Arena {
    /// Makes the network; nothing runs yet. Every node gets these variables in addition.
    #[must_use]
    pub fn new(variables: &[(&str, &str)]) -> Self {
        Self::paced(variables, PACE_MS)
    }

    /// The same with so many milliseconds between two blocks.
    #[must_use]
    pub fn paced(variables: &[(&str, &str)], pace_ms: u64) -> Self {
        let plan = Plan {
            validators: VALIDATORS,
            followers: 1,
            crash_model: false,
            transport: Transport::Both,
            pace_ms,
        };
        let attacker = plan.nodes();
        let net = Net::new(plan.nodes() + 1).unwrap();
        let sources: Vec<Ipv4Addr> = (0..PER_SUBNET)
            .flat_map(|host| (0..SUBNETS).map(move |subnet| Ipv4Addr::new(198, 18, subnet, 10 + host)))
            .collect();
        net.add_addresses(attacker, &sources).unwrap();
        let mut cluster = Cluster::over(net, plan);
        for node in 0..plan.nodes() {
            let own = variables
                .iter()
                .map(|(name, value)| {
                    let value = value.replace("ADDRESS", &cluster.net.address(node));
                    (format!("VIBECOIN__{name}"), value)
                })
                .collect();
            cluster.replace_program(node, binary(), own);
        }
        Self {
            cluster,
            attacker,
            sources,
            keys: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// Starts these nodes and waits for their first blocks.
    pub fn start(&self, nodes: &[usize]) {
        self.cluster.start(nodes);
        self.cluster.wait_for_block(nodes, WARM_UP_BLOCKS, HEALS_WITHIN);
        for node in nodes {
            self.cluster.wait_at_head(*node, nodes, HEALS_WITHIN);
        }
    }

    /// Prepares an attack in a separate process; [`Attacker::go`] lets it begin.
    #[must_use]
    pub fn attacker(&self, attack: Attack, how: &How<'_>) -> Attacker {
        let program = sibling("vibecoin-stranger", "-p vibecoin-byzantine");
        let homes = &self.cluster.homes;
        let mut command = self.cluster.net.command(self.attacker, Path::new("nice"));
        command.args(["-n", NICE]).arg(program).arg(attack.name());
        command.args(["--genesis", &homes.genesis_hash.to_string()]);
        command.args(["--seconds", &how.time.as_secs().to_string()]);
        command.args(["--strangers", &how.strangers.to_string()]);
        for (node, port) in how.targets {
            let target = format!("{}:{port}", self.cluster.net.peer_address(*node));
            command.args(["--target", &target]);
        }
        for validator in &homes.validators {
            command.args(["--validator", &validator.to_string()]);
        }
        if how.spread {
            for source in &self.sources {
                command.args(["--source", &source.to_string()]);
            }
        }
        if let Some(key) = &how.key {
            let path = self.keys.path().join("seed");
            std::fs::write(&path, hex::encode(key.seed().as_slice())).expect("write the key file");
            command.arg("--key-file").arg(path);
        }
        let mut attacker = Piped::start(&mut command).expect("the attacker starts");
        assert_eq!(attacker.line(), "ready");
        Attacker(attacker)
    }

    /// The traitor's key.
    #[must_use]
    pub fn traitor_key(&self) -> SecretKey {
        let prefix = AddressPrefix::new("vibet").expect("a good prefix");
        let keys = NodeKeys::new(&self.cluster.homes.paths[TRAITOR], prefix).allow_unencrypted();
        keys.load(NodeKeyRole::Validator, &mut NoPassphrase)
            .expect("the validator's key that init made")
    }

    /// Height of a node now; the last block that it is known to have when it does not answer.
    #[must_use]
    pub fn mark(&self, node: usize) -> Option<Mark> {
        let head = (0..HEAD_TRIES).find_map(|_| self.cluster.head(node).ok())?;
        let (at, height) = (Instant::now(), head.height);
        Some(Mark { at, height })
    }

    /// Blocks per 1,000 seconds of the slowest of these nodes over a time; a node that does not answer at the
    /// end counts as stalled.
    #[must_use]
    pub fn millirate(&self, nodes: &[usize], time: Duration) -> u64 {
        let marks = || {
            std::thread::scope(|scope| {
                let marks: Vec<_> = nodes
                    .iter()
                    .map(|node| scope.spawn(|| self.mark(*node)))
                    .collect();
                let marks = marks.into_iter().map(|mark| mark.join().expect("a mark"));
                marks.collect::<Vec<_>>()
            })
        };
        let before = marks();
        std::thread::sleep(time);
        let after = marks();
        let rates = before
            .iter()
            .zip(after)
            .map(|(before, after)| match (before, after) {
                (Some(before), Some(after)) => before.rate_to(&after),
                _ => 0,
            });
        rates.min().unwrap_or(0)
    }

    /// Blocks per 1,000 seconds of a node since a mark of it.
    #[must_use]
    pub fn rate_since(&self, node: usize, since: &Mark) -> u64 {
        self.mark(node).map_or(0, |now| since.rate_to(&now))
    }

    /// Resident memory of each node that runs, in KiB.
    #[must_use]
    pub fn memory(&self) -> Vec<(usize, u64)> {
        let nodes = 0..self.cluster.plan.nodes();
        nodes
            .filter_map(|node| Some((node, self.cluster.rss_kib(node)?)))
            .collect()
    }

    /// Runs `work` while sampling memory; returns its result and the growth in KiB, at its maximum, of the
    /// node that grew most.
    pub fn growth<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let before = self.memory();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut grown = 0;
                while !ended.load(Ordering::Relaxed) {
                    for (node, now) in self.memory() {
                        let was = before.iter().find(|(other, _)| *other == node);
                        grown = grown.max(now.saturating_sub(was.map_or(now, |(_, was)| *was)));
                    }
                    std::thread::sleep(LOOK);
                }
                grown
            });
            let done = work();
            ended.store(true, Ordering::Relaxed);
            (done, looking.join().expect("memory can be read"))
        })
    }
}

/// Parameters of an attack.
pub struct How<'a> {
    /// Nodes and ports.
    pub targets: &'a [(usize, u16)],
    /// Number of identities on each of them.
    pub strangers: usize,
    /// True to use all addresses of the attacker, false to use one.
    pub spread: bool,
    /// A key that the attacker has.
    pub key: Option<SecretKey>,
    /// Duration.
    pub time: Duration,
}

/// The network listeners of these nodes.
#[must_use]
pub fn peers(nodes: &[usize]) -> Vec<(usize, u16)> {
    nodes.iter().map(|node| (*node, P2P_PORT)).collect()
}

/// The RPC listeners of these nodes.
#[must_use]
pub fn interfaces(nodes: &[usize]) -> Vec<(usize, u16)> {
    nodes.iter().map(|node| (*node, RPC_PORT)).collect()
}

/// The attacker's process. Killed when dropped.
pub struct Attacker(Piped);

impl Attacker {
    /// Lets the attack begin.
    pub fn go(&mut self) {
        self.0.send("go").expect("the attacker waits");
    }

    /// Waits until the attack is over.
    #[must_use]
    pub fn report(mut self) -> Report {
        let line = self.0.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the attacker's report {line:?}: {error}"))
    }
}
