//! The command line: arguments become meaning, meaning becomes one call of another room.
//!
//! ```text
//!  arguments ─args─▶ Command ─commands::*─▶ Answer or CliError ─output─▶ stdout, stderr, exit code
//! ```
//!
//! - Results go to stdout, everything else to stderr. With `-o json` stdout has exactly one JSON value,
//!   for errors too: `{"error":{"code","reason","message","hint","data"}}`.
//! - Exit codes are `exit::Exit`, and nothing else.
//! - Client commands talk to a node through the client that is generated from the interface's own traits.
//!
//! Read in this order: `exit`, `error`, `output` (the contract), `args` (what can be typed),
//! `context` (what every command shares), `commands`.

mod admin;
mod args;
mod commands;
mod context;
mod error;
mod exit;
mod output;

mod dev;
mod environment;
mod files;
mod logging;
mod passphrase;
mod scratch;
mod secrets;
mod sending;
mod turn;
mod wait;

use std::process::ExitCode;

use args::Arguments;
use context::Context;
use error::CliError;
use output::Format;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    secrets::shut();
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == "node")
    {
        // Before anything that could be left behind. The command itself reports when it fails.
        let _reported_later = vibecoin_engine::catch_signals();
    }
    logging::install_panic_hook();
    let (outcome, format, quiet) = match Arguments::from_command_line(std::env::args_os()) {
        Ok(arguments) => {
            let (format, quiet) = (arguments.globals.output, arguments.globals.quiet);
            output::be_quiet(quiet);
            (
                arguments.command.run(&Context::new(arguments.globals)),
                format,
                quiet,
            )
        }
        Err(error) if !error.use_stderr() => {
            // Help and version were asked for: they are the result.
            let _reader_gone = output::stdout(&error.render().to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let format = args::format_of(
                std::env::args_os()
                    .skip(1)
                    .map(|argument| argument.to_string_lossy().into_owned()),
                environment::value("VIBECOIN_OUTPUT")
                    .and_then(|word| word.into_string().ok())
                    .as_deref(),
            );
            if format == Format::Text {
                let _gone = error.print();
                return ExitCode::from(exit::Exit::Usage.code());
            }
            (Err(usage(&error)), format, false)
        }
    };
    ExitCode::from(output::finish(&outcome, format, quiet))
}

/// What was typed wrong, in one line.
fn usage(error: &clap::Error) -> CliError {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    CliError::usage(first.trim_start_matches("error: ").trim().to_owned()).hint("see --help")
}
