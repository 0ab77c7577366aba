//! The listener: one port for JSON-RPC over HTTP and WebSocket, and for health.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::http::{call_with_service_builder, is_json};
use jsonrpsee::server::{
    BatchRequestConfig, ConnectionState, HttpBody, Methods, ServerConfig, ServerHandle, StopHandle,
    stop_channel,
};
use jsonrpsee::types::Id;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use vibecoin_rpc_api::Code;

use crate::access::AdminToken;
use crate::backend::Backend;
use crate::config::Config;
use crate::envelope;
use crate::gate::{Gate, RateLimited, Rules, bare_error};
use crate::listener::{self, Answers};
use crate::methods::{self, Rpc};
use crate::pages;
use crate::request::{Origin, host_is_allowed, is_upgrade, json, origin, plain, preflight, read_body};
use crate::seats::{Phase, Seated};
use crate::websocket::{self, Session};

/// A server that runs. Dropping it stops the server.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    handle: ServerHandle,
    #[cfg(test)]
    seats: Arc<crate::seats::Seats>,
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
            library: library_config(&config),
            rules: Arc::clone(&rules),
            methods,
            token,
            stop: stop.clone(),
            requests: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            backend,
        });
        tokio::spawn(listener::serve(listener, Arc::clone(&rules.seats), shared, stop));
        Ok(Self {
            address,
            handle,
            #[cfg(test)]
            seats: Arc::clone(&rules.seats),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[cfg(test)]
    pub(crate) fn seats(&self) -> &crate::seats::Seats {
        &self.seats
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
    stop: StopHandle,
    /// The library wants a permit per request; the seats of connections are the bound that counts.
    requests: Arc<Semaphore>,
    backend: Arc<B>,
}

fn library_config(config: &Config) -> ServerConfig {
    ServerConfig::builder()
        .max_request_body_size(config.request_bytes_max)
        .max_response_body_size(config.response_bytes_max)
        // Connections are counted where they are accepted; the library counts requests.
        .max_connections(u32::MAX >> 3)
        .set_batch_request_config(BatchRequestConfig::Limit(config.batch_entries_max))
        .build()
}

impl<B: Backend> Answers for Shared<B> {
    async fn answer(&self, seated: &Arc<Seated>, id: u32, request: Request<Incoming>) -> Response<HttpBody> {
        let config = &self.rules.config;
        if !host_is_allowed(config, request.headers(), request.uri().host()) {
            return plain(
                StatusCode::FORBIDDEN,
                "the Host header names no host that this node answers for\n",
            );
        }
        let connection = Connection {
            shared: self,
            seated,
            id,
        };
        if let Some(token) = &self.token {
            return connection.operator(request, token).await;
        }
        let upgrade = is_upgrade(request.headers());
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::GET | &Method::HEAD, "/livez" | "/readyz" | "/health") => {
                let verbose = request
                    .uri()
                    .query()
                    .is_some_and(|query| query.contains("verbose"));
                pages::health(self.backend.as_ref(), path, verbose)
            }
            (&Method::GET, "/") if upgrade => match origin(config, request.headers()) {
                Origin::Refused => plain(StatusCode::FORBIDDEN, "this origin may not connect\n"),
                Origin::Absent | Origin::Allowed(_) => connection.websocket(request),
            },
            (&Method::OPTIONS, "/") => preflight(config, request.headers()),
            (&Method::POST, "/") => connection.post(request).await,
            (_, "/" | "/livez" | "/readyz" | "/health") => plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "POST / for JSON-RPC, GET / with upgrade for WebSocket\n",
            ),
            _ => plain(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }

    fn turned_away(&self) {
        self.rules.config.metrics.turned_away.inc();
    }
}

/// One connection, while it asks.
struct Connection<'s, B> {
    shared: &'s Shared<B>,
    seated: &'s Arc<Seated>,
    id: u32,
}

impl<B: Backend> Connection<'_, B> {
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
        let time_max = config.body_timeout.min(config.call_timeout);
        let read = read_body(self.seated, body, &parts.headers, limit, time_max).await;
        let (body, _held) = match read {
            Ok(read) => read,
            Err(response) => return *response,
        };
        self.seated.enter(Phase::Work);
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

    /// Begins a session, if there may be one more.
    fn websocket(&self, mut request: Request<Incoming>) -> Response<HttpBody> {
        let answer = match websocket::handshake(&request) {
            Ok(answer) => answer,
            Err(refused) => return *refused,
        };
        if !self.seated.upgrade() {
            self.shared.turned_away();
            return plain(StatusCode::TOO_MANY_REQUESTS, "too many sessions\n");
        }
        let session = Session {
            rules: Arc::clone(&self.shared.rules),
            methods: self.shared.methods.clone(),
            seated: Arc::clone(self.seated),
            id: self.id,
            stop: self.shared.stop.clone(),
        };
        tokio::spawn(session.run(hyper::upgrade::on(&mut request)));
        answer
    }

    fn gate(&self) -> GateLayer {
        GateLayer {
            rules: Arc::clone(&self.shared.rules),
            peer: self.seated.peer,
        }
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
