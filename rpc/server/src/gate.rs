//! What every call passes on its way in and out: the method's name, the caller's budget, the names of
//! the parameters, and the time limit. Entries of a batch pass one by one.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use jsonrpsee::server::{BatchResponseBuilder, MethodResponse, StopHandle};
use jsonrpsee::types::error::{
    INVALID_REQUEST_CODE, OVERSIZED_REQUEST_CODE, OVERSIZED_RESPONSE_CODE, TOO_BIG_BATCH_RESPONSE_CODE,
    TOO_MANY_SUBSCRIPTIONS_CODE,
};
use jsonrpsee::types::{ErrorObjectOwned, Id, Request};
use serde_json::value::RawValue;
use vibecoin_rpc_api::registry::{self, Method};
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;
use vibecoin_rpc_api::{ApiError, Code};

use crate::backend::{BackendError, Caller};
use crate::building::BUILT_AT_ONCE_MAX;
use crate::config::Config;
use crate::envelope::{self, Entry, Message};
use crate::host::{Hosts, Origins};
use crate::listener::DISCARDED_BYTES_MAX;
use crate::metrics::MethodLabel;
use crate::params;
use crate::rate::{Exhausted, RateLimiter};
use crate::seats::{InLine, Limits, Seat, Seated, Seats, TooManyWait, Waiting};
use crate::settling::Settling;
use crate::values;
use crate::work::{Work, in_long_steps};

/// Bytes of an answer that a unit of the caller's budget pays for.
const ANSWER_BYTES_PER_UNIT: usize = 1024;
/// Bytes of a message that a unit covers; those of the first unit are free.
const REQUEST_BYTES_PER_UNIT: usize = 4096;
/// Units for what is answered without a call: a notification, an entry that is none, a method that there is not.
const REFUSED_COST: u32 = 1;
/// Most bytes of a message that is read on a thread that serves all connections: a tenth of a millisecond.
const READ_HERE_BYTES_MAX: usize = 64 * 1024;
/// Larger messages that are read at the same time: one leaves a core to the calls of others.
const READ_AT_ONCE_MAX: usize = 1;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Arc<Config>,
    pub(crate) limiter: Option<RateLimiter>,
    /// Turns to build answers that can be large.
    pub(crate) building: Work,
    /// Turns to read messages that are large.
    reading: Work,
    /// Transactions that calls wait for.
    pub(crate) settling: Settling,
    /// The connections of this listener.
    pub(crate) seats: Arc<Seats>,
    pub(crate) hosts: Hosts,
    pub(crate) origins: Origins,
    /// Whether `dev_*` methods exist.
    pub(crate) dev: bool,
    /// Says when the server stops.
    pub(crate) stop: StopHandle,
    /// The methods of this listener.
    table: &'static [Method],
}

impl Rules {
    pub(crate) fn new(config: Arc<Config>, dev: bool, stop: StopHandle) -> Self {
        let limiter = config.rate.map(RateLimiter::new);
        let seats = Seats::new(Limits::of(&config), Arc::clone(&config.metrics));
        Self {
            hosts: Hosts::new(&config),
            origins: Origins::new(&config),
            building: Work::new(BUILT_AT_ONCE_MAX),
            reading: Work::new(READ_AT_ONCE_MAX),
            settling: Settling::default(),
            config,
            limiter,
            seats,
            dev,
            stop,
            table: registry::METHODS,
        }
    }

    /// The rules of the admin listener.
    pub(crate) fn admin(config: Arc<Config>, stop: StopHandle) -> Self {
        Self {
            table: registry::ADMIN_METHODS,
            ..Self::new(config, false, stop)
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

    /// Charges for the bytes of an answer what the price of its method does not cover: a unit covers 1 KiB.
    pub(crate) fn charge_answer(&self, caller: Caller, method: &Method, bytes: usize) {
        let units = u32::try_from(bytes / ANSWER_BYTES_PER_UNIT).unwrap_or(u32::MAX);
        self.charge(caller, units.saturating_sub(method.cost));
    }

    /// Takes the price of `bytes` of a message, less what is `paid` for it: the budget is asked before a large message is
    /// read.
    pub(crate) fn pay_message(&self, caller: Caller, paid: &mut Paid, bytes: usize) -> Result<(), Refused> {
        let units = message_units(bytes);
        let missing = units.saturating_sub(paid.0);
        if let Some(address) = caller.address.filter(|_| missing > 0) {
            self.pay(address, missing)?;
            paid.0 = units;
        }
        Ok(())
    }

    /// Charges for bytes that were read and discarded. Refusing costs a unit in any case: a caller that goes on after it
    /// has been refused goes deeper into debt.
    pub(crate) fn charge_discarded(&self, caller: Caller, bytes: usize) {
        self.charge(caller, message_units(bytes).saturating_add(1));
    }

    /// Returns how many bytes are read and discarded, so that the caller can read its answer.
    pub(crate) fn discards_max(&self, peer: IpAddr) -> usize {
        match self.deep_debt(peer) {
            Some(_) => 0,
            None => DISCARDED_BYTES_MAX,
        }
    }

    /// Returns the answer to a connection of a caller that is deep in debt, and charges for it.
    pub(crate) fn refuse_connection(&self, peer: IpAddr) -> Option<Refused> {
        let wait = self.deep_debt(peer)?;
        self.limits(peer)?.charge(peer, 1, Instant::now());
        Some(Refused::for_debt(wait))
    }

    fn deep_debt(&self, peer: IpAddr) -> Option<Exhausted> {
        self.limits(peer)?.deep_debt(peer, Instant::now())
    }

    /// Charges for what showed only after a call was admitted.
    pub(crate) fn charge(&self, caller: Caller, units: u32) {
        if let Some(address) = caller.address.filter(|_| units > 0)
            && let Some(limiter) = self.limits(address)
        {
            limiter.charge(address, units, Instant::now());
        }
    }

    /// Refuses a caller that owes for what it was charged afterwards.
    pub(crate) fn solvent(&self, caller: Caller) -> Result<(), Refused> {
        caller.address.map_or(Ok(()), |address| self.pay(address, 0))
    }

    fn pay(&self, peer: IpAddr, cost: u32) -> Result<(), Refused> {
        let Some(limiter) = self.limits(peer) else {
            return Ok(());
        };
        limiter
            .take(peer, cost, Instant::now())
            .map_err(Refused::for_debt)
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

/// Units that are paid for the bytes of one message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paid(u32);

fn message_units(bytes: usize) -> u32 {
    u32::try_from(bytes / REQUEST_BYTES_PER_UNIT).unwrap_or(u32::MAX)
}

/// Marks an answer that says "too many": over HTTP its status becomes 429.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimited {
    retry_after: Duration,
}

impl RateLimited {
    /// The value of `Retry-After`.
    pub(crate) const fn retry_after_seconds(self) -> u64 {
        self.retry_after.as_secs().saturating_add(1)
    }
}

/// Why a call is not run.
#[derive(Debug)]
pub(crate) struct Refused {
    error: ApiError,
    limited: Option<RateLimited>,
}

impl Refused {
    fn for_debt(Exhausted(wait): Exhausted) -> Self {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let error = ApiError::new(Code::RateLimited, "the budget of this address is used up");
        Self {
            error: error.with("retryAfterMs", ms.to_string()),
            limited: Some(RateLimited { retry_after: wait }),
        }
    }

    /// The answer to a connection of which nothing is read, as HTTP.
    pub(crate) fn before_a_seat(self) -> String {
        let seconds = self.limited.map_or(1, RateLimited::retry_after_seconds);
        let body = bare_error(Id::Null, self.error);
        format!(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}\r\nconnection: close\r\n\
             content-type: application/json; charset=utf-8\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The answer to the call.
    pub(crate) fn answer(self, id: Id<'_>) -> MethodResponse {
        let mut response = refused(id, self.error);
        if let Some(limited) = self.limited {
            response.extensions_mut().insert(limited);
        }
        response
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, limited: None }
    }
}

/// The methods behind the gate.
pub(crate) trait Calls: Sync {
    /// Runs a call that has been admitted.
    fn run(&self, request: Request<'_>) -> impl Future<Output = MethodResponse> + Send;
}

/// What every message of a connection passes, whatever the transport.
pub(crate) struct Gate<C> {
    pub(crate) rules: Arc<Rules>,
    pub(crate) seated: Arc<Seated>,
    pub(crate) calls: C,
}

tokio::task_local! {
    /// The connection of the call in work. The library hands methods their parameters alone.
    static CALLER: Arc<Seated>;
}

/// Whose share the call in work uses; the node's own for a task that serves no connection.
pub(crate) fn caller() -> Caller {
    CALLER.try_with(|caller| caller.caller()).unwrap_or(Caller::NODE)
}

/// The connection of the call in work; `None` for a task that serves no connection.
pub(crate) fn seated() -> Option<Arc<Seated>> {
    CALLER.try_with(Arc::clone).ok()
}

/// Runs a call in another task than the one that serves its connection.
pub(crate) async fn on_behalf_of<T>(seated: Option<Arc<Seated>>, call: impl Future<Output = T>) -> T {
    match seated {
        Some(seated) => CALLER.scope(seated, call).await,
        None => call.await,
    }
}

/// Marks the call in work as one that waits for a block, until the result is dropped. A task that serves no
/// connection has no seat to bound.
pub(crate) fn wait_for_block() -> Result<Option<Waiting>, ApiError> {
    let waiting = CALLER.try_with(|caller| caller.wait()).ok().transpose();
    waiting.map_err(|too_many| {
        refuse_wait(
            too_many,
            "wait for a block already; a WebSocket session may wait",
            "waiting",
        )
    })
}

/// Marks the call in work as one that waits for its turn, until the result is dropped.
pub(crate) fn line_up() -> Result<Option<InLine>, ApiError> {
    let in_line = CALLER.try_with(|caller| caller.line_up()).ok().transpose();
    in_line.map_err(|too_many| refuse_wait(too_many, "wait for their turn already", "turns"))
}

fn refuse_wait(too_many: TooManyWait, what: &str, queue: &str) -> ApiError {
    let (of, limit) = match too_many {
        TooManyWait::OfAddress(limit) => ("of this address ", limit),
        TooManyWait::OfAll(limit) => ("", limit),
    };
    ApiError::new(Code::RateLimited, format!("{limit} calls {of}{what}"))
        .with("queue", queue)
        .with("limit", limit.to_string())
}

/// Calls of one connection run one after the other, so that one answer at a time can be large. Those that
/// wait for a block have small answers and run beside them.
pub(crate) struct Lane {
    pub(crate) seat: Arc<Seat>,
    /// Answers that wait to be sent before the next call runs, bytes.
    pub(crate) queued_max: usize,
    pub(crate) running: tokio::sync::Mutex<()>,
}

impl Lane {
    async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = self.running.lock().await;
        self.seat.room(self.queued_max).await;
        turn
    }
}

impl<C: Calls> Gate<C> {
    /// Answers a message whose bytes are paid for; `None` when it asks for no answer. HTTP has no lane: its requests come
    /// one by one.
    pub(crate) async fn answer(&self, message: &[u8], lane: Option<&Lane>) -> Option<MethodResponse> {
        if message.len() <= READ_HERE_BYTES_MAX {
            return self.read_and_answer(message, lane).await;
        }
        // Five megabytes are parsed in some passes of 5 to 20 ms each, which no other connection has to wait for.
        let turn = self.rules.reading.acquire(self.seated.caller());
        let turn = CALLER.scope(Arc::clone(&self.seated), turn);
        let mut turn = match tokio::time::timeout(self.rules.config.call_timeout, turn).await {
            Ok(Ok(turn)) => Some(turn),
            Ok(Err(error)) => return Some(refused(Id::Null, error)),
            Err(_) => return Some(timed_out(Id::Null, "the message")),
        };
        let mut answering = std::pin::pin!(self.read_and_answer(message, lane));
        in_long_steps(poll_fn(|task| {
            let step = answering.as_mut().poll(task);
            // The first step reads the message and, most often, the parameters. What waits keeps no turn.
            drop(turn.take());
            step
        }))
        .await
    }

    async fn read_and_answer(&self, message: &[u8], lane: Option<&Lane>) -> Option<MethodResponse> {
        match envelope::read(message, self.rules.config.batch_entries_max) {
            Message::One(Entry::Call(request)) => {
                let waits = self
                    .rules
                    .method(&request.method)
                    .is_ok_and(|method| method.waits);
                let _turn = match lane.filter(|_| !waits) {
                    Some(lane) => Some(lane.turn().await),
                    None => None,
                };
                Some(self.pass(request, Duration::MAX).await)
            }
            // No method of ours is useful without an answer: nothing is run.
            Message::One(Entry::Notification) => {
                self.rules.charge(self.seated.caller(), REFUSED_COST);
                None
            }
            Message::One(Entry::Refused(id, error)) => Some(self.refuse(id, *error)),
            Message::Batch(entries) => {
                let _turn = match lane {
                    Some(lane) => Some(lane.turn().await),
                    None => None,
                };
                self.batch(entries).await
            }
            Message::TooMany { error, entries } => {
                // Counting them took about as long as the cheapest calls do.
                self.rules.charge(self.seated.caller(), entries);
                Some(refused(Id::Null, *error))
            }
            // A larger one has been paid for by its bytes.
            Message::Refused(error) if message.len() >= REQUEST_BYTES_PER_UNIT => {
                Some(refused(Id::Null, *error))
            }
            Message::Refused(error) => Some(self.refuse(Id::Null, *error)),
        }
    }

    /// Refuses what is no call, for the price of one.
    fn refuse(&self, id: Id<'_>, error: ApiError) -> MethodResponse {
        match self.rules.pay(self.seated.peer, REFUSED_COST) {
            Ok(()) => refused(id, error),
            Err(why) => why.answer(id),
        }
    }

    async fn batch(&self, entries: Vec<Entry<'_>>) -> Option<MethodResponse> {
        let bytes_max = usize::try_from(self.rules.config.response_bytes_max).unwrap_or(usize::MAX);
        let mut answers = BatchResponseBuilder::new_with_limit(bytes_max);
        let mut all_limited = true;
        // Entries that are answered wait for the others in memory.
        let mut held = self.seated.hold(0);
        let (started, most) = (tokio::time::Instant::now(), self.rules.longest_time_limit());
        for entry in entries {
            let answer = match entry {
                Entry::Call(request) => {
                    let left = most.saturating_sub(started.elapsed());
                    self.pass(request, left).await
                }
                Entry::Notification => {
                    self.rules.charge(self.seated.caller(), REFUSED_COST);
                    continue;
                }
                Entry::Refused(id, error) => self.refuse(id, *error),
            };
            all_limited &= answer.extensions().get::<RateLimited>().is_some();
            self.seated.grow(&mut held, answer.as_ref().len());
            if let Err(too_large) = answers.append(answer) {
                return Some(with_reason(too_large, None));
            }
        }
        if answers.is_empty() {
            return None;
        }
        let mut response = MethodResponse::from_batch(answers.finish());
        if !all_limited {
            response.extensions_mut().remove::<RateLimited>();
        }
        Some(response)
    }

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
        if most.is_zero() {
            return timed_out(request.id, "the batch");
        }
        let method = match self.admit(&mut request) {
            Ok(method) => method,
            Err(why) => return why.answer(request.id),
        };
        let id = request.id.clone().into_owned();
        let calls = CALLER.scope(Arc::clone(&self.seated), self.calls.run(request));
        let mut running = std::pin::pin!(calls);
        // Most calls are done at the first look and need no timer.
        if let Poll::Ready(response) = poll_fn(|task| Poll::Ready(running.as_mut().poll(task))).await {
            return with_reason(response, Some(method));
        }
        let limited = tokio::time::timeout(self.rules.time_limit(method).min(most), running);
        if !method.waits {
            return limited.await.map_or_else(
                |_| timed_out(id, method.name),
                |done| with_reason(done, Some(method)),
            );
        }
        // Waiting for a block must not hold up the end of the server.
        tokio::select! {
            waited = limited => {
                waited.map_or_else(|_| timed_out(id, method.name), |done| with_reason(done, Some(method)))
            }
            () = self.rules.stop.clone().shutdown() => refused(id, BackendError::ShuttingDown.into()),
        }
    }

    fn admit(&self, request: &mut Request<'_>) -> Result<&'static Method, Refused> {
        let method = self.rules.method(&request.method);
        let cost = method.as_ref().map_or(REFUSED_COST, |method| method.cost);
        self.rules.pay(self.seated.peer, cost)?;
        let method = method?;
        let sent = request.params.as_ref().map(|params| params.get());
        let Some(sent) = sent.filter(|sent| *sent != "null") else {
            request.params = None;
            params::check_absent(method)?;
            return Ok(method);
        };
        let checked = params::check(method, sent)?;
        values::check(method, &checked)?;
        if let Cow::Owned(rewritten) = checked {
            let rewritten = RawValue::from_string(rewritten)
                .map_err(|error| ApiError::internal(format!("parameters could not be rewritten: {error}")))?;
            request.params = Some(Cow::Owned(rewritten));
        }
        Ok(method)
    }
}

fn timed_out(id: Id<'_>, what: &str) -> MethodResponse {
    refused(id, ApiError::new(Code::Timeout, format!("{what} took too long")))
}

fn refused(id: Id<'_>, error: ApiError) -> MethodResponse {
    MethodResponse::error(id, ErrorObjectOwned::from(error))
}

/// Gives an error of the library the form of ours: `data` is an object with a reason.
fn with_reason(response: MethodResponse, method: Option<&Method>) -> MethodResponse {
    // Our own codes are positive.
    if response.as_error_code().is_none_or(|code| code > 0) {
        return response;
    }
    let Ok(sent) = serde_json::from_str::<jsonrpsee::types::Response<'_, ()>>(response.as_ref()) else {
        return response;
    };
    let jsonrpsee::types::ResponsePayload::Error(object) = &sent.payload else {
        return response;
    };
    let mut error = ApiError::from(&object.clone().into_owned());
    if !error.data.reason.is_empty() {
        return response;
    }
    error.data.reason = library_reason(error.code).to_owned();
    error.data.retryable = error.code == TOO_MANY_SUBSCRIPTIONS_CODE;
    if error.code == Code::InvalidParams.number()
        && let Some(serde_json::Value::String(detail)) = error.data.facts.remove("detail")
    {
        error.message = values::plain(&detail);
        if let Some(param) = method.and_then(values::nested) {
            error = error.with("parameter", param);
        }
    }
    error.data.facts.retain(|_, fact| !fact.is_null());
    refused(sent.id.clone().into_owned(), error).with_extensions(response.extensions().clone())
}

/// The reason of a code that the library uses.
fn library_reason(code: i32) -> &'static str {
    let own = Code::ALL.iter().find(|own| own.number() == code);
    match code {
        INVALID_REQUEST_CODE => "invalid_request",
        OVERSIZED_REQUEST_CODE => "request_too_large",
        OVERSIZED_RESPONSE_CODE => "response_too_large",
        TOO_BIG_BATCH_RESPONSE_CODE => "batch_response_too_large",
        TOO_MANY_SUBSCRIPTIONS_CODE => "too_many_subscriptions",
        _ => own.map_or("internal", |own| own.reason()),
    }
}

/// An error before any method is known.
pub(crate) fn bare_error(id: Id<'_>, error: ApiError) -> String {
    refused(id, error).into_json().get().to_owned()
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

    impl Calls for Silent {
        async fn run(&self, _: Request<'_>) -> MethodResponse {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_ends_at_one_deadline_and_the_entries_behind_it_are_not_run() {
        let config = Config::default();
        let longest = config.call_timeout + Duration::from_millis(TIMEOUT_MS_MAX);
        let expected_runs = longest.as_millis().div_ceil(config.call_timeout.as_millis());
        let calls = Silent::default();
        let (stop, _handle) = jsonrpsee::server::stop_channel();
        let rules = Arc::new(Rules::new(Arc::new(config), false, stop));
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let seated = rules.seats.take(0, peer, Instant::now()).unwrap();
        let gate = Gate {
            rules,
            seated: Arc::new(seated),
            calls: calls.clone(),
        };
        let call = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"chain_getHead"}}"#);
        let batch: Vec<String> = (0..50).map(call).collect();
        let batch = format!("[{}]", batch.join(","));
        let started = tokio::time::Instant::now();
        let answer = gate.answer(batch.as_bytes(), None).await.unwrap();
        assert_eq!(
            started.elapsed().as_secs(),
            longest.as_secs(),
            "of the paused clock"
        );
        assert_eq!(calls.0.load(Ordering::Relaxed) as u128, expected_runs);
        let answer: Vec<serde_json::Value> = serde_json::from_str(answer.as_ref()).unwrap();
        assert_eq!(answer.len(), 50);
        for (id, entry) in answer.iter().enumerate() {
            assert_eq!(entry["id"], id);
            assert_eq!(entry["error"]["code"], 1403, "{entry}");
        }
    }

    /// Answers a call while the thread that asked for it is held up.
    #[derive(Clone)]
    struct Slow {
        begun: Arc<tokio::sync::Notify>,
        go_on: Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>,
    }

    impl Calls for Slow {
        async fn run(&self, request: Request<'_>) -> MethodResponse {
            self.begun.notify_one();
            let _ = self.go_on.lock().map(|go_on| go_on.recv());
            refused(request.id, ApiError::internal("slow"))
        }
    }

    #[test]
    fn a_large_message_does_not_hold_up_the_thread_that_serves_others() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_time().build().unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        let begun = Arc::new(tokio::sync::Notify::new());
        let calls = Slow {
            begun: Arc::clone(&begun),
            go_on: Arc::new(std::sync::Mutex::new(receive)),
        };
        let (stop, _handle) = jsonrpsee::server::stop_channel();
        let rules = Arc::new(Rules::new(Arc::new(Config::default()), false, stop));
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let seated = Arc::new(rules.seats.take(0, peer, Instant::now()).unwrap());
        let gate = Gate { rules, seated, calls };
        let space = " ".repeat(READ_HERE_BYTES_MAX);
        let message = format!(r#"{{"jsonrpc":"2.0","id":1,{space}"method":"chain_getHead"}}"#);
        // Both run on the one thread of the runtime: the second lets the first go on.
        let answering = runtime.spawn(async move { gate.answer(message.as_bytes(), None).await });
        let other = runtime.spawn(async move {
            begun.notified().await;
            send.send(()).unwrap();
        });
        let answer = runtime.block_on(answering).unwrap().unwrap();
        assert_eq!(answer.as_error_code(), Some(ApiError::internal("").code));
        runtime.block_on(other).unwrap();
    }
}
