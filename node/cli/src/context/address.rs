//! The address of a node: its scheme, host and port.

use crate::error::CliError;
use crate::node_url::NodeUrl;

/// Address of a node when no other is known.
pub const LOCAL_URL: &str = "http://127.0.0.1:8545";
/// Host and port of that address.
const LOCAL_HOST: &str = "127.0.0.1";
const LOCAL_PORT: u16 = 8545;

/// Refuses an address with an unsupported scheme, and reports the valid form.
pub fn check_scheme(url: &NodeUrl) -> Result<(), CliError> {
    let shown = url.to_string();
    let (refused, rest) = match shown.split_once("://") {
        None => (
            "is no address of a node: it does not begin with http://",
            shown.as_str(),
        ),
        Some(("https" | "wss", rest)) => ("cannot be used: a node speaks http, without TLS", rest),
        // A library would read the number as an IPv4 address.
        Some(("http" | "ws", rest)) if port(rest).is_some() => {
            ("is no address of a node: it has no host", rest)
        }
        Some(("http" | "ws", _)) => return Ok(()),
        Some((_, rest)) => ("cannot be used: a node speaks http", rest),
    };
    let rest = with_host_and_port(rest);
    Err(CliError::usage(format!("{url} {refused}")).hint(format!("write --url http://{rest}")))
}

/// The port, of a text that is nothing else.
fn port(text: &str) -> Option<u16> {
    let text = text.strip_prefix(':').unwrap_or(text);
    text.strip_suffix('/').unwrap_or(text).parse().ok()
}

/// An address behind its scheme, with the host or the port of a local node where it has none.
fn with_host_and_port(rest: &str) -> String {
    if let Some(port) = port(rest) {
        return format!("{LOCAL_HOST}:{port}");
    }
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The colons of an IPv6 address are inside its brackets.
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    match (host.is_empty(), behind.contains(':')) {
        (true, _) => format!("{authority}{LOCAL_HOST}:{LOCAL_PORT}{path}"),
        (false, true) => rest.to_owned(),
        (false, false) => format!("{authority}:{LOCAL_PORT}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn an_address_without_a_scheme_or_with_tls_is_refused_with_the_right_one() {
        for url in [
            "127.0.0.1:27100",
            "https://127.0.0.1:27100",
            "wss://127.0.0.1:27100",
        ] {
            let error = check_scheme(&url.into()).err();
            let error = error.map(|error| (error.exit, error.hint));
            let hint = Some("write --url http://127.0.0.1:27100".to_owned());
            assert_eq!(error, Some((Exit::Usage, hint)), "{url}");
        }
        assert_eq!(check_scheme(&LOCAL_URL.into()), Ok(()));
        assert_eq!(LOCAL_URL, format!("http://{LOCAL_HOST}:{LOCAL_PORT}"));
    }

    #[test]
    fn the_address_of_a_hint_has_a_scheme_a_host_and_a_port() {
        for (typed, hint) in [
            ("27100", "http://127.0.0.1:27100"),
            (":27100", "http://127.0.0.1:27100"),
            ("http://27100", "http://127.0.0.1:27100"),
            ("http://27100/", "http://127.0.0.1:27100"),
            ("node.example", "http://node.example:8545"),
            ("node.example/path", "http://node.example:8545/path"),
            ("https://user@node.example", "http://user@node.example:8545"),
            ("[::1]", "http://[::1]:8545"),
            ("[::1]:27100", "http://[::1]:27100"),
            ("ftp://127.0.0.1:27100", "http://127.0.0.1:27100"),
            ("", "http://127.0.0.1:8545"),
        ] {
            let error = check_scheme(&typed.into()).err();
            let shown = error.as_ref().and_then(|error| error.hint.clone());
            assert_eq!(shown, Some(format!("write --url {hint}")), "{typed}");
            // Followed.
            assert_eq!(check_scheme(&hint.into()), Ok(()), "{typed}");
        }
        // No port, and no host either.
        let error = check_scheme(&"70000".into()).err();
        assert_eq!(
            error.and_then(|error| error.hint),
            Some("write --url http://70000:8545".to_owned())
        );
    }
}
