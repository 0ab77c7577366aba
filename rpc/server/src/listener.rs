//! A port that answers HTTP/1.1: connections take seats, have deadlines, and are observed while in use.
//!
//! All listeners use it; they differ in their answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonrpsee::core::BoxError;
use jsonrpsee::server::{HttpBody, StopHandle};
use tokio::net::{TcpListener, TcpStream};

use crate::gate::Rules;
use crate::seats::{Phase, Queued, Seat, Seated};
use crate::socket::{Socket, Stream, linger};
use crate::watched::Watched;

/// Maximum bytes that are read and discarded behind an answer that was given before all of a request was read.
pub(crate) const DISCARDED_BYTES_MAX: usize = 64 * 1024;
/// Maximum bytes of a request's header.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Interval of the warning that connections cannot be accepted: callers can cause that condition.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Pause of accepting when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers of a listener.
pub(crate) trait Answers: Send + Sync + 'static {
    /// The rules by which callers are seated and charged.
    fn rules(&self) -> &Rules;

    /// Answers one request of a connection.
    fn answer(
        &self,
        seated: &Arc<Seated>,
        id: u32,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<HttpBody>> + Send;

    /// Returns the answer to a connection from an address of which nothing is read, whatever it
    /// requests.
    fn refuse(&self, peer: IpAddr) -> Option<String> {
        self.rules().refuse_connection(peer)
    }
}

/// The address of this machine at which a request's connection arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress(pub(crate) IpAddr);

/// Address at which programs of this machine reach a listener. One that listens at all addresses listens
/// at loopback, too, and "all" is not an address to connect to, nor one to name in `Host`.
#[must_use]
pub fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        // A machine can listen at `::` and have no IPv6 address at all.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() => {
            Ipv6Addr::LOCALHOST.into()
        }
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Accepts connections until the listener is stopped.
pub(crate) async fn serve<A: Answers>(listener: TcpListener, answers: Arc<A>) {
    let rules = answers.rules();
    let (seats, stop) = (&rules.seats, rules.stop.clone());
    let mut stopped = std::pin::pin!(stop.clone().shutdown());
    let mut sweep = tokio::time::interval(seats.limits().sweep_interval());
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut id = 0u32;
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return,
            _ = sweep.tick() => {
                seats.sweep(Instant::now());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Probably out of file descriptors. A connection without a request is closed to free one.
                if warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
                    warned = Some(Instant::now());
                    tracing::warn!(target: "rpc", %error, "cannot accept connections");
                }
                seats.make_room(Instant::now());
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Some(answer) = answers.refuse(peer.ip()) {
            write_at_once(&stream, answer.as_bytes());
            tokio::task::yield_now().await;
            continue;
        }
        id = id.wrapping_add(1);
        let Some(seated) = seats.take(id, peer.ip(), Instant::now()) else {
            rules.config.metrics.turned_away.inc();
            write_at_once(&stream, TOO_MANY);
            continue;
        };
        let connection = connection(stream, Arc::new(seated), id, Arc::clone(&answers), stop.clone());
        tokio::spawn(connection);
        // In a burst of connections each one is polled before the next may take its seat.
        tokio::task::yield_now().await;
    }
}

/// The answer to a connection for which there is no seat.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: text/plain\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

/// Answers without reading, as far as the socket takes it at once.
fn write_at_once(stream: &TcpStream, answer: &[u8]) {
    let _ = stream.try_write(answer);
}

async fn connection<A: Answers>(
    stream: TcpStream,
    seated: Arc<Seated>,
    id: u32,
    answers: Arc<A>,
    stop: StopHandle,
) {
    // Answers are written in one piece; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let seat = Arc::clone(seated.seat());
    let (ending, unread) = (
        (Arc::clone(&seated), Arc::clone(&answers)),
        Arc::new(AtomicBool::new(false)),
    );
    let is_unread = Arc::clone(&unread);
    let local = stream.local_addr().ok().map(|local| LocalAddress(local.ip()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(local) = local {
            request.extensions_mut().insert(local);
        }
        let (seated, answers, unread) = (Arc::clone(&seated), Arc::clone(&answers), Arc::clone(&unread));
        async move {
            let whole = request.body().is_end_stream();
            seated.enter(if whole { Phase::Work } else { Phase::Body });
            let answer = answers.answer(&seated, id, request).await;
            unread.store(seated.reads_a_body(), Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(watched_answer(&seated, answer))
        }
    });
    let mut builder = http1::Builder::new();
    // Every deadline is enforced by the seat.
    builder.header_read_timeout(None).max_buf_size(HEADER_BYTES_MAX);
    let socket = Socket::new(stream);
    seat.watch(&socket);
    let io = TokioIo::new(Watched::new(Stream(Arc::clone(&socket)), Arc::clone(&seat)));
    let mut serving = std::pin::pin!(builder.serve_connection(io, service).with_upgrades());
    let mut stopped = std::pin::pin!(stop.shutdown());
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = serving.as_mut() => break ended,
            why = seat.closing() => {
                tracing::debug!(target: "rpc", peer = %seat.peer, ?why, "connection closed");
                return;
            }
            () = &mut stopped, if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "rpc", peer = %seat.peer, %error, "connection ended");
    } else if is_unread.load(Ordering::Relaxed) && !stopping {
        let (seated, answers) = ending;
        let rules = answers.rules();
        let bytes_max = rules.discards_max(seated.peer);
        let discarded = take_leave(&seated, &socket, bytes_max, stopped).await;
        rules.charge_discarded(seated.caller(), discarded);
    }
}

/// Reads and discards up to `bytes_max` that still arrive behind the last answer, so that the peer can read
/// it. Returns the number of these bytes.
pub(crate) async fn take_leave(
    seated: &Seated,
    socket: &Arc<Socket>,
    bytes_max: usize,
    stopped: impl Future<Output = ()>,
) -> usize {
    seated.enter(Phase::Lingering);
    let mut discarded = 0;
    tokio::select! {
        () = linger(socket, bytes_max, &mut discarded) => {}
        _ = seated.closing() => {}
        () = stopped => {}
    }
    seated.discarded(discarded);
    discarded
}

/// Records when the answer has been sent, and counts its bytes until then.
fn watched_answer(seated: &Seated, answer: Response<HttpBody>) -> Response<HttpBody> {
    // A new session records for itself.
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return answer;
    }
    seated.enter(Phase::Work);
    let bytes = answer.body().size_hint().lower();
    let sent = Arc::new(Sent {
        seat: Arc::clone(seated.seat()),
        _queued: seated.queue(usize::try_from(bytes).unwrap_or(usize::MAX)),
    });
    answer.map(|body| HttpBody::new(Leaving { body, sent }))
}

/// Dropped when an answer has been written.
struct Sent {
    seat: Arc<Seat>,
    _queued: Queued,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.seat.enter(Phase::Idle);
    }
}

/// A body whose bytes keep a [`Sent`] until they are written.
struct Leaving {
    body: HttpBody,
    sent: Arc<Sent>,
}

struct Part {
    bytes: Bytes,
    _sent: Arc<Sent>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        let sent = &self.sent;
        polled.map_ok(|frame| {
            frame.map_data(|bytes| {
                Bytes::from_owner(Part {
                    bytes,
                    _sent: Arc::clone(sent),
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_at_all_addresses_is_reached_at_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:7"), "127.0.0.1:7");
        assert!(["[::1]:7", "127.0.0.1:7"].contains(&reached("[::]:7").as_str()));
        assert_eq!(reached("[::ffff:0.0.0.0]:7"), "127.0.0.1:7");
        for own in ["127.0.0.1:7", "10.0.0.7:7", "[::1]:7", "[fd00::1]:7"] {
            assert_eq!(reached(own), own);
        }
    }
}
