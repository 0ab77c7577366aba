//! Bodies of HTTP requests: read within their limit and time, and paid for before they are read.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::{Response, StatusCode};
use jsonrpsee::server::HttpBody;
use jsonrpsee::types::Id;
use vibecoin_rpc_api::ApiError;

use crate::gate::{Paid, REFUSED_COST, Refused, Rules, bare_error};
use crate::http::{answered, closing, json, plain};
use crate::seats::{Held, Phase, Seated};

/// A body above the limit is read and discarded up to this multiple of it, as long as the caller's budget
/// pays for it, so that the caller can read the answer instead of a broken connection.
pub(crate) const DRAIN_FACTOR: usize = 8;

/// Pieces of a message (frames of a WebSocket, chunks of a body) beyond which each must contain this many bytes on
/// average. A piece costs work, however small it is.
const PIECES_FREE: usize = 256;
const PIECE_BYTES_MIN: usize = 64;

/// Returns true if this many bytes arrived in too many pieces.
pub(crate) const fn is_shredded(pieces: usize, bytes: usize) -> bool {
    pieces.saturating_sub(PIECES_FREE).saturating_mul(PIECE_BYTES_MIN) > bytes
}

/// Reads a body of up to `limit` bytes within `time_max`. What has arrived counts for the connection.
///
/// A caller pays for a body before it is read: for the announced length, or as the chunks arrive. One that
/// cannot is answered at once, and its connection is closed ([`crate::listener`]).
pub(crate) async fn read_body(
    rules: &Rules,
    seated: &Seated,
    body: Incoming,
    limit: usize,
    time_max: Duration,
) -> Result<(Bytes, Held), Box<Response<HttpBody>>> {
    let reading = async {
        let mut paid = Paid::default();
        let announced = body.size_hint().exact();
        match announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX)) {
            Some(length) if length > limit => {
                let drained = length <= limit.saturating_mul(DRAIN_FACTOR)
                    && drain(rules, seated, body, &mut paid).await.is_ok();
                let refused = too_large(limit);
                return Err(if drained {
                    seated.enter(Phase::Work);
                    refused
                } else {
                    closing(refused)
                });
            }
            announced => {
                let length = announced.unwrap_or(0);
                rules
                    .pay_message(seated.caller(), &mut paid, length)
                    .map_err(cannot_pay)?;
            }
        }
        let read = collect(rules, seated, body, limit, &mut paid).await?;
        seated.enter(Phase::Work);
        Ok(read)
    };
    let Ok(read) = tokio::time::timeout(time_max, reading).await else {
        let text = "the request took too long to arrive\n";
        return Err(Box::new(plain(StatusCode::REQUEST_TIMEOUT, text)));
    };
    read.map_err(Box::new)
}

fn cannot_pay(refused: Refused) -> Response<HttpBody> {
    closing(answered(refused.answer(Id::Null)))
}

fn too_large(limit: usize) -> Response<HttpBody> {
    json(
        StatusCode::PAYLOAD_TOO_LARGE,
        bare_error(Id::Null, request_too_large("a request over HTTP", limit)),
    )
}

/// -32007. The limit is that of the transport, so `what` names it.
pub(crate) fn request_too_large(what: &str, limit: usize) -> ApiError {
    let error = ApiError {
        code: jsonrpsee::types::error::OVERSIZED_REQUEST_CODE,
        message: format!("the request is too large: {what} has at most {limit} bytes"),
        data: vibecoin_rpc_api::ErrorData {
            reason: "request_too_large".to_owned(),
            ..Default::default()
        },
    };
    error.with("requestBytesMax", limit.to_string())
}

async fn collect(
    rules: &Rules,
    seated: &Seated,
    mut body: Incoming,
    limit: usize,
    paid: &mut Paid,
) -> Result<(Bytes, Held), Response<HttpBody>> {
    let (mut held, mut first, mut whole) = (seated.hold(0), Bytes::new(), Vec::new());
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut pieces = 0usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(plain(StatusCode::BAD_REQUEST, "the request broke off\n"));
        };
        pieces = pieces.saturating_add(1);
        let read = first.len().saturating_add(whole.len());
        let Ok(bytes) = frame.into_data() else { continue };
        let with_these = read.saturating_add(bytes.len());
        if is_shredded(pieces, with_these) {
            return Err(shredded(rules, seated, pieces));
        }
        if with_these > limit {
            return Err(closing(too_large(limit)));
        }
        rules
            .pay_message(seated.caller(), paid, with_these)
            .map_err(cannot_pay)?;
        seated.grow(&mut held, bytes.len());
        // Requests usually arrive in one piece, which is not copied.
        if read == 0 {
            first = bytes;
            continue;
        }
        if whole.is_empty() {
            // Grown piece by piece, a large one would lie in memory twice.
            whole.reserve_exact(announced.clamp(with_these, limit));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&bytes);
        seated.all_have_room().await;
    }
    let body = if whole.is_empty() {
        first
    } else {
        Bytes::from(whole)
    };
    Ok((body, held))
}

/// Ends a request in too many pieces, and charges a unit for so many of them.
fn shredded(rules: &Rules, seated: &Seated, pieces: usize) -> Response<HttpBody> {
    rules.charge(
        seated.caller(),
        u32::try_from(pieces / PIECES_FREE).unwrap_or(u32::MAX),
    );
    closing(plain(
        StatusCode::BAD_REQUEST,
        "the request arrives in too small pieces\n",
    ))
}

/// Reads and discards a body, as long as it is paid for and arrives in pieces of a reasonable size.
async fn drain(rules: &Rules, seated: &Seated, mut body: Incoming, paid: &mut Paid) -> Result<(), Refused> {
    let (mut read, mut pieces) = (0usize, 0usize);
    rules.solvent(seated.caller())?;
    while let Some(Ok(frame)) = body.frame().await {
        read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        pieces = pieces.saturating_add(1);
        if is_shredded(pieces, read) {
            rules.charge(seated.caller(), REFUSED_COST);
            return Err(Refused::from(ApiError::invalid_params(
                "too_small_pieces",
                "the request arrives in too small pieces",
            )));
        }
        rules.pay_message(seated.caller(), paid, read)?;
    }
    Ok(())
}
