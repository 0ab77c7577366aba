//! Entries newer than the materialised state: a map of sorted runs that is cheap to clone.

use std::sync::Arc;
use vibecoin_primitives::{Hash, StateKey};
use vibecoin_trie::Nibbles;

/// A persistent map: pushing a block's entries returns a new map that shares the others.
///
/// Entries are kept in sorted runs, oldest first; of several entries for one key the newest run's is used. A
/// run is merged with the one before it once it has half its size, so the number of runs is limited to about
/// `log2` of the entry count, and an entry is moved about as many times in its life.
#[derive(Debug)]
pub(crate) struct Overlay<K, V> {
    runs: Vec<Arc<Run<K, V>>>,
}

#[derive(Debug)]
struct Run<K, V> {
    /// The last height that the run has entries of.
    last: u64,
    entries: Vec<(K, V)>,
    filter: Filter,
}

/// A key with a cheap position in a [`Filter`].
pub(crate) trait Spread {
    /// Bits that differ between keys. They need not be secret: a collision costs one search.
    fn spread(&self) -> u64;
}

/// Excludes the majority of keys that are not in a run: one bit for each key, out of sixteen. A look-up goes
/// through about ten runs and finds its key in one; without this each is a binary search (7.8 % of a loaded
/// node's CPU, measured).
#[derive(Debug)]
struct Filter {
    bits: Vec<u64>,
    mask: u64,
}

impl Filter {
    fn new<'a, K: Spread + 'a>(keys: impl ExactSizeIterator<Item = &'a K>) -> Self {
        let words = keys.len().div_ceil(4).next_power_of_two();
        let mask = (words as u64).saturating_mul(64).saturating_sub(1);
        let mut filter = Self {
            bits: vec![0; words],
            mask,
        };
        for key in keys {
            let (word, bit) = filter.place(key.spread());
            if let Some(word) = filter.bits.get_mut(word) {
                *word |= bit;
            }
        }
        filter
    }

    fn place(&self, spread: u64) -> (usize, u64) {
        let at = spread & self.mask;
        (usize::try_from(at >> 6).unwrap_or(0), 1 << (at & 63))
    }

    fn may_have(&self, spread: u64) -> bool {
        let (word, bit) = self.place(spread);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }
}

fn first_bytes(bytes: &[u8; 32]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

impl Spread for StateKey {
    fn spread(&self) -> u64 {
        match self {
            Self::Account(account) => first_bytes(&account.0),
            Self::Slot(account, slot) => first_bytes(&slot.0) ^ first_bytes(&account.0).rotate_left(32),
        }
    }
}

impl Spread for Hash {
    fn spread(&self) -> u64 {
        first_bytes(&self.0)
    }
}

impl Spread for (Hash, Nibbles) {
    fn spread(&self) -> u64 {
        let mut key = Vec::with_capacity(34);
        self.1.write_key(&mut key);
        // FNV-1a: a path is short and not uniformly distributed.
        let path = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        first_bytes(&self.0.0) ^ path ^ (path >> 29)
    }
}

impl Spread for u64 {
    fn spread(&self) -> u64 {
        *self
    }
}

impl<K, V> Clone for Overlay<K, V> {
    fn clone(&self) -> Self {
        Self {
            runs: self.runs.clone(),
        }
    }
}

impl<K, V> Default for Overlay<K, V> {
    fn default() -> Self {
        Self { runs: Vec::new() }
    }
}

#[cfg(test)]
thread_local! {
    /// Look-ups and steps of scans on this thread, for tests of the cost of reads.
    pub(crate) static VISITS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl<K: Ord + Clone + Spread, V: Clone> Overlay<K, V> {
    /// The newest entry of a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        #[cfg(test)]
        VISITS.set(VISITS.get().wrapping_add(1));
        if self.runs.is_empty() {
            return None;
        }
        let spread = key.spread();
        self.runs
            .iter()
            .rev()
            .filter(|run| run.filter.may_have(spread))
            .find_map(|run| run.get(key))
    }

    /// The map with the entries of `height` added; they are strictly ascending by key.
    ///
    /// Runs up to height `boundary` are not merged with later ones: they are being materialised.
    pub(crate) fn push(&self, height: u64, entries: Vec<(K, V)>, boundary: u64) -> Self {
        debug_assert!(
            entries.is_sorted_by(|a, b| a.0 < b.0),
            "entries are sorted and distinct"
        );
        if entries.is_empty() {
            return self.clone();
        }
        let mut runs = self.runs.clone();
        let mut top = entries;
        while let Some(below) = runs.last() {
            let outgrown = below.entries.len() <= top.len().saturating_mul(2);
            if !outgrown || (below.last <= boundary && boundary < height) {
                break;
            }
            top = merge(&below.entries, top);
            runs.pop();
        }
        let filter = Filter::new(top.iter().map(|(key, _)| key));
        runs.push(Arc::new(Run {
            last: height,
            entries: top,
            filter,
        }));
        Self { runs }
    }

    /// The map without the runs whose entries are all up to `height`.
    pub(crate) fn without_through(&self, height: u64) -> Self {
        Self {
            runs: self
                .runs
                .iter()
                .filter(|run| run.last > height)
                .cloned()
                .collect(),
        }
    }

    /// The first key at or above `from` (above it, with `after`) and its newest entry.
    pub(crate) fn next(&self, from: &K, after: bool) -> Option<(&K, &V)> {
        #[cfg(test)]
        VISITS.set(VISITS.get().wrapping_add(1));
        let first = |run: &'_ Run<K, V>| {
            run.entries
                .partition_point(|(key, _)| if after { key <= from } else { key < from })
        };
        let mut best: Option<(&K, &V)> = None;
        for run in self.runs.iter().rev() {
            let Some((key, value)) = run.entries.get(first(run)) else {
                continue;
            };
            if best.is_none_or(|(lowest, _)| key < lowest) {
                best = Some((key, value));
            }
        }
        best
    }

    /// All keys with their newest entries, in key order.
    pub(crate) fn merged(&self) -> Vec<(K, V)> {
        let mut runs = self.runs.iter().rev();
        let Some(top) = runs.next() else { return Vec::new() };
        runs.fold(top.entries.clone(), |newer, run| merge(&run.entries, newer))
    }
}

impl<K: Ord, V> Run<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        let at = self.entries.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }
}

/// Two sorted lists as one; where both have a key, the newer entry.
fn merge<K: Ord + Clone, V: Clone>(older: &[(K, V)], newer: Vec<(K, V)>) -> Vec<(K, V)> {
    let mut merged = Vec::with_capacity(older.len().saturating_add(newer.len()));
    let mut older = older.iter().peekable();
    for entry in newer {
        while let Some(below) = older.next_if(|(key, _)| *key < entry.0) {
            merged.push(below.clone());
        }
        older.next_if(|(key, _)| *key == entry.0);
        merged.push(entry);
    }
    merged.extend(older.cloned());
    merged
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Pushes blocks of pseudo-random entries and compares every query with a plain map.
    fn check(boundary: u64, blocks: u64, size: u64) {
        let (mut overlay, mut model) = (Overlay::default(), BTreeMap::new());
        for height in 1..=blocks {
            let block: BTreeMap<u64, u64> = (0..size)
                .map(|i| (crate::rng::mix(height * 1000 + i) % 512, height))
                .collect();
            model.extend(block.clone());
            overlay = overlay.push(height, block.into_iter().collect(), boundary);
        }
        assert_eq!(overlay.merged(), model.clone().into_iter().collect::<Vec<_>>());
        for key in 0..513 {
            assert_eq!(overlay.get(&key), model.get(&key));
            assert_eq!(overlay.next(&key, false), model.range(key..).next());
            assert_eq!(overlay.next(&key, true), model.range(key + 1..).next());
        }
        assert!(overlay.runs.len() <= 24, "{} runs", overlay.runs.len());
    }

    #[test]
    fn an_overlay_answers_as_a_plain_map_does() {
        check(0, 0, 0);
        check(0, 1, 1);
        check(0, 100, 3);
        check(0, 40, 60);
        check(17, 60, 20);
    }

    #[test]
    fn runs_up_to_the_boundary_can_be_dropped_whole() {
        let mut overlay = Overlay::default();
        for height in 1..=20u64 {
            overlay = overlay.push(height, vec![(height, ())], 10);
        }
        let left: Vec<_> = overlay
            .without_through(10)
            .merged()
            .into_iter()
            .map(|(key, ())| key)
            .collect();
        assert_eq!(left, (11..=20).collect::<Vec<_>>());
        assert!(overlay.without_through(20).merged().is_empty());
    }
}
