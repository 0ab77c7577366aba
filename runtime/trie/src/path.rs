//! The part that the proofs of one key and of a prefix share: the steps from the root, and the ends that show
//! that nothing lies there.

use crate::commitment::{self, TrieKind};
use crate::nibbles::{KEY_NIBBLES, Nibbles, common, nibble, packed_len};
use crate::proof::VALUE_BYTES_MAX;
use vibecoin_primitives::Hash;

pub(crate) const EXTENSION: u8 = 0x40;
pub(crate) const END_EMPTY: u8 = 0x80;
pub(crate) const END_OTHER_LEAF: u8 = 0x82;
pub(crate) const END_DIVERGING: u8 = 0x83;

/// A violation of a proof's format.
pub(crate) struct Flaw {
    /// Offset of the offending part.
    pub(crate) offset: usize,
    pub(crate) detail: &'static str,
}

/// A node on the path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// This many nibbles of the path are skipped.
    Extension(u8),
    /// The neighbours of the path's slot, from the slots upwards; zero where there is none.
    Branch([Hash; 4]),
}

impl Step {
    const fn nibbles(&self) -> u8 {
        match self {
            Self::Extension(count) => *count,
            Self::Branch(_) => 1,
        }
    }
}

/// The nodes from the root to a slot. Their nibbles are those of a key that is known to the verifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    steps: Vec<Step>,
    depth: u8,
}

impl Path {
    /// Nibbles that the steps cover, up to 64: the length of the slot's path.
    pub(crate) const fn depth(&self) -> u8 {
        self.depth
    }

    /// Goes on through an extension of `skipped` nibbles (none for 0) and the branch behind it.
    pub(crate) fn push(&mut self, skipped: u8, siblings: [Hash; 4]) {
        if skipped > 0 {
            self.step(Step::Extension(skipped));
        }
        self.step(Step::Branch(siblings));
    }

    fn step(&mut self, step: Step) {
        self.depth = self.depth.saturating_add(step.nibbles());
        self.steps.push(step);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for step in &self.steps {
            match step {
                Step::Extension(count) => out.push(EXTENSION | count),
                Step::Branch(siblings) => {
                    let bits = (0u8..).zip(siblings).filter(|(_, sibling)| !sibling.is_zero());
                    out.push(bits.fold(0, |mask, (level, _)| mask | 1 << level));
                    for sibling in siblings.iter().filter(|sibling| !sibling.is_zero()) {
                        out.extend_from_slice(&sibling.0);
                    }
                }
            }
        }
    }

    /// Reads steps up to the first tag for which `is_end` is true, and what `end` makes of that tag, the
    /// depth and the bytes behind it, which must be all bytes.
    pub(crate) fn decode<End>(
        bytes: &[u8],
        is_end: impl Fn(u8) -> bool,
        end: impl FnOnce(u8, u8, &mut Input<'_>) -> Result<End, &'static str>,
    ) -> Result<(Self, End), Flaw> {
        let mut input = Input::new(bytes);
        let mut path = Self {
            steps: Vec::with_capacity(8),
            depth: 0,
        };
        let mut after_extension = false;
        loop {
            let offset = input.offset;
            let fail = |detail| Flaw { offset, detail };
            let [tag] = input.take().ok_or(fail("the end is missing"))?;
            let longer = match tag {
                0x01..=0x0f => 1,
                0x41..=0x7f if after_extension => return Err(fail("an extension follows an extension")),
                0x41..=0x7f => tag & !EXTENSION,
                tag if is_end(tag) && after_extension => {
                    return Err(fail("an extension does not lead to a branch"));
                }
                tag if is_end(tag) => {
                    let end = end(tag, path.depth, &mut input).map_err(fail)?;
                    input.finish().map_err(fail)?;
                    return Ok((path, end));
                }
                _ => return Err(fail("unknown tag")),
            };
            after_extension = tag & EXTENSION != 0;
            // Behind an extension there is still a branch, which takes a nibble too.
            if path.depth.saturating_add(longer) > KEY_NIBBLES.saturating_sub(u8::from(after_extension)) {
                return Err(fail("the path is longer than a key"));
            }
            path.step(if after_extension {
                Step::Extension(longer)
            } else {
                Step::Branch(input.siblings(tag).map_err(fail)?)
            });
        }
    }

    /// Returns the root of the trie that has `hash` in this path's slot. The nibbles of the path are those of
    /// `key`. About four hashes per branch.
    pub(crate) fn root(&self, key: &Hash, mut hash: Hash) -> Hash {
        let mut depth = self.depth;
        for step in self.steps.iter().rev() {
            let below = depth;
            depth = depth.saturating_sub(step.nibbles());
            hash = match step {
                Step::Extension(_) => commitment::extension(&Nibbles::between(key, depth, below), &hash),
                Step::Branch(siblings) => climb(nibble(key, depth), hash, siblings),
            };
        }
        hash
    }
}

/// From a slot to the branch: exactly four pairs.
fn climb(slot: u8, hash: Hash, siblings: &[Hash; 4]) -> Hash {
    (0u8..).zip(siblings).fold(hash, |hash, (level, sibling)| {
        if slot >> level & 1 == 0 {
            commitment::pair(level, &hash, sibling)
        } else {
            commitment::pair(level, sibling, &hash)
        }
    })
}

/// The content of the slot at the end of a path, when no key that is asked for lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    Empty,
    OtherLeaf { key: Hash, value: Vec<u8> },
    Diverging { skipped: Nibbles, child: Hash },
}

/// Reason why an [`Absence`] does not exclude what it is said to exclude.
pub(crate) enum NotExcluded {
    /// The leaf of this key cannot lie in the slot.
    OffPath(Hash),
    /// Keys that begin with the target may exist in the slot.
    Possible,
}

impl Absence {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => out.push(END_EMPTY),
            Self::OtherLeaf { key, value } => {
                out.push(END_OTHER_LEAF);
                out.extend_from_slice(&key.0);
                out.extend_from_slice(value);
            }
            Self::Diverging { skipped, child } => {
                out.extend_from_slice(&[END_DIVERGING, skipped.len()]);
                out.extend_from_slice(skipped.packed());
                out.extend_from_slice(&child.0);
            }
        }
    }

    /// Reads the fields behind one of the three tags; `depth` is the length of the slot's path.
    pub(crate) fn decode(tag: u8, depth: u8, input: &mut Input<'_>) -> Result<Self, &'static str> {
        match tag {
            END_OTHER_LEAF => Ok(Self::OtherLeaf {
                key: input.key()?,
                value: input.last_value()?,
            }),
            END_DIVERGING => {
                let [count] = input.take().ok_or("an extension is cut short")?;
                Ok(Self::Diverging {
                    skipped: input.skipped(count, depth)?,
                    child: input.hash()?,
                })
            }
            _ => Ok(Self::Empty),
        }
    }

    /// Checks that with this content of the slot, whose path has `depth` nibbles, no key begins with the first
    /// `len` nibbles of `target`. The slot's path is the start of these nibbles.
    pub(crate) fn excludes(&self, target: &Hash, len: u8, depth: u8) -> Result<(), NotExcluded> {
        match self {
            Self::Empty => Ok(()),
            Self::OtherLeaf { key, .. } => match common(key, target) {
                shared if shared >= len => Err(NotExcluded::Possible),
                shared if shared < depth => Err(NotExcluded::OffPath(*key)),
                _ => Ok(()),
            },
            Self::Diverging { skipped, .. } => {
                let shared = skipped.common_with(target, depth);
                if shared == skipped.len() || shared >= len.saturating_sub(depth) {
                    Err(NotExcluded::Possible)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// The hash in the slot.
    pub(crate) fn hash(&self, kind: TrieKind) -> Hash {
        match self {
            Self::Empty => Hash::ZERO,
            Self::OtherLeaf { key, value } => commitment::leaf(kind, key, value),
            Self::Diverging { skipped, child } => commitment::extension(skipped, child),
        }
    }
}

/// Foreign bytes that are not yet read.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Number of bytes read.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = tail;
        self.offset = self.offset.saturating_add(N);
        Some(*head)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(len)?;
        self.bytes = tail;
        self.offset = self.offset.saturating_add(len);
        Some(head)
    }

    pub(crate) const fn finish(&self) -> Result<(), &'static str> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err("bytes are left over")
        }
    }

    pub(crate) fn key(&mut self) -> Result<Hash, &'static str> {
        self.take().map(Hash).ok_or("a key is cut short")
    }

    /// A hash that is not zero.
    pub(crate) fn hash(&mut self) -> Result<Hash, &'static str> {
        let hash = Hash(self.take().ok_or("a hash is cut short")?);
        if hash.is_zero() {
            Err("a hash is zero where one is needed")
        } else {
            Ok(hash)
        }
    }

    /// The nibbles of an extension at `depth`, which leads to a branch and so is shorter than the rest of a key.
    pub(crate) fn skipped(&mut self, count: u8, depth: u8) -> Result<Nibbles, &'static str> {
        if count == 0 {
            return Err("an extension is empty");
        }
        if count > 63u8.saturating_sub(depth) {
            return Err("the path is longer than a key");
        }
        let packed = self.slice(packed_len(count)).ok_or("an extension is cut short")?;
        Nibbles::unpack(count, packed).ok_or("an extension has a spare half byte that is set")
    }

    /// A value that takes all remaining bytes.
    pub(crate) fn last_value(&mut self) -> Result<Vec<u8>, &'static str> {
        self.value(self.bytes.len())
    }

    pub(crate) fn value(&mut self, len: usize) -> Result<Vec<u8>, &'static str> {
        if len > VALUE_BYTES_MAX {
            return Err("the value is too long");
        }
        let value = self.slice(len).ok_or("a value is cut short")?;
        Ok(value.to_vec())
    }

    fn siblings(&mut self, mask: u8) -> Result<[Hash; 4], &'static str> {
        let mut siblings = [Hash::ZERO; 4];
        for (level, sibling) in siblings.iter_mut().enumerate() {
            if mask >> level & 1 == 1 {
                *sibling = self.hash()?;
            }
        }
        Ok(siblings)
    }
}
