//! WebSocket sessions (RFC 6455), bounded in bytes, calls and time.
//!
//! Reading from a session stops while its answers wait to be taken or its calls hold too much; one answer
//! at a time can be large. A message has a deadline, a peer that answers no ping is closed, and one that
//! does not read is closed by its seat ([`crate::seats`]).
//!
//! Each subscription has a separate queue, which the writer knows from the moment on at which the
//! subscription is acknowledged. When the server stops, subscriptions end with a last event, and the session
//! closes with 1001 behind them.

mod message;
mod writer;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonrpsee::server::{BoundedSubscriptions, ConnectionId, HttpBody, Methods};
use jsonrpsee::types::Id;
use serde_json::value::RawValue;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dispatch::{Begun, Served, Subscribing};
use crate::gate::{Gate, Lane, Rules, bare_error, yield_often};
use crate::http::plain;
use crate::listener::take_leave;
use crate::metrics::Closed;
use crate::request::request_too_large;
use crate::seats::{Held, Seated};
use message::{Event, Fault, Messages};
use writer::{Out, write};

/// Answers and control frames on their way to the writer.
const OUTGOING_MAX: usize = 16;

/// Close codes of RFC 6455, section 7.4.1.
mod code {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_BIG: u16 = 1009;
    /// "Try again later", of the registry that section 11.7 begins.
    pub(super) const TRY_AGAIN: u16 = 1013;
}

/// A message or control frame that a session answers.
enum Task {
    Message(Vec<u8>, Held),
    /// A refused message; the session continues.
    Refuse(Box<RawValue>),
    Ping(Vec<u8>),
}

/// A session before its start.
pub(crate) struct Session {
    pub(crate) rules: Arc<Rules>,
    pub(crate) methods: Methods,
    pub(crate) seated: Arc<Seated>,
    pub(crate) id: u32,
}

/// Checks the handshake and returns the answer to it.
pub(crate) fn handshake(request: &Request<Incoming>) -> Result<Response<HttpBody>, Box<Response<HttpBody>>> {
    let answer = soketto::handshake::http::Server::new().receive_request(request);
    answer
        .map(|answer| answer.map(|()| HttpBody::empty()))
        .map_err(|error| {
            tracing::debug!(target: "rpc", %error, "no WebSocket handshake");
            Box::new(plain(StatusCode::BAD_REQUEST, "this is no WebSocket handshake\n"))
        })
}

impl Session {
    /// Runs until the peer leaves, breaks a rule, or the server stops.
    pub(crate) async fn run(self, upgrade: OnUpgrade) {
        let (seated, rules) = (Arc::clone(&self.seated), Arc::clone(&self.rules));
        let socket = seated.socket();
        let time_max = self.rules.config.header_timeout;
        let talking = async {
            match tokio::time::timeout(time_max, upgrade).await {
                Ok(Ok(upgraded)) => self.talk(upgraded).await,
                Ok(Err(error)) => tracing::debug!(target: "rpc", %error, "the upgrade failed"),
                Err(_) => {}
            }
        };
        tokio::select! {
            () = talking => {}
            why = seated.closing() => {
                tracing::debug!(target: "rpc", peer = %seated.peer, ?why, "session closed");
                return;
            }
        }
        let Some(socket) = socket else { return };
        let (bytes_max, stopped) = (rules.discards_max(seated.peer), rules.stop.clone().shutdown());
        let discarded = take_leave(&seated, &socket, bytes_max, stopped).await;
        if discarded > 0 {
            rules.charge_discarded(seated.caller(), discarded);
        }
    }

    async fn talk(self, upgraded: Upgraded) {
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
        let reading = async {
            let close = self.read(reader, &out).await;
            // The writer ends the session.
            let _ = out.send(close).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = reading => {}
            ended = write(writer, outgoing, &self.seated) => {
                if let Err(error) = ended {
                    tracing::debug!(target: "rpc", peer = %self.seated.peer, %error, "session ended");
                }
            }
        }
    }

    fn methods(&self) -> Served {
        let config = &self.rules.config;
        let bounded = |events: u32| usize::try_from(events).unwrap_or(usize::MAX);
        Served {
            rules: Arc::clone(&self.rules),
            methods: self.methods.clone(),
            id: ConnectionId::from(self.id),
            response_bytes_max: bounded(config.response_bytes_max),
            subscribing: Some(Subscribing {
                taken: BoundedSubscriptions::new(config.subscriptions_per_connection_max),
                events_max: bounded(config.message_buffer),
                begun: Begun::default(),
            }),
        }
    }

    fn message_bytes_max(&self) -> usize {
        let config = &self.rules.config;
        let bytes_max = config.message_bytes_max.min(config.request_bytes_max);
        usize::try_from(bytes_max).unwrap_or(usize::MAX)
    }

    fn lane(&self) -> Lane {
        Lane {
            seat: Arc::clone(self.seated.seat()),
            queued_max: self.rules.config.websocket_held_bytes_max,
            running: tokio::sync::Mutex::default(),
        }
    }

    /// Reads and answers messages, and returns the close code. Awaits nothing that depends on the peer's
    /// reading.
    async fn read(&self, reader: impl AsyncRead + Unpin, out: &mpsc::Sender<Out>) -> Out {
        let config = &self.rules.config;
        let (methods, lane) = (self.methods(), self.lane());
        let message_max = self.message_bytes_max();
        let time_max = config.body_timeout.min(config.call_timeout);
        let (rules, seated) = (Arc::clone(&self.rules), Arc::clone(&self.seated));
        let mut messages = Messages::new(rules, seated, reader, message_max, time_max);
        let requested = AtomicUsize::new(0);
        let mut tasks = FuturesUnordered::new();
        let serve = |task| self.serve(&methods, &lane, task, out, &requested);
        let mut seen = Instant::now();
        let mut ping = tokio::time::interval(config.ping_interval.max(Duration::from_millis(1)));
        // The handshake has just proven that the peer is connected.
        ping.reset();
        let mut stopped = std::pin::pin!(self.rules.stop.clone().shutdown());
        let mut stopping = false;
        loop {
            let held_max = config.websocket_held_bytes_max;
            let has_room = tasks.len() < config.websocket_calls_max
                && requested.load(Ordering::Relaxed) < held_max
                && self.seated.queued() <= held_max;
            tokio::select! {
                event = messages.next(), if has_room && !stopping => {
                    seen = Instant::now();
                    match self.on_event(event, &mut messages, &requested, out) {
                        ControlFlow::Continue(task) => tasks.extend(task.map(serve)),
                        ControlFlow::Break(close) => return close,
                    }
                }
                Some(()) = tasks.next(), if !tasks.is_empty() => {}
                // Answers that were taken are a reason to check again.
                () = self.seated.room(held_max), if self.seated.queued() > held_max => {}
                _ = ping.tick() => {
                    let silence_max = config.ping_interval.saturating_mul(2).saturating_add(config.call_timeout);
                    if !has_room {
                        // It is this side that does not read.
                        seen = Instant::now();
                    } else if seen.elapsed() > silence_max {
                        return self.closes(code::POLICY);
                    }
                    if self.seated.is_idle_session(config.session_idle_timeout) {
                        return self.closes(code::POLICY);
                    }
                    // A writer that is busy needs no ping to notice a dead peer.
                    let _ = out.try_send(Out::Ping);
                }
                () = &mut stopped, if !stopping => stopping = true,
            }
            yield_often().await;
            if stopping && tasks.is_empty() {
                return Out::Close {
                    code: code::GOING_AWAY,
                    last_events: true,
                };
            }
        }
    }

    /// Takes an event of the peer: as a task, or as the reason for a close.
    fn on_event<R: AsyncRead + Unpin>(
        &self,
        event: Result<Event, Fault>,
        messages: &mut Messages<R>,
        requested: &AtomicUsize,
        out: &mpsc::Sender<Out>,
    ) -> ControlFlow<Out, Option<Task>> {
        let refuse_large = || {
            let answer = too_large(self.message_bytes_max());
            answer.and_then(|answer| self.refuse(out, answer))
        };
        let task = match event {
            Ok(Event::Message(_)) if self.rules.is_deep_in_debt(self.seated.peer) => {
                return ControlFlow::Break(self.closes(code::TRY_AGAIN));
            }
            Ok(Event::Message(message)) => {
                let held = messages.take_held();
                requested.fetch_add(message.len(), Ordering::Relaxed);
                Some(Task::Message(message, held))
            }
            Ok(Event::TooLarge) => refuse_large(),
            Ok(Event::Unpaid(refused)) => self.refuse(out, refused.answer(Id::Null).into_json()),
            Ok(Event::Ping(payload)) => Some(Task::Ping(payload)),
            Ok(Event::Pong) => None,
            Ok(Event::Close) => return ControlFlow::Break(close(code::NORMAL)),
            Err(fault) => {
                return ControlFlow::Break(match fault {
                    Fault::Gone => close(code::GOING_AWAY),
                    Fault::Protocol => self.closes(code::PROTOCOL),
                    Fault::Debt => self.closes(code::TRY_AGAIN),
                    Fault::Late => self.closes(code::POLICY),
                    Fault::TooBig => {
                        let _unsent = refuse_large();
                        self.closes(code::TOO_BIG)
                    }
                });
            }
        };
        ControlFlow::Continue(task)
    }

    /// Sends a refusal, before any later message; returns it as a task while the writer waits for the peer.
    fn refuse(&self, out: &mpsc::Sender<Out>, answer: Box<RawValue>) -> Option<Task> {
        let queued = self.seated.queue(answer.get().len());
        match out.try_send(Out::Answer(answer, queued, Vec::new())) {
            Err(mpsc::error::TrySendError::Full(Out::Answer(answer, ..))) => Some(Task::Refuse(answer)),
            // Another error means that the writer has ended, and the session with it.
            _ => None,
        }
    }

    /// Serves one message or frame. No part of it waits for the peer in the session's loop: that has to
    /// continue, or calls would keep their turns for as long as the peer reads nothing.
    async fn serve(
        &self,
        methods: &Served,
        lane: &Lane,
        task: Task,
        out: &mpsc::Sender<Out>,
        requested: &AtomicUsize,
    ) {
        match task {
            Task::Message(message, held) => {
                let _in_use = self.seated.seat().in_use();
                self.call(methods, lane, message, held, out, requested).await;
            }
            Task::Refuse(answer) => self.send(out, answer, Vec::new()).await,
            Task::Ping(payload) => {
                let _ = out.send(Out::Pong(payload)).await;
            }
        }
    }

    fn closes(&self, code: u16) -> Out {
        self.rules.config.metrics.closed(Closed::Session);
        close(code)
    }

    async fn call(
        &self,
        methods: &Served,
        lane: &Lane,
        message: Vec<u8>,
        held: Held,
        out: &mpsc::Sender<Out>,
        requested: &AtomicUsize,
    ) {
        let begun = Begun::default();
        let mut calls = methods.clone();
        if let Some(subscribing) = &mut calls.subscribing {
            subscribing.begun = Arc::clone(&begun);
        }
        let gate = Gate {
            rules: Arc::clone(&self.rules),
            seated: Arc::clone(&self.seated),
            calls,
        };
        let bytes = message.len();
        let answer = gate.answer(message.into(), Some(lane)).await;
        drop(held);
        requested.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(answer) = answer {
            let mut begun = std::mem::take(&mut *begun.lock());
            if answer.is_error() {
                // Subscriptions whose numbers are not sent end at once.
                for mut events in begun.drain(..) {
                    events.close();
                    while let Ok(event) = events.try_recv() {
                        self.seated.sent(event.get().len());
                    }
                }
            }
            self.send(out, answer.into_json(), begun).await;
        }
    }

    async fn send(
        &self,
        out: &mpsc::Sender<Out>,
        answer: Box<RawValue>,
        begun: Vec<mpsc::Receiver<Box<RawValue>>>,
    ) {
        let queued = self.seated.queue(answer.get().len());
        // An error means that the writer has ended, and the session with it.
        let _ = out.send(Out::Answer(answer, queued, begun)).await;
    }
}

/// The answer to a message that was too large to read.
fn too_large(message_max: usize) -> Option<Box<RawValue>> {
    let error = bare_error(Id::Null, request_too_large("a WebSocket message", message_max));
    RawValue::from_string(error).ok()
}

const fn close(code: u16) -> Out {
    Out::Close {
        code,
        last_events: false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::FutureExt as _;
    use jsonrpsee::RpcModule;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::Config;
    use crate::building::BUILT_AT_ONCE_MAX;
    use vibecoin_rpc_backend::Caller;

    /// A frame as clients send it, of less than 126 bytes; the mask is zeros.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_gives_its_turn_back_though_its_peer_reads_nothing() {
        let (stop, _handle) = jsonrpsee::server::stop_channel();
        let rules = Arc::new(Rules::new(Arc::new(Config::default()), false, stop));
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let seated = rules.seats.take(0, peer, std::time::Instant::now()).unwrap();
        let (begun, go_on) = (
            Arc::new(tokio::sync::Notify::new()),
            Arc::new(tokio::sync::Notify::new()),
        );
        let mut module = RpcModule::new((Arc::clone(&begun), Arc::clone(&go_on)));
        module
            .register_async_method("chain_getBlock", |_, context, _| async move {
                context.0.notify_one();
                context.1.notified().await;
                "a block"
            })
            .unwrap();
        let session = Session {
            rules: Arc::clone(&rules),
            methods: module.into(),
            seated: Arc::new(seated),
            id: 0,
        };
        let (mut peer, reader) = tokio::io::duplex(64 * 1024);
        let call = frame(0x81, br#"{"jsonrpc":"2.0","id":1,"method":"chain_getBlock"}"#);
        peer.write_all(&call).await.unwrap();
        // The channel is never drained, like that of a writer blocked on its peer.
        let (out, _unread) = mpsc::channel(OUTGOING_MAX);
        let other = Caller {
            address: None,
            connection: 7,
        };
        let freed = async {
            begun.notified().await;
            peer.write_all(&frame(0x89, &[]).repeat(2 * OUTGOING_MAX))
                .await
                .unwrap();
            while out.capacity() > 0 {
                tokio::task::yield_now().await;
            }
            go_on.notify_one();
            loop {
                let turns: Vec<_> = (0..BUILT_AT_ONCE_MAX)
                    .map(|_| rules.building.acquire(other).now_or_never())
                    .collect();
                if turns.iter().all(|turn| matches!(turn, Some(Ok(_)))) {
                    return;
                }
                drop(turns);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = session.read(reader, &out) => panic!("the session ended"),
            () = freed => {}
        }
    }
}
