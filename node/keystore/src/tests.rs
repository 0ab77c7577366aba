#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;
use vibecoin_primitives::{Address, AddressPrefix, SecretKey};

use super::*;
use crate::dev::{DEV_KEYS_MAX, DEV_MNEMONIC};
use crate::private::{FILE_BYTES_MAX, create_secret_text, read_secret_text};

mod access;
mod files;
mod homes;
mod names;

fn prefix() -> AddressPrefix {
    AddressPrefix::new("vibet").unwrap()
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn secret(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

/// A source that returns this text.
fn answer(text: &str) -> impl FnMut(&KeyInfo) -> Result<Passphrase, KeyError> {
    move |_| Passphrase::new(text)
}

/// A store with cheap encryption, and its directory.
fn store() -> (TempDir, Keystore) {
    let home = tempfile::tempdir().unwrap();
    let store = Keystore::open(home.path().join("keys"), prefix()).unwrap();
    (home, store.with_kdf(KdfParams::weak_for_tests()))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The message and exit code of an operation that must be refused. A secret key has no `Debug`.
#[track_caller]
fn refused<T>(result: Result<T, KeyError>) -> (u8, String) {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => (error.exit_code(), error.to_string()),
    }
}

#[track_caller]
fn check_refused<T>(result: Result<T, KeyError>, code: u8, text: &str) {
    let (found, message) = refused(result);
    assert!(message.contains(text), "{message}");
    assert_eq!(found, code, "{message}");
}
