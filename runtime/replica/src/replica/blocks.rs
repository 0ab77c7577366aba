//! Blocks of other proposers: their parts, their bodies, and our verdicts.

use std::sync::Arc;

use vibecoin_consensus::{BlockEvent, Orderer, Step, Verdict};
use vibecoin_execution::State;
use vibecoin_primitives::{BlockPart, Body, Hash, Header, PublicKey, Round};

use super::Replica;
use crate::candidates::Candidate;
use crate::check::{Verified, judge, judge_streamed};
use crate::event::Action;
use crate::received::ReceivedBody;
use crate::streaming::Reception;
use crate::validation::Validation;
use crate::{PeerId, examine, planted};

/// Time to wait for the parts of a proposed block before the whole body is requested, in microseconds.
const PARTS_GRACE_MICROS: u64 = 60_000;

impl<S: State, O: Orderer> Replica<S, O> {
    // ---- parts --------------------------------------------------------------------------------

    pub(super) fn on_part(&mut self, part: BlockPart, verified: Verified) -> Verdict {
        if let Err(verdict) = self
            .streaming
            .check(&self.tip, &part, self.key, self.decision.is_committing())
        {
            return verdict;
        }
        let statement = &part.signed.statement;
        if Some(statement.proposer) == self.key {
            self.orderer.on_own_part(statement);
            return Verdict::Ignored;
        }
        if statement.height > self.tip.next_height() || self.decision.is_committing() {
            return self.streaming.keep_for_later(part, Arc::new(verified));
        }
        self.take_part(part, &verified)
    }

    /// Takes a part of the height being decided; its signature was checked.
    fn take_part(&mut self, part: BlockPart, verified: &Verified) -> Verdict {
        match self.streaming.take(&self.tip, &self.pool, part, verified) {
            Ok(Reception::Fresh {
                of,
                progress,
                under_way,
            }) => {
                // A proposer that works on a later round's block shows nothing about this round.
                if under_way && of.0 == Round::ZERO {
                    self.orderer.start_propose_timer(self.now.mono);
                }
                self.orderer.on_proposal_progress(of.0, progress, self.now.mono);
                self.finish_assembly(of);
                Verdict::Fresh
            }
            Ok(Reception::Conflict(evidence)) => {
                self.found_evidence(evidence);
                Verdict::Fresh
            }
            Ok(Reception::Settled(verdict)) => verdict,
            Err(error) => {
                self.halt(error);
                Verdict::Ignored
            }
        }
    }

    /// Takes the parts that arrived for this height while the previous one was being committed.
    pub(super) fn take_later_parts(&mut self) {
        for _ in 0..self.streaming.later_count() {
            let Some((height, part, verified)) = self.streaming.pop_later() else {
                return;
            };
            let next = self.tip.next_height();
            if height == next && !self.decision.is_committing() {
                self.take_part(part, &verified);
            } else if height > next {
                self.streaming.keep_for_later(part, verified);
            }
        }
    }

    /// Judges a block whose last part and whose proposal are both here.
    fn finish_assembly(&mut self, of: (Round, PublicKey)) {
        for (hash, header) in self.bodies.wanted_of(of) {
            if self.judge_assembly(hash, &header) {
                self.bodies.arrived(&hash);
                return self.report_verdict(&hash);
            }
        }
    }

    /// Judges the block of a header from its parts. `false` when they are not all here, or belong to another block.
    fn judge_assembly(&mut self, hash: Hash, header: &Header) -> bool {
        let Some((body, streamed)) = self.streaming.finish(header) else {
            return false;
        };
        let Some(streamed) = streamed else {
            return self.judge_known(header, body);
        };
        let validation = judge_streamed(self.tip.chain(), self.tip.parent(), header, &body, streamed);
        self.keep_judged(hash, header, body, validation)
    }

    // ---- bodies -------------------------------------------------------------------------------

    pub(super) fn on_body(&mut self, from: PeerId, received: ReceivedBody, verified: &Verified) {
        let (hash, height) = (received.hash, received.header.height);
        if height <= self.tip.height() || self.candidates.verdict(&hash).is_some() {
            return;
        }
        if self.bodies.wanted(&hash).is_some() {
            let ReceivedBody { header, body, .. } = received;
            if self.judge_received(&header, body, verified) {
                self.bodies.arrived(&hash);
                self.report_verdict(&hash);
            }
            return;
        }
        // Only a proposal shows whether this block is needed: a few are kept until it arrives. One past its bounds is
        // invalid, and is fetched again to show it.
        let near = height <= self.tip.next_height().saturating_add(1);
        let params = &self.tip.chain().params;
        let fits = |body: &Body| examine::within_bounds(params, body);
        if near && self.peers.is_connected(from) && received.body.as_ref().is_none_or(fits) {
            self.bodies.keep_early(received);
        }
    }

    pub(super) fn on_body_request(&mut self, from: PeerId, block: Hash) -> Verdict {
        let may_send = self.peers.is_connected(from) && self.bodies.may_send(from, self.now.mono);
        if may_send && self.candidates.has_body(&block) {
            self.emit(Action::GiveBody { to: from, block });
        }
        Verdict::Ignored
    }

    /// Sends the requests for bodies that are due.
    pub(super) fn request_bodies(&mut self) {
        let requests = self.bodies.requests(
            self.tip.validators(),
            self.peers.connected(),
            self.key.is_some(),
            self.now.mono,
        );
        self.emit_all(requests);
    }

    // ---- verdicts -----------------------------------------------------------------------------

    /// A proposal of the scheduled proposer, for the round `named`, names this block: its verdict is wanted.
    pub(super) fn check(&mut self, header: Header, named: Round) {
        let hash = header.hash();
        let untimely = planted::clock_check(header.round, named, || self.check_clock(hash, &header));
        self.emit_all(untimely);
        if self.candidates.verdict(&hash).is_some() || self.judge_assembly(hash, &header) {
            return self.report_verdict(&hash);
        }
        if let Some(early) = self.bodies.take_early(&hash)
            && self.judge_received(&header, early.body, &Verified::new())
        {
            return self.report_verdict(&hash);
        }
        if self.halted {
            return;
        }
        let streams = self.key.is_some() && self.peers.has_validator(&header.proposer);
        let grace = if streams { PARTS_GRACE_MICROS } else { 0 };
        self.bodies.want(hash, header, self.now.mono.after(grace));
    }

    /// Compares the time of a proposed block with our clock, if this node votes.
    fn check_clock(&mut self, hash: Hash, header: &Header) -> Option<Action<S>> {
        let at = self.round_and_step();
        self.key.filter(|key| self.tip.is_validator(key))?;
        self.timeliness.check(&self.tip, at, hash, header, self.now.wall)
    }

    fn round_and_step(&self) -> (Round, Step) {
        let status = self.orderer.status();
        (status.round, status.step)
    }

    /// Judges the body of a header, which does not decode if it is `None`, and keeps it with the verdict; `false`
    /// after a halt.
    pub(super) fn judge_received(
        &mut self,
        header: &Header,
        body: Option<Body>,
        verified: &Verified,
    ) -> bool {
        let Some(body) = body else {
            let undecodable = Candidate::undecodable(header.clone());
            self.candidates.keep(header.hash(), undecodable);
            return true;
        };
        self.judge_with(header, body, verified)
    }

    /// Judges a block that is in the log, or whose body was assembled here, and keeps it with the verdict.
    /// `false` after a halt.
    pub(super) fn judge_known(&mut self, header: &Header, body: Body) -> bool {
        self.judge_with(header, body, &Verified::new())
    }

    /// Judges a block and keeps it with the verdict; `false` after a halt.
    fn judge_with(&mut self, header: &Header, body: Body, verified: &Verified) -> bool {
        let pool = &self.pool;
        let known = |hash: &Hash| {
            let found = pool.get_by_hash(hash).or_else(|| verified.get(hash));
            found.map(|tx| tx.as_ref().clone())
        };
        let validation = judge(self.tip.chain(), self.tip.parent(), header, &body, &known);
        self.keep_judged(header.hash(), header, body, validation)
    }

    /// Keeps a judged block; `false` after a halt.
    fn keep_judged(&mut self, hash: Hash, header: &Header, body: Body, validation: Validation<S>) -> bool {
        match Candidate::judged(header.clone(), body, validation) {
            Ok(candidate) => {
                self.candidates.keep(hash, candidate);
                true
            }
            Err(error) => {
                self.halt(error);
                false
            }
        }
    }

    /// Reports the verdict on a judged block to the orderer, after the block is in the log.
    fn report_verdict(&mut self, hash: &Hash) {
        let Some((header, valid)) = self.candidates.judged(hash) else {
            return;
        };
        if self.resume_decision(hash) || self.candidates.drop_oversized(hash) {
            return;
        }
        if valid && self.timeliness.keeps_back(hash, self.round_and_step()) {
            return;
        }
        let record = self.candidates.take_record(hash);
        self.emit_all(record.map(Action::Append));
        let header = Box::new(header);
        self.orderer
            .on_block(BlockEvent::Checked { header, valid }, self.now.mono);
    }

    /// Reports the verdicts that were kept back until this node had prevoted nil.
    pub(super) fn release_untimely(&mut self) {
        loop {
            let released = self.timeliness.release(self.round_and_step());
            if released.is_empty() {
                return;
            }
            for hash in &released {
                self.report_verdict(hash);
            }
            // This may start the next round, in which more of them are released.
            self.drain_orderer();
        }
    }

    /// Drops blocks of past rounds when too much is kept.
    pub(super) fn bound_candidates(&mut self) {
        if self.candidates.is_over() {
            let (round, pinned) = (self.orderer.status().round, self.orderer.pinned());
            self.candidates.bound(round, &pinned);
        }
    }
}
