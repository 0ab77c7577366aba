//! Addresses: 32 bytes, displayed as bech32m with the prefix of the chain.

use std::fmt;

use bech32::primitives::decode::{CheckedHrpstring, CheckedHrpstringError};
use bech32::{Bech32m, Hrp};
use wincode::{SchemaRead, SchemaWrite};

use crate::{Domain, PublicKey};

/// The address of an account: a user's public key, or a domain-separated hash for the accounts of the chain itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub struct Address(pub [u8; 32]);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex::encode(&self.0))
    }
}

impl From<PublicKey> for Address {
    fn from(key: PublicKey) -> Self {
        Self(key.0)
    }
}

impl Address {
    /// The public key that equals this address, for a user's account.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        PublicKey(self.0)
    }

    /// The account that holds the chain's own records (burned total, proposer schedule) in its slots.
    #[must_use]
    pub fn system() -> Self {
        Self(Domain::SystemAddress.hash(b"chain records").0)
    }

    /// The address as bech32m text.
    #[must_use]
    pub fn to_text(&self, prefix: &AddressPrefix) -> String {
        bech32::encode::<Bech32m>(prefix.0, &self.0).unwrap_or_default()
    }

    /// Reads bech32m text with exactly this prefix.
    ///
    /// # Errors
    /// [`AddressError`] with the first rule that the text violates.
    pub fn from_text(text: &str, prefix: &AddressPrefix) -> Result<Self, AddressError> {
        let (found, address) = Self::from_any_text(text)?;
        if found != *prefix {
            return Err(AddressError::Prefix {
                expected: prefix.to_string(),
                got: found.to_string(),
            });
        }
        Ok(address)
    }

    /// Reads bech32m text and returns its prefix.
    ///
    /// # Errors
    /// [`AddressError`] with the first rule that the text violates.
    pub fn from_any_text(text: &str) -> Result<(AddressPrefix, Self), AddressError> {
        if text.len() > ADDRESS_TEXT_BYTES_MAX {
            return Err(AddressError::Length { got: text.len() });
        }
        let parsed = CheckedHrpstring::new::<Bech32m>(text).map_err(|error| AddressError::Text {
            detail: detail_of(text, &error).to_owned(),
        })?;
        let bytes: Vec<u8> = parsed.byte_iter().collect();
        let bytes =
            <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| AddressError::Length { got: bytes.len() })?;
        let prefix = AddressPrefix(parsed.hrp());
        // Bech32 leaves padding bits and upper case free; one address has one text here.
        if !Self(bytes).to_text(&prefix).eq_ignore_ascii_case(text) {
            return Err(AddressError::Text {
                detail: "not in canonical form".to_owned(),
            });
        }
        Ok((prefix, Self(bytes)))
    }
}

/// Description of the error, for the user who typed the text.
fn detail_of(text: &str, error: &CheckedHrpstringError) -> &'static str {
    use bech32::primitives::decode::{CharError, UncheckedHrpstringError as Unchecked};
    match error {
        _ if text.starts_with("0X") => "hex begins with 0x, with a small x",
        _ if !text.contains('1') => "it does not begin with the prefix of a chain and the digit 1",
        CheckedHrpstringError::Checksum(_) => {
            "its checksum is wrong, so a character is mistaken, missing or too many"
        }
        CheckedHrpstringError::Parse(Unchecked::Char(error)) => match error {
            CharError::MixedCase => "capital and small letters are mixed",
            CharError::InvalidChar(_) => "it has a character that no address has",
            _ => "nothing stands behind its last digit 1",
        },
        _ => "what stands before its last digit 1 is not the prefix of a chain",
    }
}

/// Maximum length of an address text that is parsed.
pub const ADDRESS_TEXT_BYTES_MAX: usize = 128;

/// The part before the `1` of an address: 1 to 16 lower-case letters, from genesis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressPrefix(Hrp);

impl AddressPrefix {
    /// Checks and wraps a prefix.
    ///
    /// # Errors
    /// [`AddressError::BadPrefix`] unless it is 1 to 16 lower-case ASCII letters.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        let good = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase());
        let hrp = Hrp::parse(text).ok().filter(|_| good);
        hrp.map(Self).ok_or_else(|| AddressError::BadPrefix {
            got: text.chars().take(32).collect(),
        })
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_lowercase())
    }
}

/// Reason why a text is not an address of this chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not bech32m: a wrong character or checksum.
    #[error("not a bech32m address: {detail}")]
    Text {
        /// The decoder's message.
        detail: String,
    },
    /// The payload is not 32 bytes.
    #[error("an address has 32 bytes, this text has {got}")]
    Length {
        /// Bytes found.
        got: usize,
    },
    /// The address belongs to another network.
    #[error("address prefix is {got}, this chain uses {expected}")]
    Prefix {
        /// This chain's prefix.
        expected: String,
        /// The prefix found.
        got: String,
    },
    /// A prefix that cannot be used.
    #[error("address prefix {got:?} is not 1 to 16 lower-case letters")]
    BadPrefix {
        /// The prefix found.
        got: String,
    },
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text_and_a_typo_does_not() {
        let prefix = AddressPrefix::new("vibet").unwrap();
        let address = Address([9; 32]);
        let text = address.to_text(&prefix);
        assert!(text.starts_with("vibet1"), "{text}");
        assert_eq!(Address::from_text(&text, &prefix), Ok(address));
        for i in 0..text.len() {
            let mut typo = text.clone().into_bytes();
            if let Some(byte) = typo.get_mut(i) {
                *byte = if *byte == b'q' { b'p' } else { b'q' };
            }
            let typo = String::from_utf8(typo).unwrap();
            assert!(Address::from_text(&typo, &prefix).is_err(), "{typo}");
        }
    }

    #[test]
    fn the_refusal_says_what_is_wrong_with_the_text() {
        let prefix = AddressPrefix::new("vibet").unwrap();
        let good = Address([9; 32]).to_text(&prefix);
        for (text, said) in [
            (format!("0X{}", "ab".repeat(32)), "a small x"),
            (good.replacen('y', "z", 1), "checksum is wrong"),
            (good.get(..63).unwrap().to_owned(), "checksum is wrong"),
            (good.replacen("vibet", "Vibet", 1), "are mixed"),
            (good.replacen("vibet1", "vibet1b", 1), "no address has"),
            ("alice".to_owned(), "prefix of a chain and the digit 1"),
            (String::new(), "prefix of a chain and the digit 1"),
        ] {
            let error = Address::from_any_text(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(error.starts_with("not a bech32m address: "), "{error}");
        }
    }

    #[test]
    fn another_networks_prefix_is_named() {
        let text = Address([1; 32]).to_text(&AddressPrefix::new("vibe").unwrap());
        let error = Address::from_text(&text, &AddressPrefix::new("vibet").unwrap());
        assert_eq!(
            error,
            Err(AddressError::Prefix {
                expected: "vibet".into(),
                got: "vibe".into()
            })
        );
        assert!(AddressPrefix::new("Vibe").is_err());
        assert!(AddressPrefix::new("").is_err());
    }
}
