//! Snapshots that the operator asks for: one at a time, on a thread of its own that gives way to consensus.
//!
//! The state is that of the head when the job begins. Commits go on meanwhile and never wait for it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tracing::{info, warn};
use vibecoin_config::Paths;
use vibecoin_rpc_backend::{SnapshotFacts, SnapshotJob, SnapshotMaker};
use vibecoin_snapshots::{Progress, SnapshotInfo, create};
use vibecoin_storage::{SnapshotSource, Store};

use crate::shared::Shared;
use crate::threads::give_way;

/// The maker of a node's snapshots.
pub struct Snapshots {
    store: Arc<Store>,
    shared: Arc<Shared>,
    /// Folder where the operator names none.
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    job: Option<SnapshotJob>,
    thread: Option<JoinHandle<()>>,
}

impl Snapshots {
    /// The maker of a store's snapshots. Their paths are read by processes in other folders: they are absolute.
    pub fn new(store: Arc<Store>, shared: Arc<Shared>, folder: PathBuf) -> Self {
        Self {
            store,
            shared,
            folder: std::path::absolute(&folder).unwrap_or(folder),
            state: Arc::default(),
        }
    }

    /// Waits for the job in progress, which ends soon once the node is stopping.
    pub fn join(&self) {
        let thread = self.state.lock().thread.take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            warn!(target: "node::snapshot", "thread ended by a panic");
        }
    }
}

impl SnapshotMaker for Snapshots {
    fn begin(&self, folder: Option<PathBuf>) -> Result<SnapshotJob, String> {
        let mut state = self.state.lock();
        if self.shared.stopping.load(Ordering::Relaxed) {
            return Err("the node is stopping".to_owned());
        }
        if let Some(running) = state.job.as_ref().filter(|job| job.outcome.is_none()) {
            return Err(format!("a snapshot of height {} is being made", running.height));
        }
        let source = self.store.snapshot_source().map_err(|error| error.to_string())?;
        let job = SnapshotJob {
            height: source.header().height,
            done: 0,
            all: 1,
            bytes: 0,
            outcome: None,
        };
        let folder = folder.unwrap_or_else(|| self.folder.clone());
        let (shared, watched) = (Arc::clone(&self.shared), Arc::clone(&self.state));
        let thread = std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || make(&source, folder, &shared, &watched))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        state.job = Some(job.clone());
        // The thread before it has ended.
        state.thread = Some(thread);
        Ok(job)
    }

    fn job(&self) -> Option<SnapshotJob> {
        self.state.lock().job.clone()
    }
}

/// Removes what killed processes left of snapshots in a home whose lock this process holds.
pub fn clean(paths: &Paths) {
    if let Err(error) = vibecoin_snapshots::clean(&paths.home, &paths.db, &paths.snapshots) {
        warn!(target: "node::snapshot", %error, "remains of snapshots are not removed");
    }
}

/// Body of the thread.
fn make(source: &SnapshotSource, folder: PathBuf, shared: &Shared, state: &Mutex<State>) {
    give_way();
    let height = source.header().height;
    info!(target: "node::snapshot", %height, folder = %folder.display(), "creating a snapshot");
    let made = create(source, &folder, &mut |progress| {
        note(state, progress);
        if shared.stopping.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    match &made {
        Ok(info) => {
            info!(target: "node::snapshot", %height, id = %info.id, chunks = info.chunks, bytes = info.bytes,
                          path = %info.path.display(), "created a snapshot")
        }
        Err(error) => warn!(target: "node::snapshot", %height, %error, "no snapshot was created"),
    }
    if let Some(job) = &mut state.lock().job {
        job.outcome = Some(made.map(facts).map_err(|error| error.to_string()));
    }
}

fn note(state: &Mutex<State>, progress: Progress) {
    if let Some(job) = &mut state.lock().job {
        job.done = progress.done;
        job.all = progress.all;
        job.bytes = progress.bytes;
    }
}

fn facts(info: SnapshotInfo) -> SnapshotFacts {
    SnapshotFacts {
        id: info.id,
        height: info.height,
        hash: info.hash,
        state_root: info.state_root,
        chunks: info.chunks,
        bytes: info.bytes,
        path: info.path,
    }
}
