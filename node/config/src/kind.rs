//! Types of knobs' values, and their parsing in each layer.

use std::net::{IpAddr, SocketAddr};

use toml::de::DeValue;

use crate::entry;
use crate::error::{Problem, clip};
use crate::suggest::closest;

/// Maximum number of entries of a list.
const LIST_ENTRIES_MAX: usize = 1024;

/// A value in any layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Switch(bool),
    /// An integer that is not negative.
    Count(u64),
    /// A text, a word, a path or an address.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

impl std::fmt::Display for Value {
    /// As in a TOML file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Switch(value) => value.fmt(f),
            Self::Count(value) => value.fmt(f),
            Self::Text(value) => f.write_str(&quoted(value)),
            Self::List(values) => {
                let inside: Vec<_> = values.iter().map(|value| quoted(value)).collect();
                write!(f, "[{}]", inside.join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl From<Value> for config::Value {
    fn from(value: Value) -> Self {
        let kind = match value {
            Value::Switch(value) => config::ValueKind::Boolean(value),
            Value::Count(value) => config::ValueKind::U64(value),
            Value::Text(value) => config::ValueKind::String(value),
            Value::List(values) => {
                config::ValueKind::Array(values.into_iter().map(|text| Self::new(None, text)).collect())
            }
        };
        Self::new(None, kind)
    }
}

/// Type of a knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// An integer in a range, both ends allowed.
    Count {
        /// The minimum.
        least: u64,
        /// The maximum.
        most: u64,
    },
    /// An IP address.
    Ip,
    /// A path; a relative one starts at the home directory, an empty one means "none".
    Path,
    /// An IP address and a port, or nothing.
    Listen,
    /// A display name: 1 to 64 visible characters.
    Name,
    /// A log filter: levels, or targets with levels.
    Filter,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of host names, as in requests.
    Hosts,
    /// A list of origins, as sent by browsers.
    Origins,
    /// A list of texts without white space, such as addresses of peers.
    Texts,
    /// A list of one or more of these words.
    Words(&'static [&'static str]),
}

impl Kind {
    /// The allowed values, as text.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Count { least, most } => format!("{least} to {most}"),
            Self::Ip => "an IP address".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Listen => "an IP address and a port, such as 127.0.0.1:9464, or nothing".to_owned(),
            Self::Name => format!("1 to {} characters that can be seen", entry::NAME_CHARS_MAX),
            Self::Filter => format!(
                "error, warn, info, debug, trace, off, or target=level, separated by commas; targets are {}, and \
                 those of libraries",
                entry::TARGETS.join(", ")
            ),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Hosts => "a list of host names and addresses without port, or *".to_owned(),
            Self::Origins => "a list of origins such as https://host or http://host:port, or *".to_owned(),
            Self::Texts => "a list of texts without white space".to_owned(),
            Self::Words(words) => format!("a list of at least one of {}", words.join(", ")),
        }
    }

    /// Parses the text of an environment variable or a flag. Lists are separated by commas.
    ///
    /// # Errors
    /// [`Problem`] when the text is not a value of this type.
    pub fn read(&self, text: &str) -> Result<Value, Problem> {
        let wrong = || Problem::WrongType {
            found: clip(text),
            expected: self.allowed(),
        };
        let value = match self {
            Self::Switch => Value::Switch(text.parse().map_err(|_| wrong())?),
            Self::Count { .. } => {
                // As everywhere: no sign, no spaces, no superfluous zeros.
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let canonical = text == "0" || !text.starts_with('0');
                let value = if digits && canonical {
                    text.parse().ok()
                } else {
                    None
                };
                Value::Count(value.ok_or_else(wrong)?)
            }
            Self::Ip | Self::Path | Self::Listen | Self::Name | Self::Filter | Self::Word(_) => {
                Value::Text(text.to_owned())
            }
            Self::Hosts | Self::Origins | Self::Texts | Self::Words(_) if text.is_empty() => {
                Value::List(Vec::new())
            }
            Self::Hosts | Self::Origins | Self::Texts | Self::Words(_) => {
                Value::List(text.split(',').map(|part| part.trim().to_owned()).collect())
            }
        };
        self.check(value)
    }

    /// Reads a value of the file.
    ///
    /// # Errors
    /// [`Problem`] when it is not a value of this type.
    pub(crate) fn take(&self, found: &DeValue<'_>) -> Result<Value, Problem> {
        let wrong = |found: &DeValue<'_>| Problem::WrongType {
            found: describe(found).to_owned(),
            expected: self.allowed(),
        };
        let value = match (self, found) {
            (Self::Switch, DeValue::Boolean(value)) => Value::Switch(*value),
            (Self::Count { .. }, DeValue::Integer(value)) => {
                let parsed = u64::from_str_radix(value.as_str(), value.radix());
                Value::Count(parsed.map_err(|_| self.refused(clip(value.as_str()), None))?)
            }
            (
                Self::Ip | Self::Path | Self::Listen | Self::Name | Self::Filter | Self::Word(_),
                DeValue::String(text),
            ) => Value::Text(text.clone().into_owned()),
            (Self::Hosts | Self::Origins | Self::Texts | Self::Words(_), DeValue::Array(list)) => {
                let texts = list.iter().map(|entry| match entry.get_ref() {
                    DeValue::String(text) => Ok(text.clone().into_owned()),
                    other => Err(wrong(other)),
                });
                Value::List(texts.collect::<Result<_, _>>()?)
            }
            _ => return Err(wrong(found)),
        };
        self.check(value)
    }

    fn check(&self, value: Value) -> Result<Value, Problem> {
        match (self, &value) {
            (Self::Count { least, most }, Value::Count(count)) if !(least..=most).contains(&count) => {
                Err(self.refused(count.to_string(), None))
            }
            (Self::Ip, Value::Text(text)) if text.parse::<IpAddr>().is_err() => {
                Err(self.refused(clip(text), None))
            }
            (Self::Listen, Value::Text(text)) if !text.is_empty() && text.parse::<SocketAddr>().is_err() => {
                Err(self.refused(clip(text), None))
            }
            (Self::Name, Value::Text(text)) if !entry::name(text) => Err(self.refused(clip(text), None)),
            (Self::Filter, Value::Text(text)) => match entry::filter(text) {
                Ok(()) => Ok(value),
                Err((directive, meant)) => Err(self.refused(clip(&directive), meant)),
            },
            (Self::Word(words), Value::Text(text)) => self.one_of(words, text).map(|()| value),
            (_, Value::List(list)) if list.len() > LIST_ENTRIES_MAX => {
                Err(self.refused(format!("{} entries", list.len()), None))
            }
            (Self::Words(_), Value::List(list)) if list.is_empty() => {
                Err(self.refused("an empty list".to_owned(), None))
            }
            (_, Value::List(list)) => list
                .iter()
                .try_for_each(|text| self.check_entry(text))
                .map(|()| value),
            _ => Ok(value),
        }
    }

    /// Refuses an entry of a list that can never match.
    fn check_entry(&self, text: &str) -> Result<(), Problem> {
        let verdict = match self {
            Self::Hosts => entry::host(text),
            Self::Origins => entry::origin(text),
            Self::Words(words) => return self.one_of(words, text),
            _ if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) => Err(None),
            _ => Ok(()),
        };
        verdict.map_err(|meant| self.refused(clip(text), meant.as_deref()))
    }

    fn one_of(&self, words: &'static [&'static str], text: &str) -> Result<(), Problem> {
        if words.contains(&text) {
            return Ok(());
        }
        Err(self.refused(clip(text), closest(text, words.iter().copied())))
    }

    fn refused(&self, found: String, suggestion: Option<&str>) -> Problem {
        Problem::Value {
            found,
            allowed: self.allowed(),
            suggestion: suggestion.map(Box::from),
        }
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
