//! The one thread that calls the replica and performs its actions, in order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, at, never, select};
use tracing::info;
use vibecoin_consensus::{BftOrderer, GuardEntry, LogRecord, Orderer, Step};
use vibecoin_execution::DecidedBlock;
use vibecoin_host::ConsensusFiles;
use vibecoin_mempool::Status;
use vibecoin_primitives::{Hash, Height, Round};
use vibecoin_replica::{Event, Replica};
use vibecoin_rpc_backend::PohStatus;
use vibecoin_storage::StateView;

mod host;

use crate::again::{Again, Share};
use crate::clock::Clock;
use crate::error::NodeError;
use crate::mail::Mailbox;
use crate::network::Outbound;
use crate::serve::Server;
use crate::shared::Shared;
use crate::verify::Tickets;

/// Maximum number of inputs queued for the driver; senders block beyond it.
pub const INBOX_MAX: usize = 64;

/// Maximum number of urgent inputs queued: a commit that became durable, a stop, a failure.
pub const URGENT_MAX: usize = 8;
/// Maximum number of consecutive inputs from peers while transactions wait.
const IN_A_ROW_MAX: u32 = 64;
/// Bytes of a transfer, for the fee that the pool's status shows.
const TYPICAL_TRANSACTION_BYTES: u32 = 180;

/// An event for the replica of a node.
pub type NodeEvent = Event<StateView>;

/// Inputs of the driver that must not wait behind others.
pub enum Urgent {
    /// The commit is durable.
    Committed {
        /// Its height.
        height: Height,
        /// The state to continue from.
        state: StateView,
    },
    /// Finish the commit in progress, then stop.
    Stop,
    /// Another thread failed; stop at once.
    Fail(NodeError),
}

/// The next turn of the driver.
enum Turn {
    Event(NodeEvent),
    Urgent(Urgent),
    /// A deadline is due.
    Due,
}

/// Queues and shared state that connect the driver to the other threads.
pub struct Ports {
    /// Transactions; the number of entries and the size of each are bounded.
    pub inbox: Receiver<NodeEvent>,
    /// Statements, requests and heads of peers, and their connections and disconnections.
    pub mail: Arc<Mailbox>,
    /// Parts, bodies and blocks of peers, with the transactions whose signatures are valid.
    pub checked: Receiver<NodeEvent>,
    /// Durable commits, stops, failures.
    pub urgent: Receiver<Urgent>,
    /// Outgoing messages to peers.
    pub outbound: Outbound,
    /// Reads blocks for peers.
    pub server: Arc<OnceLock<Server>>,
    /// Blocks to be stored.
    pub commits: Sender<Box<DecidedBlock<StateView>>>,
    /// Answers to submissions.
    pub tickets: Arc<Tickets>,
    /// State published to readers.
    pub shared: Arc<Shared>,
}

/// Host of the replica: performs its actions.
pub struct Driver {
    /// The deterministic state machine.
    replica: Replica<StateView, BftOrderer>,
    /// The consensus log and the double-sign guard.
    files: ConsensusFiles,
    clock: Clock,
    ports: Ports,
    /// Distorts outgoing messages, in the build for the fault tests.
    #[cfg(feature = "byzantine")]
    liar: Option<crate::byzantine::Liar>,
    /// Number of commits that were handed over and are not durable yet.
    commits_open: u32,
    /// True if the last event of a peer was from `checked`.
    was_checked: bool,
    /// Position of the replica in the last notification to the intake.
    position: Option<(Height, Round, bool)>,
    /// Number of consecutive events taken from peers.
    in_a_row: u32,
    /// Number of the pool's departures that have been passed on to readers.
    departures_seen: u64,
    /// Number of the pool's promotions that have been passed on to peers.
    promotions_seen: u64,
    /// Transactions to be announced again until a block includes them.
    again: Again,
}

impl Driver {
    /// A driver that has not started its replica.
    pub fn new(
        replica: Replica<StateView, BftOrderer>,
        files: ConsensusFiles,
        clock: Clock,
        ports: Ports,
    ) -> Self {
        Self {
            replica,
            files,
            clock,
            ports,
            #[cfg(feature = "byzantine")]
            liar: None,
            commits_open: 0,
            was_checked: false,
            position: None,
            in_a_row: 0,
            departures_seen: 0,
            promotions_seen: 0,
            again: Again::default(),
        }
    }

    /// The same with outgoing messages distorted.
    #[cfg(feature = "byzantine")]
    pub fn distorted(mut self, liar: Option<crate::byzantine::Liar>) -> Self {
        self.liar = liar;
        self
    }

    /// Runs until it receives a stop; `records` and `guard` are the contents of the files.
    ///
    /// # Errors
    /// [`NodeError`] when a write failed or the replica halted. Nothing is retried.
    pub fn run(mut self, records: Vec<LogRecord>, guard: Option<GuardEntry>) -> Result<(), NodeError> {
        let mut stopping = false;
        self.replica
            .step(self.clock.now(), Event::Start { records, guard });
        loop {
            while let Some(action) = self.replica.poll() {
                vibecoin_host::perform(action, &mut self)?;
            }
            if stopping && self.commits_open == 0 {
                return Ok(());
            }
            self.beat();
            let turn = if stopping {
                let lost = |_| NodeError::ThreadLost { name: "persist" };
                Turn::Urgent(self.ports.urgent.recv().map_err(lost)?)
            } else {
                self.wait()
            };
            let event = match turn {
                Turn::Event(event) => event,
                Turn::Due => Event::Time,
                Turn::Urgent(Urgent::Committed { height, state }) => {
                    self.commits_open = self.commits_open.saturating_sub(1);
                    Event::Committed { height, state }
                }
                Turn::Urgent(Urgent::Stop) => {
                    stopping = true;
                    continue;
                }
                Turn::Urgent(Urgent::Fail(error)) => return Err(error),
            };
            if stopping {
                // No new work begins; only the commit in progress is awaited.
                continue;
            }
            let begun = Instant::now();
            self.replica.step(self.clock.now(), event);
            self.ports.shared.metrics.worked(begun.elapsed());
        }
    }

    /// Waits for the next turn. Urgent inputs have priority, then events of peers; but every so often a transaction
    /// gets its turn, whatever the load from peers.
    fn wait(&mut self) -> Turn {
        if let Ok(urgent) = self.ports.urgent.try_recv() {
            return Turn::Urgent(urgent);
        }
        if self.in_a_row < IN_A_ROW_MAX
            && let Some(event) = self.next_of_peers()
        {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return Turn::Event(event);
        }
        self.in_a_row = 0;
        let deadlines = [self.replica.next_deadline(), self.again.next()];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.map(|at| self.clock.instant(at));
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Turn::Due;
        }
        if let Ok(event) = self.ports.inbox.try_recv() {
            return Turn::Event(event);
        }
        // Nothing else to do: pending batches are sent now.
        self.ports.outbound.flush();
        let due = deadline.map_or_else(never, at);
        // A closed channel means that the node is stopping.
        select! {
            recv(self.ports.urgent) -> urgent => Turn::Urgent(urgent.unwrap_or(Urgent::Stop)),
            recv(self.ports.mail.bell()) -> _ => self.ports.mail.pop().map_or(Turn::Due, Turn::Event),
            recv(self.ports.checked) -> event => event.map_or(Turn::Urgent(Urgent::Stop), Turn::Event),
            recv(self.ports.inbox) -> event => event.map_or(Turn::Urgent(Urgent::Stop), Turn::Event),
            recv(due) -> _ => Turn::Due,
        }
    }

    /// The next event of peers: checked messages and mail, alternately.
    fn next_of_peers(&mut self) -> Option<NodeEvent> {
        let first = if self.was_checked {
            None
        } else {
            self.ports.checked.try_recv().ok()
        };
        self.was_checked = first.is_some();
        first
            .or_else(|| self.ports.mail.pop())
            .or_else(|| self.ports.checked.try_recv().ok())
    }

    /// Removes departed transactions from the readers' copy, and records the reason for later queries.
    fn note_departures(&mut self) {
        let (departed, next) = self.replica.pool().departures_since(self.departures_seen);
        if departed.len() > 0 {
            self.ports.shared.note_departures(departed);
        }
        self.departures_seen = next;
    }

    /// Publishes to peers the transactions that were queued and are pending now.
    fn pass_on_promoted(&mut self) {
        let (promoted, next) = self.replica.pool().promoted_since(self.promotions_seen);
        for transaction in promoted {
            self.ports.outbound.pass_on(transaction);
            self.again
                .announced(self.clock.now().mono, Share::Promoted, *transaction.id());
        }
        self.promotions_seen = next;
    }

    /// Announces again the transactions that no block includes.
    fn pass_on_again(&mut self) {
        let now = self.clock.now().mono;
        if self.again.next().is_none_or(|at| at > now) {
            return;
        }
        let pool = self.replica.pool();
        let pending = |id: &Hash| {
            let transaction = pool.get(id).filter(|_| pool.status(id) == Status::Pending)?;
            usize::try_from(transaction.byte_len()).ok()
        };
        for id in self.again.take(now, pending) {
            if let Some(transaction) = pool.get(&id) {
                self.ports.outbound.pass_on(transaction);
            }
        }
    }

    fn note_pool(&self) {
        let pool = self.replica.pool();
        let queued = u64::try_from(pool.stats().queued).unwrap_or(u64::MAX);
        self.ports.shared.queued.store(queued, Ordering::Relaxed);
        self.ports
            .shared
            .fee_min
            .store(pool.least_fee(TYPICAL_TRANSACTION_BYTES).0, Ordering::Relaxed);
    }

    fn beat(&mut self) {
        let position = self.replica.position();
        if self.position != Some(position) {
            self.position = Some(position);
            self.ports.outbound.stand(self.replica.stand());
        }
        self.note_departures();
        self.pass_on_promoted();
        self.pass_on_again();
        self.note_pool();
        self.ports
            .shared
            .driver_beat_ms
            .store(self.clock.uptime_ms(), Ordering::Relaxed);
        let status = self.replica.orderer().status();
        self.ports.shared.metrics.counted(&status.counters);
        let mut consensus = self.ports.shared.consensus.lock();
        consensus.abstaining = status.abstaining;
        consensus.timeouts = status.counters.timeouts;
        consensus.height = status.height;
        consensus.round = status.round;
        consensus.step = match status.step {
            Step::Idle => "idle",
            Step::Propose => "propose",
            Step::Prevote => "prevote",
            Step::Precommit => "precommit",
        };
        drop(consensus);
        let head = self.ports.shared.head().header.height;
        let (plan, known) = (self.replica.sync_status(), self.replica.known_height());
        let peers = u32::try_from(plan.peers).unwrap_or(u32::MAX);
        self.ports
            .shared
            .sync
            .lock()
            .note(self.clock.uptime_ms(), head, known, peers);
        let waiting = self.replica.evidence_waiting();
        let mut evidence = self.ports.shared.evidence.lock();
        if evidence.as_slice() != waiting {
            *evidence = waiting.to_vec();
        }
        drop(evidence);
        if let Some(building) = self.replica.building() {
            let behind_us = self.replica.building_behind_us();
            note_building(&mut self.ports.shared.poh.lock(), building, behind_us);
        }
    }
}

/// Adds to the clock's status the progress of the own block, and the delay of its newest tick.
fn note_building(poh: &mut PohStatus, building: (Height, u32, Hash), behind_us: Option<u64>) {
    (poh.height, poh.tick, poh.hash) = building;
    poh.drift_ms = i64::try_from(behind_us.unwrap_or_default() / 1000).unwrap_or(i64::MAX);
}

/// Logs once the state from which the driver starts.
pub fn announce(head: Height, records: usize, guard: Option<&GuardEntry>) {
    info!(target: "node::consensus", %head, log_records = records, guard = guard.is_some(), "consensus starts");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_the_clock_says_how_late_the_newest_tick_ended() {
        let mut poh = PohStatus::default();
        let building = (Height(7), 3, Hash([5; 32]));
        for (behind_us, drift_ms) in [
            (Some(12_345), 12),
            (Some(999), 0),
            (Some(2_000), 2),
            (Some(u64::MAX), i64::try_from(u64::MAX / 1000).unwrap_or(i64::MAX)),
            (None, 0),
        ] {
            note_building(&mut poh, building, behind_us);
            assert_eq!((poh.height, poh.tick, poh.hash), building);
            assert_eq!(poh.drift_ms, drift_ms, "{behind_us:?}");
        }
    }
}
