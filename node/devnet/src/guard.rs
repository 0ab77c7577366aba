//! The double-sign guard of a validator's key, made with it.

use std::path::Path;

use vibecoin_storage::files::GuardFile;

use crate::error::{Class, Error};
use crate::home::make_private;

/// Creates the double-sign guard of a key that has signed nothing. An existing one is accepted if it has
/// never recorded a signature: an interrupted command created it, and not the key.
///
/// # Errors
/// A guard that was used, or the error of the file.
pub fn make_guard(path: &Path) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        make_private(folder)?;
    }
    if path.symlink_metadata().is_ok() {
        return unused_guard(path);
    }
    GuardFile::create(path)?;
    Ok(())
}

/// Returns true if the guard has recorded a signature: it belongs to its key, and to no other.
#[must_use]
pub fn is_used(guard: &Path) -> bool {
    GuardFile::open(guard).is_ok_and(|guard| guard.latest().is_some())
}

/// Accepts an existing guard if it has never recorded a signature.
fn unused_guard(path: &Path) -> Result<(), Error> {
    let detail = match GuardFile::open(path) {
        Ok(guard) if guard.latest().is_none() && !guard.was_torn() => return Ok(()),
        Ok(_) => "exists already, and was used".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Error::new(Class::Io, format!("{}: {detail}", path.display()))
        .hint("a guard without its key belongs to a key that may have signed; do not delete it"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_primitives::{Height, Round};
    use vibecoin_storage::files::GuardEntry;

    use super::*;

    #[test]
    fn a_guard_of_an_interrupted_command_is_taken_and_one_that_was_used_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("consensus/guard");
        make_guard(&path).unwrap();
        make_guard(&path).unwrap();
        let entry = GuardEntry {
            height: Height(1),
            round: Round(0),
            step: 0,
            payload: vec![1],
        };
        GuardFile::open(&path).unwrap().store(entry, 0).unwrap();
        assert!(make_guard(&path).unwrap_err().fault().unwrap().hint.is_some());
        std::fs::write(&path, "").unwrap();
        assert!(make_guard(&path).is_err());
    }
}
