//! Status of the node: its role, its progress, its peers and the size of its home.

use vibecoin_rpc_backend::NodeStatus;

use super::NodeBackend;
use super::home::Measurement;

impl NodeBackend {
    /// Answers `Backend::node_status`.
    pub(super) fn summary(&self) -> NodeStatus {
        let role = match (self.facts.params.dev, self.key) {
            (true, _) => "dev",
            (false, Some(_)) => "validator",
            (false, None) => "full",
        };
        let mut sync = self.shared.sync.lock().status(self.clock.uptime_ms());
        // Blocks may have been committed since the driver's snapshot.
        let head = self.shared.head().header.height;
        let waiting = self.waiting(head);
        sync.target = sync.target.max(head);
        if let Some(lost) = self.lost_through(head) {
            sync.target = sync.target.max(lost);
            sync.synced = false;
            "blocks".clone_into(&mut sync.stage);
        }
        NodeStatus {
            moniker: self.moniker.clone(),
            role: role.to_owned(),
            uptime_ms: self.clock.uptime_ms(),
            peers: self.peers(),
            disk_bytes: self.home.bytes(self.clock.uptime_ms(), on_a_blocking_thread),
            disk_free_bytes: free_bytes(self.home.path()),
            sync,
            waiting,
        }
    }

    fn peers(&self) -> u32 {
        let network = self.handles.network.as_ref();
        network.map_or(0, |network| {
            u32::try_from(network.peers().len()).unwrap_or(u32::MAX)
        })
    }
}

fn free_bytes(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Outside of the runtime that serves calls the figure stays as it is.
fn on_a_blocking_thread(measurement: Measurement) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn_blocking(move || measurement.run());
    }
}
