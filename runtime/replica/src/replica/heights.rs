//! From one height to the next: the start, the decision, the commit, and blocks that others have decided.

use vibecoin_consensus::{BlockEvent, GuardEntry, LogRecord, Orderer};
use vibecoin_execution::{State, read_schedule};
use vibecoin_mempool::Committed as PoolCommit;
use vibecoin_primitives::{CommitCertificate, Evidence, Hash, Header, Height};

use super::Replica;
use crate::candidates::Candidate;
use crate::catch_up::Synced;
use crate::check::Verified;
use crate::commit::{Committing, Deciding, Decision};
use crate::event::{Action, Fault};
use crate::received::ReceivedBlock;
use crate::{Head, Parent, PeerId};

impl<S: State, O: Orderer> Replica<S, O> {
    pub(super) fn start(&mut self, records: Vec<LogRecord>, guard: Option<GuardEntry>) {
        self.tip.start(&records, self.now.mono);
        let height = self.tip.next_height();
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
        let params = self.tip.height_params();
        self.orderer.replay(params, records, guard, self.now.mono);
    }

    // ---- decision and commit ------------------------------------------------------------------

    /// Hands the decided block over to the host, or fetches its body again.
    pub(super) fn commit(&mut self, certificate: CommitCertificate, header: Header, evidence: Vec<Evidence>) {
        let hash = header.hash();
        if self.candidates.verdict(&hash).is_none() && header.height == self.tip.next_height() {
            // Of a round long past: its body was dropped for those of later ones.
            self.bodies.want(hash, header.clone(), self.now.mono);
            self.decision = Decision::Deciding(Deciding {
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
        self.proposer.stop();
        self.candidates.keep_decided(hash, &header, &body);
        self.evidence.in_block(&body);
        for piece in &body.v1().evidence {
            self.watch_evidence(piece);
        }
        for piece in evidence {
            self.found_evidence(piece);
        }
        let (committing, commit) = Committing::new(header, hash, certificate, body, executed);
        self.decision = Decision::Committing(committing);
        self.emit(Action::Commit(commit));
    }

    /// Commits the block if it is the one whose decision waits for its body; `false` when it is not.
    pub(super) fn resume_decision(&mut self, block: &Hash) -> bool {
        let Some(Deciding {
            certificate,
            header,
            evidence,
        }) = self.decision.take_deciding(block)
        else {
            return false;
        };
        self.commit(certificate, header, evidence);
        true
    }

    /// The block is durable: it is the head from now on, and the next height begins.
    pub(super) fn on_committed(&mut self, height: Height, state: S) {
        let Some(commit) = self.decision.take_committed(height) else {
            return;
        };
        let schedule = match read_schedule(&state) {
            Ok(schedule) => schedule,
            Err(error) => return self.halt(Fault::State(error.to_string())),
        };
        let (now, took) = (self.now, self.tip.age_us(self.now.mono));
        self.proposer
            .on_committed(&self.tip, took, commit.operations, commit.header.round);
        let committed = PoolCommit {
            height,
            included: &commit.ids,
            accounts: &commit.accounts,
        };
        self.pool.on_committed(&committed, now.wall.0);
        let parent = Parent {
            header: commit.header,
            hash: commit.hash,
            state,
            schedule,
        };
        let head = Head {
            parent,
            certificate: Some(commit.certificate),
        };
        self.tip.advance(head, now.mono);
        self.begin_height(height);
    }

    /// Begins the height after `done`.
    fn begin_height(&mut self, done: Height) {
        self.candidates.begin_height();
        self.streaming.begin_height();
        self.bodies.begin_height(done);
        self.timeliness.begin_height();
        self.proposer.stop();
        self.propose_timer_started = false;
        let next = self.tip.next_height();
        self.catch_up.begin_height(next);
        self.emit(Action::ResetLog { height: next });
        self.announce_head();
        self.orderer.start_height(self.tip.height_params(), self.now.mono);
        self.drain_orderer();
        self.take_later_parts();
        self.apply_synced();
    }

    // ---- catching up --------------------------------------------------------------------------

    /// Sends the requests for decided blocks that are due.
    pub(super) fn request_blocks(&mut self) {
        if self.halted {
            return;
        }
        let ahead = if self.decision.is_committing() { 2 } else { 1 };
        let missing = self.tip.height().saturating_add(ahead);
        let seen = self.orderer.status().highest_seen;
        let requests = self.catch_up.requests(missing, seen, self.now.mono);
        self.emit_all(requests);
    }

    pub(super) fn on_blocks(
        &mut self,
        from: PeerId,
        first: Height,
        blocks: Vec<ReceivedBlock>,
        verified: Verified,
    ) {
        let taken = self
            .catch_up
            .on_blocks(from, first, blocks, verified, self.now.mono);
        if let Err(fault) = taken {
            self.blame(from, &fault);
        }
        self.apply_synced();
    }

    /// Passes the next block that arrived with a certificate to the orderer.
    fn apply_synced(&mut self) {
        while !self.halted && !self.decision.is_committing() {
            let height = self.tip.next_height();
            let Some((_, synced)) = self.catch_up.pop(height) else {
                return;
            };
            self.apply(synced);
            self.drain_orderer();
        }
    }

    /// Judges a decided block if that has not been done yet, and passes it on.
    fn apply(&mut self, Synced { block, verified }: Synced) {
        let ReceivedBlock {
            header,
            hash,
            body,
            certificate,
            ..
        } = block;
        // Not logged: the certificate is the proof, and the block can be fetched again.
        let judged = self.candidates.verdict(&hash).is_some();
        if !judged && !self.judge_received(&header, body, &verified) {
            return;
        }
        if self.resume_decision(&hash) {
            return;
        }
        let valid = self.candidates.verdict(&hash) == Some(true);
        let event = BlockEvent::Synced {
            header: Box::new(header),
            certificate,
            valid,
        };
        self.orderer.on_block(event, self.now.mono);
    }
}
