//! `vibecoin completions`: completion scripts for shells.

use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

use crate::output::Answer;

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Generates the script for `command`, the whole program.
    #[must_use]
    pub fn run(self, command: &mut Command) -> Answer {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "vibecoin", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        Answer::new(json!({ "shell": self.shell.to_string(), "script": script })).text(script)
    }
}
