//! The key that identifies a node on the network, and its peer id.
//!
//! The file contains the seed as 64 hex digits and a line end, so that other tools can create one. It
//! protects no funds and is never encrypted. Homes of older versions have the format of [`crate::file`],
//! which is read too.

use std::path::Path;

use vibecoin_primitives::text::without_mark;
use vibecoin_primitives::{PublicKey, SecretKey, hex};
use zeroize::Zeroizing;

use crate::file::KeyFile;
use crate::private::{Closed, PrivateDir, split};
use crate::{KeyError, NoPassphrase};

/// The name inside a file of an older version.
pub(crate) const ROLE: &str = "node";

/// Reads the network key of a node.
///
/// # Errors
/// [`KeyError::Missing`], [`KeyError::Malformed`], and the errors of [`crate::private`].
pub fn load_node_key(path: &Path) -> Result<SecretKey, KeyError> {
    let (folder, name) = split(path)?;
    let bytes = match PrivateDir::open(folder, Closed::ToWriters) {
        Err(KeyError::Missing { .. }) => {
            return Err(KeyError::Missing {
                path: path.to_owned(),
            });
        }
        folder => folder?.read(name)?,
    };
    parse(&bytes, path)
}

/// Reads the network key of a node; creates one, and the directory for it, if there is none.
///
/// # Errors
/// As [`load_node_key`], and [`KeyError::Io`], [`KeyError::Random`].
pub fn load_or_create_node_key(path: &Path) -> Result<SecretKey, KeyError> {
    match load_node_key(path) {
        Err(KeyError::Missing { .. }) => {}
        loaded => return loaded,
    }
    match create(path, &crate::generate()?) {
        // Another process created it first; its key is used.
        Ok(()) | Err(KeyError::Exists { .. }) => load_node_key(path),
        Err(error) => Err(error),
    }
}

/// Writes a new file.
pub(crate) fn create(path: &Path, key: &SecretKey) -> Result<(), KeyError> {
    let (folder, name) = split(path)?;
    let text = Zeroizing::new(hex::encode(key.seed().as_slice()));
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let line = Zeroizing::new(format!("{digits}\n"));
    PrivateDir::create(folder, Closed::ToWriters)?
        .change()?
        .write_new(name, line.as_bytes())
}

/// Parses the text of a file.
fn parse(bytes: &[u8], path: &Path) -> Result<SecretKey, KeyError> {
    let text = str::from_utf8(bytes).unwrap_or_default();
    if text.trim_start().starts_with('{') {
        return KeyFile::decode(bytes, ROLE, path)?.unlock(&mut NoPassphrase);
    }
    let digits = Zeroizing::new(format!("0x{}", without_mark(text).trim()));
    let seed = hex::fixed::<32>(&digits)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::malformed(path, "expected 64 hex digits"))?;
    Ok(SecretKey::from_seed(&seed))
}

/// Bytes before the key: an identity multihash of 36 bytes, which are a protobuf message with key type
/// ed25519 (1) and a key of 32 bytes.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Base 58 with Bitcoin's alphabet: no `0`, `O`, `I` and `l`.
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The libp2p peer id of a node with this network key: `12D3Koo…`.
///
/// Independent of the network crate, so that the files of a network can be created where no node runs.
#[must_use]
pub fn node_id(key: &PublicKey) -> String {
    let mut bytes = PREFIX.to_vec();
    bytes.extend_from_slice(&key.0);
    base58(&bytes)
}

/// Leading zero bytes are written as `1`, the rest as one number.
fn base58(bytes: &[u8]) -> String {
    // The digits of the number, the lowest first.
    let mut digits: Vec<u32> = Vec::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry = carry.saturating_add(digit.saturating_mul(256));
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| '1');
    let digits = digits.iter().rev().map(|digit| {
        let letter = usize::try_from(*digit).ok().and_then(|digit| ALPHABET.get(digit));
        char::from(letter.copied().unwrap_or(b'1'))
    });
    zeros.chain(digits).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_node_key_is_made_once_as_hex_that_only_its_owner_reads() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node.key");
        assert!(matches!(load_node_key(&path), Err(KeyError::Missing { .. })));
        let key = load_or_create_node_key(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 65);
        assert_eq!(format!("0x{}", text.trim()), hex::encode(key.seed().as_slice()));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            load_or_create_node_key(&path).unwrap().public_key(),
            key.public_key()
        );
        assert!(matches!(create(&path, &key), Err(KeyError::Exists { .. })));
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node.key");
        load_or_create_node_key(&path).unwrap();
        for text in ["", "00", &"g".repeat(64), &"0".repeat(66), "{}"] {
            std::fs::write(&path, text).unwrap();
            let refused = load_or_create_node_key(&path);
            assert!(matches!(refused, Err(KeyError::Malformed { .. })), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_node_key(&path), Err(KeyError::TooOpen { .. })));
    }

    #[test]
    fn a_mark_in_front_of_the_digits_does_not_matter() {
        let path = Path::new("node.key");
        let digits = "07".repeat(32);
        let key = |text: String| parse(text.as_bytes(), path).unwrap().public_key();
        assert_eq!(key(format!("\u{feff}{digits}\r\n")), key(digits));
    }

    #[test]
    fn base_58_of_known_bytes() {
        // draft-msporny-base58, section 5.
        for (bytes, text) in [
            (&b"Hello World!"[..], "2NEpo7TZRRrLZSi2U"),
            (
                b"The quick brown fox jumps over the lazy dog.",
                "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
            ),
            (&[0x00, 0x00, 0x28, 0x7f, 0xb4, 0xcd], "11233QC4"),
            (&[0, 0, 1], "112"),
            (&[], ""),
        ] {
            assert_eq!(base58(bytes), text);
        }
    }

    #[test]
    fn the_identity_of_a_known_key() {
        // Created once with libp2p-identity: `Keypair::ed25519_from_bytes([7; 32]).public().to_peer_id()`.
        let key = SecretKey::from_seed(&[7; 32]).public_key();
        assert_eq!(
            node_id(&key),
            "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7"
        );
        // The example of libp2p's specification of peer ids, key type Ed25519.
        let key = "0x1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
        assert_eq!(
            node_id(&PublicKey::from_hex(key).unwrap()),
            "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
        );
    }
}
