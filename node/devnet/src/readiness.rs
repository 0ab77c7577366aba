//! Waiting for nodes: first for their ready line, then until they agree on the head of the chain.

use std::time::{Duration, Instant};

use vibecoin_primitives::Hash;
use vibecoin_process::log::tail;
pub use vibecoin_process::ready::ReadyLine;

use crate::client;
use crate::error::{Class, Error};
use crate::process::{LOOK_EVERY, started_at};
use crate::record::NodeRecord;
use crate::wait::{Reporter, Reports};

/// Time after which a wait for nodes is reported.
const REPORT_AFTER: Duration = Duration::from_secs(10);
/// Number of lines of the log that are shown when its node ended.
const TAIL_LINES: usize = 20;

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
    let tail = tail(&node.log, TAIL_LINES);
    let message = format!("{message}\n--- last lines of {}\n{tail}", node.log.display());
    Error::new(class, message.trim_end())
        .data(serde_json::json!({ "log": node.log, "lines": tail.lines().collect::<Vec<_>>() }))
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
