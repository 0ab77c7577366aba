//! Keys created by other programs. The texts are read by [`crate::private::read_secret_text`] or from a pipe.

use vibecoin_primitives::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::KeyError;

/// Parses a 32-byte ed25519 seed: 64 hex digits, with or without `0x`, with optional surrounding white space.
///
/// # Errors
/// [`KeyError::Import`], without any of the text.
pub fn hex_seed(text: &str) -> Result<SecretKey, KeyError> {
    let digits = text.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    if digits.len() != 64 {
        return Err(KeyError::import(format!(
            "a seed has 64 hex digits, this text has {}",
            digits.len()
        )));
    }
    let mut seed = Zeroizing::new([0; 32]);
    // A second 0x would be taken for omitted digits.
    if digits.starts_with("0x") || const_hex::decode_to_slice(digits, &mut *seed).is_err() {
        return Err(KeyError::import("a character of the seed is no hex digit"));
    }
    Ok(SecretKey::from_seed(&seed))
}

/// Parses a `solana-keygen` file: a JSON list of 64 numbers, the seed and the public key that belongs to it.
///
/// # Errors
/// [`KeyError::Import`], without any of the text: also when the public key belongs to a different seed.
pub fn solana_json(text: &str) -> Result<SecretKey, KeyError> {
    let wrong = || KeyError::import("a solana-keygen file is a JSON list of 64 numbers from 0 to 255");
    let numbers: Zeroizing<Vec<u8>> = Zeroizing::new(serde_json::from_str(text).map_err(|_| wrong())?);
    let (seed, public) = numbers.split_first_chunk::<32>().ok_or_else(wrong)?;
    let public = PublicKey(public.try_into().map_err(|_| wrong())?);
    let key = SecretKey::from_seed(seed);
    if key.public_key() != public {
        let detail = format!(
            "the file says public key {public}, its seed has {}",
            key.public_key()
        );
        return Err(KeyError::import(detail));
    }
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn refused(result: Result<SecretKey, KeyError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_hex_seed_is_read_with_and_without_its_prefix() {
        let digits = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        for text in [
            digits.to_owned(),
            format!("0x{digits}\n"),
            format!("  {}  ", digits.to_uppercase()),
        ] {
            let key = hex_seed(&text).unwrap();
            // RFC 8032, section 7.1, test 1.
            let expected = "0xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
            assert_eq!(key.public_key().to_string(), expected, "{text}");
        }
        assert!(refused(hex_seed(&digits[1..])).contains("this text has 63"));
        assert!(refused(hex_seed(&digits.replace('9', "g"))).contains("no hex digit"));
        assert!(refused(hex_seed(&format!("0x0x{}", &digits[2..]))).contains("no hex digit"));
    }

    #[test]
    fn a_solana_file_is_read_when_its_halves_belong_together() {
        let key = SecretKey::from_seed(&[7; 32]);
        let file = |seed: &[u8], public: &[u8]| serde_json::to_string(&[seed, public].concat()).unwrap();
        let public = key.public_key().0;
        assert_eq!(
            solana_json(&file(&[7; 32], &public)).unwrap().public_key(),
            key.public_key()
        );
        assert!(refused(solana_json(&file(&[8; 32], &public))).contains("the file says public key 0x"));
        for text in [
            file(&[7; 32], &public[1..]),
            file(&[7; 33], &public),
            "[256]".to_owned(),
            "{}".to_owned(),
            String::new(),
        ] {
            assert!(
                refused(solana_json(&text)).contains("list of 64 numbers"),
                "{text}"
            );
        }
    }
}
