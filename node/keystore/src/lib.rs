//! Secret keys on disk: encrypted files, mnemonics, imports, developer keys, and the lock of a home.
//!
//! The only crate that reads the operating system's randomness for keys, and the only one that handles
//! passphrases; [`process`] takes one out of the environment. It does not prevent double signing: that is done by the double-sign guard.
//!
//! ```text
//! <home>/LOCK             HomeLock      held while a process uses the home; holds its PID
//! <home>/validator.key    NodeKeys      signs votes and proposals
//! <home>/node.key         NodeKeys      names the node to its peers; never encrypted
//! <home>/keys/alice.json  Keystore      an account
//! ```
//!
//! All key files but `node.key` have one format ([`file`]) and are read under the same rules ([`private`]): a
//! regular file of this user, without permissions for others, not reached through a symbolic link, of up to
//! 64 KiB.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use vibecoin_keystore::{KdfParams, KeyInfo, Keystore, Mnemonic, Passphrase};
//! use vibecoin_primitives::AddressPrefix;
//!
//! # let home = tempfile::tempdir()?;
//! let keys = Keystore::open(home.path().join("keys"), AddressPrefix::new("vibet")?)?
//!     .with_kdf(KdfParams::weak_for_tests());
//! let key = Mnemonic::generate()?.account_key(vibecoin_keystore::COIN_TYPE_TEST, 0)?;
//! let info = keys.create("alice", &key, Some(&Passphrase::new("correct horse")?))?;
//!
//! let mut ask = |_: &KeyInfo| Passphrase::new("correct horse");
//! let loaded = keys.load(&info.address, &mut ask)?;
//! assert_eq!(loaded.public_key(), key.public_key());
//! # Ok(())
//! # }
//! ```

pub mod dev;
pub mod file;
pub mod import;
pub mod private;
pub mod process;

mod error;
mod home;
mod keystore;
mod lock;
mod mnemonic;
mod node_key;
mod normal;
mod passphrase;
mod seal;
mod slip10;

pub use dev::{DevValidator, dev_keys, dev_validator, seeded_key};
pub use error::{ErrorClass, KeyError};
pub use file::KeyInfo;
pub use home::{NodeKeyRole, NodeKeys};
pub use keystore::{KeyList, Keystore, NEW_NAME_BYTES_MAX};
pub use lock::{HomeLock, LOCK_FILE};
pub use mnemonic::{COIN_TYPE_TEST, KeyFamily, Mnemonic};
pub use node_key::{load_node_key, load_or_create_node_key, node_id};
pub use passphrase::{NoPassphrase, PASSPHRASE_BYTES_MAX, Passphrase, PassphraseSource};
pub use seal::KdfParams;

use vibecoin_primitives::SecretKey;
use zeroize::Zeroizing;

/// Generates a new key from the operating system's randomness.
///
/// # Errors
/// [`KeyError::Random`] when it is unavailable.
pub fn generate() -> Result<SecretKey, KeyError> {
    Ok(SecretKey::from_seed(&*random::<32>()?))
}

/// Bytes from the operating system's randomness, erased on drop.
fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|error| KeyError::Random {
        detail: error.to_string(),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
