//! Dispatch of an admitted call to its method.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jsonrpsee::server::{
    BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods,
    RandomIntegerIdProvider, SubscriptionState,
};
use jsonrpsee::types::error::reject_too_many_subscriptions;
use jsonrpsee::types::{ErrorObjectOwned, Id, Params, Request, SubscriptionId};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use vibecoin_rpc_api::registry;
use vibecoin_rpc_api::{ApiError, Code};

use crate::building::{self, ANSWER_BYTES_MAX};
use crate::gate::{self, Calls, Rules};

/// The methods as one connection sees them.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) rules: Arc<Rules>,
    pub(crate) methods: Methods,
    pub(crate) id: ConnectionId,
    pub(crate) response_bytes_max: usize,
    /// State of the session's subscriptions; `None` where the transport cannot send events.
    pub(crate) subscribing: Option<Subscribing>,
}

/// The subscriptions of one session.
#[derive(Clone)]
pub(crate) struct Subscribing {
    pub(crate) taken: BoundedSubscriptions,
    /// Events of one subscription that wait to be sent.
    pub(crate) events_max: usize,
    /// Subscriptions that the message in work has begun.
    pub(crate) begun: Begun,
}

/// The events of subscriptions whose acknowledgement has not been sent yet: it is sent before all of
/// them.
pub(crate) type Begun = Arc<Mutex<Vec<mpsc::Receiver<Box<RawValue>>>>>;

impl Calls for Served {
    fn run(&self, request: Request<'_>) -> BoxFuture<'_, MethodResponse> {
        let Request {
            id,
            method,
            params,
            extensions,
            ..
        } = request;
        let params = Params::new(params.as_ref().map(|params| params.get()));
        let Some((_, callback)) = self.methods.method_with_name(&method) else {
            let message = format!("there is no method `{method}`");
            return refused(id, ApiError::new(Code::MethodNotFound, message));
        };
        let (callback, subscribing) = match (callback, &self.subscribing) {
            (MethodCallback::Sync(callback), _) => {
                return ready(callback(id, params, self.response_bytes_max, extensions)).boxed();
            }
            (MethodCallback::Async(callback), _) => {
                let (id, params) = (id.into_owned(), params.into_owned());
                let known = registry::find(&method);
                if let Some(known) = known.filter(|known| known.large) {
                    let bytes_max = self.response_bytes_max.min(ANSWER_BYTES_MAX);
                    let call = callback(id.clone(), params, self.id, bytes_max, extensions);
                    let built = building::build(&self.rules, known, call);
                    return built
                        .map(|built| built.unwrap_or_else(|why| why.answer(id)))
                        .boxed();
                }
                let call = callback(id, params, self.id, self.response_bytes_max, extensions);
                return async move {
                    let answer = call.await;
                    if let Some(known) = known {
                        self.rules
                            .charge_answer(gate::caller(), known, answer.as_ref().len());
                    }
                    answer
                }
                .boxed();
            }
            (MethodCallback::Unsubscription(callback), Some(_)) => {
                // The library would log a warning and answer `false`.
                if params.one::<SubscriptionId<'_>>().is_err() {
                    let message = "`subscription` is the number that sub_subscribe answered";
                    let error = ApiError::invalid_params("invalid_params", message);
                    return refused(id, error.with("parameter", "subscription"));
                }
                return ready(callback(id, params, self.id, self.response_bytes_max, extensions)).boxed();
            }
            (MethodCallback::Subscription(callback), Some(subscribing)) => (callback, subscribing),
            (MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_), None) => {
                let message = format!("`{method}` needs a WebSocket: HTTP has no way to send events");
                let mut error = ApiError::new(Code::MethodNotFound, message);
                "websocket_only".clone_into(&mut error.data.reason);
                return refused(id, error);
            }
        };
        let Some(subscription_permit) = subscribing.taken.acquire() else {
            let error = reject_too_many_subscriptions(subscribing.taken.max());
            return ready(MethodResponse::error(id, error)).boxed();
        };
        // The library sends its answer into the sink, too, in front of the events.
        let (sink, mut events) = mpsc::channel(subscribing.events_max.max(1));
        let state = SubscriptionState {
            conn_id: self.id,
            id_provider: &RandomIntegerIdProvider,
            subscription_permit,
        };
        let call = callback(id, params, MethodSink::new(sink), state, extensions);
        async move {
            let response = call.await;
            if response.is_success() && events.recv().await.is_some() {
                subscribing.begun.lock().push(events);
            }
            response
        }
        .boxed()
    }
}

fn refused<'c>(id: Id<'_>, error: ApiError) -> BoxFuture<'c, MethodResponse> {
    let error = MethodResponse::error(id, ErrorObjectOwned::from(error));
    ready(error).boxed()
}
