//! Number of different statements accepted of each validator.

use std::collections::BTreeMap;

use vibecoin_primitives::{PublicKey, Round, VoteKind};

/// Maximum number of different statements of one kind accepted of a validator in a round: one, and one that
/// contradicts it. More prove nothing more, and each would cost every node a signature check and be forwarded to all.
const STATEMENTS_MAX: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StatementKind {
    Proposal,
    Prevote,
    Precommit,
}

impl From<VoteKind> for StatementKind {
    fn from(kind: VoteKind) -> Self {
        match kind {
            VoteKind::Prevote => Self::Prevote,
            VoteKind::Precommit => Self::Precommit,
        }
    }
}

/// The statements of one kind that one validator made in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub round: Round,
    pub kind: StatementKind,
    pub validator: PublicKey,
}

/// Number of statements accepted at a height, by slot; none exceeds [`STATEMENTS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct StatementCounts {
    accepted: BTreeMap<Slot, u8>,
}

impl StatementCounts {
    /// Returns true if the maximum was accepted: the validator equivocates.
    pub fn is_full(&self, slot: &Slot) -> bool {
        self.accepted
            .get(slot)
            .is_some_and(|count| *count >= STATEMENTS_MAX)
    }

    /// Counts one more statement, up to the maximum.
    pub fn add(&mut self, slot: Slot) {
        let count = self.accepted.entry(slot).or_default();
        *count = count.saturating_add(1).min(STATEMENTS_MAX);
    }
}
