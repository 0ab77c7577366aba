//! Double signatures recorded by a chain: each offence once.

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::VALIDATORS_MAX;
use crate::{Encoded, Evidence, Height, PublicKey, ValidatorSet, VoteKind};

/// The kind of message that was signed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OffenceKind {
    /// Two prevotes of one round.
    Prevote,
    /// Two precommits of one round.
    Precommit,
    /// Two proposals for one round.
    Proposal,
    /// Two parts of one round with one sequence number.
    Part,
}

impl OffenceKind {
    /// The kind's bit in an [`OffenceRecord`].
    const fn bit(self) -> u8 {
        match self {
            Self::Prevote => 1,
            Self::Precommit => 2,
            Self::Proposal => 4,
            Self::Part => 8,
        }
    }
}

/// The subject of a piece of evidence. A chain records each offence once.
///
/// The round is not part of it: the offender chooses it freely, so an index by round would have no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offence {
    /// Height of the two messages.
    pub height: Height,
    /// The signer of both messages.
    pub validator: PublicKey,
    /// The kind of message signed twice.
    pub kind: OffenceKind,
}

impl Evidence {
    /// The offence that this piece proves.
    #[must_use]
    pub fn offence(&self) -> Offence {
        let (validator, height) = self.offender();
        let kind = match self {
            Self::DuplicateVote { first, .. } => match first.vote.kind {
                VoteKind::Prevote => OffenceKind::Prevote,
                VoteKind::Precommit => OffenceKind::Precommit,
            },
            Self::DuplicateProposal { .. } => OffenceKind::Proposal,
            Self::DuplicatePart { .. } => OffenceKind::Part,
        };
        Offence {
            height,
            validator,
            kind,
        }
    }
}

/// The recorded offences of one height: a record in the state, which exists from the first block that has
/// evidence about the height until evidence about it is too old for any block.
///
/// ```text
/// count u64, then one byte per validator of the height, in the order of its set:
///   bit 0 prevote · bit 1 precommit · bit 2 proposal · bit 3 part
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct OffenceRecord {
    /// The kinds of each validator.
    pub kinds: Vec<u8>,
}

impl Encoded for OffenceRecord {
    const NAME: &'static str = "offence record";
    const BYTES_MAX: usize = VALIDATORS_MAX + 8;
}

impl OffenceRecord {
    /// Returns true if the offence is recorded. `set` is that of the record's height.
    #[must_use]
    pub fn has(&self, set: &ValidatorSet, offence: &Offence) -> bool {
        let index = set.find(&offence.validator).map(|(index, _)| index);
        let kinds = index.and_then(|index| self.kinds.get(index));
        kinds.is_some_and(|kinds| kinds & offence.kind.bit() != 0)
    }

    /// Records an offence; one of a validator outside the set changes nothing.
    pub fn add(&mut self, set: &ValidatorSet, offence: &Offence) {
        let Some((index, _)) = set.find(&offence.validator) else {
            return;
        };
        self.kinds.resize(set.members().len(), 0);
        if let Some(kinds) = self.kinds.get_mut(index) {
            *kinds |= offence.kind.bit();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Address, Power, SecretKey, Validator};

    #[test]
    fn an_offence_is_recorded_by_validator_and_kind() {
        let members = (1..=3u8).map(|i| Validator {
            key: SecretKey::from_seed(&[i; 32]).public_key(),
            power: Power(1),
            payout: Address([200; 32]),
        });
        let set = ValidatorSet::new(members.collect()).unwrap();
        let offence = |index: usize, kind| Offence {
            height: Height(5),
            validator: set.members().get(index).unwrap().key,
            kind,
        };
        let mut record = OffenceRecord::default();
        let first = offence(1, OffenceKind::Precommit);
        assert!(!record.has(&set, &first));
        record.add(&set, &first);
        assert!(record.has(&set, &first));
        assert!(!record.has(&set, &offence(1, OffenceKind::Prevote)));
        assert!(!record.has(&set, &offence(0, OffenceKind::Precommit)));
        record.add(&set, &offence(1, OffenceKind::Part));
        assert_eq!(record.kinds, [0, 10, 0]);
    }
}
