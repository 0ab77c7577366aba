//! Record of the rounds of a height.

use vibecoin_primitives::{Hash, Height, PublicKey, Round, TimeMs};

/// The rounds of one height, as this node saw them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeightRounds {
    /// The height.
    pub height: Height,
    /// The block that was decided; `None` while the height is open.
    pub decided: Option<Hash>,
    /// Ascending by round; the oldest are dropped first when there are too many.
    pub rounds: Vec<RoundRecord>,
    /// Number of dropped rounds.
    pub forgotten: u32,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundRecord {
    /// Its number.
    pub round: Round,
    /// Proposer of the round; `None` when the round has not begun here and only votes of it
    /// arrived.
    pub proposer: Option<PublicKey>,
    /// Start of the round here.
    pub started: TimeMs,
    /// The proposed block, and after how many milliseconds it arrived.
    pub proposal: Option<(Hash, u64)>,
    /// Verdict on its body here, and after how many milliseconds.
    pub body: Option<(BodyVerdict, u64)>,
    /// First votes.
    pub prevotes: Tally,
    /// Second votes.
    pub precommits: Tally,
    /// Expired timeouts here, and after how many milliseconds.
    pub timeouts: Vec<(Wait, u64)>,
    /// Outcome of the round here.
    pub outcome: RoundOutcome,
    /// Duration here, in milliseconds; `None` while it runs.
    pub took_ms: Option<u64>,
}

/// Verdict on the body of a proposed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyVerdict {
    /// It obeys every rule.
    Valid,
    /// It breaks one.
    Invalid,
}

/// A wait of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For a proposal.
    Propose,
    /// For prevotes to agree.
    Prevote,
    /// For precommits to agree.
    Precommit,
}

impl Wait {
    /// Its name in answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Prevote => "prevote",
            Self::Precommit => "precommit",
        }
    }
}

/// Outcome of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundOutcome {
    /// It runs.
    Open,
    /// It decided the height.
    Decided,
    /// The next one began.
    Passed,
}

/// Votes of one kind in one round, by power. Each validator counts once, with its first vote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Power for each block, in the order in which the first vote for it arrived; only a few blocks are
    /// counted separately.
    pub blocks: Vec<(Hash, u64)>,
    /// Power for no block.
    pub nil: u64,
    /// Power for blocks that are not counted separately.
    pub other: u64,
    /// Validators that voted, by index in the validator set.
    pub voters: Voters,
}

impl Tally {
    /// No votes.
    pub const EMPTY: Self = Self {
        blocks: Vec::new(),
        nil: 0,
        other: 0,
        voters: Voters([0; WORDS]),
    };

    /// The power of all voters.
    #[must_use]
    pub fn power(&self) -> u64 {
        self.blocks
            .iter()
            .fold(self.nil.saturating_add(self.other), |sum, (_, power)| {
                sum.saturating_add(*power)
            })
    }
}

/// A set of members of the validator set, by index: a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voters([u64; WORDS]);

const WORDS: usize = vibecoin_primitives::limits::VALIDATORS_MAX.div_ceil(64);

impl Voters {
    /// Returns true if this member is in the set.
    #[must_use]
    pub fn has(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word & Self::bit(index) != 0)
    }

    /// Adds a member; returns true if it is new. An index beyond the largest validator set is never
    /// new.
    pub fn insert(&mut self, index: usize) -> bool {
        let Some(word) = self.0.get_mut(index / 64) else {
            return false;
        };
        let new = *word & Self::bit(index) == 0;
        *word |= Self::bit(index);
        new
    }

    /// Number of members in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0
            .iter()
            .fold(0, |sum, word| sum.saturating_add(word.count_ones()))
    }

    const fn bit(index: usize) -> u64 {
        1 << (index % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_is_counted_once_and_indexes_beyond_the_largest_set_never() {
        let mut voters = Voters::default();
        assert!(voters.insert(0) && voters.insert(63) && voters.insert(64) && voters.insert(199));
        assert!(!voters.insert(63), "twice");
        assert!(!voters.insert(100_000) && !voters.has(100_000));
        assert!(voters.has(64) && !voters.has(65));
        assert_eq!(voters.count(), 4);
    }
}
