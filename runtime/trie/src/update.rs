//! The batch update: one pass from the top over sorted changes.

use crate::commitment;
use crate::nibbles::{common, nibble};
use crate::node::{Kids, Leaf, Node, Sub};
use crate::proof::VALUE_BYTES_MAX;
use crate::reader::{Job, Parallel};
use crate::source::Source;
use crate::{Nibbles, NodeReader, NodeRecord, Trie, TrieError};
use std::sync::Arc;
use vibecoin_primitives::Hash;

/// Change of one key by a block.
///
/// Swap `old` and `new` to undo it. A change whose two sides are equal has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The hashed key.
    pub key: Hash,
    /// The value before, `None` when the key is absent. Checked against the trie.
    pub old: Option<&'a [u8]>,
    /// The value after, `None` to remove the key; up to [`VALUE_BYTES_MAX`] bytes.
    pub new: Option<&'a [u8]>,
}

/// The new node at a path.
#[derive(Clone, Debug)]
pub struct NodeWrite {
    /// The path, in the trie of [`NodeWrites::owner`].
    pub path: Nibbles,
    /// The node to store there, or `None` to delete the stored one, if any.
    pub node: Option<NodeRecord>,
}

/// The changes of an update to the stored nodes of one trie.
#[derive(Clone, Debug)]
pub struct NodeWrites {
    /// The trie's owner: [`Hash::ZERO`] for the account trie, else the hashed account key.
    pub owner: Hash,
    /// In ascending order of paths, each path once.
    pub writes: Vec<NodeWrite>,
}

/// Minimum number of changes for which the subtries are updated in parallel.
const PARALLEL_CHANGES_MIN: usize = 128;

impl Trie {
    /// Returns the trie after `changes`, and the records that differ. `self` is unchanged.
    ///
    /// `changes` are strictly ascending by key. `reader` has the state of `self`, without the changes.
    /// `hands` may update the 16 subtries below the root at the same time; the result does not depend on it.
    /// The new trie keeps every node in memory that `self` had there or that was touched.
    ///
    /// Costs about one walk to each key, with the common parts shared. Flat state is read only where a new
    /// key meets a leaf and where a removal leaves a leaf alone (one [`NodeReader::leaf`], by the leaf's own
    /// key), and for the entry of a trie that has one and is not in memory.
    ///
    /// # Errors
    /// [`TrieError::NotAscending`] and [`TrieError::ValueTooLarge`] for a malformed batch,
    /// [`TrieError::Drift`] when an old value is not the one in the trie, [`TrieError::Corrupt`] and
    /// [`TrieError::Read`] when a node cannot be loaded.
    pub fn update(
        &self,
        changes: &[Change<'_>],
        reader: &dyn NodeReader,
        hands: &dyn Parallel,
    ) -> Result<(Self, NodeWrites), TrieError> {
        check_batch(changes)?;
        let effective: Vec<Change<'_>>;
        let changes = if changes.iter().any(|change| change.old == change.new) {
            effective = changes
                .iter()
                .filter(|change| change.old != change.new)
                .copied()
                .collect();
            effective.as_slice()
        } else {
            changes
        };
        let mut writes = Vec::with_capacity(changes.len().saturating_mul(2));
        let root = if changes.is_empty() {
            self.root.clone()
        } else {
            let mut batch = Batch {
                source: self.source(reader),
                writes: &mut writes,
            };
            let before = batch.source.resolve_root(&self.root)?;
            let root = batch.subtrie(0, before.clone(), changes, Some(hands))?;
            batch.write_root(&before, &root);
            root
        };
        Ok((
            Self { root, ..self.clone() },
            NodeWrites {
                owner: self.owner,
                writes: settle(writes),
            },
        ))
    }
}

fn check_batch(changes: &[Change<'_>]) -> Result<(), TrieError> {
    let mut below: Option<&Hash> = None;
    for (index, change) in changes.iter().enumerate() {
        if below.is_some_and(|below| *below >= change.key) {
            return Err(TrieError::NotAscending { index });
        }
        below = Some(&change.key);
        if let Some(got) = change.new.map(<[u8]>::len).filter(|&got| got > VALUE_BYTES_MAX) {
            return Err(TrieError::ValueTooLarge { key: change.key, got });
        }
    }
    Ok(())
}

/// Sorts by path; of several writes to one path (a node made and then merged) the last counts.
fn settle(mut writes: Vec<NodeWrite>) -> Vec<NodeWrite> {
    writes.reverse();
    writes.sort_by_key(|write| write.path);
    writes.dedup_by_key(|write| write.path);
    writes
}

/// The changes of each slot of a branch at `depth`, and a bit for each slot that has some.
fn by_slot<'c, 'v>(changes: &'c [Change<'v>], depth: u8) -> ([&'c [Change<'v>]; 16], u16) {
    let mut groups: [&[Change<'v>]; 16] = [&[]; 16];
    let (mut rest, mut touched) = (changes, 0u16);
    for (slot, group) in (0u8..).zip(&mut groups) {
        let count = rest
            .iter()
            .take_while(|change| nibble(&change.key, depth) == slot)
            .count();
        (*group, rest) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        touched |= if group.is_empty() { 0 } else { 1u16 << slot };
    }
    (groups, touched)
}

/// A subtrie after its changes, and the records that differ.
type Updated = (Sub, Vec<NodeWrite>);

struct Batch<'a> {
    source: Source<'a>,
    writes: &'a mut Vec<NodeWrite>,
}

impl Batch<'_> {
    /// Applies `changes` (all keys share their first `depth` nibbles) to the subtrie there.
    fn subtrie(
        &mut self,
        depth: u8,
        sub: Sub,
        changes: &[Change<'_>],
        hands: Option<&dyn Parallel>,
    ) -> Result<Sub, TrieError> {
        let Some(first) = changes.first() else {
            return Ok(sub);
        };
        match sub {
            Sub::Empty => {
                if let Some(stray) = changes.iter().find(|change| change.old.is_some()) {
                    return Err(self.drift(&stray.key, "it is said to have a value, the trie has none"));
                }
                Ok(self.build(depth, &self.entries(changes)))
            }
            Sub::Leaf(leaf) => self.leaf(depth, leaf, changes),
            Sub::Node(_, node) => self.node(depth, &node, changes, hands),
            Sub::Stub(hash) | Sub::Unknown(hash) => {
                let node = self.source.load(&Nibbles::of_key(&first.key, depth), &hash)?;
                self.node(depth, &node, changes, hands)
            }
        }
    }

    /// A slot with one leaf: the change with its old value replaces it, otherwise it stays.
    fn leaf(&mut self, depth: u8, leaf: Leaf, changes: &[Change<'_>]) -> Result<Sub, TrieError> {
        let kind = self.source.kind;
        let mut named = false;
        for change in changes {
            let Some(old) = change.old else { continue };
            if commitment::leaf(kind, &change.key, old) != leaf.hash {
                return Err(self.drift(&change.key, "the value it is said to have is not in the trie"));
            }
            named = true;
        }
        // The usual case, without a list: one value replaced.
        if let (
            [
                Change {
                    key, new: Some(new), ..
                },
            ],
            true,
        ) = (changes, named)
        {
            let hash = commitment::leaf(kind, key, new);
            return Ok(Sub::Leaf(Leaf { key: *key, hash }));
        }
        let mut entries = self.entries(changes);
        if !named && let Some(first) = changes.first() {
            self.source.leaf(&Nibbles::of_key(&first.key, depth), &leaf)?;
            let at = entries.partition_point(|entry| entry.key < leaf.key);
            if entries.get(at).is_some_and(|entry| entry.key == leaf.key) {
                return Err(self.drift(&leaf.key, "it is said to be absent, the trie has a value"));
            }
            entries.insert(at, leaf);
        }
        Ok(self.build(depth, &entries))
    }

    fn node(
        &mut self,
        depth: u8,
        node: &Node,
        changes: &[Change<'_>],
        hands: Option<&dyn Parallel>,
    ) -> Result<Sub, TrieError> {
        let skipped = node.skipped();
        if skipped.is_empty() {
            return self.branch(depth, &skipped, node, changes, hands);
        }
        // The keys are sorted, so the first or the last one leaves the extension the earliest.
        let ends = changes.first().into_iter().chain(changes.last());
        let shared = ends
            .map(|change| skipped.common_with(&change.key, depth))
            .min()
            .unwrap_or(0);
        let Some(turn) = skipped.get(shared) else {
            return self.branch(depth, &skipped, node, changes, hands);
        };
        // A new branch inside the extension: the old one moves below it, behind the remaining nibbles.
        let Some(first) = changes.first() else {
            return Ok(Sub::Empty);
        };
        let below = Arc::new(node.with_skipped(skipped.skip(shared.saturating_add(1))));
        let mut path = Nibbles::of_key(&first.key, depth);
        path.extend(&skipped.take(shared.saturating_add(1)));
        self.write(path, Some(&below));
        let mut kids = Kids::with_capacity(1);
        kids.push(turn, Sub::Node(below.hash(), below));
        let upper = Node::new(skipped.take(shared), kids);
        self.branch(depth, &skipped.take(shared), &upper, changes, hands)
    }

    /// Applies `changes`, which all follow the extension, to the branch of `node`.
    fn branch(
        &mut self,
        depth: u8,
        skipped: &Nibbles,
        node: &Node,
        changes: &[Change<'_>],
        hands: Option<&dyn Parallel>,
    ) -> Result<Sub, TrieError> {
        let Some(first) = changes.first() else {
            return Ok(Sub::Empty);
        };
        let path = Nibbles::of_key(&first.key, depth);
        let at = depth.saturating_add(skipped.len());
        if at > 63 {
            return Err(self
                .source
                .corrupt(path, "a branch lies deeper than keys are long"));
        }
        let (groups, touched) = by_slot(changes, at);
        let below = at.saturating_add(1);
        let mut kids = Kids::with_capacity((touched | node.children()).count_ones() as usize);
        match hands.filter(|_| changes.len() >= PARALLEL_CHANGES_MIN) {
            None => {
                for (slot, group) in (0u8..).zip(groups) {
                    kids.push(slot, self.subtrie(below, node.slot(slot), group, None)?);
                }
            }
            Some(hands) => {
                let subs = self.spread(below, node, &groups, hands)?;
                for (slot, sub) in (0u8..).zip(subs) {
                    kids.push(slot, sub);
                }
            }
        }
        self.close(path, *skipped, kids, node, touched)
    }

    /// The subtries below one branch, updated in parallel.
    fn spread(
        &mut self,
        depth: u8,
        node: &Node,
        groups: &[&[Change<'_>]; 16],
        hands: &dyn Parallel,
    ) -> Result<Vec<Sub>, TrieError> {
        let source = self.source;
        let mut results: Vec<Option<Result<Updated, TrieError>>> = Vec::new();
        results.resize_with(groups.len(), || None);
        let mut jobs: Vec<Job<'_>> = Vec::with_capacity(groups.len());
        for (slot, (result, &group)) in (0u8..).zip(results.iter_mut().zip(groups)) {
            if group.is_empty() {
                continue;
            }
            jobs.push(Box::new(move || {
                let mut writes = Vec::with_capacity(group.len().saturating_mul(2));
                let sub = Batch {
                    source,
                    writes: &mut writes,
                }
                .subtrie(depth, node.slot(slot), group, None);
                *result = Some(sub.map(|sub| (sub, writes)));
            }));
        }
        hands.run(&mut jobs);
        drop(jobs);
        let mut subs = Vec::with_capacity(groups.len());
        for (slot, (result, group)) in (0u8..).zip(results.into_iter().zip(groups)) {
            subs.push(match result {
                Some(done) => {
                    let (sub, writes) = done?;
                    self.writes.extend(writes);
                    sub
                }
                // No changes there; or a job that the executor did not run, which must not change the root.
                None => self.subtrie(depth, node.slot(slot), group, None)?,
            });
        }
        Ok(subs)
    }

    /// Makes the canonical subtrie of a branch that may have lost children. `before` is the branch before the
    /// update, `touched` are the slots with changes in the batch.
    fn close(
        &mut self,
        path: Nibbles,
        skipped: Nibbles,
        kids: Kids,
        before: &Node,
        touched: u16,
    ) -> Result<Sub, TrieError> {
        if kids.len() == 0 {
            self.write(path, None);
            return Ok(Sub::Empty);
        }
        let Some((nibble, only)) = kids.only() else {
            return Ok(self.finish(path, Node::after(before, touched, skipped, kids)));
        };
        // One child left: a leaf moves up unchanged, a node absorbs the nibbles.
        let mut way = skipped;
        way.push(nibble);
        let mut below = path;
        below.extend(&way);
        let node = match only {
            Sub::Node(_, node) => node,
            Sub::Stub(hash) | Sub::Unknown(hash) => self.source.load(&below, &hash)?,
            Sub::Leaf(leaf) => {
                // Only the record shows that the child is a leaf, not its hash. Elsewhere a wrong bit is
                // detected when it is followed; here it would change the root, so the leaf is read and checked.
                if touched >> nibble & 1 == 0 {
                    self.source.leaf(&below, &leaf)?;
                }
                self.write(path, None);
                return Ok(Sub::Leaf(leaf));
            }
            Sub::Empty => {
                self.write(path, None);
                return Ok(Sub::Empty);
            }
        };
        self.write(below, None);
        way.extend(&node.skipped());
        Ok(self.finish(path, node.with_skipped(way)))
    }

    /// Builds a subtrie at `depth` from sorted, distinct entries.
    fn build(&mut self, depth: u8, entries: &[Leaf]) -> Sub {
        let (first, last) = match entries {
            [] => return Sub::Empty,
            [one] => return Sub::Leaf(*one),
            [first, .., last] => (first, last),
        };
        let at = common(&first.key, &last.key);
        let mut kids = Kids::with_capacity(entries.len().min(16));
        for group in entries.chunk_by(|a, b| nibble(&a.key, at) == nibble(&b.key, at)) {
            let sub = self.build(at.saturating_add(1), group);
            if let Some(entry) = group.first() {
                kids.push(nibble(&entry.key, at), sub);
            }
        }
        self.finish(
            Nibbles::of_key(&first.key, depth),
            Node::new(Nibbles::between(&first.key, depth, at), kids),
        )
    }

    fn finish(&mut self, path: Nibbles, node: Node) -> Sub {
        let (hash, node) = (node.hash(), Arc::new(node));
        self.write(path, Some(&node));
        Sub::Node(hash, node)
    }

    /// The record of a trie of one entry, which has no branch that could name the leaf's key.
    fn write_root(&mut self, before: &Sub, after: &Sub) {
        let key = |root: &Sub| match root {
            Sub::Leaf(leaf) => Some(leaf.key),
            _ => None,
        };
        // The record of a branch at the root is written and deleted where the branch is made and closed.
        let node = match (key(before), key(after)) {
            (before, Some(key)) if before != Some(key) => Some(NodeRecord::lone(key)),
            (Some(_), None) if matches!(after, Sub::Empty) => None,
            _ => return,
        };
        let path = Nibbles::EMPTY;
        self.writes.push(NodeWrite { path, node });
    }

    fn write(&mut self, path: Nibbles, node: Option<&Arc<Node>>) {
        self.writes.push(NodeWrite {
            path,
            node: node.map(|node| NodeRecord::new(Arc::clone(node))),
        });
    }

    fn entries(&self, changes: &[Change<'_>]) -> Vec<Leaf> {
        let leaf = |change: &Change<'_>| {
            let hash = commitment::leaf(self.source.kind, &change.key, change.new?);
            Some(Leaf {
                key: change.key,
                hash,
            })
        };
        changes.iter().filter_map(leaf).collect()
    }

    const fn drift(&self, key: &Hash, detail: &'static str) -> TrieError {
        TrieError::Drift {
            owner: self.source.owner,
            key: *key,
            detail,
        }
    }
}
