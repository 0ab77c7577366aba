//! Forms of HTTP: the headers that a request must have, what a page of another origin may read, and answers.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use jsonrpsee::server::{HttpBody, MethodResponse};
use mediatype::{MediaType, ReadParams as _, names};

use crate::gate::{RateLimited, Rules};
use crate::host::{Origin, only};

/// The HTTP methods that are answered where JSON-RPC is; GET with an upgrade.
pub(crate) const RPC_METHODS: &str = "POST, GET, OPTIONS";

/// Closes the connection behind an answer: the rest of the request is not read.
pub(crate) fn closing(mut answer: Response<HttpBody>) -> Response<HttpBody> {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// Closes the connection behind the answer to a caller that is deep in debt. It gets no other one while it owes
/// ([`Rules::refuse_connection`]).
pub(crate) fn closing_in_debt(rules: &Rules, peer: IpAddr, answer: Response<HttpBody>) -> Response<HttpBody> {
    if rules.is_deep_in_debt(peer) {
        closing(answer)
    } else {
        answer
    }
}

/// An answer to a message. Each has status 200, errors too, except 413 and 429, which proxies
/// understand.
pub(crate) fn answered(answer: MethodResponse) -> Response<HttpBody> {
    let limited = answer.extensions().get::<RateLimited>().copied();
    let text = String::from(Box::<str>::from(answer.into_json()));
    let Some(limited) = limited else {
        return json(StatusCode::OK, text);
    };
    let mut response = json(StatusCode::TOO_MANY_REQUESTS, text);
    let seconds = HeaderValue::from(limited.retry_after_seconds());
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// Returns true if the request asks for a WebSocket. The header is a list, and may be repeated.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    listed(headers, &header::UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// The elements of a header that is a list (RFC 9110, section 5.6.1). A value that is not text is
/// one element that equals nothing.
fn listed<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.map(|value| value.to_str().unwrap_or("\u{fffd}"));
    texts
        .flat_map(|text| text.split(','))
        .map(str::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Refuses a body that is not plain JSON.
pub(crate) fn check_type(headers: &HeaderMap) -> Result<(), Box<Response<HttpBody>>> {
    if listed(headers, &header::CONTENT_ENCODING).any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let text = "the body must not be compressed: no content-encoding is understood\n";
        let mut refused = plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        let identity = HeaderValue::from_static("identity");
        refused.headers_mut().insert(header::ACCEPT_ENCODING, identity);
        return Err(Box::new(refused));
    }
    if only(headers, &header::CONTENT_TYPE).is_some_and(is_json) {
        return Ok(());
    }
    let text = "the body must be JSON, with the header content-type: application/json\n";
    let mut refused = plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    let json = HeaderValue::from_static("application/json");
    refused
        .headers_mut()
        .insert(HeaderName::from_static("accept-post"), json);
    Err(Box::new(refused))
}

/// JSON has one charset (RFC 8259, section 8.1), which some clients name. Other parameters are ignored.
fn is_json(text: &str) -> bool {
    let Ok(media) = MediaType::parse(text.trim_ascii()) else {
        return false;
    };
    let charset = media.get_param(names::CHARSET);
    media.ty == names::APPLICATION
        && (media.subty == "json" || media.subty == "json-rpc")
        && media.suffix.is_none()
        && charset.is_none_or(|charset| charset.unquoted_str().eq_ignore_ascii_case("utf-8"))
}

/// 405 with the methods that are answered.
pub(crate) fn not_allowed(allow: &'static str, text: &'static str) -> Response<HttpBody> {
    let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, text);
    refused
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    refused
}

/// Adds the headers that let a page read an answer.
pub(crate) fn share(response: &mut Response<HttpBody>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
}

/// Answers the preflight request of a browser, which is open to any caller.
pub(crate) fn preflight(origin: Origin) -> Response<HttpBody> {
    let mut response = plain(StatusCode::NO_CONTENT, "");
    let allow = HeaderValue::from_static(RPC_METHODS);
    response.headers_mut().insert(header::ALLOW, allow);
    match origin {
        Origin::Absent => {}
        Origin::Refused => return plain(StatusCode::FORBIDDEN, "this origin may not call\n"),
        Origin::Allowed(origin) => {
            share(&mut response, origin);
            let out = response.headers_mut();
            out.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("POST"),
            );
            out.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("content-type"),
            );
        }
    }
    response
}

/// The answer to a message without a call.
pub(crate) fn nothing() -> Response<HttpBody> {
    Response::new(HttpBody::empty())
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<HttpBody> {
    with_type(status, HttpBody::from(text), "text/plain; charset=utf-8")
}

pub(crate) fn json(status: StatusCode, text: String) -> Response<HttpBody> {
    with_type(status, HttpBody::from(text), "application/json; charset=utf-8")
}

pub(crate) fn with_type(status: StatusCode, body: HttpBody, kind: &'static str) -> Response<HttpBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn json_is_json_however_its_type_is_written() {
        for good in [
            "application/json",
            "application/json; charset=utf-8",
            "application/json ; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "APPLICATION/JSON\t;\tCharset=Utf-8",
            "application/json; profile=x",
            "application/json;",
            "application/json-rpc",
        ] {
            assert!(check_type(&with(header::CONTENT_TYPE, &[good])).is_ok(), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "text/json",
            "application/jsonx",
            "application/x+json",
            "application/json+x",
            "application/json; charset=utf-16",
            "application/json charset=utf-8",
            "json",
        ] {
            assert!(check_type(&with(header::CONTENT_TYPE, &[bad])).is_err(), "{bad}");
        }
        let twice = with(header::CONTENT_TYPE, &["application/json", "text/plain"]);
        assert!(check_type(&twice).is_err());
        assert!(check_type(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_compressed_body_is_refused_with_what_is_understood() {
        let typed = |coding: &'static str| {
            let mut headers = with(header::CONTENT_TYPE, &["application/json"]);
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            headers
        };
        for good in ["identity", "Identity", ""] {
            assert!(check_type(&typed(good)).is_ok(), "{good}");
        }
        for bad in ["gzip", "identity, gzip", "br"] {
            let refused = check_type(&typed(bad)).map_err(|refused| {
                (
                    refused.status(),
                    refused.headers().get(header::ACCEPT_ENCODING).cloned(),
                )
            });
            let identity = Some(HeaderValue::from_static("identity"));
            assert_eq!(
                refused,
                Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, identity)),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_wish_for_a_websocket_may_be_one_of_several() {
        for good in [
            &["websocket"][..],
            &["WebSocket"],
            &["h2c, websocket"],
            &["h2c", "websocket"],
        ] {
            assert!(is_upgrade(&with(header::UPGRADE, good)), "{good:?}");
        }
        for bad in [&["h2c"][..], &["websockets"], &[]] {
            assert!(!is_upgrade(&with(header::UPGRADE, bad)), "{bad:?}");
        }
    }
}
