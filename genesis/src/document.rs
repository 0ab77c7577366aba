//! A TOML document whose every part has its name and its position, so that every error can report both.

use std::borrow::Borrow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::suggest::closest;
use crate::{GenesisError, Position, Problem};

/// Maximum length of a found value in an error, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Parses `text` as TOML.
pub(crate) fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, GenesisError> {
    DeTable::parse(text).map_err(|error| {
        let detail = error.message().lines().collect::<Vec<_>>().join("; ");
        let position = error.span().map(|span| Position::of(text, span.start));
        GenesisError {
            position,
            key: String::new(),
            problem: Problem::Syntax { detail },
        }
    })
}

/// A named table.
pub(crate) struct Section<'a, 'i> {
    text: &'i str,
    /// Prefix of its entries' names: empty, or the table's name and a dot.
    path: String,
    /// Its position; `None` for the whole document and for a table that is left out.
    span: Option<Range<usize>>,
    table: Option<&'a DeTable<'i>>,
}

/// A named value.
pub(crate) struct Entry<'a, 'i> {
    text: &'i str,
    /// The full name of the key, as shown in errors.
    pub name: String,
    /// The key as it was found; for a member of a list, nothing.
    pub key: &'a str,
    key_span: Range<usize>,
    value: &'a Spanned<DeValue<'i>>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// The whole document.
    pub fn root(text: &'i str, table: &'a DeTable<'i>) -> Self {
        Self {
            text,
            path: String::new(),
            span: None,
            table: Some(table),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.table.map_or(0, DeTable::len)
    }

    /// The entry with this key, if there is one.
    pub fn get(&self, key: &str) -> Option<Entry<'a, 'i>> {
        let (key, value) = self.table?.get_key_value(key)?;
        Some(self.entry(key.get_ref(), key.span(), value))
    }

    /// The entry with this key; `expected` describes its value.
    pub fn required(&self, key: &str, expected: &str) -> Result<Entry<'a, 'i>, GenesisError> {
        self.get(key).ok_or_else(|| GenesisError {
            position: self.span.as_ref().map(|span| Position::of(self.text, span.start)),
            key: format!("{}{key}", self.path),
            problem: Problem::Missing {
                expected: expected.to_owned(),
            },
        })
    }

    /// The table with this key; an empty one when it is left out.
    pub fn table_or_empty(&self, key: &str) -> Result<Self, GenesisError> {
        match self.get(key) {
            Some(entry) => entry.table(),
            None => Ok(Self {
                text: self.text,
                path: format!("{}{key}.", self.path),
                span: None,
                table: None,
            }),
        }
    }

    /// All entries in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a, 'i>> {
        let mut all: Vec<_> = self.table.into_iter().flatten().collect();
        all.sort_unstable_by_key(|(key, _)| key.span().start);
        all.into_iter()
            .map(|(key, value)| self.entry(key.get_ref(), key.span(), value))
    }

    /// Refuses the first key that is not one of `known`.
    pub fn only(&self, known: &[&'static str]) -> Result<(), GenesisError> {
        let table = self.table.into_iter().flatten();
        let unknown = table
            .map(|(key, _)| key)
            .filter(|key| !known.contains(&key.get_ref().borrow()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let found = clip(key.get_ref());
        Err(GenesisError {
            position: Some(Position::of(self.text, key.span().start)),
            key: format!("{}{found}", self.path),
            problem: Problem::UnknownKey {
                suggestion: closest(key.get_ref(), known),
                known: known.join(", "),
                found,
            },
        })
    }

    /// The position of the value with this full name, as in [`GenesisError::key`]; that of its container when
    /// the value is missing.
    pub fn find(&self, name: &str) -> Option<Position> {
        let (head, rest) = name.split_once('.').unwrap_or((name, ""));
        let (key, index) = head.split_once('[').unwrap_or((head, ""));
        let outer = self.get(key)?;
        let inner = match (outer.value(), index.trim_end_matches(']').parse::<usize>()) {
            (DeValue::Array(list), Ok(index)) => outer
                .members(list)
                .nth(index)
                .and_then(|member| member.table().ok()),
            _ => outer.table().ok(),
        };
        let entry = inner.and_then(|section| section.get(rest));
        Some(entry.map_or_else(|| outer.position(), |entry| entry.position()))
    }

    fn entry(&self, key: &'a str, key_span: Range<usize>, value: &'a Spanned<DeValue<'i>>) -> Entry<'a, 'i> {
        Entry {
            text: self.text,
            name: format!("{}{}", self.path, clip(key)),
            key,
            key_span,
            value,
        }
    }
}

impl<'a, 'i> Entry<'a, 'i> {
    /// The position of the value.
    pub fn position(&self) -> Position {
        Position::of(self.text, self.value.span().start)
    }

    /// The position of the key.
    pub fn key_position(&self) -> Position {
        Position::of(self.text, self.key_span.start)
    }

    /// The value unchanged.
    pub fn value(&self) -> &'a DeValue<'i> {
        self.value.get_ref()
    }

    /// An error at the value.
    pub fn error(&self, problem: Problem) -> GenesisError {
        GenesisError {
            position: Some(self.position()),
            key: self.name.clone(),
            problem,
        }
    }

    /// An error at the key.
    pub fn key_error(&self, problem: Problem) -> GenesisError {
        GenesisError {
            position: Some(self.key_position()),
            key: self.name.clone(),
            problem,
        }
    }

    /// The value is of the right kind but not allowed.
    pub fn invalid(&self, found: impl ToString, allowed: impl Into<String>) -> GenesisError {
        self.error(Problem::Value {
            found: clip(&found.to_string()),
            allowed: allowed.into(),
        })
    }

    /// The value is of another kind than `expected`.
    pub fn wrong_type(&self, expected: &'static str) -> GenesisError {
        self.error(Problem::WrongType {
            found: kind(self.value()),
            expected,
        })
    }

    /// A text.
    pub fn string(&self) -> Result<&'a str, GenesisError> {
        match self.value() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type("a text in quotes")),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, GenesisError> {
        match self.value() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// An integer from 0 to 2^64 - 1, or the same as decimal text.
    pub fn integer(&self) -> Result<u64, GenesisError> {
        let allowed = || format!("an integer from 0 to {}", u64::MAX);
        match self.value() {
            DeValue::Integer(integer) => {
                let value = i128::from_str_radix(integer.as_str(), integer.radix());
                let value = value.map_err(|_| self.invalid(integer, allowed()))?;
                let value = u64::try_from(value).map_err(|_| self.invalid(value, allowed()))?;
                if i64::try_from(value).is_err() {
                    // Other TOML tools would round it, refuse it or wrap it.
                    let allowed = format!(
                        "at most {} without quotes; write larger ones as text, \"{value}\"",
                        i64::MAX
                    );
                    return Err(self.invalid(value, allowed));
                }
                Ok(value)
            }
            DeValue::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map_err(|_| self.invalid(text, allowed()))
            }
            DeValue::String(text) => {
                Err(self.invalid(format!("{text:?}"), "an integer, or its decimal digits as text"))
            }
            _ => Err(self.wrong_type("an integer, or its decimal digits as text")),
        }
    }

    /// One of a list of words.
    pub fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, GenesisError> {
        let found = self.string()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return Ok(*value);
        }
        let known: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        let suggestion = closest(found, &known);
        Err(self.error(Problem::UnknownWord {
            found: clip(found),
            suggestion,
            known: known.join(", "),
        }))
    }

    /// A table.
    pub fn table(&self) -> Result<Section<'a, 'i>, GenesisError> {
        match self.value() {
            DeValue::Table(table) => Ok(Section {
                text: self.text,
                path: format!("{}.", self.name),
                span: Some(self.value.span()),
                table: Some(table),
            }),
            _ => Err(self.wrong_type("a table")),
        }
    }

    /// A list of up to `most` tables.
    pub fn tables(&self, what: &'static str, most: usize) -> Result<Vec<Section<'a, 'i>>, GenesisError> {
        let DeValue::Array(list) = self.value() else {
            return Err(self.wrong_type("a list of tables"));
        };
        if list.len() > most {
            return Err(self.error(Problem::TooMany {
                what,
                found: list.len(),
                most,
            }));
        }
        self.members(list).map(|member| member.table()).collect()
    }

    fn members(&self, list: &'a DeArray<'i>) -> impl Iterator<Item = Self> {
        list.iter().enumerate().map(|(index, value)| Self {
            text: self.text,
            name: format!("{}[{index}]", self.name),
            key: "",
            key_span: value.span(),
            value,
        })
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
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

/// Up to [`SHOWN_CHARS_MAX`] characters of a text from the file.
fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
