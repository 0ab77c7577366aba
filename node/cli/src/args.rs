//! Parsing of the arguments, with the variables of the environment that stand for some of them.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _, ValueEnum as _};

use crate::commands::Arguments;
use crate::environment;
use crate::output::Format;

/// Options that an environment variable may set.
const VARIABLES: [(&str, &str); 3] = [
    ("home", "VIBECOIN_HOME"),
    ("url", "VIBECOIN_URL"),
    ("output", "VIBECOIN_OUTPUT"),
];

impl Arguments {
    /// Parses the arguments; the environment supplies those that are absent. A variable that is empty counts
    /// as not set.
    ///
    /// # Errors
    /// The fault of the arguments, or the requested help.
    pub fn from_command_line(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        for (option, variable) in VARIABLES {
            if environment::value(variable).is_some() {
                // The help shows the values of variables; an address may hold a password.
                let is_hidden = option == "url";
                command = command.mut_arg(option, |argument| {
                    argument.env(variable).hide_env_values(is_hidden)
                });
            }
        }
        for (path, option, variable) in OF_DEVNET {
            if environment::value(variable).is_none() {
                command = without_variable(command, path, option);
            }
        }
        let matches = command.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// Options of commands that an environment variable may set.
const OF_DEVNET: [(&[&str], &str, &str); 3] = [
    (&["devnet"], "dir", "DEVNET_DIR"),
    (&["devnet"], "typed", "DEVNET_TYPED"),
    (&["devnet", "up"], "validators", "NODES"),
];

/// The command whose option, of the subcommand at `path`, no variable sets.
fn without_variable(command: clap::Command, path: &[&str], option: &'static str) -> clap::Command {
    match path.split_first() {
        Some((first, rest)) => command.mut_subcommand(first, |sub| without_variable(sub, rest, option)),
        None => command.mut_arg(option, |argument| argument.env(Resettable::Reset)),
    }
}

/// The requested output format, when the arguments as a whole are invalid.
pub fn format_of(arguments: impl Iterator<Item = String>, environment: Option<&str>) -> Format {
    let arguments: Vec<String> = arguments.take_while(|argument| argument != "--").collect();
    let flag = arguments.iter().enumerate().rev().find_map(|(i, argument)| {
        if argument == "-o" || argument == "--output" {
            return arguments.get(i.saturating_add(1)).map(String::as_str);
        }
        argument
            .strip_prefix("--output=")
            .or_else(|| argument.strip_prefix("-o"))
    });
    let word = flag.or(environment).unwrap_or_default();
    Format::from_str(word.trim_start_matches('='), true).unwrap_or_default()
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
