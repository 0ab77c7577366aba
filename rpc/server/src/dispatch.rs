//! From the text of a WebSocket message to its answer.

use std::sync::Arc;

use jsonrpsee::core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, RpcServiceT};
use jsonrpsee::server::{
    BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods,
    RandomIntegerIdProvider, SubscriptionState,
};
use jsonrpsee::types::error::{ErrorCode, reject_too_many_subscriptions};
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned, Id, InvalidRequest, Params, Request};
use serde_json::value::RawValue;
use vibecoin_rpc_api::registry;

use crate::envelope;
use crate::gate::Gate;
use crate::seats::Seat;

/// The methods as one WebSocket session sees them, subscriptions included.
#[derive(Clone, Debug)]
pub(crate) struct SessionMethods {
    pub(crate) methods: Methods,
    pub(crate) id: ConnectionId,
    pub(crate) response_bytes_max: usize,
    /// Where the events of subscriptions go.
    pub(crate) sink: MethodSink,
    pub(crate) subscriptions: BoundedSubscriptions,
}

impl SessionMethods {
    async fn run(self, request: Request<'_>) -> MethodResponse {
        let Request {
            id,
            method,
            params,
            extensions,
            ..
        } = request;
        let params = Params::new(params.as_ref().map(|params| params.get()));
        let Some((_, callback)) = self.methods.method_with_name(&method) else {
            return MethodResponse::error(id, ErrorObject::from(ErrorCode::MethodNotFound));
        };
        match callback {
            MethodCallback::Sync(callback) => callback(id, params, self.response_bytes_max, extensions),
            MethodCallback::Async(callback) => {
                let (id, params) = (id.into_owned(), params.into_owned());
                callback(id, params, self.id, self.response_bytes_max, extensions).await
            }
            MethodCallback::Unsubscription(callback) => {
                callback(id, params, self.id, self.response_bytes_max, extensions)
            }
            MethodCallback::Subscription(callback) => {
                let Some(subscription_permit) = self.subscriptions.acquire() else {
                    let error = reject_too_many_subscriptions(self.subscriptions.max());
                    return MethodResponse::error(id, error);
                };
                let state = SubscriptionState {
                    conn_id: self.id,
                    id_provider: &RandomIntegerIdProvider,
                    subscription_permit,
                };
                callback(id, params, self.sink.clone(), state, extensions).await
            }
        }
    }
}

impl RpcServiceT for SessionMethods {
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.clone().run(request)
    }

    // The gate takes batches apart and runs no notifications.
    fn batch<'a>(&self, _: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        std::future::ready(MethodResponse::notification())
    }

    fn notification<'a>(&self, _: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        std::future::ready(MethodResponse::notification())
    }
}

/// What the messages of one session share.
pub(crate) struct Dispatch {
    pub(crate) gate: Gate<SessionMethods>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) batch_entries_max: u32,
    /// Answers that wait to be sent before the next call runs, bytes.
    pub(crate) queued_max: usize,
    /// Calls run one after the other, so that one answer at a time can be large. Those that wait for a
    /// block have small answers and run beside them.
    pub(crate) lane: tokio::sync::Mutex<()>,
}

impl Dispatch {
    /// Answers a message; `None` when it asks for no answer, or has been answered through the sink.
    pub(crate) async fn answer(&self, message: &[u8]) -> Option<Box<RawValue>> {
        let response = match envelope::check(message, self.batch_entries_max) {
            Ok(checked) => self.call(checked.trim_ascii()).await?,
            Err((id, error)) => MethodResponse::error(id, ErrorObjectOwned::from(error)),
        };
        (response.is_method_call() || response.is_batch()).then(|| response.into_json())
    }

    async fn call(&self, message: &[u8]) -> Option<MethodResponse> {
        match message.first() {
            Some(b'{') => match serde_json::from_slice::<Request<'_>>(message) {
                Ok(request) => Some(self.single(request).await),
                Err(_) if is_notification(message) => None,
                Err(_) => Some(malformed(message)),
            },
            Some(b'[') => {
                let Ok(entries) = serde_json::from_slice::<Vec<&RawValue>>(message) else {
                    return Some(malformed(message));
                };
                let _turn = self.turn().await;
                let entries = entries.into_iter().map(entry).collect();
                Some(self.gate.batch(Batch::from(entries)).await)
            }
            _ => Some(MethodResponse::error(
                Id::Null,
                ErrorObject::from(ErrorCode::ParseError),
            )),
        }
    }

    async fn single(&self, request: Request<'_>) -> MethodResponse {
        if registry::find_in(registry::METHODS, &request.method).is_some_and(|method| method.waits) {
            return self.gate.call(request).await;
        }
        let _turn = self.turn().await;
        self.gate.call(request).await
    }

    async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = self.lane.lock().await;
        self.seat.room(self.queued_max).await;
        turn
    }
}

fn entry(entry: &RawValue) -> Result<BatchEntry<'_>, BatchEntryErr<'_>> {
    let text = entry.get();
    if let Ok(request) = serde_json::from_str::<Request<'_>>(text) {
        return Ok(BatchEntry::Call(request));
    }
    if let Ok(notification) = serde_json::from_str(text) {
        return Ok(BatchEntry::Notification(notification));
    }
    let id = serde_json::from_str::<InvalidRequest<'_>>(text).map_or(Id::Null, |invalid| invalid.id);
    Err(BatchEntryErr::new(id, ErrorCode::InvalidRequest.into()))
}

fn is_notification(message: &[u8]) -> bool {
    serde_json::from_slice::<Notification<'_>>(message).is_ok()
}

fn malformed(message: &[u8]) -> MethodResponse {
    let invalid = serde_json::from_slice::<InvalidRequest<'_>>(message);
    let (id, code) = match invalid {
        Ok(invalid) => (invalid.id, ErrorCode::InvalidRequest),
        Err(_) => (Id::Null, ErrorCode::ParseError),
    };
    MethodResponse::error(id, ErrorObject::from(code))
}
