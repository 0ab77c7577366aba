//! Black-box tests of whole processes: the output that a user or a script sees.
//!
//! The path of the binary is in the environment variable `VIBECOIN_BIN`; without it every test fails and
//! reports that.
//! Tests wait for lines and answers, never for time. A function whose result is not as expected panics with what it
//! found.
//!
//! - [`Home`] is a directory and the commands that are run on it; [`Node`] a running node, of `tests/nodes`.
//! - [`Devnet`] is a local network of several.
//! - [`Liar`] is a proxy that falsifies the answers of a node.
//! - [`http`] sends raw bytes to a node, for requests that no proper client would send.

mod devnet;
mod liar;
mod values;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use vibecoin_tests_nodes::command;

pub use devnet::Devnet;
pub use liar::{Honest, Liar};
pub use values::{balance, number, secret, without_genesis};
pub use vibecoin_tests_nodes::{Node, Ran, Signal, binary, call, copy, http, signal};

/// A temporary home directory, removed when dropped.
pub struct Home {
    dir: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// A chain of one validator that keeps its guard on disk, with the account `rich`.
    #[must_use]
    pub fn devnet() -> Self {
        let home = Self::new();
        home.found();
        home
    }

    /// Makes this home the one validator of a chain, with the account `rich`, in the files that its configuration
    /// names.
    pub fn found(&self) {
        let made = self.line("init --validator --allow-unencrypted").ok();
        let validator = made["validatorKey"].as_str().unwrap();
        let rich = self.new_key("rich");
        let genesis = self.file("given.toml");
        let genesis = genesis.to_str().unwrap();
        let network = format!("--validator {validator}=1={rich} --account {rich}=1000000000000");
        let _made = self
            .line(&format!("genesis new --profile devnet {network} --out {genesis}"))
            .ok();
        let _made = self.line(&format!("init --genesis {genesis}")).ok();
    }

    /// Makes a key without a passphrase; returns its address.
    #[must_use]
    pub fn new_key(&self, name: &str) -> String {
        let made = self.line(&format!("keys new {name} --allow-unencrypted")).ok();
        made["address"].as_str().unwrap().to_owned()
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Runs a command on this home with `-o json`.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&binary(), self.path(), arguments)
    }

    /// The same with a command line whose words contain no spaces.
    #[must_use]
    pub fn line(&self, line: &str) -> Ran {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// `subscribe headers` from block 0, after its first event: the process, and the rest of its output.
    #[must_use]
    pub fn follow_headers(&self) -> (Child, BufReader<ChildStdout>) {
        let mut follower = command(
            &binary(),
            "ndjson",
            self.path(),
            &["subscribe", "headers", "--from-height", "0"],
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
        let mut stdout = BufReader::new(follower.stdout.take().expect("its output"));
        let mut line = String::new();
        assert!(stdout.read_line(&mut line).expect("its output can be read") > 0);
        (follower, stdout)
    }

    /// The command, not yet run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(&binary(), "json", self.path(), arguments)
    }

    /// The address of a key of this home.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        self.run(&["keys", "show", name]).ok()["address"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

impl AsRef<Path> for Home {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}
