//! Checks of every call, before and after it runs: the method's name, the caller's budget, the names
//! of the parameters, and the time limit. Entries of a batch are checked one by one.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse, StopHandle};
use jsonrpsee::types::{ErrorObjectOwned, Id, Request};
use serde_json::value::RawValue;
use tokio::task::coop::consume_budget;
use vibecoin_rpc_api::registry::{self, Method};
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;
use vibecoin_rpc_api::{ApiError, Code};

use crate::backend::{BackendError, Caller};
use crate::building::BUILT_AT_ONCE_MAX;
use crate::config::{Config, Rate};
use crate::envelope::{self, Entry, Message};
use crate::errors::with_reason;
use crate::host::{Hosts, Origins};
use crate::listener::DISCARDED_BYTES_MAX;
use crate::metrics::MethodLabel;
use crate::params;
use crate::rate::{Exhausted, RateLimiter};
use crate::seats::{InLine, Limits, Seat, Seated, Seats, TooManyWait, Waiting};
use crate::settling::Settling;
use crate::values;
use crate::work::{Permit, Work, in_long_steps};

/// Bytes of an answer that a unit of the caller's budget pays for.
const ANSWER_BYTES_PER_UNIT: usize = 1024;
/// Bytes of a message that a unit covers; those of the first unit are free.
const REQUEST_BYTES_PER_UNIT: usize = 4096;
/// Units for an answer without a call: to a notification, an invalid entry, or an unknown method.
pub(crate) const REFUSED_COST: u32 = 1;
/// Budget of an address on the operator's listener without the token: for mistakes of an operator.
const UNAUTHENTICATED_RATE: Rate = Rate {
    per_second: 10,
    burst: 100,
};
/// Maximum bytes of a message that is read without a turn: some tens of microseconds.
const READ_AT_ONCE_BYTES_MAX: usize = 8 * 1024;
/// Maximum bytes of a message that is read on a thread that serves all connections: a quarter of a millisecond.
const READ_HERE_BYTES_MAX: usize = 64 * 1024;
/// Messages of either size with turns that are read at the same time: one leaves a thread, or a core, to the calls of
/// others.
const READ_AT_ONCE_MAX: usize = 1;

/// State shared by all connections.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Arc<Config>,
    pub(crate) limiter: Option<RateLimiter>,
    /// Budgets of callers of the operator's listener without the token.
    unauthenticated: Option<RateLimiter>,
    /// Turns to build answers that can be large.
    pub(crate) building: Work,
    /// Turns to read messages above [`READ_AT_ONCE_BYTES_MAX`].
    reading: Work,
    /// Turns to read messages above [`READ_HERE_BYTES_MAX`].
    reading_large: Work,
    /// Transactions that calls wait for.
    pub(crate) settling: Settling,
    /// The connections of this listener.
    pub(crate) seats: Arc<Seats>,
    pub(crate) hosts: Hosts,
    pub(crate) origins: Origins,
    /// True if `dev_*` methods exist.
    pub(crate) dev: bool,
    /// Reports the stop of the server.
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
            reading_large: Work::new(READ_AT_ONCE_MAX),
            settling: Settling::default(),
            config,
            limiter,
            unauthenticated: None,
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
            unauthenticated: Some(RateLimiter::new(UNAUTHENTICATED_RATE)),
            ..Self::new(config, false, stop)
        }
    }

    /// Returns true if this listener answers to the method.
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

    /// Returns the limiter, if calls of `peer` are limited.
    pub(crate) fn limits(&self, peer: IpAddr) -> Option<&RateLimiter> {
        let exempt = self.config.rate_exempts_loopback && peer.to_canonical().is_loopback();
        self.limiter.as_ref().filter(|_| !exempt)
    }

    /// Charges for the bytes of an answer beyond the price of its method: a unit covers 1 KiB.
    pub(crate) fn charge_answer(&self, caller: Caller, method: &Method, bytes: usize) {
        let units = u32::try_from(bytes / ANSWER_BYTES_PER_UNIT).unwrap_or(u32::MAX);
        self.charge(caller, units.saturating_sub(method.cost));
    }

    /// Charges for an answer that is no call's: a unit, and one for each KiB.
    pub(crate) fn charge_page(&self, caller: Caller, bytes: usize) {
        let units = u32::try_from(bytes / ANSWER_BYTES_PER_UNIT).unwrap_or(u32::MAX);
        self.charge(caller, units.saturating_add(REFUSED_COST));
    }

    /// Charges a caller of the operator's listener without the token, and returns true if it has used up its
    /// budget. This budget is separate: the operator, who may call from the same address, is answered regardless.
    pub(crate) fn charge_unauthenticated(&self, peer: IpAddr) -> bool {
        if self.config.rate_exempts_loopback && peer.to_canonical().is_loopback() {
            return false;
        }
        let limiter = self.unauthenticated.as_ref();
        limiter.is_some_and(|limiter| limiter.take(peer, REFUSED_COST, Instant::now()).is_err())
    }

    /// Takes the price of `bytes` of a message, less what is `paid` for it: the budget is checked before a
    /// large message is read.
    pub(crate) fn pay_message(&self, caller: Caller, paid: &mut Paid, bytes: usize) -> Result<(), Refused> {
        let units = message_units(bytes);
        let missing = units.saturating_sub(paid.0);
        if let Some(address) = caller.address.filter(|_| missing > 0) {
            self.pay(address, missing)?;
            paid.0 = units;
        }
        Ok(())
    }

    /// Charges for bytes that were read and discarded. Refusing costs a unit in any case: a caller that
    /// continues after it has been refused goes deeper into debt.
    pub(crate) fn charge_discarded(&self, caller: Caller, bytes: usize) {
        self.charge(caller, message_units(bytes).saturating_add(1));
    }

    /// Returns the number of bytes that are read and discarded, so that the caller can read its
    /// answer.
    pub(crate) fn discards_max(&self, peer: IpAddr) -> usize {
        if self.is_deep_in_debt(peer) {
            0
        } else {
            DISCARDED_BYTES_MAX
        }
    }

    /// Returns true if `peer` continued after it had been refused, and owes for it.
    pub(crate) fn is_deep_in_debt(&self, peer: IpAddr) -> bool {
        self.deep_debt(peer).is_some()
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

    /// Charges for costs that are known only after a call was admitted.
    pub(crate) fn charge(&self, caller: Caller, units: u32) {
        if let Some(address) = caller.address.filter(|_| units > 0)
            && let Some(limiter) = self.limits(address)
        {
            limiter.charge(address, units, Instant::now());
        }
    }

    /// Refuses a caller that is in debt from such charges.
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

/// Marks an answer that reports "too many": over HTTP its status becomes 429.
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

/// Refusal of a call.
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

    /// The HTTP answer to a connection of which nothing is read.
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
    /// Begins a call that has been admitted. The result owns what it needs of the request, so that the
    /// message can be freed while the call waits.
    fn run(&self, request: Request<'_>) -> BoxFuture<'_, MethodResponse>;
}

/// A call that has been admitted and owns what it needs of its request.
struct Begun<'c> {
    method: &'static Method,
    id: Id<'static>,
    running: BoxFuture<'c, MethodResponse>,
}

/// Checks for every message of a connection, whatever the transport.
pub(crate) struct Gate<C> {
    pub(crate) rules: Arc<Rules>,
    pub(crate) seated: Arc<Seated>,
    pub(crate) calls: C,
}

tokio::task_local! {
    /// The connection of the call in work. The library passes only the parameters to methods.
    static CALLER: Arc<Seated>;
}

/// The caller that the call in work is charged to; the node for a task that serves no connection.
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
    /// Answers a message whose bytes are paid for; `None` when it asks for no answer. HTTP has no lane: its
    /// requests arrive one by one. The message of a single call is freed when the call has begun.
    pub(crate) async fn answer(&self, message: Bytes, lane: Option<&Lane>) -> Option<MethodResponse> {
        let bytes = message.len();
        if bytes <= READ_AT_ONCE_BYTES_MAX {
            return self.read_and_answer(message, lane).await;
        }
        let is_large = bytes > READ_HERE_BYTES_MAX;
        let mut turn = match self.turn_to_read(is_large).await {
            Ok(turn) => Some(turn),
            Err(refused) => return Some(refused),
        };
        let mut answering = std::pin::pin!(self.read_and_answer(message, lane));
        let answering = poll_fn(|task| {
            let step = answering.as_mut().poll(task);
            // The first step reads the message and, usually, the parameters. A waiting call holds no
            // turn.
            drop(turn.take());
            step
        });
        if is_large {
            // Five megabytes are parsed in some passes of 5 to 20 ms each, which must not block other
            // connections.
            in_long_steps(answering).await
        } else {
            answering.await
        }
    }

    /// Waits for a turn to read a message, in turns between callers. Read in the order of their arrival, the
    /// messages of some hundred connections hold up short calls for as long as all of them take.
    async fn turn_to_read(&self, is_large: bool) -> Result<Permit, MethodResponse> {
        let caller = self.seated.caller();
        let turn = async {
            if !is_large {
                return self.rules.reading.acquire_unread(caller, &self.seated).await;
            }
            let turn = self.rules.reading_large.acquire(caller);
            CALLER.scope(Arc::clone(&self.seated), turn).await
        };
        match tokio::time::timeout(self.rules.config.call_timeout, turn).await {
            Ok(turn) => turn.map_err(|error| refused(Id::Null, error)),
            Err(_) => Err(timed_out(Id::Null, "the message")),
        }
    }

    async fn read_and_answer(&self, message: Bytes, lane: Option<&Lane>) -> Option<MethodResponse> {
        let (call, _turn) = match envelope::read(&message, self.rules.config.batch_entries_max) {
            Message::One(Entry::Call(request)) => {
                let waits = self
                    .rules
                    .method(&request.method)
                    .is_ok_and(|method| method.waits);
                let turn = match lane.filter(|_| !waits) {
                    Some(lane) => Some(lane.turn().await),
                    None => None,
                };
                (self.pass(request, Duration::MAX), turn)
            }
            // None of the methods is useful without an answer: nothing is run.
            Message::One(Entry::Notification) => {
                self.rules.charge(self.seated.caller(), REFUSED_COST);
                return None;
            }
            Message::One(Entry::Refused(id, error)) => return Some(self.refuse(id, *error)),
            Message::Batch(entries) => {
                let _turn = match lane {
                    Some(lane) => Some(lane.turn().await),
                    None => None,
                };
                return self.batch(entries).await;
            }
            Message::TooMany { error, entries } => {
                // Counting them took about as long as the cheapest calls do.
                self.rules.charge(self.seated.caller(), entries);
                return Some(refused(Id::Null, *error));
            }
            // A larger one has been paid for by its bytes.
            Message::Refused(error) if message.len() >= REQUEST_BYTES_PER_UNIT => {
                return Some(refused(Id::Null, *error));
            }
            Message::Refused(error) => return Some(self.refuse(Id::Null, *error)),
        };
        // The call has a copy of the parameters, and may wait long.
        drop(message);
        Some(call.await)
    }

    /// Refuses an invalid entry, for the price of a call.
    fn refuse(&self, id: Id<'_>, error: ApiError) -> MethodResponse {
        match self.pay(REFUSED_COST) {
            Ok(()) => refused(id, error),
            Err(why) => why.answer(id),
        }
    }

    /// Takes the price of an entry from the caller's budget. A refusal is work, too: a caller that continues after it goes
    /// deeper into debt.
    fn pay(&self, cost: u32) -> Result<(), Refused> {
        let paid = self.rules.pay(self.seated.peer, cost);
        paid.inspect_err(|_| self.rules.charge(self.seated.caller(), REFUSED_COST))
    }

    async fn batch(&self, entries: Vec<Entry<'_>>) -> Option<MethodResponse> {
        let bytes_max = usize::try_from(self.rules.config.response_bytes_max).unwrap_or(usize::MAX);
        let mut answers = BatchResponseBuilder::new_with_limit(bytes_max);
        let mut all_limited = true;
        // Entries that are answered wait for the others in memory.
        let mut held = self.seated.hold(0);
        let (started, most) = (tokio::time::Instant::now(), self.rules.longest_time_limit());
        for entry in entries {
            yield_often().await;
            let answer = match entry {
                Entry::Call(request) => {
                    let left = most.saturating_sub(started.elapsed());
                    // The call's copy, beside the message.
                    let params = request.params.as_ref().map_or(0, |params| params.get().len());
                    let _copy = self.seated.hold(params);
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

    /// Begins one call, which runs for up to `most`, and counts it when it ends.
    fn pass(
        &self,
        request: Request<'_>,
        most: Duration,
    ) -> impl Future<Output = MethodResponse> + Send + use<'_, C> {
        let (label, started) = (MethodLabel::of(&request.method), Instant::now());
        let begun = self.begin(request, most);
        async move {
            let response = match begun {
                Ok(begun) => self.finish(begun, most).await,
                Err(refused) => refused,
            };
            let metrics = &self.rules.config.metrics;
            metrics.called(label, response.as_error_code(), started.elapsed());
            response
        }
    }

    /// Admits a call and begins it, or returns the refusal.
    fn begin(&self, mut request: Request<'_>, most: Duration) -> Result<Begun<'_>, MethodResponse> {
        if most.is_zero() {
            return Err(timed_out(request.id, "the batch"));
        }
        let method = match self.admit(&mut request) {
            Ok(method) => method,
            Err(why) => return Err(why.answer(request.id)),
        };
        let id = request.id.clone().into_owned();
        let running = CALLER.sync_scope(Arc::clone(&self.seated), || self.calls.run(request));
        Ok(Begun { method, id, running })
    }

    /// Runs a call for up to `most`, and never longer than its method may take.
    async fn finish(&self, begun: Begun<'_>, most: Duration) -> MethodResponse {
        let Begun { method, id, running } = begun;
        let mut running = std::pin::pin!(CALLER.scope(Arc::clone(&self.seated), running));
        // Calls usually complete at the first poll and need no timer.
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
        self.pay(cost)?;
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

/// Lets other connections run after some twenty calls without a pause: the runtime alone would after 128 reads of a socket,
/// whatever the calls between them cost.
pub(crate) async fn yield_often() {
    for _ in 0..6 {
        consume_budget().await;
    }
}

fn timed_out(id: Id<'_>, what: &str) -> MethodResponse {
    refused(id, ApiError::new(Code::Timeout, format!("{what} took too long")))
}

fn refused(id: Id<'_>, error: ApiError) -> MethodResponse {
    MethodResponse::error(id, ErrorObjectOwned::from(error))
}

/// An error before any method is known.
pub(crate) fn bare_error(id: Id<'_>, error: ApiError) -> String {
    refused(id, error).into_json().get().to_owned()
}

#[cfg(test)]
#[path = "tests/gate.rs"]
mod tests;
