//! The listener: one port for JSON-RPC over HTTP and WebSocket, and for health.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jsonrpsee::core::BoxError;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::http::{call_with_service_builder, is_json};
use jsonrpsee::server::{
    BatchRequestConfig, ConnectionState, HttpBody, Methods, PingConfig, ServerBuilder, ServerConfig,
    ServerHandle, StopHandle, stop_channel,
};
use jsonrpsee::types::Id;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service as _;
use vibecoin_rpc_api::{ApiError, Code};

use crate::access::AdminToken;
use crate::backend::Backend;
use crate::config::Config;
use crate::envelope;
use crate::gate::{Gate, RateLimited, Rules, bare_error};
use crate::methods::{self, Rpc};
use crate::paced::Paced;
use crate::pages;

/// A body above the limit is read and thrown away up to this multiple of it, so that the caller gets to
/// read the answer instead of a broken connection.
const DRAIN_FACTOR: usize = 8;

/// A server that runs. Dropping it stops the server.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl RpcServer {
    /// Serves `backend` on `listener` until it is stopped.
    ///
    /// # Errors
    /// When the listener has no address, or methods clash.
    pub fn start<B: Backend>(
        listener: TcpListener,
        backend: Arc<B>,
        config: Config,
    ) -> std::io::Result<Self> {
        let rules = Arc::new(Rules::new(Arc::new(config), backend.facts().params.dev));
        let methods = methods::all(&Rpc::new(Arc::clone(&backend), Arc::clone(&rules)))
            .map_err(std::io::Error::other)?;
        Self::listen(listener, backend, rules, methods, None)
    }

    /// Serves the operator's methods on `listener`, over HTTP alone, to whoever shows the token.
    ///
    /// # Errors
    /// As [`RpcServer::start`].
    pub fn start_admin<B: Backend>(
        listener: TcpListener,
        backend: Arc<B>,
        config: Config,
        token: AdminToken,
    ) -> std::io::Result<Self> {
        let rules = Arc::new(Rules::admin(Arc::new(config)));
        let methods = methods::admin(&Rpc::new(Arc::clone(&backend), Arc::clone(&rules)))
            .map_err(std::io::Error::other)?;
        Self::listen(listener, backend, rules, methods, Some(token))
    }

    fn listen<B: Backend>(
        listener: TcpListener,
        backend: Arc<B>,
        rules: Arc<Rules>,
        methods: Methods,
        token: Option<AdminToken>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let config = Arc::clone(&rules.config);
        let (stop, handle) = stop_channel();
        let shared = Arc::new(Shared {
            library: library_config(&config, config.request_bytes_max),
            library_websocket: library_config(
                &config,
                config.message_bytes_max.min(config.request_bytes_max),
            ),
            rules,
            methods,
            token,
            stop,
            requests: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            backend,
        });
        tokio::spawn(accept(listener, shared));
        Ok(Self { address, handle })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking connections and calls, lets running calls end, and returns when all have or when
    /// `grace` is over.
    pub async fn stop(self, grace: Duration) {
        // An error says that it has stopped already.
        let _ = self.handle.stop();
        let _ = tokio::time::timeout(grace, self.handle.stopped()).await;
    }
}

/// What all connections share.
struct Shared<B> {
    rules: Arc<Rules>,
    methods: Methods,
    /// What callers must show; set on the admin listener alone.
    token: Option<AdminToken>,
    library: ServerConfig,
    library_websocket: ServerConfig,
    stop: StopHandle,
    /// The library wants a permit per request; the seats of connections are the bound that counts.
    requests: Arc<Semaphore>,
    backend: Arc<B>,
}

fn library_config(config: &Config, request_bytes_max: u32) -> ServerConfig {
    let ping = PingConfig::new()
        .ping_interval(config.ping_interval)
        .inactive_limit(
            config
                .ping_interval
                .saturating_add(config.ping_interval)
                .saturating_add(config.call_timeout),
        );
    ServerConfig::builder()
        .max_request_body_size(request_bytes_max)
        .max_response_body_size(config.response_bytes_max)
        // Connections are counted where they are accepted; the library counts requests.
        .max_connections(u32::MAX >> 3)
        .max_subscriptions_per_connection(config.subscriptions_per_connection_max)
        .set_batch_request_config(BatchRequestConfig::Limit(config.batch_entries_max))
        .set_message_buffer_capacity(config.message_buffer.max(1))
        .enable_ws_ping(ping)
        .build()
}

async fn accept<B: Backend>(listener: TcpListener, shared: Arc<Shared<B>>) {
    let seats = usize::try_from(shared.rules.config.connections_max).unwrap_or(usize::MAX);
    let seats = Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS)));
    let mut stopped = std::pin::pin!(shared.stop.clone().shutdown());
    let mut connection_id = 0u32;
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back.
                tracing::warn!(target: "rpc", %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&seats).try_acquire_owned() {
            Ok(seat) => {
                connection_id = connection_id.wrapping_add(1);
                let connection = Connection {
                    shared: Arc::clone(&shared),
                    peer: peer.ip(),
                    id: connection_id,
                    seat: Arc::new(seat),
                };
                tokio::spawn(connection.serve(stream));
            }
            Err(_) => {
                shared.rules.config.metrics.turned_away.inc();
                turn_away(&stream);
            }
        }
    }
}

/// Answers 429 without reading, as far as the socket takes it at once.
fn turn_away(stream: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\n\
        content-type: text/plain\r\ncontent-length: 21\r\n\r\ntoo many connections\n";
    let _ = stream.try_write(ANSWER);
}

/// One connection.
struct Connection<B> {
    shared: Arc<Shared<B>>,
    peer: IpAddr,
    id: u32,
    /// Held by the connection, and by the WebSocket session that it may become.
    seat: Arc<OwnedSemaphorePermit>,
}

impl<B: Backend> Connection<B> {
    async fn serve(self, stream: TcpStream) {
        // Answers are written in one piece; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let call_timeout = self.shared.rules.config.call_timeout;
        let stopped = self.shared.stop.clone().shutdown();
        let connection = Arc::new(self);
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let connection = Arc::clone(&connection);
            async move { Ok::<_, std::convert::Infallible>(connection.answer(request).await) }
        });
        let mut builder = hyper_util::server::conn::auto::Builder::new(Executor).http1_only();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(call_timeout)
            .max_buf_size(64 * 1024);
        let serving = builder.serve_connection_with_upgrades(
            TokioIo::new(Paced::new(stream)),
            TowerToHyperService::new(service),
        );
        let (mut serving, mut stopped) = (std::pin::pin!(serving), std::pin::pin!(stopped));
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = &mut stopped => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(target: "rpc", %error, "connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<HttpBody> {
        let config = &self.shared.rules.config;
        if !host_is_allowed(config, request.headers(), request.uri().host()) {
            return plain(
                StatusCode::FORBIDDEN,
                "the Host header names no host that this node answers for\n",
            );
        }
        if let Some(token) = &self.shared.token {
            return self.operator(request, token).await;
        }
        let upgrade = is_upgrade(request.headers());
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::GET | &Method::HEAD, "/livez" | "/readyz" | "/health") => {
                let verbose = request
                    .uri()
                    .query()
                    .is_some_and(|query| query.contains("verbose"));
                pages::health(self.shared.backend.as_ref(), path, verbose)
            }
            (&Method::GET, "/") if upgrade => match origin(config, request.headers()) {
                Origin::Refused => plain(StatusCode::FORBIDDEN, "this origin may not connect\n"),
                Origin::Absent | Origin::Allowed(_) => self.websocket(request).await,
            },
            (&Method::OPTIONS, "/") => preflight(config, request.headers()),
            (&Method::POST, "/") => self.post(request).await,
            (_, "/" | "/livez" | "/readyz" | "/health") => plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "POST / for JSON-RPC, GET / with upgrade for WebSocket\n",
            ),
            _ => plain(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }

    /// A request of the admin listener.
    async fn operator(&self, request: Request<Incoming>, token: &AdminToken) -> Response<HttpBody> {
        if let Err(error) = token.check(request.headers()) {
            let status = match error.class() {
                Some(Code::Forbidden) => StatusCode::FORBIDDEN,
                _ => StatusCode::UNAUTHORIZED,
            };
            return json(status, bare_error(Id::Null, error));
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/") => self.post(request).await,
            (_, "/") => plain(StatusCode::METHOD_NOT_ALLOWED, "POST / for JSON-RPC\n"),
            _ => plain(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }

    async fn post(&self, request: Request<Incoming>) -> Response<HttpBody> {
        let config = &self.shared.rules.config;
        let allowed = match origin(config, request.headers()) {
            Origin::Refused => return plain(StatusCode::FORBIDDEN, "this origin may not call\n"),
            Origin::Absent => None,
            Origin::Allowed(origin) => Some(origin),
        };
        let (parts, body) = request.into_parts();
        let limit = usize::try_from(config.request_bytes_max).unwrap_or(usize::MAX);
        let read = tokio::time::timeout(config.call_timeout, read_body(body, &parts.headers, limit)).await;
        let body = match read {
            Ok(Ok(body)) => body,
            Ok(Err(response)) => return response,
            Err(_) => {
                return plain(
                    StatusCode::REQUEST_TIMEOUT,
                    "the request took too long to arrive\n",
                );
            }
        };
        // A body of another type is left to the library to refuse.
        let checked = if is_json(parts.headers.get(header::CONTENT_TYPE)) {
            envelope::check(&body, config.batch_entries_max)
        } else {
            Ok(Cow::Borrowed(body.as_ref()))
        };
        let mut response = match checked {
            Ok(checked) => {
                let body = match checked {
                    Cow::Borrowed(_) => body,
                    Cow::Owned(rewritten) => Bytes::from(rewritten),
                };
                let body = HttpBody::new(http_body_util::Full::new(body));
                self.call(Request::from_parts(parts, body)).await
            }
            Err((id, error)) => json(StatusCode::OK, bare_error(id, error)),
        };
        if let Some(origin) = allowed {
            response
                .headers_mut()
                .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        response
    }

    /// Hands a complete request to the library. Without the extensions that its tower service adds to a
    /// request, and copies for every entry of a batch, a batched call costs about a tenth less.
    async fn call(&self, request: Request<HttpBody>) -> Response<HttpBody> {
        let shared = &self.shared;
        let Ok(permit) = Arc::clone(&shared.requests).try_acquire_owned() else {
            return plain(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
        };
        let state = ConnectionState::new(shared.stop.clone(), self.id, permit);
        let gate = RpcServiceBuilder::new().layer(self.gate());
        let mut response = call_with_service_builder(
            request,
            shared.library.clone(),
            state,
            shared.methods.clone(),
            gate,
        )
        .await;
        if let Some(RateLimited { retry_after }) = response.extensions().get::<RateLimited>().copied() {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let seconds = retry_after.as_secs().saturating_add(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    async fn websocket(&self, request: Request<Incoming>) -> Response<HttpBody> {
        let mut library = self.library();
        let closed = library.on_session_closed();
        match library.call(request.map(HttpBody::new)).await {
            Ok(response) => {
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    // hyper is done with the connection now, the session is not.
                    let seat = Arc::clone(&self.seat);
                    tokio::spawn(async move {
                        closed.await;
                        drop(seat);
                    });
                }
                response
            }
            Err(error) => internal(&error),
        }
    }

    fn gate(&self) -> GateLayer {
        GateLayer {
            rules: Arc::clone(&self.shared.rules),
            peer: self.peer,
        }
    }

    /// The library's service for WebSocket sessions.
    fn library(
        &self,
    ) -> jsonrpsee::server::TowerService<
        tower::layer::util::Stack<GateLayer, tower::layer::util::Identity>,
        tower::layer::util::Identity,
    > {
        ServerBuilder::with_config(self.shared.library_websocket.clone())
            .set_rpc_middleware(RpcServiceBuilder::new().layer(self.gate()))
            .to_service_builder()
            .connection_id(self.id)
            .build(self.shared.methods.clone(), self.shared.stop.clone())
    }
}

/// Puts the [`Gate`] around the methods.
#[derive(Clone)]
struct GateLayer {
    rules: Arc<Rules>,
    peer: IpAddr,
}

impl<S> tower::Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, service: S) -> Gate<S> {
        Gate {
            rules: Arc::clone(&self.rules),
            peer: self.peer,
            service,
        }
    }
}

/// HTTP/1 needs nothing spawned; the type asks for an executor all the same.
#[derive(Clone, Copy)]
struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// Reads a body of at most `limit` bytes.
async fn read_body(body: Incoming, headers: &HeaderMap, limit: usize) -> Result<Bytes, Response<HttpBody>> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<usize>().ok());
    let too_large = || {
        let error = ApiError {
            code: jsonrpsee::types::error::OVERSIZED_REQUEST_CODE,
            message: "the request is too large".to_owned(),
            data: vibecoin_rpc_api::ErrorData {
                reason: "request_too_large".to_owned(),
                ..Default::default()
            },
        };
        json(
            StatusCode::PAYLOAD_TOO_LARGE,
            bare_error(Id::Null, error.with("requestBytesMax", limit.to_string())),
        )
    };
    if announced.is_some_and(|length| length > limit) {
        drain(body, limit.saturating_mul(DRAIN_FACTOR)).await;
        return Err(too_large());
    }
    let mut body = Limited::new(body, limit);
    match (&mut body).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large()),
        Err(_) => Err(plain(StatusCode::BAD_REQUEST, "the request broke off\n")),
    }
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

fn is_upgrade(headers: &HeaderMap) -> bool {
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
fn host_is_allowed(config: &Config, headers: &HeaderMap, authority: Option<&str>) -> bool {
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

enum Origin {
    /// No page is behind the call.
    Absent,
    /// A page that may call.
    Allowed(HeaderValue),
    /// A page that may not.
    Refused,
}

/// A page may call when its origin is listed, or when it was served by this node itself.
fn origin(config: &Config, headers: &HeaderMap) -> Origin {
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

fn preflight(config: &Config, headers: &HeaderMap) -> Response<HttpBody> {
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

fn internal(error: &BoxError) -> Response<HttpBody> {
    tracing::error!(target: "rpc", %error, "the library failed");
    plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
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
