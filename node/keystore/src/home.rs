//! Locations of the keys of a home directory.

use std::path::{Path, PathBuf};

use vibecoin_primitives::{AddressPrefix, SecretKey};

use crate::file::KeyFile;
use crate::private::{Closed, PrivateDir};
use crate::{KdfParams, KeyError, KeyInfo, Keystore, Passphrase, PassphraseSource};

/// Purpose of one of a node's own keys. They are never the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKeyRole {
    /// Signs votes and proposals: `validator.key`.
    Validator,
    /// Identifies the node to its peers: `node.key`. Protects no funds, so it is never encrypted.
    Node,
}

impl NodeKeyRole {
    /// The name inside the file; the file's name is this and `.key`.
    const fn name(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Node => crate::node_key::ROLE,
        }
    }
}

/// The keys of a home directory.
///
/// Other users may have permission to read the home itself, not to write to it; key files and the directory
/// of account keys are private.
#[derive(Clone, Debug)]
pub struct NodeKeys {
    home: PathBuf,
    prefix: AddressPrefix,
    accounts_dir: PathBuf,
    node_key: PathBuf,
    kdf: KdfParams,
    allow_unencrypted: bool,
}

impl NodeKeys {
    /// The keys of this home, each at its default path. Does not access the files.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>, prefix: AddressPrefix) -> Self {
        let home = home.into();
        Self {
            accounts_dir: home.join("keys"),
            node_key: home.join(file_name(NodeKeyRole::Node)),
            home,
            prefix,
            kdf: KdfParams::default(),
            allow_unencrypted: false,
        }
    }

    /// Permits storing and loading keys without encryption. For developers only.
    #[must_use]
    pub fn allow_unencrypted(self) -> Self {
        Self {
            allow_unencrypted: true,
            ..self
        }
    }

    /// Sets the configured paths of the account keys and the network key.
    #[must_use]
    pub fn with_places(self, accounts_dir: impl Into<PathBuf>, node_key: impl Into<PathBuf>) -> Self {
        Self {
            accounts_dir: accounts_dir.into(),
            node_key: node_key.into(),
            ..self
        }
    }

    /// Sets the cost of opening new key files.
    #[must_use]
    pub fn with_kdf(self, kdf: KdfParams) -> Self {
        Self { kdf, ..self }
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The directory of account keys: `<home>/keys` unless configured otherwise.
    #[must_use]
    pub fn accounts_dir(&self) -> &Path {
        &self.accounts_dir
    }

    /// The file of one of the node's own keys.
    #[must_use]
    pub fn path(&self, role: NodeKeyRole) -> PathBuf {
        match role {
            NodeKeyRole::Validator => self.home.join(file_name(role)),
            NodeKeyRole::Node => self.node_key.clone(),
        }
    }

    /// The account keys.
    ///
    /// # Errors
    /// As [`Keystore::open`].
    pub fn accounts(&self) -> Result<Keystore, KeyError> {
        let keys = Keystore::open(self.accounts_dir(), self.prefix)?.with_kdf(self.kdf);
        Ok(if self.allow_unencrypted {
            keys.allow_unencrypted()
        } else {
            keys
        })
    }

    /// Stores a new key, and creates the home with mode 0700 if it does not exist. Nothing is overwritten.
    ///
    /// # Errors
    /// [`KeyError::Exists`], [`KeyError::Unencrypted`] for a validator key without a passphrase unless that
    /// was permitted, an error for the home, and [`KeyError::Io`].
    pub fn create(
        &self,
        role: NodeKeyRole,
        key: &SecretKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<KeyInfo, KeyError> {
        let passphrase = if role == NodeKeyRole::Node {
            None
        } else {
            passphrase
        };
        self.check_encryption(role, passphrase.is_some())?;
        let file = KeyFile::new(role.name(), &self.prefix, key, passphrase, self.kdf)?;
        if role == NodeKeyRole::Node {
            crate::node_key::create(&self.path(role), key)?;
            return Ok(file.info());
        }
        let home = PrivateDir::create(&self.home, Closed::ToWriters)?;
        home.change()?.write_new(&file_name(role), &file.encode()?)?;
        Ok(file.info())
    }

    /// Returns true if there is a key file. An invalid one counts; loading reports the fault.
    ///
    /// # Errors
    /// An error for the home, and [`KeyError::Io`].
    pub fn exists(&self, role: NodeKeyRole) -> Result<bool, KeyError> {
        let path = self.path(role);
        let (folder, name) = crate::private::split(&path)?;
        match PrivateDir::open(folder, Closed::ToWriters) {
            Err(KeyError::Missing { .. }) => Ok(false),
            folder => folder?.contains(name),
        }
    }

    /// Information on a key, without its passphrase.
    ///
    /// # Errors
    /// [`KeyError::Missing`], and an error for the home or the file.
    pub fn info(&self, role: NodeKeyRole) -> Result<KeyInfo, KeyError> {
        self.read(role).map(|file| file.info())
    }

    /// Returns a key, after requesting its passphrase from `source`.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::Passphrase`], [`KeyError::Unencrypted`], and an error for the home
    /// or the file.
    pub fn load(&self, role: NodeKeyRole, source: &mut dyn PassphraseSource) -> Result<SecretKey, KeyError> {
        let file = self.read(role)?;
        self.check_encryption(role, file.info().encrypted)?;
        file.unlock(source)
    }

    /// Returns the node's network key, created at the first call.
    ///
    /// # Errors
    /// As [`NodeKeys::create`] and [`NodeKeys::load`].
    pub fn load_or_create_node(&self) -> Result<SecretKey, KeyError> {
        crate::load_or_create_node_key(&self.path(NodeKeyRole::Node))
    }

    fn read(&self, role: NodeKeyRole) -> Result<KeyFile, KeyError> {
        if role == NodeKeyRole::Node {
            let key = crate::load_node_key(&self.node_key)?;
            return KeyFile::new(role.name(), &self.prefix, &key, None, self.kdf);
        }
        let missing = |_| KeyError::Missing {
            path: self.path(role),
        };
        let home = match PrivateDir::open(&self.home, Closed::ToWriters) {
            Err(KeyError::Missing { path }) => return Err(missing(path)),
            home => home?,
        };
        let bytes = home.read(&file_name(role))?;
        KeyFile::decode(&bytes, role.name(), &self.path(role))
    }

    fn check_encryption(&self, role: NodeKeyRole, encrypted: bool) -> Result<(), KeyError> {
        if encrypted || self.allow_unencrypted || role == NodeKeyRole::Node {
            return Ok(());
        }
        Err(KeyError::Unencrypted {
            name: role.name().to_owned(),
        })
    }
}

fn file_name(role: NodeKeyRole) -> String {
    format!("{}.key", role.name())
}
