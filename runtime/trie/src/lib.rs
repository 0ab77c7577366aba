//! The state's Merkle Patricia trie: batch update, stubs, proofs, and roots from a sorted stream.
//!
//! The trie is pure. It keeps hashes and shape, never values; values are in the flat state, and nodes that
//! are not in memory are read through a [`NodeReader`], which the storage crate implements. There is one
//! account trie and one storage trie per contract, distinguished by an *owner*
//! ([`Hash::ZERO`](vibecoin_primitives::Hash::ZERO) for the account trie, else the hashed account key).
//!
//! ```
//! use vibecoin_primitives::{Domain, Hash};
//! use vibecoin_trie::{Change, Proof, Sequential, Trie, TrieKind, model::MemoryState, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = Domain::TrieAccountKey.hash(b"alice");
//! let mut state = MemoryState::default(); // in the node: overlay layers over RocksDB
//! let empty = Trie::accounts(Hash::ZERO);
//!
//! // One block: what each key held before, and what it holds now. Strictly ascending keys.
//! let changes = [Change { key: alice, old: None, new: Some(b"100 coins") }];
//! let (trie, writes) = empty.update(&changes, &state, &Sequential)?;
//! state.apply(&writes, &changes); // `empty` is unchanged and still usable
//!
//! // A root hash is enough to go on later: everything else is read on demand.
//! let reopened = Trie::accounts(trie.root());
//! let proof = reopened.prove(&alice, Some(b"100 coins"), &state)?;
//! let foreign = Proof::decode(&proof.encode())?;
//! assert_eq!(verify(TrieKind::Account, &trie.root(), &alice, &foreign)?, Some(&b"100 coins"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Duties of the storage crate
//!
//! - It stores one record per [`NodeWrite`], under (owner, path): [`NodeRecord::encode`] returns the
//!   bytes, `None` deletes. Records are absolute, so of several writes to a path only the last counts.
//!   Leaves have no record: a leaf is a key and a hash in its parent, its value is in the flat state. Only a
//!   trie of one entry, which has no branch, has a record with that entry's key, under the empty path.
//! - It answers [`NodeReader::node`] with those bytes and [`NodeReader::leaf`] with the value under a key,
//!   **both as of the state whose root the trie has** (before the update that reads). Both are reads of one
//!   row: deleted neighbours cost nothing.
//!   All bytes read are checked against the hash that led to them, so wrong bytes are
//!   [`TrieError::Corrupt`] and never a wrong root.
//! - It passes old values with every change. The trie compares them with its leaves, so a flat state that
//!   differs from the trie is detected at the first write, and no flat read is needed to replace a value.
//! - It updates storage tries before the account trie, since their roots are part of the accounts' values.
//! - It caps memory with [`Trie::node_count`] and [`Trie::shrink`] or [`Trie::prune`].
//! - It checks or rebuilds a whole trie from the flat state with [`root_of_sorted`] and [`build_sorted`].
//!
//! # Reading order
//!
//! [`nibbles`] (paths), [`commitment`] (hash rules), `node` (shape) and `record` (its bytes), `trie` (the
//! value and its memory), `update` (the batch), `path` (what proofs share) and [`proof`] (format and verifier of
//! one key, without the rest), `stream` (roots from sorted entries), [`prefix_proof`] (all entries below a prefix),
//! [`multi_proof`] (many keys), [`model`] (a slow reference implementation, for tests).

pub mod commitment;
pub mod model;
pub mod multi_proof;
pub mod nibbles;
pub mod prefix_proof;
pub mod proof;

mod error;
mod node;
mod path;
mod prove;
mod prove_many;
mod reader;
mod record;
mod source;
mod stream;
mod trie;
mod update;
mod verify_many;

pub use commitment::TrieKind;
pub use error::TrieError;
pub use multi_proof::{
    Claim, MULTI_PROOF_BYTES_MAX, MULTI_PROOF_KEYS_MAX, MultiProof, MultiProofError, verify_many,
};
pub use nibbles::Nibbles;
pub use prefix_proof::{PREFIX_PROOF_BYTES_MAX, PrefixProof, PrefixProofError, verify_prefix};
pub use proof::{PROOF_BYTES_MAX, Proof, ProofError, VALUE_BYTES_MAX, verify};
pub use reader::{Job, NodeReader, Parallel, ReadError, Sequential};
pub use record::{NodeError, NodeRecord};
pub use stream::{NotAscending, build_sorted, root_of_sorted};
pub use trie::Trie;
pub use update::{Change, NodeWrite, NodeWrites};
