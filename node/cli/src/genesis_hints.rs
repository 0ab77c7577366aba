//! Remedies for a genesis that is refused, and for a file that is taken for one.

use std::path::Path;

use vibecoin_config::CONFIG_BYTES_MAX;
use vibecoin_devnet::files;
use vibecoin_genesis::{GENESIS_BYTES_MAX, Genesis, GenesisError, Problem};
use vibecoin_primitives::AddressError;
use vibecoin_primitives::text::quoted_path;

/// Source of valid values.
const FORM: &str =
    "`vibecoin genesis new` prints a file in which every parameter has a value that is allowed";
/// Creation of an account that can be paid.
const NEW_ACCOUNT: &str = "`vibecoin keys new NAME` makes an account and prints its address";
/// Creation of a validator's key.
const NEW_VALIDATOR: &str = "`vibecoin init --home DIR --validator` makes a validator's key and prints it";

/// Remedy for a genesis file where a configuration belongs; `None` for another file.
pub fn for_configuration(path: &Path) -> Option<String> {
    let text = read(path, GENESIS_BYTES_MAX)?;
    Genesis::parse_draft(&text).ok()?;
    Some(format!(
        "it is a genesis file, which `vibecoin genesis validate {}` checks; the configuration of a home is its config.toml",
        quoted_path(path)
    ))
}

/// Returns true for the configuration of a node. A file with neither keys nor tables could be that of anything.
fn is_configuration(path: &Path) -> bool {
    let Some(text) = read(path, CONFIG_BYTES_MAX) else {
        return false;
    };
    text.lines().any(|line| line.starts_with('[')) && vibecoin_config::parse(&text).is_ok()
}

/// The text of a file that was read before, which stdin cannot be again.
fn read(path: &Path, most: usize) -> Option<String> {
    if path == Path::new("-") {
        return None;
    }
    files::read_text(path, most).ok()
}

/// Remedy for a fault in the file at `path`.
pub fn for_file(path: &Path, error: &GenesisError) -> String {
    if is_configuration(path) {
        return format!(
            "it is the configuration of a node, which `vibecoin config check {}` checks; the genesis file of a home is its \
             genesis.toml",
            quoted_path(path)
        );
    }
    let key = error.key.as_str();
    match &error.problem {
        Problem::Missing { .. } => missing(path, key),
        Problem::Value { found, .. } if key == "validators" && found.starts_with("0 ") => add_validator(path),
        Problem::Syntax { .. } => match error.position {
            Some(position) => format!("`sed -n {}p {}` shows the line", position.line, quoted_path(path)),
            None => FORM.to_owned(),
        },
        Problem::Duplicate { .. } => "remove one of the two".to_owned(),
        Problem::Address(AddressError::Prefix { .. }) => format!(
            "remove it, and add it with {}, which takes the 0x form, too: that has no prefix",
            add(path, key)
        ),
        problem => for_value(key, problem),
    }
}

/// Remedy for faulty arguments of a file, which was not written.
pub fn for_typed(error: &GenesisError) -> String {
    let key = error.key.as_str();
    match &error.problem {
        Problem::Duplicate { what, .. } => format!("leave out the {what} that is there"),
        Problem::Missing { expected } => format!("give {expected}"),
        Problem::Value { found, .. } if found == "0" => "give 1 or more".to_owned(),
        problem => for_value(key, problem),
    }
}

fn for_value(key: &str, problem: &Problem) -> String {
    match problem {
        Problem::TooMany { what, found, most } => {
            format!("leave out {} {what} or more", found.saturating_sub(*most))
        }
        Problem::UnknownKey { suggestion, .. } => match suggestion {
            Some(name) => format!("write {name} instead of it, or remove it"),
            None => "remove it".to_owned(),
        },
        Problem::UnknownWord { suggestion, .. } => match suggestion {
            Some(word) => format!("write \"{word}\" instead of it"),
            None => "write one of these words instead of it".to_owned(),
        },
        Problem::SupplyOverflow { before, .. } => match u64::MAX.saturating_sub(before.0) {
            0 => "the other accounts own all that there can be: lower what they own".to_owned(),
            left => format!("lower it to {left} or less"),
        },
        Problem::Rule { .. } => "give each validator less power: only the shares count".to_owned(),
        Problem::WeakKey(_) | Problem::Address(_) if is_validator_key(key) => NEW_VALIDATOR.to_owned(),
        Problem::WeakKey(_) => format!("remove it; {NEW_ACCOUNT}"),
        Problem::Address(_) => format!("copy it again from where it was shown; {NEW_ACCOUNT}"),
        _ => of_key(key).to_owned(),
    }
}

/// The valid form of a value of the wrong kind or out of range.
fn of_key(key: &str) -> &'static str {
    match key {
        "format" => "write `format = 1`",
        "time" => "write `time = \"2025-01-01T00:00:00Z\"`, or another time in this form",
        _ if is_validator_key(key) => NEW_VALIDATOR,
        _ if key.starts_with("validators[") && key.ends_with(".power") => {
            "write `power = 1`, or more: only the shares count"
        }
        _ if key.starts_with("validators[") && key.ends_with(".payout") => NEW_ACCOUNT,
        "validators" => "each validator is a table of its own, under a line `[[validators]]`",
        "accounts" => "the accounts are a table, under a line `[accounts]`",
        _ if key.starts_with("accounts.") => "write how many base units it owns, 1 or more, or remove it",
        _ => FORM,
    }
}

fn is_validator_key(key: &str) -> bool {
    key.starts_with("validators[") && key.ends_with(".key")
}

fn missing(path: &Path, key: &str) -> String {
    match key {
        "validators" => add_validator(path),
        "accounts" => add(path, key) + " adds one",
        "format" => "write `format = 1` at the top of the file".to_owned(),
        "time" => {
            "write `time = \"2025-01-01T00:00:00Z\"`, or another time in this form, at the top of the file"
                .to_owned()
        }
        _ if key.starts_with("validators[") => of_key(key).to_owned(),
        _ => {
            "write `profile = \"devnet\"` at the top of the file: what is left out is then as in that profile"
                .to_owned()
        }
    }
}

fn add_validator(path: &Path) -> String {
    add(path, "validators") + " adds one"
}

/// The command that adds an entry of the list that a key is in.
fn add(path: &Path, key: &str) -> String {
    let path = quoted_path(path);
    if key.starts_with("validators") {
        format!("`vibecoin genesis add-validator {path} KEY POWER PAYOUT`")
    } else {
        format!("`vibecoin genesis add-account {path} ADDRESS AMOUNT`")
    }
}

#[cfg(test)]
#[path = "genesis_hints_tests.rs"]
mod tests;
