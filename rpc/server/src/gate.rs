//! What every call passes on its way in and out: the method's name, the caller's budget, the names of
//! the parameters, and the time limit. Entries of a batch pass one by one.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::{ErrorObjectOwned, Id, Request};
use serde_json::value::RawValue;
use vibecoin_rpc_api::registry::{self, Method};
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;
use vibecoin_rpc_api::{ApiError, Code};

use crate::config::Config;
use crate::envelope::{id_is_short, invalid_request};
use crate::metrics::MethodLabel;
use crate::params;
use crate::rate::{Exhausted, RateLimiter};
use crate::seats::{Limits, Seats};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Arc<Config>,
    pub(crate) limiter: Option<RateLimiter>,
    /// The connections of this listener.
    pub(crate) seats: Arc<Seats>,
    /// Whether `dev_*` methods exist.
    pub(crate) dev: bool,
    /// The methods of this listener.
    table: &'static [Method],
}

impl Rules {
    pub(crate) fn new(config: Arc<Config>, dev: bool) -> Self {
        let limiter = config.rate.map(RateLimiter::new);
        let seats = Seats::new(Limits::of(&config), Arc::clone(&config.metrics));
        Self {
            config,
            limiter,
            seats,
            dev,
            table: registry::METHODS,
        }
    }

    /// The rules of the admin listener.
    pub(crate) fn admin(config: Arc<Config>) -> Self {
        Self {
            table: registry::ADMIN_METHODS,
            ..Self::new(config, false)
        }
    }

    /// Whether this listener answers to the method.
    pub(crate) fn serves(&self, method: &str) -> bool {
        self.config.serves(method) && (self.dev || !method.starts_with("dev_"))
    }

    fn method(&self, name: &str) -> Result<&'static Method, ApiError> {
        registry::find_in(self.table, name)
            .filter(|method| self.serves(method.name))
            .ok_or_else(|| {
                let shown: String = name.chars().take(64).collect();
                ApiError::new(
                    Code::MethodNotFound,
                    format!("there is no method `{shown}`; see rpc_getMethods"),
                )
                .with("method", shown)
            })
    }

    /// Whether `peer` has a budget at all.
    pub(crate) fn limits(&self, peer: IpAddr) -> Option<&RateLimiter> {
        let exempt = self.config.rate_exempts_loopback && peer.to_canonical().is_loopback();
        self.limiter.as_ref().filter(|_| !exempt)
    }

    fn pay(&self, peer: IpAddr, cost: u32) -> Result<(), Refused> {
        let Some(limiter) = self.limits(peer) else {
            return Ok(());
        };
        limiter
            .take(peer, cost, Instant::now())
            .map_err(|Exhausted(wait)| Refused {
                error: ApiError::new(Code::RateLimited, "the budget of this address is used up").with(
                    "retryAfterMs",
                    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).to_string(),
                ),
                limited: Some(RateLimited { retry_after: wait }),
            })
    }

    fn time_limit(&self, method: &Method) -> Duration {
        if method.waits {
            self.longest_time_limit()
        } else {
            self.config.call_timeout
        }
    }

    /// The limit of a call that waits, and of a whole batch.
    fn longest_time_limit(&self) -> Duration {
        self.config
            .call_timeout
            .saturating_add(Duration::from_millis(TIMEOUT_MS_MAX))
    }
}

/// Marks an answer that says "too many": over HTTP its status becomes 429.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimited {
    pub(crate) retry_after: Duration,
}

struct Refused {
    error: ApiError,
    limited: Option<RateLimited>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, limited: None }
    }
}

/// The layer around the methods of one connection.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    pub(crate) rules: Arc<Rules>,
    pub(crate) peer: IpAddr,
    pub(crate) service: S,
}

impl<S> Gate<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Send + Sync,
{
    /// Runs one call for at most `most`, and counts it.
    async fn pass(&self, request: Request<'_>, most: Duration) -> MethodResponse {
        let (method, started) = (MethodLabel::of(&request.method), Instant::now());
        let response = self.run(request, most).await;
        let metrics = &self.rules.config.metrics;
        metrics.called(method, response.as_error_code(), started.elapsed());
        response
    }

    /// Runs one call for at most `most`, and never longer than its method may take.
    async fn run(&self, mut request: Request<'_>, most: Duration) -> MethodResponse {
        if !id_is_short(&request.id) {
            return refused_id();
        }
        if most.is_zero() {
            return timed_out(request.id, "the batch");
        }
        let method = match self.admit(&mut request) {
            Ok(method) => method,
            Err(Refused { error, limited }) => {
                let mut response = MethodResponse::error(request.id, ErrorObjectOwned::from(error));
                if let Some(limited) = limited {
                    response.extensions_mut().insert(limited);
                }
                return response;
            }
        };
        let id = request.id.clone().into_owned();
        let mut running = std::pin::pin!(self.service.call(request));
        // Most calls are done at the first look and need no timer.
        if let Poll::Ready(response) = poll_fn(|task| Poll::Ready(running.as_mut().poll(task))).await {
            return with_reason(response);
        }
        match tokio::time::timeout(self.rules.time_limit(method).min(most), running).await {
            Ok(response) => with_reason(response),
            Err(_) => timed_out(id, method.name),
        }
    }

    fn admit(&self, request: &mut Request<'_>) -> Result<&'static Method, Refused> {
        let method = self.rules.method(&request.method)?;
        self.rules.pay(self.peer, method.cost)?;
        let Some(sent) = request.params.as_ref().map(|params| params.get()) else {
            return Ok(method);
        };
        if sent == "null" {
            request.params = None;
        } else if let Cow::Owned(rewritten) = params::check(method, sent)? {
            let rewritten = RawValue::from_string(rewritten)
                .map_err(|error| ApiError::internal(format!("parameters could not be rewritten: {error}")))?;
            request.params = Some(Cow::Owned(rewritten));
        }
        Ok(method)
    }
}

fn timed_out(id: Id<'_>, what: &str) -> MethodResponse {
    let error = ApiError::new(Code::Timeout, format!("{what} took too long"));
    MethodResponse::error(id, ErrorObjectOwned::from(error))
}

/// An id that is too long is not sent back.
fn refused_id() -> MethodResponse {
    let error = invalid_request("the id is too long");
    MethodResponse::error(Id::Null, ErrorObjectOwned::from(error))
}

/// The generated code reports a parameter of a wrong type with a text as `data`; ours is an object.
fn with_reason(response: MethodResponse) -> MethodResponse {
    if response.as_error_code() != Some(Code::InvalidParams.number()) {
        return response;
    }
    let Ok(sent) = serde_json::from_str::<jsonrpsee::types::Response<'_, ()>>(response.as_ref()) else {
        return response;
    };
    let jsonrpsee::types::ResponsePayload::Error(object) = &sent.payload else {
        return response;
    };
    let Some(detail) = object
        .data()
        .and_then(|data| serde_json::from_str::<String>(data.get()).ok())
    else {
        return response;
    };
    let error = ApiError::invalid_params("invalid_params", detail);
    MethodResponse::error(sent.id.clone().into_owned(), ErrorObjectOwned::from(error))
        .with_extensions(response.extensions().clone())
}

impl<S> RpcServiceT for Gate<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let gate = self.clone();
        async move { gate.pass(request, Duration::MAX).await }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let gate = self.clone();
        async move {
            let bytes_max = usize::try_from(gate.rules.config.response_bytes_max).unwrap_or(usize::MAX);
            let mut answers = BatchResponseBuilder::new_with_limit(bytes_max);
            let (mut notified, mut all_limited) = (false, true);
            let (started, most) = (tokio::time::Instant::now(), gate.rules.longest_time_limit());
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(request)) => {
                        let left = most.saturating_sub(started.elapsed());
                        gate.pass(request, left).await
                    }
                    Ok(BatchEntry::Notification(_)) => {
                        notified = true;
                        continue;
                    }
                    Err(error) => {
                        let (_, id) = error.into_parts();
                        if id_is_short(&id) {
                            let error = invalid_request("the entry is no JSON-RPC 2.0 request");
                            MethodResponse::error(id, ErrorObjectOwned::from(error))
                        } else {
                            refused_id()
                        }
                    }
                };
                all_limited &= answer.extensions().get::<RateLimited>().is_some();
                if let Err(too_large) = answers.append(answer) {
                    return too_large;
                }
            }
            if answers.is_empty() {
                if notified {
                    return MethodResponse::notification();
                }
                let error = invalid_request("the batch is empty");
                return MethodResponse::error(Id::Null, ErrorObjectOwned::from(error));
            }
            let mut response = MethodResponse::from_batch(answers.finish());
            if !all_limited {
                response.extensions_mut().remove::<RateLimited>();
            }
            response
        }
    }

    fn notification<'a>(&self, _: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        // A notification has no answer, and no method of ours is useful without one: nothing is run.
        std::future::ready(MethodResponse::notification())
    }
}

/// An error before any method is known.
pub(crate) fn bare_error(id: Id<'_>, error: ApiError) -> String {
    MethodResponse::error(id, ErrorObjectOwned::from(error))
        .into_json()
        .get()
        .to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Takes every call and answers none.
    #[derive(Clone, Default)]
    struct Silent(Arc<AtomicUsize>);

    impl RpcServiceT for Silent {
        type MethodResponse = MethodResponse;
        type NotificationResponse = MethodResponse;
        type BatchResponse = MethodResponse;

        fn call<'a>(&self, _: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        }

        fn batch<'a>(&self, _: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
            std::future::pending()
        }

        fn notification<'a>(&self, _: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
            std::future::pending()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_ends_at_one_deadline_and_the_entries_behind_it_are_not_run() {
        let config = Config::default();
        let longest = config.call_timeout + Duration::from_millis(TIMEOUT_MS_MAX);
        let expected_runs = longest.as_millis().div_ceil(config.call_timeout.as_millis());
        let service = Silent::default();
        let gate = Gate {
            rules: Arc::new(Rules::new(Arc::new(config), false)),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            service: service.clone(),
        };
        let mut batch = Batch::new();
        for id in 0..50 {
            batch.push(Request::borrowed("chain_getHead", None, Id::Number(id)));
        }
        let started = tokio::time::Instant::now();
        let answer = gate.batch(batch).await;
        assert_eq!(
            started.elapsed().as_secs(),
            longest.as_secs(),
            "of the paused clock"
        );
        assert_eq!(service.0.load(Ordering::Relaxed) as u128, expected_runs);
        let answer: Vec<serde_json::Value> = serde_json::from_str(answer.as_ref()).unwrap();
        assert_eq!(answer.len(), 50);
        for (id, entry) in answer.iter().enumerate() {
            assert_eq!(entry["id"], id);
            assert_eq!(entry["error"]["code"], 1403, "{entry}");
        }
    }
}
