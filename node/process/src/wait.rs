//! Waiting, never in silence: what is awaited, the holder of a lock and the elapsed time are reported.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Error;

/// Time between two attempts to take the lock. The lock of a file cannot be awaited with a report in between.
const RETRY: Duration = Duration::from_millis(10);
/// Time after which a wait is reported first.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// Time from one report to the next.
const THEN_EVERY: Duration = Duration::from_secs(10);

/// Receiver of the lines that a long operation writes while it is under way.
#[derive(Clone, Copy, Debug)]
pub struct Reporter {
    note: fn(&str),
    say: fn(&str),
}

impl Reporter {
    /// Drops every line.
    pub const SILENT: Self = Self::new(drop_line, drop_line);

    /// A receiver of notes, which concern the outcome, and of lines of progress alone.
    #[must_use]
    pub const fn new(note: fn(&str), say: fn(&str)) -> Self {
        Self { note, say }
    }

    /// Passes on a line that concerns the outcome: a repair, a long wait.
    pub fn note(self, text: &str) {
        (self.note)(text);
    }

    /// Passes on a line of progress.
    pub fn say(self, text: &str) {
        (self.say)(text);
    }
}

fn drop_line(_: &str) {}

/// Schedule of the reports of a wait: after a while, then every ten seconds.
#[derive(Debug)]
pub struct Reports {
    begun: Instant,
    next: Duration,
}

impl Reports {
    /// A wait that begins now, for an event that should have occurred already.
    #[must_use]
    pub fn begin() -> Self {
        Self::after(FIRST_AFTER)
    }

    /// A wait that begins now and is normal until this time.
    #[must_use]
    pub fn after(first: Duration) -> Self {
        Self {
            begun: Instant::now(),
            next: first,
        }
    }

    /// The time until a report is due.
    #[must_use]
    pub fn until_due(&self) -> Duration {
        self.next.saturating_sub(self.begun.elapsed())
    }

    /// The elapsed seconds of the wait, when a report is due.
    pub fn due(&mut self) -> Option<u64> {
        let waited = self.begun.elapsed();
        if waited < self.next {
            return None;
        }
        self.next = waited.saturating_add(THEN_EVERY);
        Some(waited.as_secs())
    }
}

/// Takes the lock of an open file, and reports while another process holds it. `who` describes that process.
///
/// # Errors
/// The system's error for the file at `path`.
pub fn lock(file: &File, path: &Path, who: &str, reporter: Reporter) -> Result<(), Error> {
    take(file, path, who, reporter).map_err(Error::file("lock", path))
}

/// As [`lock`], with the error of the system.
///
/// # Errors
/// That of the lock.
pub fn take(file: &File, path: &Path, who: &str, reporter: Reporter) -> io::Result<()> {
    let mut reports = Reports::begin();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if let Some(seconds) = reports.due() {
            reporter.note(&report(file, path, who, seconds));
        }
        std::thread::sleep(RETRY);
    }
}

/// Report of a wait for a lock: the holder, and the elapsed time.
#[must_use]
pub fn report(file: &File, path: &Path, who: &str, seconds: u64) -> String {
    let holder = holder(file).map_or_else(String::new, |pid| format!(" (pid {pid})"));
    format!(
        "waiting for {who}{holder}, for {seconds} s; it has the lock {}",
        path.display()
    )
}

/// Returns true if an open file still has this name.
#[must_use]
pub fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// The process that holds the lock of a file, where the system reports it.
#[must_use]
pub fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    table.lines().find_map(|line| locker(line, inode))
}

/// The process of a line such as `1: FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF`, if it is of this inode.
fn locker(line: &str, inode: u64) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let (pid, place) = (fields.nth(2)?, fields.next()?);
    let found: u64 = place.rsplit_once(':')?.1.parse().ok()?;
    (found == inode).then(|| pid.parse().ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        assert_eq!(holder(&file), None);
        file.lock().unwrap();
        assert_eq!(holder(&File::open(&path).unwrap()), Some(std::process::id()));
        let line = "12: FLOCK  ADVISORY  WRITE 77 fd:00:41 0 EOF";
        assert_eq!((locker(line, 41), locker(line, 42)), (Some(77), None));
        // A process that waits for the lock is not a holder.
        assert_eq!(
            locker("12: -> FLOCK  ADVISORY  WRITE 78 fd:00:41 0 EOF", 41),
            None
        );
        assert_eq!(locker("12: POSIX  ADVISORY  WRITE 78 fd:00:41 0 EOF", 41), None);
    }
}
