//! Prefixes of keys: their encoding, and their order in the key space.

use std::fmt;

use vibecoin_primitives::Hash;
use vibecoin_trie::Nibbles;
use wincode::{SchemaRead, SchemaWrite};

/// The largest nibble.
const NIBBLE_MAX: u8 = 15;

/// A prefix of keys as it is encoded.
///
/// ```text
/// offset  bytes  field
///      0      1  count of nibbles, 0 to 64
///      1     32  the nibbles, two to a byte, the first in the high half; zero behind the last
/// ```
///
/// Of fixed size, so that a list of chunks has a length that follows from its count. Decoded bytes may break
/// the form: [`KeyPrefix::nibbles`] checks it.
#[derive(Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct KeyPrefix {
    count: u8,
    nibbles: Hash,
}

impl KeyPrefix {
    /// Encodes a prefix.
    #[must_use]
    pub fn new(nibbles: &Nibbles) -> Self {
        Self {
            count: nibbles.len(),
            nibbles: first_key(nibbles),
        }
    }

    /// The prefix; `None` when there are more than 64 nibbles or bits are set behind the last.
    #[must_use]
    pub fn nibbles(&self) -> Option<Nibbles> {
        let nibbles = Nibbles::of_key(&self.nibbles, self.count);
        (nibbles.len() == self.count && first_key(&nibbles) == self.nibbles).then_some(nibbles)
    }
}

impl fmt::Display for KeyPrefix {
    /// As [`Nibbles`]; a malformed prefix shows all of its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nibbles() {
            Some(nibbles) => fmt::Display::fmt(&nibbles, f),
            None => write!(f, "{} nibbles of {}", self.count, self.nibbles),
        }
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The lowest key with this prefix.
pub(crate) fn first_key(prefix: &Nibbles) -> Hash {
    let mut key = Hash::ZERO;
    for (place, byte) in key.0.iter_mut().zip(prefix.packed()) {
        *place = *byte;
    }
    key
}

/// The prefix with one nibble more; a full prefix is returned unchanged.
pub(crate) fn child(prefix: &Nibbles, nibble: u8) -> Nibbles {
    let depth = prefix.len();
    let mut key = first_key(prefix);
    set_nibble(&mut key, depth, nibble);
    Nibbles::of_key(&key, depth.saturating_add(1))
}

/// The shortest prefix whose keys begin right behind the last key of this one; `None` when that is the last key
/// of all.
pub(crate) fn next(prefix: &Nibbles) -> Option<Nibbles> {
    let mut depth = prefix.len();
    loop {
        depth = depth.checked_sub(1)?;
        let nibble = prefix.get(depth)?;
        if nibble < NIBBLE_MAX {
            let mut key = first_key(prefix);
            set_nibble(&mut key, depth, nibble.saturating_add(1));
            return Some(Nibbles::of_key(&key, depth.saturating_add(1)));
        }
    }
}

fn set_nibble(key: &mut Hash, index: u8, nibble: u8) {
    if let Some(byte) = key.0.get_mut(usize::from(index / 2)) {
        *byte = if index.is_multiple_of(2) {
            (*byte & 0x0f) | (nibble << 4)
        } else {
            (*byte & 0xf0) | (nibble & 0x0f)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(digits: &str) -> Nibbles {
        digits.chars().fold(Nibbles::EMPTY, |prefix, digit| {
            child(&prefix, u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        })
    }

    #[test]
    fn the_next_prefix_is_the_shortest_one_behind() {
        for (of, expected) in [
            ("0", Some("1")),
            ("3a", Some("3b")),
            ("3f", Some("4")),
            ("3fff", Some("4")),
            ("0f0", Some("0f1")),
            ("ff", None),
            ("", None),
        ] {
            assert_eq!(next(&prefix(of)), expected.map(prefix), "{of}");
        }
        let last = Nibbles::of_key(&Hash([0xff; 32]), 64);
        assert_eq!(next(&last), None);
        let full = Nibbles::of_key(&Hash([0x11; 32]), 64);
        let mut above = Hash([0x11; 32]);
        above.0[31] = 0x12;
        assert_eq!(next(&full), Some(Nibbles::of_key(&above, 64)));
        assert_eq!(child(&full, 7), full);
    }

    #[test]
    fn a_prefix_has_one_encoding() {
        for digits in ["", "a", "ab", "abc"] {
            let encoded = KeyPrefix::new(&prefix(digits));
            assert_eq!(encoded.nibbles(), Some(prefix(digits)));
        }
        let loose = KeyPrefix {
            count: 1,
            nibbles: Hash([0xa1; 32]),
        };
        assert_eq!(loose.nibbles(), None);
        let long = KeyPrefix {
            count: 65,
            nibbles: Hash::ZERO,
        };
        assert_eq!(long.nibbles(), None);
    }
}
