//! Tries of a few rows.

use vibecoin_primitives::Hash;
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Sequential, Trie};

/// The trie `empty` with these rows, whose nodes are added to `nodes`.
///
/// # Panics
/// If a key is in `rows` twice, or `empty` has rows.
pub fn trie_of(empty: &Trie, mut rows: Vec<(Hash, Vec<u8>)>, nodes: &mut MemoryState) -> Trie {
    rows.sort();
    let changes: Vec<Change<'_>> = rows
        .iter()
        .map(|(key, value)| Change {
            key: *key,
            old: None,
            new: Some(value),
        })
        .collect();
    let (trie, writes) = empty.update(&changes, nodes, &Sequential).unwrap();
    nodes.apply(&writes, &changes);
    trie
}
