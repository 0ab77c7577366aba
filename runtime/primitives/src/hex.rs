//! Lower-case hex with the prefix `0x`: the text form of hashes, keys, signatures and raw bytes.

/// Reason why a hex text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// The text does not start with `0x`.
    #[error("hex must start with 0x")]
    Prefix,
    /// A fixed-length value has another length.
    #[error("expected {expected} bytes ({} hex digits after 0x), found {digits} digits", expected.saturating_mul(2))]
    Length {
        /// Number of bytes of the value.
        expected: usize,
        /// Number of digits found.
        digits: usize,
    },
    /// A character is not a hex digit, or there is an odd number of digits.
    #[error("not hex: a character is no hex digit, or their number is odd")]
    Digit,
}

/// Writes `bytes` as lower-case hex with the prefix `0x`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    const_hex::encode_prefixed(bytes)
}

/// Reads any number of bytes.
///
/// # Errors
/// [`HexError`] when the prefix or a digit is wrong.
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?;
    if digits.starts_with("0x") {
        return Err(HexError::Digit);
    }
    const_hex::decode(digits).map_err(|_| HexError::Digit)
}

/// Reads exactly `N` bytes.
///
/// # Errors
/// [`HexError`] when the prefix, the length or a digit is wrong.
pub fn fixed<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?;
    if digits.len() != N.saturating_mul(2) {
        return Err(HexError::Length {
            expected: N,
            digits: digits.len(),
        });
    }
    let bytes = decode(text)?;
    bytes.try_into().map_err(|_| HexError::Digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_needs_its_prefix_its_length_and_its_digits() {
        assert_eq!(fixed::<2>("0xabcd"), Ok([0xab, 0xcd]));
        assert_eq!(fixed::<2>("abcd"), Err(HexError::Prefix));
        assert_eq!(
            fixed::<2>("0xabc"),
            Err(HexError::Length {
                expected: 2,
                digits: 3
            })
        );
        assert_eq!(fixed::<2>("0xabzz"), Err(HexError::Digit));
        assert_eq!(decode("0x0xab"), Err(HexError::Digit));
        assert_eq!(decode(&encode(&[1, 255])), Ok(vec![1, 255]));
    }
}
