//! The node's state machine as a value: one event in, actions out.
//!
//! This file has the value, the dispatch of events and of the orderer's outputs, and the work that is due after each
//! event. What an input changes is in a module per topic: [`messages`], [`blocks`] (of other proposers), [`proposal`]
//! (our own blocks) and [`heights`] (start, decision, commit, catching up). Each changes the state of the components
//! through their methods and emits, in order, the actions that they return.

mod blocks;
mod heights;
mod messages;
mod proposal;
mod view;

use std::collections::VecDeque;

use messages::by_hash;
use vibecoin_consensus::{MonoTime, Orderer, Output};
use vibecoin_execution::State;
use vibecoin_mempool::Mempool;
use vibecoin_primitives::PublicKey;

use crate::bodies::Bodies;
use crate::candidates::Candidates;
use crate::catch_up::CatchUp;
use crate::commit::Decision;
use crate::event::{Action, Event, Fault, Now};
use crate::evidence::EvidenceBook;
use crate::peers::Peers;
use crate::propose::Proposer;
use crate::streaming::Streaming;
use crate::timeliness::Timeliness;
use crate::tip::Tip;
use crate::{Chain, Head, Message};

/// One validator or full node, without I/O.
///
/// Generic over the state, so that the same code runs over RocksDB and over the simulator's memory,
/// and over the orderer.
pub struct Replica<S: State, O: Orderer> {
    /// The key that this node votes with, if it does.
    key: Option<PublicKey>,
    /// The head. All of the below that is about "the height being decided" is about its child.
    tip: Tip<S>,
    /// Decides the height after the tip's.
    orderer: O,
    /// Valid on top of the tip's state.
    pool: Mempool,
    candidates: Candidates<S>,
    streaming: Streaming<S>,
    bodies: Bodies,
    timeliness: Timeliness,
    proposer: Proposer<S>,
    /// The decision on the height being decided, once there is one.
    decision: Decision,
    peers: Peers,
    catch_up: CatchUp,
    evidence: EvidenceBook,
    /// True once the wait for round 0's proposal was started at this height.
    propose_timer_started: bool,
    /// True once [`Action::Halt`] was emitted: no action follows, and no event is processed.
    halted: bool,
    /// The time of the event being processed.
    now: Now,
    actions: VecDeque<Action<S>>,
}

impl<S: State, O: Orderer> Replica<S, O> {
    /// Makes a replica with the head `head`. `key` is the validator's public key, if it is one.
    pub fn new(chain: Chain, key: Option<PublicKey>, orderer: O, pool: Mempool, head: Head<S>) -> Self {
        Self {
            catch_up: CatchUp::new(&chain),
            tip: Tip::new(chain, head),
            key,
            orderer,
            pool,
            candidates: Candidates::default(),
            streaming: Streaming::default(),
            bodies: Bodies::default(),
            timeliness: Timeliness::default(),
            proposer: Proposer::default(),
            decision: Decision::default(),
            peers: Peers::default(),
            evidence: EvidenceBook::default(),
            propose_timer_started: false,
            halted: false,
            now: Now::default(),
            actions: VecDeque::new(),
        }
    }

    /// Processes one event; then drain [`Replica::poll`].
    pub fn step(&mut self, now: Now, event: Event<S>) {
        if self.halted {
            return;
        }
        self.now = now;
        match event {
            Event::Start { records, guard } => self.start(records, guard),
            Event::Time => self.orderer.on_time(now.mono),
            Event::Message {
                from,
                message,
                verified,
                gossip,
            } => self.on_message(from, *message, verified, gossip),
            Event::Body { from, body, verified } => self.on_body(from, *body, &by_hash(verified)),
            Event::Blocks {
                from,
                first,
                blocks,
                verified,
            } => self.on_blocks(from, first, blocks, by_hash(verified)),
            Event::Evidence(evidence) => self.on_submitted_evidence(evidence),
            Event::Connected {
                peer,
                head,
                validator,
            } => self.on_connected(peer, head, validator),
            Event::Disconnected { peer } => self.on_disconnected(peer),
            Event::Refused { from, height } => self.catch_up.refused(from, height),
            Event::Transactions { ticket, transactions } => self.admit(ticket, transactions),
            Event::Committed { height, state } => self.on_committed(height, state),
        }
        self.drain_orderer();
        self.work();
    }

    /// The next action to perform.
    pub fn poll(&mut self) -> Option<Action<S>> {
        self.actions.pop_front()
    }

    /// Time at which [`Event::Time`] is due.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let propose = if self.propose_timer_started || self.decision.is_committing() {
            None
        } else {
            self.tip.hold_until()
        };
        // The rest of the expired transactions follows in the next step, which events of peers may precede.
        let expired = self.pool.has_expired().then_some(self.now.mono);
        [
            self.orderer.next_deadline(),
            self.proposer.due(&self.pool),
            propose,
            self.bodies.next_deadline(),
            self.catch_up.next_deadline(),
            expired,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn emit(&mut self, action: Action<S>) {
        if self.halted {
            return;
        }
        self.halted = matches!(action, Action::Halt(_));
        self.actions.push_back(action);
    }

    fn emit_all(&mut self, actions: impl IntoIterator<Item = Action<S>>) {
        for action in actions {
            self.emit(action);
        }
    }

    fn halt(&mut self, fault: impl Into<Fault>) {
        self.emit(Action::Halt(fault.into()));
    }

    /// Performs the outputs of the orderer until there are none.
    fn drain_orderer(&mut self) {
        while !self.halted {
            let Some(output) = self.orderer.poll() else { break };
            match output {
                Output::Append(record) => self.emit(Action::Append(record)),
                Output::SyncLog => self.emit(Action::SyncLog),
                Output::Guard(entry) => self.emit(Action::Guard(entry)),
                Output::Send(message) => self.emit(Action::Broadcast(Message::Consensus(message))),
                Output::RoundStarted {
                    height,
                    round,
                    proposer,
                } => {
                    self.proposer.on_round(height, round);
                    self.emit(Action::RoundStarted {
                        height,
                        round,
                        proposer,
                    });
                }
                Output::Build {
                    height,
                    round,
                    rebuild,
                } => self.build(height, round, rebuild),
                Output::Check { header, round } => self.check(*header, round),
                // A peer that lacks the body of a block that is proposed again requests it.
                Output::Restream { .. } => {}
                Output::Decided {
                    certificate,
                    header,
                    evidence,
                } => self.commit(certificate, *header, evidence),
                Output::Halt(reason) => self.halt(reason),
            }
        }
    }

    /// Performs the work that is due by now.
    fn work(&mut self) {
        self.pool.expire_more();
        self.work_on_proposal();
        self.bound_candidates();
        self.start_propose_timer();
        self.release_untimely();
        self.request_bodies();
        self.request_blocks();
    }

    /// Starts the wait for round 0's proposal, once there is a transaction or an empty block is due.
    fn start_propose_timer(&mut self) {
        if self.halted || self.propose_timer_started || self.decision.is_committing() {
            return;
        }
        let due = self.tip.hold_until().is_some_and(|at| self.now.mono >= at);
        if due || self.pool.has_pending() {
            self.propose_timer_started = true;
            self.orderer.start_propose_timer(self.now.mono);
            self.drain_orderer();
        }
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
