//! Errors of a genesis: the position, the key, the value found, and the values allowed.

use std::fmt;

use vibecoin_primitives::{AddressError, Amount, SignatureError};

/// A position in the text, both counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

impl Position {
    /// The position of a byte offset in `text`.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        let characters = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let from_one = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            line: from_one(lines),
            column: from_one(characters),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Reason why a genesis was refused. Shown as `line 7, column 1: parameters.tick_ms: found 0, allowed is 1 to 1000`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place(position.as_ref(), key))]
#[non_exhaustive]
pub struct GenesisError {
    /// Position in the text; `None` when the value is not from a text.
    pub position: Option<Position>,
    /// The key: `network`, `parameters.tick_ms`, `validators[0].power`, `accounts.vibe1…`; empty for the whole file.
    pub key: String,
    /// The violation.
    pub problem: Problem,
}

fn place(position: Option<&Position>, key: &str) -> String {
    let position = position.map(|at| format!("{at}: ")).unwrap_or_default();
    let key = if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    };
    position + &key
}

impl GenesisError {
    pub(crate) fn new(key: impl Into<String>, problem: Problem) -> Self {
        Self {
            position: None,
            key: key.into(),
            problem,
        }
    }

    pub(crate) fn value(
        key: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self::new(
            key,
            Problem::Value {
                found: found.into(),
                allowed: allowed.into(),
            },
        )
    }
}

/// The violation of a genesis rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text or a list in it is over its limit.
    #[error("found {found} {what}, allowed are at most {most}")]
    TooMany {
        /// The counted quantity.
        what: &'static str,
        /// The count found.
        found: usize,
        /// The maximum allowed.
        most: usize,
    },
    /// The text is not TOML.
    #[error("not TOML: {detail}")]
    Syntax {
        /// The parser's message.
        detail: String,
    },
    /// An unknown key.
    #[error("unknown key {found:?}{}; known are {known}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// The key.
        found: String,
        /// The most similar known key, if there is one.
        suggestion: Option<&'static str>,
        /// All keys that are known at this position.
        known: String,
    },
    /// A word that is not one of those allowed.
    #[error("found {found:?}{}; allowed are {known}", did_you_mean(suggestion.as_deref()))]
    UnknownWord {
        /// The word.
        found: String,
        /// The most similar allowed word, if there is one.
        suggestion: Option<&'static str>,
        /// All words that are allowed.
        known: String,
    },
    /// A required key is missing.
    #[error("missing; expected {expected}")]
    Missing {
        /// The value that belongs there.
        expected: String,
    },
    /// A value of another kind.
    #[error("found {found}, expected {expected}")]
    WrongType {
        /// The kind that was found.
        found: &'static str,
        /// The kind that belongs there.
        expected: &'static str,
    },
    /// A value that is not allowed.
    #[error("found {found}, allowed is {allowed}")]
    Value {
        /// The value.
        found: String,
        /// The allowed values.
        allowed: String,
    },
    /// A rule for the whole that does not hold.
    #[error("{detail}")]
    Rule {
        /// The broken rule, with the values found.
        detail: String,
    },
    /// A text that is not an address of this chain.
    #[error("{0}")]
    Address(AddressError),
    /// The same account or validator for the second time.
    #[error("{what} is here twice{}", first.map(|at| format!("; the first is at {at}")).unwrap_or_default())]
    Duplicate {
        /// The kind of the repeated entry.
        what: &'static str,
        /// Position of the first one.
        first: Option<Position>,
    },
    /// A key under which no signature can verify.
    #[error("nobody can ever sign for this key: {0}")]
    WeakKey(SignatureError),
    /// The sum of the balances exceeds the range of an amount.
    #[error(
        "found {found} on top of the {before} of other accounts, allowed are at most {} together",
        u64::MAX
    )]
    SupplyOverflow {
        /// The balance that no longer fits.
        found: Amount,
        /// The sum of those before it in address order.
        before: Amount,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!(", did you mean {name:?}?"))
        .unwrap_or_default()
}
