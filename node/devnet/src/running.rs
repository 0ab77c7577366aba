//! The node that runs on a home, according to its files: no lock is taken, and no process is contacted.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use vibecoin_config::Paths;
use vibecoin_keystore::{HomeLock, LOCK_FILE};

use crate::{files, wait};

/// Maximum size of the file that holds a node's address, in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 1024;

/// A running node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// The port of its RPC.
    pub port: u16,
}

impl Running {
    /// The node of a home; `None` when none runs, or none that is ready yet. The file with its address stays
    /// when a node is killed: it is valid while the home is locked by the process recorded in the lock, and if it
    /// was written after the lock was taken. Another command may have the lock, or a node that is not ready yet.
    #[must_use]
    pub fn on(home: &Path) -> Option<Self> {
        let lock = File::open(home.join(LOCK_FILE)).ok()?;
        let pid = wait::holder(&lock).filter(|pid| HomeLock::holder(home) == Some(*pid))?;
        let endpoint = Paths::endpoint_in(home);
        let (taken, written) = (written_at(&home.join(LOCK_FILE))?, written_at(&endpoint)?);
        if written < taken {
            return None;
        }
        let text = files::read_text(&endpoint, ENDPOINT_BYTES_MAX).ok()?;
        let port = text.trim().rsplit_once(':')?.1.parse().ok()?;
        Some(Self { pid, port })
    }
}

fn written_at(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_that_a_killed_node_left_is_of_no_running_node() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(Paths::endpoint_in(home.path()), "http://127.0.0.1:4321\n").unwrap();
        assert_eq!(Running::on(home.path()), None);
        let lock = HomeLock::acquire(home.path()).unwrap();
        let taken = written_at(&home.path().join(LOCK_FILE)).unwrap();
        let file = File::options().write(true).open(Paths::endpoint_in(home.path()));
        let write_at = |time| file.as_ref().unwrap().set_modified(time).unwrap();
        write_at(taken.checked_sub(Duration::from_secs(1)).unwrap());
        assert_eq!(Running::on(home.path()), None, "the next one is not ready yet");
        write_at(taken);
        let running = Running {
            pid: std::process::id(),
            port: 4321,
        };
        assert_eq!(Running::on(home.path()), Some(running));
        std::fs::write(Paths::endpoint_in(home.path()), "http://[::1]:9\n").unwrap();
        assert_eq!(Running::on(home.path()).map(|running| running.port), Some(9));
        drop(lock);
        assert_eq!(Running::on(home.path()), None);
    }
}
