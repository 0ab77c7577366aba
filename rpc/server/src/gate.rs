//! Checks of every call, before and after it runs: the method's name, the caller's budget, the names
//! of the parameters, and the time limit. Entries of a batch are checked one by one.

mod in_work;
mod refused;
mod rules;

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::{Id, Request};
use serde_json::value::RawValue;
use tokio::task::coop::consume_budget;
use vibecoin_rpc_api::ApiError;
use vibecoin_rpc_api::registry::Method;
use vibecoin_rpc_backend::BackendError;

use crate::envelope::{self, Entry, Message};
use crate::errors::{Coded as _, with_reason};
use crate::metrics::MethodLabel;
use crate::params;
use crate::seats::{Seat, Seated};
use crate::values;
use crate::work::{Permit, in_long_steps};
use in_work::CALLER;
use refused::{refused, timed_out};
use rules::REQUEST_BYTES_PER_UNIT;

pub(crate) use in_work::{caller, line_up, on_behalf_of, seated, wait_for_block};
pub(crate) use refused::{RateLimited, Refused, bare_error};
pub(crate) use rules::{Paid, REFUSED_COST, Rules};

/// Maximum bytes of a message that is read without a turn: some tens of microseconds.
const READ_AT_ONCE_BYTES_MAX: usize = 8 * 1024;
/// Maximum bytes of a message that is read on a thread that serves all connections: a quarter of a millisecond.
const READ_HERE_BYTES_MAX: usize = 64 * 1024;

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
            Message::One(Entry::Refused(id, error)) => {
                let answer = self.refuse(id, *error);
                return Some(self.hold_back(answer).await);
            }
            Message::Batch(entries) => {
                let _turn = match lane {
                    Some(lane) => Some(lane.turn().await),
                    None => None,
                };
                let answer = self.batch(entries).await?;
                return Some(self.hold_back(answer).await);
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
            Message::Refused(error) => {
                let answer = self.refuse(Id::Null, *error);
                return Some(self.hold_back(answer).await);
            }
        };
        // The call has a copy of the parameters, and may wait long.
        drop(message);
        let answer = call.await;
        Some(self.hold_back(answer).await)
    }

    /// Holds an answer back that reports a used up budget, if its caller repeats such calls instead of waiting. Some
    /// hundred of these clients made 6,000 calls a second, as much work as serving others. Meanwhile the seat is
    /// available to other connections.
    async fn hold_back(&self, answer: MethodResponse) -> MethodResponse {
        if answer.extensions().get::<RateLimited>().is_none() {
            return answer;
        }
        let pause = self.rules.pause(self.seated.peer);
        if !pause.is_zero() {
            let _offered = self.seated.offer();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.rules.stop.clone().shutdown() => {}
            }
        }
        answer
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
            () = self.rules.stop.clone().shutdown() => refused(id, BackendError::ShuttingDown.coded()),
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

#[cfg(test)]
#[path = "tests/gate.rs"]
mod tests;
