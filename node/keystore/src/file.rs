//! The key file, version 1: JSON in one canonical form.
//!
//! ```json
//! {
//!   "version": 1,
//!   "name": "alice",
//!   "address": "vibet1…",
//!   "publicKey": "0x…",
//!   "encryption": "argon2id-xchacha20poly1305",
//!   "kdf": { "algorithm": "argon2id", "m_kib": 65536, "t": 3, "p": 1, "salt": "0x… 16 bytes" },
//!   "cipher": { "algorithm": "xchacha20-poly1305", "nonce": "0x… 24 bytes", "ciphertext": "0x… 48 bytes" }
//! }
//! ```
//!
//! The ciphertext is the 32-byte ed25519 seed with its tag; the associated data are the bytes of
//! `address`. With `"encryption": "none"` there is `"seed": "0x…"` in place of `kdf` and `cipher`.
//!
//! No byte can change undetected: the file must equal its own re-encoding, the name must be that of the file,
//! the address must be that of the public key, and the seed must yield the public key.

use std::path::Path;

use serde::{Deserialize, Serialize};
use vibecoin_primitives::{Address, AddressPrefix, PublicKey, SecretKey, hex};
use zeroize::Zeroizing;

use crate::private::FILE_BYTES_MAX;
use crate::seal::{NONCE_BYTES, SALT_BYTES, SEALED_BYTES, Sealed};
use crate::{KdfParams, KeyError, Passphrase, PassphraseSource};

const VERSION: u32 = 1;
const ENCRYPTED: &str = "argon2id-xchacha20poly1305";
const UNENCRYPTED: &str = "none";
const KDF: &str = "argon2id";
const CIPHER: &str = "xchacha20-poly1305";

/// Contents of a key file that are readable without its passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The name: that of the file.
    pub name: String,
    /// The address as text, with the prefix of the network that the key was made for.
    pub address: String,
    /// The public key.
    pub public_key: PublicKey,
    /// True if a passphrase is required.
    pub encrypted: bool,
}

/// A key file's contents.
pub(crate) struct KeyFile {
    name: String,
    address: String,
    public_key: PublicKey,
    secret: Secret,
}

enum Secret {
    Sealed(Box<Sealed>),
    Plain(Box<SecretKey>),
}

impl KeyFile {
    /// Encrypts a key with a passphrase, or stores it unencrypted.
    pub fn new(
        name: &str,
        prefix: &AddressPrefix,
        key: &SecretKey,
        passphrase: Option<&Passphrase>,
        kdf: KdfParams,
    ) -> Result<Self, KeyError> {
        let public_key = key.public_key();
        let address = Address::from(public_key).to_text(prefix);
        Self {
            name: name.to_owned(),
            address,
            public_key,
            secret: Secret::Plain(Box::new(key.clone())),
        }
        .reseal(key, passphrase, kdf)
    }

    /// Encrypts the same key with a different passphrase, or stores it unencrypted.
    pub fn reseal(
        self,
        key: &SecretKey,
        passphrase: Option<&Passphrase>,
        kdf: KdfParams,
    ) -> Result<Self, KeyError> {
        let secret = match passphrase {
            Some(passphrase) => Secret::Sealed(Box::new(Sealed::seal(
                &key.seed(),
                self.address.as_bytes(),
                passphrase,
                kdf,
            )?)),
            None => Secret::Plain(Box::new(key.clone())),
        };
        Ok(Self { secret, ..self })
    }

    /// The same key with a different name.
    pub fn renamed(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    pub fn info(&self) -> KeyInfo {
        KeyInfo {
            name: self.name.clone(),
            address: self.address.clone(),
            public_key: self.public_key,
            encrypted: matches!(self.secret, Secret::Sealed(_)),
        }
    }

    /// Returns the key, after requesting the passphrase if there is one.
    pub fn unlock(&self, source: &mut dyn PassphraseSource) -> Result<SecretKey, KeyError> {
        let wrong = || KeyError::Passphrase {
            name: self.name.clone(),
        };
        let sealed = match &self.secret {
            Secret::Plain(key) => return Ok(SecretKey::clone(key)),
            Secret::Sealed(sealed) => sealed,
        };
        let passphrase = source.passphrase(&self.info())?;
        let seed = sealed
            .open(self.address.as_bytes(), &passphrase)?
            .ok_or_else(wrong)?;
        let key = SecretKey::from_seed(&seed);
        // The tag covers the address but not the field `publicKey`; decoding has compared these two.
        if key.public_key() != self.public_key {
            return Err(wrong());
        }
        Ok(key)
    }

    /// Encodes the file.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (sealed, plain) = match &self.secret {
            Secret::Sealed(sealed) => (Some(sealed), None),
            Secret::Plain(key) => (None, Some(key)),
        };
        let text = FileText {
            version: VERSION,
            name: self.name.clone(),
            address: self.address.clone(),
            public_key: self.public_key.to_string(),
            encryption: if sealed.is_some() { ENCRYPTED } else { UNENCRYPTED }.to_owned(),
            kdf: sealed.map(|sealed| KdfText {
                algorithm: KDF.to_owned(),
                m_kib: sealed.kdf.m_kib,
                t: sealed.kdf.t,
                p: sealed.kdf.p,
                salt: hex::encode(&sealed.salt),
            }),
            cipher: sealed.map(|sealed| CipherText {
                algorithm: CIPHER.to_owned(),
                nonce: hex::encode(&sealed.nonce),
                ciphertext: hex::encode(&sealed.ciphertext),
            }),
            seed: plain.map(|key| Zeroizing::new(hex::encode(key.seed().as_slice()))),
        };
        text.to_bytes()
    }

    /// Decodes a file; `name` is the file's name, `path` is for errors.
    pub fn decode(bytes: &[u8], name: &str, path: &Path) -> Result<Self, KeyError> {
        let wrong = |detail: &str| KeyError::malformed(path, detail);
        let text: FileText = serde_json::from_slice(bytes).map_err(|error| wrong(&without_values(&error)))?;
        if text.version != VERSION {
            return Err(wrong(&format!(
                "its version is {}, this program reads {VERSION}",
                text.version
            )));
        }
        if text.name != name {
            return Err(wrong(&format!("it says that its name is {:?}", text.name)));
        }
        let public_key =
            PublicKey::from_hex(&text.public_key).map_err(|error| wrong(&format!("publicKey: {error}")))?;
        let (prefix, address) =
            Address::from_any_text(&text.address).map_err(|error| wrong(&format!("address: {error}")))?;
        if address != Address::from(public_key) || address.to_text(&prefix) != text.address {
            return Err(wrong("its address is not that of its public key"));
        }
        let secret = match (text.encryption.as_str(), text.kdf, text.cipher, text.seed) {
            (ENCRYPTED, Some(kdf), Some(cipher), None) => {
                Secret::Sealed(Box::new(sealed(&kdf, &cipher, path)?))
            }
            (UNENCRYPTED, None, None, Some(seed)) => Secret::Plain(Box::new(plain(&seed, path)?)),
            (ENCRYPTED | UNENCRYPTED, ..) => return Err(wrong("its fields are not those of its encryption")),
            _ => return Err(wrong("its encryption is unknown")),
        };
        if let Secret::Plain(key) = &secret
            && key.public_key() != public_key
        {
            return Err(wrong("its seed does not give its public key"));
        }
        let file = Self {
            name: text.name,
            address: text.address,
            public_key,
            secret,
        };
        if *file.encode()? != bytes {
            return Err(wrong(
                "it is not in the form that this program writes; was it edited?",
            ));
        }
        Ok(file)
    }
}

fn sealed(kdf: &KdfText, cipher: &CipherText, path: &Path) -> Result<Sealed, KeyError> {
    let wrong = |detail: String| KeyError::malformed(path, detail);
    if kdf.algorithm != KDF || cipher.algorithm != CIPHER {
        return Err(wrong(format!("its algorithms are not {KDF} and {CIPHER}")));
    }
    let params = KdfParams {
        m_kib: kdf.m_kib,
        t: kdf.t,
        p: kdf.p,
    };
    params.check()?;
    Ok(Sealed {
        kdf: params,
        salt: hex::fixed::<SALT_BYTES>(&kdf.salt).map_err(|error| wrong(format!("salt: {error}")))?,
        nonce: hex::fixed::<NONCE_BYTES>(&cipher.nonce).map_err(|error| wrong(format!("nonce: {error}")))?,
        ciphertext: hex::fixed::<SEALED_BYTES>(&cipher.ciphertext)
            .map_err(|error| wrong(format!("ciphertext: {error}")))?,
    })
}

fn plain(seed: &str, path: &Path) -> Result<SecretKey, KeyError> {
    crate::import::hex_seed(seed).map_err(|error| KeyError::malformed(path, format!("seed: {error}")))
}

/// The fields of the JSON text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileText {
    version: u32,
    name: String,
    address: String,
    public_key: String,
    encryption: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kdf: Option<KdfText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cipher: Option<CipherText>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "secret_text")]
    seed: Option<Zeroizing<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfText {
    algorithm: String,
    m_kib: u32,
    t: u32,
    p: u32,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CipherText {
    algorithm: String,
    nonce: String,
    ciphertext: String,
}

impl FileText {
    fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        // The full capacity from the start: a buffer that grows leaves copies of the seed behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
        serde_json::to_writer_pretty(&mut *bytes, self).map_err(|error| KeyError::Derivation {
            detail: format!("cannot write JSON: {error}"),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// A text that is wiped on drop, as an optional field.
mod secret_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroizing;

    pub fn serialize<S: Serializer>(text: &Option<Zeroizing<String>>, to: S) -> Result<S::Ok, S::Error> {
        text.as_ref().map(|text| text.as_str()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
    }
}

/// The JSON parser's message, without the values it quotes: one may be the seed.
fn without_values(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends too early",
        serde_json::error::Category::Data => "the JSON has other fields than a key file",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
    };
    format!("{what}, line {}, column {}", error.line(), error.column())
}
