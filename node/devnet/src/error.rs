//! Errors of the library: a fault that it found itself, or the failure of a part that it uses.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use jsonrpsee::core::client::Error as ClientError;
use serde_json::Value;
use vibecoin_config::ConfigError;
use vibecoin_genesis::GenesisError;
use vibecoin_keystore::KeyError;
use vibecoin_storage::StorageError;

/// Class of a fault, for callers that react to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A failure without a specific class.
    Failure,
    /// A request that cannot be met in any situation.
    Usage,
    /// The node or the file does not exist.
    NotFound,
    /// The content of a file is invalid.
    InvalidFile,
    /// The configuration of a node, or the genesis of a network, is refused.
    Config,
    /// The data belongs to another genesis.
    GenesisMismatch,
    /// No node runs.
    CannotConnect,
    /// The wait ended first; the nodes go on.
    Timeout,
    /// Two nodes have different blocks at one height.
    Fork,
    /// A secret cannot be used.
    Key,
    /// A file is not in the state that this program left it in.
    Io,
}

/// A fault that this library found.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Its class.
    pub class: Class,
    /// A stable identifier, where that of the class is not enough.
    pub reason: Option<&'static str>,
    /// Description of the fault and its location.
    pub message: String,
    /// Remedy, with the commands of `vibecoin` that lead to it.
    pub hint: Option<String>,
    /// Structured details.
    pub data: Value,
}

/// A request to a node that failed.
#[derive(Debug)]
pub struct Request {
    /// Error of the client.
    pub error: ClientError,
    /// Start of the description, such as the node and the method that it refuses.
    pub during: Option<String>,
    /// Address of the node, and the remedy if it does not answer.
    pub at: Option<(String, String)>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.during, &self.at) {
            (Some(during), _) => write!(f, "{during}: {}", self.error),
            (None, Some((url, _))) => write!(f, "{url}: {}", self.error),
            (None, None) => self.error.fmt(f),
        }
    }
}

/// Reason for which an operation on a devnet or a testnet failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A fault that this library found.
    #[error("{}", .0.message)]
    Fault(Box<Fault>),
    /// A file or folder could not be read, written or created.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// The attempted action, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// A key could not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file of the node could not be created.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A configuration is refused.
    #[error("{}: {error}", .path.display())]
    Config {
        /// Class of the fault for this caller.
        class: Class,
        /// The file.
        path: PathBuf,
        /// The fault.
        error: Box<ConfigError>,
    },
    /// A genesis file is refused.
    #[error("{}: {error}", .path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: Box<GenesisError>,
    },
    /// A node did not answer a request, or refused it.
    #[error("{0}")]
    Request(Box<Request>),
}

impl Error {
    /// A fault of this class.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self::Fault(Box::new(Fault {
            class,
            reason: None,
            message: message.into(),
            hint: None,
            data: Value::Null,
        }))
    }

    /// A request that cannot be met in any situation.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Class::Usage, message)
    }

    /// A fault with a stable identifier.
    #[must_use]
    pub fn reason(self, reason: &'static str) -> Self {
        self.with(|fault| fault.reason = Some(reason))
    }

    /// A fault with a remedy.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.with(|fault| fault.hint = Some(hint.into()))
    }

    /// A fault with structured details.
    #[must_use]
    pub fn data(self, data: Value) -> Self {
        self.with(|fault| fault.data = data)
    }

    fn with(mut self, change: impl FnOnce(&mut Fault)) -> Self {
        if let Self::Fault(fault) = &mut self {
            change(fault.as_mut());
        }
        self
    }

    /// For `map_err`: a file or folder that could not be read, written or created. `action` is a verb.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// For `map_err`: a genesis file that is refused.
    pub fn genesis(path: &Path) -> impl FnOnce(GenesisError) -> Self {
        move |error| Self::Genesis {
            path: path.to_owned(),
            error: Box::new(error),
        }
    }

    /// A request with the address of the node, and the remedy if it does not answer.
    #[must_use]
    pub fn at(mut self, url: &str, remedy: String) -> Self {
        if let Self::Request(request) = &mut self {
            request.at = Some((url.to_owned(), remedy));
        }
        self
    }

    /// The fault, if this library found it.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault(fault) => Some(fault),
            _ => None,
        }
    }

    /// Returns true for a fault with this identifier.
    #[must_use]
    pub fn is(&self, reason: &str) -> bool {
        self.fault().is_some_and(|fault| fault.reason == Some(reason))
    }
}

impl From<vibecoin_process::Error> for Error {
    fn from(error: vibecoin_process::Error) -> Self {
        let message = error.to_string();
        match error {
            vibecoin_process::Error::File { action, path, source } => Self::File { action, path, source },
            vibecoin_process::Error::StillThere { .. } => {
                Self::new(Class::Failure, message).hint("it waits for a disk or a debugger")
            }
            vibecoin_process::Error::NoInput(_) => Self::new(Class::Failure, message),
        }
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self::Request(Box::new(Request {
            error,
            during: None,
            at: None,
        }))
    }
}
