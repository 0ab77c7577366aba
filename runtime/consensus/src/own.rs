//! Detection of another process that signs with this node's key.
//!
//! Everything that this process signs at the height in progress is remembered here. A message under the same
//! key that is not among it was signed by another process, unless an earlier process of this home may have
//! signed it: up to the guard's entry at the start. Old messages that return after a restart are therefore
//! not a reason to stop, nor is evidence about heights from before this process signed.

use std::collections::BTreeMap;

use vibecoin_primitives::{Hash, Height, PartStatement, Round};

use crate::{GuardEntry, GuardStep, Position};

/// Number of positions remembered: three for each of a thousand rounds of one height.
const POSITIONS_MAX: usize = 3 * 1024;

#[derive(Debug, Default)]
pub(crate) struct OwnKey {
    /// Position up to which an earlier process of this home may have signed, and the digest of its last message.
    before: Option<(Position, Hash)>,
    /// Digests of the messages that this process signed at the height in progress, and the positions where it builds.
    signed: BTreeMap<Position, Hash>,
    /// The first height at which this process signed.
    first: Option<Height>,
    /// Digests of the parts of the block that was streamed last, in order.
    parts: Option<(Height, Round, Vec<Hash>)>,
    /// Not watched: this node equivocates on purpose.
    pub unwatched: bool,
}

impl OwnKey {
    /// Starts a process with this newest guard entry.
    pub fn start(&mut self, newest: Option<&GuardEntry>) {
        self.before = newest.map(|entry| (entry.position(), entry.digest));
    }

    /// Begins a height: messages of lower ones are not checked any more.
    pub fn begin_height(&mut self, height: Height) {
        self.signed.retain(|at, _| at.height >= height);
    }

    /// Records that this process signed, or began to build.
    pub fn signed(&mut self, at: Position, digest: Hash) {
        if at.step != GuardStep::Building {
            self.first.get_or_insert(at.height);
        }
        self.signed.insert(at, digest);
        if self.signed.len() > POSITIONS_MAX {
            self.before = self.signed.pop_first().max(self.before);
        }
    }

    /// Records that this process signed the next part of a block.
    pub fn signed_part(&mut self, statement: &PartStatement) {
        let PartStatement { height, round, .. } = *statement;
        match &mut self.parts {
            Some((at, of, digests)) if (*at, *of) == (height, round) => digests.push(statement.digest),
            parts => *parts = Some((height, round, vec![statement.digest])),
        }
    }

    /// Returns true if neither this process nor an earlier one of this home can have signed this.
    pub fn is_foreign(&self, at: Position, digest: &Hash) -> bool {
        if self.unwatched {
            return false;
        }
        match (self.signed.get(&at), &self.before) {
            (Some(signed), _) => signed != digest,
            (None, Some((before, signed))) => at > *before || (at == *before && digest != signed),
            (None, None) => true,
        }
    }

    /// The same for a part of a block.
    pub fn is_foreign_part(&self, statement: &PartStatement) -> bool {
        let PartStatement { height, round, .. } = *statement;
        if self.unwatched {
            return false;
        }
        if let Some((at, of, digests)) = &self.parts
            && (*at, *of) == (height, round)
        {
            let sequence = usize::try_from(statement.sequence).unwrap_or(usize::MAX);
            return digests.get(sequence) != Some(&statement.digest);
        }
        let step = GuardStep::Building;
        let at = Position { height, round, step };
        let before = self.before.as_ref().is_some_and(|(before, _)| at <= *before);
        !before && !self.signed.contains_key(&at)
    }

    /// Returns true if evidence against this key at a height proves that another process signed: this one
    /// signed there or below, and no earlier one did.
    pub fn is_foreign_at(&self, height: Height) -> bool {
        let before = self.before.as_ref().map(|(before, _)| before.height);
        !self.unwatched && self.first.is_some_and(|first| first <= height) && before < Some(height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(height: u64, round: u32, step: GuardStep) -> Position {
        Position {
            height: Height(height),
            round: Round(round),
            step,
        }
    }

    fn started() -> OwnKey {
        OwnKey {
            before: Some((at(5, 1, GuardStep::Prevote), Hash([1; 32]))),
            ..OwnKey::default()
        }
    }

    #[test]
    fn what_an_earlier_process_may_have_signed_is_not_foreign() {
        let own = started();
        assert!(!own.is_foreign(at(5, 0, GuardStep::Precommit), &Hash([9; 32])));
        assert!(!own.is_foreign(at(5, 1, GuardStep::Prevote), &Hash([1; 32])));
        assert!(own.is_foreign(at(5, 1, GuardStep::Prevote), &Hash([2; 32])));
        assert!(own.is_foreign(at(5, 1, GuardStep::Precommit), &Hash([1; 32])));
    }

    #[test]
    fn what_this_process_signed_is_its_own_and_everything_else_is_foreign() {
        let mut own = started();
        own.signed(at(6, 0, GuardStep::Prevote), Hash([3; 32]));
        assert!(!own.is_foreign(at(6, 0, GuardStep::Prevote), &Hash([3; 32])));
        assert!(own.is_foreign(at(6, 0, GuardStep::Prevote), &Hash([4; 32])));
        assert!(own.is_foreign(at(6, 0, GuardStep::Precommit), &Hash([3; 32])));
        assert!(own.is_foreign(at(7, 0, GuardStep::Prevote), &Hash([3; 32])));
        own.unwatched = true;
        assert!(!own.is_foreign(at(7, 0, GuardStep::Prevote), &Hash([3; 32])));
    }

    #[test]
    fn evidence_from_before_this_process_signed_stops_nobody() {
        let mut own = started();
        assert!(!own.is_foreign_at(Height(6)), "nothing was signed yet");
        own.signed(at(7, 0, GuardStep::Prevote), Hash([3; 32]));
        assert!(!own.is_foreign_at(Height(5)));
        assert!(!own.is_foreign_at(Height(6)));
        assert!(own.is_foreign_at(Height(7)));
    }

    #[test]
    fn parts_are_compared_one_by_one() {
        let mut own = started();
        let part = |height, sequence, digest| PartStatement {
            height: Height(height),
            round: Round(0),
            proposer: vibecoin_primitives::PublicKey([1; 32]),
            parent: Hash::ZERO,
            sequence,
            digest: Hash([digest; 32]),
        };
        assert!(!own.is_foreign_part(&part(5, 0, 1)), "before the start");
        assert!(own.is_foreign_part(&part(6, 0, 1)));
        own.signed(at(6, 0, GuardStep::Building), Hash::ZERO);
        own.signed_part(&part(6, 0, 1));
        assert!(!own.is_foreign_part(&part(6, 0, 1)));
        assert!(own.is_foreign_part(&part(6, 0, 2)));
        assert!(own.is_foreign_part(&part(6, 1, 1)));
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_not_foreign() {
        let mut own = OwnKey::default();
        for round in 0..2_000 {
            own.signed(at(1, round, GuardStep::Prevote), Hash([1; 32]));
            own.signed(at(1, round, GuardStep::Precommit), Hash([2; 32]));
        }
        assert_eq!(own.signed.len(), POSITIONS_MAX);
        assert!(!own.is_foreign(at(1, 0, GuardStep::Prevote), &Hash([1; 32])));
        assert!(own.is_foreign(at(1, 1_999, GuardStep::Precommit), &Hash([3; 32])));
    }
}
