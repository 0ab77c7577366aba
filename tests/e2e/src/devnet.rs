//! A local network in a temporary folder.

use std::fs::{self, File};

use serde_json::Value;

use crate::{Home, Ran};

/// A devnet, not yet made. Stopped when dropped.
pub struct Devnet {
    scratch: Home,
    /// Lock on the search for free ports, including the search of the program under test.
    _ports: File,
}

impl Default for Devnet {
    fn default() -> Self {
        Self::new()
    }
}

impl Devnet {
    /// Waits until no other test has one.
    #[must_use]
    pub fn new() -> Self {
        let ports = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(std::env::temp_dir().join("vibecoin-devnet-tests.lock"))
            .expect("a lock file");
        ports.lock().expect("the lock");
        Self {
            scratch: Home::new(),
            _ports: ports,
        }
    }

    /// The home of the commands; the devnet is in its folder `net`.
    #[must_use]
    pub fn scratch(&self) -> &Home {
        &self.scratch
    }

    fn dir(&self) -> String {
        self.scratch.file("net").to_string_lossy().into_owned()
    }

    /// Runs `devnet` with these arguments.
    #[must_use]
    pub fn run(&self, line: &str) -> Ran {
        let dir = self.dir();
        let words: Vec<_> = line.split(' ').collect();
        self.scratch
            .run(&[&["devnet", "--dir", &dir], &words[..]].concat())
    }

    /// The recorded state of the devnet.
    #[must_use]
    pub fn state(&self) -> Value {
        let recorded = fs::read(self.scratch.file("net/devnet.json")).expect("a devnet");
        serde_json::from_slice(&recorded).expect("a record in JSON")
    }

    /// Replaces a text in one of its files.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.scratch.file("net").join(file);
        let before = fs::read_to_string(&path).expect("the file");
        assert!(before.contains(from), "{file}: {before}");
        fs::write(path, before.replacen(from, to, 1)).expect("the file can be written");
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let dir = self.dir();
        let _stopped = self
            .scratch
            .command(&["devnet", "--dir", &dir, "down", "--grace", "0"])
            .output();
    }
}
