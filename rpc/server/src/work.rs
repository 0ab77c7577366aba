//! Calls that compute run on blocking threads, a bounded number at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;
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
        let stopping = || ApiError::new(Code::ShuttingDown, "the node is shutting down");
        let permit = Arc::clone(&self.0)
            .acquire_owned()
            .await
            .map_err(|_| stopping())?;
        let running = tokio::task::spawn_blocking(move || {
            // Kept by the thread, not by the caller: a caller that goes away does not free it early.
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
}
