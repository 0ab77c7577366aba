//! Errors that prevent a start or stop a running node, and the exit code of each.

use std::io::ErrorKind;

use vibecoin_host::{CommitError, HostError, RecoverError};
use vibecoin_keystore::KeyError;
use vibecoin_primitives::FaultClass;
use vibecoin_primitives::text::quoted;
use vibecoin_replica::Fault;
use vibecoin_storage::StorageError;

/// Reason for a failed start, or for a stop without a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration or the genesis file is not usable.
    #[error("{what}: {detail}")]
    Config {
        /// The file or setting.
        what: String,
        /// Description of the fault.
        detail: String,
    },
    /// A folder of the configuration cannot be created or used at its path.
    #[error("{key}: {path} cannot be a folder of the node: {detail}")]
    Place {
        /// The key of the configuration.
        key: &'static str,
        /// The path that it names.
        path: String,
        /// The system's message.
        detail: String,
    },
    /// This user lacks permission for a file or folder of the home.
    #[error("{path}: {detail}; its owner and mode keep this user out")]
    Access {
        /// The file or folder.
        path: String,
        /// The system's message.
        detail: String,
    },
    /// A file of the keystore, or the lock of the home, is unavailable.
    #[error("{}", with_cause(.0))]
    Keystore(KeyError),
    /// Another process holds the home.
    #[error("{0}")]
    Locked(String),
    /// A key is missing, unreadable, readable by others, or not a validator's.
    #[error("key: {0}")]
    Key(String),
    /// The store refused or failed.
    #[error("{context}: {source}")]
    Storage {
        /// The operation in progress.
        context: &'static str,
        /// The store's error.
        source: StorageError,
    },
    /// Local data is damaged; the message names it and the remedy.
    #[error("{detail}. {remedy}")]
    Damaged {
        /// Description of the damage.
        detail: String,
        /// Remedy for the operator.
        remedy: String,
    },
    /// The double-sign guard is missing or damaged beside a chain that this key may have voted on.
    #[error("the double-sign guard is lost ({detail}); a key that may have signed must not sign without it")]
    GuardLost {
        /// Description of the fault.
        detail: String,
    },
    /// The replica stopped.
    #[error("stopped: {0}")]
    Fault(#[from] Fault),
    /// A listener could not be opened.
    #[error("cannot listen on {address} ({}): {detail}", listener.key())]
    Listen {
        /// The listener.
        listener: Listener,
        /// The address.
        address: String,
        /// The system's message.
        detail: String,
        /// The same error as a kind.
        kind: ErrorKind,
    },
    /// A second signal interrupted the stop.
    #[error("stop cut short by a second signal")]
    SecondSignal {
        /// The signal's number.
        signal: u8,
    },
    /// A thread of the node ended without a reason: a bug.
    #[error("thread {name} ended unexpectedly")]
    ThreadLost {
        /// The thread.
        name: &'static str,
    },
    /// The system refused an operation that the node requires.
    #[error("{what}: {detail}")]
    System {
        /// The operation.
        what: &'static str,
        /// The system's message.
        detail: String,
    },
}

fn with_cause(error: &KeyError) -> String {
    match error {
        KeyError::Io { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

impl From<KeyError> for NodeError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Locked { .. } => Self::Locked(error.to_string()),
            _ => Self::Keystore(error),
        }
    }
}

impl From<HostError> for NodeError {
    fn from(HostError { context, source }: HostError) -> Self {
        Self::Storage { context, source }
    }
}

impl From<RecoverError> for NodeError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Host(error) => error.into(),
            RecoverError::Damaged { detail, remedy } => Self::Damaged { detail, remedy },
            RecoverError::GuardLost { detail } => Self::GuardLost { detail },
        }
    }
}

impl From<CommitError> for NodeError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Host(error) => error.into(),
            CommitError::OtherThanWitness { .. } => Self::Damaged {
                detail: error.to_string(),
                remedy: "Nothing was signed and the block was not stored. Two different blocks of one height are final \
                         somewhere: keep a copy of this home for a report, and ask the operators of the other validators \
                         which chain is theirs"
                    .to_owned(),
            },
        }
    }
}

/// A listening socket of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The public interface.
    Rpc,
    /// The operator's methods.
    Admin,
    /// The metrics for Prometheus.
    Metrics,
    /// The peer-to-peer network.
    P2p,
}

impl Listener {
    /// The configuration key of its address; the flag is the same behind two dashes.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Rpc => "rpc.port",
            Self::Admin => "admin.listen",
            Self::Metrics => "metrics.listen",
            Self::P2p => "p2p.listen",
        }
    }

    /// The flag with a value that selects any free port of this machine.
    const fn free(self) -> &'static str {
        match self {
            Self::Rpc => "--rpc.port 0",
            Self::Admin => "--admin.listen 127.0.0.1:0",
            Self::Metrics => "--metrics.listen 127.0.0.1:0",
            Self::P2p => "--p2p.listen /ip4/0.0.0.0/tcp/0",
        }
    }

    /// For `map_err`: an address of this listener that the system refuses.
    pub(crate) fn refused(self, address: impl Into<String>) -> impl FnOnce(std::io::Error) -> NodeError {
        let address = address.into();
        move |error| NodeError::Listen {
            listener: self,
            address,
            kind: error.kind(),
            detail: error.to_string(),
        }
    }

    fn hint(self, kind: ErrorKind) -> String {
        let (key, free) = (self.key(), self.free());
        match kind {
            ErrorKind::AddrInUse => format!(
                "another process listens there; stop it, or name another port with --{key}: `{free}` takes a free one"
            ),
            ErrorKind::PermissionDenied => {
                format!(
                    "ports below 1024 need a privilege; name a higher one with --{key}: `{free}` takes a free one"
                )
            }
            ErrorKind::AddrNotAvailable => match self {
                Self::Rpc => {
                    "the address is not one of this machine; name one that is with --rpc.addr".to_owned()
                }
                _ => format!("the address is not one of this machine; name one that is with --{key}"),
            },
            _ => format!("name another address with --{key}: `{free}` takes a free port"),
        }
    }
}

/// Recovers the kind of an error of which only the text was passed on.
pub(crate) fn kind_of(text: &str) -> ErrorKind {
    let number = text.split("os error ").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    number.map_or(ErrorKind::Other, |number| {
        std::io::Error::from_raw_os_error(number).kind()
    })
}

/// The exit code of a process that ends with a fault of this class (`interfaces.md`, exit codes).
#[must_use]
pub const fn exit_code(class: FaultClass) -> u8 {
    match class {
        FaultClass::Locked => 9,
        FaultClass::NotCreated => 10,
        FaultClass::GenesisMismatch => 11,
        FaultClass::Corruption => 20,
        FaultClass::DiskFull => 21,
        FaultClass::Io => 22,
        FaultClass::Safety => 30,
        FaultClass::OtherSchema => 50,
    }
}

/// Remedy for an error of the store, if there is one.
#[must_use]
pub fn storage_hint(error: &StorageError) -> Option<String> {
    let hint = match (error.class(), error) {
        (FaultClass::Locked, _) => "stop the process that has it first, or use another --home",
        (FaultClass::NotCreated, _) => "a node makes it at its first start: `vibecoin node`",
        (FaultClass::GenesisMismatch, _) => {
            "this home belongs to another chain; choose another --home or the right genesis file"
        }
        (FaultClass::Corruption, _) => {
            "run `vibecoin db check` to see what is damaged; then restore a copy of the database, or move its folder away and start: a node with peers fetches the chain again, and signs nothing that it may have signed before"
        }
        (FaultClass::DiskFull, _) => "free some space and start again; nothing acknowledged is lost",
        (FaultClass::Io, StorageError::Io { what, detail }) => {
            return Some(place_hint(kind_of(detail), what));
        }
        (_, StorageError::SchemaTooNew { .. }) => {
            "this home was written by a newer version; use that version"
        }
        (_, StorageError::SchemaTooOld { .. }) => {
            "use the version that wrote it, or move the database folder away and start: a node with peers fetches the chain again"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Remedy for a path that cannot be read or written.
fn place_hint(kind: ErrorKind, what: &str) -> String {
    let user = rustix::process::geteuid().as_raw();
    // The store may name more than a path.
    let path = if what.starts_with('/') && !what.contains(char::is_whitespace) {
        format!(" {}", quoted(what))
    } else {
        String::new()
    };
    match kind {
        ErrorKind::PermissionDenied => {
            format!(
                "this process runs as user {user}, which may not do that with {what}: give it the right, see `namei -l{path}`"
            )
        }
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::AlreadyExists => {
            format!("a part of the path of {what} is not what it must be, see `namei -l{path}`")
        }
        ErrorKind::ReadOnlyFilesystem => format!("the file system of {what} is mounted read-only"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("free some space where {what} is"),
        _ => "check the disk; nothing acknowledged is lost".to_owned(),
    }
}

impl NodeError {
    /// The exit code of the process (`interfaces.md`, exit codes).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } | Self::Place { .. } => 10,
            Self::Locked(_) => 9,
            Self::Key(_) | Self::Access { .. } => 40,
            Self::Keystore(error) => error.exit_code(),
            Self::Storage { source, .. } => exit_code(source.class()),
            Self::Damaged { .. } => 20,
            Self::GuardLost { .. } => 30,
            Self::Fault(fault) => exit_code(fault.class()),
            Self::SecondSignal { signal } => 128u8.saturating_add(*signal),
            Self::Listen { .. } | Self::ThreadLost { .. } | Self::System { .. } => 1,
        }
    }

    /// Remedy for the operator, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { listener, kind, .. } => Some(listener.hint(*kind)),
            Self::Storage { source, .. } => storage_hint(source),
            Self::Place { key, path, .. } => Some(format!(
                "{}; or name another place with --{key}",
                place_hint(ErrorKind::NotADirectory, path)
            )),
            Self::Access { path, .. } => Some(place_hint(ErrorKind::PermissionDenied, path)),
            _ => self.standing_hint().map(str::to_owned),
        }
    }

    /// The hint, where it is the same for every error of a variant.
    fn standing_hint(&self) -> Option<&'static str> {
        match self {
            Self::GuardLost { .. } => Some(
                "restore the guard file; for a key that certainly never signed, remove what is left of it, and `vibecoin init --i-know-this-key-never-signed` makes a new one",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(listener: Listener, kind: ErrorKind) -> String {
        let error = listener.refused("127.0.0.1:1")(kind.into());
        format!("{error}; {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn the_hint_names_the_flag_of_the_listener_that_failed_and_of_no_other() {
        let all = [Listener::Rpc, Listener::Admin, Listener::Metrics, Listener::P2p];
        for listener in all {
            for kind in [
                ErrorKind::AddrInUse,
                ErrorKind::PermissionDenied,
                ErrorKind::InvalidInput,
            ] {
                let text = listen(listener, kind);
                for other in all {
                    let named = text.contains(&format!("--{}", other.key()));
                    assert_eq!(named, other == listener, "{text}");
                }
            }
        }
        assert!(listen(Listener::Rpc, ErrorKind::AddrNotAvailable).contains("--rpc.addr"));
        assert!(listen(Listener::P2p, ErrorKind::AddrNotAvailable).contains("--p2p.listen"));
        assert!(listen(Listener::Rpc, ErrorKind::PermissionDenied).contains("1024"));
    }

    #[test]
    fn every_class_has_the_exit_code_that_operators_were_promised() {
        use FaultClass::*;
        let codes = [
            Locked,
            GenesisMismatch,
            Corruption,
            DiskFull,
            Io,
            Safety,
            OtherSchema,
        ]
        .map(exit_code);
        assert_eq!(codes, [9, 11, 20, 21, 22, 30, 50]);
    }

    #[test]
    fn an_error_of_the_disk_is_told_apart_by_what_the_system_said() {
        let hint = |detail: &str| {
            storage_hint(&StorageError::Io {
                what: "/a/b".to_owned(),
                detail: detail.to_owned(),
            })
        };
        for (detail, part) in [
            ("Permission denied (os error 13)", "may not do that with /a/b"),
            (
                "While mkdir: /a/b: Not a directory (os error 20)",
                "`namei -l /a/b`",
            ),
            ("Read-only file system (os error 30)", "read-only"),
            ("Input/output error (os error 5)", "check the disk"),
            ("something else", "check the disk"),
        ] {
            let hint = hint(detail).unwrap_or_default();
            assert!(hint.contains(part), "{detail}: {hint}");
        }
    }
}
