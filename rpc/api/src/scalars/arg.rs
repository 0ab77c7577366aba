//! Parameters that keep the verdict on their text.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use vibecoin_primitives::{Address, Hash};

use super::{AddressText, Bytes, Cursor, Text};
use crate::error::ApiError;

/// A text parameter with its verdict: any text is accepted, and a malformed one returns its
/// specific code (not -32602) when the method asks for the value.
///
/// The text is read in place, in the request; only the value is copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg<T>(Result<T, Box<ApiError>>);

impl<T> Arg<T> {
    /// Wraps the verdict on a text.
    pub(crate) fn judged(verdict: Result<T, ApiError>) -> Self {
        Self(verdict.map_err(Box::new))
    }

    /// A valid parameter, for callers.
    pub const fn new(value: T) -> Self {
        Self(Ok(value))
    }

    /// The value.
    ///
    /// # Errors
    /// The error of [`Text::from_text`].
    pub fn get(self) -> Result<T, ApiError> {
        self.0.map_err(|error| *error)
    }
}

impl<T> From<T> for Arg<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl From<Address> for Arg<AddressText> {
    fn from(address: Address) -> Self {
        Self::new(AddressText::hex(address))
    }
}

impl From<Vec<u8>> for Arg<Bytes> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(Bytes(bytes))
    }
}

impl<T: Text> Serialize for Arg<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(value) => serializer.serialize_str(&value.to_text()),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

impl<'de, T: Text> Deserialize<'de> for Arg<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(StrVisitor::<T>::new())
            .map(Self::judged)
    }
}

pub(super) struct StrVisitor<T>(std::marker::PhantomData<T>);

impl<T> StrVisitor<T> {
    pub(super) const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T: Text> Visitor<'_> for StrVisitor<T> {
    type Value = Result<T, ApiError>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::from_text(text))
    }
}

/// A hash parameter: `0x` and 64 digits.
pub type HashArg = Arg<Hash>;
/// An address parameter: bech32m, or `0x` and 64 digits.
pub type AddressArg = Arg<AddressText>;
/// Raw bytes: `0x` and an even number of digits.
pub type BytesArg = Arg<Bytes>;
/// A cursor from the page before.
pub type CursorArg = Arg<Cursor>;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn a_malformed_text_keeps_its_own_code_until_it_is_asked_for() {
        let code = |json: &str| {
            serde_json::from_str::<HashArg>(json)
                .unwrap()
                .get()
                .unwrap_err()
                .code
        };
        assert_eq!(code("\"0x12\""), Code::BadEncoding.number());
        assert_eq!(code("\"12\""), Code::BadEncoding.number());
        assert!(
            serde_json::from_str::<HashArg>("12").is_err(),
            "not a text at all"
        );
        let address = serde_json::from_str::<AddressArg>("\"vibet1qqqq\"").unwrap();
        assert_eq!(address.get().unwrap_err().code, Code::BadAddress.number());
    }
}
