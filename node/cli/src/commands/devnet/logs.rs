//! `logs`: output of one or all nodes, printed once or followed.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use vibecoin_devnet::logs::LogReader;

use super::state::Devnet;
use crate::error::CliError;
use crate::output::{self, Answer};

/// Polling interval while following.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Arguments of `logs`.
#[derive(Args, Clone, Debug)]
pub struct LogsArgs {
    /// Number or name of a node [default: all]
    node: Option<String>,
    /// Go on as it comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only lines with this text in them
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
}

/// Prints logs.
pub fn run(dir: &Path, args: &LogsArgs) -> Result<Answer, CliError> {
    let net = Devnet::look(dir)?;
    let nodes = match &args.node {
        Some(node) => vec![net.node(net.position(node)?)?],
        None => net.existing()?.nodes.clone(),
    };
    let alone = nodes.len() == 1;
    let width = nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
    let mut logs: Vec<(String, LogReader)> = nodes
        .into_iter()
        .map(|node| (node.name, LogReader::new(node.log)))
        .collect();
    loop {
        for (name, log) in &mut logs {
            let lines = log.lines();
            let wanted = lines
                .iter()
                .filter(|line| args.grep.as_ref().is_none_or(|text| line.contains(text.as_str())));
            let text: String = wanted
                .map(|line| {
                    if alone {
                        format!("{line}\n")
                    } else {
                        format!("{name:<width$} | {line}\n")
                    }
                })
                .collect();
            if !text.is_empty() && !output::stream(&text)? {
                return Ok(Answer::printed());
            }
        }
        if !args.follow {
            return Ok(Answer::printed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
