//! Contents of a node's home: files created by the devnet and its node are removed with the devnet, the
//! user's stay.
//!
//! The database and the consensus folder belong to the node as a whole. Account keys belong to the devnet
//! when both the name and the key are those derived from its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use vibecoin_config::{CONFIG_BYTES_MAX, Config, Paths};
use vibecoin_keystore::{Keystore, LOCK_FILE, dev_keys, seeded_key};
use vibecoin_primitives::{AddressPrefix, PublicKey};

use crate::error::Error;
use crate::files::{self, TEMPORARY, remove};
use crate::home::{DEV_ACCOUNTS, PREFIX_DEFAULT};
use crate::plan::{FAUCET, PAYOUT};
use crate::process::log_before;
use crate::record::{NodeRecord, State};

/// The account keys that a devnet creates, by name; a key is `None` when its seed is not recorded.
#[derive(Debug, Default)]
pub struct Accounts(BTreeMap<String, Option<PublicKey>>);

impl Accounts {
    /// The account keys of this devnet.
    ///
    /// # Errors
    /// A key that cannot be derived.
    pub fn of(state: &State) -> Result<Self, Error> {
        let dev = dev_keys(DEV_ACCOUNTS)?;
        let dev = dev.into_iter().map(|(name, key)| (name, Some(key.public_key())));
        let seeded = |purpose, index| {
            (!state.seed.is_empty()).then(|| seeded_key(&state.seed, purpose, index).public_key())
        };
        let validators = state.nodes.iter().filter(|node| node.is_validator());
        let payouts = (0..)
            .zip(validators)
            .map(|(index, _)| (format!("{PAYOUT}{index}"), seeded(PAYOUT, index)));
        let faucet = [(FAUCET.to_owned(), seeded(FAUCET, 0))];
        Ok(Self(dev.chain(faucet).chain(payouts).collect()))
    }

    fn has(&self, name: &str, key: &PublicKey) -> bool {
        let known = self.0.get(name);
        known.is_some_and(|known| known.is_none_or(|known| known == *key))
    }
}

/// Removes a node's files from the folder of the devnet, and returns the remaining ones of its home.
///
/// # Errors
/// A file that cannot be removed.
pub fn remove_node(node: &NodeRecord, accounts: &Accounts) -> Result<Vec<PathBuf>, Error> {
    remove(&node.log)?;
    remove(&log_before(&node.log))?;
    remove_home(&node.home, accounts)
}

fn remove_home(home: &Path, accounts: &Accounts) -> Result<Vec<PathBuf>, Error> {
    // Of a symbolic link only the link belongs to the devnet.
    if home.is_symlink() || !home.is_dir() {
        remove(home)?;
        return Ok(Vec::new());
    }
    let text = files::read_text(&Paths::config_in(home), CONFIG_BYTES_MAX).ok();
    let config = text.and_then(|text| vibecoin_config::parse(&text).ok());
    // The present paths of the configuration, and those at the creation of the home.
    let places = [Config::default(), config.unwrap_or_default()].map(|config| Paths::new(home, &config));
    let keystores: BTreeSet<&Path> = places.iter().map(|paths| paths.keystore.as_path()).collect();
    let keystores: Vec<&Path> = keystores.into_iter().filter(|dir| is_inside(dir, home)).collect();
    for dir in &keystores {
        remove_accounts(dir, accounts)?;
    }
    let mut made = made(home, &places)?;
    made.retain(|path| is_inside(path, home) && !keystores.iter().any(|dir| dir.starts_with(path)));
    for path in &made {
        remove(path)?;
    }
    for path in made.iter().map(PathBuf::as_path).chain(keystores.iter().copied()) {
        // Folders that are empty now, from the inside out.
        let around = path.ancestors().take_while(|folder| *folder != home);
        around.for_each(|folder| {
            let _holds_something = std::fs::remove_dir(folder);
        });
    }
    if std::fs::remove_dir(home).is_ok() {
        return Ok(Vec::new());
    }
    left(home, &keystores)
}

/// The contents of a home, with the files of its keystores one by one.
fn left(home: &Path, keystores: &[&Path]) -> Result<Vec<PathBuf>, Error> {
    let mut left = Vec::new();
    for path in entries(home)? {
        if keystores.contains(&path.as_path()) && path.is_dir() && !path.is_symlink() {
            left.extend(entries(&path)?);
        } else {
            left.push(path);
        }
    }
    Ok(left)
}

/// Remaining paths in the folder of a deleted devnet: the contents of its nodes' homes; the folder itself
/// when it is empty.
///
/// # Errors
/// A folder that cannot be read.
pub fn kept(folder: &Path, state: Option<&State>) -> Result<Vec<PathBuf>, Error> {
    let mut kept = Vec::new();
    for path in entries(folder)? {
        let is_home = state.is_some_and(|state| state.nodes.iter().any(|node| node.home == path));
        if is_home && path.is_dir() && !path.is_symlink() {
            kept.extend(left(&path, &[&Paths::new(&path, &Config::default()).keystore])?);
        } else {
            kept.push(path);
        }
    }
    if kept.is_empty() {
        kept.push(folder.to_owned());
    }
    Ok(kept)
}

/// Returns true for a path below the home, without resolving links.
fn is_inside(path: &Path, home: &Path) -> bool {
    let up = path.components().any(|part| part == Component::ParentDir);
    path != home && path.starts_with(home) && !up
}

/// The files and folders of the devnet and the node in a home, the configuration last: it has the paths of
/// the others.
fn made(home: &Path, places: &[Paths]) -> Result<Vec<PathBuf>, Error> {
    let mut made = vec![home.join(LOCK_FILE)];
    for paths in places {
        made.extend(
            [
                // Folders first: of one that is a link, only the link is removed.
                &paths.db,
                &paths.snapshots,
                &paths.consensus,
                &paths.log,
                &paths.witness,
                &paths.guard,
                &paths.genesis,
                &paths.validator_key,
                &paths.node_key,
                &paths.admin_token,
                &paths.endpoint,
                &paths.admin_endpoint,
            ]
            .map(PathBuf::clone),
        );
        for path in paths.peers.iter() {
            made.extend([path.clone(), path.with_extension("new")]);
        }
    }
    let config = Paths::config_in(home);
    let is_made = |name: &str| {
        let whole = |path: &PathBuf| path.file_name().is_some_and(|made| made == name);
        made.iter().any(whole) || config.file_name().is_some_and(|made| made == name)
    };
    let mut more = Vec::new();
    for path in entries(home)? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let hidden = name.strip_prefix('.');
        let half = hidden.and_then(|name| {
            let endings = [".new", ".tmp", ".restore"];
            endings.into_iter().find_map(|ending| name.strip_suffix(ending))
        });
        let turn = name.starts_with("sending-") && name.ends_with(".lock");
        let endpoint = name.ends_with(".endpoint.new") || name == "endpoint.endpoint.new";
        if turn || endpoint || name.starts_with(TEMPORARY) || half.is_some_and(is_made) {
            more.push(path);
        }
    }
    made.extend(more);
    made.push(config);
    Ok(made)
}

/// Removes the account keys that the devnet created, and their temporary files.
fn remove_accounts(dir: &Path, accounts: &Accounts) -> Result<(), Error> {
    if dir.is_symlink() || !dir.is_dir() {
        return Ok(());
    }
    let Ok(prefix) = AddressPrefix::new(PREFIX_DEFAULT) else {
        return Ok(());
    };
    // Keys that cannot be read stay: their owner is unknown.
    let Ok(store) = Keystore::open(dir, prefix) else {
        return Ok(());
    };
    for key in store.list().map(|list| list.keys).unwrap_or_default() {
        if accounts.has(&key.name, &key.public_key) {
            remove(&store.path(&key.name))?;
        }
    }
    for name in accounts.0.keys() {
        let file = store.path(name);
        if let Some(name) = file.file_name().and_then(|name| name.to_str()) {
            remove(&dir.join(format!(".{name}.tmp")))?;
        }
    }
    Ok(())
}

/// The entries of a folder, sorted.
///
/// # Errors
/// A folder that cannot be read.
pub fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let found = std::fs::read_dir(dir).map_err(Error::file("read", dir))?;
    let mut found: Vec<_> = found.flatten().map(|entry| entry.path()).collect();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::fs;

    use super::*;
    use crate::homes::{self, Layout};
    use crate::plan::{Network, Spec, tests::spec};
    use crate::testing::devnet_of;

    #[test]
    fn what_the_devnet_made_goes_and_what_a_user_put_there_stays_and_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let spec = Spec {
            validators: 1,
            full: 0,
            dev_accounts: DEV_ACCOUNTS,
            seed: "7".to_owned(),
            ..spec()
        };
        let network = Network::plan(&spec).unwrap();
        let net = devnet_of(&scratch.path().join("net"), 1, 0);
        let accounts = Accounts::of(net.state.as_ref().unwrap()).unwrap();
        let node = net.node(0).unwrap();
        let home = node.home.as_path();
        let make = || {
            homes::make(home, &network, &network.nodes[0], Layout::default(), None).unwrap();
            homes::accounts(home, &network, &network.accounts, None).unwrap();
            for name in [
                "db/1/CURRENT",
                ".db.restore/CURRENT",
                "snapshots/7-01/manifest",
                "consensus/log",
                "admin.token",
                "LOCK",
                "peers.json",
                "endpoint",
            ] {
                fs::create_dir_all(home.join(name).parent().unwrap()).unwrap();
                fs::write(home.join(name), "x").unwrap();
            }
            for name in [
                "sending-00.lock",
                ".config.toml.new",
                "admin.endpoint.new",
                "keys/.dev0.json.tmp",
            ] {
                fs::write(home.join(name), "x").unwrap();
            }
            fs::write(&node.log, "x").unwrap();
        };
        make();
        assert_eq!(remove_node(&node, &accounts).unwrap(), Vec::<PathBuf>::new());
        assert!(!home.exists() && !node.log.exists());

        make();
        let store = Keystore::open(home.join("keys"), AddressPrefix::new(PREFIX_DEFAULT).unwrap())
            .unwrap()
            .allow_unencrypted();
        let own = seeded_key("mine", "own", 0);
        store.create("own", &own, None).unwrap();
        // A name of the devnet's with a different key.
        store.delete("dev1").unwrap();
        store.create("dev1", &own, None).unwrap();
        fs::create_dir(home.join("mine")).unwrap();
        fs::write(home.join("mine/f"), "precious").unwrap();
        let left = remove_node(&node, &accounts).unwrap();
        let expected = ["keys/dev1.json", "keys/own.json", "mine"].map(|name| home.join(name));
        assert_eq!(left, expected);
        assert_eq!(
            entries(home).unwrap(),
            ["keys", "mine"].map(|name| home.join(name))
        );
        assert_eq!(fs::read_to_string(home.join("mine/f")).unwrap(), "precious");
        // Continuing the deletion has the same result.
        assert_eq!(remove_node(&node, &accounts).unwrap(), expected);
    }
}
