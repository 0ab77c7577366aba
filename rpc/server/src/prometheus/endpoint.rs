//! `GET /metrics`, on a listener of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::server::{HttpBody, ServerHandle, stop_channel};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::server::{plain, with_type};

/// How the answer is written.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections at once; scrapers need one.
const CONNECTIONS_MAX: usize = 16;
/// Longest time of a request, and of a connection without one.
const IDLE: Duration = Duration::from_secs(60);

/// Makes the text of a scrape. Called on a thread that may block for a moment.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The listener. Dropping it stops it.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl MetricsServer {
    /// Serves until it is stopped.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, render: Render) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, handle) = stop_channel();
        tokio::spawn(async move {
            let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            let mut stopped = std::pin::pin!(stop.shutdown());
            loop {
                let accepted = tokio::select! {
                    () = &mut stopped => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else {
                    // Out of file descriptors, most likely: wait for some to come back.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                // Without a seat the connection is closed: a scraper comes again.
                if let Ok(seat) = Arc::clone(&seats).try_acquire_owned() {
                    let render = Arc::clone(&render);
                    tokio::spawn(async move {
                        serve(stream, render).await;
                        drop(seat);
                    });
                }
            }
        });
        Ok(Self { address, handle })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections.
    pub fn stop(self) {
        // An error says that it has stopped already.
        let _ = self.handle.stop();
    }
}

async fn serve(stream: TcpStream, render: Render) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let render = Arc::clone(&render);
        async move { Ok::<_, Infallible>(answer(&request, render).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(16 * 1024);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // A scraper that holds a connection without reading gives up its seat.
    let _ended = tokio::time::timeout(IDLE.saturating_mul(10), connection).await;
}

async fn answer(request: &Request<Incoming>, render: Render) -> Response<HttpBody> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            match tokio::task::spawn_blocking(move || render()).await {
                Ok(text) => with_type(StatusCode::OK, HttpBody::from(text), CONTENT_TYPE),
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"),
            }
        }
        (_, "/metrics") => {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET /metrics\n");
            let allow = header::HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(header::ALLOW, allow);
            refused
        }
        _ => plain(StatusCode::NOT_FOUND, "figures are at /metrics\n"),
    }
}
