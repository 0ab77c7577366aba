//! Errors of commands: the fault, its location, and the remedy.

mod files;
mod parts;
mod sent;
mod server;
mod snapshots;

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use vibecoin_config::ConfigError;
use vibecoin_genesis::GenesisError;

use crate::exit::Exit;
use crate::node_url::NodeUrl;
use files::{exit_of_file, file_hint};

pub use parts::names_other_keys;
pub use sent::{Sent, lookup_hint};
pub use server::waiting_hint;

/// Start of the message when no node answers; [`CliError::at`] adds the address.
const NO_ANSWER: &str = "no node answers";
/// Hint for an address that is none.
pub const URL_FORM: &str = "write --url http://HOST:PORT, such as --url http://127.0.0.1:8545";
/// Hint for a block that there is not.
pub const NEWEST: &str = "`vibecoin block list` shows the newest blocks";
/// Reason of an error for a file that cannot be at its path.
const BAD_PLACE: &str = "bad_place";

/// Reason for which a command failed.
#[derive(Clone, Debug, PartialEq)]
pub struct CliError {
    /// Exit code of the process.
    pub exit: Exit,
    /// The RPC error code, or else the exit code.
    pub code: i64,
    /// A stable identifier.
    pub reason: String,
    /// Description of the fault and its location.
    pub message: String,
    /// Remedy for the user.
    pub hint: Option<String>,
    /// Structured details.
    pub data: Box<Value>,
    /// The transaction that was signed and sent before the command failed.
    pub sent: Option<Box<Sent>>,
}

impl CliError {
    /// An error of this class.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: i64::from(exit.code()),
            reason: exit.symbol(),
            message: message.into(),
            hint: None,
            data: Box::new(Value::Null),
            sent: None,
        }
    }

    /// Wrong arguments.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Data that fails verification.
    pub fn unverified(message: impl Into<String>) -> Self {
        Self::new(Exit::VerificationFailed, message)
    }

    /// With a specific reason.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            ..self
        }
    }

    /// With a remedy.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// With its hint rewritten by `words`.
    #[must_use]
    pub fn reworded(self, words: impl FnOnce(String) -> String) -> Self {
        Self {
            hint: self.hint.map(words),
            ..self
        }
    }

    /// No node answers, for this cause.
    pub fn no_answer(cause: impl std::fmt::Display) -> Self {
        Self::new(Exit::CannotConnect, format!("{NO_ANSWER}: {cause}"))
    }

    /// With the address that was tried, and the remedy for it, if no node answered. An existing hint is
    /// placed first.
    #[must_use]
    pub fn at(self, url: &NodeUrl, hint: impl FnOnce() -> String) -> Self {
        // An error that has an address already keeps it.
        let cause = self.message.strip_prefix(NO_ANSWER);
        let Some(cause) = cause.filter(|cause| cause.starts_with(':')) else {
            return self;
        };
        let message = format!("{NO_ANSWER} at {url}{cause}");
        let located = Self { message, ..self }.data(json!({ "url": url.to_string() }));
        let start = hint();
        match located.hint.clone() {
            Some(first) => located.hint(format!("{first}; {start}")),
            None => located.hint(start),
        }
    }

    /// Without the address's password, which a quoted text may contain.
    #[must_use]
    pub fn without_password(self, url: &NodeUrl) -> Self {
        let message = url.without_password(&self.message);
        Self { message, ..self }.reworded(|hint| url.without_password(&hint))
    }

    /// With structured details.
    #[must_use]
    pub fn data(self, data: Value) -> Self {
        let data = Box::new(data);
        Self { data, ..self }
    }

    /// For `map_err`: a file or folder that could not be read, written or created.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let reads = matches!(action, "read" | "find" | "list");
        move |error| {
            let exit = exit_of_file(&error, reads);
            let out = Self::new(exit, format!("cannot {action} {}: {error}", path.display()));
            let out = match exit {
                Exit::Usage => out.reason(BAD_PLACE),
                _ => out,
            };
            match file_hint(error.kind(), path, reads) {
                Some(hint) => out.hint(hint),
                None => out,
            }
        }
    }

    /// The same with the daemon's exit code, which differs from a client's for missing or invalid files.
    #[must_use]
    pub fn of_daemon(self) -> Self {
        let refused = match self.exit {
            Exit::InvalidFile | Exit::NotFound => true,
            Exit::Usage => self.reason == BAD_PLACE,
            _ => false,
        };
        if !refused {
            return self;
        }
        Self {
            exit: Exit::Config,
            code: i64::from(Exit::Config.code()),
            ..self
        }
    }

    /// A genesis file that was given to a client command.
    pub fn genesis(path: &Path, error: &GenesisError) -> Self {
        Self::new(Exit::InvalidFile, format!("{}: {error}", path.display()))
            .hint(crate::genesis_hints::for_file(path, error))
    }

    /// A configuration that a client command or the daemon refuses.
    pub fn config(exit: Exit, path: &Path, error: &ConfigError) -> Self {
        let place = match error.place {
            vibecoin_config::Place::File { .. } => format!("{}: ", path.display()),
            _ => String::new(),
        };
        Self::new(exit, format!("{place}{error}"))
            .hint("`vibecoin config init --stdout` prints every key with its default and its range")
            .data(json!({ "key": error.key }))
    }

    /// The JSON for stdout.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut data = (*self.data).clone();
        if let Some(sent) = &self.sent {
            match &mut data {
                Value::Object(facts) => {
                    facts.insert("signed".to_owned(), sent.to_json());
                }
                data => *data = json!({ "signed": sent.to_json() }),
            }
        }
        json!({ "error": {
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "hint": self.hint,
            "data": data,
        }})
    }

    /// The lines for stderr.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("error: {} ({})", self.message, self.reason);
        if let Some(sent) = &self.sent {
            text.push_str(&format!("\nsigned: {}", sent.to_text()));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use vibecoin_rpc_api::{ApiError, Code};

    use super::*;

    #[test]
    fn only_an_error_of_the_connection_gets_the_address() {
        let error = CliError::no_answer("refused").at(&"http://h:1".into(), || "start it".to_owned());
        assert_eq!(error.hint.as_deref(), Some("start it"));
        let signed = CliError::no_answer("refused").hint("ask");
        let signed = signed.at(&"http://h:1".into(), || "start it".to_owned());
        assert_eq!(signed.hint.as_deref(), Some("ask; start it"));
        assert_eq!(error.message, "no node answers at http://h:1: refused");
        assert_eq!(*error.data, json!({ "url": "http://h:1" }));
        assert_eq!(error.exit, Exit::CannotConnect);
        let other = CliError::usage("x");
        assert_eq!(other.clone().at(&"http://h:1".into(), String::new), other);
        // A node of a devnet has its own address; the command's is another.
        assert_eq!(
            error.clone().at(&"http://h:2".into(), || "other".to_owned()),
            error
        );
    }

    #[test]
    fn the_json_of_an_error_has_exactly_its_five_fields() {
        let error: CliError = ApiError::new(Code::NonceTooLow, "used")
            .with("expectedNonce", "7")
            .into();
        let json = error.to_json();
        let mut fields: Vec<_> = json["error"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        fields.sort_unstable();
        assert_eq!(fields, ["code", "data", "hint", "message", "reason"]);
        assert_eq!(json["error"]["code"], 1303);
        assert_eq!(json["error"]["reason"], "nonce_too_low");
        assert_eq!(json["error"]["data"]["expectedNonce"], "7");
    }
}
