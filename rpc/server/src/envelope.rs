//! Parsing of a message into its calls, the same for every transport.
//!
//! The envelope of a call is checked here: that the message is JSON, the number of entries of a batch,
//! and each entry's version, id, method name and further members. `params` are left to [`crate::params`].

use std::borrow::Cow;
use std::fmt;

use jsonrpsee::types::params::TwoPointZero;
use jsonrpsee::types::{Id, Request};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use vibecoin_rpc_api::limits::JSON_DEPTH_MAX;
use vibecoin_rpc_api::{ApiError, ErrorData};

use crate::params::too_deep;

/// Maximum bytes of an id. It is echoed in the answer, so it must not be a load.
pub(crate) const ID_BYTES_MAX: usize = 128;

/// Code of invalid JSON: -32700.
const PARSE_ERROR: i32 = -32700;

/// A parsed message.
#[derive(Debug)]
pub(crate) enum Message<'t> {
    /// One request.
    One(Entry<'t>),
    /// A batch, never empty.
    Batch(Vec<Entry<'t>>),
    /// A batch with too many entries; the error is the answer, with `null` for an id.
    TooMany {
        /// The error to answer.
        error: Box<ApiError>,
        /// Number of entries.
        entries: u32,
    },
    /// Neither: the error is the answer, with `null` for an id.
    Refused(Box<ApiError>),
}

/// A request, alone or in a batch.
#[derive(Debug)]
pub(crate) enum Entry<'t> {
    /// A call, to be answered.
    Call(Request<'t>),
    /// A request without an id: it must not be answered.
    Notification,
    /// An invalid request; answered with the error, and with the id if it is readable.
    Refused(Id<'t>, Box<ApiError>),
}

/// Builds error -32600.
fn invalid_request(message: impl Into<String>) -> ApiError {
    let code = jsonrpsee::types::error::INVALID_REQUEST_CODE;
    library_error(code, "invalid_request", message)
}

fn parse_error(message: impl Into<String>) -> ApiError {
    library_error(PARSE_ERROR, "parse_error", message)
}

fn library_error(code: i32, reason: &str, message: impl Into<String>) -> ApiError {
    ApiError {
        code,
        message: message.into(),
        data: ErrorData {
            reason: reason.to_owned(),
            ..ErrorData::default()
        },
    }
}

/// Reads a message. Costs one pass over its bytes, and another over each entry's outermost members.
pub(crate) fn read(message: &[u8], entries_max: u32) -> Message<'_> {
    try_read(message, entries_max).unwrap_or_else(|error| Message::Refused(Box::new(error)))
}

fn try_read(message: &[u8], entries_max: u32) -> Result<Message<'_>, ApiError> {
    let text = std::str::from_utf8(message)
        .map_err(|error| parse_error(format!("the message is no UTF-8: {error}")))?;
    let no_json = |error: serde_json::Error| parse_error(format!("the message is no JSON: {error}"));
    if text.trim_ascii_start().starts_with('[') {
        let mut json = serde_json::Deserializer::from_str(text);
        let kept_max = usize::try_from(entries_max).unwrap_or(usize::MAX);
        let entries = Entries { kept_max }.deserialize(&mut json);
        let entries = entries.and_then(|entries| json.end().map(|()| entries));
        return batch(entries.map_err(no_json)?, entries_max);
    }
    let value: &RawValue = serde_json::from_str(text).map_err(no_json)?;
    if value.get().starts_with('{') {
        return Ok(Message::One(entry(value.get())));
    }
    Err(invalid_request(
        "a request is an object, a batch is an array of objects",
    ))
}

fn batch<'t>(found: Found<'t>, entries_max: u32) -> Result<Message<'t>, ApiError> {
    if found.count == 0 {
        return Err(invalid_request("the batch is empty"));
    }
    if found.count > found.first.len() {
        let message = format!("a batch has at most {entries_max} entries, got {}", found.count);
        let code = jsonrpsee::types::error::TOO_BIG_BATCH_REQUEST_CODE;
        let error = library_error(code, "batch_too_large", message);
        return Ok(Message::TooMany {
            error: Box::new(error.with("batchEntriesMax", entries_max)),
            entries: u32::try_from(found.count).unwrap_or(u32::MAX),
        });
    }
    let entries = found.first.into_iter().map(|text| entry(text.get()));
    Ok(Message::Batch(entries.collect()))
}

/// Reads an array and keeps no more of it than a batch may have.
struct Entries {
    kept_max: usize,
}

/// Entries of an array.
struct Found<'t> {
    first: Vec<&'t RawValue>,
    count: usize,
}

impl<'t> DeserializeSeed<'t> for Entries {
    type Value = Found<'t>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Found<'t>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'t> Visitor<'t> for Entries {
    type Value = Found<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut entries: A) -> Result<Found<'t>, A::Error> {
        let mut found = Found {
            first: Vec::new(),
            count: 0,
        };
        while let Some(entry) = entries.next_element::<&RawValue>()? {
            found.count = found.count.saturating_add(1);
            if found.first.len() < self.kept_max {
                found.first.push(entry);
            }
        }
        Ok(found)
    }
}

/// Reads one request from valid JSON.
fn entry(text: &str) -> Entry<'_> {
    let refused = |id, message: String| Entry::Refused(id, Box::new(invalid_request(message)));
    let Envelope {
        id,
        version,
        method,
        params,
        deep,
    } = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) => return refused(Id::Null, format!("no JSON-RPC 2.0 request: {error}")),
    };
    let (Some(true), Some(Some(method))) = (version, method) else {
        let message = "a request has `jsonrpc`: \"2.0\" and a `method`, which is a text".to_owned();
        return refused(id.unwrap_or(Id::Null), message);
    };
    let Some(id) = id else {
        return Entry::Notification;
    };
    if let Some(member) = deep {
        return Entry::Refused(id, Box::new(too_deep(&member)));
    }
    Entry::Call(Request {
        jsonrpc: TwoPointZero,
        id,
        method,
        params: params.map(Cow::Borrowed),
        extensions: hyper::http::Extensions::new(),
    })
}

/// The members of a request, each `None` when it is not there.
#[derive(Default)]
struct Envelope<'t> {
    id: Option<Id<'t>>,
    /// True if it is the supported version.
    version: Option<bool>,
    /// The inner value is `None` when it is not a string.
    method: Option<Option<Cow<'t, str>>>,
    params: Option<&'t RawValue>,
    /// The first member without a meaning that is nested too deep. Parameters are checked with their names.
    deep: Option<Cow<'t, str>>,
}

impl<'t> Deserialize<'t> for Envelope<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'t> Visitor<'t> for Members {
    type Value = Envelope<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Envelope<'t>, A::Error> {
        let mut envelope = Envelope::default();
        while let Some((name, value)) = map.next_entry::<Text<'t>, &'t RawValue>()? {
            let text = value.get();
            let twice = match name.0.as_ref() {
                "id" => {
                    let id = read_id(text).map_err(A::Error::custom)?;
                    envelope.id.replace(id).is_some()
                }
                "jsonrpc" => {
                    let served = read_text(text).is_some_and(|version| version == "2.0");
                    envelope.version.replace(served).is_some()
                }
                "method" => envelope.method.replace(read_text(text)).is_some(),
                "params" => envelope.params.replace(value).is_some(),
                _ => {
                    if envelope.deep.is_none() && is_deep(text) {
                        envelope.deep = Some(name.0);
                    }
                    continue;
                }
            };
            if twice {
                return Err(A::Error::custom(format!("`{}` is given twice", name.0)));
            }
        }
        Ok(envelope)
    }
}

/// A text that is borrowed from the message unless it has escapes.
#[derive(serde::Deserialize)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

pub(crate) fn read_text(value: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value).ok().map(|text| text.0)
}

/// Reads an id from valid JSON.
fn read_id(value: &str) -> Result<Id<'_>, String> {
    let too_long = || format!("the id is longer than {ID_BYTES_MAX} bytes");
    // Quotes do not count; escapes do.
    if value.len() > ID_BYTES_MAX.saturating_add(2) {
        return Err(too_long());
    }
    let id = serde_json::from_str(value)
        .map_err(|_| "the id is a text, a whole number of 64 bits without sign, or null".to_owned())?;
    match &id {
        Id::Str(text) if text.len() > ID_BYTES_MAX => Err(too_long()),
        _ => Ok(id),
    }
}

/// Returns true if brackets are nested too deep in valid JSON.
fn is_deep(json: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth = depth.saturating_add(1),
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Renders a message as text: calls by their method, `-` for a notification, errors by their
    /// code.
    fn check(message: impl AsRef<[u8]>, expected: &str) {
        let show = |entry: &Entry<'_>| match entry {
            Entry::Call(request) => format!("{}#{}", request.method, request.id),
            Entry::Notification => "-".to_owned(),
            Entry::Refused(id, error) => format!("{}#{id}", error.code),
        };
        let shown = match read(message.as_ref(), 3) {
            Message::One(entry) => show(&entry),
            Message::Batch(entries) => {
                let entries: Vec<_> = entries.iter().map(show).collect();
                format!("[{}]", entries.join(" "))
            }
            Message::TooMany { error, .. } | Message::Refused(error) => format!("{}!", error.code),
        };
        assert_eq!(shown, expected, "{}", String::from_utf8_lossy(message.as_ref()));
    }

    #[test]
    fn what_is_no_json_is_a_parse_error_and_what_is_no_request_an_invalid_one() {
        for bad in [
            "",
            " ",
            "x",
            "{",
            "[1,",
            "[,]",
            "{}x",
            "[]x",
            "\u{feff}{}",
            "\u{c}{}",
        ] {
            check(bad, "-32700!");
        }
        check(b"\xff", "-32700!");
        check(b"[\"\xff\"]", "-32700!");
        for bad in ["7", "\"x\"", "null", " true ", "[]", " [ ] "] {
            check(bad, "-32600!");
        }
        check("{}", "-32600#null");
        check("[1]", "[-32600#null]");
        check("[[]]", "[-32600#null]");
    }

    #[test]
    fn a_call_has_an_id_and_a_notification_has_none() {
        check(r#"{"jsonrpc":"2.0","method":"m","id":1}"#, "m#1");
        check(r#"{"jsonrpc":"2.0","method":"m","id":"a"}"#, "m#a");
        check(r#"{"jsonrpc":"2.0","method":"m","id":null}"#, "m#null");
        check(r#"{"jsonrpc":"2.0","method":"m","x":[{}]}"#, "-");
        check(
            r#"{"\u006asonrpc":"2\u002e0","m\u0065thod":"\u006d","id":1}"#,
            "m#1",
        );
        for id in ["-1", "1.5", "1e3", "18446744073709551616", "[]", "{}", "true"] {
            check(
                format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#),
                "-32600#null",
            );
        }
    }

    #[test]
    fn an_error_has_the_id_where_there_is_one() {
        check(r#"{"method":"m","id":7}"#, "-32600#7");
        check(r#"{"jsonrpc":"1.0","method":"m","id":7}"#, "-32600#7");
        check(r#"{"jsonrpc":2.0,"method":"m","id":7}"#, "-32600#7");
        check(r#"{"jsonrpc":"2.0","method":1,"id":7}"#, "-32600#7");
        check(r#"{"jsonrpc":"2.0","method":1}"#, "-32600#null");
        for twice in ["id\":7,\"id", "jsonrpc\":\"1\",\"jsonrpc"] {
            let value = if twice.starts_with("id") { "7" } else { "\"2.0\"" };
            let message = format!(r#"{{"method":"m","{twice}":{value}}}"#);
            check(message, "-32600#null");
        }
    }

    #[test]
    fn a_batch_is_kept_up_to_its_bound_and_counted_beyond() {
        let call = r#"{"jsonrpc":"2.0","method":"m","id":1}"#;
        check(format!("[{call},1,{call}]"), "[m#1 -32600#null m#1]");
        check("[1,2,3,4]", "-32010!");
        let Message::TooMany { error, entries } = read(b"[0,0,0,0,0]", 3) else {
            panic!("a batch of five");
        };
        assert_eq!(entries, 5);
        assert!(error.message.contains("got 5"), "{}", error.message);
        check("[1,2,3,4", "-32700!");
    }

    #[test]
    fn a_member_that_nobody_reads_may_not_be_deep() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let with = |n| format!(r#"{{"jsonrpc":"2.0","method":"m","id":1,"more":{}}}"#, deep(n));
        check(with(JSON_DEPTH_MAX), "m#1");
        check(with(JSON_DEPTH_MAX + 1), "-32602#1");
        check(with(100_000), "-32602#1");
        // An entry that is invalid for another reason is refused for that, and a notification gets no
        // answer.
        let deep = deep(JSON_DEPTH_MAX + 1);
        check(
            format!(r#"{{"jsonrpc":"1.0","method":"m","id":1,"more":{deep}}}"#),
            "-32600#1",
        );
        check(format!(r#"{{"more":{deep},"jsonrpc":"2.0","method":"m"}}"#), "-");
    }

    #[test]
    fn an_entry_that_is_an_array_is_no_request_however_deep() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        check(deep(100_000), "[-32600#null]");
    }
}
