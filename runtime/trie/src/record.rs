//! The bytes of a stored node.
//!
//! Stored under (owner, path of the slot). The version is that of the database's schema.
//!
//! ```text
//! offset  bytes        field
//! 0       2            children: bit n is set when slot n is filled; little-endian; at least two bits
//! 2       2            leaves: bit n is set when slot n holds a leaf; a subset of `children`
//! 4       1            e: nibbles that the extension skips before the branch, 0 to 63
//! 5       (e + 1) / 2  those nibbles, first one in the high half; a spare half byte is zero
//! 5 + ..  32 * count   hashes of the children in slot order, none of them zero
//! ..      32 * count   keys of the leaves in slot order
//! ```
//!
//! A trie of one entry has no branch. Its record, under the empty path:
//!
//! ```text
//! 0       2            zero: no children
//! 2       32           the entry's key
//! ```
//!
//! The hash of a record is the extension's when e > 0, else the branch's ([`crate::commitment`]). It does not
//! cover `leaves` and the keys: a wrong bit there leads the reader to a record or a value that does not exist
//! or has another hash.
//!
//! The keys are stored so that a leaf is read by its own key. A search for the first row under the leaf's
//! path would cost a walk over every row that was deleted there, which a block's fees do not pay for; and a
//! part of a key could be ground into many others.

use crate::Nibbles;
use crate::nibbles::packed_len;
use crate::node::{Kids, Leaf, Node, Sub};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// Bytes of the record of a trie of one entry.
const LONE_BYTES: usize = 2 + 32;

/// A node as the storage crate sees it: its bytes.
///
/// Cheap to clone: it shares the node with the trie, so bytes are made only when they are written.
#[derive(Clone, Debug)]
pub struct NodeRecord(Content);

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Node(Arc<Node>),
    /// Key of the entry of a trie that has one. Boxed, because hardly any record is one.
    Lone(Box<Hash>),
}

impl NodeRecord {
    pub(crate) const fn new(node: Arc<Node>) -> Self {
        Self(Content::Node(node))
    }

    pub(crate) fn lone(key: Hash) -> Self {
        Self(Content::Lone(Box::new(key)))
    }

    /// The bytes to store, up to 5 + 32 + 16 * 64. See the docs of `record.rs` for the layout.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Content::Node(node) => {
                let mut out = Vec::with_capacity(self.encoded_len());
                encode(node, &mut out);
                out
            }
            Content::Lone(key) => [&[0, 0], key.0.as_slice()].concat(),
        }
    }

    /// Length of the result of [`NodeRecord::encode`].
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match &self.0 {
            Content::Node(node) => node
                .hashes()
                .len()
                .saturating_add(node.keys().len())
                .saturating_mul(32)
                .saturating_add(packed_len(node.skipped().len()))
                .saturating_add(5),
            Content::Lone(_) => LONE_BYTES,
        }
    }

    /// Reads stored bytes: exactly one node in its only form.
    ///
    /// # Errors
    /// [`NodeError`] with the violation. The hash is not checked here, for lack of one to compare with.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        decode(bytes).map(Self)
    }

    /// The hash of this node in its parent; `None` for the record of a trie of one entry, whose root depends on the value.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        match &self.0 {
            Content::Node(node) => Some(node.hash()),
            Content::Lone(_) => None,
        }
    }
}

/// Reason why bytes are not a node's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Shorter or longer than implied by its bitmap and nibble count.
    #[error("node record has {got} bytes where {expected} are needed")]
    Length {
        /// Bytes needed.
        expected: usize,
        /// Number of bytes received.
        got: usize,
    },
    /// One child, or a leaf bit without a child.
    #[error("node record has children {children:#06x} and leaves {leaves:#06x}")]
    Bitmap {
        /// The bitmap of children.
        children: u16,
        /// The bitmap of leaves.
        leaves: u16,
    },
    /// Too many skipped nibbles, or a spare half byte that is not zero.
    #[error("node record has a malformed extension of {count} nibbles")]
    Extension {
        /// The nibble count found.
        count: u8,
    },
    /// A child's hash is zero, which means "no child".
    #[error("node record has a child without a hash")]
    ZeroChild,
}

fn encode(node: &Node, out: &mut Vec<u8>) {
    let skipped = node.skipped();
    out.extend_from_slice(&node.children().to_le_bytes());
    out.extend_from_slice(&node.leaves().to_le_bytes());
    out.push(skipped.len());
    out.extend_from_slice(skipped.packed());
    for hash in node.hashes() {
        out.extend_from_slice(&hash.0);
    }
    for key in node.keys() {
        out.extend_from_slice(&key.0);
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Content, NodeError> {
    if let Some((&[0, 0], rest)) = bytes.split_first_chunk::<2>() {
        let expected = LONE_BYTES;
        let got = bytes.len();
        let key = rest.try_into().map_err(|_| NodeError::Length { expected, got })?;
        return Ok(Content::Lone(Box::new(Hash(key))));
    }
    decode_node(bytes).map(|node| Content::Node(Arc::new(node)))
}

fn decode_node(bytes: &[u8]) -> Result<Node, NodeError> {
    let short = NodeError::Length {
        expected: 5,
        got: bytes.len(),
    };
    let (&[c0, c1, l0, l1, count], rest) = bytes.split_first_chunk::<5>().ok_or(short)?;
    let (children, leaves) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([l0, l1]));
    if children.count_ones() < 2 || leaves & !children != 0 {
        return Err(NodeError::Bitmap { children, leaves });
    }
    if count > 63 {
        return Err(NodeError::Extension { count });
    }
    let hashes_len = (children.count_ones() as usize).saturating_mul(32);
    let keys_len = (leaves.count_ones() as usize).saturating_mul(32);
    let expected = packed_len(count)
        .saturating_add(hashes_len)
        .saturating_add(keys_len)
        .saturating_add(5);
    let wrong = NodeError::Length {
        expected,
        got: bytes.len(),
    };
    if bytes.len() != expected {
        return Err(wrong);
    }
    let (packed, rest) = rest.split_at_checked(packed_len(count)).ok_or(wrong)?;
    let (hashes, keys) = rest.split_at_checked(hashes_len).ok_or(wrong)?;
    let skipped = Nibbles::unpack(count, packed).ok_or(NodeError::Extension { count })?;
    let filled = (0u8..16).filter(|slot| children >> slot & 1 == 1);
    let mut kids = Kids::with_capacity(16);
    let mut keys = keys.as_chunks::<32>().0.iter();
    for (slot, hash) in filled.zip(hashes.as_chunks::<32>().0) {
        let hash = Hash(*hash);
        if hash.is_zero() {
            return Err(NodeError::ZeroChild);
        }
        let sub = if leaves >> slot & 1 == 0 {
            Sub::Stub(hash)
        } else {
            let key = Hash(*keys.next().ok_or(wrong)?);
            Sub::Leaf(Leaf { key, hash })
        };
        kids.push(slot, sub);
    }
    Ok(Node::new(skipped, kids))
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
    use vibecoin_primitives::Domain;

    fn sample(skipped: &str) -> NodeRecord {
        let mut nibbles = Nibbles::EMPTY;
        for digit in skipped.chars() {
            nibbles.push(u8::try_from(digit.to_digit(16).expect("hex")).expect("small"));
        }
        let mut kids = Kids::with_capacity(3);
        let leaf = |key: u8, value: &[u8]| Leaf {
            key: Hash([key; 32]),
            hash: Domain::Receipt.hash(value),
        };
        kids.push(1, Sub::Leaf(leaf(0xe1, b"a")));
        kids.push(2, Sub::Stub(Domain::Receipt.hash(b"b")));
        kids.push(15, Sub::Leaf(leaf(0xef, b"c")));
        NodeRecord::new(Arc::new(Node::new(nibbles, kids)))
    }

    #[test]
    fn a_record_is_laid_out_as_documented_and_comes_back() {
        let record = sample("abc");
        let bytes = record.encode();
        assert_eq!(bytes[..7], [0x06, 0x80, 0x02, 0x80, 3, 0xab, 0xc0]);
        assert_eq!(bytes.len(), 7 + 96 + 64);
        assert_eq!(bytes[103..], [[0xe1; 32], [0xef; 32]].concat());
        assert_eq!(bytes.len(), record.encoded_len());
        let again = NodeRecord::decode(&bytes).expect("own bytes");
        assert_eq!((again.hash(), again.encode()), (record.hash(), bytes));
        assert_ne!(sample("").hash(), record.hash());
    }

    #[test]
    fn the_record_of_a_trie_of_one_entry_has_its_key() {
        let key = Domain::Receipt.hash(b"key");
        let bytes = [&[0, 0], &key.0[..]].concat();
        let record = NodeRecord::decode(&bytes).expect("a key");
        assert_eq!((record.encode(), record.encoded_len()), (bytes.clone(), 34));
        assert_eq!(record.encode(), NodeRecord::lone(key).encode());
        assert_eq!(record.hash(), None);
        for wrong in [&bytes[..33], &[&bytes[..], &[0]].concat()] {
            let got = wrong.len();
            let error = NodeRecord::decode(wrong).err();
            assert_eq!(error, Some(NodeError::Length { expected: 34, got }));
        }
    }

    #[test]
    fn malformed_records_are_refused_and_none_panics() {
        let good = sample("abc").encode();
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            NodeRecord::decode(&bytes).err()
        };
        assert_eq!(
            with(0, 0x00),
            Some(NodeError::Bitmap {
                children: 0x8000,
                leaves: 0x8002
            })
        );
        assert_eq!(
            with(2, 0x08),
            Some(NodeError::Bitmap {
                children: 0x8006,
                leaves: 0x8008
            })
        );
        assert_eq!(with(4, 64), Some(NodeError::Extension { count: 64 }));
        assert_eq!(with(6, 0xc1), Some(NodeError::Extension { count: 3 }));
        assert_eq!(
            with(0, 0x07),
            Some(NodeError::Length {
                expected: 199,
                got: 167
            })
        );
        assert_eq!(
            with(2, 0x06),
            Some(NodeError::Length {
                expected: 199,
                got: 167
            })
        );
        for len in 0..good.len() {
            assert!(NodeRecord::decode(&good[..len]).is_err(), "cut to {len}");
        }
        assert!(NodeRecord::decode(&[&good[..], &[0]].concat()).is_err());
        let mut zero = good.clone();
        zero[7..39].fill(0);
        assert_eq!(NodeRecord::decode(&zero).err(), Some(NodeError::ZeroChild));
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                if let Ok(record) = NodeRecord::decode(&bytes) {
                    assert_eq!(record.encode(), bytes, "one form per node");
                }
            }
        }
    }
}
