//! A network of nodes, each in a separate namespace.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use vibecoin_primitives::Hash;
use vibecoin_process::log::tail;
use vibecoin_process::process::{resident_bytes, resident_bytes_max};
use vibecoin_tests_nodes::{CallError, Node, Rpc, clean};

use crate::homes::{Homes, Plan, RPC_PORT, binary};
use crate::netns::Net;

/// Time limit of a request for a head.
const HEAD_LIMIT: Duration = Duration::from_secs(2);
/// Lines of each log that a failure prints.
const LOG_LINES_SHOWN: usize = 12;
/// Exit code of a safety halt, such as that of a node whose key signs in another process, too.
pub const SAFETY_HALT: i32 = 30;
/// Poll interval of waits.
const POLL: Duration = Duration::from_millis(20);

/// Head of a node as reported over RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A network of nodes. Dropping it removes everything.
pub struct Cluster {
    // Dropped in this order: processes before the namespaces that they are in.
    processes: Vec<Mutex<Option<Node>>>,
    /// Network between the nodes.
    pub net: Net,
    /// Initial homes of the nodes.
    pub homes: Homes,
    /// Kinds and numbers of the nodes.
    pub plan: Plan,
    programs: Vec<(PathBuf, Vec<(String, String)>)>,
    folder: TempDir,
}

impl Cluster {
    /// Makes namespaces and homes. No node runs yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let net = Net::new(plan.nodes()).unwrap();
        Self::over(net, plan)
    }

    /// The same over a prepared network, for example with emulated links.
    #[must_use]
    pub fn over(net: Net, plan: Plan) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("vibecoin-faults-")
            .tempdir()
            .expect("a temporary directory");
        let homes = Homes::make(folder.path(), plan);
        let program = binary();
        Self {
            processes: (0..plan.nodes()).map(|_| Mutex::new(None)).collect(),
            net,
            homes,
            plan,
            programs: (0..plan.nodes()).map(|_| (program.clone(), Vec::new())).collect(),
            folder,
        }
    }

    /// Replaces the program of a node, and adds these environment variables.
    pub fn replace_program(&mut self, node: usize, program: PathBuf, variables: Vec<(String, String)>) {
        self.programs[node] = (program, variables);
    }

    fn process(&self, node: usize) -> MutexGuard<'_, Option<Node>> {
        self.processes[node]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Indices of all validators.
    #[must_use]
    pub fn validators(&self) -> Vec<usize> {
        (0..self.plan.validators).collect()
    }

    /// Starts nodes side by side and waits until each answers.
    pub fn start(&self, nodes: &[usize]) {
        std::thread::scope(|scope| {
            for node in nodes {
                scope.spawn(move || self.start_one(*node));
            }
        });
    }

    fn start_one(&self, node: usize) {
        let mut process = self.process(node);
        assert!(process.is_none(), "node {node} runs already");
        let (program, variables) = &self.programs[node];
        let mut command = clean(self.net.command(node, program));
        command
            .envs(self.homes.environment(&self.net, node))
            .envs(variables.iter().cloned())
            .arg("--home")
            .arg(&self.homes.paths[node])
            .arg("node");
        command.arg("--allow-unencrypted");
        if node < self.plan.validators {
            command.arg("--validator");
        }
        *process = Some(Node::spawn(command, self.log(node)));
    }

    /// Path of a node's log.
    #[must_use]
    pub fn log(&self, node: usize) -> PathBuf {
        self.homes.paths[node].join("node.log")
    }

    /// `kill -9`; waits until the process has ended.
    pub fn kill(&self, node: usize) {
        let mut process = self.process(node);
        process.as_mut().expect("the node runs").kill_now();
        *process = None;
    }

    /// Stops a node as an operator does; waits until the process has ended.
    pub fn stop(&self, node: usize) {
        let process = self.process(node).take();
        let _code = process.expect("the node runs").stop();
    }

    /// Freezes a node.
    pub fn pause(&self, node: usize) {
        self.process(node).as_ref().expect("the node runs").pause();
    }

    /// Resumes a frozen node.
    pub fn resume(&self, node: usize) {
        self.process(node).as_ref().expect("the node runs").resume();
    }

    /// The process id of a node that runs.
    #[must_use]
    pub fn pid(&self, node: usize) -> Option<u32> {
        self.process(node).as_ref().map(Node::pid)
    }

    /// Resident memory of a node that runs, in KiB.
    #[must_use]
    pub fn rss_kib(&self, node: usize) -> Option<u64> {
        Some(resident_bytes(self.pid(node)?)? / 1024)
    }

    /// The maximum resident memory of a node that runs, in KiB.
    #[must_use]
    pub fn peak_kib(&self, node: usize) -> Option<u64> {
        Some(resident_bytes_max(self.pid(node)?)? / 1024)
    }

    /// The exit code of a node that has exited; 128 and more for a signal.
    #[must_use]
    pub fn exit_code(&self, node: usize) -> Option<i32> {
        self.process(node).as_mut().and_then(Node::exit_code)
    }

    /// Asserts that no node has exited.
    pub fn assert_alive(&self) {
        for node in 0..self.processes.len() {
            if let Some(process) = self.process(node).as_mut() {
                process.assert_alive();
            }
        }
    }

    /// The RPC interface of a node, running or not.
    #[must_use]
    pub fn rpc(&self, node: usize) -> Rpc {
        let address = format!("{}:{RPC_PORT}", self.net.address(node));
        let address: SocketAddr = address.parse().expect("an address");
        Rpc::new(address, HEAD_LIMIT)
    }

    /// The head of a node.
    ///
    /// # Errors
    /// [`CallError`] when it does not answer.
    pub fn head(&self, node: usize) -> Result<Head, CallError> {
        let head = self.rpc(node).call("chain_getHead", &json!({}))?;
        parse_head(&head).ok_or_else(|| CallError::NoAnswer(format!("no head but {head}")))
    }

    /// The header at a height as a node reports it; `None` when it does not answer.
    #[must_use]
    pub fn header(&self, node: usize, height: u64) -> Option<Value> {
        let params = json!([height.to_string()]);
        self.rpc(node).call("chain_getHeader", &params).ok()
    }

    /// The highest head of these nodes; 0 when none answers.
    #[must_use]
    pub fn top(&self, nodes: &[usize]) -> u64 {
        let heads = nodes.iter().filter_map(|node| self.head(*node).ok());
        heads.map(|head| head.height).max().unwrap_or(0)
    }

    /// The lowest head of those of these nodes that answer; 0 when none does.
    #[must_use]
    pub fn bottom(&self, nodes: &[usize]) -> u64 {
        let heads = nodes.iter().filter_map(|node| self.head(*node).ok());
        heads.map(|head| head.height).min().unwrap_or(0)
    }

    /// Waits until one of the nodes has a higher head than `height`; returns the time taken.
    pub fn wait_for_block(&self, nodes: &[usize], height: u64, bound: Duration) -> Duration {
        self.wait("a new block", bound, || self.top(nodes) > height)
    }

    /// Waits until a node's head is no more than one block behind the highest of the others.
    pub fn wait_at_head(&self, node: usize, others: &[usize], bound: Duration) -> Duration {
        self.wait(&format!("node {node} at the head"), bound, || {
            let own = self.head(node).map_or(0, |head| head.height);
            own > 0 && own.saturating_add(1) >= self.top(others)
        })
    }

    /// Waits until all these nodes have a block of this height.
    pub fn wait_all_reach(&self, nodes: &[usize], height: u64, bound: Duration) {
        self.wait(&format!("height {height} on all nodes"), bound, || {
            nodes
                .iter()
                .all(|node| self.head(*node).is_ok_and(|head| head.height >= height))
        });
    }

    /// Waits until a condition holds; returns the time taken.
    pub fn wait(&self, what: &str, bound: Duration, holds: impl Fn() -> bool) -> Duration {
        let begun = Instant::now();
        while !holds() {
            if begun.elapsed() >= bound {
                self.assert_alive();
                panic!("no {what} within {bound:?}\n{}", self.describe());
            }
            std::thread::sleep(POLL);
        }
        begun.elapsed()
    }

    /// Heads, consensus state and the ends of the logs, for a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for node in 0..self.processes.len() {
            let ask = |method| match self.rpc(node).call(method, &json!({})) {
                Ok(answer) => answer.to_string(),
                Err(error) => error.to_string(),
            };
            text.push_str(&format!(
                "node {node}: {}\n  consensus {}\n  peers {}\n",
                ask("chain_getHead"),
                ask("consensus_getStatus"),
                ask("net_getPeers"),
            ));
            for line in tail(&self.log(node), LOG_LINES_SHOWN).lines() {
                text.push_str(&format!("  | {line}\n"));
            }
        }
        text
    }

    /// Keeps the folder of the homes, with all logs, and returns its path.
    pub fn keep_logs(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("logs are kept in {}", self.keep_logs().display());
        }
    }
}

/// Reads a 64-bit integer, which the interface encodes as a string.
#[must_use]
pub fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

/// Reads a hash.
#[must_use]
pub fn hash(value: &Value) -> Option<Hash> {
    Hash::from_hex(value.as_str()?).ok()
}

fn parse_head(head: &Value) -> Option<Head> {
    Some(Head {
        height: number(&head["height"])?,
        hash: hash(&head["hash"])?,
    })
}
