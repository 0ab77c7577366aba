//! JSON form of single values: integers as decimal strings, bytes as hex, addresses as bech32m.
//!
//! Output has exactly one form. A malformed input string may have a specific error code (1000, 1001,
//! 1003), which the JSON layer cannot return: such parameters are [`Arg`], which holds the verdict
//! until the method asks for the value.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use vibecoin_primitives::{
    Address, AddressPrefix, Amount, Hash, Height, Nonce, Power, PublicKey, Signature, TimeMs, hex,
};

use crate::error::{ApiError, Code};

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

struct StrVisitor<T>(std::marker::PhantomData<T>);

impl<T> StrVisitor<T> {
    const fn new() -> Self {
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
