//! The one thread that calls the replica and performs its actions, in order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, at, never, select};
use tracing::{debug, info, warn};
use vibecoin_consensus::{BftOrderer, GuardEntry, GuardStep, LogRecord, Orderer, Step};
use vibecoin_mempool::Status;
use vibecoin_primitives::{Evidence, Hash, Height, PublicKey, Round, VerifiedTransaction, encode};
use vibecoin_replica::{Action, Commit, Event, GossipId, Message, PeerId, Replica, Ticket};
use vibecoin_rpc_server::backend::PohStatus;
use vibecoin_storage::StateView;
use vibecoin_storage::files::{ConsensusLog, GuardFile};

use crate::again::{Again, Share};
use crate::clock::Clock;
use crate::error::NodeError;
use crate::mail::Mailbox;
use crate::metrics::Files;
use crate::network::Outlet;
use crate::serve::{Class, Request, Server};
use crate::shared::Shared;
use crate::verify::{Own, Tickets, Told};

/// Maximum number of inputs queued for the driver; senders block beyond it.
pub const INBOX_MAX: usize = 64;

/// Maximum number of urgent inputs queued: a commit that became durable, a stop, a failure.
pub const URGENT_MAX: usize = 8;
/// Maximum number of consecutive inputs from peers while transactions wait.
const IN_A_ROW_MAX: u32 = 64;
/// Bytes of a transfer, for the fee that the pool's status shows.
const TYPICAL_TRANSACTION_BYTES: u32 = 180;

/// Inputs of the driver thread.
pub enum Input {
    /// Transactions whose signatures have been checked.
    Transactions {
        /// Returned with the answer.
        ticket: Ticket,
        /// Oldest first.
        transactions: Vec<Arc<VerifiedTransaction>>,
    },
    /// A peer's message; the valid signatures of its transactions have been checked.
    Message {
        /// The sender.
        from: PeerId,
        /// The message as decoded.
        message: Box<Message>,
        /// Its transactions with valid signatures.
        verified: Vec<VerifiedTransaction>,
        /// Set when it arrived by gossip.
        gossip: Option<GossipId>,
    },
    /// A peer is connected.
    Connected {
        /// The peer.
        peer: PeerId,
        /// Its newest block.
        head: Height,
        /// The validator key that it proved to have.
        validator: Option<PublicKey>,
    },
    /// A peer is disconnected.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// Blocks that a peer sent from this height on were refused.
    Refused {
        /// The peer that sent them.
        from: PeerId,
        /// The height of the first of them.
        height: Height,
    },
    /// A double signature that was submitted by RPC and has been checked.
    Evidence(Box<Evidence>),
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

/// Destination of guard entries.
pub enum GuardStore {
    /// A two-slot file, synced before a signature leaves.
    File(Box<GuardFile>),
    /// For a dev chain: no other node relies on its signatures, and it must be able to rewind.
    Memory,
}

impl GuardStore {
    /// Durably records the content about to be signed. `log_end` is the end of the consensus log, which has
    /// the causes.
    ///
    /// # Errors
    /// [`NodeError::Storage`]: nothing may be signed in that case.
    pub fn store(&mut self, entry: &GuardEntry, log_end: usize) -> Result<(), NodeError> {
        let Self::File(file) = self else {
            return Ok(());
        };
        let stored = vibecoin_storage::files::GuardEntry {
            height: entry.height,
            round: entry.round,
            step: match entry.step {
                GuardStep::Building => 0,
                GuardStep::Proposal => 1,
                GuardStep::Prevote => 2,
                GuardStep::Precommit => 3,
            },
            payload: encode(entry),
        };
        file.store(stored, log_end)
            .map_err(storage("write the double-sign guard"))
    }
}

/// Host of the replica: performs its actions.
pub struct Driver {
    /// The deterministic state machine.
    pub replica: Replica<StateView, BftOrderer>,
    /// The consensus log.
    pub log: ConsensusLog,
    /// The double-sign guard.
    pub guard: GuardStore,
    /// Transactions; the number of entries and the size of each are bounded.
    pub inbox: Receiver<Input>,
    /// Statements, requests and heads of peers, and their connections and disconnections.
    pub mail: Arc<Mailbox>,
    /// Parts, bodies and blocks of peers, with the transactions whose signatures are valid.
    pub checked: Receiver<Input>,
    /// True if the last input of a peer was from `checked`.
    pub was_checked: bool,
    /// Position of the replica in the last notification to the intake.
    pub position: Option<(Height, Round, bool)>,
    /// Inputs that must not wait behind transactions: durable commits, stops, failures.
    pub urgent: Receiver<Input>,
    /// Outgoing messages to peers.
    pub outlet: Outlet,
    /// Reads blocks for peers.
    pub server: Arc<OnceLock<Server>>,
    /// Blocks to be stored.
    pub commits: Sender<Box<Commit<StateView>>>,
    /// Answers to submissions.
    pub tickets: Arc<Tickets>,
    /// State published to readers.
    pub shared: Arc<Shared>,
    /// The clocks.
    pub clock: Clock,
    /// Number of consecutive inputs taken from peers.
    pub in_a_row: u32,
    /// Distorts outgoing messages, in the build for the fault tests.
    #[cfg(feature = "byzantine")]
    pub liar: Option<crate::byzantine::Liar>,
    /// Number of the pool's departures that have been passed on to readers.
    pub departures_seen: u64,
    /// Number of the pool's promotions that have been passed on to peers.
    pub promotions_seen: u64,
    /// Transactions to be announced again until a block includes them.
    pub again: Again,
}

impl Driver {
    /// Runs until it receives a stop; `records` and `guard` are the contents of the files.
    ///
    /// # Errors
    /// [`NodeError`] when a write failed or the replica halted. Nothing is retried.
    pub fn run(mut self, records: Vec<LogRecord>, guard: Option<GuardEntry>) -> Result<(), NodeError> {
        let mut commits_open = 0u32;
        let mut stopping = false;
        self.replica
            .step(self.clock.now(), Event::Start { records, guard });
        loop {
            commits_open = commits_open.saturating_add(self.perform()?);
            if stopping && commits_open == 0 {
                return Ok(());
            }
            self.beat();
            let input = if stopping {
                self.urgent.recv().ok()
            } else {
                self.wait()
            };
            let event = match input {
                None => Event::Time,
                Some(Input::Transactions { ticket, transactions }) => {
                    Event::Transactions { ticket, transactions }
                }
                Some(Input::Message {
                    from,
                    message,
                    verified,
                    gossip,
                }) => Event::Message {
                    from,
                    message,
                    verified,
                    gossip,
                },
                Some(Input::Connected {
                    peer,
                    head,
                    validator,
                }) => Event::Connected {
                    peer,
                    head,
                    validator,
                },
                Some(Input::Disconnected { peer }) => Event::Disconnected { peer },
                Some(Input::Refused { from, height }) => Event::Refused { from, height },
                Some(Input::Evidence(evidence)) => Event::Evidence(evidence),
                Some(Input::Committed { height, state }) => {
                    commits_open = commits_open.saturating_sub(1);
                    Event::Committed { height, state }
                }
                Some(Input::Stop) => {
                    stopping = true;
                    continue;
                }
                Some(Input::Fail(error)) => return Err(error),
            };
            if stopping {
                // No new work begins; only the commit in progress is awaited.
                continue;
            }
            let begun = Instant::now();
            self.replica.step(self.clock.now(), event);
            self.shared.metrics.worked(begun.elapsed());
        }
    }

    /// The next input, or `None` when a deadline is due. Urgent inputs have priority, then inputs of peers;
    /// but every so often a transaction gets its turn, whatever the load from peers.
    fn wait(&mut self) -> Option<Input> {
        if let Ok(input) = self.urgent.try_recv() {
            return Some(input);
        }
        if self.in_a_row < IN_A_ROW_MAX
            && let Some(input) = self.next_of_peers()
        {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return Some(input);
        }
        self.in_a_row = 0;
        let deadlines = [self.replica.next_deadline(), self.again.next()];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.map(|at| self.clock.instant(at));
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return None;
        }
        if let Ok(input) = self.inbox.try_recv() {
            return Some(input);
        }
        // Nothing else to do: pending batches are sent now.
        self.outlet.flush();
        let due = deadline.map_or_else(never, at);
        // A closed channel means that the node is stopping.
        select! {
            recv(self.urgent) -> input => Some(input.unwrap_or(Input::Stop)),
            recv(self.mail.bell()) -> _ => self.mail.pop(),
            recv(self.checked) -> input => Some(input.unwrap_or(Input::Stop)),
            recv(self.inbox) -> input => Some(input.unwrap_or(Input::Stop)),
            recv(due) -> _ => None,
        }
    }

    /// The next input of peers: checked messages and mail, alternately.
    fn next_of_peers(&mut self) -> Option<Input> {
        let first = if self.was_checked {
            None
        } else {
            self.checked.try_recv().ok()
        };
        self.was_checked = first.is_some();
        first
            .or_else(|| self.mail.pop())
            .or_else(|| self.checked.try_recv().ok())
    }

    /// Performs all actions; returns the number of commits that were handed over.
    fn perform(&mut self) -> Result<u32, NodeError> {
        let mut commits = 0u32;
        while let Some(action) = self.replica.poll() {
            match action {
                // W1: in order, durable only with the next sync.
                Action::Append(record) => {
                    self.shared.rounds.lock().record(&record, self.clock.now());
                    self.shared.metrics.recorded(&record);
                    self.log
                        .append(&encode(&record))
                        .map_err(storage("append to the log"))?;
                }
                // W2: the causes of the next signature.
                Action::SyncLog => {
                    self.shared.metrics.storage.syncs.at(Files::Log).inc();
                    self.log.sync().map_err(storage("sync the log"))?;
                }
                // D1: before the signature leaves.
                Action::Guard(entry) => self.write_guard(&entry)?,
                // D2: one atomic synced write, on the committing thread.
                Action::Commit(commit) => {
                    commits = commits.saturating_add(1);
                    let (height, block, round) =
                        (commit.header.height, commit.hash, commit.certificate.round);
                    let now = self.clock.now();
                    let (steps, rounds) = self.shared.rounds.lock().decided(height, block, round, now);
                    let metrics = &self.shared.metrics;
                    metrics.decided(steps, rounds, commit.ids.len(), now.mono.0);
                    let lost = |_| NodeError::ThreadLost { name: "persist" };
                    self.commits.send(commit).map_err(lost)?;
                }
                // W5: the previous height is durable.
                Action::ResetLog { height } => {
                    self.log.reset(height).map_err(storage("reset the log"))?;
                    if let Some(server) = self.server.get() {
                        server.clear_bodies();
                    }
                }
                Action::Admitted { ticket, results } => {
                    self.shared.metrics.offered(&results);
                    self.note_departures();
                    if let Some(mut answer) = self.tickets.close(ticket, results) {
                        // Only those that remain: a later one of the same batch may have displaced it.
                        let pool = self.replica.pool();
                        let taken = std::mem::take(&mut answer.taken).into_iter();
                        let kept = taken.filter(|transaction| pool.get(transaction.id()).is_some());
                        let kept: Vec<_> = kept.collect();
                        let waits = |it: &Arc<VerifiedTransaction>| pool.get(it.id()).is_some();
                        match answer.take_own() {
                            Own::Any(caller, own) => {
                                let share = Share::Caller(caller);
                                for transaction in own.iter().filter(|it| waits(it)) {
                                    self.outlet.pass_on(transaction);
                                    self.again.told(self.clock.now().mono, share, *transaction.id());
                                }
                            }
                            Own::Message(mut own) => {
                                own.retain(waits);
                                self.outlet.publish(&own);
                            }
                        }
                        self.shared.pool.insert(kept, crate::clock::wall());
                        if let Told::Gossip { gossip, verdict } = answer.send() {
                            self.outlet.forward(gossip, verdict);
                        }
                    }
                }
                Action::RoundStarted {
                    height,
                    round,
                    proposer,
                } => {
                    let now = self.clock.now();
                    self.shared.metrics.consensus.rounds.inc();
                    self.shared
                        .rounds
                        .lock()
                        .round_started(height, round, proposer, now);
                    debug!(target: "node::consensus", %height, %round, %proposer, "round started");
                }
                Action::Untimely {
                    height,
                    round,
                    time,
                    clock,
                } => {
                    self.shared.metrics.consensus.untimely.inc();
                    warn!(target: "node::consensus", %height, %round, time_ms = %time, clock_ms = %clock,
                        "a proposal names another time than this clock shows; if this comes often, look at the clocks");
                }
                Action::Blame { peer, reason } => {
                    debug!(target: "node::network", peer = peer.0, reason, "peer broke a rule");
                    self.outlet.blame(peer, &reason);
                }
                Action::Broadcast(message) => self.broadcast(message),
                Action::Send { to, message } => self.outlet.send(to, &message, self.clock.now().mono),
                Action::Forward { gossip, verdict } => self.outlet.forward(gossip, verdict),
                // Requests for blocks do not arrive here in the node: they go to the serving thread.
                Action::Serve { to, from, count } => {
                    if let Some(server) = self.server.get() {
                        server.ask(Class::Stranger, to, Request::Blocks { from, count });
                    }
                }
                Action::GiveBody { to, block } => {
                    if let Some(server) = self.server.get() {
                        let pack = || self.replica.body(&block);
                        self.outlet.give_body(server, to, block, pack);
                    }
                }
                Action::Halt(fault) => return Err(fault.into()),
            }
        }
        Ok(commits)
    }

    #[cfg(not(feature = "byzantine"))]
    fn broadcast(&mut self, message: Message) {
        self.outlet.broadcast(&message);
    }

    #[cfg(feature = "byzantine")]
    fn broadcast(&mut self, message: Message) {
        let said = match &mut self.liar {
            Some(liar) => liar.distort(message),
            None => vec![message],
        };
        for message in said {
            self.outlet.broadcast(&message);
        }
    }

    fn write_guard(&mut self, entry: &GuardEntry) -> Result<(), NodeError> {
        self.shared.metrics.storage.syncs.at(Files::Guard).inc();
        self.guard.store(entry, self.log.len())
    }

    /// Removes departed transactions from the readers' copy, and records the reason for later queries.
    fn note_departures(&mut self) {
        let (departed, next) = self.replica.pool().departures_since(self.departures_seen);
        if departed.len() > 0 {
            self.shared.note_departures(departed);
        }
        self.departures_seen = next;
    }

    /// Publishes to peers the transactions that were queued and are pending now.
    fn pass_on_promoted(&mut self) {
        let (promoted, next) = self.replica.pool().promoted_since(self.promotions_seen);
        for transaction in promoted {
            self.outlet.pass_on(transaction);
            self.again
                .told(self.clock.now().mono, Share::Promoted, *transaction.id());
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
                self.outlet.pass_on(transaction);
            }
        }
    }

    fn note_pool(&self) {
        let pool = self.replica.pool();
        let queued = u64::try_from(pool.stats().queued).unwrap_or(u64::MAX);
        self.shared.queued.store(queued, Ordering::Relaxed);
        self.shared
            .fee_min
            .store(pool.least_fee(TYPICAL_TRANSACTION_BYTES).0, Ordering::Relaxed);
    }

    fn beat(&mut self) {
        let position = self.replica.position();
        if self.position != Some(position) {
            self.position = Some(position);
            self.outlet.stand(self.replica.stand());
        }
        self.note_departures();
        self.pass_on_promoted();
        self.pass_on_again();
        self.note_pool();
        self.shared
            .driver_beat_ms
            .store(self.clock.uptime_ms(), Ordering::Relaxed);
        let status = self.replica.orderer().status();
        self.shared.metrics.counted(&status.counters);
        let mut consensus = self.shared.consensus.lock();
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
        let head = self.shared.head().header.height;
        let (plan, known) = (self.replica.sync_status(), self.replica.known_height());
        let peers = u32::try_from(plan.peers).unwrap_or(u32::MAX);
        self.shared
            .sync
            .lock()
            .note(self.clock.uptime_ms(), head, known, peers);
        let waiting = self.replica.evidence_waiting();
        let mut evidence = self.shared.evidence.lock();
        if evidence.as_slice() != waiting {
            *evidence = waiting.to_vec();
        }
        drop(evidence);
        if let Some(building) = self.replica.building() {
            let behind_us = self.replica.building_behind_us();
            note_building(&mut self.shared.poh.lock(), building, behind_us);
        }
    }
}

/// Adds to the clock's status the progress of the own block, and the delay of its newest tick.
fn note_building(poh: &mut PohStatus, building: (Height, u32, Hash), behind_us: Option<u64>) {
    (poh.height, poh.tick, poh.hash) = building;
    poh.drift_ms = i64::try_from(behind_us.unwrap_or_default() / 1000).unwrap_or(i64::MAX);
}

fn storage(context: &'static str) -> impl Fn(vibecoin_storage::StorageError) -> NodeError {
    move |source| NodeError::Storage { context, source }
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
