//! Fetching blocks that others have decided, each with the certificate that proves it.

use std::sync::Arc;

use vibecoin_consensus::{MonoTime, Timeouts};
use vibecoin_primitives::{Height, PublicKey};
use vibecoin_sync::{AnswerFault, Planner, PlannerConfig, PlannerStatus, SyncBlock};

use crate::check::Verified;
use crate::event::Action;
use crate::received::ReceivedBlock;
use crate::{Chain, Message, PeerId};

/// A decided block as received from a peer.
pub(crate) struct Synced {
    pub block: ReceivedBlock,
    /// Transactions of the same response whose signatures have been checked.
    pub verified: Arc<Verified>,
}

impl SyncBlock for Synced {
    fn height(&self) -> Height {
        self.block.height()
    }

    fn byte_len(&self) -> usize {
        self.block.memory()
    }
}

/// The planner of requests for decided blocks, and the blocks that have arrived.
pub(crate) struct CatchUp {
    planner: Planner<Synced>,
}

impl CatchUp {
    pub fn new(chain: &Chain) -> Self {
        // As long as validators wait for late votes, consensus may still deliver a block that others have.
        let config = PlannerConfig {
            grace: Timeouts::from(&*chain.params).prevote,
            ..PlannerConfig::default()
        };
        Self {
            planner: Planner::new(config),
        }
    }

    pub fn connected(&mut self, peer: PeerId, head: Height, validator: Option<PublicKey>) {
        self.planner.connected(peer, head);
        if validator.is_some() {
            self.planner.is_validator(peer);
        }
    }

    pub fn disconnected(&mut self, peer: PeerId) {
        self.planner.disconnected(peer);
    }

    /// Records the newest block that a peer claims to have.
    pub fn on_status(&mut self, peer: PeerId, head: Height) {
        self.planner.head(peer, head);
    }

    /// Records that a peer has proven to have the block at `height`.
    pub fn on_proof(&mut self, peer: PeerId, height: Height) {
        self.planner.has(peer, height);
    }

    /// The newest block that a peer claims to have.
    pub fn claim(&self, peer: PeerId) -> Option<Height> {
        self.planner.claim(peer)
    }

    pub fn status(&self) -> PlannerStatus {
        self.planner.status()
    }

    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.planner.next_deadline()
    }

    /// The requests that are due. `next` is the first height whose block is neither here nor being committed,
    /// `seen` the highest one that verified messages name.
    pub fn requests<S>(&mut self, next: Height, seen: Height, now: MonoTime) -> Vec<Action<S>> {
        self.planner.hint(seen);
        let asks = self.planner.plan(next, now).into_iter();
        asks.map(|ask| Action::Send {
            to: ask.peer,
            message: Message::SyncRequest {
                from: ask.from,
                count: ask.count,
            },
        })
        .collect()
    }

    /// Takes a response.
    ///
    /// # Errors
    /// The fault of the peer that sent it.
    pub fn on_blocks(
        &mut self,
        from: PeerId,
        first: Height,
        blocks: Vec<ReceivedBlock>,
        verified: Verified,
        now: MonoTime,
    ) -> Result<(), String> {
        let verified = Arc::new(verified);
        let blocks = blocks.into_iter().map(|block| Synced {
            block,
            verified: verified.clone(),
        });
        match self.planner.answer(from, first, blocks.collect(), now) {
            // Late, or for a request from before a reconnection: the peer may be honest.
            Ok(()) | Err(AnswerFault::Unsolicited { .. }) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// The block at `height` with the peer that sent it, if it has arrived.
    pub fn pop(&mut self, height: Height) -> Option<(PeerId, Synced)> {
        self.planner.pop(height)
    }

    /// Blocks of a peer from `height` on were refused: others are asked at once.
    pub fn refused(&mut self, peer: PeerId, height: Height) {
        self.planner.refused(peer, height);
    }

    /// The height `next` begins.
    pub fn begin_height(&mut self, next: Height) {
        self.planner.advanced(next);
    }
}
