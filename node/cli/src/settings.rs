//! The configuration of a home: every setting as a flag, and the values from file, environment and flags.

use std::path::Path;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use vibecoin_config::{Config, KNOBS, Loaded};
use vibecoin_devnet::error::Class;
use vibecoin_devnet::settings;

use crate::error::CliError;
use crate::exit::Exit;

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
    Ok(settings::load(home, file, &knobs.0, class_of(exit))?)
}

/// The check that only the network crate can do: of the addresses of peers.
pub fn check_addresses(config: &Config, exit: Exit) -> Result<(), CliError> {
    Ok(settings::check_addresses(config, class_of(exit))?)
}

/// The class of a refused configuration: the daemon's, or that of a client command.
const fn class_of(exit: Exit) -> Class {
    match exit {
        Exit::Config => Class::Config,
        _ => Class::InvalidFile,
    }
}
