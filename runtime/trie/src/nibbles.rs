//! Paths: sequences of up to 64 nibbles (half bytes), high nibble of a byte first.

use std::fmt;
use vibecoin_primitives::Hash;

/// Nibbles in a key, and the longest path.
pub const KEY_NIBBLES: u8 = 64;

/// A path of 0 to 64 nibbles: the start of a key, or the nibbles that an extension skips.
///
/// Two nibbles to a byte, the first in the high half; everything past the end is zero, so equal paths
/// are equal bytes. Ordered as the keys below it are, a path before the paths that start with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nibbles {
    bytes: [u8; 32],
    len: u8,
}

impl Nibbles {
    /// The empty path: that of the root.
    pub const EMPTY: Self = Self {
        bytes: [0; 32],
        len: 0,
    };

    /// Returns the first `len` nibbles of `key` (all 64 when `len` is above 64).
    #[must_use]
    pub fn of_key(key: &Hash, len: u8) -> Self {
        let len = len.min(KEY_NIBBLES);
        let mut bytes = key.0;
        let whole = usize::from(len / 2);
        let mut tail = whole;
        if len % 2 == 1
            && let Some(byte) = bytes.get_mut(whole)
        {
            *byte &= 0xf0;
            tail = whole.saturating_add(1);
        }
        if let Some(rest) = bytes.get_mut(tail..) {
            rest.fill(0);
        }
        Self { bytes, len }
    }

    /// Returns the nibbles `from..to` of `key`; empty when the range is.
    #[must_use]
    pub fn between(key: &Hash, from: u8, to: u8) -> Self {
        let mut path = Self::EMPTY;
        for index in from..to.min(KEY_NIBBLES) {
            path.push(nibble(key, index));
        }
        path
    }

    /// Reads `count` nibbles packed into exactly the bytes they need; the spare half byte must be zero.
    #[must_use]
    pub fn unpack(count: u8, packed: &[u8]) -> Option<Self> {
        if count > KEY_NIBBLES || packed.len() != packed_len(count) {
            return None;
        }
        let mut bytes = [0; 32];
        bytes.get_mut(..packed.len())?.copy_from_slice(packed);
        let path = Self { bytes, len: count };
        (Self::of_key(&Hash(bytes), count) == path).then_some(path)
    }

    /// Number of nibbles.
    #[must_use]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Returns true if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The nibble at `index`, or `None` past the end.
    #[must_use]
    pub fn get(&self, index: u8) -> Option<u8> {
        (index < self.len).then(|| nibble(&Hash(self.bytes), index))
    }

    /// The nibbles two to a byte, in the bytes they need: `(len + 1) / 2`.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        self.bytes.get(..packed_len(self.len)).unwrap_or_default()
    }

    /// Returns true if `key` starts with this path.
    #[must_use]
    pub fn leads_to(&self, key: &Hash) -> bool {
        Self::of_key(key, self.len) == *self
    }

    /// The lowest key that starts with this path: its nibbles, then zeros.
    #[must_use]
    pub const fn first_key(&self) -> Hash {
        Hash(self.bytes)
    }

    /// Appends a database key for this path: the packed bytes, then the nibble count in one byte. Different
    /// paths have different bytes (without the count, `1` and `10` would not).
    pub fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.packed());
        out.push(self.len);
    }

    /// Appends a nibble; only the low half of `value` counts. A full path is unchanged.
    pub(crate) fn push(&mut self, value: u8) {
        let Some(byte) = self.bytes.get_mut(usize::from(self.len / 2)) else {
            return;
        };
        *byte |= if self.len.is_multiple_of(2) {
            value << 4
        } else {
            value & 0x0f
        };
        self.len = self.len.saturating_add(1);
    }

    /// Appends all of `other`, up to the capacity.
    pub(crate) fn extend(&mut self, other: &Self) {
        for value in (0..other.len).filter_map(|index| other.get(index)) {
            self.push(value);
        }
    }

    /// The nibbles from `from` on.
    pub(crate) fn skip(&self, from: u8) -> Self {
        Self::between(&Hash(self.bytes), from, self.len)
    }

    /// The first `len` nibbles (all when there are fewer).
    pub(crate) fn take(&self, len: u8) -> Self {
        Self::of_key(&Hash(self.bytes), len.min(self.len))
    }

    /// Number of these nibbles that `key` has from nibble `depth` on, before the first that differs.
    pub(crate) fn common_with(&self, key: &Hash, depth: u8) -> u8 {
        (0..self.len)
            .find(|&index| self.get(index) != Some(nibble(key, depth.saturating_add(index))))
            .unwrap_or(self.len)
    }
}

/// Bytes that `count` nibbles need.
pub(crate) const fn packed_len(count: u8) -> usize {
    count.div_ceil(2) as usize
}

/// The nibble of `key` at `index`; zero past the end, which no caller requests.
#[inline]
pub(crate) fn nibble(key: &Hash, index: u8) -> u8 {
    let byte = key.0.get(usize::from(index / 2)).copied().unwrap_or(0);
    if index.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 0x0f
    }
}

/// Number of nibbles that two keys share from the start: 64 when they are equal.
pub(crate) fn common(a: &Hash, b: &Hash) -> u8 {
    let mut shared = 0u8;
    for (x, y) in a.0.iter().zip(&b.0) {
        if x != y {
            return if x >> 4 == y >> 4 {
                shared.saturating_add(1)
            } else {
                shared
            };
        }
        shared = shared.saturating_add(2);
    }
    shared
}

impl fmt::Display for Nibbles {
    /// Hex digits, one per nibble; `(root)` for the empty path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(root)");
        }
        (0..self.len)
            .filter_map(|index| self.get(index))
            .try_for_each(|value| write!(f, "{value:x}"))
    }
}

impl fmt::Debug for Nibbles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    fn key() -> Hash {
        let mut bytes = [0u8; 32];
        for (byte, value) in bytes.iter_mut().zip(1u8..) {
            *byte = value.wrapping_mul(0x35);
        }
        Hash(bytes)
    }

    #[test]
    fn a_path_of_a_key_leads_to_it_and_to_no_key_that_differs_within_it() {
        let key = key();
        for len in 0..=KEY_NIBBLES {
            let path = Nibbles::of_key(&key, len);
            assert_eq!(path.len(), len);
            assert!(path.leads_to(&key), "{path}");
            assert_eq!(path, Nibbles::between(&key, 0, len));
            for index in 0..KEY_NIBBLES {
                let mut other = key;
                other.0[usize::from(index / 2)] ^= if index % 2 == 0 { 0x10 } else { 0x01 };
                assert_eq!(path.leads_to(&other), index >= len, "{path} at {index}");
                assert_eq!(common(&key, &other), index);
                assert_eq!(path.common_with(&other, 0), index.min(len));
            }
        }
    }

    #[test]
    fn packed_nibbles_come_back_and_a_set_spare_half_byte_is_refused() {
        let key = key();
        for len in 0..=KEY_NIBBLES {
            let path = Nibbles::between(&key, 0, len);
            assert_eq!(Nibbles::unpack(len, path.packed()), Some(path));
            assert_eq!(
                Nibbles::unpack(len, &key.0).is_some(),
                len >= 63 && (len == 64 || key.0[31] & 15 == 0)
            );
            if len % 2 == 1 {
                let mut packed = path.packed().to_vec();
                *packed.last_mut().expect("odd, so not empty") |= 1;
                assert_eq!(Nibbles::unpack(len, &packed), None);
            }
        }
        assert_eq!(Nibbles::unpack(65, &[0; 33]), None);
    }

    #[test]
    fn parts_of_a_path_join_to_the_whole() {
        let whole = Nibbles::of_key(&key(), 41);
        for cut in 0..=41 {
            let mut joined = whole.take(cut);
            joined.extend(&whole.skip(cut));
            assert_eq!(joined, whole);
        }
        assert_eq!(Nibbles::of_key(&key(), 3).to_string(), "356");
        assert_eq!(Nibbles::EMPTY.to_string(), "(root)");
    }

    #[test]
    fn database_keys_of_different_paths_differ() {
        let mut keys = Vec::new();
        for len in 0..=KEY_NIBBLES {
            let mut bytes = Vec::new();
            Nibbles::of_key(&Hash::ZERO, len).write_key(&mut bytes);
            keys.push(bytes);
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 65);
    }
}
