//! Turns between programs that send from one key.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use vibecoin_primitives::PublicKey;

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::say;
use crate::wait::{self, Reports};

/// Time between two attempts to take the lock. The lock of a file cannot be awaited with a deadline.
const RETRY: Duration = Duration::from_millis(5);
/// Description of the awaited program.
const WHO: &str = "another program that sends from this key";

/// The exclusive right to send from one key of a home, until dropped or until the process ends, for any
/// reason.
///
/// The operating system holds the lock; the empty file stays and has no meaning.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

impl Turn {
    /// Waits until no other program sends from `key`.
    ///
    /// # Errors
    /// Exit 6 when the lock is not obtained within `timeout`; an error of the file otherwise.
    pub async fn take(home: &Path, key: &PublicKey, timeout: Duration) -> Result<Self, CliError> {
        let name: String = key.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = home.join(format!("sending-{name}.lock"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &path, flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(|error| CliError::file("open", &path)(error.into()))?;
        let started = Instant::now();
        let mut reports = Reports::begin();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(CliError::file("lock", &path)(error)),
            }
            let waited = started.elapsed();
            if waited >= timeout {
                let holder = wait::holder(&file).map_or_else(String::new, |pid| format!(" (pid {pid})"));
                let message = format!(
                    "another program{holder} has been sending from this key for {} s ({})",
                    waited.as_secs(),
                    path.display()
                );
                return Err(CliError::new(Exit::Timeout, message)
                    .reason("key_busy")
                    .hint("wait for it to end, or raise --timeout; nothing was sent"));
            }
            if let Some(seconds) = reports.due() {
                say(&wait::report(&file, &path, WHO, seconds));
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_program_at_a_time_sends_from_a_key() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let turn = Turn::take(home.path(), &one, Duration::ZERO).await.unwrap();
        let busy = Turn::take(home.path(), &one, Duration::ZERO).await.unwrap_err();
        assert_eq!(
            (busy.exit, busy.reason.as_str()),
            (Exit::Timeout, "key_busy"),
            "{busy:?}"
        );
        let holder = format!("(pid {})", std::process::id());
        assert!(busy.message.contains(&holder), "{}", busy.message);
        assert!(
            Turn::take(home.path(), &other, Duration::ZERO).await.is_ok(),
            "another key has a turn of its own"
        );
        drop(turn);
        assert!(Turn::take(home.path(), &one, Duration::ZERO).await.is_ok());
    }
}
