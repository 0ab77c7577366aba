//! Bytes as hex in arguments.

use vibecoin_primitives::hex;

use crate::error::CliError;

/// Bytes of hex, with or without `0x`.
pub fn bytes(what: &str, text: &str) -> Result<Vec<u8>, CliError> {
    let prefixed = if text.starts_with("0x") {
        text.to_owned()
    } else {
        format!("0x{text}")
    };
    hex::decode(&prefixed).map_err(|error| CliError::usage(format!("{what}: {error}")))
}

/// Exactly `N` bytes of hex, with or without `0x`.
pub fn fixed<const N: usize>(what: &str, text: &str) -> Result<[u8; N], CliError> {
    let found = bytes(what, text)?;
    let count = found.len();
    found
        .try_into()
        .map_err(|_| CliError::usage(format!("{what}: expected {N} bytes of hex, found {count}")))
}
