//! Addresses in arguments: as text, or by the name of a key of the home.

use vibecoin_keystore::NEW_NAME_BYTES_MAX;
use vibecoin_primitives::{Address, AddressPrefix};
use vibecoin_rpc_api::{AddressArg, AddressText, Arg, Text as _};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::sending::{Hex, payee, wrong_address};

/// An address as typed, or that of a key of the home. The node checks the prefix.
///
/// # Errors
/// Exit 5 for a text as short as a name that is not the name of a key, 2 for an address with a typo.
pub fn named(context: &Context, text: &str) -> Result<AddressArg, CliError> {
    if looks_like_an_address(text) {
        let read = AddressText::from_text(text);
        return Ok(Arg::new(read.map_err(|error| wrong_address(text, error))?));
    }
    match context.keys_with(text).and_then(|keys| Ok(keys.find(text)?)) {
        Ok(info) => Ok(Address::from(info.public_key).into()),
        // A key that exists and cannot be read is reported as such, not taken for an address.
        Err(error) if error.exit != Exit::NotFound => Err(error),
        Err(error) => match AddressText::from_text(text) {
            Ok(address) => Ok(Arg::new(address)),
            Err(_) => Err(context.or_address(text, error)),
        },
    }
}

/// Recipient of a payment: an address as [`payee`] accepts it, or the name of a key of the home.
pub fn recipient(
    context: &Context,
    text: &str,
    prefix: &AddressPrefix,
    hex: Hex,
) -> Result<Address, CliError> {
    if looks_like_an_address(text) {
        return payee(text, prefix, hex);
    }
    Ok(named(context, text)?.get()?.on(prefix)?)
}

fn looks_like_an_address(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X") || text.len() > NEW_NAME_BYTES_MAX
}
