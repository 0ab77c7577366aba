//! A maker of snapshots that writes nothing: a job ends when it has been asked for once.

use std::path::PathBuf;

use parking_lot::Mutex;
use vibecoin_primitives::{Hash, Height};
use vibecoin_rpc_backend::{SnapshotFacts, SnapshotJob, SnapshotMaker};

/// The maker of a mock.
#[derive(Debug, Default)]
pub struct MockSnapshots {
    job: Mutex<Option<(PathBuf, SnapshotJob)>>,
}

impl SnapshotMaker for MockSnapshots {
    fn begin(&self, folder: Option<PathBuf>) -> Result<SnapshotJob, String> {
        let mut newest = self.job.lock();
        if newest.as_ref().is_some_and(|(_, job)| job.outcome.is_none()) {
            return Err("a snapshot of height 7 is being made".to_owned());
        }
        let job = SnapshotJob {
            height: Height(7),
            done: 1,
            all: 4,
            bytes: 100,
            outcome: None,
        };
        let folder = folder.unwrap_or_else(|| PathBuf::from("/home/snapshots"));
        *newest = Some((folder, job.clone()));
        Ok(job)
    }

    fn job(&self) -> Option<SnapshotJob> {
        let mut newest = self.job.lock();
        let (folder, job) = newest.as_mut()?;
        let now = job.clone();
        job.outcome = Some(if folder.ends_with("full") {
            Err("disk full".to_owned())
        } else {
            Ok(SnapshotFacts {
                id: Hash([1; 32]),
                height: Height(7),
                hash: Hash([2; 32]),
                state_root: Hash([3; 32]),
                chunks: 2,
                bytes: 100,
                path: folder.join("7-01"),
            })
        });
        Some(now)
    }
}
