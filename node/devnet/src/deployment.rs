//! Deployment files for a network's hosts: unit files, or one compose file.

use std::fmt::Write as _;

use crate::plan::{Network, Node};

/// Format of the deployment files beside the homes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    #[default]
    Files,
    /// A compose file with a container for each node.
    Compose,
    /// A unit file for each node.
    Systemd,
}

/// Exits that a restart does not change: see the table of exit codes.
pub const FINAL_EXITS: &str = "9 10 11 20 30 40 50";
/// Path of a node's home on its host, in unit files.
const HOST_HOME: &str = "/var/lib/vibecoin";

/// Command line arguments of a node with its home at `home`.
#[must_use]
pub fn arguments(home: &str, encrypted: bool) -> String {
    let keys = if encrypted {
        format!("--password-file {home}/password")
    } else {
        "--allow-unencrypted".to_owned()
    };
    format!("node --home {home} {keys}")
}

/// A unit file for the host of a node.
#[must_use]
pub fn unit(node: &Node, encrypted: bool) -> String {
    let home = format!("{HOST_HOME}/{}", node.name);
    format!(
        "# Copy the folder {name} to {home}, owned by the user vibecoin, and the program to /usr/local/bin.\n\
         [Unit]\n\
         Description=VibeCoin {name}\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         User=vibecoin\n\
         ExecStart=/usr/local/bin/vibecoin {arguments}\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         RestartPreventExitStatus={FINAL_EXITS}\n\
         TimeoutStopSec=30\n\
         LimitNOFILE=65536\n\
         NoNewPrivileges=true\n\
         ProtectSystem=strict\n\
         ProtectHome=true\n\
         PrivateTmp=true\n\
         ReadWritePaths={home}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        name = node.name,
        arguments = arguments(&home, encrypted),
    )
}

/// One compose file for all nodes, each in a separate container.
#[must_use]
pub fn compose(network: &Network, encrypted: bool) -> String {
    let mut out = String::from(
        "# The image must have `vibecoin` as its entry point. The homes belong to whoever made them, so the\n\
         # containers run as that user: UID=$(id -u) GID=$(id -g) docker compose up\n\
         services:\n",
    );
    for node in &network.nodes {
        let (name, rpc) = (&node.name, node.ports.rpc());
        let command: Vec<String> = arguments("/home/node", encrypted)
            .split(' ')
            .map(|word| format!("\"{word}\""))
            .collect();
        let _ = write!(
            out,
            "  {name}:\n    \
             image: ${{VIBECOIN_IMAGE:-vibecoin:latest}}\n    \
             hostname: {name}\n    \
             user: \"${{UID:-1000}}:${{GID:-1000}}\"\n    \
             command: [{command}]\n    \
             volumes:\n      - ./{name}:/home/node\n    \
             ports:\n      - \"127.0.0.1:{published}:{rpc}\"\n    \
             stop_grace_period: 60s\n    \
             restart: on-failure\n",
            command = command.join(", "),
            published = node.ports.rpc(),
        );
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::plan::{Hosts, Spec, tests::spec};

    #[test]
    fn a_unit_runs_its_own_home_and_is_not_restarted_into_damage() {
        let network = Network::plan(&spec()).unwrap();
        let unit = unit(&network.nodes[2], false);
        let run = "vibecoin node --home /var/lib/vibecoin/validator-2 --allow-unencrypted\n";
        assert!(unit.contains(run), "{unit}");
        assert!(
            unit.contains(&format!("RestartPreventExitStatus={FINAL_EXITS}\n")),
            "{unit}"
        );
    }

    #[test]
    fn a_compose_file_has_every_node_once_and_publishes_to_this_machine_only() {
        let spec = Spec {
            hosts: Hosts::Names,
            ..spec()
        };
        let text = compose(&Network::plan(&spec).unwrap(), true);
        for name in ["validator-0", "validator-3", "full-0"] {
            assert_eq!(text.matches(&format!("\n  {name}:\n")).count(), 1, "{text}");
        }
        assert_eq!(text.matches("- \"127.0.0.1:").count(), 5);
        assert!(
            text.contains("\"--password-file\", \"/home/node/password\""),
            "{text}"
        );
    }
}
