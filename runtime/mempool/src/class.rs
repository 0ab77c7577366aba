//! Space of a block, and classes of transactions by the space that they need.

use vibecoin_primitives::{ChainParams, Demand, VerifiedTransaction};

/// An amount of the space of a block: remaining, or needed by a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpace {
    /// Bytes of the encoding.
    pub bytes: u64,
    /// Operations, slots and bytes of rows.
    pub demand: Demand,
}

impl BlockSpace {
    /// More than all transactions need together.
    pub const UNLIMITED: Self = Self {
        bytes: u64::MAX,
        demand: Demand {
            operations: u64::MAX,
            slots: u64::MAX,
            state_bytes: u64::MAX,
        },
    };

    /// The whole space of a block on a chain with these parameters.
    #[must_use]
    pub fn of_block(params: &ChainParams) -> Self {
        Self {
            bytes: u64::from(params.block_bytes_max),
            demand: Demand {
                operations: u64::from(params.block_operations_max),
                slots: u64::from(params.block_slots_max),
                state_bytes: u64::from(params.block_state_bytes_max),
            },
        }
    }

    /// The space that a transaction needs.
    #[must_use]
    pub fn needed(transaction: &VerifiedTransaction, params: &ChainParams) -> Self {
        Self {
            bytes: u64::from(transaction.byte_len()),
            demand: Demand::of(transaction.body(), params),
        }
    }

    /// The space that remains after `used`.
    #[must_use]
    pub const fn less(self, used: Self) -> Self {
        let (own, other) = (self.demand, used.demand);
        Self {
            bytes: self.bytes.saturating_sub(used.bytes),
            demand: Demand {
                operations: own.operations.saturating_sub(other.operations),
                slots: own.slots.saturating_sub(other.slots),
                state_bytes: own.state_bytes.saturating_sub(other.state_bytes),
            },
        }
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            demand: self.demand.plus(other.demand),
        }
    }

    /// Returns true if a transaction that needs `need` fits.
    #[must_use]
    pub const fn holds(&self, need: &Self) -> bool {
        let (own, other) = (&self.demand, &need.demand);
        need.bytes <= self.bytes
            && other.operations <= own.operations
            && other.slots <= own.slots
            && other.state_bytes <= own.state_bytes
    }
}

/// The binary orders of magnitude of the space that a transaction needs: all transactions of a class need the
/// same up to a factor of two.
///
/// With the limits of the devnet there are fewer than 600 classes: a slot needs between one and two times the bytes of
/// rows of the largest value, and operations set both counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    bytes: u8,
    operations: u8,
    slots: u8,
    state_bytes: u8,
}

impl Class {
    pub fn of(need: &BlockSpace) -> Self {
        Self {
            bytes: magnitude(need.bytes),
            operations: magnitude(need.demand.operations),
            slots: magnitude(need.demand.slots),
            state_bytes: magnitude(need.demand.state_bytes),
        }
    }

    /// Returns true if some transaction of the class could fit.
    pub fn may_fit(self, space: &BlockSpace) -> bool {
        let smallest = BlockSpace {
            bytes: smallest(self.bytes),
            demand: Demand {
                operations: smallest(self.operations),
                slots: smallest(self.slots),
                state_bytes: smallest(self.state_bytes),
            },
        };
        space.holds(&smallest)
    }
}

/// Number of binary digits.
fn magnitude(count: u64) -> u8 {
    u8::try_from(u64::BITS.saturating_sub(count.leading_zeros())).unwrap_or(u8::MAX)
}

/// The smallest number with so many binary digits.
fn smallest(magnitude: u8) -> u64 {
    magnitude
        .checked_sub(1)
        .map_or(0, |digit| 1u64.checked_shl(u32::from(digit)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_number_of_a_magnitude_is_in_it_and_the_one_below_is_not() {
        assert_eq!((magnitude(0), smallest(0)), (0, 0));
        for digits in 1..=64u8 {
            let least = smallest(digits);
            assert_eq!(magnitude(least), digits);
            assert_eq!(magnitude(least.saturating_sub(1)), digits.saturating_sub(1));
        }
        assert_eq!(magnitude(u64::MAX), 64);
    }

    #[test]
    fn a_class_may_fit_as_long_as_its_smallest_transaction_does() {
        let need = |slots| BlockSpace {
            bytes: 200,
            demand: Demand {
                operations: 40,
                slots,
                state_bytes: 5_000,
            },
        };
        let class = Class::of(&need(40));
        assert_eq!(class, Class::of(&need(63)));
        assert!(class.may_fit(&need(32)));
        assert!(!class.may_fit(&need(31)));
        assert!(!need(62).holds(&need(63)));
        assert!(need(63).holds(&need(63)));
        assert_eq!(need(40).plus(need(2)).less(need(2)), need(40));
    }
}
