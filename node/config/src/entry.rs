//! Values with a specific form: host names, origins, log filters, display names.
//!
//! A value that can never match anything is refused, with the value that was probably intended.

use std::net::Ipv6Addr;

use vibecoin_primitives::text::is_hidden;

use crate::suggest::closest;

/// Maximum length of a display name, in characters.
pub(crate) const NAME_CHARS_MAX: usize = 64;
/// Levels of the log.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Targets of this program's own log lines.
pub(crate) const TARGETS: [&str; 8] = [
    "node",
    "node::chain",
    "node::consensus",
    "node::network",
    "node::poh",
    "node::snapshot",
    "node::sync",
    "rpc",
];
/// The libraries that log, as prefixes of their targets.
const LIBRARIES: [&str; 25] = [
    "arc_malachitebft",
    "attohttpc",
    "h2",
    "hickory_net",
    "hickory_proto",
    "hickory_resolver",
    "hyper_rustls",
    "hyper_util",
    "if_watch",
    "igd_next",
    "jni",
    "jsonrpsee",
    "libp2p",
    "multistream_select",
    "netlink_packet_route",
    "netlink_proto",
    "netlink_sys",
    "quinn",
    "quinn_proto",
    "quinn_udp",
    "rtnetlink",
    "rustls",
    "rustls_platform_verifier",
    "soketto",
    "yamux",
];

/// `Err` with the value that was probably intended, if there is one.
pub(crate) type Verdict = Result<(), Option<String>>;

/// A name that fits on a line: 1 to 64 visible characters, no surrounding blanks.
pub(crate) fn name(text: &str) -> bool {
    let count = text.chars().count();
    (1..=NAME_CHARS_MAX).contains(&count) && text.trim() == text && !text.contains(is_hidden)
}

/// A value of the header `Host` without its port, or `*`.
pub(crate) fn host(text: &str) -> Verdict {
    if text == "*" || is_host(text) {
        return Ok(());
    }
    Err(bare_host(text).filter(|meant| is_host(meant)))
}

/// A value of the header `Origin` as browsers write it, or `*`.
pub(crate) fn origin(text: &str) -> Verdict {
    // Pages without an origin, such as local files, have the origin `null`.
    if text == "*" || text == "null" {
        return Ok(());
    }
    match serialised(text) {
        Some(meant) if meant == text => Ok(()),
        meant => Err(meant),
    }
}

/// Levels, or pairs of a target and a level. Other directives are left to the log's own parser. A target
/// matches all that begin with it.
///
/// # Errors
/// The first invalid directive, with the level or the target that it resembles.
pub(crate) fn filter(text: &str) -> Result<(), (String, Option<&'static str>)> {
    for directive in text.split(',') {
        let (target, level) = match directive.split_once('[') {
            // Of a span: `target[span{field=value}]=level`, where target and level may be left out.
            Some((target, span)) => {
                let Some((_, level)) = span.rsplit_once(']') else {
                    return Err((directive.to_owned(), None));
                };
                let level = if level.is_empty() {
                    Some("trace")
                } else {
                    level.strip_prefix('=')
                };
                (
                    Some(target).filter(|target| !target.is_empty()),
                    level.unwrap_or_default(),
                )
            }
            None => directive
                .split_once('=')
                .map_or((None, directive), |(target, level)| (Some(target), level)),
        };
        let is_target = |target: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
            !target.is_empty() && target.chars().all(known)
        };
        let is_level = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
        if !(is_level && target.is_none_or(is_target)) {
            let meant = if is_level { None } else { closest(level, LEVELS) };
            return Err((directive.to_owned(), meant));
        }
        if let Some(target) = target.filter(|target| !logs(target)) {
            return Err((directive.to_owned(), closest(target, TARGETS)));
        }
    }
    Ok(())
}

/// Returns true if there are log lines whose target has this prefix.
fn logs(target: &str) -> bool {
    let of_library = |library: &str| library.starts_with(target) || target.starts_with(library);
    TARGETS.iter().any(|own| own.starts_with(target)) || LIBRARIES.into_iter().any(of_library)
}

/// A name, an IPv4 address, or an IPv6 address in its only form in brackets.
fn is_host(text: &str) -> bool {
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside
            .parse::<Ipv6Addr>()
            .is_ok_and(|ip| ip.to_string() == inside);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The host of an address with a scheme, a port, a path or a final dot.
fn bare_host(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    if let Some(inside) = authority.strip_prefix('[') {
        let (ip, _port) = inside.split_once(']')?;
        return ip.parse::<Ipv6Addr>().ok().map(|ip| format!("[{ip}]"));
    }
    let name = authority.split(':').next()?;
    Some(name.trim_end_matches('.').to_owned())
}

/// An origin in the form that browsers send: small letters, no path, and no port that the scheme implies.
fn serialised(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(good) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let after_host = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority.rfind(':').filter(|colon| *colon >= after_host) {
        Some(colon) => {
            let port: u16 = authority.get(colon.saturating_add(1)..)?.parse().ok()?;
            (authority.get(..colon)?, Some(port))
        }
        None => (authority.as_str(), None),
    };
    if !is_host(host) {
        return None;
    }
    let implied = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let port = port
        .filter(|port| Some(*port) != implied)
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Some(format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_a_request_names_without_its_port() {
        for good in [
            "*",
            "localhost",
            "Node-1.example",
            "node.example.",
            "my_node",
            "10.0.0.1",
            "[::1]",
            "fd00::1",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        for (bad, meant) in [
            ("localhost:8545", Some("localhost")),
            ("http://node.example", Some("node.example")),
            ("https://node.example:1/path", Some("node.example")),
            ("[::1]:8545", Some("[::1]")),
            ("[0:0:0:0:0:0:0:1]", Some("[::1]")),
            ("*.example", None),
            ("b\u{fc}cher.example", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(host(bad), Err(meant.map(str::to_owned)), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in [
            "*",
            "null",
            "https://app.example",
            "http://localhost:3000",
            "http://[::1]:3000",
            "chrome-extension://abcdef",
        ] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for (bad, meant) in [
            ("https://app.example/", Some("https://app.example")),
            ("https://App.example", Some("https://app.example")),
            ("HTTPS://app.example", Some("https://app.example")),
            ("https://app.example:443", Some("https://app.example")),
            ("http://app.example:80/x?y", Some("http://app.example")),
            ("https://*.example", None),
            ("app.example", None),
            ("https://", None),
            ("https://app.example:port", None),
            ("", None),
        ] {
            assert_eq!(origin(bad), Err(meant.map(str::to_owned)), "{bad}");
        }
    }

    #[test]
    fn a_filter_is_made_of_levels_and_targets_with_levels() {
        for good in [
            "info",
            "OFF",
            "info,libp2p_gossipsub=error",
            "warn,node::sync=debug",
            "info,[span{field=1}]=debug",
        ] {
            assert_eq!(filter(good), Ok(()), "{good}");
        }
        for (bad, directive, meant) in [
            ("inof", "inof", Some("info")),
            ("info,node=debgu", "node=debgu", Some("debug")),
            ("info,node::sync", "node::sync", None),
            ("info,,warn", "", None),
            ("info, warn", " warn", Some("warn")),
            ("=info", "=info", None),
            ("", "", None),
            ("info,nodee=trace", "nodee=trace", Some("node")),
            ("node::snyc=debug", "node::snyc=debug", Some("node::sync")),
            ("node::mempool[x]=debug", "node::mempool[x]=debug", None),
        ] {
            assert_eq!(filter(bad), Err((directive.to_owned(), meant)), "{bad}");
        }
    }

    /// The packages of the lock file that log, as prefixes of targets.
    #[test]
    fn the_libraries_that_log_are_known() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let package = |text: &str| {
            let mut lines = text.lines();
            let name = lines.find_map(|line| line.strip_prefix("name = \""))?;
            let depends = lines.any(|line| matches!(line.trim(), "\"tracing\"," | "\"log\","));
            let is_own = name.starts_with("vibecoin") || name.starts_with("tracing");
            (depends && !is_own).then(|| name.trim_end_matches('"').replace('-', "_"))
        };
        let found: Vec<_> = lock.split("[[package]]").filter_map(package).collect();
        assert!(found.len() > 30, "{found:?}");
        for library in &found {
            assert!(logs(library), "{library} is not in LIBRARIES");
        }
        for library in LIBRARIES {
            let name = format!("name = \"{}", library.replace('_', "-"));
            let as_it_is = format!("name = \"{library}");
            assert!(lock.contains(&name) || lock.contains(&as_it_is), "{library}");
        }
    }

    /// The sources contain the target of every line.
    #[test]
    fn the_targets_of_the_program_are_known() {
        let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let mut folders: Vec<_> = ["node", "network", "rpc"].map(|name| root.join(name)).into();
        let mut found = std::collections::BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let after = text.split("target: \"").skip(1);
                    found.extend(after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
                }
            }
        }
        // The patterns in this test are not targets.
        found.retain(|target| target.starts_with(char::is_alphabetic));
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), TARGETS);
    }

    #[test]
    fn a_name_is_short_and_can_be_seen() {
        for good in ["a", "Z\u{fc}rich 1", &"\u{e9}".repeat(64)] {
            assert!(name(good), "{good:?}");
        }
        for bad in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}",
            "\u{1b}[31m",
            &"a".repeat(65),
        ] {
            assert!(!name(bad), "{bad:?}");
        }
    }
}
