//! 64-bit integers.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use vibecoin_primitives::{Amount, Height, Nonce, Power, TimeMs};

/// A 64-bit integer: a decimal string in answers; a number or a decimal string in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U64(pub u64);

macro_rules! u64_from {
    ($($unit:ident),*) => {$(
        impl From<$unit> for U64 {
            fn from(value: $unit) -> Self {
                Self(value.0)
            }
        }
        impl From<U64> for $unit {
            fn from(value: U64) -> Self {
                Self(value.0)
            }
        }
    )*};
}
u64_from!(Amount, Height, Nonce, Power, TimeMs);

impl From<u64> for U64 {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl fmt::Display for U64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for U64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Maximum bytes of an input text that an error repeats.
const SHOWN_BYTES_MAX: usize = 64;

/// Reads a decimal without sign, spaces or superfluous zeros.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits {
        text.parse().ok()
    } else {
        None
    }
}

impl<'de> Deserialize<'de> for U64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decimal;
        impl Visitor<'_> for Decimal {
            type Value = U64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit integer as a number or a decimal string")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<U64, E> {
                Ok(U64(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<U64, E> {
                parse_decimal(text).map(U64).ok_or_else(|| {
                    let found = match text.len() {
                        0..=SHOWN_BYTES_MAX => de::Unexpected::Str(text),
                        _ => de::Unexpected::Other("another text"),
                    };
                    E::invalid_value(found, &self)
                })
            }
        }
        deserializer.deserialize_any(Decimal)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_64_bit_integer_leaves_as_a_string_and_comes_in_either_form_but_never_as_hex() {
        assert_eq!(
            serde_json::to_string(&U64(u64::MAX)).unwrap(),
            "\"18446744073709551615\""
        );
        for good in ["7", "\"7\""] {
            assert_eq!(serde_json::from_str::<U64>(good).unwrap(), U64(7));
        }
        for bad in [
            "\"0x7\"",
            "\"07\"",
            "\"\"",
            "\"+7\"",
            "-7",
            "7.0",
            "\"18446744073709551616\"",
            "null",
        ] {
            assert!(serde_json::from_str::<U64>(bad).is_err(), "{bad}");
        }
    }
}
