//! Making blocks in our turn, and streaming them to the validators during construction.

use vibecoin_consensus::{BlockEvent, LogRecord, Orderer};
use vibecoin_execution::State;
use vibecoin_primitives::{Block, BlockPart, Height, Offence, PartContent, PartStatement, Round};

use crate::build::{Builder, Extras, Step};
use crate::candidates::{Candidate, EMPTY_FROM};
use crate::check::{JudgeError, is_recorded};
use crate::event::{Action, Fault};
use crate::{Message, Replica};

impl<S: State, O: Orderer> Replica<S, O> {
    pub(crate) fn build(&mut self, height: Height, round: Round, rebuild: bool) {
        if height != self.next_height() {
            return;
        }
        let Some(proposer) = self.key else { return };
        if rebuild {
            if let Some(header) = self.candidates.own(round, &proposer) {
                let built = BlockEvent::Built {
                    height,
                    round,
                    header: Box::new(header),
                };
                self.orderer.on_block(built, self.now.mono);
            }
            return;
        }
        let oldest = height.saturating_sub(self.chain.params.evidence_age_max);
        let (chain, state) = (&self.chain, &self.head.parent.state);
        let recorded = |offence: &Offence| is_recorded(chain, state, offence);
        let evidence = match self.evidence.for_block(oldest, height, recorded) {
            Ok(evidence) => evidence,
            Err(JudgeError(error)) => return self.halt(Fault::State(error)),
        };
        let extras = Extras {
            last_commit: self.head.certificate.clone(),
            evidence,
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
            if round >= EMPTY_FROM {
                0
            } else {
                self.load.limit(self.chain.params.block_operations_max as usize)
            },
        );
        match builder {
            Ok(builder) => {
                self.pool.unpin_all();
                self.builder = Some(builder);
                self.parts_sent = 0;
                self.stream_parts();
            }
            Err(JudgeError(error)) => self.halt(Fault::State(error)),
        }
    }

    /// Sends the parts that are ready and not yet sent.
    fn stream_parts(&mut self) {
        if self.chain.validators.members().len() == 1 {
            return;
        }
        let (Some(builder), Some(proposer)) = (&self.builder, self.key) else {
            return;
        };
        let (height, round) = builder.position();
        let parent = builder.parent_hash();
        let mut parts = Vec::new();
        while self.parts_sent <= builder.ticks().len() {
            let content = match self.parts_sent.checked_sub(1) {
                None => builder.opening(),
                Some(tick) => match builder.ticks().get(tick) {
                    Some(tick) => PartContent::Tick(tick.clone()),
                    None => break,
                },
            };
            let statement = PartStatement {
                height,
                round,
                proposer,
                parent,
                sequence: u32::try_from(self.parts_sent).unwrap_or(u32::MAX),
                digest: content.digest(),
            };
            let Some(signed) = self.orderer.sign_part(statement) else {
                break;
            };
            parts.push(BlockPart { signed, content });
            self.parts_sent = self.parts_sent.saturating_add(1);
        }
        for part in parts {
            self.do_it(Action::Broadcast(Message::Part(Box::new(part))));
        }
    }

    pub(crate) fn work_builder(&mut self) {
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
                Ok(Step::Continue) => self.stream_parts(),
                Ok(Step::Complete) => {
                    self.stream_parts();
                    return self.finish_block();
                }
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
        let header = Box::new(built.header.clone());
        let hash = header.hash();
        let candidate = Candidate {
            header: built.header,
            body: Some(built.body),
            executed: Some(built.executed),
            logged: false,
        };
        self.candidates.keep(hash, candidate);
        self.candidates.mark_logged(&hash);
        let built = BlockEvent::Built {
            height,
            round,
            header,
        };
        self.orderer.on_block(built, self.now.mono);
        self.pump();
    }
}
