//! Errors of snapshots as files.

use serde_json::json;
use vibecoin_primitives::text::quoted_path;
use vibecoin_snapshots::FilesError;

use super::CliError;
use crate::exit::Exit;
use crate::snapshots::STOPPED;

impl From<FilesError> for CliError {
    fn from(error: FilesError) -> Self {
        let message = error.to_string();
        match &error {
            FilesError::NotASnapshot { .. } => Self::unverified(message).reason("snapshot_damaged").hint(
                "name the folder of a snapshot, which holds a file `manifest`, or an archive that \
                 `vibecoin snapshot pack ID --out FILE` made",
            ),
            FilesError::Trust { .. } => Self::unverified(message).reason("snapshot_untrusted").hint(
                "take a snapshot of the chain of this genesis file, or name the chain's own file with --genesis FILE",
            ),
            FilesError::Source { .. } => Self::new(Exit::CannotConnect, message).reason("source_failed").hint(
                "the URL is that of a folder with a file `manifest`; the same command goes on behind the chunks that it \
                 has",
            ),
            FilesError::Exists { .. } => Self::new(Exit::Failure, message).reason("exists").hint(
                "`vibecoin snapshot list` shows the snapshots of a home; `vibecoin snapshot delete ID` removes one",
            ),
            FilesError::HasDatabase { .. } | FilesError::NotEmpty { .. } => {
                Self::new(Exit::Failure, message).reason("exists").hint(
                    "restore into a home without a database: name another home, or move that folder away",
                )
            }
            FilesError::MountPoint { .. } => Self::new(Exit::Failure, message).hint(
                "set storage.db_dir in the configuration to a folder below that mount point",
            ),
            FilesError::Space { path, .. } => Self::new(Exit::DiskFull, message).hint(format!(
                "free some space: `df {}` shows how much there is",
                quoted_path(path)
            )),
            FilesError::InUse { .. } => Self::new(Exit::Locked, message).hint("wait until it has ended"),
            FilesError::OfGenesis { .. } => {
                Self::new(Exit::InvalidFile, message).hint("`vibecoin init --genesis FILE` alone gives that state")
            }
            FilesError::NotFound { .. } => Self::new(Exit::NotFound, message)
                .hint("`vibecoin snapshot list` shows the snapshots of a home; --dir names another folder"),
            FilesError::Ambiguous { .. } => Self::usage(message)
                .hint("type more digits of the id, or the name of the folder or archive"),
            FilesError::Store { .. } => {
                Self::new(Exit::Corruption, message).hint("run `vibecoin db check` to see what is damaged")
            }
            FilesError::Stopped => Self::new(Exit::Failure, message).reason(STOPPED),
            _ if error.is_damage() => Self::unverified(message)
                .reason("snapshot_damaged")
                .data(json!({ "chunk": error.chunk() }))
                .hint("copy the snapshot again, or take another one"),
            _ => of_the_system(error),
        }
    }
}

/// Errors of files and of the database.
fn of_the_system(error: FilesError) -> CliError {
    match error {
        FilesError::File { action, path, source } => CliError::file(action, &path)(source),
        FilesError::Storage(error) => error.into(),
        other => CliError::new(Exit::Failure, other.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_damaged_chunk_ends_with_exit_8_and_is_named() {
        let error = CliError::from(FilesError::ChunkFile {
            path: PathBuf::from("s/chunks/ab"),
            index: 3,
            name: "accounts 4".to_owned(),
            detail: "the checksum is not that of the bytes".to_owned(),
        });
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (Exit::VerificationFailed, "snapshot_damaged")
        );
        assert_eq!(*error.data, json!({ "chunk": 3 }));
        assert!(
            error.message.contains("chunk 3 (accounts 4)"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_snapshot_that_is_not_there_is_not_found() {
        let path = PathBuf::from("/nowhere/at/all");
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = CliError::from(FilesError::File {
            action: "read",
            path,
            source,
        });
        assert_eq!(error.exit, Exit::NotFound);
        assert!(error.hint.unwrap().contains("/nowhere"));
    }
}
