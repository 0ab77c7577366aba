//! HTTP requests and answers: who may ask, how much is read, and what answers look like.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use jsonrpsee::server::HttpBody;
use jsonrpsee::types::Id;
use vibecoin_rpc_api::ApiError;

use crate::config::Config;
use crate::gate::bare_error;
use crate::seats::{Held, Seated};

/// A body above the limit is read and thrown away up to this multiple of it, so that the caller gets to
/// read the answer instead of a broken connection.
pub(crate) const DRAIN_FACTOR: usize = 8;

/// Reads a body of at most `limit` bytes within `time_max`. What has arrived counts for the connection.
pub(crate) async fn read_body(
    seated: &Seated,
    body: Incoming,
    headers: &HeaderMap,
    limit: usize,
    time_max: Duration,
) -> Result<(Bytes, Held), Box<Response<HttpBody>>> {
    let reading = async {
        if announced(headers).is_some_and(|length| length > limit) {
            drain(body, limit.saturating_mul(DRAIN_FACTOR)).await;
            return Err(Box::new(too_large(limit)));
        }
        collect(seated, body, limit).await.map_err(Box::new)
    };
    tokio::time::timeout(time_max, reading).await.unwrap_or_else(|_| {
        Err(Box::new(plain(
            StatusCode::REQUEST_TIMEOUT,
            "the request took too long to arrive\n",
        )))
    })
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Response<HttpBody> {
    json(
        StatusCode::PAYLOAD_TOO_LARGE,
        bare_error(Id::Null, request_too_large(limit)),
    )
}

/// -32007.
pub(crate) fn request_too_large(limit: usize) -> ApiError {
    let error = ApiError {
        code: jsonrpsee::types::error::OVERSIZED_REQUEST_CODE,
        message: "the request is too large".to_owned(),
        data: vibecoin_rpc_api::ErrorData {
            reason: "request_too_large".to_owned(),
            ..Default::default()
        },
    };
    error.with("requestBytesMax", limit.to_string())
}

async fn collect(
    seated: &Seated,
    mut body: Incoming,
    limit: usize,
) -> Result<(Bytes, Held), Response<HttpBody>> {
    let (mut held, mut first, mut whole) = (seated.hold(0), Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(plain(StatusCode::BAD_REQUEST, "the request broke off\n"));
        };
        let Ok(bytes) = frame.into_data() else { continue };
        let read = first.len().saturating_add(whole.len());
        if read.saturating_add(bytes.len()) > limit {
            return Err(too_large(limit));
        }
        seated.grow(&mut held, bytes.len());
        // Most requests come in one piece, which is not copied.
        if read == 0 {
            first = bytes;
            continue;
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&bytes);
    }
    let body = if whole.is_empty() {
        first
    } else {
        Bytes::from(whole)
    };
    Ok((body, held))
}

/// Reads and forgets at most `limit` bytes.
async fn drain(mut body: Incoming, limit: usize) {
    let mut left = limit;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    let websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    headers.get(header::UPGRADE).is_some_and(websocket)
}

/// The host without its port; brackets of IPv6 addresses stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => {
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

/// Guards against DNS rebinding: a page of a stranger whose name points here names itself in `Host`.
pub(crate) fn host_is_allowed(config: &Config, headers: &HeaderMap, authority: Option<&str>) -> bool {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next(), authority) {
        (Some(host), None, None) => host.to_str().unwrap_or_default(),
        // A request line with a whole URL: its host counts and must not be contradicted.
        (Some(host), None, Some(authority))
            if without_port(host.to_str().unwrap_or_default()) == authority =>
        {
            authority
        }
        _ => return false,
    };
    let host = without_port(host);
    config
        .hosts
        .iter()
        .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(host))
}

pub(crate) enum Origin {
    /// No page is behind the call.
    Absent,
    /// A page that may call.
    Allowed(HeaderValue),
    /// A page that may not.
    Refused,
}

/// A page may call when its origin is listed, or when it was served by this node itself.
pub(crate) fn origin(config: &Config, headers: &HeaderMap) -> Origin {
    let Some(value) = headers.get(header::ORIGIN) else {
        return Origin::Absent;
    };
    let origin = value.to_str().unwrap_or_default();
    let own = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .is_some_and(|host| {
            origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
                == Some(host)
        });
    if own || config.origins.iter().any(|allowed| allowed == origin) {
        Origin::Allowed(value.clone())
    } else {
        Origin::Refused
    }
}

pub(crate) fn preflight(config: &Config, headers: &HeaderMap) -> Response<HttpBody> {
    let Origin::Allowed(origin) = origin(config, headers) else {
        return plain(StatusCode::FORBIDDEN, "this origin may not call\n");
    };
    let mut response = plain(StatusCode::NO_CONTENT, "");
    let out = response.headers_mut();
    out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    out.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST"),
    );
    out.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type"),
    );
    response
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allowed(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        host_is_allowed(&Config::default(), &headers, None)
    }

    #[test]
    fn only_loopback_names_are_answered_for_by_default() {
        for good in [
            "localhost",
            "localhost:8645",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "LOCALHOST",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8645",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "",
            "::1",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
        assert!(
            !host_is_allowed(&Config::default(), &HeaderMap::new(), None),
            "no Host at all"
        );
    }

    #[test]
    fn a_foreign_page_may_not_call_and_our_own_may() {
        let check = |from: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8645"));
            headers.insert(header::ORIGIN, HeaderValue::from_str(from).unwrap());
            matches!(origin(&Config::default(), &headers), Origin::Allowed(_))
        };
        assert!(check("http://127.0.0.1:8645"));
        for bad in ["http://evil.example", "http://127.0.0.1:9999", "null", ""] {
            assert!(!check(bad), "{bad}");
        }
    }
}
