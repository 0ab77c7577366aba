//! `vibecoin status` and `vibecoin health`.

use clap::Args;
use vibecoin_devnet::home::now;
use vibecoin_rpc_api::methods::NodeApiClient as _;
use vibecoin_rpc_api::views::{NodeStatusView, SyncStatusView};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Answer, cell, message};

/// Arguments of `status`: none of its own.
#[derive(Args, Debug)]
pub struct StatusArgs {}

/// Arguments of `health`: none of its own.
#[derive(Args, Debug)]
pub struct HealthArgs {}

impl StatusArgs {
    /// Queries the node.
    ///
    /// # Errors
    /// The errors of the node.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let client = context.client()?;
        let status = context.wait(async { Ok(client.get_status().await?) })?;
        let text = people(&status, now().0);
        Ok(Answer::new(status).text(text))
    }
}

fn people(status: &NodeStatusView, now_ms: u64) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<10}{}\n", cell(&value)));
    if !status.moniker.is_empty() {
        row("name", status.moniker.clone());
    }
    row("chain", status.chain_id.clone());
    row("role", status.role.clone());
    row("version", status.version.clone());
    row(
        "ready",
        if status.ready {
            "yes".to_owned()
        } else {
            "no".to_owned()
        },
    );
    row("height", status.head.height.to_string());
    row("block", status.head.hash.0.to_string());
    row("made", age(now_ms, status.head.timestamp_ms.0));
    row("sync", sync(&status.sync));
    if let Some(waiting) = &status.waiting {
        row("waits", waiting.detail.clone());
    }
    row("peers", status.peers.to_string());
    row(
        "mempool",
        format!("{} waiting, {} bytes", status.mempool.count, status.mempool.bytes),
    );
    row(
        "disk",
        format!("{} bytes, {} free", status.disk_bytes, status.disk_free_bytes),
    );
    row("uptime", format!("{} s", status.uptime_ms.0 / 1000));
    text
}

/// The height, and while it catches up the rate and the estimated end.
fn sync(sync: &SyncStatusView) -> String {
    let mut text = format!("{} ({} of {})", sync.state, sync.current, sync.target);
    if sync.state == "synced" {
        return text;
    }
    text.push_str(&format!(", {} blocks/s", sync.blocks_per_1000_s.0 / 1000));
    match sync.eta_ms {
        Some(eta) => text.push_str(&format!(", {} left", duration(eta.0 / 1000))),
        None => text.push_str(", no end in sight yet"),
    }
    text
}

/// Age of the newest block: a chain without a quorum stands still, and its nodes are in sync.
fn age(now_ms: u64, made_ms: u64) -> String {
    match now_ms.checked_sub(made_ms) {
        Some(ms) => format!("{} ago", duration(ms / 1000)),
        None => "later than this machine's clock says".to_owned(),
    }
}

/// Seconds in readable units.
fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

impl HealthArgs {
    /// Queries the node.
    ///
    /// # Errors
    /// The errors of the node. Exit 12 when it is not ready.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let client = context.client()?;
        let health = context.wait(async { Ok(client.get_health().await?) })?;
        let mut text = format!("{}\n", if health.ready { "ready" } else { "not ready" });
        for check in &health.checks {
            text.push_str(&format!(
                "{:<4}{}: {}\n",
                if check.ok { "ok" } else { "NO" },
                cell(&check.name),
                message(&check.detail)
            ));
        }
        let ready = health.ready;
        let answer = Answer::new(health).text(text);
        Ok(if ready {
            answer
        } else {
            answer.exit(Exit::NotReady)
        })
    }
}

#[cfg(test)]
mod tests {
    use vibecoin_rpc_api::U64;

    use super::*;

    #[test]
    fn the_age_of_the_newest_block_is_told_also_when_clocks_differ() {
        assert_eq!(age(1_000_000, 999_001), "0 s ago");
        assert_eq!(age(1_000_000, 875_000), "2 min 5 s ago");
        assert_eq!(age(1_000_000, 1_000_001), "later than this machine's clock says");
    }

    #[test]
    fn a_node_that_catches_up_says_how_fast_and_until_when() {
        let mut view = SyncStatusView {
            state: "syncing".to_owned(),
            stage: "blocks".to_owned(),
            current: U64(10),
            target: U64(5000),
            peers: 3,
            blocks_per_1000_s: U64(41_500),
            eta_ms: Some(U64(125_000)),
        };
        assert_eq!(sync(&view), "syncing (10 of 5000), 41 blocks/s, 2 min 5 s left");
        view.eta_ms = None;
        assert_eq!(
            sync(&view),
            "syncing (10 of 5000), 41 blocks/s, no end in sight yet"
        );
        view.state = "synced".to_owned();
        assert_eq!(sync(&view), "synced (10 of 5000)");
        assert_eq!(
            (duration(59), duration(7260)),
            ("59 s".to_owned(), "2 h 1 min".to_owned())
        );
    }
}
