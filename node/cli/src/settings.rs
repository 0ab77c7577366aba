//! The configuration of a home: every setting as a flag, and the values from file, environment and flags.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use vibecoin_config::{CONFIG_BYTES_MAX, Config, ENV_PREFIX, KNOBS, Loaded, Paths, Sources};

use crate::error::CliError;
use crate::exit::Exit;
use crate::files;

/// Flags shown in every `--help`; the others appear in `config init --stdout`.
const SHOWN: &[&str] = &[
    "rpc.addr",
    "rpc.port",
    "rpc.api",
    "p2p.listen",
    "p2p.peers",
    "p2p.bootnodes",
    "metrics.listen",
    "admin.listen",
    "log.format",
    "log.filter",
];

/// Every setting as a flag `--section.key VALUE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnobArgs(Vec<(String, String)>);

impl Args for KnobArgs {
    fn augment_args(mut command: Command) -> Command {
        for knob in KNOBS {
            let help: String = knob
                .doc
                .iter()
                .map(|line| line.trim())
                .collect::<Vec<_>>()
                .join(" ");
            let arg = Arg::new(knob.key())
                .long(knob.key())
                .value_name("VALUE")
                .help(help)
                .allow_hyphen_values(true)
                .hide(!SHOWN.contains(&knob.key()))
                .help_heading("Configuration");
            command = command.arg(arg);
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KnobArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let found = KNOBS.iter().filter_map(|knob| {
            matches
                .get_one::<String>(knob.key())
                .map(|value| (knob.key().to_owned(), value.clone()))
        });
        Ok(Self(found.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Loads the configuration of a home: file, environment, flags. `exit` is for a configuration that is
/// refused: the daemon has a separate code.
pub fn load(home: &Path, file: Option<&Path>, knobs: &KnobArgs, exit: Exit) -> Result<Loaded, CliError> {
    load_with(Some(home), file, knobs, exit)
}

/// The same for a command that can run without a home.
pub fn load_with(
    home: Option<&Path>,
    file: Option<&Path>,
    knobs: &KnobArgs,
    exit: Exit,
) -> Result<Loaded, CliError> {
    let default = home.map(Paths::config_in);
    let text = match (file, &default) {
        (Some(path), _) => files::read_text(path, CONFIG_BYTES_MAX)?,
        (None, Some(path)) if files::exists(path)? => files::read_text(path, CONFIG_BYTES_MAX)?,
        (None, _) => String::new(),
    };
    let mut sources = Sources::new()
        .file(text)
        .env(environment(std::env::vars_os(), exit)?);
    for (key, value) in &knobs.0 {
        sources = sources.flag(key, value);
    }
    let path = file.or(default.as_deref()).unwrap_or(Path::new(""));
    let loaded = sources
        .load()
        .map_err(|error| CliError::config(exit, path, &error))?;
    check_addresses(&loaded.config, exit)?;
    Ok(loaded)
}

/// The check that only the network crate can do: of the addresses of peers.
pub fn check_addresses(config: &Config, exit: Exit) -> Result<(), CliError> {
    vibecoin_engine::check_addresses(config).map_err(|error| CliError::new(exit, error.to_string()))
}

/// The environment variables that are text. One of this program's that is not is refused by name.
fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    exit: Exit,
) -> Result<Vec<(String, String)>, CliError> {
    let mut read = Vec::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => read.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with(ENV_PREFIX) => {
                let message = format!("environment variable {name}: its value is not UTF-8 text");
                return Err(CliError::new(exit, message));
            }
            // Its name is checked all the same.
            (Ok(name), Err(_)) => read.push((name, String::new())),
            _ => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_variable_of_the_configuration_that_is_no_text_is_refused_by_name() {
        let bad = || OsString::from_vec(vec![0xff]);
        let read = |name: &str| {
            environment(std::iter::once((name.into(), bad())), Exit::Config).map_err(|error| error.message)
        };
        assert_eq!(read("OTHER"), Ok(vec![("OTHER".to_owned(), String::new())]));
        let message = "environment variable VIBECOIN__RPC__PORT: its value is not UTF-8 text";
        assert_eq!(read("VIBECOIN__RPC__PORT"), Err(message.to_owned()));
        let odd_name = std::iter::once((bad(), "x".into()));
        assert_eq!(environment(odd_name, Exit::Config), Ok(Vec::new()));
    }
}
