//! Black-box tests of whole processes: the output that a user or a script sees.
//!
//! The path of the binary is in the environment variable `VIBECOIN_BIN`; without it every test fails and
//! reports that.
//! Tests wait for lines and answers, never for time. A function whose result is not as expected panics with what it
//! found.
//!
//! - [`Home`] is a directory and the commands that are run on it; [`Node`] a running node.
//! - [`Devnet`] is a local network of several.
//! - [`Liar`] is a proxy that falsifies the answers of a node.
//! - [`http`] sends raw bytes to a node, for requests that no proper client would send.

mod devnet;
pub mod http;
mod liar;
mod node;
mod values;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub use devnet::Devnet;
pub use liar::{Honest, Liar};
pub use node::{Node, call};
pub use values::{balance, number, secret, without_genesis};

/// The binary under test.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("VIBECOIN_BIN").expect(
        "VIBECOIN_BIN must name the binary to test; scripts/build.sh prints its path as the last line",
    );
    let path = PathBuf::from(path);
    assert!(
        path.is_file(),
        "VIBECOIN_BIN is {}, which is no file",
        path.display()
    );
    path
}

/// Output of a command.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// The one JSON value on stdout.
    pub json: Value,
    /// Everything on stderr.
    pub stderr: String,
}

impl Ran {
    /// Output of a process that was run with `-o json`.
    #[must_use]
    pub fn new(what: &[&str], output: &Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // Exactly one JSON value, for errors too: the output contract.
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("{what:?}: stdout is not one JSON value ({error}): {stdout}\n{stderr}")
        });
        Self {
            code: output.status.code().unwrap_or(-1),
            json,
            stderr,
        }
    }

    /// The answer of a command that must succeed.
    #[must_use]
    pub fn ok(self) -> Value {
        assert_eq!(self.code, 0, "{}\n{}", self.json, self.stderr);
        self.json
    }

    /// Checks the exit code and the reason of a failed command.
    pub fn fails(&self, code: i32, reason: &str) {
        let error = &self.json["error"];
        assert_eq!(
            (self.code, error["reason"].as_str()),
            (code, Some(reason)),
            "{}\n{}",
            self.json,
            self.stderr
        );
        assert!(
            error["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{error}"
        );
        let mut fields: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["code", "data", "hint", "message", "reason"]);
    }
}

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
        let made = home.run(&["init", "--validator", "--allow-unencrypted"]).ok();
        let validator = made["validatorKey"].as_str().unwrap().to_owned();
        let rich = home.run(&["keys", "new", "rich", "--allow-unencrypted"]).ok();
        let rich = rich["address"].as_str().unwrap().to_owned();
        let genesis = home.file("given.toml");
        let _made = home
            .run(&[
                "genesis",
                "new",
                "--profile",
                "devnet",
                "--validator",
                &format!("{validator}=1={rich}"),
                "--account",
                &format!("{rich}=1000000000000"),
                "--out",
                genesis.to_str().unwrap(),
            ])
            .ok();
        let _made = home.run(&["init", "--genesis", genesis.to_str().unwrap()]).ok();
        home
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
        let output = self.command(arguments).output().expect("the binary runs");
        Ran::new(arguments, &output)
    }

    /// `subscribe headers` from block 0, after its first event: the process, and the rest of its output.
    #[must_use]
    pub fn follow_headers(&self) -> (Child, BufReader<ChildStdout>) {
        let mut follower = self
            .command_in("ndjson", &["subscribe", "headers", "--from-height", "0"])
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
        self.command_in("json", arguments)
    }

    fn command_in(&self, format: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["-o", format, "--home"])
            .arg(self.path())
            .args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VIBECOIN_") {
                command.env_remove(name);
            }
        }
        command
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
