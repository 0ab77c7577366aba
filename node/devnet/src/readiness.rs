//! Waiting for nodes: first for their ready line, then until they agree on the head of the chain.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use vibecoin_primitives::Hash;

use crate::client;
use crate::error::{Class, Error};
use crate::process::{LOOK_EVERY, started_at};
use crate::record::NodeRecord;
use crate::wait::{Reporter, Reports};

/// Time after which a wait for nodes is reported.
const REPORT_AFTER: Duration = Duration::from_secs(10);
/// Number of lines of the log that are shown when its node ended.
const TAIL_LINES: usize = 20;
/// Maximum number of bytes of a log that are read for them.
const TAIL_BYTES: u64 = 64 * 1024;

/// The line that a node prints when it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyLine {
    event: String,
    /// Address of its RPC.
    pub rpc: String,
    /// Address for its peers.
    #[serde(default)]
    pub p2p: Option<String>,
    /// Its identity on the network.
    #[serde(default)]
    pub peer_id: Option<String>,
    /// Address of its metrics.
    #[serde(default)]
    pub metrics: Option<String>,
    /// Address of its admin methods.
    #[serde(default)]
    pub admin: Option<String>,
    /// Height of its head.
    #[serde(default)]
    pub height: String,
}

impl ReadyLine {
    /// Height of its head.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.height.parse().unwrap_or(0)
    }

    /// Finds the line in a log.
    fn find(log: &Path) -> Option<Self> {
        let text = std::fs::read(log).ok()?;
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str::<Self>(line).ok())
            .find(|line| line.event == "ready")
    }
}

/// Waits for the ready line of a node that was just started.
///
/// # Errors
/// Its end before that, or the deadline; both with the end of its log.
pub fn line(node: &NodeRecord, deadline: Instant, reporter: Reporter) -> Result<ReadyLine, Error> {
    let begun = Instant::now();
    let mut reports = Reports::after(REPORT_AFTER);
    loop {
        if let Some(seconds) = reports.due() {
            let log = node.log.display();
            reporter.note(&format!(
                "waiting for {} to answer, for {seconds} s; it logs to {log}",
                node.name
            ));
        }
        // The log first: a node that printed the line and ended was ready.
        if let Some(line) = ReadyLine::find(&node.log) {
            return Ok(line);
        }
        let alive = node
            .pid
            .and_then(started_at)
            .is_some_and(|at| Some(at) == node.started);
        if !alive {
            let message = format!("{} ended before it was ready", node.name);
            return Err(ended(&message, node));
        }
        if Instant::now() >= deadline {
            let waited = begun.elapsed().as_secs_f64();
            let message = format!("{} was not ready within {waited:.1} s", node.name);
            return Err(with_log(Class::Timeout, &message, node));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The fault of a node that ended.
fn ended(message: &str, node: &NodeRecord) -> Error {
    with_log(Class::Failure, message, node).reason("node_ended")
}

/// A fault with the end of the node's log.
fn with_log(class: Class, message: &str, node: &NodeRecord) -> Error {
    let tail = tail(&node.log);
    let message = format!("{message}\n--- last lines of {}\n{tail}", node.log.display());
    Error::new(class, message.trim_end())
        .data(serde_json::json!({ "log": node.log, "lines": tail.lines().collect::<Vec<_>>() }))
}

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = match read() {
        Ok(bytes) => bytes,
        Err(error) => return format!("(no log: {error})\n"),
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(from).map(|line| format!("{line}\n")).collect()
}

/// The highest common block of all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// A height that all of them have.
    pub height: u64,
    /// The block there.
    pub hash: Hash,
}

/// Waits until every node has the same block at one height: `least` or higher, and not below the highest head
/// of any of them at the start of the wait.
///
/// # Errors
/// The end of one of them, the deadline, or a fork: two have different blocks.
pub async fn caught_up(
    nodes: &[NodeRecord],
    least: u64,
    deadline: Instant,
    reporter: Reporter,
) -> Result<Agreed, Error> {
    let clients = client::clients(nodes)?;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let mut reports = Reports::after(REPORT_AFTER);
    let mut highest = None;
    loop {
        let heads = client::heads(&clients).await;
        let answered: Option<Vec<u64>> = heads.iter().map(|head| head.map(|head| head.height)).collect();
        // From the first query of all of them: the chain advances meanwhile.
        highest = highest.or_else(|| answered.iter().flatten().copied().max());
        let least = least.max(highest.unwrap_or(0));
        if let Some(seconds) = reports.due() {
            let heights = heights(&names, &heads);
            reporter.note(&format!(
                "waiting for one block of all nodes at height {least} or above, for {seconds} s: {heights}"
            ));
        }
        let lowest = answered.iter().flatten().copied().min();
        if let Some(height) = lowest.filter(|height| *height >= least)
            && let Some(hash) = client::same_block(&clients, &names, height).await?
        {
            return Ok(Agreed { height, hash });
        }
        for node in nodes {
            if node.pid.and_then(started_at) != node.started {
                let message = format!("{} ended while the others waited for it", node.name);
                return Err(ended(&message, node));
            }
        }
        if Instant::now() >= deadline {
            let message = format!(
                "no common block at height {least} or above: {}",
                heights(&names, &heads)
            );
            return Err(Error::new(Class::Timeout, message)
                .hint("the nodes go on; see `vibecoin devnet status` and `vibecoin devnet logs`"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Height of each node.
fn heights(names: &[&str], heads: &[Option<client::Head>]) -> String {
    let each = names.iter().zip(heads).map(|(name, head)| match head {
        Some(head) => format!("{name} {}", head.height),
        None => format!("{name} does not answer"),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Waits until a node has the head of the others: the highest block that they had just before it was asked. Returns
/// that block.
///
/// # Errors
/// As [`caught_up`].
pub async fn at_head(
    node: &NodeRecord,
    others: &[NodeRecord],
    deadline: Instant,
    reporter: Reporter,
) -> Result<Agreed, Error> {
    let own = [client::client(node.url())?];
    let clients = client::clients(others)?;
    let mut reports = Reports::after(REPORT_AFTER);
    loop {
        // The others first: of a chain that advances, the node is asked for what they have already.
        let theirs = client::heads(&clients).await;
        let mine = client::heads(&own).await.into_iter().flatten().next();
        let highest = theirs.iter().flatten().map(|head| head.height).max();
        if let Some(height) = client::head_in_common(mine.map(|head| head.height), highest) {
            // The nodes to compare: this one, and every other that has the block.
            let mut all = own.to_vec();
            let mut names = vec![node.name.as_str()];
            for ((client, other), head) in clients.iter().zip(others).zip(&theirs) {
                if head.is_some_and(|head| head.height >= height) {
                    all.push(client.clone());
                    names.push(&other.name);
                }
            }
            if let Some(hash) = client::same_block(&all, &names, height).await? {
                return Ok(Agreed { height, hash });
            }
        }
        if node.pid.and_then(started_at) != node.started {
            let message = format!("{} ended on the way to the head", node.name);
            return Err(ended(&message, node));
        }
        if Instant::now() >= deadline {
            let message = format!(
                "{} is at height {}, the others at {}",
                node.name,
                mine.map_or_else(|| "-".to_owned(), |head| head.height.to_string()),
                highest.map_or_else(|| "-".to_owned(), |height| height.to_string()),
            );
            return Err(
                Error::new(Class::Timeout, message).hint("it goes on; see `vibecoin devnet status --watch`")
            );
        }
        if let Some(seconds) = reports.due() {
            reporter.note(&format!(
                "waiting for {} to be at the head, for {seconds} s: height {} of {}",
                node.name,
                mine.map_or(0, |head| head.height),
                highest.unwrap_or(0)
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_found_among_other_lines_and_its_new_fields_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(
            &log,
            "INFO \"event\":\"ready\"\n{\"event\":\"other\",\"rpc\":\"x\"}\n",
        )
        .unwrap();
        assert_eq!(ReadyLine::find(&log), None);
        let old = "{\"event\":\"ready\",\"rpc\":\"http://h:1\",\"chainId\":\"c\",\"height\":\"7\"}\n";
        std::fs::write(&log, format!("x\n{old}y\n")).unwrap();
        let found = ReadyLine::find(&log).unwrap();
        assert_eq!(
            (found.rpc.as_str(), found.height(), found.p2p),
            ("http://h:1", 7, None)
        );
        let new = "{\"event\":\"ready\",\"rpc\":\"u\",\"p2p\":\"/ip4/1.2.3.4/tcp/1/p2p/a\",\"peerId\":\"a\",\"metrics\":null,\"admin\":\"h:2\",\"height\":\"0\"}";
        std::fs::write(&log, new).unwrap();
        let found = ReadyLine::find(&log).unwrap();
        assert_eq!(
            (found.peer_id.as_deref(), found.metrics, found.admin.as_deref()),
            (Some("a"), None, Some("h:2"))
        );
    }

    #[test]
    fn the_end_of_a_log_is_its_last_twenty_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert!(tail(&log).contains("no log"));
        let text: String = (0..30_000).map(|line| format!("line {line}\n")).collect();
        std::fs::write(&log, text).unwrap();
        let tail = tail(&log);
        assert_eq!(tail.lines().count(), 20);
        assert!(
            tail.starts_with("line 29980\n") && tail.ends_with("line 29999\n"),
            "{tail}"
        );
    }
}
