//! The genesis file, and the block, state, parameters and validators that it defines.
//!
//! Pure: takes text, returns values. The holder of the file checks everything else against the resulting hash.
//!
//! ```text
//!  genesis.toml ──parse──▶ Genesis ──build──▶ BuiltGenesis { header, hash, params, validators, state }
//!               ◀─to_toml──
//! ```
//!
//! ```
//! use vibecoin_genesis::Genesis;
//! let genesis = Genesis::parse(
//!     r#"
//!     format = 1
//!     profile = "devnet"                  # defaults for everything that is not said here
//!     network = "example"
//!     time = "2025-01-01T00:00:00Z"
//!
//!     [parameters]
//!     empty_block_interval_ms = 500
//!
//!     [[validators]]
//!     key = "0xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
//!     power = 1
//!     payout = "vibet184qp0slggwy44y4hp2n56xm7hjwfstx09mzfdrxqe42lz2h5vcxqjr5z6q"
//!
//!     [accounts]
//!     vibet184qp0slggwy44y4hp2n56xm7hjwfstx09mzfdrxqe42lz2h5vcxqjr5z6q = "1000000000000"
//!     "#,
//! )?;
//! let built = genesis.build()?;
//! assert_eq!(built.hash, built.header.hash());
//! assert_eq!(Genesis::parse(&genesis.to_toml())?, genesis);
//! # Ok::<(), vibecoin_genesis::GenesisError>(())
//! ```
//!
//! Read in this order: [`Genesis`] here, `parse` (the file's grammar), `document` (values with their positions),
//! `write`, `block` (block 0), `parameters` (the table of parameters with their units), `time`, `suggest`.

mod block;
mod check;
mod document;
mod error;
mod parameters;
mod parse;
mod suggest;
mod time;
mod write;

use std::collections::BTreeMap;

use vibecoin_primitives::limits::{MIB, VALIDATORS_MAX};
use vibecoin_primitives::{Address, Amount, ChainParams, TimeMs, Validator};

pub use block::BuiltGenesis;
pub use error::{GenesisError, Position, Problem};

/// The version of the file's format that this program reads and writes.
pub const FORMAT: u64 = 1;
/// Maximum bytes of a genesis file.
pub const GENESIS_BYTES_MAX: usize = 128 * MIB;
/// Maximum number of accounts that genesis may fund.
pub const ACCOUNTS_MAX: usize = 1_000_000;
/// The last time that genesis may have: 9999-12-31T23:59:59.999Z, the end of RFC 3339.
pub const TIME_MAX: TimeMs = TimeMs(253_402_300_799_999);

/// Maximum bytes of a line that `to_toml` writes for an account: address, ` = `, quoted balance, newline.
const ACCOUNT_LINE_BYTES_MAX: usize = (16 + 1 + 52 + 6) + 3 + 22 + 1;
/// Maximum bytes that `to_toml` writes for a validator.
const VALIDATOR_BYTES_MAX: usize = 512;
// `parse` reads every output of `to_toml`.
const _: () = assert!(
    ACCOUNTS_MAX * ACCOUNT_LINE_BYTES_MAX + VALIDATORS_MAX * VALIDATOR_BYTES_MAX + MIB <= GENESIS_BYTES_MAX
);

/// The content of a genesis file.
///
/// The fields are public, so a value that is not from [`Genesis::parse`] may break a rule; [`Genesis::build`]
/// checks them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The time of block 0, up to [`TIME_MAX`].
    pub time: TimeMs,
    /// The rules of the chain: name, prefix, fault model and parameters.
    pub params: ChainParams,
    /// The first validators, in the order of the file; the order does not affect the hash.
    pub validators: Vec<Validator>,
    /// The initial balances, in base units; 1 to [`ACCOUNTS_MAX`] accounts.
    pub accounts: BTreeMap<Address, Amount>,
}

/// A named set of defaults for a genesis file.
///
/// A file that leaves a parameter to its profile depends on the tables of
/// [`vibecoin_primitives::ChainParams`], which therefore never change for a released chain.
/// [`Genesis::to_toml`] writes every parameter, so its output depends on no profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A local network of several nodes: blocks of 100 ms.
    Devnet,
    /// A network of dedicated machines: blocks of 320 ms.
    Production,
    /// One node for a developer: blocks on demand.
    Dev,
}

impl Profile {
    /// Every profile with its name in the file.
    pub const ALL: [(&'static str, Self); 3] = [
        ("devnet", Self::Devnet),
        ("production", Self::Production),
        ("dev", Self::Dev),
    ];

    /// The profile's defaults.
    #[must_use]
    pub fn params(self) -> ChainParams {
        match self {
            Self::Devnet => ChainParams::devnet(),
            Self::Production => ChainParams::production(),
            Self::Dev => ChainParams::dev(),
        }
    }
}

#[cfg(test)]
mod tests;
