//! Calls that compute, and subscriptions that read, run on blocking threads, a bounded number at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vibecoin_rpc_api::{ApiError, Code};

/// Permits for work that would hold up the threads that serve connections.
#[derive(Clone, Debug)]
pub(crate) struct Work(Arc<Semaphore>);

impl Work {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(calls_max.max(1))))
    }

    /// Runs `task` on a blocking thread once a permit is free. Waiting is bounded by the call's time limit.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = Arc::clone(&self.0)
            .acquire_owned()
            .await
            .map_err(|_| stopping())?;
        run_with(permit, task).await
    }
}

/// Runs `task` on a blocking thread, which keeps the permit: a caller that goes away does not free it early.
async fn run_with<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let running = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        task()
    });
    match running.await {
        Ok(done) => done,
        Err(error) if error.is_cancelled() => Err(stopping()),
        Err(error) => {
            tracing::error!(target: "rpc", %error, "a call panicked");
            Err(ApiError::internal("the node failed to answer; its log says why"))
        }
    }
}

fn stopping() -> ApiError {
    ApiError::new(Code::ShuttingDown, "the node is shutting down")
}

/// Readers of the newest blocks at the same time, however many subscriptions there are.
const LIVE_READERS_MAX: usize = 2;

/// Turns to read blocks for subscriptions. A turn is short and turns go round in the order of asking, so
/// that subscriptions over the whole history delay each other, and neither calls nor live events.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    history: Arc<Semaphore>,
    live: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(history_readers_max: usize) -> Self {
        Self {
            history: Arc::new(Semaphore::new(history_readers_max.max(1))),
            live: Arc::new(Semaphore::new(LIVE_READERS_MAX)),
        }
    }

    /// Runs one turn on a blocking thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        is_history: bool,
        task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turns = if is_history { &self.history } else { &self.live };
        let permit = Arc::clone(turns).acquire_owned().await.map_err(|_| stopping())?;
        run_with(permit, task).await
    }
}
