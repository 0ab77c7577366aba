//! What is wrong with a configuration: where, which key, what was found, what is allowed.

use std::fmt;

/// Where a value stands.
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
    /// The place of a byte offset in `text`.
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

/// Why a configuration was refused. Shown as `line 2, column 8: rpc.port: found 70000, allowed is 0 to 65535`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}{problem}", named(key))]
#[non_exhaustive]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// The key, as `section.name`; empty for the whole file.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
}

fn named(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    }
}

/// What is wrong.
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
        /// What the parser said.
        detail: String,
    },
    /// A key that means nothing.
    #[error("unknown key{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// The known key that looks most like it, if one does.
        suggestion: Option<String>,
    },
    /// A value of the wrong type.
    #[error("found {found}, expected {expected}")]
    WrongType {
        /// What is there.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// A value that is not allowed.
    #[error("found {found}, allowed is {allowed}{}", did_you_mean(suggestion.as_deref()))]
    Value {
        /// What is there.
        found: String,
        /// What is allowed.
        allowed: String,
        /// The allowed word that looks most like it, if one does.
        suggestion: Option<Box<str>>,
    },
    /// Values that are allowed one by one but not together.
    #[error("{detail}")]
    Together {
        /// Which, and why.
        detail: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!("; did you mean {name:?}?"))
        .unwrap_or_default()
}

/// At most 80 characters of a text from outside, quoted.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
