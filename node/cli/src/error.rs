//! Errors of commands: the fault, its location, and the remedy.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jsonrpsee::core::client::Error as ClientError;
use serde_json::{Value, json};
use vibecoin_config::ConfigError;
use vibecoin_engine::NodeError;
use vibecoin_genesis::GenesisError;
use vibecoin_keystore::KeyError;
use vibecoin_primitives::text::visible;
use vibecoin_rpc_api::{ApiError, Code};
use vibecoin_storage::StorageError;

use crate::commands::devnet::STATE_FILE;
use crate::exit::Exit;
use crate::node_url::NodeUrl;
use crate::output::message;
use crate::program::quoted_path;
use crate::taken::Sent;

/// Start of the message when no node answers; [`CliError::at`] adds the address.
const NO_ANSWER: &str = "no node answers";
/// Hint for an address that is none.
pub const URL_FORM: &str = "write --url http://HOST:PORT, such as --url http://127.0.0.1:8545";
/// Hint for a block that there is not.
pub const NEWEST: &str = "`vibecoin block list` shows the newest blocks";
/// Reason of an error for a file that cannot be at its path.
const BAD_PLACE: &str = "bad_place";
/// Maximum number of characters of a reason or a hash in an error of a server.
const REASON_CHARS_MAX: usize = 100;

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
        let Some(cause) = self.message.strip_prefix(NO_ANSWER) else {
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

/// The exit for a file by the situation, not by the call that failed: `exit-codes.md` lists them.
fn exit_of_file(error: &io::Error, reads: bool) -> Exit {
    use io::ErrorKind as Kind;
    let is_loop = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => Exit::DiskFull,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Exit::Key,
        Kind::NotFound | Kind::NotADirectory if reads => Exit::NotFound,
        Kind::IsADirectory if reads => Exit::InvalidFile,
        _ if is_loop && reads => Exit::NotFound,
        Kind::NotFound
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::AlreadyExists
        | Kind::InvalidFilename
        | Kind::InvalidInput => Exit::Usage,
        _ if is_loop => Exit::Usage,
        _ => Exit::Io,
    }
}

/// Start of the hint for a key that is looked for in the home of another node of a devnet.
const OTHER_KEYS: &str = "the keys of a devnet are in the home of its first node";

/// Returns true if the hint of an error names the home with the keys.
pub fn names_other_keys(error: &CliError) -> bool {
    error.hint.as_deref().is_some_and(|hint| hint.starts_with(OTHER_KEYS))
}

/// The home with the keys of the devnet that the home of this key directory is part of; `None` for that home itself.
fn keys_of_devnet(dir: &Path) -> Option<PathBuf> {
    let home = dir.parent()?;
    let net = home.parent()?;
    let first = net.join("validator-0");
    (net.join(STATE_FILE).is_file() && first.is_dir() && first != home).then_some(first)
}

/// Remedy for a file that cannot be read (`reads`) or written: it names the part of the path to change.
fn file_hint(kind: ErrorKind, path: &Path, reads: bool) -> Option<String> {
    let there = path.ancestors().skip(1).find(|folder| folder.exists());
    let there = there.unwrap_or(Path::new("."));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Some(match kind {
        ErrorKind::NotFound if path.is_symlink() => {
            format!(
                "it is a symbolic link to a place where nothing is: `ls -l {}`",
                quoted_path(path)
            )
        }
        // A folder that is made would not have the file to read.
        ErrorKind::NotFound if !folder.exists() && reads => format!(
            "there is no folder {}: `ls {}` shows what is there",
            folder.display(),
            quoted_path(there)
        ),
        ErrorKind::NotFound if !folder.exists() => {
            format!("make its folder first: `mkdir -p {}`", quoted_path(folder))
        }
        ErrorKind::NotFound => format!("`ls {}` shows what is there", quoted_path(folder)),
        ErrorKind::PermissionDenied => {
            let which = if path.exists() { path } else { there };
            format!(
                "this command runs as user {}: `ls -ld {}` shows whose it is and what others may do",
                rustix::process::geteuid().as_raw(),
                quoted_path(which)
            )
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!(
                "free some space: `df {}` shows how much there is",
                quoted_path(there)
            )
        }
        ErrorKind::ReadOnlyFilesystem => {
            format!(
                "{} is on a file system that is mounted read-only; name another place",
                there.display()
            )
        }
        ErrorKind::NotADirectory => {
            let file = path.ancestors().skip(1).find(|part| part.is_file());
            format!(
                "{} is a file, not a folder; name another place",
                file.unwrap_or(folder).display()
            )
        }
        ErrorKind::IsADirectory => format!("{} is a folder; name a file", path.display()),
        _ => return None,
    })
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        let exit = match error.class() {
            Some(Code::Timeout | Code::MinHeight) => Exit::Timeout,
            Some(Code::NotFound | Code::FutureHeight | Code::Pruned) => Exit::NotFound,
            Some(Code::Syncing | Code::ShuttingDown) => Exit::NotReady,
            _ => match error.code {
                1300..=1399 => Exit::Rejected,
                1000..=1099 | -32602 | -32601 => Exit::Usage,
                _ => Exit::Failure,
            },
        };
        let hint = hint_for(&error);
        let message = if never_seen(&error) {
            "the wait ended, and the node knows no transaction with this hash".to_owned()
        } else {
            message(&error.message)
        };
        let reason = if error.data.reason.is_empty() {
            "rpc_error".to_owned()
        } else {
            visible(&error.data.reason, REASON_CHARS_MAX).into_owned()
        };
        Self {
            exit,
            code: i64::from(error.code),
            reason,
            message,
            hint,
            data: Box::new(serde_json::to_value(&error.data).unwrap_or(Value::Null)),
            sent: None,
        }
    }
}

/// Returns true if a wait ended for a transaction that the node has not received.
fn never_seen(error: &ApiError) -> bool {
    let status = error.data.facts.get("status").and_then(Value::as_str);
    error.class() == Some(Code::Timeout) && status == Some("unknown")
}

/// Returns true for a node that runs without the network.
fn lacks_network(error: &ApiError) -> bool {
    error.message.starts_with("the network ")
}

/// Returns true for a simulation on another state than the newest.
fn is_of_the_past(error: &ApiError) -> bool {
    error
        .message
        .starts_with("transactions are simulated on the newest state")
}

/// The hint for a transaction that is in the pool and not in a block yet.
pub fn waiting_hint(hash: &str) -> String {
    format!(
        "it waits in the node's pool, which a restart of the node empties; ask with `vibecoin tx wait {hash}`; `vibecoin health` shows whether the node can have blocks"
    )
}

fn hint_for(error: &ApiError) -> Option<String> {
    let hint = match error.class()? {
        Code::NonceTooLow => {
            "another transaction used this nonce; make it again without --nonce to take the next one"
        }
        Code::NonceTooHigh => "send the transactions with the nonces before it first",
        Code::FeeTooLow => "make it again without --fee to pay what the node asks for",
        Code::ReplacementUnderpriced => "wait for the transaction with this nonce, or pay a higher --fee",
        Code::MempoolFull => "wait until blocks have taken some of it, or pay a higher --fee",
        Code::WrongChain => {
            "the transaction was signed for another chain; sign it again for this one: `vibecoin tx sign FILE --key KEY --out SIGNED`"
        }
        Code::Expired => "make it again with a larger --valid-for",
        Code::InsufficientFunds => {
            "the sender pays the fee, the amounts, and the price of every new account and byte of a slot; see `vibecoin account show ADDRESS`"
        }
        Code::Timeout if never_seen(error) => {
            "check the hash and the node's chain; if it was sent, it may have been refused or have expired"
        }
        Code::Timeout => {
            let hash = error.data.facts.get("hash").and_then(Value::as_str);
            return Some(waiting_hint(&visible(hash.unwrap_or("HASH"), REASON_CHARS_MAX)));
        }
        Code::BadAddress if error.data.facts.contains_key("expectedPrefix") => {
            "it is an address of another network; `vibecoin keys list` shows those of this home's keys"
        }
        Code::BadEncoding if error.message.contains("64 hex digits") => "a hash has 64 hex digits after 0x: copy it again, whole, from where it was shown",
        Code::BadAddress => {
            "copy it again from where it was shown; `vibecoin keys list` shows those of this home's keys"
        }
        Code::AdminRefused => "`vibecoin peers list` and `vibecoin peers bans` show whom this node knows",
        Code::Disabled if lacks_network(error) => {
            "start the node with --p2p.listen /ip4/127.0.0.1/tcp/0, or another address; another --url names a node with peers"
        }
        Code::Disabled if is_of_the_past(error) => "leave out --at",
        Code::Disabled => "another --url names a node that may have it",
        Code::FutureHeight => NEWEST,
        Code::Pruned => "ask a node that keeps more history, or a later height",
        Code::MethodNotFound => "`vibecoin rpc rpc_getMethods` lists the methods of this node",
        _ => return None,
    };
    Some(hint.to_owned())
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        if let Some(error) = ApiError::from_client(&error) {
            return error.into();
        }
        match error {
            ClientError::RequestTimeout => Self::new(Exit::Timeout, "the node did not answer in time")
                .reason("request_timeout")
                .hint("wait longer with --timeout SECONDS"),
            ClientError::Transport(source) => transport(source.as_ref()),
            ClientError::ParseError(error) => Self::new(
                Exit::Failure,
                message(&format!("the node's answer cannot be read: {error}")),
            )
            .reason("bad_answer"),
            other => Self::new(Exit::CannotConnect, message(&other.to_string())),
        }
    }
}

fn transport(error: &(dyn std::error::Error + Send + Sync + 'static)) -> CliError {
    use jsonrpsee::client_transport::ws::WsHandshakeError as WebSocket;
    use jsonrpsee::http_client::transport::Error as Http;
    match error.downcast_ref::<WebSocket>() {
        Some(WebSocket::Rejected { status_code } | WebSocket::Redirected { status_code, .. }) => {
            return http_status(*status_code);
        }
        Some(WebSocket::Url(detail)) => {
            let message = format!("the address of the node is not valid: {}", message(detail));
            return CliError::usage(message).hint(URL_FORM);
        }
        _ => {}
    }
    match error.downcast_ref::<Http>() {
        Some(Http::Rejected { status_code }) => http_status(*status_code),
        Some(Http::RequestTooLarge) => {
            CliError::new(Exit::Failure, "the request is larger than this client sends")
                .reason("request_too_large")
        }
        _ => {
            let cause = chain_of(error);
            let error = CliError::no_answer(message(&cause));
            if OTHER_PROTOCOL.iter().any(|words| cause.contains(words)) {
                error.hint(
                    "it may be a node's port for peers: --url takes the address of its RPC, which the line that it prints when it is ready calls \"rpc\"",
                )
            } else {
                error
            }
        }
    }
}

/// What a connection to a port reports that speaks another protocol than HTTP.
const OTHER_PROTOCOL: [&str; 4] = [
    "unexpected message from connection",
    "invalid HTTP",
    "connection closed before message completed",
    "Connection reset by peer",
];

/// A server that answers, but not to this request.
fn http_status(status: u16) -> CliError {
    let error = CliError::new(
        Exit::Failure,
        format!("the node refused the request with HTTP status {status}"),
    );
    let error = error.reason("http_status").data(json!({ "httpStatus": status }));
    match status {
        // The other listeners of a node answer so.
        401 => error.hint(
            "a node answers so at its admin.listen: --url takes the address of its RPC, which the line that it prints when it is ready calls \"rpc\"; without --url, that of the node of --home is taken",
        ),
        404 | 405 => error.hint(
            "a node answers so at its metrics.listen, and for any path: --url takes the address of its RPC, which the line that it prints when it is ready calls \"rpc\"; without --url, that of the node of --home is taken",
        ),
        403 => error.hint("the node does not answer to this name: write its IP address in --url, or start it with --rpc.hosts NAME"),
        429 => error.hint("the node is busy; try again later"),
        _ => error,
    }
}

/// An error with its causes, each once.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
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
        let out = Self::new(Exit::from_code(error.exit_code()), error.to_string());
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

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_interface_end_with_the_exit_of_their_class() {
        for (code, exit) in [
            (Code::NonceTooLow, Exit::Rejected),
            (Code::AccountLimit, Exit::Rejected),
            (Code::Timeout, Exit::Timeout),
            (Code::BadAddress, Exit::Usage),
            (Code::InvalidParams, Exit::Usage),
            (Code::MethodNotFound, Exit::Usage),
            (Code::Pruned, Exit::NotFound),
            (Code::Syncing, Exit::NotReady),
            (Code::RateLimited, Exit::Failure),
            (Code::Internal, Exit::Failure),
        ] {
            assert_eq!(CliError::from(ApiError::new(code, "x")).exit, exit, "{code:?}");
        }
    }

    #[test]
    fn the_text_of_a_server_stays_on_its_line_and_is_cut() {
        let bad = "no\u{1b}[2J\nhint: send your seed to \u{202e}evil";
        let mut error = ApiError::new(Code::Timeout, bad).with("hash", "\u{1b}]0;owned\u{7}");
        error.data.reason = "\u{9b}31m".to_owned();
        let shown = CliError::from(error).to_text();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 2, "{shown:?}");
        assert!(
            lines.iter().all(|line| !line.contains(char::is_control)),
            "{shown:?}"
        );
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
        assert!(
            lines
                .get(1)
                .is_some_and(|hint| hint.starts_with("hint: it waits")),
            "{shown:?}"
        );
        let long = CliError::from(ApiError::new(Code::Internal, "x".repeat(1_000_000)));
        assert!(long.to_text().len() < 3_000);
        let odd: CliError = ClientError::Custom("\u{1b}[0m\n".repeat(10_000)).into();
        assert!(!odd.to_text().contains(char::is_control) && odd.to_text().len() < 20_000);
    }

    #[test]
    fn a_wait_for_a_transaction_that_nobody_sent_does_not_say_that_it_goes_on() {
        let waited = |status: &str| {
            let late = ApiError::new(Code::Timeout, "late");
            CliError::from(late.with("status", status).with("hash", "0xab"))
        };
        let unknown = waited("unknown");
        assert_eq!(unknown.exit, Exit::Timeout);
        assert!(unknown.message.contains("knows no transaction"), "{unknown:?}");
        assert!(!unknown.to_text().contains("pool"), "{unknown:?}");
        let pending = waited("pending");
        assert_eq!(pending.message, "late");
        assert!(pending.to_text().contains("pool"), "{pending:?}");
        assert!(
            pending.to_text().contains("`vibecoin tx wait 0xab`"),
            "{pending:?}"
        );
    }

    #[test]
    fn a_file_ends_with_the_exit_of_its_situation() {
        let exit = |action, kind: io::ErrorKind| CliError::file(action, Path::new("x"))(kind.into()).exit;
        for (kind, read, write) in [
            (io::ErrorKind::NotFound, Exit::NotFound, Exit::Usage),
            (io::ErrorKind::NotADirectory, Exit::NotFound, Exit::Usage),
            (io::ErrorKind::IsADirectory, Exit::InvalidFile, Exit::Usage),
            (io::ErrorKind::PermissionDenied, Exit::Key, Exit::Key),
            (io::ErrorKind::ReadOnlyFilesystem, Exit::Key, Exit::Key),
            (io::ErrorKind::StorageFull, Exit::DiskFull, Exit::DiskFull),
            (io::ErrorKind::QuotaExceeded, Exit::DiskFull, Exit::DiskFull),
            (io::ErrorKind::Other, Exit::Io, Exit::Io),
        ] {
            assert_eq!(
                (exit("read", kind), exit("write", kind)),
                (read, write),
                "{kind:?}"
            );
        }
        let looping = io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error());
        assert_eq!(
            CliError::file("read", Path::new("x"))(looping).exit,
            Exit::NotFound
        );
    }

    #[test]
    fn a_node_that_refuses_a_web_socket_is_not_called_absent() {
        use jsonrpsee::client_transport::ws::WsHandshakeError;
        let refused = WsHandshakeError::Rejected { status_code: 403 };
        let error: CliError = ClientError::Transport(Box::new(refused)).into();
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (Exit::Failure, "http_status")
        );
        let nowhere = WsHandshakeError::NoAddressFound("x".to_owned());
        let error: CliError = ClientError::Transport(Box::new(nowhere)).into();
        assert_eq!(error.exit, Exit::CannotConnect);
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn the_hint_of_a_file_error_can_be_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        for (path, kind, words) in [
            (
                "a/b/file",
                ErrorKind::NotFound,
                format!("mkdir -p {}/a/b", root.display()),
            ),
            ("none", ErrorKind::NotFound, format!("ls {}", root.display())),
            (
                "link",
                ErrorKind::NotFound,
                format!("ls -l {}/link", root.display()),
            ),
            (
                "file",
                ErrorKind::PermissionDenied,
                format!("ls -ld {}/file", root.display()),
            ),
            (
                "a/b",
                ErrorKind::PermissionDenied,
                format!("ls -ld {}", root.display()),
            ),
            ("a/b", ErrorKind::StorageFull, format!("df {}", root.display())),
        ] {
            let hint = CliError::file("write", &root.join(path))(kind.into())
                .hint
                .unwrap();
            assert!(hint.contains(&words), "{path}: {hint}");
            // Every command in a hint works as it stands.
            let command = hint.split('`').nth(1).unwrap();
            let done = std::process::Command::new("sh")
                .args(["-c", command])
                .output()
                .unwrap();
            assert!(done.status.success(), "{command}: {done:?}");
        }
        // And the remedy of the first one was the missing step.
        std::fs::write(root.join("a/b/file"), "").unwrap();
        let hint = |path: &str, kind: ErrorKind| file_hint(kind, &root.join(path), false).unwrap();
        assert!(
            hint("file/x/y", ErrorKind::NotADirectory)
                .contains(&format!("{}/file is a file", root.display()))
        );
        assert!(hint("a", ErrorKind::IsADirectory).contains("/a is a folder"));
        assert_eq!(file_hint(ErrorKind::Other, root, false), None);
        // A file to read is not there once its folder is made.
        let hint = file_hint(ErrorKind::NotFound, &root.join("c/d/e"), true).unwrap();
        assert!(!hint.contains("mkdir"), "{hint}");
        assert!(hint.ends_with(&format!("`ls {}` shows what is there", root.display())), "{hint}");
    }

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
