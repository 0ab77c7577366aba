//! Health of the node, and the reason for which it waits.

use std::sync::atomic::Ordering;

use vibecoin_primitives::Height;
use vibecoin_rpc_backend::{HealthCheck, Waiting};

use super::NodeBackend;
use crate::recovery::waiting;
use crate::waits::{Absent, Surroundings};

/// Maximum silence of the driver before the node counts as stuck, in milliseconds. It runs at least once a
/// second while anything is due; an idle dev chain has nothing due.
const SILENCE_MAX_MS: u64 = 30_000;
/// Delay beyond the time of several empty blocks after which the next block counts as overdue, in
/// milliseconds.
const OVERDUE_MS: u64 = 2_000;

impl NodeBackend {
    /// The checks behind `/readyz`.
    pub(super) fn checks(&self) -> Vec<HealthCheck> {
        let check = |name: &'static str, ok: bool, detail: String| HealthCheck { name, ok, detail };
        let fault = self.store.fault();
        let stopping = self.shared.stopping.load(Ordering::Relaxed);
        let turns = self.driver_turns();
        let mut checks = vec![
            check(
                "database",
                fault.is_none(),
                fault.map_or_else(|| "writable".to_owned(), |f| f.to_string()),
            ),
            check(
                "consensus",
                turns,
                if turns { "turning" } else { "silent for too long" }.to_owned(),
            ),
            check(
                "shutdown",
                !stopping,
                if stopping { "stopping" } else { "running" }.to_owned(),
            ),
        ];
        let sync = self.shared.sync.lock().status(self.clock.uptime_ms());
        checks.push(check(
            "synced",
            sync.synced,
            format!("known height {}", sync.target),
        ));
        let head = self.shared.head().header.height;
        if let Some(lost) = self.lost_through(head) {
            let detail = format!("block {lost} was committed here, the database has {head}");
            checks.push(check("complete", false, detail));
        }
        let absent = self.absent(head);
        checks.push(check(
            "quorum",
            absent.is_none(),
            absent.map_or_else(|| "blocks can be decided".to_owned(), |absent| absent.detail),
        ));
        if self.empty_block_interval_ms > 0 && (self.key.is_some() || self.handles.network.is_some()) {
            let limit = self
                .empty_block_interval_ms
                .saturating_mul(10)
                .saturating_add(10_000);
            let (quiet, what) = self.quiet_ms();
            checks.push(check(
                "head_age",
                quiet <= limit,
                format!("{what} {quiet} ms ago"),
            ));
        }
        checks
    }

    /// Milliseconds since the last commit on this node or, before the first one, since the start.
    fn quiet_ms(&self) -> (u64, &'static str) {
        let uptime = self.clock.uptime_ms();
        match self.shared.last_commit_ms.load(Ordering::Relaxed) {
            0 => (uptime, "no block since the start"),
            last => {
                let age = crate::clock::wall().0.saturating_sub(last);
                (age.min(uptime), "newest block")
            }
        }
    }

    /// The missing validators or peers when the next block is overdue. Before the first block of a chain it
    /// always is; later, validators need no connection with this node as long as their blocks arrive.
    fn absent(&self, head: Height) -> Option<Absent> {
        let (quiet, _) = self.quiet_ms();
        let patience = self
            .empty_block_interval_ms
            .saturating_mul(5)
            .saturating_add(OVERDUE_MS);
        let overdue = self.empty_block_interval_ms > 0 && quiet > patience;
        // A node that neither signs nor has a network only serves its data.
        let shows = self.key.is_none() && self.handles.network.is_none();
        if shows || (head > Height(0) && !overdue) {
            return None;
        }
        let peers = self.handles.network.as_ref();
        Surroundings {
            head,
            validators: &self.facts.validators,
            fault_model: self.facts.params.fault_model,
            own: self.key,
            peers: peers.map(|network| network.peers().into_iter().map(|peer| peer.validator).collect()),
        }
        .absent()
    }

    /// The reason for which the node waits now.
    pub(crate) fn waits_for(&self) -> Option<Waiting> {
        self.waiting(self.shared.head().header.height)
    }

    /// The reason for which the node waits before it participates again, or before it has the next block.
    pub(super) fn waiting(&self, head: Height) -> Option<Waiting> {
        let consensus = self.shared.consensus.lock();
        let abstains = self.key.is_some() && consensus.abstaining && consensus.height > head;
        drop(consensus);
        if let Some(waiting) = waiting(&self.handles.recovery, head, abstains) {
            return Some(waiting);
        }
        let Absent { reason, detail } = self.absent(head)?;
        let seconds = self.quiet_ms().0 / 1000;
        Some(Waiting {
            reason,
            through: head.saturating_add(1),
            detail: format!("{detail}; for {seconds} s"),
        })
    }

    /// Height of the newest block that the database lost and does not have yet.
    pub(super) fn lost_through(&self, head: Height) -> Option<Height> {
        let lost = self.handles.recovery.lost?;
        (lost.through > head).then_some(lost.through)
    }

    pub(super) fn driver_turns(&self) -> bool {
        let beat = self.shared.driver_beat_ms.load(Ordering::Relaxed);
        let silent = self.clock.uptime_ms().saturating_sub(beat);
        // An idle dev chain has no deadline at all: silence means something only when work is queued.
        silent <= SILENCE_MAX_MS || (self.facts.params.dev && self.shared.pool.totals().count == 0)
    }
}
