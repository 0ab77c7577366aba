//! Keys for developers. **Public and worthless:** everybody knows the words they come from.
//!
//! The same keys on every machine, so examples, tests and local networks agree on addresses. Whoever
//! sends real money to one of them gives it away.

use vibecoin_primitives::SecretKey;
use zeroize::Zeroize as _;

use crate::slip10::Node;
use crate::{COIN_TYPE_TEST, KeyError, Mnemonic};

/// The words that all developer keys come from; other chains' developer tools use the same ones.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";
/// Most developer accounts made at once.
pub const DEV_KEYS_MAX: u32 = 10_000;

/// The last step of the path of accounts.
const ROLE_ACCOUNT: u32 = 0;
/// The last step of the path of validators' keys.
const ROLE_VALIDATOR: u32 = 1;
/// The last step of the path of the accounts that validators are paid to.
const ROLE_PAYOUT: u32 = 2;

/// The keys of one validator of a developer's network.
pub struct DevValidator {
    /// `dev-validator` for the first, `dev-validator1` for the second, and so on.
    pub name: String,
    /// Its consensus key, `m/44'/1'/index'/1'`.
    pub key: SecretKey,
    /// `dev-payout`, `dev-payout1`, and so on.
    pub payout_name: String,
    /// The key of the account that it is paid to, `m/44'/1'/index'/2'`.
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
/// Equal arguments give the same key on every machine, so a network can be made again from its seed, and
/// whoever knows the seed has every key of it.
#[must_use]
pub fn seeded_key(seed: &str, purpose: &str, index: u32) -> SecretKey {
    // The seed comes last: nothing behind it can be mistaken for a part of it.
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
