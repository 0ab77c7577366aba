//! Remains of killed processes in a home.

use std::path::Path;

use crate::error::FilesError;
use crate::fetch::remove_fetched;
use crate::folder::remove_remains;
use crate::restore::{has_database, remove_unfinished};

/// Removes what killed processes left in a home whose lock the caller holds: a database that was being restored,
/// snapshots that were being made, packed or deleted, and, where there is a database, the chunks that were fetched for
/// one.
///
/// # Errors
/// [`FilesError::File`] with the first that cannot be removed.
pub fn clean(home: &Path, db: &Path, snapshots: &Path) -> Result<(), FilesError> {
    remove_unfinished(db)?;
    if has_database(db) {
        remove_fetched(home, None)?;
    }
    if snapshots.is_dir() {
        remove_remains(snapshots)?;
    }
    Ok(())
}
