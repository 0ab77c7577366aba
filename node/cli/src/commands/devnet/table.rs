//! Output of `up` and `status`: the nodes, their progress, and further commands.

use serde_json::{Value, json};
use vibecoin_devnet::state::{Devnet, NodeRecord, State};
use vibecoin_devnet::supervisor::Live;

use crate::program::quoted_path;
use crate::table::{Column, Table};

/// A line for each node.
pub fn text(state: &State, live: &[Live]) -> String {
    let columns = ["#", "node", "role", "pid", "height", "peers", "rpc", "p2p", "log"].map(Column::Left);
    let mut table = Table::new(columns);
    for ((number, node), live) in state.nodes.iter().enumerate().zip(live) {
        let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            number.to_string(),
            node.name.clone(),
            node.role.clone(),
            live.pid
                .map_or_else(|| "stopped".to_owned(), |pid| pid.to_string()),
            or(live.head.map(|head| head.height.to_string())),
            or(live.peers.map(|peers| peers.to_string())),
            or(node.rpc.clone()),
            or(node.p2p.as_deref().map(|p2p| short(p2p).to_owned())),
            node.log.display().to_string(),
        ]);
    }
    let mut out = table.text();
    if !state.partition.is_empty() {
        let groups: Vec<String> = state.partition.iter().map(|group| group.join(",")).collect();
        out.push_str(&format!(
            "\npartition: {}   (`vibecoin devnet heal` ends it)\n",
            groups.join(" / ")
        ));
    }
    out
}

/// An address without the peer id at its end.
fn short(address: &str) -> &str {
    address.split("/p2p/").next().unwrap_or(address)
}

/// The file with the present state of every node.
pub fn json(state: &State, live: &[Live]) -> Value {
    let mut json = serde_json::to_value(state).unwrap_or(Value::Null);
    let nodes = json.get_mut("nodes").and_then(Value::as_array_mut);
    for (node, live) in nodes.into_iter().flatten().zip(live) {
        if let Some(node) = node.as_object_mut() {
            node.insert("pid".to_owned(), json!(live.pid));
            node.insert(
                "height".to_owned(),
                json!(live.head.map(|head| head.height.to_string())),
            );
            node.insert(
                "hash".to_owned(),
                json!(live.head.map(|head| head.hash.to_string())),
            );
            node.insert("peers".to_owned(), json!(live.peers));
        }
    }
    json
}

/// Further commands, ready to be pasted.
pub fn next_commands(net: &Devnet, first: &NodeRecord) -> String {
    let binary = std::env::current_exe().map_or_else(|_| "vibecoin".to_owned(), |path| quoted_path(&path));
    let (rpc, home, dir) = (first.url(), quoted_path(&first.home), quoted_path(&net.dir));
    format!(
        "\nnext\n  \
         {binary} -u {rpc} status\n  \
         {binary} keys list --home {home}\n  \
         {binary} -u {rpc} transfer ADDRESS 1000 --from dev0 --home {home} --allow-unencrypted --wait final\n  \
         {binary} devnet --dir {dir} status --watch\n  \
         {binary} devnet --dir {dir} down\n"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_next_commands_can_be_pasted_wherever_the_devnet_is() {
        let folder = tempfile::tempdir().unwrap();
        let net = super::super::tests::devnet_of(&folder.path().join("my net"), 1, 0);
        let text = next_commands(&net, &net.node(0).unwrap());
        let dir = net.dir.display();
        assert!(
            text.contains(&format!("keys list --home '{dir}/validator-0'\n")),
            "{text}"
        );
        assert!(text.contains(&format!("devnet --dir '{dir}' down\n")), "{text}");
        assert!(!text.contains(&format!(" {dir}")), "{text}");
    }

    #[test]
    fn an_address_is_shown_without_the_identity() {
        assert_eq!(short("/ip4/1.2.3.4/tcp/5/p2p/12D3"), "/ip4/1.2.3.4/tcp/5");
    }
}
