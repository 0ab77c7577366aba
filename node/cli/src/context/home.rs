//! The home directory as it was named.

use std::path::{Path, PathBuf};

use vibecoin_config::{Config, Paths};
use vibecoin_devnet::state::STATE_FILE;
use vibecoin_primitives::text::quoted_path;

use crate::environment;
use crate::error::CliError;

/// The reason of the error when there is no home directory.
pub const NO_HOME: &str = "no_home";

/// The given home directory, or that of the environment.
pub fn of(given: Option<&Path>) -> Result<PathBuf, CliError> {
    given
        .map(Path::to_owned)
        .or_else(|| environment::default_home(environment::value))
        .ok_or_else(|| {
            CliError::usage("there is no home directory: HOME and XDG_DATA_HOME name no absolute path")
                .reason(NO_HOME)
                .hint("give one with --home DIR")
        })
        .and_then(|home| resolved(&home))
}

/// The home directory as a path of the operating system. A symbolic link is resolved to its target, with or
/// without a trailing slash, for every command.
fn resolved(home: &Path) -> Result<PathBuf, CliError> {
    let home: PathBuf = home.components().collect();
    let refused = |what: &str| {
        CliError::usage(format!("the home directory {} {what}", home.display()))
            .reason("bad_home")
            .hint("name a directory, or one that can be made, with --home DIR")
    };
    let there = match std::fs::symlink_metadata(&home) {
        Ok(there) => there,
        Err(error) => {
            return match error.kind() {
                std::io::ErrorKind::NotFound => Ok(home),
                std::io::ErrorKind::NotADirectory => Err(refused("cannot be: a part of its path is a file")),
                _ => Err(CliError::file("read", &home)(error)),
            };
        }
    };
    let target = if there.is_symlink() {
        std::fs::canonicalize(&home).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => refused("is a symbolic link that leads nowhere"),
            _ => CliError::file("read", &home)(error),
        })?
    } else {
        home.clone()
    };
    if !std::fs::metadata(&target)
        .map_err(CliError::file("read", &target))?
        .is_dir()
    {
        return Err(refused("is not a directory"));
    }
    if target.join(STATE_FILE).is_file() && !is_home(&target) {
        let first = target.join("validator-0");
        return Err(
            refused("is the folder of a devnet, not the home of a node").hint(format!(
                "name the home of one of its nodes: --home {}",
                quoted_path(&first)
            )),
        );
    }
    Ok(target)
}

/// Returns true if a folder holds files that only a home has. A home can share its folder with a devnet, whose own
/// nodes have theirs in folders of it: its keys must stay within reach.
fn is_home(folder: &Path) -> bool {
    let paths = Paths::new(folder, &Config::default());
    [
        &Paths::config_in(folder),
        &paths.genesis,
        &paths.keystore,
        &paths.validator_key,
    ]
    .into_iter()
    .any(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_home_behind_a_link_is_one_home_however_it_is_written() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (home, link) = (folder.path().join("home"), folder.path().join("link"));
        assert_eq!(resolved(&home), Ok(home.clone()), "one that is to be made");
        std::fs::create_dir(&home)?;
        std::os::unix::fs::symlink("home", &link)?;
        let target = std::fs::canonicalize(&home)?;
        assert_eq!(resolved(&link), Ok(target.clone()));
        assert_eq!(resolved(&link.join("")), Ok(target));
        std::fs::remove_dir(&home)?;
        for path in [link.clone(), link.join("")] {
            let error = resolved(&path).err().map(|error| (error.exit, error.reason));
            assert_eq!(error, Some((Exit::Usage, "bad_home".to_owned())), "{path:?}");
        }
        std::fs::write(&home, "a file")?;
        for path in [home.clone(), link, home.join("below")] {
            let error = resolved(&path).err().map(|error| (error.exit, error.reason));
            assert_eq!(error, Some((Exit::Usage, "bad_home".to_owned())), "{path:?}");
        }
        Ok(())
    }

    #[test]
    fn the_folder_of_a_devnet_is_a_home_if_it_has_the_files_of_one() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let dir = folder.path();
        std::fs::write(dir.join(STATE_FILE), "{}")?;
        // The homes of its nodes are not files of a home.
        std::fs::create_dir_all(dir.join("validator-0/keys"))?;
        let reason = |found: Result<PathBuf, CliError>| found.map_err(|error| error.reason);
        for file in ["genesis.toml", "config.toml", "validator.key", "keys"] {
            assert_eq!(reason(resolved(dir)), Err("bad_home".to_owned()), "{file}");
            if file == "keys" {
                std::fs::create_dir(dir.join(file))?;
            } else {
                std::fs::write(dir.join(file), "")?;
            }
            assert_eq!(reason(resolved(dir)), Ok(dir.to_owned()), "{file}");
            if file != "keys" {
                std::fs::remove_file(dir.join(file))?;
            }
        }
        Ok(())
    }
}
