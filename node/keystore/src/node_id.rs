//! The name of a node on the network, as its peers write it.

use vibecoin_primitives::PublicKey;

/// What stands before the key: an identity multihash of 36 bytes, which are a protobuf message with key
/// type ed25519 (1) and a key of 32 bytes.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Base 58 as Bitcoin has it: no `0`, `O`, `I` and `l`.
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The libp2p peer id of a node with this network key: `12D3Koo…`.
///
/// Needs nothing of the network, so that the files of a network can be made where no node runs.
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
mod tests {
    use super::*;
    use vibecoin_primitives::SecretKey;

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
            (&[], ""),
        ] {
            assert_eq!(base58(bytes), text);
        }
    }

    #[test]
    fn the_identity_of_a_known_key() {
        // Made once with libp2p-identity: `Keypair::ed25519_from_bytes([7; 32]).public().to_peer_id()`.
        let key = SecretKey::from_seed(&[7; 32]).public_key();
        assert_eq!(
            node_id(&key),
            "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7"
        );
    }
}
