//! `vibecoin config`: all settings, their values, and their sources.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};
use vibecoin_config::{CONFIG_BYTES_MAX, Loaded, Sources, default_text, environment_name, knob};
use vibecoin_devnet::home::make_private;
use vibecoin_devnet::running::Running;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::output::Answer;
use crate::settings::{KnobArgs, check_addresses, load_with};

/// The key of the RPC port.
const PORT_KEY: &str = "rpc.port";

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
                    make_private(context.home()?)?;
                }
                files::write(&path, &default_text(), overwrite).map_err(|error| {
                    match error.reason.as_str() {
                        "exists" => error.hint("--overwrite replaces it, --stdout prints the text instead"),
                        _ => error,
                    }
                })?;
                Ok(Answer::new(json!({ "file": path.display().to_string() }))
                    .text(format!("wrote {}", path.display())))
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
        Answer::new(json!({ "valid": true, "file": path.display().to_string(), "keysSet": set }))
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
    use super::*;

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
