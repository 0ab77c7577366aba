//! Cutting ascending rows into prefixes of bounded size, in one pass.

use std::collections::VecDeque;

use vibecoin_primitives::Hash;
use vibecoin_trie::Nibbles;

use crate::prefix;

/// The prefix of a chunk, and its rows.
pub(crate) type Cut<T> = (Nibbles, Vec<T>);

/// Cuts the rows of one trie by the rule "a prefix whose rows fit is a chunk, else its 16 children are".
///
/// The rule says nothing about how rows are read, so equal states have equal chunks. Rows are held until the size of
/// their prefix is known: never more than one chunk and one row.
///
/// ```text
///   current ─ the prefix to decide on; everything before it is cut
///   held    ─ rows read and not cut: after each call all of them are under `current`, and fit
/// ```
#[derive(Debug)]
pub(crate) struct Cutter<T> {
    bytes_max: usize,
    /// `None` when the last prefix is cut.
    current: Option<Nibbles>,
    held: VecDeque<Held<T>>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Held<T> {
    key: Hash,
    bytes: usize,
    row: T,
}

impl<T> Cutter<T> {
    /// `bytes_max` must not be smaller than any row.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            current: Some(Nibbles::EMPTY),
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Takes the next row, whose key is above all before, and passes the prefixes that are complete to `cut`.
    pub(crate) fn push<E>(
        &mut self,
        key: Hash,
        bytes: usize,
        row: T,
        cut: &mut impl FnMut(Cut<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.held.push_back(Held { key, bytes, row });
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        let fits = self.held_bytes <= self.bytes_max;
        if fits && self.current.is_some_and(|current| current.leads_to(&key)) {
            return Ok(());
        }
        self.settle(false, cut)
    }

    /// Ends the trie: passes the remaining prefixes to `cut`, up to the last key.
    pub(crate) fn finish<E>(mut self, cut: &mut impl FnMut(Cut<T>) -> Result<(), E>) -> Result<(), E> {
        self.settle(true, cut)
    }

    fn settle<E>(&mut self, at_end: bool, cut: &mut impl FnMut(Cut<T>) -> Result<(), E>) -> Result<(), E> {
        while let Some(current) = self.current {
            let count = self.held.partition_point(|held| current.leads_to(&held.key));
            let bytes = self
                .held
                .iter()
                .take(count)
                .fold(0usize, |sum, held| sum.saturating_add(held.bytes));
            if bytes > self.bytes_max && current.len() < vibecoin_trie::nibbles::KEY_NIBBLES {
                self.current = Some(prefix::child(&current, 0));
            } else if at_end || count < self.held.len() {
                self.held_bytes = self.held_bytes.saturating_sub(bytes);
                self.current = prefix::next(&current);
                cut((current, self.held.drain(..count).map(|held| held.row).collect()))?;
            } else {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;
    use vibecoin_primitives::Domain;

    /// The rule as it is written, over all rows at once.
    fn model(rows: &BTreeMap<Hash, usize>, prefix: &Nibbles, bytes_max: usize, out: &mut Vec<Cut<Hash>>) {
        let under: Vec<_> = rows.iter().filter(|(key, _)| prefix.leads_to(key)).collect();
        if under.iter().map(|(_, bytes)| **bytes).sum::<usize>() <= bytes_max {
            out.push((*prefix, under.iter().map(|(key, _)| **key).collect()));
            return;
        }
        for nibble in 0..16 {
            model(rows, &prefix::child(prefix, nibble), bytes_max, out);
        }
    }

    fn cuts(rows: &BTreeMap<Hash, usize>, bytes_max: usize) -> (Vec<Cut<Hash>>, usize) {
        let mut cuts = Vec::new();
        let mut most = 0;
        let mut cut = |it| {
            cuts.push(it);
            Ok::<(), Infallible>(())
        };
        let mut cutter = Cutter::new(bytes_max);
        for (key, bytes) in rows {
            cutter.push(*key, *bytes, *key, &mut cut).unwrap();
            most = most.max(cutter.held_bytes);
        }
        cutter.finish(&mut cut).unwrap();
        (cuts, most)
    }

    fn check(rows: &BTreeMap<Hash, usize>, bytes_max: usize) {
        let (found, most) = cuts(rows, bytes_max);
        let mut expected = Vec::new();
        model(rows, &Nibbles::EMPTY, bytes_max, &mut expected);
        assert_eq!(found, expected);
        assert!(most <= bytes_max, "{most} bytes are held between two rows");
    }

    #[test]
    fn nothing_is_one_empty_chunk() {
        check(&BTreeMap::new(), 10);
        let (found, _) = cuts(&BTreeMap::new(), 10);
        assert_eq!(found, [(Nibbles::EMPTY, vec![])]);
    }

    #[test]
    fn keys_that_differ_only_at_their_end_are_cut_there() {
        let twins: BTreeMap<Hash, usize> = [0x10, 0x11, 0xf0]
            .map(|last| {
                let mut key = Hash([0x77; 32]);
                key.0[31] = last;
                (key, 6)
            })
            .into();
        check(&twins, 6);
        check(&twins, 12);
        let highest: BTreeMap<Hash, usize> = [(Hash([0xff; 32]), 6), (Hash::ZERO, 6)].into();
        check(&highest, 6);
    }

    proptest! {
        #[test]
        fn one_pass_cuts_as_the_rule_does(
            seeds in prop::collection::vec((any::<u16>(), 1..40usize, any::<bool>()), 0..120),
            bytes_max in 40..200usize,
        ) {
            let rows: BTreeMap<Hash, usize> = seeds
                .iter()
                .map(|(seed, bytes, is_near)| {
                    let mut key = Domain::TrieAccountKey.hash(&seed.to_le_bytes());
                    if *is_near {
                        key.0[..2].fill(0x3f);
                    }
                    (key, *bytes)
                })
                .collect();
            check(&rows, bytes_max);
        }
    }
}
