//! The validator set.

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{TOTAL_POWER_MAX, VALIDATORS_MAX};
use crate::{Address, Domain, Encoded, Hash, Power, PublicKey, SignatureError, encode};

/// One validator.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Validator {
    /// The key of proposals and votes; identifies the validator.
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

/// Reason why a list of validators is not a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidatorSetError {
    /// No validators, or too many.
    #[error("a validator set has 1 to {VALIDATORS_MAX} members, this one has {got}")]
    Count {
        /// Number of members found.
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
    /// The sum of the powers exceeds the range in which thresholds can be computed.
    #[error("the summed power is above {TOTAL_POWER_MAX}")]
    TotalPower,
    /// A key under which no signature can verify.
    #[error("validator {key}: {fault}")]
    Key {
        /// The key.
        key: PublicKey,
        /// The violated rule.
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

    /// The summed power, up to [`TOTAL_POWER_MAX`].
    #[must_use]
    pub fn total_power(&self) -> u64 {
        self.validators
            .iter()
            .fold(0, |sum, v| sum.saturating_add(v.power.0))
    }

    /// The hash that headers contain.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Validators.hash(&encode(self))
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
