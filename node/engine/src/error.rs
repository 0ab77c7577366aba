//! Why a node did not start, or stopped by itself, and the exit code that says so.

use vibecoin_keystore::KeyError;
use vibecoin_replica::Fault;
use vibecoin_storage::StorageError;

/// Why a node did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration or the genesis file is not usable.
    #[error("{what}: {detail}")]
    Config {
        /// Which file or setting.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A folder of the configuration cannot be where it is named.
    #[error("{key}: {path} cannot be a folder of the node: {detail}")]
    Place {
        /// The key of the configuration.
        key: &'static str,
        /// What it names.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// This user may not use a file or folder of the home.
    #[error("{path}: {detail}; its owner and mode keep this user out")]
    Access {
        /// The file or folder.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// A file of the keystore, or the lock of the home, cannot be had.
    #[error("{}", with_cause(.0))]
    Keystore(KeyError),
    /// Another process holds the home.
    #[error("{0}")]
    Locked(String),
    /// A key is missing, unreadable, too open, or not a validator's.
    #[error("key: {0}")]
    Key(String),
    /// The store refused or failed.
    #[error("{context}: {source}")]
    Storage {
        /// What the node was doing.
        context: &'static str,
        /// What the store said.
        source: StorageError,
    },
    /// Own data is damaged; the message names it and the remedy.
    #[error("{detail}. {remedy}")]
    Damaged {
        /// What is damaged.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// The double-sign guard is missing or damaged beside a chain that this key may have voted on.
    #[error("the double-sign guard is lost ({detail}); a key that may have signed must not sign without it")]
    GuardLost {
        /// What is wrong with it.
        detail: String,
    },
    /// The replica stopped.
    #[error("stopped: {0}")]
    Fault(#[from] Fault),
    /// The RPC server could not listen.
    #[error("cannot listen on {address}: {detail}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// A second signal cut the stop short.
    #[error("stop cut short by a second signal")]
    SecondSignal {
        /// The signal's number.
        signal: u8,
    },
    /// A thread of the node ended without saying why: a bug.
    #[error("thread {name} ended unexpectedly")]
    ThreadLost {
        /// The thread.
        name: &'static str,
    },
    /// The system refused something the node cannot do without.
    #[error("{what}: {detail}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
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

impl NodeError {
    /// The exit code of the process (`interfaces.md`, exit codes).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } | Self::Place { .. } => 10,
            Self::Locked(_) => 9,
            Self::Key(_) | Self::Access { .. } => 40,
            Self::Keystore(error) => error.exit_code(),
            Self::Storage { source, .. } => source.exit_code(),
            Self::Damaged { .. } => 20,
            Self::GuardLost { .. } => 30,
            Self::Fault(fault) => fault.exit_code(),
            Self::SecondSignal { signal } => 128u8.saturating_add(*signal),
            Self::Listen { .. } | Self::ThreadLost { .. } | Self::System { .. } => 1,
        }
    }

    /// What the operator can do, when there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Storage { source, .. } => match source.exit_code() {
                11 => Some(
                    "this home belongs to another chain; choose another --home or the right genesis file",
                ),
                20 => Some(
                    "run `vibecoin db check` to see what is damaged; then restore a copy of the database, or move its folder away and start: a node with peers fetches the chain again, and signs nothing that it may have signed before",
                ),
                21 => Some("free some space and start again; nothing acknowledged is lost"),
                22 => Some("check the disk; nothing acknowledged is lost"),
                50 => Some("this home was written by a newer version; use that version"),
                _ => None,
            },
            Self::GuardLost { .. } => Some(
                "restore the guard file; a key that certainly never signed gets one by `vibecoin init --i-know-this-key-never-signed`",
            ),
            Self::Listen { .. } => Some("choose another port with --rpc.port, or 0 for a free one"),
            _ => None,
        }
    }
}
