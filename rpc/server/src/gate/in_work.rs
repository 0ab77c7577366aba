//! The connection of the call in work, which is charged for it and keeps its seat.

use std::sync::Arc;

use vibecoin_rpc_api::{ApiError, Code};
use vibecoin_rpc_backend::Caller;

use crate::seats::{InLine, Seated, TooManyWait, Waiting};

tokio::task_local! {
    /// The connection of the call in work. The library passes only the parameters to methods.
    pub(super) static CALLER: Arc<Seated>;
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
