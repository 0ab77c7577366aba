//! The paths of a home: one value, derived from the loaded configuration, for the node and every tool.
//!
//! A tool that derives paths separately would differ from the node as soon as an operator moves a file. So
//! only this module joins a home with a name.

use std::path::{Path, PathBuf};

use crate::Config;

/// The configuration file of a home, unless `--config` names another.
const CONFIG_FILE: &str = "config.toml";
/// The validator's key in a home.
const VALIDATOR_KEY_FILE: &str = "validator.key";
/// The file in which the running node writes its RPC address.
const ENDPOINT_FILE: &str = "endpoint";
/// The file in which the running node writes the address of the operator's listener.
const ADMIN_ENDPOINT_FILE: &str = "admin.endpoint";
/// The folder of snapshots in a home.
const SNAPSHOTS_FOLDER: &str = "snapshots";
/// The consensus log, in the folder of the consensus files.
const LOG_FILE: &str = "log";
/// The head witness, in the folder of the consensus files.
const WITNESS_FILE: &str = "head";

/// The files and folders of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The home directory.
    pub home: PathBuf,
    /// The genesis file.
    pub genesis: PathBuf,
    /// The folder of the account keys.
    pub keystore: PathBuf,
    /// The validator's key.
    pub validator_key: PathBuf,
    /// The key that identifies the node on the network.
    pub node_key: PathBuf,
    /// The folder of the database.
    pub db: PathBuf,
    /// The folder of the snapshots that this node makes.
    pub snapshots: PathBuf,
    /// The folder of the consensus log and the head witness.
    pub consensus: PathBuf,
    /// The consensus log.
    pub log: PathBuf,
    /// The head witness.
    pub witness: PathBuf,
    /// The double-sign guard.
    pub guard: PathBuf,
    /// The token of the operator's listener.
    pub admin_token: PathBuf,
    /// Address of the running node's RPC.
    pub endpoint: PathBuf,
    /// Address of the running node's admin listener.
    pub admin_endpoint: PathBuf,
    /// The address book; `None` when peers are not recorded.
    pub peers: Option<PathBuf>,
    /// The passphrase of the validator key; `None` for a different source.
    pub password: Option<PathBuf>,
}

impl Paths {
    /// The file in which the running node of a home writes its RPC address; not configurable.
    #[must_use]
    pub fn endpoint_in(home: &Path) -> PathBuf {
        home.join(ENDPOINT_FILE)
    }

    /// The configuration file of a home, unless `--config` names another.
    #[must_use]
    pub fn config_in(home: &Path) -> PathBuf {
        home.join(CONFIG_FILE)
    }

    /// The paths of the home under this configuration. Relative ones start at the home; a required file has
    /// its default name when the configuration leaves it empty.
    #[must_use]
    pub fn new(home: &Path, config: &Config) -> Self {
        let default = Config::default();
        let at =
            |path: &Path, default: &Path| Config::locate(home, path).unwrap_or_else(|| home.join(default));
        let consensus = at(&config.consensus.log_dir, &default.consensus.log_dir);
        Self {
            home: home.to_owned(),
            genesis: at(&config.node.genesis_file, &default.node.genesis_file),
            keystore: at(&config.node.keystore_dir, &default.node.keystore_dir),
            validator_key: home.join(VALIDATOR_KEY_FILE),
            node_key: at(&config.p2p.key_file, &default.p2p.key_file),
            db: at(&config.storage.db_dir, &default.storage.db_dir),
            snapshots: home.join(SNAPSHOTS_FOLDER),
            log: consensus.join(LOG_FILE),
            witness: consensus.join(WITNESS_FILE),
            consensus,
            guard: at(&config.consensus.guard_file, &default.consensus.guard_file),
            admin_token: at(&config.admin.token_file, &default.admin.token_file),
            endpoint: Self::endpoint_in(home),
            admin_endpoint: home.join(ADMIN_ENDPOINT_FILE),
            peers: Config::locate(home, &config.p2p.peers_file),
            password: Config::locate(home, &config.node.password_file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KNOBS, Kind, Sources};

    #[test]
    fn every_path_of_the_configuration_is_honoured() -> Result<(), crate::ConfigError> {
        let paths: Vec<_> = KNOBS
            .iter()
            .filter(|knob| matches!(knob.kind, Kind::Path))
            .collect();
        assert!(paths.len() >= 9, "{} knobs are paths", paths.len());
        let home = Path::new("/home");
        let before = Paths::new(home, &Config::default());
        for knob in paths {
            for (value, expected) in [("moved/there", "/home/moved/there"), ("/abs/there", "/abs/there")] {
                let config = Sources::new().flag(knob.key(), value).load()?.config;
                let after = Paths::new(home, &config);
                assert_ne!(before, after, "{} changes nothing", knob.key());
                let shown = format!("{after:?}");
                assert!(shown.contains(expected), "{}: {shown}", knob.key());
            }
        }
        Ok(())
    }

    #[test]
    fn the_log_and_the_witness_are_in_one_folder_and_the_guard_where_it_is_named() {
        let mut config = Config::default();
        config.consensus.log_dir = "/fast".into();
        config.consensus.guard_file = PathBuf::new();
        let paths = Paths::new(Path::new("h"), &config);
        assert_eq!(
            (paths.log, paths.witness, paths.guard),
            (
                "/fast/log".into(),
                "/fast/head".into(),
                "h/consensus/guard".into()
            )
        );
    }
}
