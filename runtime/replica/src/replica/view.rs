//! Read access to the replica, for the host and for operators.

use vibecoin_consensus::Orderer;
use vibecoin_execution::State;
use vibecoin_mempool::Mempool;
use vibecoin_primitives::{Evidence, Hash, Height, PublicKey, Round};
use vibecoin_sync::PlannerStatus;

use super::Replica;
use crate::intake::Stand;
use crate::{Chain, Head, Message};

impl<S: State, O: Orderer> Replica<S, O> {
    /// The key that this node votes with, if it does.
    pub const fn key(&self) -> Option<PublicKey> {
        self.key
    }

    /// The chain's constants.
    pub const fn chain(&self) -> &Chain {
        self.tip.chain()
    }

    /// The newest durable block and the state after it.
    pub const fn head(&self) -> &Head<S> {
        self.tip.head()
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
    pub fn sync_status(&self) -> PlannerStatus {
        self.catch_up.status()
    }

    /// The block under construction, if any: its height, the number of ticks done, and the newest hash.
    pub fn building(&self) -> Option<(Height, u32, Hash)> {
        self.proposer.progress()
    }

    /// Delay of the end of the newest tick of the own block, in microseconds.
    pub fn building_behind_us(&self) -> Option<u64> {
        self.proposer.behind_us()
    }

    /// The height that parts are taken for, its round, and true while its block is being committed. When it
    /// changes, [`Replica::stand`] returns another value.
    pub fn position(&self) -> (Height, Round, bool) {
        (
            self.tip.next_height(),
            self.orderer.status().round,
            self.decision.is_committing(),
        )
    }

    /// Proposers of the current and the next rounds, for [`crate::Intake`].
    pub fn stand(&self) -> Stand {
        let (_, round, _) = self.position();
        self.tip.stand(round, self.decision.decided())
    }

    /// The highest block known to exist, not below the head.
    ///
    /// The height that validators with more than a third of the power claim, or imply by voting above it: one
    /// of them is honest. While the head is recent by its certified time, nothing else counts, since
    /// identities of other peers are free. When it is not, the node may be behind and know no validator: then
    /// the claims of all peers count, except those that failed to deliver the blocks
    /// ([`PlannerStatus::target`]).
    pub fn known_height(&self) -> Height {
        let head = self.tip.height();
        let claim = |peer| self.catch_up.claim(peer);
        let vouched = self.peers.vouched_height(self.tip.validators(), head, claim);
        let known = vouched.max(head);
        if self.tip.is_recent(self.now.wall) {
            known
        } else {
            known.max(self.catch_up.status().target)
        }
    }
}
