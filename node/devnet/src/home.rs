//! The home directory of a node: its paths, its keys, and what every home of a network for tests has in common.

use std::path::Path;

use vibecoin_config::Paths;
use vibecoin_keystore::{KeyError, NodeKeys, private};
use vibecoin_primitives::text::quoted_path;
use vibecoin_primitives::{AddressPrefix, Amount, TimeMs};
use zeroize::Zeroizing;

use crate::error::{Class, Error};
use crate::settings;

/// The prefix of addresses without a genesis file.
pub const PREFIX_DEFAULT: &str = "vibet";
/// Funded accounts of a dev chain, and of a devnet.
pub const DEV_ACCOUNTS: u32 = 10;
/// Balance of each of them, in base units: a million coins.
pub const DEV_BALANCE: Amount = Amount(1_000_000_000_000_000);

/// The files of a home, at the paths in its configuration.
///
/// # Errors
/// As [`settings::load`].
pub fn paths_of(home: &Path) -> Result<Paths, Error> {
    let loaded = settings::load(Some(home), None, &[], Class::InvalidFile)?;
    Ok(Paths::new(home, &loaded.config))
}

/// The keys of a home, at the paths in its configuration.
#[must_use]
pub fn keys_of(paths: &Paths, prefix: AddressPrefix) -> NodeKeys {
    NodeKeys::new(&paths.home, prefix).with_places(&paths.keystore, &paths.node_key)
}

/// The token that a node created for its operator; `None` when it created none.
///
/// # Errors
/// [`KeyError`] when other users can read the file.
pub fn read_token(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    match private::read_secret_text(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text.trim().to_owned()))),
        Err(KeyError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Creates a directory that only this user may enter.
///
/// # Errors
/// A link that leads nowhere, or the error of the system.
pub fn make_private(home: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    if home.is_symlink() && !home.exists() {
        let message = format!(
            "{} is a symbolic link to a place where nothing is",
            home.display()
        );
        return Err(Error::new(Class::NotFound, message).hint(link_hint(home)));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .map_err(Error::file("make the directory", home))
}

/// Remedy for a link that leads nowhere.
fn link_hint(link: &Path) -> String {
    let target = std::fs::read_link(link).unwrap_or_default();
    let target = link.parent().unwrap_or(link).join(target);
    format!(
        "make the folder that it leads to: `mkdir -p {}`, or remove the link: `rm {}`",
        quoted_path(&target),
        quoted_path(link)
    )
}

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> TimeMs {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
