//! The validator set and the order in which its members propose.

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{TOTAL_POWER_MAX, VALIDATORS_MAX};
use crate::planted::{Bug, active, noise};
use crate::{Address, Domain, Encoded, Hash, Height, Power, PublicKey, Round, SignatureError, encode};

/// One validator.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Validator {
    /// Signs proposals and votes; names the validator.
    pub key: PublicKey,
    /// Voting power, above zero.
    pub power: Power,
    /// The account that fees are credited to; never the consensus key.
    pub payout: Address,
}

/// The validators of a height, ascending by key. Private, so that every set in the program is checked.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
}

/// Why a list of validators is no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidatorSetError {
    /// No validators, or too many.
    #[error("a validator set has 1 to {VALIDATORS_MAX} members, this one has {got}")]
    Count {
        /// Members found.
        got: usize,
    },
    /// The same key twice, or keys out of order.
    #[error("validator keys are not strictly ascending at {key}")]
    Order {
        /// The key that is not above its predecessor.
        key: PublicKey,
    },
    /// A validator without power.
    #[error("validator {key} has no power")]
    NoPower {
        /// The validator.
        key: PublicKey,
    },
    /// The powers add up to more than the thresholds can be computed with.
    #[error("the summed power is above {TOTAL_POWER_MAX}")]
    TotalPower,
    /// A key that no signature could ever verify under.
    #[error("validator {key}: {fault}")]
    Key {
        /// The key.
        key: PublicKey,
        /// What is wrong with it.
        fault: SignatureError,
    },
    /// Fees would go to the key that signs votes.
    #[error("validator {key} pays out to its consensus key; give it an account of its own")]
    PayoutIsKey {
        /// The validator.
        key: PublicKey,
    },
}

impl Encoded for ValidatorSet {
    const NAME: &'static str = "validator set";
    const BYTES_MAX: usize = VALIDATORS_MAX * 72 + 8;
}

impl ValidatorSet {
    /// Sorts and checks a list.
    ///
    /// # Errors
    /// [`ValidatorSetError`] with the first rule that does not hold.
    pub fn new(mut validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        validators.sort_by_key(|v| v.key);
        let set = Self { validators };
        set.check()?;
        Ok(set)
    }

    /// Checks a decoded set.
    ///
    /// # Errors
    /// [`ValidatorSetError`] with the first rule that does not hold.
    pub fn check(&self) -> Result<(), ValidatorSetError> {
        if self.validators.is_empty() || self.validators.len() > VALIDATORS_MAX {
            return Err(ValidatorSetError::Count {
                got: self.validators.len(),
            });
        }
        let mut previous: Option<PublicKey> = None;
        let mut total = 0u64;
        for Validator { key, power, payout } in &self.validators {
            if previous.is_some_and(|previous| previous >= *key) {
                return Err(ValidatorSetError::Order { key: *key });
            }
            previous = Some(*key);
            if power.0 == 0 {
                return Err(ValidatorSetError::NoPower { key: *key });
            }
            total = total.checked_add(power.0).ok_or(ValidatorSetError::TotalPower)?;
            key.check()
                .map_err(|fault| ValidatorSetError::Key { key: *key, fault })?;
            if payout.0 == key.0 {
                return Err(ValidatorSetError::PayoutIsKey { key: *key });
            }
        }
        if total > TOTAL_POWER_MAX {
            return Err(ValidatorSetError::TotalPower);
        }
        Ok(())
    }

    /// The members, ascending by key.
    #[must_use]
    pub fn members(&self) -> &[Validator] {
        &self.validators
    }

    /// The member with this key and its index.
    #[must_use]
    pub fn find(&self, key: &PublicKey) -> Option<(usize, &Validator)> {
        let index = self.validators.binary_search_by_key(key, |v| v.key).ok()?;
        self.validators.get(index).map(|validator| (index, validator))
    }

    /// The summed power, at most [`TOTAL_POWER_MAX`].
    #[must_use]
    pub fn total_power(&self) -> u64 {
        self.validators
            .iter()
            .fold(0, |sum, v| sum.saturating_add(v.power.0))
    }

    /// The hash that headers carry.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Validators.hash(&encode(self))
    }
}

/// First penalty, in heights, of a validator that missed its turn.
pub const PENALTY_MIN: u32 = 64;
/// Longest penalty, in heights.
pub const PENALTY_MAX: u32 = 1024;

/// Where one validator stands in the proposer order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct Turn {
    /// Grows by the validator's power every height, falls by the total when it proposes.
    pub credit: i64,
    /// The validator goes last at heights below this one.
    pub penalty_until: Height,
    /// Length of its last penalty in heights; 0 when it proposed since.
    pub penalty: u32,
}

/// The proposer order of the next height: a record in the state, so a function of chain data alone.
///
/// Round 0 goes to the validator with the most credit (smooth weighted round robin, so over
/// `total power` heights everyone proposes in proportion to its power). Later rounds go down the same
/// order, and every validator is reached within `n` rounds. A validator whose turn passed without a
/// block goes last for [`PENALTY_MIN`] heights, doubling up to [`PENALTY_MAX`] on repetition; a block
/// that it proposes clears that. At most a third of the power is held back, those released first
/// being taken back into the order first.
#[derive(Clone, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct ProposerSchedule {
    /// One entry per validator, in the order of the set.
    pub turns: Vec<Turn>,
}

impl Encoded for ProposerSchedule {
    const NAME: &'static str = "proposer schedule";
    const BYTES_MAX: usize = VALIDATORS_MAX * 20 + 8;
}

impl ProposerSchedule {
    /// The schedule of height 1.
    #[must_use]
    pub fn genesis(set: &ValidatorSet) -> Self {
        let mut schedule = Self {
            turns: vec![Turn::default(); set.members().len()],
        };
        schedule.credit_all(set);
        schedule
    }

    fn credit_all(&mut self, set: &ValidatorSet) {
        for (turn, validator) in self.turns.iter_mut().zip(set.members()) {
            turn.credit = turn
                .credit
                .saturating_add(i64::try_from(validator.power.0).unwrap_or(i64::MAX));
        }
    }

    /// Validator indexes in the order in which they propose at `height`, one per round.
    fn order(&self, set: &ValidatorSet, height: Height) -> Vec<usize> {
        let entries: Vec<(usize, Turn, u64)> = self
            .turns
            .iter()
            .zip(set.members())
            .enumerate()
            .map(|(i, (t, v))| (i, *t, v.power.0))
            .collect();
        let mut held: Vec<&(usize, Turn, u64)> = entries
            .iter()
            .filter(|(_, t, _)| t.penalty_until > height)
            .collect();
        // The longest still to serve is held first; the others return once a third of the power is held.
        held.sort_by_key(|(i, t, _)| (std::cmp::Reverse(t.penalty_until), *i));
        let third = set.total_power() / 3;
        let mut power = 0u64;
        let held: Vec<usize> = held
            .into_iter()
            .filter(|(_, _, p)| {
                let fits = power.saturating_add(*p) <= third;
                if fits {
                    power = power.saturating_add(*p);
                }
                fits
            })
            .map(|(i, _, _)| *i)
            .collect();
        let mut order: Vec<(bool, std::cmp::Reverse<i64>, usize)> = entries
            .iter()
            .map(|(i, t, _)| (held.contains(i), std::cmp::Reverse(t.credit), *i))
            .collect();
        order.sort_unstable();
        if active(Bug::HashMapOrder) {
            let noise = noise();
            order.sort_by_key(|(held, credit, i)| {
                (*held, *credit, noise.rotate_left(u32::try_from(*i).unwrap_or(0)))
            });
        }
        order.into_iter().map(|(_, _, i)| i).collect()
    }

    /// The proposer of `round` at `height`, the height that this schedule is for.
    ///
    /// `None` only when schedule and set do not belong together.
    #[must_use]
    pub fn proposer<'a>(&self, set: &'a ValidatorSet, height: Height, round: Round) -> Option<&'a Validator> {
        let order = self.order(set, height);
        let at = usize::try_from(round.0).ok()?.checked_rem(order.len())?;
        set.members().get(*order.get(at)?)
    }

    /// The schedule of the height after `height`, whose block was created in `round`.
    ///
    /// The proposers of lower rounds missed their turn; that is the only input.
    #[must_use]
    pub fn after(&self, set: &ValidatorSet, height: Height, round: Round) -> Self {
        let order = self.order(set, height);
        let mut next = self.clone();
        let rounds = usize::try_from(round.0).unwrap_or(usize::MAX);
        for index in order.iter().take(rounds) {
            if let Some(turn) = next.turns.get_mut(*index) {
                turn.penalty = turn.penalty.saturating_mul(2).clamp(PENALTY_MIN, PENALTY_MAX);
                turn.penalty_until = height.saturating_add(1).saturating_add(u64::from(turn.penalty));
            }
        }
        let proposer = rounds.checked_rem(order.len()).and_then(|at| order.get(at));
        let total = i64::try_from(set.total_power()).unwrap_or(i64::MAX);
        if let Some(turn) = proposer.and_then(|index| next.turns.get_mut(*index)) {
            *turn = Turn {
                credit: turn.credit.saturating_sub(total),
                ..Turn::default()
            };
        }
        next.credit_all(set);
        next
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;
    use crate::SecretKey;

    fn set(powers: &[u64]) -> ValidatorSet {
        let validators = powers
            .iter()
            .enumerate()
            .map(|(i, power)| Validator {
                key: SecretKey::from_seed(&[u8::try_from(i).unwrap() + 1; 32]).public_key(),
                power: Power(*power),
                payout: Address([200; 32]),
            })
            .collect();
        ValidatorSet::new(validators).unwrap()
    }

    fn run(set: &ValidatorSet, heights: u64, dead: Option<usize>) -> (Vec<u64>, u64) {
        let mut schedule = ProposerSchedule::genesis(set);
        let (mut proposed, mut missed) = (vec![0; set.members().len()], 0);
        for height in (1..=heights).map(Height) {
            let mut round = Round(0);
            loop {
                let proposer = schedule.proposer(set, height, round).unwrap();
                let (index, _) = set.find(&proposer.key).unwrap();
                if dead != Some(index) {
                    proposed[index] += 1;
                    break;
                }
                missed += 1;
                round = round.next().unwrap();
            }
            schedule = schedule.after(set, height, round);
        }
        (proposed, missed)
    }

    #[test]
    fn everyone_proposes_in_proportion_to_its_power() {
        let set = set(&[1, 2, 3, 4]);
        let (proposed, missed) = run(&set, 1000, None);
        assert_eq!(missed, 0);
        for (count, validator) in proposed.iter().zip(set.members()) {
            assert_eq!(*count, validator.power.0 * 100);
        }
    }

    #[test]
    fn a_dead_validator_costs_fewer_and_fewer_turns() {
        let (_, missed) = run(&set(&[1, 1, 1, 1]), 2000, Some(2));
        assert!((5..=12).contains(&missed), "{missed} turns lost in 2,000 heights");
    }

    #[test]
    fn every_validator_is_reached_within_n_rounds() {
        let set = set(&[5, 1, 1, 1, 1]);
        let schedule = ProposerSchedule::genesis(&set);
        let mut seen: Vec<_> = (0..5)
            .map(|r| schedule.proposer(&set, Height(1), Round(r)).unwrap().key)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn a_set_with_a_fault_is_refused_with_its_name() {
        let good = set(&[1, 1]);
        let mut twice = good.members().to_vec();
        twice[1].key = twice[0].key;
        assert!(matches!(
            ValidatorSet::new(twice),
            Err(ValidatorSetError::Order { .. })
        ));
        let mut powerless = good.members().to_vec();
        powerless[0].power = Power(0);
        assert!(matches!(
            ValidatorSet::new(powerless),
            Err(ValidatorSetError::NoPower { .. })
        ));
        let mut weak = good.members().to_vec();
        weak[0].key = PublicKey([0; 32]);
        assert!(matches!(
            ValidatorSet::new(weak),
            Err(ValidatorSetError::Key { .. })
        ));
        let mut own = good.members().to_vec();
        own[0].payout = Address::from(own[0].key);
        assert!(matches!(
            ValidatorSet::new(own),
            Err(ValidatorSetError::PayoutIsKey { .. })
        ));
        assert!(matches!(
            ValidatorSet::new(vec![]),
            Err(ValidatorSetError::Count { got: 0 })
        ));
    }
}
