//! A directory of account keys.

use std::path::{Path, PathBuf};

use vibecoin_primitives::{Address, AddressPrefix, SecretKey, hex};
use zeroize::Zeroizing;

use crate::file::KeyFile;
use crate::private::{Changing, Closed, PrivateDir};
use crate::{KdfParams, KeyError, KeyInfo, Passphrase, PassphraseSource};

/// Maximum number of keys in a directory.
pub const KEYS_MAX: usize = 10_000;
/// Maximum length of a key's name that is read. Older versions created names of this length.
pub const NAME_BYTES_MAX: usize = 64;
/// Maximum length of a new key's name. Where a name or an address is accepted, a longer text is an address.
pub const NEW_NAME_BYTES_MAX: usize = 40;
const EXTENSION: &str = ".json";

/// The keys of a directory.
pub struct Keystore {
    dir: PrivateDir,
    prefix: AddressPrefix,
    kdf: KdfParams,
    allow_unencrypted: bool,
}

/// Contents of a key directory.
#[derive(Debug, Default)]
pub struct KeyList {
    /// The keys, by name.
    pub keys: Vec<KeyInfo>,
    /// Errors of the other key files. One invalid file does not hide the others.
    pub refused: Vec<KeyError>,
}

impl Keystore {
    /// Opens a key directory, and creates it with mode 0700 if it does not exist.
    ///
    /// `prefix` is the prefix of new keys' addresses. Keys of other networks stay usable: a key is
    /// independent of its network, and a signature includes its chain.
    ///
    /// # Errors
    /// [`KeyError::Kind`], [`KeyError::Owner`] or [`KeyError::TooOpen`] when other users have access to the
    /// directory, and [`KeyError::Io`].
    pub fn open(dir: impl AsRef<Path>, prefix: AddressPrefix) -> Result<Self, KeyError> {
        let dir = PrivateDir::create(dir.as_ref(), Closed::ToAll)?;
        Ok(Self {
            dir,
            prefix,
            kdf: KdfParams::default(),
            allow_unencrypted: false,
        })
    }

    /// Permits storing and loading keys without encryption. For developers only.
    #[must_use]
    pub fn allow_unencrypted(self) -> Self {
        Self {
            allow_unencrypted: true,
            ..self
        }
    }

    /// Sets the cost of opening new key files.
    #[must_use]
    pub fn with_kdf(self, kdf: KdfParams) -> Self {
        Self { kdf, ..self }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file of a key.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(&file_name(name))
    }

    /// Lists all keys by name, and the errors of the files that are refused.
    ///
    /// # Errors
    /// [`KeyError::Io`] when the directory cannot be read.
    pub fn list(&self) -> Result<KeyList, KeyError> {
        let mut list = KeyList::default();
        for name in self.names()? {
            match self.read(&name) {
                Ok(file) => list.keys.push(file.info()),
                Err(error) => list.refused.push(error),
            }
        }
        Ok(list)
    }

    /// Stores a new key, durably. Nothing is ever overwritten.
    ///
    /// # Errors
    /// [`KeyError::Name`], [`KeyError::Exists`], [`KeyError::TooMany`], [`KeyError::Unencrypted`] without a
    /// passphrase unless that was permitted, and [`KeyError::Io`].
    pub fn create(
        &self,
        name: &str,
        key: &SecretKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<KeyInfo, KeyError> {
        check_new_name(name)?;
        self.check_encryption(name, passphrase.is_some())?;
        if self.names()?.len() >= KEYS_MAX {
            return Err(KeyError::TooMany {
                dir: self.dir().to_owned(),
                most: KEYS_MAX,
            });
        }
        let file = KeyFile::new(name, &self.prefix, key, passphrase, self.kdf)?;
        self.dir.change()?.write_new(&file_name(name), &file.encode()?)?;
        Ok(file.info())
    }

    /// Information on the key with this name or address, without its passphrase.
    ///
    /// # Errors
    /// [`KeyError::NotFound`], and an error for its file.
    pub fn find(&self, query: &str) -> Result<KeyInfo, KeyError> {
        self.lookup(query).map(|file| file.info())
    }

    /// Returns the key with this name or address, after requesting its passphrase from `source`.
    ///
    /// # Errors
    /// [`KeyError::NotFound`], [`KeyError::Passphrase`], [`KeyError::Unencrypted`], an error for the file,
    /// and the error of `source`.
    pub fn load(&self, query: &str, source: &mut dyn PassphraseSource) -> Result<SecretKey, KeyError> {
        let file = self.lookup(query)?;
        let info = file.info();
        self.check_encryption(&info.name, info.encrypted)?;
        file.unlock(source)
    }

    /// Returns the seed of a key as `0x` and 64 hex digits. Its possession is control of the account.
    ///
    /// # Errors
    /// As [`Keystore::load`].
    pub fn export(
        &self,
        query: &str,
        source: &mut dyn PassphraseSource,
    ) -> Result<Zeroizing<String>, KeyError> {
        Ok(Zeroizing::new(hex::encode(
            self.load(query, source)?.seed().as_slice(),
        )))
    }

    /// Renames a key. A crash in between may leave the key under both names.
    ///
    /// # Errors
    /// [`KeyError::Name`], [`KeyError::Exists`], [`KeyError::NotFound`], and an error for the file.
    pub fn rename(&self, from: &str, to: &str) -> Result<KeyInfo, KeyError> {
        check_new_name(to)?;
        let changing = self.dir.change()?;
        let file = self.named(from)?.renamed(to);
        changing.write_new(&file_name(to), &file.encode()?)?;
        changing.remove(&file_name(from))?;
        Ok(file.info())
    }

    /// Removes a key, by its name only, also when its file is damaged. The disk may keep the bytes.
    ///
    /// # Errors
    /// [`KeyError::NotFound`] and [`KeyError::Io`].
    pub fn delete(&self, name: &str) -> Result<(), KeyError> {
        check_name(name)?;
        let changing = self.dir.change()?;
        if !self.dir.contains(&file_name(name))? {
            return Err(self.not_found(name));
        }
        changing.remove(&file_name(name))
    }

    /// Encrypts a key with a different passphrase, or stores it unencrypted if that was permitted.
    ///
    /// # Errors
    /// As [`Keystore::load`]; the old file stays when anything fails.
    pub fn change_passphrase(
        &self,
        query: &str,
        old: &mut dyn PassphraseSource,
        new: Option<&Passphrase>,
    ) -> Result<KeyInfo, KeyError> {
        let info = self.find(query)?;
        self.check_encryption(&info.name, new.is_some())?;
        // Requested before the lock is taken: a person at a terminal must not delay other processes.
        let key = self.load(&info.name, old)?;
        let changing: Changing<'_> = self.dir.change()?;
        let file = self.named(&info.name)?;
        if file.info().public_key != key.public_key() {
            return Err(self.not_found(query));
        }
        let file = file.reseal(&key, new, self.kdf)?;
        changing.replace(&file_name(&info.name), &file.encode()?)?;
        Ok(file.info())
    }

    fn check_encryption(&self, name: &str, encrypted: bool) -> Result<(), KeyError> {
        if encrypted || self.allow_unencrypted {
            return Ok(());
        }
        Err(KeyError::Unencrypted {
            name: name.to_owned(),
        })
    }

    /// The names of all key files, sorted.
    fn names(&self) -> Result<Vec<String>, KeyError> {
        let files = self.dir.names()?;
        let names = files
            .iter()
            .filter_map(|file| file.strip_suffix(EXTENSION))
            .filter(|name| is_name(name));
        Ok(names.take(KEYS_MAX).map(str::to_owned).collect())
    }

    /// The key with this name or address.
    fn lookup(&self, query: &str) -> Result<KeyFile, KeyError> {
        if is_name(query) {
            return self.named(query);
        }
        let Ok((_, address)) = Address::from_any_text(query) else {
            return Err(self.not_found(query));
        };
        let mut refused = None;
        for name in self.names()? {
            match self.read(&name) {
                Ok(file) if Address::from(file.info().public_key) == address => return Ok(file),
                Ok(_) => {}
                // A damaged file of another key must not prevent finding this one.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        // A file that cannot be read may be the requested one: that is not "no such key".
        Err(refused.unwrap_or_else(|| self.not_found(query)))
    }

    fn named(&self, name: &str) -> Result<KeyFile, KeyError> {
        check_name(name)?;
        match self.read(name) {
            Err(KeyError::Missing { .. }) => Err(self.not_found(name)),
            result => result,
        }
    }

    fn read(&self, name: &str) -> Result<KeyFile, KeyError> {
        KeyFile::decode(&self.dir.read(&file_name(name))?, name, &self.path(name))
    }

    fn not_found(&self, query: &str) -> KeyError {
        KeyError::NotFound {
            query: query.chars().take(128).collect(),
            dir: self.dir().to_owned(),
        }
    }
}

fn file_name(name: &str) -> String {
    format!("{name}{EXTENSION}")
}

/// An address is not a valid name, so that no key can be named after another account's address.
fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        && Address::from_any_text(text).is_err()
}

/// Commands parse a text that begins with `-` as an option, and one that begins with `0x` or is long as an
/// address.
fn is_new_name(text: &str) -> bool {
    is_name(text) && text.len() <= NEW_NAME_BYTES_MAX && !text.starts_with('-') && !text.starts_with("0x")
}

fn check_name(name: &str) -> Result<(), KeyError> {
    name_unless(is_name(name), name)
}

fn check_new_name(name: &str) -> Result<(), KeyError> {
    name_unless(is_new_name(name), name)
}

fn name_unless(good: bool, name: &str) -> Result<(), KeyError> {
    if good {
        return Ok(());
    }
    Err(KeyError::Name {
        name: name.chars().take(128).collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    fn store() -> (tempfile::TempDir, Keystore) {
        let home = tempfile::tempdir().unwrap();
        let prefix = AddressPrefix::new("vibet").unwrap();
        let store = Keystore::open(home.path().join("keys"), prefix).unwrap();
        (home, store.allow_unencrypted())
    }

    #[test]
    fn a_name_that_a_command_would_read_as_something_else_is_refused() {
        let (_home, store) = store();
        let key = SecretKey::from_seed(&[1; 32]);
        let long = "a".repeat(NEW_NAME_BYTES_MAX + 1);
        for name in ["--help", "-", "-y", "0x", "0xabc", &long] {
            let made = store.create(name, &key, None);
            assert_eq!(
                made.map_err(|error| error.class()),
                Err(ErrorClass::Usage),
                "{name}"
            );
        }
        store.create(&long[1..], &key, None).unwrap();
        let renamed = store.rename(&long[1..], "--help");
        assert_eq!(renamed.map_err(|error| error.class()), Err(ErrorClass::Usage));
    }

    #[test]
    fn a_key_that_an_older_version_named_so_can_be_used_and_renamed() {
        let (_home, store) = store();
        let key = SecretKey::from_seed(&[1; 32]);
        let file = KeyFile::new("--help", &store.prefix, &key, None, store.kdf).unwrap();
        let bytes = file.encode().unwrap();
        store
            .dir
            .change()
            .unwrap()
            .write_new("--help.json", &bytes)
            .unwrap();
        assert_eq!(store.find("--help").unwrap().public_key, key.public_key());
        store.rename("--help", "help").unwrap();
        assert!(store.find("help").is_ok());
    }

    #[test]
    fn an_address_whose_file_may_be_the_damaged_one_is_not_called_unknown() {
        let (_home, store) = store();
        let made = |name: &str, seed: u8| {
            let key = SecretKey::from_seed(&[seed; 32]);
            store.create(name, &key, None).unwrap().address
        };
        let (damaged, whole) = (made("a", 1), made("b", 2));
        std::fs::write(store.path("a"), "{").unwrap();
        assert!(store.find(&whole).is_ok());
        assert_eq!(store.find(&damaged).unwrap_err().class(), ErrorClass::Key);
        store.delete("a").unwrap();
        assert_eq!(store.find(&damaged).unwrap_err().class(), ErrorClass::NotFound);
    }
}
