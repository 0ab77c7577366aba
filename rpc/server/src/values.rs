//! Checks the values of parameters against the table of methods before the generated code reads them: its
//! errors name neither the parameter nor the accepted values, but types of this program.
//!
//! Only the JSON type is checked here, and the range of integers. Malformed strings have separate codes (1000
//! to 1003), which the methods return, and so have block references of any type.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use vibecoin_rpc_api::registry::{Kind, Method, Param};
use vibecoin_rpc_api::{ApiError, U64};

use crate::envelope::read_text;
use crate::params::unknown;

/// Maximum bytes of a value in an error.
const SHOWN_BYTES_MAX: usize = 64;

/// Maximum characters of a reader's message in an error.
const DETAIL_CHARS_MAX: usize = 256;

/// Checks the values of `params`, whose names and number are known to be right.
///
/// # Errors
/// -32602 that names the parameter and the accepted values.
pub(crate) fn check(method: &Method, params: &str) -> Result<(), ApiError> {
    // The library accepts a number and a string here, and the dispatcher checks them.
    if method.name == "sub_unsubscribe" {
        return Ok(());
    }
    if !params.trim_ascii_start().starts_with('[') {
        let values: BTreeMap<&str, &RawValue> = serde_json::from_str(params).map_err(unreadable)?;
        for (name, value) in values {
            match method.params.iter().find(|param| param.name == name) {
                Some(param) => check_one(param, value.get())?,
                None => check_options(method, value.get())?,
            }
        }
        return Ok(());
    }
    let values: Vec<&RawValue> = serde_json::from_str(params).map_err(unreadable)?;
    for (index, value) in values.into_iter().enumerate() {
        match method.params.get(index) {
            Some(param) => check_one(param, value.get())?,
            None => check_options(method, value.get())?,
        }
    }
    Ok(())
}

/// The parameters are valid JSON with names and a number that were checked, so this is not reached.
fn unreadable(error: serde_json::Error) -> ApiError {
    ApiError::invalid_params("invalid_params", plain(&error.to_string()))
}

fn check_options(method: &Method, value: &str) -> Result<(), ApiError> {
    if value == "null" {
        return Ok(());
    }
    if !value.starts_with('{') {
        let names: Vec<&str> = method.options.iter().map(|option| option.name).collect();
        let takes = format!("an object with any of {}", names.join(", "));
        return Err(wrong("options", &takes, &format!("got {}", shown(value))));
    }
    let values: BTreeMap<&str, &RawValue> = serde_json::from_str(value).map_err(unreadable)?;
    for (name, value) in values {
        let option = method.options.iter().find(|option| option.name == name);
        check_one(option.ok_or_else(|| unknown(method, name))?, value.get())?;
    }
    Ok(())
}

fn check_one(param: &Param, value: &str) -> Result<(), ApiError> {
    if value == "null" && !param.required {
        return Ok(());
    }
    let is_array = value.starts_with('[');
    let fits = match param.kind {
        Kind::Block => true,
        Kind::Address | Kind::Hash | Kind::Bytes | Kind::Text([]) => is_text(value),
        Kind::Text(allowed) => read_text(value).is_some_and(|text| allowed.iter().any(|word| *word == text)),
        Kind::U64 => serde_json::from_str::<U64>(value).is_ok(),
        // The reader's error would repeat a string, however long.
        Kind::U32 => !value.starts_with('"') && serde_json::from_str::<u32>(value).is_ok(),
        Kind::Bool => matches!(value, "true" | "false"),
        Kind::Object => value.starts_with('{'),
        Kind::AddressOrList(_) if !is_array => is_text(value),
        Kind::AddressOrList(max) | Kind::Addresses(max) | Kind::Hashes(max) | Kind::BytesList(max) => {
            if is_array {
                check_list(param, value, max)?;
            }
            is_array
        }
    };
    if fits {
        return Ok(());
    }
    Err(wrong(
        param.name,
        &param.kind.takes(),
        &format!("got {}", shown(value)),
    ))
}

/// Returns true if valid JSON is a readable string. Only escapes can make one unreadable, so others are not
/// examined.
fn is_text(value: &str) -> bool {
    value.starts_with('"') && (!value.contains('\\') || read_text(value).is_some())
}

fn wrong(name: &str, takes: &str, got: &str) -> ApiError {
    let message = format!("`{name}` takes {takes}; {got}");
    ApiError::invalid_params("invalid_params", message).with("parameter", name)
}

/// A value as shown in errors.
fn shown(value: &str) -> &str {
    match value.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        _ if value.len() <= SHOWN_BYTES_MAX => value,
        Some(b'"') => "another text",
        _ => "another number",
    }
}

/// Checks the entries of a list in place, in the request: nothing of them is copied or kept, and of a list
/// that is too long those beyond `max` are only counted.
fn check_list(param: &Param, array: &str, max: usize) -> Result<(), ApiError> {
    let (mut count, mut wrong_entry) = (0usize, None);
    let texts = Texts {
        max,
        count: &mut count,
        wrong_entry: &mut wrong_entry,
    };
    // The array is valid JSON: an error means only that reading has ended at `wrong_entry`.
    let _ended = serde_json::Deserializer::from_str(array).deserialize_seq(texts);
    if let Some((index, entry)) = wrong_entry {
        let got = format!("the one at position {index} is {entry}");
        return Err(wrong(param.name, &param.kind.takes(), &got));
    }
    if count > max {
        return Err(ApiError::too_many(entries_noun(param), count, max));
    }
    Ok(())
}

/// Returns the noun that errors use for the entries of a list.
fn entries_noun(param: &Param) -> &'static str {
    match param.kind {
        Kind::BytesList(_) => "transactions",
        Kind::AddressOrList(_) => "addresses",
        _ => param.name,
    }
}

struct Texts<'c> {
    max: usize,
    /// Number of entries that were read.
    count: &'c mut usize,
    /// The first entry that is not a string, and its position from zero.
    wrong_entry: &'c mut Option<(usize, String)>,
}

impl<'t> Visitor<'t> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut entries: A) -> Result<(), A::Error> {
        while *self.count < self.max {
            let Some(entry) = entries.next_element::<&RawValue>()? else {
                return Ok(());
            };
            if !is_text(entry.get()) {
                *self.wrong_entry = Some((*self.count, shown(entry.get()).to_owned()));
                return Err(A::Error::custom("an entry is no text"));
            }
            *self.count = self.count.saturating_add(1);
        }
        while entries.next_element::<IgnoredAny>()?.is_some() {
            *self.count = self.count.saturating_add(1);
        }
        Ok(())
    }
}

/// The parameter of the method whose contents the table does not describe.
pub(crate) fn nested(method: &Method) -> Option<&'static str> {
    let nested = method.params.iter().find(|param| param.kind == Kind::Object);
    nested.map(|param| param.name)
}

/// An error of the JSON reader without its positions and the names of Rust types.
pub(crate) fn plain(detail: &str) -> String {
    let text = detail.split(" at line ").next().unwrap_or_default();
    let Some((found, expected)) = text.rsplit_once(", expected ") else {
        return text.chars().take(DETAIL_CHARS_MAX).collect();
    };
    // It may repeat a name of any length.
    let found: String = found.chars().take(DETAIL_CHARS_MAX).collect();
    let ours = [
        "struct ",
        "internally tagged enum ",
        "enum ",
        "tuple ",
        "unit ",
        "variant ",
    ];
    let expected = match expected {
        "a sequence" => "an array",
        "a map" => "an object",
        "u8" | "u16" | "u32" | "u64" => "a whole number",
        expected if ours.iter().any(|word| expected.starts_with(word)) => "an object",
        expected => expected,
    };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use vibecoin_rpc_api::registry::{ADMIN_METHODS, METHODS, find};

    use super::*;

    /// A value of the right type.
    fn good(kind: Kind) -> String {
        match kind {
            Kind::Address | Kind::Hash | Kind::Bytes | Kind::Text([]) | Kind::Block => "\"x\"".to_owned(),
            Kind::Addresses(_) | Kind::AddressOrList(_) | Kind::Hashes(_) | Kind::BytesList(_) => {
                "[\"x\"]".to_owned()
            }
            Kind::U64 => "\"18446744073709551615\"".to_owned(),
            Kind::U32 => "4294967295".to_owned(),
            Kind::Bool => "true".to_owned(),
            Kind::Text(allowed) => format!("{:?}", allowed[0]),
            Kind::Object => "{}".to_owned(),
        }
    }

    /// Values of a wrong type.
    fn bad(kind: Kind) -> &'static [&'static str] {
        match kind {
            Kind::Block => &[],
            Kind::Address | Kind::Hash | Kind::Bytes | Kind::Text(_) => &["7", "true", "{}", "[\"x\"]"],
            Kind::Addresses(_) | Kind::Hashes(_) | Kind::BytesList(_) => {
                &["\"x\"", "7", "{}", "[\"x\",7]", "[[]]"]
            }
            Kind::AddressOrList(_) => &["7", "{}", "[7]", "[null]"],
            Kind::U64 => &[
                "-1",
                "1.0",
                "\"\"",
                "\"07\"",
                "true",
                "[]",
                "18446744073709551616",
            ],
            Kind::U32 => &["-1", "1.0", "\"1\"", "4294967296", "{}"],
            Kind::Bool => &["0", "\"true\"", "[]"],
            Kind::Object => &["7", "\"x\"", "[]"],
        }
    }

    #[test]
    fn a_wrong_type_is_named_with_its_parameter_on_every_method() {
        let mut refused = 0;
        for method in METHODS.iter().chain(ADMIN_METHODS) {
            if method.name == "sub_unsubscribe" {
                continue;
            }
            let all: Vec<String> = method.params.iter().map(|param| good(param.kind)).collect();
            assert_eq!(
                check(method, &format!(" [{}]", all.join(","))),
                Ok(()),
                "{}",
                method.name
            );
            for (index, param) in method.params.iter().enumerate() {
                let null: &[&str] = if param.required && param.kind != Kind::Block {
                    &["null"]
                } else {
                    &[]
                };
                for value in bad(param.kind).iter().chain(null) {
                    let mut positions = all.clone();
                    positions[index] = (*value).to_owned();
                    let named = format!("{{\"{}\": {value}}}", param.name);
                    for params in [format!("[{}]", positions.join(",")), named] {
                        let error = check(method, &params).unwrap_err();
                        assert_eq!(error.data.facts["parameter"], param.name, "{params}");
                        assert!(error.message.contains("takes"), "{}", error.message);
                        refused += 1;
                    }
                }
            }
            for option in method.options {
                let with = |value: &str| format!("{{\"options\":{{\"{}\":{value}}}}}", option.name);
                assert_eq!(check(method, &with(&good(option.kind))), Ok(()));
                assert_eq!(check(method, &with("null")), Ok(()));
                for value in bad(option.kind) {
                    let error = check(method, &with(value)).unwrap_err();
                    assert_eq!(error.data.facts["parameter"], option.name, "{value}");
                    refused += 1;
                }
            }
            if method.has_options() {
                for value in ["7", "[]", "\"x\""] {
                    let error = check(method, &format!("{{\"options\":{value}}}")).unwrap_err();
                    assert_eq!(error.data.facts["parameter"], "options");
                }
            }
        }
        assert!(refused > 200, "{refused}");
    }

    #[test]
    fn the_message_says_what_it_takes_and_what_it_got() {
        let message = |method: &str, params: &str| check(find(method).unwrap(), params).unwrap_err().message;
        assert_eq!(
            message("account_get", "[7]"),
            "`address` takes a text: bech32m, or 0x and 64 hex digits; got 7"
        );
        assert_eq!(
            message("tx_getStatuses", r#"{"hashes":["0x", {}]}"#),
            "`hashes` takes an array of hashes, each a text: 0x and 64 hex digits; \
             the one at position 1 is an object"
        );
        assert_eq!(
            message("chain_getBlocks", r#"[{"order":"up"}]"#),
            "`order` takes one of the texts asc, desc; got \"up\""
        );
        assert!(message("account_get", r#"["x",{"hight":1}]"#).contains("unknown parameter `hight`"));
    }

    #[test]
    fn errors_of_the_reader_lose_places_and_names_of_types() {
        for (detail, shown) in [
            (
                "invalid type: integer `7`, expected internally tagged enum OperationView at line 1 column 9",
                "invalid type: integer `7`, expected an object",
            ),
            (
                "invalid type: integer `7`, expected a sequence",
                "invalid type: integer `7`, expected an array",
            ),
            ("missing field `fee` at line 1 column 2", "missing field `fee`"),
            (
                "unknown field `a`, expected `b` or `c` at line 1 column 4",
                "unknown field `a`, expected `b` or `c`",
            ),
        ] {
            assert_eq!(plain(detail), shown);
        }
        let long = format!("unknown field `{}`, expected `to` or `amount`", "x".repeat(1000));
        let short = plain(&long);
        assert!(
            short.ends_with(", expected `to` or `amount`") && short.len() < 300,
            "{short}"
        );
    }

    #[test]
    fn a_list_is_refused_at_its_first_wrong_entry_and_for_its_length_before_any_method_sees_it() {
        let code = |method: &str, params: &str| {
            let error = check(find(method).unwrap(), params).unwrap_err();
            (error.code, error.message)
        };
        let mut lists = 0;
        for method in METHODS {
            for (index, param) in method.params.iter().enumerate() {
                let Some(max) = param.kind.entries_max() else {
                    continue;
                };
                let with = |entries: &str| {
                    let mut values: Vec<String> =
                        method.params.iter().map(|param| good(param.kind)).collect();
                    values[index] = format!("[{entries}]");
                    format!("[{}]", values.join(","))
                };
                let full = vec!["\"x\""; max].join(",");
                assert_eq!(check(method, &with(&full)), Ok(()), "{}", method.name);
                // Entries beyond the bound are counted, not parsed.
                for (behind, got) in [("\"x\"", 1), ("7,{\"y\":[1]},[]", 3)] {
                    let (code, message) = code(method.name, &with(&format!("{full},{behind}")));
                    assert_eq!(code, vibecoin_rpc_api::Code::TooExpensive.number(), "{message}");
                    let expected = format!("in one call, got {}", max.saturating_add(got));
                    assert!(
                        message.starts_with(&format!("at most {max} ")) && message.ends_with(&expected),
                        "{message}"
                    );
                }
                let (_, message) = code(method.name, &with(&format!("7,{full}")));
                assert!(message.ends_with("the one at position 0 is 7"), "{message}");
                lists += 1;
            }
        }
        assert_eq!(
            lists, 5,
            "account_getMany, proof_getAccount, proof_getStorage, tx_getStatuses, tx_submitBatch"
        );
    }

    #[test]
    fn a_text_that_cannot_be_read_is_found_in_a_list_wherever_it_stands() {
        let method = find("tx_getStatuses").unwrap();
        assert_eq!(check(method, r#"[["a","\u0041\\\"","\ud83d\ude00"]]"#), Ok(()));
        for bad in [r#""\ud800""#, "7", "null", "[]", "{}"] {
            let error = check(method, &format!("[[\"\",\"\\n\",{bad}]]")).unwrap_err();
            assert!(
                error.message.contains("the one at position 2 is"),
                "{}",
                error.message
            );
        }
    }
}
