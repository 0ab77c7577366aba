//! Partitions of the network: every node bans those of the other groups through its admin methods, and lifts
//! the bans when the partition is healed.
//!
//! The partition is in `devnet.json`, so that a node that is started later applies its bans too, and `heal`
//! knows which to lift.

use std::time::{Duration, Instant};

use crate::client::{self, Admin};
use crate::error::{Class, Error};
use crate::process::LOOK_EVERY;
use crate::state::{Devnet, NodeRecord};
use crate::wait::Reports;

/// Reason recorded in the bans.
const REASON: &str = "partition";
/// Maximum time for connections across the partition to end.
const CUT_WITHIN: Duration = Duration::from_secs(10);

/// Separates groups of nodes from each other, and waits until no connection crosses the partition.
///
/// # Errors
/// A node without a listener for its operator, before anything is changed; a node that refuses; connections that do
/// not end.
pub async fn cut(net: &mut Devnet, groups: &[Vec<String>]) -> Result<(), Error> {
    // A partition that one of them cannot apply is not started.
    net.running()
        .iter()
        .try_for_each(|node| Admin::of(node).map(drop))?;
    if !net.existing()?.partition.is_empty() {
        forgive(net, groups).await?;
    }
    // Before the bans: `heal` must know of them, even if this command is interrupted.
    net.existing_mut()?.partition = groups.to_vec();
    net.save()?;
    let all: Vec<usize> = (0..net.existing()?.nodes.len()).collect();
    apply_to(net, &all).await?;
    until_cut(net).await
}

/// Heals the partition. Returns false if there is none.
///
/// # Errors
/// A node that refuses.
pub async fn heal(net: &mut Devnet) -> Result<bool, Error> {
    if net.existing()?.partition.is_empty() {
        return Ok(false);
    }
    forgive(net, &[]).await?;
    net.existing_mut()?.partition.clear();
    net.save()?;
    Ok(true)
}

/// Parses `0,1/2,3`. Nodes that are not listed join the first group.
///
/// # Errors
/// A node that is unknown or listed twice, or a single group.
pub fn groups(net: &Devnet, text: &str) -> Result<Vec<Vec<String>>, Error> {
    let mut of: Vec<Option<usize>> = vec![None; net.existing()?.nodes.len()];
    let mut count = 0;
    for (group, nodes) in text.split('/').enumerate() {
        for node in nodes.split(',').map(str::trim) {
            let slot = of.get_mut(net.position(node)?);
            if let Some(slot) = slot
                && slot.replace(group).is_some()
            {
                return Err(Error::usage(format!("node {node} is in {text} twice"))
                    .hint("name each node once; those that are left out join the first group"));
            }
        }
        count = group.saturating_add(1);
    }
    if count < 2 {
        return Err(
            Error::usage(format!("{text} is one group, so nothing would be cut"))
                .hint("separate the groups with a /, such as 0,1/2,3"),
        );
    }
    let state = net.existing()?;
    let names = |group: usize| {
        let in_it = of
            .iter()
            .zip(&state.nodes)
            .filter(|(of, _)| of.unwrap_or(0) == group);
        in_it.map(|(_, node)| node.name.clone()).collect()
    };
    Ok((0..count).map(names).collect())
}

/// The group of a node. One created after the partition is in the first.
fn side(groups: &[Vec<String>], name: &str) -> usize {
    groups
        .iter()
        .position(|group| group.iter().any(|member| member == name))
        .unwrap_or(0)
}

/// Those of `others` that a node can reach.
///
/// # Errors
/// There is no such node.
pub fn same_side(net: &Devnet, number: usize, others: Vec<NodeRecord>) -> Result<Vec<NodeRecord>, Error> {
    let groups = &net.existing()?.partition;
    let own = side(groups, &net.node(number)?.name);
    Ok(others
        .into_iter()
        .filter(|other| side(groups, &other.name) == own)
        .collect())
}

/// Applies the partition, if there is one, to these nodes, and to the others towards them, provided that they run.
///
/// # Errors
/// A node that refuses.
pub async fn apply_to(net: &Devnet, numbers: &[usize]) -> Result<(), Error> {
    let state = net.existing()?;
    if state.partition.is_empty() {
        return Ok(());
    }
    for number in numbers {
        let node = net.node(*number)?;
        if net.pid(&node).is_none() {
            continue;
        }
        let admin = Admin::of(&node)?;
        for other in across(&state.partition, &state.nodes, &node) {
            admin.ban(&other.peer_id, REASON).await?;
            // The partition may be older than the node.
            if net.pid(other).is_some() {
                Admin::of(other)?.ban(&node.peer_id, REASON).await?;
            }
        }
    }
    Ok(())
}

/// The nodes on the other sides of a partition.
fn across<'a>(
    groups: &'a [Vec<String>],
    nodes: &'a [NodeRecord],
    node: &NodeRecord,
) -> impl Iterator<Item = &'a NodeRecord> {
    let own = side(groups, &node.name);
    nodes.iter().filter(move |other| side(groups, &other.name) != own)
}

/// Lifts the bans of the recorded partition that are in place, except those that `next` has as well. A node has none where
/// it was down, or where an earlier attempt was interrupted.
async fn forgive(net: &Devnet, next: &[Vec<String>]) -> Result<(), Error> {
    let state = net.existing()?;
    for node in &state.nodes {
        if net.pid(node).is_none() {
            continue;
        }
        let admin = Admin::of(node)?;
        let banned = admin.bans().await?;
        let across = across(&state.partition, &state.nodes, node);
        for other in across.filter(|other| banned.contains(&other.peer_id)) {
            if next.is_empty() || side(next, &node.name) == side(next, &other.name) {
                admin.unban(&other.peer_id).await?;
            }
        }
    }
    Ok(())
}

/// Waits until no connection crosses the partition.
async fn until_cut(net: &Devnet) -> Result<(), Error> {
    let begun = Instant::now();
    let mut reports = Reports::begin();
    loop {
        let mut left = Vec::new();
        let state = net.existing()?;
        for node in net.running() {
            let peers = client::peers(&client::client(node.url())?).await;
            let peers = peers.map_err(|error| error.at(node.url(), client::silent_hint(&node)))?;
            for other in across(&state.partition, &state.nodes, &node) {
                if peers.contains(&other.peer_id) {
                    left.push(format!("{} with {}", node.name, other.name));
                }
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= CUT_WITHIN {
            net.reporter()
                .note(&format!("still connected: {}", left.join(", ")));
            return Err(Error::new(
                Class::Timeout,
                format!(
                    "connections across the cut live on after {} s",
                    CUT_WITHIN.as_secs()
                ),
            )
            .hint("the bans are in place; `vibecoin devnet heal` takes them back"));
        }
        if let Some(seconds) = reports.due() {
            net.reporter().say(&format!(
                "waiting for the end of connections across the cut, for {seconds} s: {}",
                left.join(", ")
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::devnet_of;

    #[test]
    fn groups_are_numbers_or_names_and_the_others_join_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let net = devnet_of(dir.path(), 4, 1);
        let read = |text: &str| groups(&net, text);
        let joined = |text: &str| {
            read(text)
                .unwrap()
                .iter()
                .map(|group| group.join(","))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            joined("0,1/2,validator-3"),
            ["validator-0,validator-1,full-0", "validator-2,validator-3"]
        );
        assert_eq!(
            joined("3/0/4"),
            ["validator-1,validator-2,validator-3", "validator-0", "full-0"]
        );
        for (text, words) in [
            ("0,1", "one group"),
            ("0/0", "twice"),
            ("0/9", "no node 9"),
            ("0/", "no node"),
            ("", "no node"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_node_bans_exactly_those_of_the_other_groups() {
        let dir = tempfile::tempdir().unwrap();
        let net = devnet_of(dir.path(), 4, 1);
        let groups = groups(&net, "0,1/2,3").unwrap();
        let state = net.existing().unwrap();
        let banned = |number: usize| {
            let node = net.node(number).unwrap();
            let names: Vec<_> = across(&groups, &state.nodes, &node)
                .map(|other| other.name.clone())
                .collect();
            names
        };
        assert_eq!(banned(0), ["validator-2", "validator-3"]);
        assert_eq!(banned(2), ["validator-0", "validator-1", "full-0"]);
    }
}
