//! `vibecoin config`: all settings, their values, and their sources.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde_json::{Map, Value, json};
use vibecoin_config::{
    CONFIG_BYTES_MAX, Config, ENV_PREFIX, KNOBS, Loaded, Paths, Sources, default_text, environment_name, knob,
};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::Answer;
use crate::running::Running;

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

/// The key of the RPC port.
const PORT_KEY: &str = "rpc.port";

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
fn load_with(
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
fn check_addresses(config: &Config, exit: Exit) -> Result<(), CliError> {
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

/// The commands of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the values in force
    Show {
        /// And where each came from
        #[arg(long)]
        origin: bool,
    },
    /// Check a file; exit 7 when it is refused
    Check {
        /// The file [default: config.toml of the home]
        file: Option<PathBuf>,
    },
    /// Write a file with every key, its default and its range
    Init {
        /// Print it instead
        #[arg(long)]
        stdout: bool,
        /// Replace the file that is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Print one value
    Get {
        /// The key, as section.name
        key: String,
    },
}

impl ConfigCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 7 when the configuration is refused.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let loaded = || {
            load_with(
                context.home_if_any()?,
                context.globals.config.as_deref(),
                &KnobArgs::default(),
                Exit::InvalidFile,
            )
        };
        let running = || Ok::<_, CliError>(context.home_if_any()?.and_then(Running::on));
        match self {
            Self::Show { origin } => Ok(show(&loaded()?, origin, running()?.as_ref())),
            Self::Check { file } => check(context, file),
            Self::Init { stdout: true, .. } => {
                Ok(Answer::new(json!({ "text": default_text() })).text(default_text()))
            }
            Self::Init { overwrite, .. } => {
                let path = context.config_path()?;
                // A file named by the user goes into an existing folder.
                if context.globals.config.is_none() {
                    crate::dev::make_private(context.home()?)?;
                }
                files::write(&path, &default_text(), overwrite).map_err(|error| {
                    match error.reason.as_str() {
                        "exists" => error.hint("--overwrite replaces it, --stdout prints the text instead"),
                        _ => error,
                    }
                })?;
                Ok(Answer::new(json!({ "file": path })).text(format!("wrote {}", path.display())))
            }
            Self::Get { key } => get(&loaded()?, &key, running()?.as_ref()),
        }
    }
}

/// The port of the running node, if the key is that port and the configuration has a different one: the node
/// was started with a flag, with port 0, or before the file was changed.
fn in_use(key: &str, value: &vibecoin_config::Value, running: Option<&Running>) -> Option<u16> {
    let port = running?.port;
    (key == PORT_KEY && *value != vibecoin_config::Value::Count(u64::from(port))).then_some(port)
}

fn show(loaded: &Loaded, with_origin: bool, running: Option<&Running>) -> Answer {
    let mut json = Map::new();
    let mut text = String::new();
    for (knob, value, origin) in loaded.entries() {
        let shown = to_json(&value);
        let used = in_use(knob.key(), &value, running);
        let entry = if with_origin {
            let mut entry = json!({ "value": shown, "origin": origin.to_string() });
            if let (Some(used), Value::Object(fields)) = (used, &mut entry) {
                fields.insert("inUse".to_owned(), json!(used));
            }
            entry
        } else {
            shown
        };
        json.insert(knob.key().to_owned(), entry);
        let mut remarks = Vec::new();
        if with_origin {
            remarks.push(origin.to_string());
        }
        if let (Some(used), Some(running)) = (used, running) {
            remarks.push(format!(
                "the node that runs here (pid {}) has {used}",
                running.pid
            ));
        }
        let remarks = match remarks.as_slice() {
            [] => String::new(),
            some => format!("  # {}", some.join("; ")),
        };
        text.push_str(&format!("{} = {value}{remarks}\n", knob.key()));
    }
    Answer::new(Value::Object(json)).text(text)
}

fn check(context: &Context, file: Option<PathBuf>) -> Result<Answer, CliError> {
    let path = file.map_or_else(|| context.config_path(), Ok)?;
    let text = files::read_text(&path, CONFIG_BYTES_MAX)?;
    let loaded = Sources::new()
        .file(text)
        .load()
        .map_err(|error| CliError::config(Exit::InvalidFile, &path, &error))?;
    check_addresses(&loaded.config, Exit::InvalidFile)?;
    let set = loaded
        .entries()
        .filter(|(_, _, origin)| *origin != vibecoin_config::Origin::Default)
        .count();
    Ok(
        Answer::new(json!({ "valid": true, "file": path, "keysSet": set }))
            .text(format!("{} is valid and sets {set} keys", path.display())),
    )
}

fn get(loaded: &Loaded, key: &str, running: Option<&Running>) -> Result<Answer, CliError> {
    let Some(knob) = knob(key) else {
        return Err(CliError::usage(format!("{key} is no key of the configuration"))
            .hint("`vibecoin config show` lists them all"));
    };
    let value = (knob.get)(&loaded.config);
    let json = json!({
        "key": key,
        "value": to_json(&value),
        "origin": loaded.origin(key).to_string(),
        "environment": environment_name(knob),
        "allowed": knob.kind.allowed(),
        "inUse": in_use(knob.key(), &value, running),
    });
    let text = match value {
        vibecoin_config::Value::Text(text) => text,
        other => other.to_string(),
    };
    Ok(Answer::new(json).text(text))
}

fn to_json(value: &vibecoin_config::Value) -> Value {
    match value {
        vibecoin_config::Value::Switch(value) => json!(value),
        vibecoin_config::Value::Count(value) => json!(value),
        vibecoin_config::Value::Text(value) => json!(value),
        vibecoin_config::Value::List(values) => json!(values),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
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

    #[test]
    fn the_port_in_use_is_shown_where_the_configuration_says_otherwise() {
        use vibecoin_config::Value;
        let running = Running { pid: 7, port: 4321 };
        let used = |key, value| in_use(key, &Value::Count(value), Some(&running));
        assert_eq!(used("rpc.port", 8545), Some(4321));
        assert_eq!(used("rpc.port", 0), Some(4321));
        assert_eq!(used("rpc.port", 4321), None);
        assert_eq!(used("rpc.connections_max", 1), None);
        assert_eq!(in_use("rpc.port", &Value::Count(8545), None), None);
    }

    #[test]
    fn the_namespaces_that_can_be_offered_are_those_that_exist() {
        use std::collections::BTreeSet;
        let Some(vibecoin_config::Kind::Words(known)) = knob("rpc.api").map(|knob| knob.kind) else {
            panic!("rpc.api is a list of words");
        };
        let of = |name: &'static str| name.split(['_', '.']).next().unwrap_or(name);
        let methods = vibecoin_rpc_api::registry::METHODS.iter();
        let exist: BTreeSet<_> = methods.map(|method| of(method.name)).collect();
        assert_eq!(known.iter().copied().collect::<BTreeSet<_>>(), exist);
    }
}
