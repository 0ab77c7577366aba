//! The node's state machine as a value: one event in, actions out.
//!
//! This file has the value itself, its heights and the handling of the orderer's outputs. [`crate::propose`]
//! makes blocks, [`crate::candidates`] receives those of others, [`crate::catch_up`] applies decided ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use vibecoin_consensus::{
    ConsensusMessage, GuardEntry, HeightParams, LogRecord, MonoTime, Orderer, Output, Timeouts, Verdict,
};
use vibecoin_execution::{State, execute_body, read_schedule};
use vibecoin_mempool::{Committed as PoolCommit, Mempool};
use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{
    Account, Address, CommitCertificate, Evidence, Hash, Header, Height, ProposerOrder, ProposerSchedule,
    PublicKey, Round, VerifiedTransaction,
};
use vibecoin_sync::{Planner, PlannerConfig};

use crate::build::Builder;
use crate::candidates::{Candidate, Candidates, Verified};
use crate::catch_up::Synced;
use crate::check::{Executed, JudgeError, Parent, context, is_recorded};
use crate::event::{Action, Commit, Event, Fault, GossipId, Now, Ticket};
use crate::evidence::EvidenceBook;
use crate::intake::Stand;
use crate::load::LoadControl;
use crate::{Chain, Message, PeerId};

/// Time before a body is requested again, in microseconds.
pub const RETRY_MICROS: u64 = 200_000;
/// Maximum number of bodies sent to one peer in that time: each costs far more than the request.
pub const BODIES_PER_RETRY: u32 = 4;
/// Minimum time between two announcements of our newest block, in microseconds.
pub const STATUS_MICROS: u64 = 500_000;

/// Data of a block needed after its commit has been handed over.
pub(crate) struct Committing {
    pub header: Header,
    hash: Hash,
    certificate: CommitCertificate,
    ids: Vec<Hash>,
    /// Number of operations in its transactions.
    operations: usize,
    /// Validators whose double signatures it records.
    offenders: Vec<PublicKey>,
    accounts: Vec<(Address, Option<Account>)>,
}

/// A decision that waits for its body.
pub(crate) struct Deciding {
    certificate: CommitCertificate,
    header: Header,
    evidence: Vec<Evidence>,
}

/// The newest block of the chain.
pub struct Head<S> {
    /// The newest block and the state after it.
    pub parent: Parent<S>,
    /// Its certificate; `None` for genesis.
    pub certificate: Option<CommitCertificate>,
}

/// One validator or full node, without I/O.
///
/// Generic over the state, so that the same code runs over RocksDB and over the simulator's memory,
/// and over the orderer.
pub struct Replica<S: State, O: Orderer> {
    pub(crate) chain: Chain,
    pub(crate) key: Option<PublicKey>,
    pub(crate) orderer: O,
    pub(crate) pool: Mempool,
    pub(crate) head: Head<S>,
    /// Proposers at the next height, sorted once: each part needs them.
    pub(crate) turns: ProposerOrder,
    /// Time at which the head became durable here.
    head_since: MonoTime,
    pub(crate) candidates: Candidates<S>,
    pub(crate) builder: Option<Builder<S>>,
    /// Parts of the block under construction that have been sent.
    pub(crate) parts_sent: usize,
    /// The commit that the caller is performing.
    pub(crate) committing: Option<Committing>,
    /// A decision on a block whose body is no longer here: it is fetched again.
    pub(crate) deciding: Option<Deciding>,
    /// Connected peers, and the validator identity of each.
    pub(crate) peers: BTreeMap<PeerId, Option<PublicKey>>,
    /// Start of the counting window for bodies sent to a peer, and their number.
    given: BTreeMap<PeerId, (MonoTime, u32)>,
    pub(crate) planner: Planner<Synced>,
    /// The highest height of a verified vote, by validator.
    pub(crate) voted: BTreeMap<PublicKey, Height>,
    pub(crate) evidence: EvidenceBook,
    pub(crate) load: LoadControl,
    status_sent: Option<MonoTime>,
    armed: bool,
    pub(crate) halted: bool,
    pub(crate) now: Now,
    actions: VecDeque<Action<S>>,
}

impl<S: State, O: Orderer> Replica<S, O> {
    /// Makes a replica with the head `head`. `key` is the validator's public key, if it is one.
    pub fn new(chain: Chain, key: Option<PublicKey>, orderer: O, pool: Mempool, head: Head<S>) -> Self {
        // As long as validators wait for late votes, consensus may still deliver a block that others have.
        let planner = PlannerConfig {
            grace: Timeouts::from(&*chain.params).prevote,
            ..PlannerConfig::default()
        };
        let next = head.parent.header.height.saturating_add(1);
        Self {
            turns: head.parent.schedule.order(&chain.validators, next),
            chain,
            key,
            orderer,
            pool,
            head,
            head_since: MonoTime::default(),
            candidates: Candidates::default(),
            builder: None,
            parts_sent: 0,
            committing: None,
            deciding: None,
            peers: BTreeMap::new(),
            given: BTreeMap::new(),
            planner: Planner::new(planner),
            voted: BTreeMap::new(),
            evidence: EvidenceBook::default(),
            load: LoadControl::default(),
            status_sent: None,
            armed: false,
            halted: false,
            now: Now::default(),
            actions: VecDeque::new(),
        }
    }

    /// The key that this node votes with, if it does.
    pub const fn key(&self) -> Option<PublicKey> {
        self.key
    }

    /// The newest durable block and the state after it.
    pub const fn head(&self) -> &Head<S> {
        &self.head
    }

    /// The pool, for reading.
    pub const fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// The pool, for an operator's removals.
    pub const fn pool_mut(&mut self) -> &mut Mempool {
        &mut self.pool
    }

    /// The orderer, for reading.
    pub const fn orderer(&self) -> &O {
        &self.orderer
    }

    /// Number of blocks kept of the height being decided, and approximately the bytes that they hold.
    pub fn candidates_held(&self) -> (usize, usize) {
        self.candidates.held()
    }

    /// The body of a block of the height being decided, or of the newest decided one. Each call encodes it
    /// again: keep it for all requests.
    pub fn body(&self, block: &Hash) -> Option<Message> {
        self.candidates.message(block)
    }

    /// Double signatures that were found and wait for a block of ours.
    pub fn evidence_waiting(&self) -> &[Evidence] {
        self.evidence.waiting()
    }

    /// State of catching up.
    pub fn sync_status(&self) -> vibecoin_sync::PlannerStatus {
        self.planner.status()
    }

    /// The block under construction, if any: its height, the number of ticks done, and the newest hash.
    pub fn building(&self) -> Option<(Height, u32, Hash)> {
        self.builder.as_ref().map(Builder::progress)
    }

    /// Delay of the end of the newest tick of the own block, in microseconds.
    pub fn building_behind_us(&self) -> Option<u64> {
        self.builder.as_ref().map(Builder::behind_us)
    }

    /// The height that parts are taken for, its round, and true while its block is being committed. When it
    /// changes, [`Replica::stand`] returns another value.
    pub fn position(&self) -> (Height, Round, bool) {
        (
            self.next_height(),
            self.orderer.status().round,
            self.committing.is_some(),
        )
    }

    /// Proposers of the current and the next rounds, for [`crate::Intake`].
    pub fn stand(&self) -> Stand {
        let (height, round, _) = self.position();
        let (set, schedule) = (&self.chain.validators, &self.head.parent.schedule);
        let (first, length) = Stand::window(round);
        let key = |schedule: &ProposerSchedule, height, round| {
            let member = schedule.proposer(set, height, round);
            member.map(|member| member.key)
        };
        let rounds = (first.0..).take(usize::try_from(length).unwrap_or(usize::MAX));
        let turns = rounds.map_while(|round| key(schedule, height, Round(round)));
        let next_turns = self.committing.as_ref().map(|commit| {
            let mut schedule = if active(Bug::TurnStale) {
                schedule.after(set, height, Round::ZERO)
            } else {
                schedule.after(set, height, commit.header.round)
            };
            schedule.hold_back(set, height, &commit.offenders);
            let next = height.saturating_add(1);
            let turns = (0..Stand::NEXT_ROUNDS).map_while(|round| key(&schedule, next, Round(round)));
            turns.collect()
        });
        Stand {
            height,
            round,
            first,
            turns: turns.collect(),
            next_turns: next_turns.unwrap_or_default(),
        }
    }

    /// The chain's constants.
    pub const fn chain(&self) -> &Chain {
        &self.chain
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
            Event::Evidence(evidence) => {
                if self.on_evidence((*evidence).clone()) == Verdict::Fresh {
                    self.do_it(Action::Broadcast(Message::Evidence(evidence)));
                }
            }
            Event::Connected {
                peer,
                head,
                validator,
            } => {
                self.peers.insert(peer, validator);
                self.planner.connected(peer, head);
                if let Some(validator) = validator {
                    self.planner.is_validator(peer);
                    self.orderer.back(validator, now.mono);
                }
            }
            Event::Disconnected { peer } => {
                let validator = self.peers.remove(&peer).flatten();
                let elsewhere = self.peers.values().any(|other| *other == validator);
                if let Some(validator) = validator.filter(|_| !elsewhere) {
                    self.orderer.gone(validator, now.mono);
                }
                self.given.remove(&peer);
                self.planner.disconnected(peer);
            }
            Event::Refused { from, height } => self.planner.refused(from, height),
            Event::Transactions { ticket, transactions } => self.admit(ticket, transactions),
            Event::Committed { height, state } => self.on_committed(height, state),
        }
        self.pump();
        self.work();
    }

    /// The next action to perform.
    pub fn poll(&mut self) -> Option<Action<S>> {
        self.actions.pop_front()
    }

    /// Time at which [`Event::Time`] is due.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let builder = self
            .builder
            .as_ref()
            .and_then(|b| b.due(!self.pool.has_pending()));
        let arm = if self.armed || self.committing.is_some() {
            None
        } else {
            self.hold_until()
        };
        let wanted = self.candidates.next_deadline();
        let sync = self.planner.next_deadline();
        // The rest of the expired transactions follows in the next step, which events of peers may precede.
        let expired = self.pool.has_expired().then_some(self.now.mono);
        [self.orderer.next_deadline(), builder, arm, wanted, sync, expired]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn do_it(&mut self, action: Action<S>) {
        if self.halted {
            return;
        }
        self.halted = matches!(action, Action::Halt(_));
        self.actions.push_back(action);
    }

    pub(crate) fn halt(&mut self, fault: Fault) {
        self.do_it(Action::Halt(fault));
    }

    pub(crate) fn next_height(&self) -> Height {
        self.head.parent.header.height.saturating_add(1)
    }

    /// Time until which an empty block waits; `None` is without end.
    pub(crate) fn hold_until(&self) -> Option<MonoTime> {
        let interval = u64::from(self.chain.params.empty_block_interval_ms);
        (interval > 0).then(|| self.head_since.after(interval.saturating_mul(1000)))
    }

    fn height_params(&self) -> HeightParams {
        HeightParams {
            height: self.next_height(),
            validators: self.chain.validators.clone(),
            schedule: self.head.parent.schedule.clone(),
            fault_model: self.chain.fault_model(),
            timeouts: Timeouts::from(self.chain.params.as_ref()),
        }
    }

    // ---- start, heights -----------------------------------------------------------------------

    fn start(&mut self, records: Vec<LogRecord>, guard: Option<GuardEntry>) {
        self.head_since = self.now.mono;
        let height = self.next_height();
        if active(Bug::AppliedTwice) && !records.is_empty() {
            self.apply_twice(&records);
        }
        // These are in the log already: appending them again would make it grow with every start, and leave
        // it unsynced when the votes that follow from it are sent.
        for record in &records {
            let LogRecord::Block(block) = record else { continue };
            if block.header.height != height {
                continue;
            }
            if !self.judge_known(&block.header, block.body.clone()) {
                return;
            }
            self.candidates.mark_logged(&block.header.hash());
        }
        let params = self.height_params();
        self.orderer.replay(params, records, guard, self.now.mono);
    }

    /// Effect of [`Bug::AppliedTwice`]: the block of the head is still in the log, so it is applied again.
    fn apply_twice(&mut self, records: &[LogRecord]) {
        let head = &mut self.head.parent;
        let stored = records
            .iter()
            .any(|record| matches!(record, LogRecord::Block(block) if block.header == head.header));
        let proposer = self.chain.validators.find(&head.header.proposer);
        if let Some((_, proposer)) = proposer.filter(|_| stored)
            && let context = context(&self.chain, head.header.height, proposer.payout)
            && let Ok(outcome) = execute_body(&head.state, context, [], head.header.round)
            && let Ok((state, _)) = head.state.apply(&outcome.changes)
        {
            head.state = state;
        }
    }

    fn on_committed(&mut self, height: Height, state: S) {
        let Some(commit) = self.committing.take_if(|commit| commit.header.height == height) else {
            return;
        };
        let schedule = match read_schedule(&state) {
            Ok(schedule) => schedule,
            Err(error) => return self.halt(Fault::State(error.to_string())),
        };
        let Committing {
            header,
            hash,
            certificate,
            ids,
            operations,
            accounts,
            offenders: _,
        } = commit;
        let params = &self.chain.params;
        self.load.on_block(
            self.now.mono.0.saturating_sub(self.head_since.0),
            params.ticks_ms(params.ticks_per_block).saturating_mul(1000),
            operations,
            header.round.0 == 0,
            params.block_operations_max as usize,
        );
        self.pool.on_committed(
            &PoolCommit {
                height,
                included: &ids,
                accounts: &accounts,
            },
            self.now.wall.0,
        );
        self.head = Head {
            parent: Parent {
                header,
                hash,
                state,
                schedule,
            },
            certificate: Some(certificate),
        };
        self.head_since = self.now.mono;
        self.candidates.begin_height(height);
        self.builder = None;
        self.deciding = None;
        self.armed = false;
        let next = self.next_height();
        self.turns = self.head.parent.schedule.order(&self.chain.validators, next);
        self.planner.advanced(next);
        self.do_it(Action::ResetLog { height: next });
        self.tell_status(height);
        let params = self.height_params();
        self.orderer.start_height(params, self.now.mono);
        self.pump();
        self.take_later_parts();
        self.apply_synced();
    }

    // ---- events -------------------------------------------------------------------------------

    fn admit(&mut self, ticket: Ticket, transactions: Vec<Arc<VerifiedTransaction>>) {
        let next = self.next_height();
        let mut results = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            match self.head.parent.state.account(&transaction.sender()) {
                Ok(account) => {
                    results.push(
                        self.pool
                            .insert(transaction, account.as_ref(), next, self.now.wall.0),
                    );
                }
                Err(error) => return self.halt(Fault::State(error.to_string())),
            }
        }
        self.do_it(Action::Admitted { ticket, results });
    }

    fn on_message(
        &mut self,
        from: PeerId,
        message: Message,
        verified: Vec<VerifiedTransaction>,
        gossip: Option<GossipId>,
    ) {
        let verified: Verified = verified
            .into_iter()
            .map(|tx| (*tx.hash(), Arc::new(tx)))
            .collect();
        let verdict = match message {
            Message::Consensus(message) => self.on_statement(from, message),
            Message::Evidence(evidence) => self.on_evidence(*evidence),
            Message::Part(part) => self.on_part(*part, verified),
            Message::Body { header, body } => self.on_body(from, &header, body, &verified),
            Message::BodyRequest { block, .. } => {
                if self.may_have_a_body(from) && self.candidates.has_body(&block) {
                    self.do_it(Action::GiveBody { to: from, block });
                }
                Verdict::Ignored
            }
            Message::SyncRequest { from: height, count } => {
                self.do_it(Action::Serve {
                    to: from,
                    from: height,
                    count,
                });
                Verdict::Ignored
            }
            Message::SyncResponse { from: first, blocks } => self.on_blocks(from, first, blocks, verified),
            Message::Status { height } => {
                self.planner.head(from, height);
                Verdict::Ignored
            }
            // Signatures are checked before transactions arrive here as `Event::Transactions`.
            Message::Transactions(_) => Verdict::Ignored,
        };
        if let Some(gossip) = gossip {
            self.do_it(Action::Forward { gossip, verdict });
        }
        if let Verdict::Rejected(reason) = verdict {
            self.blame(from, reason);
        }
    }

    /// Handles a consensus message. A vote for height h proves that its sender has block h-1; we record it at once,
    /// since a status is sent only twice a second and a node that missed a block would be behind for as long.
    fn on_statement(&mut self, from: PeerId, message: ConsensusMessage) -> Verdict {
        let height = message.height();
        let vote = match &message {
            ConsensusMessage::Vote(vote) => Some(vote.vote.clone()),
            _ => None,
        };
        let verdict = self.orderer.on_message(message, self.now.mono);
        if let Some(vote) = vote
            && matches!(verdict, Verdict::Fresh | Verdict::Known)
        {
            if self.peers.get(&from) == Some(&Some(vote.validator)) {
                self.planner.has(from, height.saturating_sub(1));
            }
            let voted = self.voted.entry(vote.validator).or_default();
            *voted = height.max(*voted);
            if height >= self.next_height() {
                self.candidates.note_vote(&vote);
            }
        }
        verdict
    }

    /// Counts a body request; an honest peer requests each body once in [`RETRY_MICROS`].
    fn may_have_a_body(&mut self, peer: PeerId) -> bool {
        if !self.peers.contains_key(&peer) {
            return false;
        }
        let now = self.now.mono;
        let (since, given) = self.given.entry(peer).or_insert((now, 0));
        if now >= since.after(RETRY_MICROS) {
            (*since, *given) = (now, 0);
        }
        *given = given.saturating_add(1);
        *given <= BODIES_PER_RETRY
    }

    pub(crate) fn blame(&mut self, peer: PeerId, reason: &str) {
        self.do_it(Action::Blame {
            peer,
            reason: reason.to_owned(),
        });
    }

    fn on_evidence(&mut self, evidence: Evidence) -> Verdict {
        let (_, at) = evidence.offender();
        let next = self.next_height();
        // Too old to count, or about a height that this node has not reached: no block of ours may carry it
        // yet, and a node that saw the offence puts it into its own block.
        if at.saturating_add(self.chain.params.evidence_age_max) < next || at > next {
            return Verdict::Ignored;
        }
        let offence = evidence.offence();
        // Nothing is forwarded whose signatures were not checked: of a known offence that is only the waiting
        // piece, byte for byte.
        if self.evidence.has(&evidence) {
            return Verdict::Known;
        }
        // Evidence against this node's own key is verified even so: it may show that the key signs elsewhere.
        let is_own = self.key == Some(offence.validator);
        if self.evidence.knows(&offence) || !(is_own || self.evidence.has_room(&offence.validator)) {
            return Verdict::Ignored;
        }
        match is_recorded(&self.chain, &self.head.parent.state, &offence) {
            Ok(true) => return Verdict::Ignored,
            Ok(false) => {}
            Err(JudgeError(error)) => {
                self.halt(Fault::State(error));
                return Verdict::Ignored;
            }
        }
        if evidence
            .verify(&self.chain.genesis, &self.chain.validators)
            .is_err()
        {
            return Verdict::Rejected("evidence that proves nothing");
        }
        self.watch_evidence(&evidence);
        if self.evidence.add(evidence) {
            Verdict::Fresh
        } else {
            Verdict::Ignored
        }
    }

    /// Evidence against this node's own key may show that the key also signs elsewhere.
    fn watch_evidence(&mut self, evidence: &Evidence) {
        if self.key == Some(evidence.offender().0) {
            self.orderer.on_own_evidence(evidence);
        }
    }

    /// Keeps evidence found here for a block of ours, and broadcasts it.
    pub(crate) fn found_evidence(&mut self, evidence: Evidence) {
        self.watch_evidence(&evidence);
        if self.evidence.add(evidence.clone()) {
            self.do_it(Action::Broadcast(Message::Evidence(Box::new(evidence))));
        }
    }

    /// Announces our head to peers, rate limited by [`STATUS_MICROS`].
    fn tell_status(&mut self, height: Height) {
        let due = self
            .status_sent
            .is_none_or(|at| self.now.mono >= at.after(STATUS_MICROS));
        if due && !self.peers.is_empty() {
            self.status_sent = Some(self.now.mono);
            self.do_it(Action::Broadcast(Message::Status { height }));
        }
    }

    // ---- the orderer's outputs ----------------------------------------------------------------

    pub(crate) fn pump(&mut self) {
        while !self.halted {
            let Some(output) = self.orderer.poll() else { break };
            match output {
                Output::Append(record) => self.do_it(Action::Append(record)),
                Output::SyncLog => self.do_it(Action::SyncLog),
                Output::Guard(entry) => self.do_it(Action::Guard(entry)),
                Output::Send(message) => self.do_it(Action::Broadcast(Message::Consensus(message))),
                Output::RoundStarted {
                    height,
                    round,
                    proposer,
                } => {
                    // A block for a past round would be finished, logged and sent without use.
                    if self
                        .builder
                        .as_ref()
                        .is_some_and(|builder| builder.position() != (height, round))
                    {
                        self.builder = None;
                    }
                    self.do_it(Action::RoundStarted {
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
                Output::Halt(reason) => self.halt(Fault::Consensus(reason)),
            }
        }
    }

    fn commit(&mut self, certificate: CommitCertificate, header: Header, evidence: Vec<Evidence>) {
        let hash = header.hash();
        if self.candidates.verdict(&hash).is_none() && header.height == self.next_height() {
            // Of a round long past: its body was dropped for those of later ones.
            self.candidates.want(hash, header.clone(), self.now.mono);
            self.deciding = Some(Deciding {
                certificate,
                header,
                evidence,
            });
            return;
        }
        let Some(Candidate {
            body: Some(body),
            executed: Some(executed),
            ..
        }) = self.candidates.take(&hash)
        else {
            return self.halt(Fault::BodyMissing {
                height: header.height,
                block: hash,
            });
        };
        self.builder = None;
        self.candidates.keep_decided(hash, &header, &body);
        self.evidence.in_block(&body);
        for piece in &body.v1().evidence {
            self.watch_evidence(piece);
        }
        for piece in evidence {
            self.found_evidence(piece);
        }
        let Executed {
            outcome,
            diff,
            state,
            ids,
        } = executed;
        self.committing = Some(Committing {
            header: header.clone(),
            hash,
            certificate: certificate.clone(),
            ids: ids.clone(),
            operations: body.transactions().fold(0, |sum, transaction| {
                sum.saturating_add(transaction.body().operations.len())
            }),
            offenders: body
                .v1()
                .evidence
                .iter()
                .map(|piece| piece.offender().0)
                .collect(),
            accounts: outcome
                .changes
                .accounts
                .into_iter()
                .map(|(address, account)| (address, Some(account)))
                .collect(),
        });
        let receipts = outcome.receipts;
        self.do_it(Action::Commit(Box::new(Commit {
            header,
            hash,
            body,
            certificate,
            receipts,
            diff,
            ids,
            state,
        })));
    }

    /// Commits the block if it is the one whose decision waits for its body; `false` when it is not.
    pub(crate) fn resume_decision(&mut self, block: &Hash) -> bool {
        let Some(Deciding {
            certificate,
            header,
            evidence,
        }) = self
            .deciding
            .take_if(|deciding| deciding.certificate.block == *block)
        else {
            return false;
        };
        self.commit(certificate, header, evidence);
        true
    }

    // ---- timed work ---------------------------------------------------------------------------

    fn work(&mut self) {
        self.pool.expire_more();
        self.work_builder();
        self.bound_candidates();
        if !self.halted && !self.armed && self.committing.is_none() {
            let due = self.hold_until().is_some_and(|at| self.now.mono >= at);
            if due || self.pool.has_pending() {
                self.armed = true;
                self.orderer.arm_propose(self.now.mono);
                self.pump();
            }
        }
        self.tell_untimely();
        self.ask_for_bodies();
        self.ask_for_blocks();
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
