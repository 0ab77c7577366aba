//! `vibecoin completions`: completion scripts for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use crate::args::Arguments;
use crate::output::Answer;

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Generates the script.
    #[must_use]
    pub fn run(self) -> Answer {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "vibecoin", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        Answer::new(json!({ "shell": self.shell.to_string(), "script": script })).text(script)
    }
}
