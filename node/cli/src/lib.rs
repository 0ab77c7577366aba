//! The command line: parses arguments, and executes each command with a call of another crate.
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
//! Read in this order: `exit`, `error`, `output` (the contract), `globals` (the options of every command),
//! `context` (state shared by every command), `commands`, `args` (from the command line to a command).

mod admin;
mod args;
mod commands;
mod context;
mod error;
mod exit;
mod globals;
mod output;

mod addresses;
mod at;
mod build_facts;
mod chain;
mod choices;
mod dev;
mod devnet_hints;
mod environment;
mod figures;
mod files;
mod follow;
mod genesis_hints;
mod hex_args;
mod loading;
mod logging;
mod network_args;
mod node_url;
mod numbers;
mod passphrase;
mod poh_speed;
mod program;
mod running;
mod scratch;
mod secrets;
mod sending;
mod settings;
mod signer;
mod snapshots;
mod taken;
mod turn;
mod untrusted;
mod usage;
mod wait;

use std::process::ExitCode;

use commands::Arguments;
use context::Context;
use node_url::NodeUrl;
use output::Format;
use program::Typed;

/// Runs the command of the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    secrets::shut();
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == "node")
    {
        // Before any step that could leave files behind. The command itself reports when it fails.
        let _reported_later = vibecoin_engine::catch_signals();
    }
    logging::install_panic_hook();
    vibecoin_keystore::private::wait_with(wait::for_keys);
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    let (outcome, typed, format, quiet) = match Arguments::from_command_line(std::env::args_os()) {
        Ok(arguments) => {
            let (format, quiet) = (arguments.globals.output, arguments.globals.quiet);
            let typed = Typed::new(program, Some(&arguments.globals));
            output::be_quiet(quiet);
            let outcome = arguments.command.run(&Context::new(arguments.globals));
            (outcome, typed, format, quiet)
        }
        Err(error) if !error.use_stderr() => {
            // Help and version were requested: they are the result.
            let _reader_gone = output::stdout(&error.render().to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let words: Vec<String> = arguments
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect();
            let environment = environment::value("VIBECOIN_OUTPUT").and_then(|word| word.into_string().ok());
            let format = args::format_of(words.iter().cloned(), environment.as_deref());
            if format == Format::Text && is_help(&error) {
                let _gone = error.print();
                return ExitCode::from(exit::Exit::Usage.code());
            }
            let error = commands::devnet::usage_error(usage::error(&error, words.iter().cloned()));
            // An unexpected word is quoted, and may be an address.
            let error = words
                .into_iter()
                .fold(error, |error, word| error.without_password(&NodeUrl::from(word)));
            (Err(error), Typed::new(program, None), format, false)
        }
    };
    ExitCode::from(output::finish(&typed.outcome(outcome), format, quiet))
}

/// Returns true if only a part of a command was typed: its help lists the continuations.
fn is_help(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

#[cfg(test)]
mod hints_tests;
