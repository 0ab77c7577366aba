//! The one codec: bincode's fixed-integer little-endian layout, exact and canonical.
//!
//! Integers little-endian and fixed in size, `u64` lengths, `u32` enum tags, one byte for `bool`
//! and `Option`. `wincode` writes it; `bincode` 1.3.3 is the oracle in `tests/conformance`.
//! Foreign bytes are accepted only when they have no byte left over and equal their own re-encoding, so a
//! value has exactly one encoding and its hash can be taken over either.

use wincode::config::DefaultConfig;
use wincode::{SchemaReadOwned, SchemaWrite};

/// Reason why bytes were not accepted as a value of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// More bytes than a value of the type may have; nothing was decoded.
    #[error("{what} of {got} bytes is over the limit of {limit}")]
    TooLarge {
        /// The type.
        what: &'static str,
        /// Number of bytes received.
        got: usize,
        /// Number of bytes allowed.
        limit: usize,
    },
    /// The bytes do not decode, or bytes are left over.
    #[error("malformed {what}: {detail}")]
    Malformed {
        /// The type.
        what: &'static str,
        /// The decoder's message.
        detail: String,
    },
    /// The bytes decode but differ from the encoding of the decoded value.
    #[error("{what} is not in canonical form: its re-encoding differs at byte {offset}")]
    NotCanonical {
        /// The type.
        what: &'static str,
        /// Position of the first byte that differs.
        offset: usize,
    },
}

/// A value with a name and a size limit, which the codec can carry.
pub trait Encoded: SchemaWrite<DefaultConfig, Src = Self> + Sized {
    /// The name used in errors.
    const NAME: &'static str;
    /// Maximum bytes of an encoding.
    const BYTES_MAX: usize;
}

/// Returns the encoding of `value`.
///
/// # Panics
/// Never for the types of this workspace: writing to memory fails only for a list above wincode's
/// own limit of 4 MiB, and every list that can leave a node is bounded below it by [`crate::limits`].
#[must_use]
pub fn encode<T: SchemaWrite<DefaultConfig, Src = T>>(value: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "writing to a Vec fails only beyond limits that the types exclude"
    )]
    wincode::serialize(value).expect("value within the codec's limits")
}

/// Returns the length of [`encode`]'s result, without writing it.
#[must_use]
pub fn encoded_len<T: SchemaWrite<DefaultConfig, Src = T>>(value: &T) -> usize {
    #[expect(clippy::expect_used, reason = "as in `encode`")]
    let len = wincode::serialized_size(value).expect("value within the codec's limits");
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// For bytes that end inside a value the decoder reports the number of bytes it tried to read next, which is
/// not useful.
fn detail_of(error: &wincode::ReadError) -> String {
    match error {
        wincode::ReadError::Io(wincode::io::ReadError::ReadSizeLimit(_)) => {
            "the bytes end before the value does".to_owned()
        }
        wincode::ReadError::TrailingBytes => "there are bytes behind its end".to_owned(),
        other => other.to_string(),
    }
}

/// Decodes foreign bytes: within the type's limit, exact, and canonical.
///
/// # Errors
/// [`CodecError`], with the type and the fault.
pub fn decode<T>(bytes: &[u8]) -> Result<T, CodecError>
where
    T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>,
{
    if bytes.len() > T::BYTES_MAX {
        return Err(CodecError::TooLarge {
            what: T::NAME,
            got: bytes.len(),
            limit: T::BYTES_MAX,
        });
    }
    let value: T = wincode::deserialize_exact(bytes).map_err(|error| CodecError::Malformed {
        what: T::NAME,
        detail: detail_of(&error),
    })?;
    let again = encode(&value);
    if again != bytes {
        let offset = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CodecError::NotCanonical {
            what: T::NAME,
            offset,
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transaction;

    #[test]
    fn bytes_that_end_too_early_are_called_so() {
        for bytes in [&[][..], &[0], &[0; 40]] {
            let refused = decode::<Transaction>(bytes).map_err(|error| error.to_string());
            let said = "malformed transaction: the bytes end before the value does";
            assert_eq!(refused.err().as_deref(), Some(said), "{bytes:?}");
        }
    }
}
