//! `vibecoin status` and `vibecoin health`.

use clap::Args;
use vibecoin_rpc_api::methods::NodeApiClient as _;
use vibecoin_rpc_api::views::NodeStatusView;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Answer;

/// Arguments of `status`: none of its own.
#[derive(Args, Debug)]
pub struct StatusArgs {}

/// Arguments of `health`: none of its own.
#[derive(Args, Debug)]
pub struct HealthArgs {}

impl StatusArgs {
    /// Asks the node.
    ///
    /// # Errors
    /// Those of the node.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let client = context.client()?;
        let status = context.wait(async { Ok(client.get_status().await?) })?;
        let text = people(&status);
        Ok(Answer::new(status).text(text))
    }
}

fn people(status: &NodeStatusView) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<10}{value}\n"));
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
    row(
        "sync",
        format!(
            "{} ({} of {})",
            status.sync.state, status.sync.current, status.sync.target
        ),
    );
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

impl HealthArgs {
    /// Asks the node.
    ///
    /// # Errors
    /// Those of the node. Exit 12 when it is not ready.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let client = context.client()?;
        let health = context.wait(async { Ok(client.get_health().await?) })?;
        let mut text = format!("{}\n", if health.ready { "ready" } else { "not ready" });
        for check in &health.checks {
            text.push_str(&format!(
                "{:<4}{}: {}\n",
                if check.ok { "ok" } else { "NO" },
                check.name,
                check.detail
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
