//! Distinct integer types: heights, rounds, amounts, nonces, powers, times.

use std::fmt;
use wincode::{SchemaRead, SchemaWrite};

macro_rules! units {
    ($($(#[$doc:meta])* $name:ident($int:ty),)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, SchemaWrite, SchemaRead)]
        pub struct $name(pub $int);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(<$int>::MAX);

            /// The sum, or `None` when it does not fit.
            #[must_use]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The difference, or `None` when it would be negative.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// The value after this one, or `None` at the end of the range.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                self.checked_add(Self(1))
            }

            /// The value before this one, or `None` at zero.
            #[must_use]
            pub const fn previous(self) -> Option<Self> {
                self.checked_sub(Self(1))
            }

            /// The sum, or the largest value when it does not fit. For bounds, never for money.
            #[must_use]
            pub const fn saturating_add(self, other: $int) -> Self {
                Self(self.0.saturating_add(other))
            }

            /// The difference, or zero. For distances, never for money.
            #[must_use]
            pub const fn saturating_sub(self, other: $int) -> Self {
                Self(self.0.saturating_sub(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

units! {
    /// A block's position in the chain; genesis is 0.
    Height(u64),
    /// A round of voting within a height, from 0.
    Round(u32),
    /// Money in base units.
    Amount(u64),
    /// Number of transactions that an account has spent.
    Nonce(u64),
    /// Voting power.
    Power(u64),
    /// Milliseconds since 1970-01-01 00:00 UTC.
    TimeMs(u64),
}
