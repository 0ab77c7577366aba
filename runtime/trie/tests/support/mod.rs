//! A world to test tries in: a state in memory, its trie, and random changes from a seed.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;
use vibecoin_primitives::{Domain, Hash};
use vibecoin_trie::model::{MemoryState, naive_root};
use vibecoin_trie::{Change, Job, NodeWrites, Parallel, Sequential, Trie, TrieError, TrieKind};

/// SplitMix64: small, seeded, the same everywhere.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }

    pub fn uniform_key(&mut self) -> Hash {
        Domain::TrieAccountKey.hash(&self.next().to_le_bytes())
    }

    /// A key that shares a random number of nibbles with one of a few stems, so that paths are common for
    /// long and fork at every depth. Real keys are hashes and never have this form.
    pub fn clustered_key(&mut self) -> Hash {
        let stem = Hash([[0x00, 0x11, 0x12, 0xff][self.below(4)]; 32]);
        let mut nibbles: Vec<u8> = stem.0.iter().flat_map(|b| [b >> 4, b & 15]).collect();
        let fork = match self.below(4) {
            0 => self.below(64),
            1 => 60 + self.below(4),
            _ => self.below(8),
        };
        nibbles[fork] = self.below(16) as u8;
        if self.chance(50) {
            nibbles[(fork + 1 + self.below(6)).min(63)] = self.below(3) as u8;
        }
        let bytes: Vec<u8> = nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Hash(bytes.try_into().unwrap())
    }

    /// A key that exists, or one near it, or any.
    pub fn near_key(&mut self, keys: &[Hash]) -> Hash {
        if keys.is_empty() || self.chance(10) {
            return self.uniform_key();
        }
        let mut key = *self.pick(keys);
        if self.chance(50) {
            key.0[self.below(32)] ^= 1 << self.below(8);
        }
        key
    }

    pub fn value(&mut self) -> Vec<u8> {
        let len = if self.chance(5) { 300 } else { self.below(60) };
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Target of a batch: a value or `None` for each key.
pub type Wishes = BTreeMap<Hash, Option<Vec<u8>>>;

/// One change with its bytes: key, old value, new value.
pub type Row = (Hash, Option<Vec<u8>>, Option<Vec<u8>>);

/// A state and its trie, updated together.
pub struct World {
    pub kind: TrieKind,
    pub state: MemoryState,
    pub trie: Trie,
}

impl World {
    pub fn new(kind: TrieKind) -> Self {
        let trie = match kind {
            TrieKind::Account => Trie::accounts(Hash::ZERO),
            TrieKind::Storage => Trie::storage(Hash([9; 32]), Hash::ZERO),
        };
        Self {
            kind,
            state: MemoryState::default(),
            trie,
        }
    }

    pub fn with(entries: &[(Hash, Vec<u8>)]) -> Self {
        let mut world = Self::new(TrieKind::Account);
        world.apply(
            &entries
                .iter()
                .map(|(key, value)| (*key, Some(value.clone())))
                .collect(),
        );
        world
    }

    pub fn entries(&self) -> BTreeMap<Hash, Vec<u8>> {
        self.state.entries(&self.trie.owner())
    }

    pub fn reopen(&self) -> Trie {
        match self.kind {
            TrieKind::Account => Trie::accounts(self.trie.root()),
            TrieKind::Storage => Trie::storage(self.trie.owner(), self.trie.root()),
        }
    }

    pub fn try_update(
        &self,
        wishes: &Wishes,
        hands: &dyn Parallel,
    ) -> Result<(Trie, NodeWrites, Vec<Row>), TrieError> {
        let entries = self.entries();
        let rows: Vec<_> = wishes
            .iter()
            .map(|(key, new)| (*key, entries.get(key).cloned(), new.clone()))
            .collect();
        let (trie, writes) = self.trie.update(&changes(&rows), &self.state, hands)?;
        Ok((trie, writes, rows))
    }

    /// Applies a batch to trie and state, and returns its rows (key, old, new).
    pub fn apply_with(&mut self, wishes: &Wishes, hands: &dyn Parallel) -> Vec<Row> {
        let (trie, writes, rows) = self
            .try_update(wishes, hands)
            .expect("a batch that agrees with the state");
        self.state.apply(&writes, &changes(&rows));
        self.trie = trie;
        rows
    }

    pub fn apply(&mut self, wishes: &Wishes) -> Vec<Row> {
        self.apply_with(wishes, &Sequential)
    }

    pub fn naive_root(&self) -> Hash {
        naive_root(self.kind, &self.entries())
    }
}

pub fn changes(rows: &[Row]) -> Vec<Change<'_>> {
    rows.iter()
        .map(|(key, old, new)| Change {
            key: *key,
            old: old.as_deref(),
            new: new.as_deref(),
        })
        .collect()
}

/// An executor that runs the last job first.
pub struct Backwards;

impl Parallel for Backwards {
    fn run(&self, jobs: &mut [Job<'_>]) {
        jobs.iter_mut().rev().for_each(|job| job());
    }
}

/// An executor that runs some jobs twice and the others not at all.
pub struct Careless;

impl Parallel for Careless {
    fn run(&self, jobs: &mut [Job<'_>]) {
        for job in jobs.iter_mut().step_by(3) {
            job();
            job();
        }
    }
}

/// Factor on the usual number of random cases: `VIBECOIN_TEST_SCALE`, or 1.
pub fn scale() -> u64 {
    std::env::var("VIBECOIN_TEST_SCALE").map_or(1, |text| text.parse().expect("a number"))
}

/// An executor that runs every job on a separate thread.
pub struct Threads;

impl Parallel for Threads {
    fn run(&self, jobs: &mut [Job<'_>]) {
        std::thread::scope(|scope| {
            for job in jobs {
                scope.spawn(job);
            }
        });
    }
}

/// A trie of up to 200 entries, of either kind, with hashed or clustered keys.
pub fn random_world(rng: &mut Rng) -> World {
    let clustered = rng.chance(70);
    let count = *rng.pick(&[0, 1, 2, 5, 40, 200]);
    let mut world = World::new(*rng.pick(&[TrieKind::Account, TrieKind::Storage]));
    let entries = (0..count)
        .map(|_| {
            (
                if clustered {
                    rng.clustered_key()
                } else {
                    rng.uniform_key()
                },
                Some(rng.value()),
            )
        })
        .collect();
    world.apply(&entries);
    world
}

/// Changes bytes in one of many ways; the result may happen to be the original.
pub fn mutate(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let at = rng.below(out.len());
    match rng.below(12) {
        0 | 1 => out[at] ^= 1 << rng.below(8),
        2 => out[at] = rng.next() as u8,
        3 => out.truncate(at),
        4 => out.push(rng.next() as u8),
        5 => out.insert(at, rng.next() as u8),
        6 => drop(out.remove(at)),
        7 => {
            let to = rng.below(out.len());
            out.swap(at, to);
        }
        8 if out.len() > 66 => {
            // Two neighbouring hashes are swapped.
            let from = 1 + rng.below(out.len() - 65);
            let (left, right) = out[from..from + 64].split_at_mut(32);
            left.swap_with_slice(right);
        }
        9 => {
            // A stretch, such as a whole step, is dropped or repeated.
            let to = at + rng.below((out.len() - at).min(130)) + 1;
            let stretch = out[at..to].to_vec();
            if rng.chance(50) {
                drop(out.drain(at..to))
            } else {
                drop(out.splice(at..at, stretch))
            }
        }
        10 => {
            // The end of another proof, or its beginning.
            let to = rng.below(other.len() + 1);
            out.truncate(at);
            out.extend_from_slice(&other[to..]);
        }
        _ => {
            let fakes: [&[u8]; 14] = [
                &[],
                &[0x80],
                &[0x81],
                &[0x41, 0x80],
                &[0x01],
                &[0x0f; 129],
                &[0x83, 1, 0x10],
                &[0x41; 64],
                &[0x84],
                &[0x85],
                &[0x87, 1, 0x10],
                &[0x88, 1, 0, 0],
                &[0x88, 3, 0, 0, 0x80],
                &[0x88, 0xff, 0xff, 0],
            ];
            let fake = *rng.pick(&fakes);
            if rng.chance(50) {
                out = fake.to_vec()
            } else {
                drop(out.splice(at..at, fake.iter().copied()))
            }
        }
    }
    out
}

pub fn other_kind(kind: TrieKind) -> TrieKind {
    match kind {
        TrieKind::Account => TrieKind::Storage,
        TrieKind::Storage => TrieKind::Account,
    }
}
