//! `partition` and `heal`: the network cut into groups of nodes, and joined again.

use std::path::Path;

use clap::Args;
use serde_json::json;
use vibecoin_devnet::partition;

use super::state::Devnet;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, REPORTER};

/// Arguments of `partition`.
#[derive(Args, Clone, Debug)]
pub struct PartitionArgs {
    /// Groups, separated by `/`, of nodes, separated by commas: 0,1/2,3
    #[arg(value_name = "GROUPS")]
    groups: String,
}

/// Partitions the network.
pub fn cut(context: &Context, dir: &Path, args: &PartitionArgs) -> Result<Answer, CliError> {
    Devnet::look(dir)?.existing()?;
    let mut net = Devnet::change(dir, REPORTER)?;
    let groups = partition::groups(&net, &args.groups)?;
    context.wait_unreported(async {
        partition::cut(&mut net, &groups).await?;
        Ok(())
    })?;
    let text: Vec<String> = groups.iter().map(|group| group.join(",")).collect();
    Ok(Answer::new(json!({ "partition": groups })).text(format!(
        "cut: {}\nheal it with `vibecoin devnet heal`\n",
        text.join(" / ")
    )))
}

/// Heals the partition.
pub fn heal(context: &Context, dir: &Path) -> Result<Answer, CliError> {
    Devnet::look(dir)?.existing()?;
    let mut net = Devnet::change(dir, REPORTER)?;
    if net.existing()?.partition.is_empty() {
        return Ok(Answer::new(json!({ "healed": false })).text("the network is not cut"));
    }
    context.wait_unreported(async {
        partition::heal(&mut net).await?;
        Ok(())
    })?;
    Ok(Answer::new(json!({ "healed": true })).text("healed"))
}
