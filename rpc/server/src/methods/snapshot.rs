//! `snapshot_*` of the operator's listener.

use std::path::PathBuf;
use std::sync::Arc;

use jsonrpsee::core::async_trait;
use vibecoin_rpc_api::methods::SnapshotAdminApiServer;
use vibecoin_rpc_api::views::{SnapshotJobState, SnapshotJobView, SnapshotView};
use vibecoin_rpc_api::{ApiError, Code, Shown, U64};
use vibecoin_rpc_backend::{Backend, BackendError, SnapshotFacts, SnapshotJob, SnapshotMaker};

use super::{Rpc, small};
use crate::errors::Coded as _;

impl<B: Backend> Rpc<B> {
    fn snapshot_maker(&self) -> Result<Arc<dyn SnapshotMaker>, ApiError> {
        self.backend.snapshots().ok_or_else(|| {
            BackendError::Disabled {
                feature: "making snapshots",
            }
            .coded()
        })
    }
}

#[async_trait]
impl<B: Backend> SnapshotAdminApiServer for Rpc<B> {
    async fn create(&self, dir: Option<String>) -> Result<SnapshotJobView, ApiError> {
        let folder = dir.map(PathBuf::from);
        if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_absolute()) {
            let message = format!("the folder {} is not an absolute path", folder.display());
            return Err(ApiError::new(Code::AdminRefused, message));
        }
        let job = self.snapshot_maker()?.begin(folder);
        job.map(job_view)
            .map_err(|why| ApiError::new(Code::AdminRefused, why))
    }

    async fn get_job(&self) -> Result<Option<SnapshotJobView>, ApiError> {
        Ok(self.snapshot_maker()?.job().map(job_view))
    }
}

fn job_view(job: SnapshotJob) -> SnapshotJobView {
    let (state, snapshot, error) = match job.outcome {
        None => (SnapshotJobState::Running, None, None),
        Some(Ok(facts)) => (SnapshotJobState::Done, Some(view(&facts)), None),
        Some(Err(why)) => (SnapshotJobState::Failed, None, Some(why)),
    };
    SnapshotJobView {
        height: job.height.into(),
        state,
        done: U64(job.done),
        all: U64(job.all),
        bytes: U64(job.bytes),
        snapshot,
        error,
    }
}

fn view(facts: &SnapshotFacts) -> SnapshotView {
    SnapshotView {
        id: Shown(facts.id),
        height: facts.height.into(),
        hash: Shown(facts.hash),
        state_root: Shown(facts.state_root),
        chunks: small(facts.chunks),
        bytes: U64(facts.bytes),
        path: facts.path.display().to_string(),
    }
}
