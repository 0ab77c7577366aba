//! Wrong arguments: detected by clap, and reported like every other error: fault, location, remedy.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory as _};

use crate::commands::Arguments;
use crate::commands::rpc::method_hint;
use crate::error::CliError;
use crate::output::message;

/// Converts an error of clap; `typed` are the arguments without the program.
pub fn error(error: &clap::Error, typed: impl Iterator<Item = String>) -> CliError {
    let out = CliError::usage(message(&what(error)));
    let (root, typed) = (Arguments::command(), typed.collect::<Vec<_>>());
    let command = command_of(&root, typed.iter().cloned());
    let see = format!("see `{command} --help`");
    if command == root.get_name()
        && let Some((option, value)) = command_as_value(&root, &typed)
    {
        return out.hint(format!(
            "{option} took {value} as its value: is the variable between them empty? {see}"
        ));
    }
    if let Some(hint) = second_method(error, &typed) {
        return out.hint(hint);
    }
    out.hint(match meant(&command, error).or_else(|| suggestion(error)) {
        Some(name) => format!("did you mean {name}? {see}"),
        None => see,
    })
}

fn what(error: &clap::Error) -> String {
    let argument = texts(error, ContextKind::InvalidArg);
    let argument = argument.iter().map(|name| plain(name)).collect::<Vec<_>>();
    let names = argument.join(", ");
    let value = texts(error, ContextKind::InvalidValue).join(", ");
    match error.kind() {
        ErrorKind::ValueValidation => match error.source() {
            Some(source) => format!("{names} is {value:?}: {source}"),
            None => format!("{names} is {value:?}, which is not allowed"),
        },
        ErrorKind::InvalidValue => {
            let allowed = texts(error, ContextKind::ValidValue).join(", ");
            let allowed = match allowed.as_str() {
                "" => String::new(),
                words => format!(": allowed are {words}"),
            };
            match value.as_str() {
                "" => format!("{names} needs a value{allowed}"),
                _ => format!("{names} is {value:?}{allowed}"),
            }
        }
        ErrorKind::UnknownArgument => format!("unknown argument {names}"),
        ErrorKind::InvalidSubcommand => {
            let name = texts(error, ContextKind::InvalidSubcommand).join(" ");
            format!("unknown command {name}")
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing".to_owned()
        }
        ErrorKind::MissingRequiredArgument => format!("missing: {names}"),
        ErrorKind::ArgumentConflict => {
            let other = texts(error, ContextKind::PriorArg);
            let other: Vec<_> = other.iter().map(|name| plain(name)).collect();
            match other.join(", ") {
                same if same.is_empty() || same == names => format!("{names} may be given once"),
                other => format!("{names} cannot be given together with {other}"),
            }
        }
        _ => first_line(error),
    }
}

/// Clap's own message, in one line.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    first.trim_start_matches("error: ").trim().to_owned()
}

/// Names of other programs for a command, and ours: they resemble nothing, or the wrong command.
const OTHER_NAMES: [(&str, &[&str], &str); 9] = [
    ("vibecoin devnet", &["stop", "halt"], "down"),
    ("vibecoin devnet", &["start", "run", "create", "new"], "up"),
    ("vibecoin devnet", &["delete", "remove", "rm", "clean"], "destroy"),
    ("vibecoin devnet", &["list", "ls", "ps"], "status"),
    ("vibecoin", &["start", "run"], "node"),
    ("vibecoin", &["send", "pay"], "transfer"),
    ("vibecoin", &["balance"], "account show"),
    ("vibecoin keys", &["create", "generate", "add"], "new"),
    ("vibecoin keys", &["remove", "rm"], "delete"),
];

/// Names of other programs for an option, and ours. `vibecoin` stands for every command.
const OTHER_OPTIONS: [(&str, &[&str], &str); 5] = [
    (
        "vibecoin node",
        &["--port", "--rpc-port", "--http.port"],
        "--rpc.port",
    ),
    ("vibecoin devnet up", &["--port"], "--base-port"),
    (
        "vibecoin testnet generate",
        &["--port", "--base-port"],
        "--starting-port",
    ),
    ("vibecoin", &["--datadir", "--data-dir"], "--home"),
    ("vibecoin", &["--rpc-url", "--endpoint"], "--url"),
];

/// The command or the option that is called otherwise elsewhere.
fn meant(command: &str, error: &clap::Error) -> Option<String> {
    let typed = texts(error, ContextKind::InvalidSubcommand);
    let names = OTHER_NAMES.iter().filter(|(of, ..)| *of == command);
    let option = match error.kind() {
        ErrorKind::UnknownArgument => texts(error, ContextKind::InvalidArg),
        _ => Vec::new(),
    };
    let options = OTHER_OPTIONS
        .iter()
        .filter(|(of, ..)| *of == command || !of.contains(' '));
    let typed = typed
        .iter()
        .chain(&option)
        .map(|typed| plain(typed))
        .collect::<Vec<_>>();
    let found = names
        .chain(options)
        .find(|(_, others, _)| typed.iter().any(|typed| others.contains(typed)));
    found.map(|(_, _, name)| (*name).to_owned())
}

/// Remedy for a method of `rpc` behind another word, as in `rpc call METHOD PARAMETERS`.
fn second_method(error: &clap::Error, typed: &[String]) -> Option<String> {
    let extra = texts(error, ContextKind::InvalidArg);
    if error.kind() != ErrorKind::UnknownArgument || extra.iter().any(|word| word.starts_with('-')) {
        return None;
    }
    let behind = typed.iter().skip_while(|word| *word != "rpc").skip(2);
    behind.map(String::as_str).find_map(method_hint)
}

/// The intended name, if one resembles the typed one.
fn suggestion(error: &clap::Error) -> Option<String> {
    [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    // The best of several is the last.
    .find_map(|kind| texts(error, kind).last().map(|name| plain(name).to_owned()))
}

/// The command that the arguments are for, such as `vibecoin block list`. Not every error of clap names it.
fn command_of(root: &Command, typed: impl Iterator<Item = String>) -> String {
    let mut path = vec![root];
    let mut is_value = false;
    for word in typed.take_while(|word| word != "--") {
        if is_value {
            is_value = false;
        } else if word.starts_with('-') {
            is_value = path.iter().any(|command| takes_the_next(command, &word));
        } else {
            let sub = path.last().and_then(|command| command.find_subcommand(&word));
            match sub {
                Some(sub) => path.push(sub),
                None => break,
            }
        }
    }
    path.into_iter()
        .map(Command::get_name)
        .collect::<Vec<_>>()
        .join(" ")
}

/// An option in front of all commands whose value is the name of a command: its own value was empty.
fn command_as_value<'t>(root: &Command, typed: &'t [String]) -> Option<(&'t str, &'t str)> {
    let pairs = typed.iter().zip(typed.iter().skip(1));
    let taken = pairs.take_while(|(word, _)| root.find_subcommand(word).is_none());
    taken
        .filter(|(word, value)| takes_the_next(root, word) && root.find_subcommand(value).is_some())
        .map(|(word, value)| (word.as_str(), value.as_str()))
        .next()
}

/// Returns true if the word behind this option is its value.
fn takes_the_next(command: &Command, word: &str) -> bool {
    let named = |argument: &&Arg| match word.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => argument
            .get_short()
            .is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str())),
    };
    let found = command.get_arguments().find(named);
    found.is_some_and(|argument| argument.get_action().takes_values())
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// An option without the placeholder of its value: `--limit <LIMIT>` is `--limit`.
fn plain(argument: &str) -> &str {
    match argument.split_once([' ', '=']) {
        Some((name, _)) if name.starts_with('-') => name,
        _ => argument,
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
