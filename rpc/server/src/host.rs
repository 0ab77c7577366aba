//! Hosts and origins as requests name them, parsed: every spelling of one has the same value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::{Authority, Uri};

use crate::config::Config;

/// A host without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// In lower case, without the dot of the DNS root.
    Name(String),
}

impl Host {
    /// Parses a name, an IPv4 address, or an IPv6 address in brackets.
    fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let ip: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(IpAddr::V6(ip).to_canonical()));
        }
        // A name that ends at the root (RFC 3986, section 3.2.2) is the same name.
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return None;
        }
        Some(match name.parse::<Ipv4Addr>() {
            Ok(ip) => Self::Ip(ip.into()),
            Err(_) => Self::Name(name.to_ascii_lowercase()),
        })
    }
}

/// A host with the port behind it, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: Host,
    port: Option<u16>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        Self::of(&text.parse().ok()?)
    }

    fn of(authority: &Authority) -> Option<Self> {
        // `None` for credentials, too: they are invalid in `Host` and `Origin`.
        let port = authority.as_str().strip_prefix(authority.host())?;
        let port = match port {
            "" | ":" => None,
            _ => Some(authority.port_u16()?),
        };
        let host = Host::parse(authority.host())?;
        Some(Self { host, port })
    }

    /// Reads an entry of the configuration: a port is ignored, and brackets may be left out.
    fn configured(text: &str) -> Option<Host> {
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Some(Host::Ip(IpAddr::V6(ip).to_canonical()));
        }
        Self::parse(text).map(|place| place.host)
    }
}

/// The accepted values of `Host` of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    any: bool,
    listed: Vec<Host>,
}

impl Hosts {
    pub(crate) fn new(config: &Config) -> Self {
        let listed = config.hosts.iter();
        Self {
            any: config.hosts.iter().any(|host| host == "*"),
            listed: listed.filter_map(|host| Place::configured(host)).collect(),
        }
    }

    /// Guards against DNS rebinding: a foreign page whose name resolves to this node has that name in `Host`.
    ///
    /// `local` is the address at which the connection arrived. A request that names it has used no name that
    /// could have been rebound.
    pub(crate) fn allow(&self, headers: &HeaderMap, target: &Uri, local: Option<IpAddr>) -> bool {
        let Some(named) = only(headers, &header::HOST).and_then(Place::parse) else {
            return false;
        };
        // A request line with a whole URL: its host counts and must not be contradicted.
        if let Some(authority) = target.authority()
            && Place::of(authority).map(|place| place.host).as_ref() != Some(&named.host)
        {
            return false;
        }
        let is_local = |ip: &IpAddr| local.is_some_and(|local| local.to_canonical() == *ip);
        self.any || matches!(&named.host, Host::Ip(ip) if is_local(ip)) || self.listed.contains(&named.host)
    }
}

/// Origin of a page: scheme, host and port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Served {
    scheme: String,
    host: Host,
    port: Option<u16>,
}

impl Served {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let place = Place::of(uri.authority()?)?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return None;
        }
        Some(Self {
            port: place.port.or_else(|| port_of(&scheme)),
            host: place.host,
            scheme,
        })
    }

    /// Returns true if this node, as the request names it, served the page.
    fn is_own(&self, host: &Place) -> bool {
        let Some(default) = port_of(&self.scheme) else {
            return false;
        };
        self.host == host.host && self.port == Some(host.port.unwrap_or(default))
    }
}

fn port_of(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// The first invalid entry of the configuration, which would match no request: its list, the entry, and the
/// expected form of such an entry.
pub(crate) fn unreadable(config: &Config) -> Option<(&'static str, &str, &'static str)> {
    let host = config
        .hosts
        .iter()
        .find(|host| *host != "*" && Place::configured(host).is_none());
    let origin = || {
        let mut origins = config.origins.iter();
        origins.find(|origin| *origin != "*" && Served::parse(origin).is_none())
    };
    match host {
        Some(host) => Some(("hosts", host, "a host name or address, such as node.example")),
        None => origin().map(|origin| {
            let form = "a scheme and a host, such as https://explorer.example";
            ("origins", origin.as_str(), form)
        }),
    }
}

/// Origin of a request.
pub(crate) enum Origin {
    /// The request has no origin: it is not from a page.
    Absent,
    /// A page that may call.
    Allowed(HeaderValue),
    /// A page that may not.
    Refused,
}

/// The origins whose pages may call.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    any: bool,
    listed: Vec<Served>,
}

impl Origins {
    pub(crate) fn new(config: &Config) -> Self {
        let listed = config.origins.iter();
        Self {
            any: config.origins.iter().any(|origin| origin == "*"),
            listed: listed.filter_map(|origin| Served::parse(origin)).collect(),
        }
    }

    /// A page may call when its origin is listed, or when it was served by this node itself.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Origin {
        if !headers.contains_key(header::ORIGIN) {
            return Origin::Absent;
        }
        let Some(text) = only(headers, &header::ORIGIN) else {
            return Origin::Refused;
        };
        let listed = || {
            let Some(served) = Served::parse(text) else {
                return false;
            };
            let host = only(headers, &header::HOST).and_then(Place::parse);
            host.is_some_and(|host| served.is_own(&host)) || self.listed.contains(&served)
        };
        match headers.get(header::ORIGIN) {
            Some(value) if self.any || listed() => Origin::Allowed(value.clone()),
            _ => Origin::Refused,
        }
    }
}

/// The text of a header that is there exactly once.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn answered(hosts: &[&str], host: &str, local: Option<&str>) -> bool {
        let config = Config {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Config::default()
        };
        let local = local.map(|local| local.parse().unwrap());
        Hosts::new(&config).allow(&headers(&[(header::HOST, host)]), &Uri::from_static("/"), local)
    }

    #[test]
    fn only_loopback_names_are_answered_for_by_default_however_they_are_written() {
        let default = Config::default().hosts;
        let default: Vec<&str> = default.iter().map(String::as_str).collect();
        for good in [
            "localhost",
            "localhost:8645",
            "localhost.",
            "localhost.:8645",
            "LOCALHOST",
            "127.0.0.1:1",
            "127.0.0.1.",
            "[::1]",
            "[::1]:80",
            "[0:0:0:0:0:0:0:1]:80",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(answered(&default, good, None), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8645",
            "localhost.evil.example",
            "localhost..",
            "127.0.0.1.evil",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:port",
            "localhost:99999",
            "",
            ".",
            "::1",
            "[::1",
            "[localhost]",
            "0.0.0.0",
        ] {
            assert!(!answered(&default, bad, None), "{bad}");
        }
        let twice = headers(&[(header::HOST, "localhost"), (header::HOST, "localhost")]);
        for headers in [twice, HeaderMap::new()] {
            let hosts = Hosts::new(&Config::default());
            assert!(!hosts.allow(&headers, &Uri::from_static("/"), None));
        }
    }

    #[test]
    fn the_address_at_which_a_connection_arrived_is_always_answered_for() {
        for (host, local) in [
            ("10.0.0.7:8545", "10.0.0.7"),
            ("10.0.0.7:8545", "::ffff:10.0.0.7"),
            ("[fd00::1]:8545", "fd00::1"),
            ("[FD00:0::1]:8545", "fd00::1"),
        ] {
            assert!(
                answered(&["node.example"], host, Some(local)),
                "{host} at {local}"
            );
            assert!(!answered(&["node.example"], host, Some("10.0.0.8")), "{host}");
        }
    }

    #[test]
    fn hosts_of_the_configuration_may_be_written_in_every_way_too() {
        for listed in ["fd00::1", "[fd00::1]", "[fd00::1]:8545", "[fd00:0:0::1]"] {
            assert!(answered(&[listed], "[fd00::1]:8545", None), "{listed}");
        }
        for listed in ["Node.Example", "node.example.", "node.example:1", "*"] {
            assert!(answered(&[listed], "node.example:8545", None), "{listed}");
        }
    }

    #[test]
    fn a_request_line_with_a_url_must_agree_with_the_host() {
        let hosts = Hosts::new(&Config::default());
        let headers = headers(&[(header::HOST, "localhost:8545")]);
        for (url, expected) in [
            ("http://localhost:8545/", true),
            ("http://LOCALHOST./", true),
            ("http://evil.example/", false),
        ] {
            let target = Uri::from_static(url);
            assert_eq!(hosts.allow(&headers, &target, None), expected, "{url}");
        }
    }

    #[test]
    fn an_entry_that_would_match_nothing_is_found() {
        let found = |hosts: &[&str], origins: &[&str]| {
            let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let config = Config {
                hosts: own(hosts),
                origins: own(origins),
                ..Config::default()
            };
            unreadable(&config).map(|(list, entry, _)| format!("{list} {entry}"))
        };
        assert_eq!(
            found(&["node.example", "fd00::1", "*"], &["https://a.example", "*"]),
            None
        );
        for host in ["http://node.example", "node.example/path", "", "a b"] {
            assert_eq!(found(&["*", host], &[]), Some(format!("hosts {host}")));
        }
        for origin in ["a.example", "https://a.example/page", "null"] {
            assert_eq!(found(&[], &["*", origin]), Some(format!("origins {origin}")));
        }
    }

    fn may_call(listed: &[&str], host: &str, origin: &str) -> bool {
        let config = Config {
            origins: listed.iter().map(|origin| (*origin).to_owned()).collect(),
            ..Config::default()
        };
        let headers = headers(&[(header::HOST, host), (header::ORIGIN, origin)]);
        matches!(Origins::new(&config).of(&headers), Origin::Allowed(_))
    }

    #[test]
    fn a_foreign_page_may_not_call_and_our_own_may() {
        for (host, origin) in [
            ("127.0.0.1:8645", "http://127.0.0.1:8645"),
            ("127.0.0.1", "http://127.0.0.1:80"),
            ("node.example:443", "https://node.example"),
            ("[::1]:8645", "http://[0::1]:8645"),
        ] {
            assert!(may_call(&[], host, origin), "{origin} at {host}");
        }
        for bad in [
            "http://evil.example",
            "http://127.0.0.1:9999",
            "http://127.0.0.1:8645/page",
            "ftp://127.0.0.1:8645",
            "null",
            "",
        ] {
            assert!(
                !may_call(&["https://good.example"], "127.0.0.1:8645", bad),
                "{bad}"
            );
        }
    }

    #[test]
    fn listed_origins_may_call_however_they_are_written() {
        for good in ["https://good.example", "HTTPS://Good.Example:443"] {
            assert!(may_call(&["https://good.example"], "localhost", good), "{good}");
        }
        assert!(!may_call(
            &["https://good.example"],
            "localhost",
            "http://good.example"
        ));
        assert!(may_call(&["*"], "localhost", "https://any.example"));
    }
}
