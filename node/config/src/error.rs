//! Errors of a configuration: position, key, value found, values allowed.

use std::fmt;

/// Position of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file; both counted from 1, columns are characters.
    File {
        /// The line.
        line: usize,
        /// The character in the line.
        column: usize,
    },
    /// In this environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// In a flag.
    Flag {
        /// The key that the flag sets.
        key: String,
    },
    /// The whole of it, or a default.
    Nowhere,
}

impl Place {
    /// The position of a byte offset in `text`.
    pub(crate) fn in_text(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before
            .bytes()
            .filter(|byte| *byte == b'\n')
            .count()
            .saturating_add(1);
        let last = before.rsplit('\n').next().unwrap_or_default();
        Self::File {
            line,
            column: last.chars().count().saturating_add(1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column } => write!(f, "line {line}, column {column}: "),
            Self::Environment { variable } => write!(f, "environment variable {variable}: "),
            Self::Flag { key } => write!(f, "flag --{key}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// Reason for which a configuration was refused. Displayed as `line 2, column 8: rpc.port: found 70000,
/// allowed is 0 to 65535`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}{problem}", named(key))]
#[non_exhaustive]
pub struct ConfigError {
    /// Position of the value.
    pub place: Place,
    /// The key, as `section.name`; empty for the whole file.
    pub key: String,
    /// Description of the fault.
    pub problem: Problem,
}

fn named(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    }
}

/// Kind of the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file is over its limit.
    #[error("the file has {found} bytes, allowed are at most {most}")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// The file is not TOML.
    #[error("not TOML: {detail}")]
    Syntax {
        /// The parser's message.
        detail: String,
    },
    /// An unknown key.
    #[error("unknown key{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// The known key that resembles it, if there is one.
        suggestion: Option<String>,
    },
    /// A value of the wrong type.
    #[error("found {found}, expected {expected}")]
    WrongType {
        /// The value found.
        found: String,
        /// The expected type.
        expected: String,
    },
    /// A value that is not allowed.
    #[error("found {found}, allowed is {allowed}{}", did_you_mean(suggestion.as_deref()))]
    Value {
        /// The value found.
        found: String,
        /// The allowed values.
        allowed: String,
        /// The allowed word that resembles it, if there is one.
        suggestion: Option<Box<str>>,
    },
    /// Values that are valid individually but not together.
    #[error("{detail}")]
    Together {
        /// The values, and the reason.
        detail: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!("; did you mean {name:?}?"))
        .unwrap_or_default()
}

/// Up to 80 characters of an external text, quoted.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
