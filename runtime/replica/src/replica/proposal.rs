//! Our own blocks: from the orderer's request to the block that it proposes.

use vibecoin_consensus::{BlockEvent, LogRecord, Orderer};
use vibecoin_execution::State;
use vibecoin_primitives::{Block, Header, Height, Offence, Round};

use super::Replica;
use crate::Message;
use crate::build::{Built, Extras, Step};
use crate::candidates::Candidate;
use crate::check::is_recorded;
use crate::event::Action;

impl<S: State, O: Orderer> Replica<S, O> {
    pub(super) fn build(&mut self, height: Height, round: Round, rebuild: bool) {
        if height != self.tip.next_height() {
            return;
        }
        let Some(proposer) = self.key else { return };
        if rebuild {
            if let Some(header) = self.candidates.own(round, &proposer) {
                self.report_built(height, round, header);
            }
            return;
        }
        let (chain, state) = (self.tip.chain(), &self.tip.parent().state);
        let oldest = height.saturating_sub(chain.params.evidence_age_max);
        let recorded = |offence: &Offence| is_recorded(chain, state, offence);
        let evidence = match self.evidence.for_block(oldest, height, recorded) {
            Ok(evidence) => evidence,
            Err(error) => return self.halt(error),
        };
        let extras = Extras {
            last_commit: self.tip.head().certificate.clone(),
            evidence,
        };
        let started = self
            .proposer
            .start(&self.tip, round, proposer, extras, self.now.mono);
        match started {
            Ok(()) => {
                self.pool.unpin_all();
                self.stream_parts();
            }
            Err(error) => self.halt(error),
        }
    }

    /// Sends the parts that are ready and not yet sent.
    fn stream_parts(&mut self) {
        let Some(key) = self.key else { return };
        if self.tip.validators().members().len() == 1 {
            return;
        }
        let orderer = &mut self.orderer;
        let parts = self
            .proposer
            .next_parts(key, |statement| orderer.sign_part(statement));
        let messages = parts.into_iter().map(|part| Message::Part(Box::new(part)));
        self.emit_all(messages.map(Action::Broadcast));
    }

    /// Performs the steps of construction that are due.
    pub(super) fn work_on_proposal(&mut self) {
        while !self.halted {
            match self.proposer.step(&mut self.pool, self.now.mono) {
                Ok(None) => return,
                Ok(Some(Step::Continue)) => self.stream_parts(),
                Ok(Some(Step::Complete)) => {
                    self.stream_parts();
                    return self.finish_block();
                }
                Err(error) => return self.halt(error),
            }
        }
    }

    /// Closes the block, appends it to the log and reports it to the orderer.
    fn finish_block(&mut self) {
        let Built {
            header,
            body,
            executed,
        } = match self.proposer.finish(self.now.wall) {
            Ok(Some(built)) => built,
            Ok(None) => return,
            Err(error) => return self.halt(error),
        };
        let block = Block {
            header: header.clone(),
            body: body.clone(),
        };
        self.emit(Action::Append(LogRecord::Block(Box::new(block))));
        let hash = header.hash();
        let candidate = Candidate {
            header: header.clone(),
            body: Some(body),
            executed: Some(executed),
            logged: false,
        };
        self.candidates.keep(hash, candidate);
        self.candidates.mark_logged(&hash);
        self.report_built(header.height, header.round, header);
        self.drain_orderer();
    }

    fn report_built(&mut self, height: Height, round: Round, header: Header) {
        let built = BlockEvent::Built {
            height,
            round,
            header: Box::new(header),
        };
        self.orderer.on_block(built, self.now.mono);
    }
}
