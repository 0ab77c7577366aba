//! What stands around a call: members of a JSON-RPC request are checked before the library reads it.
//!
//! The library takes a request whose `id` it cannot read for a notification and answers nothing, and it
//! sends an `id` of any length back.

use std::borrow::Cow;
use std::fmt;

use jsonrpsee::types::Id;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use vibecoin_rpc_api::limits::JSON_DEPTH_MAX;
use vibecoin_rpc_api::{ApiError, ErrorData};

/// Most bytes of an id. It is sent back with the answer, so it must not be a load.
pub(crate) const ID_BYTES_MAX: usize = 128;

/// Stands for a batch entry that is refused: the library finds no request in it either.
const NO_REQUEST: &str = "0";

/// -32600.
pub(crate) fn invalid_request(message: impl Into<String>) -> ApiError {
    let code = jsonrpsee::types::error::INVALID_REQUEST_CODE;
    library_error(code, "invalid_request", message)
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

/// Whether the id may be sent back.
pub(crate) fn id_is_short(id: &Id<'_>) -> bool {
    match id {
        Id::Str(text) => text.len() <= ID_BYTES_MAX,
        Id::Null | Id::Number(_) => true,
    }
}

/// Returns the body to hand to the library. What is no JSON is handed on as it is: the library says so.
///
/// # Errors
/// The error, and the id to send it with.
pub(crate) fn check(body: &[u8], entries_max: u32) -> Result<Cow<'_, [u8]>, (Id<'_>, ApiError)> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => match serde_json::from_slice::<&RawValue>(body) {
            Ok(request) => check_request(request.get()).map(|()| Cow::Borrowed(body)),
            Err(_) => Ok(Cow::Borrowed(body)),
        },
        Some(b'[') => match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(entries) => check_batch(body, &entries, entries_max).map_err(|error| (Id::Null, error)),
            Err(_) => Ok(Cow::Borrowed(body)),
        },
        _ => Ok(Cow::Borrowed(body)),
    }
}

fn check_batch<'b>(
    body: &'b [u8],
    entries: &[&RawValue],
    entries_max: u32,
) -> Result<Cow<'b, [u8]>, ApiError> {
    if entries.len() > usize::try_from(entries_max).unwrap_or(usize::MAX) {
        let message = format!("a batch has at most {entries_max} entries, got {}", entries.len());
        let code = jsonrpsee::types::error::TOO_BIG_BATCH_REQUEST_CODE;
        let error = library_error(code, "batch_too_large", message);
        return Err(error.with("batchEntriesMax", entries_max));
    }
    let refused = |entry: &RawValue| matches!(check_request(entry.get()), Err((Id::Null, _)));
    let kept: Vec<&str> = entries
        .iter()
        .map(|entry| if refused(entry) { NO_REQUEST } else { entry.get() })
        .collect();
    if kept.iter().zip(entries).all(|(kept, entry)| *kept == entry.get()) {
        return Ok(Cow::Borrowed(body));
    }
    Ok(Cow::Owned(format!("[{}]", kept.join(",")).into_bytes()))
}

fn check_request(text: &str) -> Result<(), (Id<'_>, ApiError)> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        (
            Id::Null,
            invalid_request(format!("no JSON-RPC 2.0 request: {error}")),
        )
    })?;
    if envelope.versioned && envelope.named {
        return Ok(());
    }
    let message = "a request has `jsonrpc`: \"2.0\" and a `method`";
    Err((envelope.id.unwrap_or(Id::Null), invalid_request(message)))
}

/// The members of a request, `params` left to [`crate::params`].
struct Envelope<'t> {
    id: Option<Id<'t>>,
    versioned: bool,
    named: bool,
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
        let mut envelope = Envelope {
            id: None,
            versioned: false,
            named: false,
        };
        let mut parameters = false;
        while let Some((name, value)) = map.next_entry::<Cow<'t, str>, &'t RawValue>()? {
            let value = value.get();
            match name.as_ref() {
                "id" if envelope.id.is_some() => return Err(A::Error::custom("`id` is given twice")),
                "id" => envelope.id = Some(read_id(value).map_err(A::Error::custom)?),
                "jsonrpc" if envelope.versioned => return Err(A::Error::custom("`jsonrpc` is given twice")),
                "method" if envelope.named => return Err(A::Error::custom("`method` is given twice")),
                "params" if parameters => return Err(A::Error::custom("`params` is given twice")),
                "jsonrpc" => envelope.versioned = value == "\"2.0\"",
                "method" => envelope.named = value.starts_with('"'),
                "params" => parameters = true,
                _ if is_deep(value) => {
                    return Err(A::Error::custom(format!("nested deeper than {JSON_DEPTH_MAX}")));
                }
                _ => {}
            }
        }
        Ok(envelope)
    }
}

/// Reads an id from valid JSON.
fn read_id(value: &str) -> Result<Id<'_>, String> {
    // Quotes do not count; escapes do.
    if value.len() > ID_BYTES_MAX.saturating_add(2) {
        return Err(format!("the id is longer than {ID_BYTES_MAX} bytes"));
    }
    serde_json::from_str(value)
        .map_err(|_| "the id is a text, a whole number of 64 bits without sign, or null".to_owned())
}

/// Whether brackets are nested too deep in valid JSON.
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
