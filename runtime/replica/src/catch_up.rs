//! Application of blocks that others have decided, each with the certificate that proves it.

use std::sync::Arc;

use vibecoin_consensus::{BlockEvent, Orderer, Verdict};
use vibecoin_execution::State;
use vibecoin_primitives::{Height, body_hash};
use vibecoin_sync::{AnswerFault, SyncBlock};

use crate::candidates::Verified;
use crate::check::open_body;
use crate::event::Action;
use crate::{CertifiedBlock, Message, PeerId, Replica};

/// A decided block as received from a peer.
pub(crate) struct Synced {
    block: CertifiedBlock,
    /// Transactions of the same response whose signatures have been checked.
    verified: Arc<Verified>,
}

impl SyncBlock for Synced {
    fn height(&self) -> Height {
        self.block.header.height
    }

    fn byte_len(&self) -> usize {
        self.block.body.len()
    }
}

impl<S: State, O: Orderer> Replica<S, O> {
    /// The height of the first block that is neither here nor being committed.
    fn next_missing(&self) -> Height {
        let next = self.next_height();
        match self.committing {
            Some(_) => next.saturating_add(1),
            None => next,
        }
    }

    pub(crate) fn ask_for_blocks(&mut self) {
        if self.halted {
            return;
        }
        let seen = self.orderer.status().highest_seen;
        self.planner.hint(seen);
        for ask in self.planner.plan(self.next_missing(), self.now.mono) {
            let message = Message::SyncRequest {
                from: ask.from,
                count: ask.count,
            };
            self.do_it(Action::Send {
                to: ask.peer,
                message,
            });
        }
    }

    pub(crate) fn on_blocks(
        &mut self,
        from: PeerId,
        first: Height,
        blocks: Vec<CertifiedBlock>,
        verified: Verified,
    ) -> Verdict {
        let verified = Arc::new(verified);
        let blocks = blocks.into_iter().map(|block| Synced {
            block,
            verified: verified.clone(),
        });
        match self.planner.answer(from, first, blocks.collect(), self.now.mono) {
            // Late, or for a request from before a reconnection: the peer may be honest.
            Ok(()) | Err(AnswerFault::Unsolicited { .. }) => {}
            Err(fault) => self.blame(from, &fault.to_string()),
        }
        self.apply_synced();
        Verdict::Ignored
    }

    /// Passes the next block that arrived with a certificate to the orderer.
    pub(crate) fn apply_synced(&mut self) {
        while !self.halted && self.committing.is_none() {
            let height = self.next_height();
            let Some((peer, synced)) = self.planner.pop(height) else {
                return;
            };
            if let Err(reason) = self.apply(synced) {
                self.blame(peer, &reason);
                self.planner.refused(peer, height);
            }
            self.pump();
        }
    }

    fn apply(&mut self, Synced { block, verified }: Synced) -> Result<(), String> {
        let CertifiedBlock {
            header,
            body,
            certificate,
        } = block;
        let hash = header.hash();
        // The certificate covers the header, and the header names the body.
        certificate
            .verify(
                &self.chain.genesis,
                self.chain.fault_model(),
                &self.chain.validators,
                self.next_height(),
                &hash,
            )
            .map_err(|error| format!("sync: {error}"))?;
        if body_hash(&body) != header.body_hash {
            return Err("sync: the body does not belong to its header".to_owned());
        }
        if self.candidates.verdict(&hash).is_none() {
            // Not logged: the certificate is the proof, and the block can be fetched again.
            match open_body(&header, &body) {
                Ok(Some(body)) => {
                    if !self.judge_with(&header, body, &verified) {
                        return Ok(());
                    }
                }
                Ok(None) | Err(_) => self.keep_undecodable(header.clone()),
            }
        }
        if self.resume_decision(&hash) {
            return Ok(());
        }
        let valid = self.candidates.verdict(&hash) == Some(true);
        let event = BlockEvent::Synced {
            header: Box::new(header),
            certificate,
            valid,
        };
        self.orderer.on_block(event, self.now.mono);
        Ok(())
    }
}
