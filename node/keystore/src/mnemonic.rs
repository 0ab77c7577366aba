//! Key derivation from a mnemonic: BIP-39 words, SLIP-0010 keys.

use vibecoin_primitives::SecretKey;
use vibecoin_primitives::text::without_mark;
use zeroize::Zeroizing;

use crate::normal::nfkd;
use crate::slip10::Node;
use crate::{KeyError, random};

/// The coin type of all test networks (SLIP-0044). A dedicated type must be registered before a main network.
pub const COIN_TYPE_TEST: u32 = 1;
/// The purpose of a path `m/44'/coin'/account'/role'`.
const PURPOSE: u32 = 44;
/// Maximum length of a mnemonic in bytes: 24 words of up to 8 letters, and white space.
const TEXT_BYTES_MAX: usize = 1024;

/// English BIP-39 words. Erased on drop, without `Debug`.
pub struct Mnemonic(bip39::Mnemonic);

impl Mnemonic {
    /// Generates 24 new words from 32 bytes of the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Random`] when it is unavailable.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_entropy(&*random::<32>()?)
    }

    /// The words that encode `entropy`: 12 for 16 bytes, 24 for 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Import`] for a number of bytes that BIP-39 does not define.
    pub fn from_entropy(entropy: &[u8]) -> Result<Self, KeyError> {
        bip39::Mnemonic::from_entropy(entropy)
            .map(Self)
            .map_err(|error| KeyError::import(error.to_string()))
    }

    /// Parses words, in upper or lower case, with any white space between them, in any Unicode form, with or
    /// without a byte-order mark.
    ///
    /// # Errors
    /// [`KeyError::Import`], which identifies a wrong word only by its position.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(KeyError::import(format!(
                "a mnemonic has at most {TEXT_BYTES_MAX} bytes"
            )));
        }
        let mut text = nfkd(without_mark(text));
        text.make_ascii_lowercase();
        let parsed = bip39::Mnemonic::parse_in_normalized(bip39::Language::English, &text);
        parsed.map(Self).map_err(|error| KeyError::import(fault(&error)))
    }

    /// The words, with single spaces between them.
    #[must_use]
    pub fn phrase(&self) -> Zeroizing<String> {
        let mut phrase = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        for word in self.0.words() {
            if !phrase.is_empty() {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        phrase
    }

    /// The key of an account: `m/44'/coin_type'/account'/0'`.
    ///
    /// # Errors
    /// [`KeyError::Import`] when a number is not below 2^31.
    pub fn account_key(&self, coin_type: u32, account: u32) -> Result<SecretKey, KeyError> {
        self.family(coin_type)?.key(account, 0)
    }

    /// All keys of a coin type, with the empty BIP-39 passphrase. Costs milliseconds; each key then is cheap.
    ///
    /// # Errors
    /// [`KeyError::Import`] when `coin_type` is not below 2^31.
    pub fn family(&self, coin_type: u32) -> Result<KeyFamily, KeyError> {
        check_number("coin type", coin_type)?;
        let seed = Zeroizing::new(self.0.to_seed_normalized(""));
        Ok(KeyFamily(Node::master(&*seed).descend(&[PURPOSE, coin_type])))
    }
}

/// The keys of one mnemonic and one coin type: the node `m/44'/coin_type'`. Erased on drop, without `Debug`.
pub struct KeyFamily(Node);

impl KeyFamily {
    /// The key at `m/44'/coin_type'/account'/role'`; accounts have role 0.
    ///
    /// # Errors
    /// [`KeyError::Import`] when a number is not below 2^31.
    pub fn key(&self, account: u32, role: u32) -> Result<SecretKey, KeyError> {
        check_number("account", account)?;
        check_number("role", role)?;
        Ok(SecretKey::from_seed(&self.0.descend(&[account, role]).into_key()))
    }
}

fn check_number(name: &str, number: u32) -> Result<(), KeyError> {
    if number < 1 << 31 {
        return Ok(());
    }
    Err(KeyError::import(format!(
        "{name} {number} of a key path is not below 2^31"
    )))
}

/// Description of the fault, without any of the words.
fn fault(error: &bip39::Error) -> String {
    match error {
        bip39::Error::BadWordCount(count) => {
            format!("a mnemonic has 12, 15, 18, 21 or 24 words, this one has {count}")
        }
        bip39::Error::UnknownWord(index) => {
            format!(
                "word {} of the mnemonic is not on the BIP-39 list",
                index.saturating_add(1)
            )
        }
        bip39::Error::InvalidChecksum => {
            "the checksum of the mnemonic is wrong: a word is mistaken or misplaced".to_owned()
        }
        other => format!("the mnemonic is not valid: {other}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const ZEROS: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    #[test]
    fn the_words_of_known_entropy_are_the_standards_words() {
        assert_eq!(*Mnemonic::from_entropy(&[0; 16]).unwrap().phrase(), ZEROS);
        let long = Mnemonic::from_entropy(&[0; 32]).unwrap().phrase();
        assert_eq!(*long, format!("{}art", "abandon ".repeat(23)));
    }

    /// The vector of the BIP-39 reference implementation; its passphrase is `TREZOR`.
    #[test]
    fn the_seed_is_that_of_the_standard() {
        let seed = Mnemonic::parse(ZEROS).unwrap().0.to_seed_normalized("TREZOR");
        let expected = "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531\
                        f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04";
        assert_eq!(const_hex::encode(seed), expected);
    }

    #[test]
    fn capitals_and_white_space_do_not_matter() {
        let key = |text: &str| {
            Mnemonic::parse(text)
                .unwrap()
                .account_key(1, 0)
                .unwrap()
                .public_key()
        };
        let spread = ZEROS.to_uppercase().replace(' ', "\n  ");
        assert_eq!(key(&format!(" {spread}\n")), key(ZEROS));
        // Full-width letters and spaces, as typed on a Japanese keyboard, after a byte-order mark.
        let wide: String = ZEROS
            .chars()
            .map(|c| match c {
                ' ' => '\u{3000}',
                c => char::from_u32(u32::from(c) - u32::from('a') + 0xff41).unwrap(),
            })
            .collect();
        assert_eq!(key(&format!("\u{feff}{wide}")), key(ZEROS));
    }

    #[test]
    fn accounts_coins_and_roles_have_different_keys() {
        let mnemonic = Mnemonic::parse(ZEROS).unwrap();
        let mut keys: Vec<_> = [(1, 0, 0), (1, 1, 0), (2, 0, 0), (1, 0, 1)]
            .map(|(coin, account, role)| {
                mnemonic
                    .family(coin)
                    .unwrap()
                    .key(account, role)
                    .unwrap()
                    .public_key()
            })
            .into();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4);
        assert!(mnemonic.account_key(1, 1 << 31).is_err());
    }

    #[test]
    fn a_wrong_mnemonic_is_refused_without_being_repeated() {
        let refused = |text: &str| match Mnemonic::parse(text) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(refused(&ZEROS.replace("about", "zebra")).contains("checksum"));
        assert!(refused(&ZEROS.replace("about", "secretword")).contains("word 12 "));
        assert!(!refused(&ZEROS.replace("about", "secretword")).contains("secretword"));
        assert!(refused("abandon about").contains("12, 15, 18, 21 or 24 words, this one has 2"));
        assert!(refused(&"abandon ".repeat(200)).contains("at most 1024 bytes"));
    }

    #[test]
    fn every_count_that_the_refusal_names_is_taken() {
        for (bytes, words) in [(16, 12), (20, 15), (24, 18), (28, 21), (32, 24)] {
            let phrase = Mnemonic::from_entropy(&vec![7; bytes]).unwrap().phrase();
            assert_eq!(phrase.split(' ').count(), words);
            Mnemonic::parse(&phrase).unwrap();
        }
    }

    #[test]
    fn new_words_are_24_and_never_the_same() {
        let (one, other) = (
            Mnemonic::generate().unwrap().phrase(),
            Mnemonic::generate().unwrap().phrase(),
        );
        assert_eq!(one.split(' ').count(), 24);
        assert_ne!(*one, *other);
        Mnemonic::parse(&one).unwrap();
    }
}
