//! Errors of a node's interface and of the connection with it.

use jsonrpsee::core::client::Error as ClientError;
use serde_json::{Value, json};
use vibecoin_primitives::text::visible;
use vibecoin_rpc_api::{ApiError, Code};

use super::{CliError, NEWEST, URL_FORM};
use crate::exit::Exit;
use crate::untrusted::message;

/// Maximum number of characters of a reason or a hash in an error of a server.
const REASON_CHARS_MAX: usize = 100;

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

/// Returns true for a text that is not a hash.
fn names_a_hash(error: &ApiError) -> bool {
    error.message.contains("64 hex digits")
}

/// The hint for a transaction that is in the pool and not in a block yet.
pub fn waiting_hint(hash: &str) -> String {
    format!(
        "it waits in the node's pool, which a restart of the node empties; ask with `vibecoin tx wait {hash}`; `vibecoin health` shows whether the node can have blocks"
    )
}

/// The hint for a sender that cannot pay.
fn funds_hint(sender: &str) -> String {
    format!(
        "the sender pays the fee, the amounts, and the price of every new account and byte of a slot; see `vibecoin account show {sender}`"
    )
}

impl CliError {
    /// An error about a transaction of this sender: a hint about its account names it.
    #[must_use]
    pub fn of_sender(self, sender: &str) -> Self {
        if self.code == i64::from(Code::InsufficientFunds.number()) {
            self.hint(funds_hint(sender))
        } else {
            self
        }
    }
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
        Code::InsufficientFunds => return Some(funds_hint("ADDRESS")),
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
        Code::BadEncoding if names_a_hash(error) => {
            "a hash has 64 hex digits after 0x: copy it again, whole, from where it was shown"
        }
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
    let web_socket = error.downcast_ref::<WebSocket>();
    match web_socket {
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
            let no_answer = CliError::no_answer(message(&chain_of(error)));
            if matches!(web_socket, Some(WebSocket::Transport(_))) || is_not_http(error) {
                no_answer.hint(PORT_FOR_PEERS)
            } else {
                no_answer
            }
        }
    }
}

/// Hint for a port that takes connections and does not speak HTTP.
const PORT_FOR_PEERS: &str = "it may be a node's port for peers: --url takes the address of its RPC, which the line that it prints when it is ready calls \"rpc\"";

impl CliError {
    /// Without the explanation that the port is one for peers, unless that can be: a connection that ends during a
    /// call is also that of a node that ends.
    #[must_use]
    pub fn of_port(self, may_be_for_peers: impl FnOnce() -> bool) -> Self {
        let hint = self.hint.as_deref();
        let Some(before) = hint.and_then(|hint| hint.strip_suffix(PORT_FOR_PEERS)) else {
            return self;
        };
        if may_be_for_peers() {
            return self;
        }
        // A transaction that was sent is placed first.
        let first = before.trim_end_matches("; ");
        let hint = (!first.is_empty()).then(|| first.to_owned());
        Self { hint, ..self }
    }
}

/// Returns true if a connection was made, and what came over it is not HTTP: only then is there an error of the HTTP
/// library among the causes. Where no connection was made there is one of the system alone.
fn is_not_http(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.any(|cause| cause.is::<hyper::Error>())
}

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

#[cfg(test)]
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
    fn a_port_that_is_not_for_peers_is_not_explained_as_one() {
        let error = |hint: &str| CliError::no_answer("closed").hint(hint);
        for (hint, without) in [
            (PORT_FOR_PEERS.to_owned(), None),
            (format!("ask with x; {PORT_FOR_PEERS}"), Some("ask with x")),
            ("ask with x".to_owned(), Some("ask with x")),
        ] {
            assert_eq!(error(&hint).of_port(|| true), error(&hint));
            assert_eq!(error(&hint).of_port(|| false).hint.as_deref(), without);
        }
    }

    /// A port of a server that ends while it is called.
    fn port_that_ends() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let accepted = listener.accept();
            drop(listener);
            drop(accepted);
        });
        port
    }

    /// A port that greets each caller with these bytes, and hangs up.
    fn port_that_says(greeting: &'static [u8]) -> u16 {
        use std::io::Write as _;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _gone = stream.write_all(greeting);
            }
        });
        port
    }

    #[test]
    fn a_port_of_another_protocol_is_told_from_one_where_nobody_listens() {
        use clap::Parser as _;
        let home = tempfile::tempdir().unwrap();
        let ask = |port: u16, command: &str| {
            let (home, url) = (home.path().display(), format!("http://127.0.0.1:{port}"));
            let line = format!("vibecoin --home {home} --url {url} {command}");
            let arguments = crate::commands::Arguments::try_parse_from(line.split(' ')).unwrap();
            let context = crate::context::Context::new(arguments.globals);
            arguments.command.run(&context).unwrap_err()
        };
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = free.local_addr().unwrap().port();
        drop(free);
        for command in ["status", "subscribe headers --count 1"] {
            for greeting in [&b"\x13/multistream/1.0.0\n"[..], b""] {
                let error = ask(port_that_says(greeting), command);
                assert_eq!(error.exit, Exit::CannotConnect, "{command} {error:?}");
                let hint = error.hint.unwrap_or_default();
                assert!(hint.contains("port for peers"), "{command} {greeting:?}: {hint}");
            }
            for port in [silent, port_that_ends()] {
                let error = ask(port, command);
                assert_eq!(error.exit, Exit::CannotConnect, "{command} {error:?}");
                let hint = error.hint.unwrap_or_default();
                assert!(!hint.contains("port for peers"), "{command}: {hint}");
                assert!(hint.contains("check that a node runs there"), "{command}: {hint}");
            }
        }
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
}
