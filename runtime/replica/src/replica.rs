//! The node's brain as a value: one event in, actions out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use vibecoin_consensus::{
    BlockEvent, GuardEntry, HeightParams, LogRecord, MonoTime, Orderer, Output, Timeouts, Verdict,
};
use vibecoin_execution::{State, read_schedule};
use vibecoin_mempool::{Committed as PoolCommit, Mempool};
use vibecoin_primitives::{
    Account, Address, Block, Body, CommitCertificate, Evidence, Hash, Header, Height, PublicKey, Round,
    VerifiedTransaction, body_hash, encode,
};

use crate::build::{Builder, Extras, Step};
use crate::check::{Executed, JudgeError, Parent, judge, open_body};
use crate::event::{Action, Commit, Event, Fault, GossipId, Now, Ticket};
use crate::{CertifiedBlock, Chain, Message, PeerId, SYNC_BLOCKS_MAX};

/// Most candidate blocks kept for one height.
pub const CANDIDATES_MAX: usize = 16;
/// Most bodies kept whose proposal has not come yet.
pub const EARLY_BODIES_MAX: usize = 4;
/// Most pieces of evidence that wait for a block.
pub const EVIDENCE_WAITING_MAX: usize = 256;
/// How long to wait before asking again for a body or for blocks, in microseconds.
pub const RETRY_MICROS: u64 = 200_000;

/// A block of the height being decided.
struct Candidate<S> {
    header: Header,
    /// `None`: the bytes that the header names do not decode.
    body: Option<Body>,
    /// `None`: invalid.
    executed: Option<Executed<S>>,
}

impl<S> Candidate<S> {
    fn message(&self) -> Option<Message> {
        let body = encode(self.body.as_ref()?);
        Some(Message::Body {
            header: Box::new(self.header.clone()),
            body,
        })
    }
}

/// What is needed of a block once its commit has been handed over.
struct Committing {
    header: Header,
    hash: Hash,
    certificate: CommitCertificate,
    ids: Vec<Hash>,
    accounts: Vec<(Address, Option<Account>)>,
}

/// Where the chain stands.
pub struct Head<S> {
    /// The newest block and the state after it.
    pub parent: Parent<S>,
    /// Its certificate; `None` for genesis.
    pub certificate: Option<CommitCertificate>,
}

/// One validator or full node, without its hands.
///
/// Generic over the state, so that the same code runs over RocksDB and over the simulator's memory,
/// and over the orderer.
pub struct Replica<S: State, O: Orderer> {
    chain: Chain,
    key: Option<PublicKey>,
    orderer: O,
    pool: Mempool,
    head: Head<S>,
    /// When the head became durable here.
    head_since: MonoTime,
    candidates: BTreeMap<Hash, Candidate<S>>,
    /// Proposed blocks whose bodies are missing, with the time to ask again.
    wanted: BTreeMap<Hash, (Header, MonoTime)>,
    early: VecDeque<(Hash, Header, Vec<u8>)>,
    builder: Option<Builder<S>>,
    /// The commit that the caller is performing.
    committing: Option<Committing>,
    sync_queue: VecDeque<CertifiedBlock>,
    sync_retry: MonoTime,
    evidence: Vec<Evidence>,
    armed: bool,
    halted: bool,
    now: Now,
    actions: VecDeque<Action<S>>,
}

impl<S: State, O: Orderer> Replica<S, O> {
    /// Makes a replica that stands at `head`. `key` is the validator's public key, if it is one.
    pub fn new(chain: Chain, key: Option<PublicKey>, orderer: O, pool: Mempool, head: Head<S>) -> Self {
        Self {
            chain,
            key,
            orderer,
            pool,
            head,
            head_since: MonoTime::default(),
            candidates: BTreeMap::new(),
            wanted: BTreeMap::new(),
            early: VecDeque::new(),
            builder: None,
            committing: None,
            sync_queue: VecDeque::new(),
            sync_retry: MonoTime::default(),
            evidence: Vec::new(),
            armed: false,
            halted: false,
            now: Now::default(),
            actions: VecDeque::new(),
        }
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

    /// The block under construction, if any: its height, ticks that are done, and the newest hash.
    pub fn building(&self) -> Option<(Height, u32, Hash)> {
        self.builder.as_ref().map(Builder::progress)
    }

    /// The chain's facts.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Takes one event; then drain [`Replica::poll`].
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
            Event::Connected { .. } | Event::Disconnected { .. } => {}
            Event::Transactions { ticket, transactions } => self.admit(ticket, transactions),
            Event::Committed { height, state } => self.on_committed(height, state),
        }
        self.pump();
        self.work();
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action<S>> {
        self.actions.pop_front()
    }

    /// When [`Event::Time`] is due.
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
        let wanted = self.wanted.values().map(|(_, at)| *at).min();
        let sync = self.is_behind().then_some(self.sync_retry);
        [self.orderer.next_deadline(), builder, arm, wanted, sync]
            .into_iter()
            .flatten()
            .min()
    }

    fn do_it(&mut self, action: Action<S>) {
        if self.halted {
            return;
        }
        self.halted = matches!(action, Action::Halt(_));
        self.actions.push_back(action);
    }

    fn halt(&mut self, fault: Fault) {
        self.do_it(Action::Halt(fault));
    }

    fn next_height(&self) -> Height {
        self.head.parent.header.height.saturating_add(1)
    }

    /// Until when an empty block waits; `None` is for ever.
    fn hold_until(&self) -> Option<MonoTime> {
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
        // These are in the log already: to append them again would make it grow with every start, and
        // leave it unsynced when the votes that follow from it are sent.
        for record in &records {
            if let LogRecord::Block(block) = record
                && block.header.height == height
                && !self.judge_logged(&block.header, block.body.clone())
            {
                return;
            }
        }
        let params = self.height_params();
        self.orderer.replay(params, records, guard, self.now.mono);
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
            accounts,
        } = commit;
        self.pool.on_committed(
            &PoolCommit {
                height,
                included: &ids,
                accounts: &accounts,
            },
            self.now.wall.0,
        );
        self.pool.expire(height.saturating_add(1), self.now.wall.0);
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
        self.candidates.clear();
        self.wanted.clear();
        self.builder = None;
        self.armed = false;
        self.early.retain(|(_, header, _)| header.height > height);
        let next = self.next_height();
        self.do_it(Action::ResetLog { height: next });
        let params = self.height_params();
        self.orderer.start_height(params, self.now.mono);
        self.pump();
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
        _verified: Vec<VerifiedTransaction>,
        gossip: Option<GossipId>,
    ) {
        match message {
            Message::Consensus(message) => {
                let verdict = self.orderer.on_message(message, self.now.mono);
                if let Some(gossip) = gossip {
                    self.do_it(Action::Forward { gossip, verdict });
                }
                if let Verdict::Rejected(reason) = verdict {
                    self.do_it(Action::Blame {
                        peer: from,
                        reason: reason.to_owned(),
                    });
                }
            }
            Message::Body { header, body } => self.on_body(from, &header, body),
            Message::BodyRequest { height, block } => {
                if height == self.next_height()
                    && let Some(message) = self.candidates.get(&block).and_then(Candidate::message)
                {
                    self.do_it(Action::Send { to: from, message });
                }
            }
            Message::SyncRequest { from: height, count } => self.do_it(Action::Serve {
                to: from,
                from: height,
                count,
            }),
            Message::SyncResponse { blocks, .. } => self.on_sync(from, blocks),
            // Signatures are checked before transactions come here as `Event::Transactions`.
            Message::Transactions(_) => {}
            Message::Part(_) | Message::Evidence(_) | Message::Status { .. } => {}
        }
    }

    fn on_body(&mut self, from: PeerId, header: &Header, body: Vec<u8>) {
        let hash = header.hash();
        if header.height <= self.head.parent.header.height || self.candidates.contains_key(&hash) {
            return;
        }
        if let Some((header, _)) = self.wanted.get(&hash).cloned() {
            if self.judge_body(&header, &body) {
                self.wanted.remove(&hash);
                self.tell_checked(&hash);
            } else {
                self.do_it(Action::Blame {
                    peer: from,
                    reason: "the body does not belong to its header".to_owned(),
                });
            }
            return;
        }
        let near = header.height <= self.next_height().saturating_add(1);
        if near && !self.early.iter().any(|(early, _, _)| *early == hash) {
            if self.early.len() >= EARLY_BODIES_MAX {
                self.early.pop_front();
            }
            self.early.push_back((hash, header.clone(), body));
        }
    }

    fn on_sync(&mut self, from: PeerId, blocks: Vec<CertifiedBlock>) {
        for block in blocks {
            let expected = self
                .sync_queue
                .back()
                .map_or_else(|| self.next_height(), |last| last.header.height.saturating_add(1));
            let known = block.header.height < expected;
            if known {
                continue;
            }
            if block.header.height > expected || self.sync_queue.len() >= crate::message::SYNC_BLOCKS_MAX {
                break;
            }
            let certified = block.certificate.verify(
                &self.chain.genesis,
                self.chain.fault_model(),
                &self.chain.validators,
                block.header.height,
                &block.header.hash(),
            );
            // The certificate covers the header, and the header names the body.
            let fault = match certified {
                Err(error) => Some(format!("sync: {error}")),
                Ok(()) if body_hash(&block.body) != block.header.body_hash => {
                    Some("sync: the body does not belong to its header".to_owned())
                }
                Ok(()) => None,
            };
            if let Some(reason) = fault {
                self.do_it(Action::Blame { peer: from, reason });
                break;
            }
            self.sync_queue.push_back(block);
        }
        self.apply_synced();
    }

    /// Gives the orderer the next block that came with a certificate.
    fn apply_synced(&mut self) {
        if self.committing.is_some() || self.halted {
            return;
        }
        while let Some(block) = self.sync_queue.pop_front() {
            if block.header.height < self.next_height() {
                continue;
            }
            if block.header.height > self.next_height() {
                self.sync_queue.clear();
                return;
            }
            let hash = block.header.hash();
            if !self.candidates.contains_key(&hash) && !self.judge_body(&block.header, &block.body) {
                return;
            }
            let valid = self
                .candidates
                .get(&hash)
                .is_some_and(|candidate| candidate.executed.is_some());
            let event = BlockEvent::Synced {
                header: Box::new(block.header),
                certificate: block.certificate,
                valid,
            };
            self.orderer.on_block(event, self.now.mono);
            return;
        }
    }

    // ---- candidates ---------------------------------------------------------------------------

    /// Logs a body, judges it and keeps it with the verdict. `false` when the bytes are not the body that
    /// the header names, which is no verdict.
    fn judge_body(&mut self, header: &Header, encoded: &[u8]) -> bool {
        match open_body(header, encoded) {
            Ok(None) => false,
            Ok(Some(body)) => {
                self.log_block(header, &body);
                self.judge_logged(header, body)
            }
            Err(_) => {
                let header = header.clone();
                self.keep(
                    header.hash(),
                    Candidate {
                        header,
                        body: None,
                        executed: None,
                    },
                );
                true
            }
        }
    }

    /// Judges a block that is in the log and keeps it with the verdict. `false` after a halt.
    fn judge_logged(&mut self, header: &Header, body: Body) -> bool {
        let pool = &self.pool;
        let known = |hash: &Hash| pool.get_by_hash(hash).map(|tx| tx.as_ref().clone());
        match judge(&self.chain, &self.head.parent, header, &body, &known) {
            Ok(verdict) => {
                let candidate = Candidate {
                    header: header.clone(),
                    body: Some(body),
                    executed: verdict.ok(),
                };
                self.keep(header.hash(), candidate);
                true
            }
            Err(JudgeError(error)) => {
                self.halt(Fault::State(error));
                false
            }
        }
    }

    fn log_block(&mut self, header: &Header, body: &Body) {
        // A node without a key logs it too: its replay may decide the block and need the body.
        let block = Block {
            header: header.clone(),
            body: body.clone(),
        };
        self.do_it(Action::Append(LogRecord::Block(Box::new(block))));
    }

    fn keep(&mut self, hash: Hash, candidate: Candidate<S>) {
        if self.candidates.len() >= CANDIDATES_MAX {
            // Invalid ones go first: nothing needs them but the memory of the verdict, which the orderer has.
            let victim = self
                .candidates
                .iter()
                .find(|(_, c)| c.executed.is_none())
                .map(|(hash, _)| *hash);
            if let Some(victim) = victim {
                self.candidates.remove(&victim);
            }
        }
        self.candidates.insert(hash, candidate);
    }

    fn tell_checked(&mut self, hash: &Hash) {
        if let Some(candidate) = self.candidates.get(hash) {
            let event = BlockEvent::Checked {
                header: Box::new(candidate.header.clone()),
                valid: candidate.executed.is_some(),
            };
            self.orderer.on_block(event, self.now.mono);
        }
    }

    // ---- the orderer's outputs ----------------------------------------------------------------

    fn pump(&mut self) {
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
                    // A block for a round that is over would be finished, logged and sent for nothing.
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
                Output::Check { header, .. } => self.check(*header),
                Output::Restream { block, .. } => self.restream(&block),
                Output::Decided {
                    certificate,
                    header,
                    evidence,
                } => self.commit(certificate, *header, evidence),
                Output::Halt(reason) => self.halt(Fault::Consensus(reason)),
            }
        }
    }

    fn build(&mut self, height: Height, round: Round, rebuild: bool) {
        if height != self.next_height() {
            return;
        }
        let Some(proposer) = self.key else { return };
        if rebuild {
            let stored = self
                .candidates
                .values()
                .find(|c| c.header.round == round && c.header.proposer == proposer);
            if let Some(header) = stored.map(|c| Box::new(c.header.clone())) {
                self.orderer.on_block(
                    BlockEvent::Built {
                        height,
                        round,
                        header,
                    },
                    self.now.mono,
                );
            }
            return;
        }
        let extras = Extras {
            last_commit: self.head.certificate.clone(),
            evidence: self.evidence_for_block(height),
        };
        let hold = if round.0 == 0 {
            self.hold_until()
        } else {
            Some(self.now.mono)
        };
        let builder = Builder::new(
            self.chain.clone(),
            self.head.parent.clone(),
            height,
            round,
            proposer,
            extras,
            self.now.mono,
            hold,
        );
        match builder {
            Ok(builder) => {
                self.pool.unpin_all();
                self.builder = Some(builder);
            }
            Err(JudgeError(error)) => self.halt(Fault::State(error)),
        }
    }

    fn evidence_for_block(&self, height: Height) -> Vec<Evidence> {
        let oldest = height.saturating_sub(self.chain.params.evidence_age_max);
        self.evidence
            .iter()
            .filter(|evidence| evidence.offender().1 >= oldest)
            .take(vibecoin_primitives::limits::EVIDENCE_MAX)
            .cloned()
            .collect()
    }

    fn check(&mut self, header: Header) {
        let hash = header.hash();
        if self.candidates.contains_key(&hash) {
            return self.tell_checked(&hash);
        }
        if let Some(at) = self.early.iter().position(|(early, _, _)| *early == hash)
            && let Some((_, _, body)) = self.early.remove(at)
            && self.judge_body(&header, &body)
        {
            return self.tell_checked(&hash);
        }
        if self.halted || self.wanted.len() >= CANDIDATES_MAX {
            return;
        }
        let ask_at = self.now.mono.after(RETRY_MICROS);
        self.wanted.insert(hash, (header, ask_at));
    }

    fn restream(&mut self, block: &Hash) {
        if let Some(message) = self.candidates.get(block).and_then(Candidate::message) {
            self.do_it(Action::Broadcast(message));
        }
    }

    fn commit(&mut self, certificate: CommitCertificate, header: Header, evidence: Vec<Evidence>) {
        let hash = header.hash();
        let Some(Candidate {
            body: Some(body),
            executed: Some(executed),
            ..
        }) = self.candidates.remove(&hash)
        else {
            return self.halt(Fault::BodyMissing {
                height: header.height,
                block: hash,
            });
        };
        self.builder = None;
        self.note_evidence(evidence, &body);
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

    /// Remembers new evidence for the next block of ours and forgets what this block carries.
    fn note_evidence(&mut self, evidence: Vec<Evidence>, body: &Body) {
        for piece in evidence {
            if self.evidence.len() < EVIDENCE_WAITING_MAX && !self.evidence.contains(&piece) {
                self.evidence.push(piece);
            }
        }
        self.evidence.retain(|piece| !body.v1().evidence.contains(piece));
    }

    // ---- what time brings ---------------------------------------------------------------------

    fn work(&mut self) {
        self.work_builder();
        if !self.halted && !self.armed && self.committing.is_none() {
            let due = self.hold_until().is_some_and(|at| self.now.mono >= at);
            if due || self.pool.has_pending() {
                self.armed = true;
                self.orderer.arm_propose(self.now.mono);
                self.pump();
            }
        }
        self.ask_again();
    }

    fn work_builder(&mut self) {
        while !self.halted {
            let Some(builder) = self.builder.as_mut() else {
                return;
            };
            if builder
                .due(!self.pool.has_pending())
                .is_none_or(|due| due > self.now.mono)
            {
                return;
            }
            match builder.step(&mut self.pool, self.now.mono) {
                Ok(Step::Continue) => {}
                Ok(Step::Complete) => return self.finish_block(),
                Err(JudgeError(error)) => return self.halt(Fault::State(error)),
            }
        }
    }

    fn finish_block(&mut self) {
        let Some(builder) = self.builder.take() else {
            return;
        };
        let (height, round) = builder.position();
        let built = match builder.finish(self.now.wall) {
            Ok(built) => built,
            Err(JudgeError(error)) => return self.halt(Fault::State(error)),
        };
        let block = Block {
            header: built.header.clone(),
            body: built.body.clone(),
        };
        self.do_it(Action::Append(LogRecord::Block(Box::new(block))));
        let candidate = Candidate {
            header: built.header,
            body: Some(built.body),
            executed: Some(built.executed),
        };
        if self.chain.validators.members().len() > 1
            && let Some(message) = candidate.message()
        {
            self.do_it(Action::Broadcast(message));
        }
        let header = Box::new(candidate.header.clone());
        self.keep(header.hash(), candidate);
        self.orderer.on_block(
            BlockEvent::Built {
                height,
                round,
                header,
            },
            self.now.mono,
        );
        self.pump();
    }

    /// Whether validators have been heard that are at least a height ahead.
    fn is_behind(&self) -> bool {
        self.committing.is_none()
            && self.sync_queue.is_empty()
            && self.orderer.status().highest_seen > self.next_height()
    }

    fn ask_again(&mut self) {
        let now = self.now.mono;
        let mut asks = Vec::new();
        for (hash, (header, at)) in &mut self.wanted {
            if *at <= now {
                *at = now.after(RETRY_MICROS);
                asks.push(Message::BodyRequest {
                    height: header.height,
                    block: *hash,
                });
            }
        }
        for message in asks {
            self.do_it(Action::Broadcast(message));
        }
        if self.is_behind() && self.sync_retry <= now {
            self.sync_retry = now.after(RETRY_MICROS);
            let message = Message::SyncRequest {
                from: self.next_height(),
                count: u32::try_from(SYNC_BLOCKS_MAX).unwrap_or(u32::MAX),
            };
            self.do_it(Action::Broadcast(message));
        }
    }
}
