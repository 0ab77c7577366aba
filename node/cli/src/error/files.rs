//! Errors of files: the exit of the situation, and the part of the path to change.

use std::io::{self, ErrorKind};
use std::path::Path;

use vibecoin_primitives::text::quoted_path;

use crate::exit::Exit;

/// The exit for a file by the situation, not by the call that failed: `exit-codes.md` lists them.
pub fn exit_of_file(error: &io::Error, reads: bool) -> Exit {
    use io::ErrorKind as Kind;
    let is_loop = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => Exit::DiskFull,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Exit::Key,
        Kind::NotFound | Kind::NotADirectory if reads => Exit::NotFound,
        Kind::IsADirectory if reads => Exit::InvalidFile,
        _ if is_loop && reads => Exit::NotFound,
        Kind::NotFound
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::AlreadyExists
        | Kind::InvalidFilename
        | Kind::InvalidInput => Exit::Usage,
        _ if is_loop => Exit::Usage,
        _ => Exit::Io,
    }
}

/// Remedy for a file that cannot be read (`reads`) or written: it names the part of the path to change.
pub fn file_hint(kind: ErrorKind, path: &Path, reads: bool) -> Option<String> {
    let there = path.ancestors().skip(1).find(|folder| folder.exists());
    let there = there.unwrap_or(Path::new("."));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Some(match kind {
        ErrorKind::NotFound if path.is_symlink() => {
            format!(
                "it is a symbolic link to a place where nothing is: `ls -l {}`",
                quoted_path(path)
            )
        }
        // A folder that is made would not have the file to read.
        ErrorKind::NotFound if !folder.exists() && reads => format!(
            "there is no folder {}: `ls {}` shows what is there",
            folder.display(),
            quoted_path(there)
        ),
        ErrorKind::NotFound if !folder.exists() => {
            format!("make its folder first: `mkdir -p {}`", quoted_path(folder))
        }
        ErrorKind::NotFound => format!("`ls {}` shows what is there", quoted_path(folder)),
        ErrorKind::PermissionDenied => {
            let which = if path.exists() { path } else { there };
            format!(
                "this command runs as user {}: `ls -ld {}` shows whose it is and what others may do",
                rustix::process::geteuid().as_raw(),
                quoted_path(which)
            )
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!(
                "free some space: `df {}` shows how much there is",
                quoted_path(there)
            )
        }
        ErrorKind::ReadOnlyFilesystem => {
            format!(
                "{} is on a file system that is mounted read-only; name another place",
                there.display()
            )
        }
        ErrorKind::NotADirectory => {
            let file = path.ancestors().skip(1).find(|part| part.is_file());
            format!(
                "{} is a file, not a folder; name another place",
                file.unwrap_or(folder).display()
            )
        }
        ErrorKind::IsADirectory => format!("{} is a folder; name a file", path.display()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CliError;

    #[test]
    fn a_file_ends_with_the_exit_of_its_situation() {
        let exit = |action, kind: io::ErrorKind| CliError::file(action, Path::new("x"))(kind.into()).exit;
        for (kind, read, write) in [
            (io::ErrorKind::NotFound, Exit::NotFound, Exit::Usage),
            (io::ErrorKind::NotADirectory, Exit::NotFound, Exit::Usage),
            (io::ErrorKind::IsADirectory, Exit::InvalidFile, Exit::Usage),
            (io::ErrorKind::PermissionDenied, Exit::Key, Exit::Key),
            (io::ErrorKind::ReadOnlyFilesystem, Exit::Key, Exit::Key),
            (io::ErrorKind::StorageFull, Exit::DiskFull, Exit::DiskFull),
            (io::ErrorKind::QuotaExceeded, Exit::DiskFull, Exit::DiskFull),
            (io::ErrorKind::Other, Exit::Io, Exit::Io),
        ] {
            assert_eq!(
                (exit("read", kind), exit("write", kind)),
                (read, write),
                "{kind:?}"
            );
        }
        let looping = io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error());
        assert_eq!(
            CliError::file("read", Path::new("x"))(looping).exit,
            Exit::NotFound
        );
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn the_hint_of_a_file_error_can_be_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        for (path, kind, words) in [
            (
                "a/b/file",
                ErrorKind::NotFound,
                format!("mkdir -p {}/a/b", root.display()),
            ),
            ("none", ErrorKind::NotFound, format!("ls {}", root.display())),
            (
                "link",
                ErrorKind::NotFound,
                format!("ls -l {}/link", root.display()),
            ),
            (
                "file",
                ErrorKind::PermissionDenied,
                format!("ls -ld {}/file", root.display()),
            ),
            (
                "a/b",
                ErrorKind::PermissionDenied,
                format!("ls -ld {}", root.display()),
            ),
            ("a/b", ErrorKind::StorageFull, format!("df {}", root.display())),
        ] {
            let hint = CliError::file("write", &root.join(path))(kind.into())
                .hint
                .unwrap();
            assert!(hint.contains(&words), "{path}: {hint}");
            // Every command in a hint works as it stands.
            let command = hint.split('`').nth(1).unwrap();
            let done = std::process::Command::new("sh")
                .args(["-c", command])
                .output()
                .unwrap();
            assert!(done.status.success(), "{command}: {done:?}");
        }
        // And the remedy of the first one was the missing step.
        std::fs::write(root.join("a/b/file"), "").unwrap();
        let hint = |path: &str, kind: ErrorKind| file_hint(kind, &root.join(path), false).unwrap();
        assert!(
            hint("file/x/y", ErrorKind::NotADirectory)
                .contains(&format!("{}/file is a file", root.display()))
        );
        assert!(hint("a", ErrorKind::IsADirectory).contains("/a is a folder"));
        assert_eq!(file_hint(ErrorKind::Other, root, false), None);
        // A file to read is not there once its folder is made.
        let hint = file_hint(ErrorKind::NotFound, &root.join("c/d/e"), true).unwrap();
        assert!(!hint.contains("mkdir"), "{hint}");
        assert!(
            hint.ends_with(&format!("`ls {}` shows what is there", root.display())),
            "{hint}"
        );
    }
}
