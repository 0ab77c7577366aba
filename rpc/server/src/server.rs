//! The listener: one port for JSON-RPC over HTTP and WebSocket, and for health.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use jsonrpsee::server::{ConnectionId, HttpBody, Methods, ServerHandle, stop_channel};
use jsonrpsee::types::Id;
use tokio::net::TcpListener;
use vibecoin_rpc_api::Code;
use vibecoin_rpc_backend::Backend;

use crate::access::AdminToken;
use crate::config::Config;
use crate::dispatch::Served;
use crate::gate::{Gate, Rules, bare_error, yield_often};
use crate::host::Origin;
use crate::http::{
    RPC_METHODS, answered, check_type, closing, closing_in_debt, is_upgrade, json, not_allowed, nothing,
    plain, preflight, share,
};
use crate::listener::{self, Answers, LocalAddress};
use crate::methods::{self, Rpc};
use crate::pages;
use crate::request::read_body;
use crate::seats::Seated;
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
        let (stop, handle) = stop_channel();
        let rules = Arc::new(Rules::new(Arc::new(config), backend.facts().params.dev, stop));
        let methods = methods::all(&Rpc::new(Arc::clone(&backend), Arc::clone(&rules)))
            .map_err(std::io::Error::other)?;
        Self::listen(listener, backend, rules, methods, None, handle)
    }

    /// Serves the operator's methods on `listener`, over HTTP alone, to callers that present the
    /// token.
    ///
    /// # Errors
    /// As [`RpcServer::start`].
    pub fn start_admin<B: Backend>(
        listener: TcpListener,
        backend: Arc<B>,
        config: Config,
        token: AdminToken,
    ) -> std::io::Result<Self> {
        let (stop, handle) = stop_channel();
        let rules = Arc::new(Rules::admin(Arc::new(config), stop));
        let methods = methods::admin(&Rpc::new(Arc::clone(&backend), Arc::clone(&rules)))
            .map_err(std::io::Error::other)?;
        Self::listen(listener, backend, rules, methods, Some(token), handle)
    }

    fn listen<B: Backend>(
        listener: TcpListener,
        backend: Arc<B>,
        rules: Arc<Rules>,
        methods: Methods,
        token: Option<AdminToken>,
        handle: ServerHandle,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            rules: Arc::clone(&rules),
            methods,
            token,
            backend,
        });
        tokio::spawn(listener::serve(listener, shared));
        Ok(Self {
            address,
            handle,
            #[cfg(test)]
            seats: Arc::clone(&rules.seats),
        })
    }

    /// The address at which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address at which programs of this machine reach it.
    #[must_use]
    pub fn endpoint(&self) -> SocketAddr {
        listener::reachable(self.address)
    }

    #[cfg(test)]
    pub(crate) fn seats(&self) -> &crate::seats::Seats {
        &self.seats
    }

    /// Stops taking connections and calls, lets running calls end, and returns when all have or when
    /// `grace` is over.
    pub async fn stop(self, grace: Duration) {
        // An error means that it has stopped already.
        let _ = self.handle.stop();
        let _ = tokio::time::timeout(grace, self.handle.stopped()).await;
    }
}

/// State shared by all connections.
struct Shared<B> {
    rules: Arc<Rules>,
    methods: Methods,
    /// The token that callers must present; set on the admin listener alone.
    token: Option<AdminToken>,
    backend: Arc<B>,
}

/// Units for an answer to a request that is not a call: health, the start of a session, a method, path, host,
/// origin or type of content that is not served.
const PAGE_COST: u32 = 1;

impl<B: Backend> Shared<B> {
    async fn route(&self, seated: &Arc<Seated>, id: u32, request: Request<Incoming>) -> Response<HttpBody> {
        let local = request.extensions().get::<LocalAddress>().map(|local| local.0);
        if !self.rules.hosts.allow(request.headers(), request.uri(), local) {
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
                let mut query = request.uri().query().unwrap_or_default().split('&');
                let verbose = query.any(|pair| pair.split('=').next() == Some("verbose"));
                pages::health(self.backend.as_ref(), path, verbose)
            }
            (_, "/livez" | "/readyz" | "/health") => not_allowed("GET, HEAD", "GET says how the node is\n"),
            (&Method::GET, "/") if upgrade => match self.rules.origins.of(request.headers()) {
                Origin::Refused => plain(StatusCode::FORBIDDEN, "this origin may not connect\n"),
                Origin::Absent | Origin::Allowed(_) => connection.websocket(request),
            },
            (&Method::OPTIONS, "/") => preflight(self.rules.origins.of(request.headers())),
            (&Method::POST, "/") => connection.post(request).await,
            (_, "/") => not_allowed(
                RPC_METHODS,
                "POST / for JSON-RPC, GET / with upgrade for WebSocket\n",
            ),
            _ => plain(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }
}

impl<B: Backend> Answers for Shared<B> {
    fn rules(&self) -> &Rules {
        &self.rules
    }

    async fn answer(&self, seated: &Arc<Seated>, id: u32, request: Request<Incoming>) -> Response<HttpBody> {
        // Requests may come one after the other in a row, without a wait.
        yield_often().await;
        let is_post = request.method() == Method::POST;
        let answer = self.route(seated, id, request).await;
        if self.token.is_some() {
            return answer;
        }
        // Calls pay for their bytes and their methods; other requests pay here, and so does the start of a
        // session.
        let is_call = is_post
            && (answer.status().is_success()
                || [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status()));
        if !is_call {
            self.rules.charge(seated.caller(), PAGE_COST);
        }
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return answer;
        }
        // Health is answered in any case: a caller that asks without a pause, or continues with calls while
        // it owes for many, loses its connection, and gets no other until it owes less.
        closing_in_debt(&self.rules, seated.peer, answer)
    }

    fn refuse(&self, peer: IpAddr) -> Option<String> {
        // The operator is answered regardless of earlier use of the token.
        if self.token.is_some() {
            return None;
        }
        self.rules.refuse_connection(peer)
    }
}

/// One connection, during a request.
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
            let answer = json(status, bare_error(Id::Null, error));
            return if self.shared.rules.charge_unauthenticated(self.seated.peer) {
                closing(answer)
            } else {
                answer
            };
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/") => self.post(request).await,
            (_, "/") => not_allowed("POST", "POST / for JSON-RPC\n"),
            _ => plain(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }

    async fn post(&self, request: Request<Incoming>) -> Response<HttpBody> {
        let rules = &self.shared.rules;
        let allowed = match rules.origins.of(request.headers()) {
            Origin::Refused => return plain(StatusCode::FORBIDDEN, "this origin may not call\n"),
            Origin::Absent => None,
            Origin::Allowed(origin) => Some(origin),
        };
        let mut response = self.answer(request).await;
        if let Some(origin) = allowed {
            share(&mut response, origin);
        }
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<HttpBody> {
        let rules = &self.shared.rules;
        let config = &rules.config;
        let (parts, body) = request.into_parts();
        let limit = usize::try_from(config.request_bytes_max).unwrap_or(usize::MAX);
        let time_max = config.body_timeout.min(config.call_timeout);
        let read = read_body(rules, self.seated, body, limit, time_max).await;
        // Read before it is refused: a caller that is still writing would find a broken connection instead
        // of the answer.
        let read = read.and_then(|read| check_type(&parts.headers).map(|()| read));
        let (body, _held) = match read {
            Ok(read) => read,
            Err(response) => return *response,
        };
        let gate = Gate {
            rules: Arc::clone(rules),
            seated: Arc::clone(self.seated),
            calls: Served {
                rules: Arc::clone(rules),
                methods: self.shared.methods.clone(),
                id: ConnectionId::from(self.id),
                response_bytes_max: usize::try_from(config.response_bytes_max).unwrap_or(usize::MAX),
                subscribing: None,
            },
        };
        gate.answer(body, None).await.map_or_else(nothing, answered)
    }

    /// Begins a session, if one more is allowed.
    fn websocket(&self, mut request: Request<Incoming>) -> Response<HttpBody> {
        let answer = match websocket::handshake(&request) {
            Ok(answer) => answer,
            Err(refused) => return *refused,
        };
        if !self.seated.upgrade() {
            self.shared.rules.config.metrics.turned_away.inc();
            return plain(StatusCode::TOO_MANY_REQUESTS, "too many sessions\n");
        }
        let session = Session {
            rules: Arc::clone(&self.shared.rules),
            methods: self.shared.methods.clone(),
            seated: Arc::clone(self.seated),
            id: self.id,
        };
        tokio::spawn(session.run(hyper::upgrade::on(&mut request)));
        answer
    }
}
