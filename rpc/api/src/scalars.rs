//! JSON form of single values: integers as decimal strings, bytes as hex, addresses as bech32m.
//!
//! Output has exactly one form. A malformed input string may have a specific error code (1000, 1001,
//! 1003), which the JSON layer cannot return: such parameters are [`Arg`], which holds the verdict
//! until the method asks for the value.

mod arg;
mod integer;

use std::fmt;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};
use vibecoin_primitives::{Address, AddressPrefix, Hash, Height, PublicKey, Signature, hex};

use crate::error::{ApiError, Code};
use arg::StrVisitor;

pub use arg::{AddressArg, Arg, BytesArg, CursorArg, HashArg};
pub use integer::U64;
pub(crate) use integer::parse_decimal;

/// A value that is a string in JSON.
pub trait Text: Sized {
    /// Reads the text.
    ///
    /// # Errors
    /// [`ApiError`] with the code for this kind of text.
    fn from_text(text: &str) -> Result<Self, ApiError>;

    /// Writes the text.
    fn to_text(&self) -> String;
}

fn bad_hex(what: &str, error: &hex::HexError) -> ApiError {
    ApiError::new(Code::BadEncoding, format!("{what}: {error}"))
}

impl Text for Hash {
    fn from_text(text: &str) -> Result<Self, ApiError> {
        Self::from_hex(text).map_err(|error| bad_hex("hash", &error))
    }
    fn to_text(&self) -> String {
        hex::encode(&self.0)
    }
}

impl Text for PublicKey {
    fn from_text(text: &str) -> Result<Self, ApiError> {
        Self::from_hex(text).map_err(|error| bad_hex("public key", &error))
    }
    fn to_text(&self) -> String {
        hex::encode(&self.0)
    }
}

impl Text for Signature {
    fn from_text(text: &str) -> Result<Self, ApiError> {
        Self::from_hex(text).map_err(|error| bad_hex("signature", &error))
    }
    fn to_text(&self) -> String {
        hex::encode(&self.0)
    }
}

/// Any number of bytes, as hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Text for Bytes {
    fn from_text(text: &str) -> Result<Self, ApiError> {
        hex::decode(text)
            .map(Self)
            .map_err(|error| bad_hex("bytes", &error))
    }
    fn to_text(&self) -> String {
        hex::encode(&self.0)
    }
}

/// An address with the prefix of its text form; `None` when it was written as `0x` hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressText {
    /// The address.
    pub address: Address,
    /// The prefix in front of it.
    pub prefix: Option<AddressPrefix>,
}

impl AddressText {
    /// The form of every answer: bech32m behind the chain's prefix.
    #[must_use]
    pub const fn new(address: Address, prefix: AddressPrefix) -> Self {
        Self {
            address,
            prefix: Some(prefix),
        }
    }

    /// The hex form, which reads accept beside bech32m.
    #[must_use]
    pub const fn hex(address: Address) -> Self {
        Self {
            address,
            prefix: None,
        }
    }

    /// The address, provided that its prefix (if any) is the chain's.
    ///
    /// # Errors
    /// 1001 when the address was written for another network.
    pub fn on(&self, chain: &AddressPrefix) -> Result<Address, ApiError> {
        match &self.prefix {
            Some(prefix) if prefix != chain => Err(ApiError::new(
                Code::BadAddress,
                format!("address prefix is {prefix}, this chain uses {chain}"),
            )
            .with("expectedPrefix", chain.to_string())),
            _ => Ok(self.address),
        }
    }
}

impl Text for AddressText {
    fn from_text(text: &str) -> Result<Self, ApiError> {
        if text.starts_with("0x") {
            let bytes = hex::fixed(text)
                .map_err(|error| ApiError::new(Code::BadAddress, format!("address: {error}")))?;
            return Ok(Self::hex(Address(bytes)));
        }
        let (prefix, address) = Address::from_any_text(text)
            .map_err(|error| ApiError::new(Code::BadAddress, error.to_string()))?;
        Ok(Self {
            address,
            prefix: Some(prefix),
        })
    }
    fn to_text(&self) -> String {
        self.prefix.as_ref().map_or_else(
            || hex::encode(&self.address.0),
            |prefix| self.address.to_text(prefix),
        )
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// End of a page: opaque to callers, and bound to its query.
///
/// The bytes are base64url of `query hash (8) ‖ height (8, LE) ‖ position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// First eight bytes of a hash over the query.
    pub query: [u8; 8],
    /// The height at which all pages of the query are read.
    pub height: Height,
    /// Start of the next page, in a form specific to the query.
    pub position: Vec<u8>,
}

/// Maximum bytes of a cursor text that is parsed.
const CURSOR_TEXT_BYTES_MAX: usize = 256;

impl Text for Cursor {
    fn from_text(text: &str) -> Result<Self, ApiError> {
        use base64::Engine as _;
        let bad = || ApiError::new(Code::BadCursor, "the cursor did not come from this interface");
        if text.len() > CURSOR_TEXT_BYTES_MAX {
            return Err(bad());
        }
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| bad())?;
        let (query, rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
        let (height, position) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        Ok(Self {
            query: *query,
            height: Height(u64::from_le_bytes(*height)),
            position: position.to_vec(),
        })
    }
    fn to_text(&self) -> String {
        use base64::Engine as _;
        let bytes = [&self.query[..], &self.height.0.to_le_bytes(), &self.position].concat();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// Reads and writes a [`Text`] with serde: `#[serde(with = "text")]`.
pub mod text {
    use super::{Deserializer, Serializer, StrVisitor, Text};

    /// Writes the text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Text, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_text())
    }

    /// Reads the text; a malformed one is an error of the JSON.
    ///
    /// # Errors
    /// Those of the deserializer, and those of [`Text::from_text`].
    pub fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        deserializer
            .deserialize_str(StrVisitor::<T>::new())?
            .map_err(serde::de::Error::custom)
    }
}

/// Reads and writes an optional [`Text`] with serde: `#[serde(with = "text_option")]`.
pub mod text_option {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Shown, Text};

    /// Writes the text or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Text + Clone, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.clone().map(Shown).serialize(serializer)
    }

    /// Reads the text or null.
    ///
    /// # Errors
    /// Those of the deserializer, and those of [`Text::from_text`].
    pub fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<Shown<T>>::deserialize(deserializer)?.map(|shown| shown.0))
    }
}

/// Reads `null` as the default: every optional parameter may be written as `null`.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A [`Text`] as in answers, and in lists of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown<T>(pub T);

impl<T: Text> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text::serialize(&self.0, serializer)
    }
}

impl<'de, T: Text> Deserialize<'de> for Shown<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_network_is_refused_and_hex_belongs_to_every_network() {
        let (test, main) = (
            AddressPrefix::new("vibet").unwrap(),
            AddressPrefix::new("vibe").unwrap(),
        );
        let address = Address([3; 32]);
        let text = AddressText::new(address, test).to_text();
        let parsed = AddressText::from_text(&text).unwrap();
        assert_eq!(parsed.on(&test), Ok(address));
        assert_eq!(parsed.on(&main).unwrap_err().code, Code::BadAddress.number());
        let hex = AddressText::from_text(&AddressText::hex(address).to_text()).unwrap();
        assert_eq!(hex.on(&main), Ok(address));
    }

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor {
            query: [1; 8],
            height: Height(77),
            position: vec![1, 2, 3],
        };
        assert_eq!(Cursor::from_text(&cursor.to_text()), Ok(cursor));
        for bad in ["", "!!", "AAAA", "0x12"] {
            assert_eq!(
                Cursor::from_text(bad).unwrap_err().code,
                Code::BadCursor.number(),
                "{bad}"
            );
        }
    }
}
