//! The driver as the host of its replica.

use std::sync::Arc;

use tracing::{debug, warn};
use vibecoin_consensus::{LogRecord, Verdict};
use vibecoin_execution::DecidedBlock;
use vibecoin_host::{ConsensusFiles, Host};
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_primitives::{Hash, Height, PublicKey, Round, TimeMs, VerifiedTransaction};
use vibecoin_replica::{Fault, GossipId, Message, PeerId, Ticket};
use vibecoin_storage::StateView;

use super::Driver;
use crate::again::Share;
use crate::error::NodeError;
use crate::metrics::Files;
use crate::verify::{Completion, Own};

impl Host for Driver {
    type Error = NodeError;

    fn files(&mut self) -> &mut ConsensusFiles {
        &mut self.files
    }

    fn appended(&mut self, record: LogRecord) -> Result<(), NodeError> {
        self.ports.shared.rounds.lock().record(&record, self.clock.now());
        self.ports.shared.metrics.recorded(&record);
        Ok(())
    }

    fn log_synced(&mut self) {
        self.ports.shared.metrics.storage.syncs.at(Files::Log).inc();
    }

    fn guarded(&mut self) {
        self.ports.shared.metrics.storage.syncs.at(Files::Guard).inc();
    }

    fn log_reset(&mut self, _height: Height) {
        if let Some(server) = self.ports.server.get() {
            server.clear_bodies();
        }
    }

    /// The thread `persist` commits it.
    fn commit(&mut self, commit: Box<DecidedBlock<StateView>>) -> Result<(), NodeError> {
        self.commits_open = self.commits_open.saturating_add(1);
        let (height, block, round) = (commit.header.height, commit.hash, commit.certificate.round);
        let now = self.clock.now();
        let (steps, rounds) = self.ports.shared.rounds.lock().decided(height, block, round, now);
        let metrics = &self.ports.shared.metrics;
        metrics.decided(steps, rounds, commit.ids.len(), now.mono.0);
        let lost = |_| NodeError::ThreadLost { name: "persist" };
        self.ports.commits.send(commit).map_err(lost)
    }

    #[cfg(not(feature = "byzantine"))]
    fn broadcast(&mut self, message: Message) -> Result<(), NodeError> {
        self.ports.outbound.broadcast(&message);
        Ok(())
    }

    #[cfg(feature = "byzantine")]
    fn broadcast(&mut self, message: Message) -> Result<(), NodeError> {
        let said = match &mut self.liar {
            Some(liar) => liar.distort(message),
            None => vec![message],
        };
        for message in said {
            self.ports.outbound.broadcast(&message);
        }
        Ok(())
    }

    fn send(&mut self, to: PeerId, message: Message) -> Result<(), NodeError> {
        self.ports.outbound.send(to, &message, self.clock.now().mono);
        Ok(())
    }

    fn send_body(&mut self, to: PeerId, block: Hash) -> Result<(), NodeError> {
        if let Some(server) = self.ports.server.get() {
            let pack = || self.replica.body(&block);
            self.ports.outbound.give_body(server, to, block, pack);
        }
        Ok(())
    }

    fn forward(&mut self, gossip: GossipId, verdict: Verdict) {
        self.ports.outbound.forward(gossip, verdict);
    }

    fn blame(&mut self, peer: PeerId, reason: String) -> Result<(), NodeError> {
        debug!(target: "node::network", peer = peer.0, reason, "peer broke a rule");
        self.ports.outbound.blame(peer, &reason);
        Ok(())
    }

    fn admitted(&mut self, ticket: Ticket, results: Vec<Result<Inserted, MempoolError>>) {
        self.ports.shared.metrics.offered(&results);
        self.note_departures();
        let Some(mut answer) = self.ports.tickets.close(ticket, results) else {
            return;
        };
        // Only those that remain: a later one of the same batch may have displaced it.
        let pool = self.replica.pool();
        let waits = |it: &Arc<VerifiedTransaction>| pool.get(it.id()).is_some();
        let kept = std::mem::take(&mut answer.taken).into_iter();
        let kept: Vec<_> = kept.filter(waits).collect();
        match answer.take_own() {
            Own::Any(caller, own) => {
                let share = Share::Caller(caller);
                for transaction in own.iter().filter(|it| waits(it)) {
                    self.ports.outbound.pass_on(transaction);
                    self.again
                        .announced(self.clock.now().mono, share, *transaction.id());
                }
            }
            Own::Message(mut own) => {
                own.retain(waits);
                self.ports.outbound.publish(&own);
            }
        }
        self.ports.shared.pool.insert(kept, crate::clock::wall());
        if let Completion::Gossip { gossip, verdict } = answer.send() {
            self.ports.outbound.forward(gossip, verdict);
        }
    }

    fn round_started(&mut self, height: Height, round: Round, proposer: PublicKey) {
        let now = self.clock.now();
        self.ports.shared.metrics.consensus.rounds.inc();
        let mut rounds = self.ports.shared.rounds.lock();
        rounds.round_started(height, round, proposer, now);
        drop(rounds);
        debug!(target: "node::consensus", %height, %round, %proposer, "round started");
    }

    fn untimely(&mut self, height: Height, round: Round, time: TimeMs, clock: TimeMs) {
        self.ports.shared.metrics.consensus.untimely.inc();
        warn!(target: "node::consensus", %height, %round, time_ms = %time, clock_ms = %clock,
            "a proposal names another time than this clock shows; if this comes often, look at the clocks");
    }

    fn halt(&mut self, fault: Fault) -> NodeError {
        fault.into()
    }
}
