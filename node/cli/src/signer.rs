//! The keys of the home that sign for a command.

use vibecoin_keystore::Keystore;
use vibecoin_primitives::{PublicKey, SecretKey};

use crate::context::Context;
use crate::error::CliError;
use crate::passphrase::PassphraseArgs;

/// The keys of the home, with unencrypted ones if that was allowed. A dev chain's keys are public anyway.
pub fn opened(context: &Context, keys: Keystore, passphrase: &PassphraseArgs) -> Result<Keystore, CliError> {
    let dev = context.genesis()?.is_some_and(|genesis| genesis.params.dev);
    Ok(if dev || passphrase.allow_unencrypted {
        keys.allow_unencrypted()
    } else {
        keys
    })
}

/// A key of the home, after requesting its passphrase.
pub fn load(context: &Context, key: &str, passphrase: &PassphraseArgs) -> Result<SecretKey, CliError> {
    let keys = opened(context, context.keys_with(key)?, passphrase)?;
    let key = keys.load(key, &mut passphrase.source());
    key.map_err(|error| passphrase.failed(error))
}

/// The public key of a name, an address or a key.
pub fn resolve(context: &Context, who: &str) -> Result<PublicKey, CliError> {
    if who.starts_with("0x") || who.contains('1') && vibecoin_primitives::Address::from_any_text(who).is_ok()
    {
        return Ok(crate::sending::address(who, &context.prefix()?)?.public_key());
    }
    match context.keys_with(who).and_then(|keys| Ok(keys.find(who)?)) {
        Ok(info) => Ok(info.public_key),
        Err(error) => Err(context.or_address(who, error)),
    }
}
