//! The home of a dev chain: one validator, ten funded accounts, nothing encrypted.

use vibecoin_config::Paths;
use vibecoin_genesis::{Genesis, Profile};
use vibecoin_keystore::{KeyError, NodeKeyRole, dev_keys, dev_validator};
use vibecoin_primitives::{Address, ChainParams, Power, TimeMs, Validator};

use crate::error::{Class, Error};
use crate::files;
use crate::home::{DEV_ACCOUNTS, DEV_BALANCE, keys_of, make_private};

/// Creates missing files in the home of a dev chain. Existing ones stay.
///
/// `given` is a genesis file to use instead of the default one.
///
/// # Errors
/// The home of a chain that is not for development, or the error of a file or a key.
pub fn prepare(paths: &Paths, given: Option<&Genesis>, now: TimeMs) -> Result<Genesis, Error> {
    make_private(&paths.home)?;
    let path = paths.genesis.clone();
    let genesis = if files::exists(&path)? {
        files::genesis(&path)?
    } else {
        let genesis = match given {
            Some(genesis) => genesis.clone(),
            None => dev_genesis(now)?,
        };
        files::write(&path, &genesis.to_toml(), false)?;
        genesis
    };
    if !genesis.params.dev {
        return Err(
            Error::new(Class::Config, format!("{} is not a dev chain", path.display()))
                .hint("leave out --dev, or use another --home"),
        );
    }
    let prefix = genesis
        .params
        .prefix()
        .map_err(|error| Error::new(Class::Config, format!("{}: {error}", path.display())))?;
    let node = keys_of(paths, prefix).allow_unencrypted();
    let validator = dev_validator(0)?;
    if !node.exists(NodeKeyRole::Validator)? {
        node.create(NodeKeyRole::Validator, &validator.key, None)?;
    }
    let accounts = node.accounts()?.allow_unencrypted();
    for (name, key) in dev_keys(DEV_ACCOUNTS)?
        .iter()
        .chain([&(validator.payout_name, validator.payout)])
    {
        match accounts.create(name, key, None) {
            Ok(_) | Err(KeyError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(genesis)
}

/// The genesis of a dev chain.
///
/// # Errors
/// Keys that cannot be derived.
pub fn dev_genesis(now: TimeMs) -> Result<Genesis, Error> {
    let validator = dev_validator(0)?;
    let accounts = dev_keys(DEV_ACCOUNTS)?;
    Ok(Genesis {
        time: now,
        params: ChainParams {
            ..Profile::Dev.params()
        },
        validators: vec![Validator {
            key: validator.key.public_key(),
            power: Power(1),
            payout: Address::from(validator.payout.public_key()),
        }],
        accounts: accounts
            .iter()
            .map(|(_, key)| (Address::from(key.public_key()), DEV_BALANCE))
            .collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_dev_home_is_made_once_and_kept() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().join("home");
        let paths = Paths::new(&home, &vibecoin_config::Config::default());
        let first = prepare(&paths, None, TimeMs(1_700_000_000_000)).unwrap();
        let second = prepare(&paths, None, TimeMs(1_800_000_000_000)).unwrap();
        assert_eq!(first, second);
        assert_eq!(first.accounts.len(), 10);
        assert!(first.build().is_ok());
        let keys = keys_of(&paths, first.params.prefix().unwrap())
            .accounts()
            .unwrap()
            .list()
            .unwrap();
        let names: Vec<_> = keys.keys.iter().map(|key| key.name.as_str()).collect();
        assert!(names.contains(&"dev0") && names.contains(&"dev9"), "{names:?}");
        assert!(keys.keys.iter().all(|key| !key.encrypted));
        for key in keys.keys.iter().filter(|key| key.name != "dev-payout") {
            assert!(
                first.accounts.contains_key(&Address::from(key.public_key)),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn a_home_of_another_kind_of_chain_is_not_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let mut genesis = dev_genesis(TimeMs(1_700_000_000_000)).unwrap();
        genesis.params = ChainParams::devnet();
        let paths = Paths::new(home.path(), &vibecoin_config::Config::default());
        files::write(&paths.genesis, &genesis.to_toml(), false).unwrap();
        let refused = prepare(&paths, None, TimeMs(1_800_000_000_000)).unwrap_err();
        assert_eq!(refused.fault().map(|fault| fault.class), Some(Class::Config));
    }
}
