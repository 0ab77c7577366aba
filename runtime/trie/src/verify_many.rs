//! The verifier of a proof of many keys: one walk over its parts, beside the keys that lead to each.

use crate::commitment::{self, TrieKind};
use crate::multi_proof::{Claim, MULTI_PROOF_KEYS_MAX, MultiProof, MultiProofError, Part, Pieces};
use crate::nibbles::{common, nibble};
use crate::{Nibbles, NotAscending};
use std::slice;
use vibecoin_primitives::Hash;

/// Accepts `claims`, strictly ascending by key, if the trie with `root` has exactly these values under these keys,
/// and none under those that are said to be absent.
///
/// `kind` and `root` must be from a trusted source, as for [`crate::verify`]; the keys from the caller's own
/// hashing. One hash per leaf and about four per branch and key, less what the keys share.
///
/// # Errors
/// [`MultiProofError`]: a value differs, or the proof is about other keys, another kind of trie or another root, or is
/// a forgery.
pub fn verify_many(
    kind: TrieKind,
    root: &Hash,
    proof: &MultiProof,
    claims: &[Claim<'_>],
) -> Result<(), MultiProofError> {
    let got = claims.len();
    let Some((first, _)) = claims.first().filter(|_| got <= MULTI_PROOF_KEYS_MAX) else {
        return Err(MultiProofError::KeyCount { got });
    };
    for ((before, _), (key, _)) in claims.iter().zip(claims.iter().skip(1)) {
        if before >= key {
            let (before, key) = (*before, *key);
            return Err(NotAscending { before, key }.into());
        }
    }
    let mut walk = Walk {
        kind,
        parts: proof.parts().iter(),
        hashes: proof.hashes().iter(),
    };
    let found = walk.slot(0, first, claims)?;
    if found == *root {
        Ok(())
    } else {
        Err(MultiProofError::RootMismatch {
            expected: *root,
            found,
        })
    }
}

/// The walk over a proof's parts in their order, with the keys that lead to each.
struct Walk<'p> {
    kind: TrieKind,
    parts: slice::Iter<'p, Part>,
    hashes: slice::Iter<'p, Hash>,
}

impl<'p> Walk<'p> {
    /// Returns the hash in the slot at `depth` to which all of `claims` lead; `first` is the first key. Recursion goes
    /// a nibble deeper each time, and `decode` refuses paths over 64.
    fn slot(&mut self, depth: u8, first: &Hash, claims: &[Claim<'_>]) -> Result<Hash, MultiProofError> {
        match self.next(first, depth)? {
            Part::Empty => {
                all_absent(claims)?;
                Ok(Hash::ZERO)
            }
            Part::Leaf => self.leaf(first, depth, claims),
            Part::OtherLeaf { key, value } => {
                if let Some((key, _)) = claims.iter().find(|(asked, _)| asked == key) {
                    return Err(MultiProofError::NotAbsent { key: *key });
                }
                if common(key, first) < depth {
                    let path = Nibbles::of_key(first, depth);
                    return Err(MultiProofError::OffPath { path, shown: *key });
                }
                all_absent(claims)?;
                Ok(commitment::leaf(self.kind, key, value))
            }
            Part::Diverging { skipped, child } => {
                if let Some((key, _)) = claims.iter().find(|(key, _)| follows(skipped, key, depth)) {
                    return Err(MultiProofError::NotAbsent { key: *key });
                }
                all_absent(claims)?;
                Ok(commitment::extension(skipped, child))
            }
            Part::Extension(skipped) => {
                let (before, following, after) = split(skipped, depth, claims);
                all_absent(before)?;
                all_absent(after)?;
                let Some((first, _)) = following.first() else {
                    return Err(wrong_shape(first, depth, "no key follows the extension"));
                };
                let depth = depth.saturating_add(skipped.len());
                let Part::Branch { open, filled } = self.next(first, depth)? else {
                    return Err(wrong_shape(
                        first,
                        depth,
                        "an extension does not lead to a branch",
                    ));
                };
                let child = self.branch(depth, *open, *filled, first, following)?;
                Ok(commitment::extension(skipped, &child))
            }
            Part::Branch { open, filled } => self.branch(depth, *open, *filled, first, claims),
        }
    }

    fn next(&mut self, key: &Hash, depth: u8) -> Result<&'p Part, MultiProofError> {
        self.parts
            .next()
            .ok_or_else(|| wrong_shape(key, depth, "the proof ends too early"))
    }

    /// The slot holds the leaf of the one key that is said to have a value.
    fn leaf(&self, first: &Hash, depth: u8, claims: &[Claim<'_>]) -> Result<Hash, MultiProofError> {
        let mut present = claims.iter().filter_map(|(key, value)| Some((key, (*value)?)));
        let Some((key, value)) = present.next() else {
            return Err(wrong_shape(first, depth, "no key with a value leads to the leaf"));
        };
        match present.next() {
            None => Ok(commitment::leaf(self.kind, key, value)),
            Some((key, _)) => Err(MultiProofError::NotPresent { key: *key }),
        }
    }

    /// Returns the hash of the branch at `depth`, through which all of `claims` lead; `first` is the first key.
    fn branch(
        &mut self,
        depth: u8,
        open: u16,
        mut filled: u8,
        first: &Hash,
        mut claims: &[Claim<'_>],
    ) -> Result<Hash, MultiProofError> {
        let wrong = |key: &Hash, detail| Err(wrong_shape(key, depth, detail));
        // The hashes of the closed groups come before the contents of the open slots.
        let hashes = self.hashes.as_slice();
        let count = filled.count_ones() as usize;
        let (groups, rest) = hashes.split_at_checked(count).unwrap_or((hashes, &[]));
        self.hashes = rest.iter();
        let mut groups = groups.iter();
        let mut row = Row::default();
        for piece in Pieces::of(open) {
            if piece.open {
                let end = claims.partition_point(|(key, _)| nibble(key, depth) <= piece.start);
                let (here, above) = claims.split_at_checked(end).unwrap_or((claims, &[]));
                let Some((key, _)) = here.first() else {
                    return wrong(first, "no key leads into an open slot");
                };
                // The keys ascend, so one that leads into a closed slot comes first.
                if nibble(key, depth) != piece.start {
                    return wrong(key, "a key leads into a closed slot");
                }
                claims = above;
                row.add(0, self.slot(depth.saturating_add(1), key, here)?);
            } else {
                let hash = if filled & 1 == 1 { groups.next() } else { None };
                filled >>= 1;
                row.add(piece.level, hash.copied().unwrap_or_default());
            }
        }
        if let Some((key, _)) = claims.first() {
            return wrong(key, "a key leads into a closed slot");
        }
        // It would be another form of an empty slot, which has the same hash.
        let hash = row.top();
        if hash.is_zero() {
            return wrong(first, "a branch has no child");
        }
        Ok(hash)
    }
}

fn wrong_shape(key: &Hash, depth: u8, detail: &'static str) -> MultiProofError {
    let path = Nibbles::of_key(key, depth);
    MultiProofError::WrongShape { path, detail }
}

fn all_absent(claims: &[Claim<'_>]) -> Result<(), MultiProofError> {
    match claims.iter().find(|(_, value)| value.is_some()) {
        Some((key, _)) => Err(MultiProofError::NotPresent { key: *key }),
        None => Ok(()),
    }
}

fn follows(skipped: &Nibbles, key: &Hash, depth: u8) -> bool {
    skipped.common_with(key, depth) == skipped.len()
}

/// The claims before, on and after the path of an extension at `depth`.
pub(crate) fn split<'c, 'v>(
    skipped: &Nibbles,
    depth: u8,
    claims: &'c [Claim<'v>],
) -> (&'c [Claim<'v>], &'c [Claim<'v>], &'c [Claim<'v>]) {
    let start = claims.iter().position(|(key, _)| follows(skipped, key, depth));
    let (before, rest) = claims
        .split_at_checked(start.unwrap_or(claims.len()))
        .unwrap_or((claims, &[]));
    let end = rest.partition_point(|(key, _)| follows(skipped, key, depth));
    let (following, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    (before, following, after)
}

/// The binary tree of a branch, from pieces that are added from slot 0 upwards.
#[derive(Default)]
struct Row {
    /// Parts without a right neighbour yet, each higher than the next.
    parts: Vec<(u8, Hash)>,
}

impl Row {
    fn add(&mut self, mut level: u8, mut hash: Hash) {
        while let Some((_, left)) = self.parts.pop_if(|(left, _)| *left == level) {
            hash = commitment::pair(level, &left, &hash);
            level = level.saturating_add(1);
        }
        self.parts.push((level, hash));
    }

    fn top(&self) -> Hash {
        self.parts.first().map_or(Hash::ZERO, |(_, hash)| *hash)
    }
}
