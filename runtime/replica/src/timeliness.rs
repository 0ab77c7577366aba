//! Timely proposals: a validator prevotes nil for a block that arrives at another time than it names.
//!
//! The verdict on an untimely block is kept back from the orderer until this node can no longer prevote in the
//! block's round. It has prevoted nil by then, and accepts the block if the others do.

use std::collections::BTreeMap;

use vibecoin_consensus::Step;
use vibecoin_execution::State;
use vibecoin_primitives::{Hash, Header, Round, TimeMs};

use crate::check::is_timely;
use crate::event::Action;
use crate::tip::Tip;

/// The untimely blocks of the height being decided.
#[derive(Default)]
pub(crate) struct Timeliness {
    /// The round for which the verdict on a block is kept back: the one that it was made for.
    untimely: BTreeMap<Hash, Round>,
}

impl Timeliness {
    pub fn begin_height(&mut self) {
        self.untimely.clear();
    }

    /// Records a block that is proposed at another time than it names, while this node, which is at the round and
    /// step `at`, may still prevote it in the round that it was made for. In later rounds a quorum must have
    /// prevoted it in that one. The round of the proposal proves nothing: its proposer could name a later one
    /// first.
    pub fn check<S: State>(
        &mut self,
        tip: &Tip<S>,
        at: (Round, Step),
        hash: Hash,
        header: &Header,
        clock: TimeMs,
    ) -> Option<Action<S>> {
        let round = header.round;
        if !may_prevote_in(at, round) || is_timely(tip.chain(), tip.parent(), header, clock) {
            return None;
        }
        self.untimely.insert(hash, round);
        Some(Action::Untimely {
            height: header.height,
            round,
            time: header.time,
            clock,
        })
    }

    /// Returns true if the verdict on the block is kept back from an orderer that is at this round and step.
    pub fn keeps_back(&self, block: &Hash, at: (Round, Step)) -> bool {
        let round = self.untimely.get(block);
        round.is_some_and(|round| may_prevote_in(at, *round))
    }

    /// Releases the blocks whose verdicts are kept back no longer at this round and step.
    pub fn release(&mut self, at: (Round, Step)) -> Vec<Hash> {
        let untimely = self.untimely.iter();
        let over = untimely.filter(|(_, round)| !may_prevote_in(at, **round));
        let over: Vec<Hash> = over.map(|(hash, _)| *hash).collect();
        for hash in &over {
            self.untimely.remove(hash);
        }
        over
    }
}

/// Returns true if a node at this round and step may still prevote in `round`.
fn may_prevote_in(at: (Round, Step), round: Round) -> bool {
    at <= (round, Step::Propose)
}
