//! Size of the home folder. Thousands of files may be in it, so it is measured away from the threads that serve calls,
//! and remembered.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Maximum age of the figure when it is asked for, in milliseconds, before it is measured again.
const AGE_MAX_MS: u64 = 10_000;

/// The size of a folder as measured last.
#[derive(Debug)]
pub struct HomeSize {
    home: PathBuf,
    bytes: AtomicU64,
    measuring: Mutex<Measuring>,
}

#[derive(Debug, Default)]
struct Measuring {
    /// Start of the newest measurement, in milliseconds.
    begun_ms: u64,
    /// True while it runs.
    runs: bool,
}

/// A measurement that has to be made.
pub struct Measurement(Arc<HomeSize>);

impl HomeSize {
    /// The size of `home`, measured at once.
    pub fn new(home: PathBuf, now_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicU64::new(directory_bytes(&home)),
            home,
            measuring: Mutex::new(Measuring {
                begun_ms: now_ms,
                runs: false,
            }),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.home
    }

    /// The size as measured last. A figure that is too old is measured again by `on_a_thread`, once at a time.
    pub fn bytes(self: &Arc<Self>, now_ms: u64, on_a_thread: impl FnOnce(Measurement)) -> u64 {
        let mut measuring = self.measuring.lock();
        if !measuring.runs && now_ms.saturating_sub(measuring.begun_ms) >= AGE_MAX_MS {
            *measuring = Measuring {
                begun_ms: now_ms,
                runs: true,
            };
            drop(measuring);
            on_a_thread(Measurement(Arc::clone(self)));
        }
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Measurement {
    /// Measures.
    pub fn run(self) {
        let Self(size) = &self;
        size.bytes.store(directory_bytes(&size.home), Ordering::Relaxed);
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        self.0.measuring.lock().runs = false;
    }
}

fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    entries.flatten().fold(0, |sum, entry| {
        let bytes = match entry.metadata() {
            Ok(meta) if meta.is_dir() => directory_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        };
        sum.saturating_add(bytes)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn never(_: Measurement) {
        unreachable!("it is fresh, or being measured");
    }

    /// Found in review: each call walked the folder on a thread that serves calls.
    #[test]
    fn a_folder_is_measured_once_in_some_seconds_and_not_by_the_caller() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("db")).unwrap();
        std::fs::write(home.path().join("db/table"), [0; 100]).unwrap();
        let size = HomeSize::new(home.path().to_owned(), 0);
        std::fs::write(home.path().join("db/log"), [0; 11]).unwrap();
        assert_eq!(size.bytes(AGE_MAX_MS - 1, never), 100);
        let mut begun = None;
        assert_eq!(
            size.bytes(AGE_MAX_MS, |measurement| begun = Some(measurement)),
            100
        );
        assert_eq!(size.bytes(AGE_MAX_MS * 9, never), 100, "one at a time");
        begun.unwrap().run();
        assert_eq!(size.bytes(AGE_MAX_MS * 2 - 1, never), 111);
        let mut abandoned = None;
        size.bytes(AGE_MAX_MS * 2, |measurement| abandoned = Some(measurement));
        drop(abandoned);
        let mut again = false;
        size.bytes(AGE_MAX_MS * 3, |_| again = true);
        assert!(again, "one that was not made is made later");
    }
}
