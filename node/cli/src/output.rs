//! The output contract: results on stdout, everything else on stderr; with `-o json` one JSON value.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde_json::Value;
use vibecoin_devnet::wait::Reporter;
use vibecoin_primitives::text::{visible, visible_lines};

use crate::error::CliError;
use crate::exit::Exit;

pub use crate::untrusted::{cell, message};

/// The form of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON value.
    Json,
    /// One JSON value per line: lists and pages come item by item, streams without end.
    Ndjson,
}

/// Result of a command.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    json: Value,
    text: Option<String>,
    exit: Option<Exit>,
    printed: bool,
    secret: bool,
}

impl Answer {
    /// A result; its text is made from the JSON.
    pub fn new(json: impl serde::Serialize) -> Self {
        Self {
            json: serde_json::to_value(json).unwrap_or(Value::Null),
            ..Self::default()
        }
    }

    /// A command that has printed its whole output already.
    #[must_use]
    pub fn printed() -> Self {
        Self {
            printed: true,
            ..Self::default()
        }
    }

    /// With a separate text for terminals.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..self
        }
    }

    /// With its separate text, if it has one, rewritten by `words`.
    #[must_use]
    pub fn reworded(self, words: impl FnOnce(String) -> String) -> Self {
        Self {
            text: self.text.map(words),
            ..self
        }
    }

    /// A negative result: printed as a result, but the process ends with this exit.
    #[must_use]
    pub fn exit(self, exit: Exit) -> Self {
        Self {
            exit: Some(exit),
            ..self
        }
    }

    /// A result that is shown once and cannot be requested again: an unreadable output is a failure.
    #[must_use]
    pub fn shown_once(self) -> Self {
        Self { secret: true, ..self }
    }

    /// The output in a format.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match (format, &self.json) {
            _ if self.printed => String::new(),
            (Format::Text, json) => self.text.clone().unwrap_or_else(|| people(json)),
            (Format::Ndjson, Value::Array(items)) => lines(items),
            (Format::Ndjson, json) if let Some((items, _)) = page(json) => lines(items),
            (Format::Json | Format::Ndjson, json) => format!("{json}\n"),
        }
    }

    /// Cursor of the next page. The lines of items have no field for it.
    fn next_cursor(&self) -> Option<&str> {
        page(&self.json).and_then(|(_, next_cursor)| next_cursor.as_str())
    }
}

fn lines(items: &[Value]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

/// The items of a page and its `nextCursor`, with or without the state that it was read from.
fn page(json: &Value) -> Option<(&[Value], &Value)> {
    let page = match json.get("context") {
        Some(_) => json.get("value")?,
        None => json,
    };
    Some((page.get("items")?.as_array()?, page.get("nextCursor")?))
}

/// Prints the outcome of a command and returns the exit code.
pub fn finish(outcome: &Result<Answer, CliError>, format: Format, quiet: bool) -> u8 {
    match outcome {
        Ok(answer) => {
            let mut text = answer.render(format);
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            if let Some(exit) = unread(stdout(&text), answer.secret) {
                return exit.code();
            }
            if format == Format::Ndjson
                && !quiet
                && let Some(cursor) = answer.next_cursor()
            {
                note(&format!("there is more: the next page starts at cursor {cursor}"));
            }
            answer.exit.unwrap_or(Exit::Ok).code()
        }
        Err(error) => {
            if format != Format::Text {
                // The exit code reports the failure, whether this can be read or not.
                let _unread = stdout(&format!("{}\n", error.to_json()));
            }
            note(&error.to_text());
            error.exit.code()
        }
    }
}

/// The exit of a command whose result could not be written, or `None` to proceed as if it had been. A reader
/// that has seen enough (`| head`) is not a failure, unless the result is shown only once.
fn unread(written: io::Result<()>, shown_once: bool) -> Option<Exit> {
    let error = written.err()?;
    let (exit, enough) = match error.kind() {
        io::ErrorKind::BrokenPipe => (Exit::Io, true),
        io::ErrorKind::StorageFull => (Exit::DiskFull, false),
        _ => (Exit::Io, false),
    };
    if enough && !shown_once {
        return None;
    }
    note(&format!(
        "error: the command was carried out, but its result could not be written to stdout: {error} ({})",
        exit.symbol()
    ));
    Some(exit)
}

/// Writes a result. Characters with an effect on a terminal are escaped, whatever their origin; in JSON that
/// is the same value.
///
/// # Errors
/// The errors of stdout; [`io::ErrorKind::BrokenPipe`] when its reader is gone, which ends a stream of
/// results.
pub fn stdout(text: &str) -> io::Result<()> {
    raw_stdout(&visible_lines(text))
}

fn raw_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one of many results.
///
/// # Errors
/// Exit 21 or 22 when writing to stdout fails.
///
/// # Returns
/// False when the reader is gone: the stream ends, quietly.
pub fn stream(text: &str) -> Result<bool, CliError> {
    streamed(stdout(text))
}

/// Rewrites the whole screen: clears it and begins at its top.
///
/// # Errors
/// As [`stream`], and with its result.
pub fn screen(text: &str) -> Result<bool, CliError> {
    streamed(raw_stdout(&format!("\x1b[H\x1b[2J{}", visible_lines(text))))
}

fn streamed(written: io::Result<()>) -> Result<bool, CliError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::file("write to", std::path::Path::new("stdout"))(error)),
    }
}

/// Set to write only errors and warnings (`-q`).
static QUIET: AtomicBool = AtomicBool::new(false);

/// Suppresses the lines of [`say`].
pub fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Writes an informational line, neither an error nor a warning; nothing under `-q`.
pub fn say(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        note(text);
    }
}

/// The lines of long operations, on stderr.
pub const REPORTER: Reporter = Reporter::new(note, say);

/// Writes a line to stderr, escaped as [`stdout`].
pub fn note(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{}", visible_lines(text));
}

/// JSON as aligned lines of `name  value`; nested names are joined by dots, items of lists are blocks.
fn people(json: &Value) -> String {
    match json {
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().map(people).collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) => items.iter().map(|item| format!("{}\n", scalar(item))).collect(),
        Value::Object(_) => {
            let mut rows = Vec::new();
            flatten("", json, &mut rows);
            let width = rows
                .iter()
                .map(|(name, _)| name.chars().count())
                .max()
                .unwrap_or(0);
            rows.iter()
                .map(|(name, value)| format!("{name:<width$}  {value}\n"))
                .collect()
        }
        _ => format!("{}\n", scalar(json)),
    }
}

fn flatten(path: &str, json: &Value, rows: &mut Vec<(String, String)>) {
    let under = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match json {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(&under(&cell(name)), value, rows);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (i, value) in items.iter().enumerate() {
                flatten(&under(&i.to_string()), value, rows);
            }
        }
        Value::Array(items) => {
            rows.push((
                path.to_owned(),
                items.iter().map(scalar).collect::<Vec<_>>().join(" "),
            ));
        }
        _ => rows.push((path.to_owned(), scalar(json))),
    }
}

fn scalar(json: &Value) -> String {
    match json {
        // On one line, and complete: a value may be long.
        Value::String(text) => visible(text, usize::MAX).into_owned(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_one_value_on_one_line_and_ndjson_is_one_per_item() {
        let list = Answer::new(json!([{ "a": 1 }, { "a": 2 }]));
        assert_eq!(list.render(Format::Json), "[{\"a\":1},{\"a\":2}]\n");
        assert_eq!(list.render(Format::Ndjson), "{\"a\":1}\n{\"a\":2}\n");
        let one = Answer::new(json!({ "a": null })).text("nothing");
        assert_eq!(one.render(Format::Ndjson), "{\"a\":null}\n");
        assert_eq!(one.render(Format::Text), "nothing");
        assert_eq!(Answer::printed().render(Format::Json), "");
    }

    #[test]
    fn a_page_is_one_line_per_item_with_or_without_its_context() {
        let page = json!({ "items": [{ "a": 1 }, { "a": 2 }], "nextCursor": "c" });
        let read = json!({ "context": { "height": "7" }, "value": page });
        for json in [&page, &read] {
            let answer = Answer::new(json);
            assert_eq!(answer.render(Format::Ndjson), "{\"a\":1}\n{\"a\":2}\n");
            assert_eq!(answer.render(Format::Json), format!("{json}\n"));
            assert_eq!(answer.next_cursor(), Some("c"));
        }
        let last = Answer::new(json!({ "items": [], "nextCursor": null }));
        assert_eq!(
            (last.render(Format::Ndjson).as_str(), last.next_cursor()),
            ("", None)
        );
        let other = Answer::new(json!({ "items": [1] }));
        assert_eq!(other.render(Format::Ndjson), "{\"items\":[1]}\n");
    }

    #[test]
    fn a_value_of_a_server_stays_in_its_line() {
        let json = json!({ "moniker": "a\u{1b}[31m\nready  true\u{202e}" });
        assert_eq!(people(&json), "moniker  a\\u001b[31m\\nready  true\\u202e\n");
        let name = json!({ "a\nb": { "\u{1b}": 1 } });
        assert_eq!(people(&name), "a\\nb.\\u001b  1\n");
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let json = json!({ "moniker": "x\u{202e}y\u{7f}\u{e0041}" });
        let text = json.to_string();
        let shown = visible_lines(&text);
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).ok(), Some(json));
    }

    #[test]
    fn people_get_aligned_lines_with_dotted_names() {
        let json =
            json!({ "height": "7", "head": { "hash": "0x1", "tags": ["a", "b"] }, "list": [{ "x": true }] });
        assert_eq!(
            people(&json),
            "head.hash  0x1\nhead.tags  a b\nheight     7\nlist.0.x   true\n"
        );
    }
}
