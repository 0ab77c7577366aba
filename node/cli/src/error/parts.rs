//! Errors of the crates that commands call: keys, the storage, the engine, devnets and testnets.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::json;
use vibecoin_devnet::error::{Class, Error as DevnetError, Fault, Request};
use vibecoin_devnet::state::STATE_FILE;
use vibecoin_engine::NodeError;
use vibecoin_keystore::KeyError;
use vibecoin_primitives::text::quoted_path;
use vibecoin_storage::StorageError;

use super::CliError;
use super::files::file_hint;
use crate::exit::Exit;

/// Start of the hint for a key that is looked for in the home of another node of a devnet.
const OTHER_KEYS: &str = "the keys of a devnet are in the home of its first node";

/// Returns true if the hint of an error names the home with the keys.
pub fn names_other_keys(error: &CliError) -> bool {
    let hint = error.hint.as_deref();
    hint.is_some_and(|hint| hint.starts_with(OTHER_KEYS))
}

/// The home with the keys of the devnet that the home of this key directory is part of; `None` for that home itself.
fn keys_of_devnet(dir: &Path) -> Option<PathBuf> {
    let dir = std::path::absolute(dir).ok()?;
    let home = dir.parent()?;
    let net = home.parent()?;
    let first = net.join("validator-0");
    (net.join(STATE_FILE).is_file() && first.is_dir() && first != home).then_some(first)
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        let hint = match &error {
            KeyError::NotFound { dir, .. } => Some(match keys_of_devnet(dir) {
                Some(first) => format!(
                    "{OTHER_KEYS}: `vibecoin --home {} keys list` shows them",
                    quoted_path(&first)
                ),
                None => "`vibecoin keys list` shows the keys of a home".to_owned(),
            }),
            KeyError::Unencrypted { .. } => {
                Some("--allow-unencrypted takes such keys; use it for development only".to_owned())
            }
            KeyError::NoPassphrase { .. } => {
                Some("give it on a terminal, with --password-file FILE, or in VIBECOIN_PASSWORD".to_owned())
            }
            KeyError::Exists { .. } => {
                Some("keys are never overwritten: choose another name, or move that file away".to_owned())
            }
            KeyError::Locked { pid, .. } => {
                let how = pid.map_or_else(String::new, |pid| format!(": `kill {pid}`"));
                Some(format!("stop that process first{how}, or use another --home"))
            }
            KeyError::Missing { path } if path.ends_with("validator.key") => Some(format!(
                "`vibecoin init --home {} --validator` makes one; a node that is not told to be a validator follows without",
                quoted_path(path.parent().unwrap_or(path))
            )),
            KeyError::Missing { path } => file_hint(ErrorKind::NotFound, path, true),
            KeyError::Owner {
                path,
                found,
                expected,
            } => Some(format!(
                "run as user {found}, or give it to this one: `chown {expected} {}`",
                quoted_path(path)
            )),
            KeyError::Kind { path, found, .. } if found.contains("link") => Some(format!(
                "a secret is not reached through a link; name what it leads to: `readlink -f {}`",
                quoted_path(path)
            )),
            _ => None,
        };
        let mut message = error.to_string();
        let mut of_the_file = None;
        if let KeyError::Io { source, path, .. } = &error {
            message = format!("{message}: {source}");
            of_the_file = file_hint(source.kind(), path, true);
        }
        let out = Self::new(Exit::from_code(error.exit_code()), message);
        let out = match &error {
            KeyError::Locked { pid, .. } => out.data(json!({ "pid": pid })),
            _ => out,
        };
        match hint.or_else(|| error.remedy()).or(of_the_file) {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}

impl From<StorageError> for CliError {
    fn from(error: StorageError) -> Self {
        let code = vibecoin_engine::exit_code(error.class());
        let out = Self::new(Exit::from_code(code), error.to_string());
        match vibecoin_engine::storage_hint(&error) {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}

impl From<NodeError> for CliError {
    fn from(error: NodeError) -> Self {
        let out = Self::new(Exit::from_code(error.exit_code()), error.to_string());
        match error.hint() {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}

impl From<Class> for Exit {
    fn from(class: Class) -> Self {
        match class {
            Class::Failure => Self::Failure,
            Class::Usage => Self::Usage,
            Class::NotFound => Self::NotFound,
            Class::InvalidFile => Self::InvalidFile,
            Class::Config => Self::Config,
            Class::GenesisMismatch => Self::GenesisMismatch,
            Class::CannotConnect => Self::CannotConnect,
            Class::Timeout => Self::Timeout,
            Class::Fork => Self::SafetyHalt,
            Class::Key => Self::Key,
            Class::Io => Self::Io,
        }
    }
}

impl From<DevnetError> for CliError {
    fn from(error: DevnetError) -> Self {
        match error {
            DevnetError::Fault(fault) => of_fault(*fault),
            DevnetError::File { action, path, source } => Self::file(action, &path)(source),
            DevnetError::Key(error) => error.into(),
            DevnetError::Storage(error) => error.into(),
            DevnetError::Config { class, path, error } => Self::config(class.into(), &path, &error),
            DevnetError::Genesis { path, error } => Self::genesis(&path, &error),
            DevnetError::Request(request) => of_request(*request),
        }
    }
}

fn of_fault(fault: Fault) -> CliError {
    let out = CliError::new(fault.class.into(), fault.message).data(fault.data);
    let out = match fault.reason {
        Some(reason) => out.reason(reason),
        None => out,
    };
    match fault.hint {
        Some(hint) => out.hint(hint),
        None => out,
    }
}

fn of_request(request: Request) -> CliError {
    let mut out = CliError::from(request.error);
    if let Some(during) = request.during {
        out.message = format!("{during}: {}", out.message);
    }
    match request.at {
        Some((url, remedy)) => out.at(&url.into(), || remedy),
        None => out,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_of_a_key_error_names_its_file() {
        let path = std::path::PathBuf::from("/h/validator.key");
        for (error, words) in [
            (
                KeyError::Missing { path: path.clone() },
                "`vibecoin init --home /h --validator`",
            ),
            (
                KeyError::Owner {
                    path: path.clone(),
                    found: 1,
                    expected: 2,
                },
                "`chown 2 /h/validator.key`",
            ),
            (
                KeyError::Kind {
                    path: path.clone(),
                    found: "a symbolic link",
                    expected: "a regular file",
                },
                "`readlink -f /h/validator.key`",
            ),
            (
                KeyError::TooOpen {
                    path,
                    mode: 0o644,
                    allowed: 0o600,
                },
                "chmod 600 /h/validator.key",
            ),
        ] {
            let hint = CliError::from(error).hint;
            assert!(
                hint.as_deref().is_some_and(|hint| hint.contains(words)),
                "{hint:?}"
            );
        }
    }

    #[test]
    fn a_fault_of_the_library_keeps_its_text_and_its_remedy() {
        let fault = DevnetError::new(Class::Fork, "two blocks")
            .reason("fork")
            .hint("keep the folder")
            .data(json!({ "height": 7 }));
        let expected = CliError::new(Exit::SafetyHalt, "two blocks")
            .reason("fork")
            .hint("keep the folder")
            .data(json!({ "height": 7 }));
        assert_eq!(CliError::from(fault), expected);
        let plain = DevnetError::usage("such a network cannot be");
        assert_eq!(CliError::from(plain), CliError::usage("such a network cannot be"));
    }

    #[test]
    fn a_file_of_the_library_is_reported_as_one_of_a_command() {
        let path = std::path::Path::new("/nowhere/at/all");
        let missing = || std::io::Error::from(ErrorKind::NotFound);
        assert_eq!(
            CliError::from(DevnetError::file("read", path)(missing())),
            CliError::file("read", path)(missing())
        );
    }

    #[test]
    fn a_request_names_the_node_that_refused_it_and_the_remedy_where_none_answered() {
        use jsonrpsee::core::client::Error as ClientError;
        let refused = |at| {
            CliError::from(DevnetError::Request(Box::new(Request {
                error: ClientError::Custom("x".to_owned()),
                during: Some("validator-0 refuses net_getBans".to_owned()),
                at,
            })))
        };
        let error = refused(None);
        assert!(
            error.message.starts_with("validator-0 refuses net_getBans: "),
            "{}",
            error.message
        );
        // Only where no node answered.
        let located = refused(Some(("http://h:1".to_owned(), "look at its log".to_owned())));
        assert_eq!(located, error);
    }
}
