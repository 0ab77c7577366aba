//! Merges the layers into one configuration; every key is known, every value in range, every origin recorded.

use std::collections::BTreeMap;
use std::fmt;

use config::{FileFormat, FileSourceString};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Place, Problem};
use crate::kind::Value;
use crate::knobs::{Config, KNOBS, Knob, SECTIONS, knob};
use crate::suggest::closest;
use crate::text::environment_name;
use crate::variables;

/// Maximum size of a configuration file in bytes.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Prefix of the configuration's environment variables.
pub const ENV_PREFIX: &str = "VIBECOIN__";

/// The layer that set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No layer set it.
    Default,
    /// The file, at this line.
    File {
        /// The line, from 1.
        line: usize,
    },
    /// This environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "config.toml:{line}"),
            Self::Environment { variable } => write!(f, "env {variable}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A configuration and the origin of each value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The effective values.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl Loaded {
    /// The layer that set `key` (`section.name`).
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Every knob with its value and its origin, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Knob, Value, Origin)> {
        KNOBS
            .iter()
            .map(|knob| (knob, (knob.get)(&self.config), self.origin(knob.key())))
    }
}

/// The layers above the defaults, unparsed.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: String,
    env: Vec<(String, String)>,
    flags: Vec<(String, String)>,
}

/// Parses a file alone, over the defaults.
///
/// # Errors
/// [`ConfigError`] for the first fault.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    Sources::new().file(text).load().map(|loaded| loaded.config)
}

impl Sources {
    /// Only defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The text of `config.toml`.
    #[must_use]
    pub fn file(mut self, text: impl Into<String>) -> Self {
        self.file = text.into();
        self
    }

    /// Environment variables; those of other programs are ignored, as are those of this one that are not
    /// knobs, such as `VIBECOIN_HOME`.
    #[must_use]
    pub fn env(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(
            pairs
                .into_iter()
                .filter(|(name, value)| name.starts_with(ENV_PREFIX) || variables::is_unknown(name, value)),
        );
        self
    }

    /// A flag that sets `key` (`section.name`). A later one wins.
    #[must_use]
    pub fn flag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.flags.push((key.into(), value.into()));
        self
    }

    /// Checks every layer and merges them.
    ///
    /// # Errors
    /// [`ConfigError`] for the first fault: file first, then environment, then flags.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut origins = BTreeMap::new();
        let mut overrides = Vec::new();
        check_file(&self.file, &mut origins)?;
        for (variable, text) in &self.env {
            let place = Place::Environment {
                variable: variable.clone(),
            };
            let misspelt = variables::misspelt(variable).map(environment_name);
            if misspelt.is_some() || !variable.starts_with(ENV_PREFIX) {
                let suggestion = misspelt.or_else(|| variables::meant(variable));
                return Err(ConfigError {
                    place,
                    key: String::new(),
                    problem: Problem::UnknownKey { suggestion },
                });
            }
            let (knob, value) = read(&key_of(variable), text, &place)?;
            origins.insert(
                knob.key(),
                Origin::Environment {
                    variable: variable.clone(),
                },
            );
            overrides.push((knob.key(), value));
        }
        for (key, text) in &self.flags {
            let (knob, value) = read(key, text, &Place::Flag { key: key.clone() })?;
            origins.insert(knob.key(), Origin::Flag);
            overrides.push((knob.key(), value));
        }
        let config = merge(&self.file, overrides).map_err(|error| ConfigError {
            place: Place::Nowhere,
            key: String::new(),
            problem: Problem::Syntax {
                detail: error.to_string(),
            },
        })?;
        check_together(&config)?;
        Ok(Loaded { config, origins })
    }
}

/// The merging itself. Every value in it has been checked before.
fn merge(file: &str, overrides: Vec<(&'static str, Value)>) -> Result<Config, config::ConfigError> {
    let defaults = Config::default();
    let mut layers = config::Config::builder();
    for knob in KNOBS {
        layers = layers.set_default(knob.key(), (knob.get)(&defaults))?;
    }
    let file: config::File<FileSourceString, FileFormat> = config::File::from_str(file, FileFormat::Toml);
    layers = layers.add_source(file);
    for (key, value) in overrides {
        layers = layers.set_override(key, value)?;
    }
    layers.build()?.try_deserialize()
}

/// `VIBECOIN__RPC__PORT` is `rpc.port`.
fn key_of(variable: &str) -> String {
    let rest = variable.strip_prefix(ENV_PREFIX).unwrap_or(variable);
    rest.to_ascii_lowercase().replacen("__", ".", 1)
}

fn read(key: &str, text: &str, place: &Place) -> Result<(&'static Knob, Value), ConfigError> {
    let fail = |problem| ConfigError {
        place: place.clone(),
        key: key.to_owned(),
        problem,
    };
    let knob = knob(key).ok_or_else(|| {
        fail(Problem::UnknownKey {
            suggestion: suggest(key, place),
        })
    })?;
    let value = knob.kind.read(text).map_err(fail)?;
    Ok((knob, value))
}

/// The known name closest to a full key, in the form of its layer.
fn suggest(key: &str, place: &Place) -> Option<String> {
    let found = closest(key, KNOBS.iter().map(Knob::key))?;
    match place {
        Place::Environment { .. } => knob(found).map(environment_name),
        _ => Some(found.to_owned()),
    }
}

fn check_file(text: &str, origins: &mut BTreeMap<&'static str, Origin>) -> Result<(), ConfigError> {
    let whole = |place, problem| ConfigError {
        place,
        key: String::new(),
        problem,
    };
    if text.len() > CONFIG_BYTES_MAX {
        let problem = Problem::TooLarge {
            found: text.len(),
            most: CONFIG_BYTES_MAX,
        };
        return Err(whole(Place::Nowhere, problem));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let place = error
            .span()
            .map_or(Place::Nowhere, |span| Place::in_text(text, span.start));
        whole(
            place,
            Problem::Syntax {
                detail: error.message().lines().collect::<Vec<_>>().join("; "),
            },
        )
    })?;
    for (name, value) in in_order(document.get_ref()) {
        check_section(text, name, value, origins)?;
    }
    Ok(())
}

type Entry<'a, 'i> = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

/// The entries of a table in the order of the text, so that the first fault is the one reported.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_unstable_by_key(|(name, _)| name.span().start);
    entries
}

fn check_section(
    text: &str,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    origins: &mut BTreeMap<&'static str, Origin>,
) -> Result<(), ConfigError> {
    let section = name.get_ref().as_ref();
    let fail = |offset, key: String, problem| ConfigError {
        place: Place::in_text(text, offset),
        key,
        problem,
    };
    if !SECTIONS.iter().any(|known| known.name == section) {
        // A knob outside its section is more likely than a mistyped section.
        let elsewhere = KNOBS
            .iter()
            .find(|knob| knob.name == section)
            .map(|knob| knob.key().to_owned());
        let closest = || closest(section, SECTIONS.iter().map(|known| known.name)).map(str::to_owned);
        let suggestion = elsewhere.or_else(closest);
        return Err(fail(
            name.span().start,
            short(section),
            Problem::UnknownKey { suggestion },
        ));
    }
    let DeValue::Table(table) = value.get_ref() else {
        let problem = Problem::WrongType {
            found: "a value".to_owned(),
            expected: format!("a table [{section}]"),
        };
        return Err(fail(value.span().start, short(section), problem));
    };
    for (name, value) in in_order(table) {
        let key = format!("{section}.{}", name.get_ref());
        let Some(knob) = knob(&key) else {
            let known = KNOBS
                .iter()
                .filter(|knob| knob.section == section)
                .map(|knob| knob.name);
            let suggestion = closest(name.get_ref(), known).map(str::to_owned);
            return Err(fail(
                name.span().start,
                short(&key),
                Problem::UnknownKey { suggestion },
            ));
        };
        knob.kind
            .take(value.get_ref())
            .map_err(|problem| fail(value.span().start, key.clone(), problem))?;
        if let Place::File { line, .. } = Place::in_text(text, name.span().start) {
            origins.insert(knob.key(), Origin::File { line });
        }
    }
    Ok(())
}

/// An external key, short enough for one line.
fn short(key: &str) -> String {
    key.chars().take(100).collect()
}

/// Checks the constraints between values.
fn check_together(config: &Config) -> Result<(), ConfigError> {
    let together = |key: &str, detail: String| ConfigError {
        place: Place::Nowhere,
        key: key.to_owned(),
        problem: Problem::Together { detail },
    };
    let p2p = &config.p2p;
    for (key, list) in [("p2p.external", &p2p.external), ("p2p.reserved", &p2p.reserved)] {
        if p2p.listen.is_empty() && !list.is_empty() {
            let detail = "is for peers that connect to this node, but p2p.listen is empty, so none can";
            return Err(together(key, detail.to_owned()));
        }
    }
    let rpc = &config.rpc;
    if rpc.cost_per_s_per_ip > rpc.cost_burst_per_ip {
        let detail = format!(
            "{} is less than rpc.cost_per_s_per_ip = {}, so a second's share could never be used",
            rpc.cost_burst_per_ip, rpc.cost_per_s_per_ip
        );
        return Err(together("rpc.cost_burst_per_ip", detail));
    }
    Ok(())
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
