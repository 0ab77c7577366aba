//! Keys for developers. **Public and worthless:** their mnemonic is published.
//!
//! The same keys on every machine, so examples, tests and local networks agree on addresses. Real funds sent
//! to one of them are lost.

use vibecoin_primitives::SecretKey;
use zeroize::Zeroize as _;

use crate::slip10::Node;
use crate::{COIN_TYPE_TEST, KeyError, Mnemonic};

/// The mnemonic of all developer keys; other chains' developer tools use the same one.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";
/// Maximum number of developer accounts made at once.
pub const DEV_KEYS_MAX: u32 = 10_000;

/// Last step of the path of accounts.
const ROLE_ACCOUNT: u32 = 0;
/// Last step of the path of validators' keys.
const ROLE_VALIDATOR: u32 = 1;
/// Last step of the path of validators' payout accounts.
const ROLE_PAYOUT: u32 = 2;

/// The keys of one validator of a development network.
pub struct DevValidator {
    /// `dev-validator` for the first, `dev-validator1` for the second, and so on.
    pub name: String,
    /// Its consensus key, `m/44'/1'/index'/1'`.
    pub key: SecretKey,
    /// `dev-payout`, `dev-payout1`, and so on.
    pub payout_name: String,
    /// The key of its payout account, `m/44'/1'/index'/2'`.
    pub payout: SecretKey,
}

/// The accounts `dev0`, `dev1`, and so on, with their keys: `m/44'/1'/i'/0'`.
///
/// # Errors
/// [`KeyError::Import`] above [`DEV_KEYS_MAX`] accounts.
pub fn dev_keys(count: u32) -> Result<Vec<(String, SecretKey)>, KeyError> {
    if count > DEV_KEYS_MAX {
        return Err(KeyError::import(format!(
            "{count} developer keys, allowed are at most {DEV_KEYS_MAX}"
        )));
    }
    let family = Mnemonic::parse(DEV_MNEMONIC)?.family(COIN_TYPE_TEST)?;
    (0..count)
        .map(|i| Ok((format!("dev{i}"), family.key(i, ROLE_ACCOUNT)?)))
        .collect()
}

/// The keys of the validator `index`, from zero.
///
/// # Errors
/// [`KeyError::Import`] for an index above 2^31.
pub fn dev_validator(index: u32) -> Result<DevValidator, KeyError> {
    let family = Mnemonic::parse(DEV_MNEMONIC)?.family(COIN_TYPE_TEST)?;
    let suffix = if index == 0 {
        String::new()
    } else {
        index.to_string()
    };
    Ok(DevValidator {
        name: format!("dev-validator{suffix}"),
        key: family.key(index, ROLE_VALIDATOR)?,
        payout_name: format!("dev-payout{suffix}"),
        payout: family.key(index, ROLE_PAYOUT)?,
    })
}

/// The key number `index` for a purpose of a network whose keys all come from one seed.
///
/// Equal arguments return the same key on every machine, so a network can be recreated from its seed, and
/// knowledge of the seed is knowledge of every key.
#[must_use]
pub fn seeded_key(seed: &str, purpose: &str, index: u32) -> SecretKey {
    // The seed is last: nothing behind it can be mistaken for a part of it.
    let mut bytes = b"vibecoin/seeded-key/v1\0".to_vec();
    bytes.extend_from_slice(purpose.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&index.to_be_bytes());
    bytes.extend_from_slice(seed.as_bytes());
    let key = SecretKey::from_seed(&Node::master(&bytes).into_key());
    bytes.zeroize();
    key
}

#[cfg(test)]
mod seeded_tests {
    use super::*;

    #[test]
    fn a_seeded_key_depends_on_seed_purpose_and_index_and_on_nothing_else() {
        let public = |seed, purpose, index| seeded_key(seed, purpose, index).public_key();
        let one = public("1", "validator", 0);
        assert_eq!(one, public("1", "validator", 0));
        for other in [
            public("2", "validator", 0),
            public("1", "node", 0),
            public("1", "validator", 1),
        ] {
            assert_ne!(one, other);
        }
    }
}
