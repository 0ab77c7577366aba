//! Files that commands read and write, within bounds.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use vibecoin_devnet::files;
use vibecoin_genesis::{BuiltGenesis, GENESIS_BYTES_MAX, Genesis};
use vibecoin_keystore::{KeyError, private};
use vibecoin_light::Trust;
use vibecoin_primitives::text::without_mark;
use zeroize::Zeroizing;

use crate::error::CliError;

/// Reads a text file of at most `most` bytes, without the byte-order mark that some editors write; `-` is stdin.
pub fn read_text(path: &Path, most: usize) -> Result<String, CliError> {
    Ok(files::read_text(path, most)?)
}

/// Returns true if there is an entry of this name, even a dangling link. An entry that cannot be examined is
/// not reported as absent.
pub fn exists(path: &Path) -> Result<bool, CliError> {
    Ok(files::exists(path)?)
}

/// Reads a text with a secret: a file of this user that no other user can read, not reached through a link;
/// `-` is stdin.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    if path != Path::new("-") {
        return private::read_secret_text(path);
    }
    let refused = |detail: String| KeyError::Import {
        detail: format!("stdin: {detail}"),
    };
    let most = private::FILE_BYTES_MAX;
    // The whole capacity from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| refused(error.to_string()))?;
    if bytes.len() > most {
        return Err(refused(format!("more than {most} bytes")));
    }
    let text = str::from_utf8(&bytes).map_err(|_| refused("not UTF-8 text".to_owned()))?;
    Ok(Zeroizing::new(without_mark(text).to_owned()))
}

/// Writes a file atomically; an existing one stays unless `overwrite`.
pub fn write(path: &Path, text: &str, overwrite: bool) -> Result<(), CliError> {
    Ok(files::write(path, text, overwrite)?)
}

/// Writes a file that only the holder of a lock writes: it is replaced as a whole.
pub fn write_locked(path: &Path, text: &str) -> Result<(), CliError> {
    Ok(files::write_locked(path, text)?)
}

/// The file that `--out` names; `None` for `-`, which is stdout, as `-` is stdin where a file is read.
pub fn named_out(out: Option<PathBuf>) -> Option<PathBuf> {
    out.filter(|path| path != Path::new("-"))
}

/// Writes the result of a command with `--out`: an existing file stays unless `force`.
pub fn write_out(path: &Path, text: &str, force: bool) -> Result<(), CliError> {
    write(path, text, force).map_err(|error| match error.reason.as_str() {
        "exists" => error.hint("--force replaces it, another --out leaves it"),
        _ => error,
    })
}

/// Reads a genesis file.
pub fn genesis(path: &Path) -> Result<Genesis, CliError> {
    Ok(files::genesis(path)?)
}

/// Reads a genesis file that may still lack accounts and validators.
pub fn genesis_draft(path: &Path) -> Result<Genesis, CliError> {
    let text = read_text(path, GENESIS_BYTES_MAX)?;
    Genesis::parse_draft(&text).map_err(|error| CliError::genesis(path, &error))
}

/// Builds block 0 of a genesis file.
pub fn build(path: &Path, genesis: &Genesis) -> Result<BuiltGenesis, CliError> {
    Ok(files::build(path, genesis)?)
}

/// The trust anchor that a genesis file provides.
pub fn trust(genesis: &BuiltGenesis) -> Trust {
    Trust::new(genesis.hash, &genesis.params, genesis.validators.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::exit::Exit;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, "one", false).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = write_out(&path, "two", false).unwrap_err();
        assert_eq!((error.exit, error.reason.as_str()), (Exit::Failure, "exists"));
        assert!(error.hint.unwrap().contains("--force"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        let reader = std::fs::File::open(&path).unwrap();
        write(&path, "two", true).unwrap();
        let mut old = String::new();
        (&reader).read_to_string(&mut old).unwrap();
        assert_eq!(
            old, "one",
            "an open reader keeps the old file: it was not written over"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "permissions stay");
        assert_eq!(names(folder.path()), ["a"], "no temporary file is left");
    }

    #[test]
    fn a_mark_in_front_of_a_text_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (bytes, text) in [
            (&b"\xef\xbb\xbf{}"[..], "{}"),
            (b"{}", "{}"),
            (b"\xef\xbb\xbf", ""),
        ] {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(read_text(&path, 100).unwrap(), text);
            assert_eq!(read_secret(&path).unwrap().as_str(), text);
        }
        // Microsoft's "Unicode" encoding is not guessed.
        std::fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
        assert_eq!(read_text(&path, 100).unwrap_err().exit, Exit::InvalidFile);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert_eq!(exists(&link), Ok(true));
        assert_eq!(read_text(&link, 1).unwrap_err().exit, Exit::NotFound);
    }
}
