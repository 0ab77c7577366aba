//! `GET /metrics`, on a separate listener.
//!
//! Each request costs a unit of a budget per address, and the page a unit per KiB: a caller that asks without a pause
//! loses its connection and gets no other while it owes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use jsonrpsee::server::{HttpBody, ServerHandle, stop_channel};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::gate::{Rules, yield_often};
use crate::http::{closing_in_debt, not_allowed, plain, with_type};
use crate::listener::{self, Answers, LocalAddress};
use crate::seats::Seated;

/// Content type of the answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Maximum number of connections. Scrapers need one; the rest is capacity for a burst of
/// unauthenticated peers.
const CONNECTIONS_MAX: u32 = 64;
/// Maximum age of a cached page. Rendering takes 0.2 ms, and scrapers ask once in some seconds.
const PAGE_AGE_MAX: Duration = Duration::from_millis(100);

/// The answer to a request for a host that is not this node.
const FOREIGN_HOST: &str = "the Host header names no host that this node answers for, see rpc.hosts\n";

/// Makes the text of a scrape. Called on a thread that may block for a moment.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The listener. Dropping it stops it.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl MetricsServer {
    /// Serves until it is stopped, with the deadlines and the hosts of `common`.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(listener: TcpListener, common: &Config, render: Render) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, handle) = stop_channel();
        let config = Config {
            connections_max: CONNECTIONS_MAX.min(common.connections_max),
            websockets_max: 0,
            ..common.clone()
        };
        let rules = Rules::new(Arc::new(config), false, stop);
        let scraper = Arc::new(Scraper {
            rules,
            render,
            page: Arc::default(),
        });
        tokio::spawn(listener::serve(listener, scraper));
        Ok(Self { address, handle })
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

    /// Takes no more connections.
    pub fn stop(self) {
        // An error means that it has stopped already.
        let _ = self.handle.stop();
    }
}

/// Answers scrapes.
struct Scraper {
    rules: Rules,
    render: Render,
    page: Arc<Mutex<Page>>,
}

/// The newest page and when it was rendered.
#[derive(Default)]
struct Page(Option<(Instant, Bytes)>);

impl Page {
    /// Returns the page, rendered again if it is too old.
    fn at(&mut self, now: Instant, render: &Render) -> Bytes {
        if let Some((rendered, text)) = &self.0
            && now.saturating_duration_since(*rendered) < PAGE_AGE_MAX
        {
            return text.clone();
        }
        let text = Bytes::from(render());
        self.0 = Some((now, text.clone()));
        text
    }
}

impl Answers for Scraper {
    fn rules(&self) -> &Rules {
        &self.rules
    }

    async fn answer(&self, seated: &Arc<Seated>, _: u32, request: Request<Incoming>) -> Response<HttpBody> {
        yield_often().await;
        let answer = self.page(request).await;
        let bytes = usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX);
        self.rules.charge_page(seated.caller(), bytes);
        closing_in_debt(&self.rules, seated.peer, answer)
    }
}

impl Scraper {
    async fn page(&self, request: Request<Incoming>) -> Response<HttpBody> {
        let local = request.extensions().get::<LocalAddress>().map(|local| local.0);
        // A page whose name was rebound to this machine would read the metrics, too.
        if !self.rules.hosts.allow(request.headers(), request.uri(), local) {
            return plain(StatusCode::FORBIDDEN, FOREIGN_HOST);
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => {
                // The thread keeps the lock, so that abandoned requests do not render side by side.
                let mut page = Arc::clone(&self.page).lock_owned().await;
                let render = Arc::clone(&self.render);
                match tokio::task::spawn_blocking(move || page.at(Instant::now(), &render)).await {
                    Ok(text) => with_type(StatusCode::OK, HttpBody::new(Full::new(text)), CONTENT_TYPE),
                    Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"),
                }
            }
            (_, "/metrics") => not_allowed("GET, HEAD", "GET /metrics\n"),
            _ => plain(StatusCode::NOT_FOUND, "figures are at /metrics\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn requests_within_the_age_of_a_page_share_it_and_a_later_one_renders_anew() {
        let rendered = Arc::new(AtomicUsize::new(0));
        let render: Render = {
            let rendered = Arc::clone(&rendered);
            Arc::new(move || rendered.fetch_add(1, Ordering::Relaxed).to_string())
        };
        let (mut page, start) = (Page::default(), Instant::now());
        let ms = Duration::from_millis;
        for (age, text) in [
            (ms(0), "0"),
            (ms(99), "0"),
            (ms(100), "1"),
            (ms(199), "1"),
            (ms(5_000), "2"),
        ] {
            let shown = start.checked_add(age).map(|now| page.at(now, &render));
            assert_eq!(shown.as_deref(), Some(text.as_bytes()), "after {age:?}");
        }
        assert_eq!(rendered.load(Ordering::Relaxed), 3);
    }
}
