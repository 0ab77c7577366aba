//! BLAKE3 with one key per purpose.
//!
//! `H_d(x) = blake3::keyed_hash(key_d, x)` where `key_d = blake3::derive_key(context_d, "")`, so a value
//! hashed for one purpose cannot stand for another. Only the Proof of History chain uses plain BLAKE3,
//! because its cost is the hash itself.

use std::fmt;
use std::sync::LazyLock;
use wincode::{SchemaRead, SchemaWrite};

/// A BLAKE3 hash: 32 bytes, displayed as lower-case hex with the prefix `0x`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, SchemaWrite, SchemaRead)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// 32 zero bytes: absence (the empty trie, the empty Merkle tree, the parent of genesis).
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns true if this is [`Hash::ZERO`].
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The first four bytes, by which a transaction identifies its chain.
    #[must_use]
    pub const fn prefix(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }

    /// Reads 64 hex digits with the prefix `0x`.
    ///
    /// # Errors
    /// [`crate::HexError`] when the prefix, the length or a digit is wrong.
    pub fn from_hex(text: &str) -> Result<Self, crate::HexError> {
        crate::hex::fixed(text).map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! domains {
    ($($(#[$doc:meta])* $name:ident = $context:literal,)*) => {
        /// The purpose of a hash. Every purpose has its own BLAKE3 key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Domain { $($(#[$doc])* $name,)* }

        impl Domain {
            /// Every domain, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The context string from which the domain's key is derived.
            #[must_use]
            pub const fn context(self) -> &'static str {
                match self { $(Self::$name => $context,)* }
            }
        }
    };
}

domains! {
    /// A block header; the hash is the value that validators vote on.
    Header = "vibecoin header v1",
    /// A block body.
    Body = "vibecoin body v1",
    /// The bytes of a transaction that are signed.
    TransactionId = "vibecoin transaction id v1",
    /// All bytes of a transaction, signature included.
    TransactionHash = "vibecoin transaction hash v1",
    /// A receipt.
    Receipt = "vibecoin receipt v1",
    /// One piece of evidence.
    Evidence = "vibecoin evidence v1",
    /// A commit certificate.
    Certificate = "vibecoin certificate v1",
    /// A validator set.
    Validators = "vibecoin validators v1",
    /// Chain parameters.
    Params = "vibecoin params v1",
    /// Two children of a Merkle tree over a list.
    MerklePair = "vibecoin merkle pair v1",
    /// A Merkle tree's leaf count with its top.
    MerkleRoot = "vibecoin merkle root v1",
    /// An address as a key of the account trie.
    TrieAccountKey = "vibecoin trie account key v1",
    /// A slot as a key of a storage trie.
    TrieSlotKey = "vibecoin trie slot key v1",
    /// A leaf of the account trie.
    TrieAccountLeaf = "vibecoin trie account leaf v1",
    /// A leaf of a storage trie.
    TrieSlotLeaf = "vibecoin trie slot leaf v1",
    /// An extension node.
    TrieExtension = "vibecoin trie extension v1",
    /// An inner pair of a branch's binary tree (or, in the concatenated layout, the branch).
    TrieBranchPair = "vibecoin trie branch pair v1",
    /// The top pair of a branch's binary tree.
    TrieBranchTop = "vibecoin trie branch top v1",
    /// The addresses of the chain's own accounts.
    SystemAddress = "vibecoin system address v1",
    /// Coefficients of a signature batch.
    SignatureBatch = "vibecoin signature batch v1",
    /// One tick of a proposal as it is streamed.
    ProposalPart = "vibecoin proposal part v1",
    /// The manifest of a snapshot, without the certificate beside it.
    SnapshotManifest = "vibecoin snapshot manifest v1",
    /// An uncompressed chunk of a snapshot.
    SnapshotChunk = "vibecoin snapshot chunk v1",
    /// The manifest of a difference between two states, without the certificate beside it.
    DifferenceManifest = "vibecoin difference manifest v1",
    /// An uncompressed chunk of a difference.
    DifferenceChunk = "vibecoin difference chunk v1",
}

static KEYS: LazyLock<Vec<[u8; 32]>> = LazyLock::new(|| {
    Domain::ALL
        .iter()
        .map(|d| blake3::derive_key(d.context(), b""))
        .collect()
});

impl Domain {
    /// The key of this domain: `blake3::derive_key(context, "")`.
    #[must_use]
    pub fn key(self) -> &'static [u8; 32] {
        #[expect(clippy::indexing_slicing, reason = "KEYS has one entry per variant, in order")]
        &KEYS[self as usize]
    }

    /// Hashes `bytes` for this purpose.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Hash {
        Hash(*blake3::keyed_hash(self.key(), bytes).as_bytes())
    }

    /// Hashes the concatenation of `parts` for this purpose.
    #[must_use]
    pub fn hash_parts(self, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(self.key());
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// Hashes two hashes side by side: the 64-byte input of every pair in the project.
    #[must_use]
    pub fn pair(self, left: &Hash, right: &Hash) -> Hash {
        let mut input = [0u8; 64];
        let (a, b) = input.split_at_mut(32);
        a.copy_from_slice(&left.0);
        b.copy_from_slice(&right.0);
        self.hash(&input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_domain_has_its_own_key() {
        let mut keys: Vec<_> = Domain::ALL.iter().map(|d| *d.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Domain::ALL.len());
    }

    #[test]
    fn a_hash_is_keyed_blake3_over_the_derived_key() {
        let key = blake3::derive_key("vibecoin header v1", b"");
        assert_eq!(
            Domain::Header.hash(b"abc").0,
            *blake3::keyed_hash(&key, b"abc").as_bytes()
        );
        assert_eq!(
            Domain::Header.hash_parts(&[b"a", b"bc"]),
            Domain::Header.hash(b"abc")
        );
    }
}
