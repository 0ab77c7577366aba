//! Programs and commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

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

/// A program of the target folder that the running program is in. `build` is the rest of the command that builds it.
#[must_use]
pub fn sibling(name: &str, build: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the running program has a path");
    let mut folder = own.parent().unwrap_or(Path::new("."));
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "there is no {}; build it: cargo build --release {build}",
        path.display()
    );
    path
}

/// Removes the caller's node variables from a command's environment.
#[must_use]
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VIBECOIN_") {
            command.env_remove(name);
        }
    }
    command
}

/// A command of a program on a home, not yet run, with its output in this format.
#[must_use]
pub fn command(program: &Path, format: &str, home: &Path, arguments: &[&str]) -> Command {
    let mut command = clean(Command::new(program));
    command.args(["-o", format, "--home"]).arg(home).args(arguments);
    command
}

/// Copies a file or a folder with everything in it, as `cp -a` does.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp runs").success(), "copy {}", from.display());
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

    /// Runs a command on a home with `-o json`.
    #[must_use]
    pub fn of(program: &Path, home: &Path, arguments: &[&str]) -> Self {
        let output = command(program, "json", home, arguments).output();
        Self::new(arguments, &output.expect("the binary runs"))
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

    /// The hint of a failed command.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.json["error"]["hint"].as_str().expect("a hint")
    }

    /// The message of a failed command.
    #[must_use]
    pub fn message(&self) -> &str {
        self.json["error"]["message"].as_str().expect("an error")
    }
}
