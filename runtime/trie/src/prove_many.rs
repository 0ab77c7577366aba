//! Construction of proofs of many keys: a walk over the part of the trie that their paths cover.

use crate::commitment;
use crate::multi_proof::{Claim, MULTI_PROOF_BYTES_MAX, MULTI_PROOF_KEYS_MAX, MultiProof, Part, Pieces};
use crate::nibbles::{KEY_NIBBLES, nibble};
use crate::node::{Leaf, Node, Sub};
use crate::prove::too_deep;
use crate::source::Source;
use crate::verify_many::split;
use crate::{Nibbles, NodeReader, Trie, TrieError};
use vibecoin_primitives::Hash;

impl Trie {
    /// Returns the proof that each key has its value (from the flat state), or none. The keys are strictly
    /// ascending, 1 to [`MULTI_PROOF_KEYS_MAX`] of them.
    ///
    /// `reader` has the state of this trie. Every node is read once, so for keys near each other the cost is far
    /// below that of single proofs. The claims are checked against the trie.
    ///
    /// # Errors
    /// [`TrieError::KeyCount`] and [`TrieError::NotAscending`] for a malformed list, [`TrieError::Drift`] when a
    /// value differs from the trie, [`TrieError::ProofTooLarge`] when the trie holds long values or keys that
    /// share long prefixes, [`TrieError::Corrupt`] and [`TrieError::Read`] when a node cannot be loaded.
    pub fn prove_many(&self, claims: &[Claim<'_>], reader: &dyn NodeReader) -> Result<MultiProof, TrieError> {
        if !(1..=MULTI_PROOF_KEYS_MAX).contains(&claims.len()) {
            return Err(TrieError::KeyCount { got: claims.len() });
        }
        for (index, ((before, _), (key, _))) in (1..).zip(claims.iter().zip(claims.iter().skip(1))) {
            if before >= key {
                return Err(TrieError::NotAscending { index });
            }
        }
        let source = self.source(reader);
        let mut walk = Walk {
            source,
            parts: Vec::new(),
            hashes: Vec::new(),
        };
        walk.slot(source.resolve_root(&self.root)?, 0, claims)?;
        let proof = MultiProof::new(walk.parts, walk.hashes);
        let got = proof.encoded_len();
        if got > MULTI_PROOF_BYTES_MAX {
            return Err(TrieError::ProofTooLarge { got });
        }
        Ok(proof)
    }
}

struct Walk<'a> {
    source: Source<'a>,
    parts: Vec<Part>,
    hashes: Vec<Hash>,
}

impl Walk<'_> {
    /// Adds the content of the slot at `depth` to which all of `claims` lead, at least one. Recursion goes a nibble
    /// deeper each time, up to the 64 of a key.
    fn slot(&mut self, sub: Sub, depth: u8, claims: &[Claim<'_>]) -> Result<(), TrieError> {
        let Some((first, _)) = claims.first() else {
            return Ok(());
        };
        let node = match sub {
            Sub::Node(_, node) => node,
            Sub::Stub(hash) | Sub::Unknown(hash) => {
                self.source.load(&Nibbles::of_key(first, depth), &hash)?
            }
            Sub::Empty => {
                self.all_absent(claims)?;
                self.parts.push(Part::Empty);
                return Ok(());
            }
            Sub::Leaf(leaf) => {
                let part = self.leaf(&leaf, &Nibbles::of_key(first, depth), claims)?;
                self.parts.push(part);
                return Ok(());
            }
        };
        let skipped = node.skipped();
        let branch_depth = depth.saturating_add(skipped.len());
        if branch_depth >= KEY_NIBBLES {
            return Err(too_deep(&self.source, first, depth));
        }
        let (before, following, after) = split(&skipped, depth, claims);
        self.all_absent(before)?;
        self.all_absent(after)?;
        if following.is_empty() {
            self.parts.push(Part::Diverging {
                skipped,
                child: node.branch_hash(),
            });
            return Ok(());
        }
        if !skipped.is_empty() {
            self.parts.push(Part::Extension(skipped));
        }
        self.branch(&node, branch_depth, following)
    }

    fn leaf(&self, leaf: &Leaf, path: &Nibbles, claims: &[Claim<'_>]) -> Result<Part, TrieError> {
        let mut present = claims.iter().filter_map(|(key, value)| Some((key, (*value)?)));
        if let Some((key, value)) = present.next() {
            if commitment::leaf(self.source.kind, key, value) != leaf.hash {
                return Err(self
                    .source
                    .drift(key, "the value it is said to have is not in the trie"));
            }
            return match present.next() {
                None => Ok(Part::Leaf),
                Some((key, _)) => Err(self.source.drift(key, NOT_IN_TRIE)),
            };
        }
        let value = self.source.leaf(path, leaf)?;
        if claims.iter().any(|(key, _)| *key == leaf.key) {
            let detail = "it is said to be absent, the trie has a value";
            return Err(self.source.drift(&leaf.key, detail));
        }
        Ok(Part::OtherLeaf { key: leaf.key, value })
    }

    fn branch(&mut self, node: &Node, depth: u8, claims: &[Claim<'_>]) -> Result<(), TrieError> {
        let open = claims
            .iter()
            .fold(0u16, |open, (key, _)| open | 1 << nibble(key, depth));
        let closed = Pieces::of(open).filter(|piece| !piece.open);
        let groups = node.groups(closed.map(|group| (group.start, group.level)));
        let mut filled = 0u8;
        for (index, hash) in groups.enumerate().filter(|(_, hash)| !hash.is_zero()) {
            filled |= 1 << index;
            self.hashes.push(hash);
        }
        self.parts.push(Part::Branch { open, filled });
        let below = depth.saturating_add(1);
        for here in claims.chunk_by(|(left, _), (right, _)| nibble(left, depth) == nibble(right, depth)) {
            if let Some((key, _)) = here.first() {
                self.slot(node.slot(nibble(key, depth)), below, here)?;
            }
        }
        Ok(())
    }

    fn all_absent(&self, claims: &[Claim<'_>]) -> Result<(), TrieError> {
        match claims.iter().find(|(_, value)| value.is_some()) {
            Some((key, _)) => Err(self.source.drift(key, NOT_IN_TRIE)),
            None => Ok(()),
        }
    }
}

const NOT_IN_TRIE: &str = "it is said to have a value, the trie has none";
