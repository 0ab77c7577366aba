//! Cost of the trie at a million keys, and the two branch layouts side by side (ADR 3).
//!
//! `cargo bench -p vibecoin-trie` or, with other sizes, `cargo bench -p vibecoin-trie -- 200000`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::Instant;
use vibecoin_primitives::{Domain, Hash};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{
    Change, Claim, Job, MultiProof, Nibbles, NotAscending, Parallel, PrefixProof, Proof, Sequential, Trie,
    TrieKind, commitment, root_of_sorted, verify, verify_many, verify_prefix,
};

const VALUE_BYTES: usize = 50;
/// Batches per figure: enough that the coarse CPU clock (often 4 ms) does not show.
const ROUNDS: u64 = 20;
/// Passes over a list of branches, for the same reason.
const REPEATS: usize = 20;
type Row = (Hash, Option<Vec<u8>>, Option<Vec<u8>>);
/// A prefix proof as it is sent, and the entries below the prefix.
type Part<'e> = (Vec<u8>, Vec<(Hash, &'e [u8])>);

struct AllCores;

impl Parallel for AllCores {
    fn run(&self, jobs: &mut [Job<'_>]) {
        jobs.par_iter_mut().for_each(|job| job());
    }
}

fn key(n: u64) -> Hash {
    Domain::TrieAccountKey.hash(&n.to_le_bytes())
}

fn value(n: u64, round: u64) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    value[..8].copy_from_slice(&n.to_le_bytes());
    value[8..16].copy_from_slice(&round.to_le_bytes());
    value
}

/// CPU time of this thread in microseconds if the system reports it, otherwise wall time.
fn clock() -> impl Fn() -> f64 {
    let read = || -> Option<f64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(text.split(' ').next()?.parse::<f64>().ok()? / 1000.0)
    };
    let (cpu, wall) = (read(), Instant::now());
    move || match (cpu, read()) {
        (Some(from), Some(to)) => to - from,
        _ => wall.elapsed().as_secs_f64() * 1e6,
    }
}

fn changes(rows: &[Row]) -> Vec<Change<'_>> {
    rows.iter()
        .map(|(key, old, new)| Change {
            key: *key,
            old: old.as_deref(),
            new: new.as_deref(),
        })
        .collect()
}

fn print(operation: &str, params: &str, figures: &[(&str, f64)]) {
    let figures: Vec<String> = figures
        .iter()
        .map(|(name, value)| format!("{name}={value:.2}"))
        .collect();
    println!("trie::{operation}/{params} {}", figures.join(" "));
}

struct Bench {
    keys: u64,
    round: u64,
    state: MemoryState,
    trie: Trie,
}

impl Bench {
    fn build(keys: u64) -> Self {
        let mut bench = Self {
            keys,
            round: 0,
            state: MemoryState::default(),
            trie: Trie::accounts(Hash::ZERO),
        };
        let mut micros = 0.0;
        let all: Vec<u64> = (0..keys).collect();
        for part in all.chunks(100_000) {
            let mut rows: Vec<Row> = part.iter().map(|&n| (key(n), None, Some(value(n, 0)))).collect();
            rows.sort();
            let changes = changes(&rows);
            let time = clock();
            let (trie, writes) = bench.trie.update(&changes, &bench.state, &Sequential).unwrap();
            micros += time();
            bench.state.apply(&writes, &changes);
            bench.trie = trie;
        }
        print(
            "build",
            &format!("keys={keys}"),
            &[("cpu_us_per_key", micros / keys as f64)],
        );
        bench
    }

    /// Rows that change `count` random keys; `kinds` of every four are (update, insert, remove).
    fn rows(&mut self, count: u64, kinds: [u64; 3]) -> Vec<Row> {
        self.round += 1;
        let mut rows = BTreeMap::new();
        let mut n = 0u64;
        while (rows.len() as u64) < count {
            n += 1;
            let pick = u64::from_le_bytes(key(self.round << 32 | n).0[..8].try_into().unwrap());
            let (slot, fresh) = (n % 4, n % 4 >= kinds[0] && n % 4 < kinds[0] + kinds[1]);
            let number = if fresh {
                self.keys + pick % (1 << 40)
            } else {
                pick % self.keys
            };
            let at = key(number);
            let old = self.state.flat.get(&(Hash::ZERO, at)).cloned();
            let remove = slot >= kinds[0] + kinds[1];
            rows.insert(at, (old, (!remove).then(|| value(number, self.round))));
        }
        rows.into_iter()
            .map(|(key, (old, new))| (key, old, new))
            .collect()
    }

    fn updates(
        &mut self,
        name: &str,
        batch: u64,
        kinds: [u64; 3],
        keep_levels: Option<u8>,
        hands: &dyn Parallel,
    ) {
        let (mut cpu_us, mut wall_us, mut encode_us, mut bytes, mut nodes) = (0.0, 0.0, 0.0, 0, 0);
        for _ in 0..ROUNDS {
            let rows = self.rows(batch, kinds);
            let changes = changes(&rows);
            let trie = keep_levels.map_or(self.trie.clone(), |levels| self.trie.prune(levels));
            let (time, wall) = (clock(), Instant::now());
            let (trie, writes) = trie.update(&changes, &self.state, hands).unwrap();
            cpu_us += time();
            wall_us += wall.elapsed().as_secs_f64() * 1e6;
            let time = clock();
            nodes += writes.writes.len();
            bytes += writes
                .writes
                .iter()
                .filter_map(|w| Some(w.node.as_ref()?.encode().len()))
                .sum::<usize>();
            encode_us += time();
            // The trie that continues is always the one that is entirely in memory.
            self.trie = match keep_levels {
                None => trie,
                Some(_) => self.trie.update(&changes, &self.state, &Sequential).unwrap().0,
            };
            self.state.apply(&writes, &changes);
        }
        let per = |sum: f64| sum / (ROUNDS * batch) as f64;
        print(
            name,
            &format!("keys={} batch={batch}", self.keys),
            &[
                ("caller_cpu_us_per_key", per(cpu_us)),
                ("wall_us_per_key", per(wall_us)),
                ("nodes_per_key", per(nodes as f64)),
                ("record_bytes_per_key", per(bytes as f64)),
                ("encode_us_per_key", per(encode_us)),
            ],
        );
    }

    fn proofs(&self) {
        let count = 20_000u64.min(self.keys);
        for (name, absent) in [("present", 0u64), ("absent", 1 << 50)] {
            let asked: Vec<(Hash, Option<&Vec<u8>>)> = (0..count)
                .map(|n| key(absent + n * (self.keys / count)))
                .map(|key| (key, self.state.flat.get(&(Hash::ZERO, key))))
                .collect();
            let time = clock();
            let proofs: Vec<Vec<u8>> = asked
                .iter()
                .map(|(key, value)| {
                    self.trie
                        .prove(key, value.map(Vec::as_slice), &self.state)
                        .unwrap()
                        .encode()
                })
                .collect();
            let made = time();
            let root = self.trie.root();
            let time = clock();
            for ((key, value), bytes) in asked.iter().zip(&proofs) {
                let proof = Proof::decode(bytes).unwrap();
                assert_eq!(
                    verify(TrieKind::Account, &root, key, &proof),
                    Ok(value.map(Vec::as_slice))
                );
            }
            let verified = time();
            print(
                "proof",
                &format!("keys={} key={name}", self.keys),
                &[
                    (
                        "bytes_mean",
                        proofs.iter().map(Vec::len).sum::<usize>() as f64 / count as f64,
                    ),
                    ("bytes_max", proofs.iter().map(Vec::len).max().unwrap() as f64),
                    ("made_per_s", count as f64 / made * 1e6),
                    ("verified_per_s", count as f64 / verified * 1e6),
                ],
            );
        }
    }

    /// Proofs of all entries below prefixes, from a trie in memory and from stored nodes.
    fn prefix_proofs(&self) {
        let root = self.trie.root();
        let stored = self.trie.prune(0);
        for len in 0..5u8 {
            let rounds = 16u64.pow(u32::from(len)).min(64);
            let prefixes: Vec<Nibbles> = (0..rounds).map(|n| Nibbles::of_key(&key(n), len)).collect();
            let made = |trie: &Trie| {
                let time = clock();
                for prefix in std::iter::repeat_n(&prefixes, REPEATS * REPEATS).flatten() {
                    black_box(trie.prove_prefix(prefix, &self.state).unwrap());
                }
                time() / (REPEATS * REPEATS) as f64 / rounds as f64
            };
            let (resident_us, stored_us) = (made(&self.trie), made(&stored));
            let parts: Vec<Part<'_>> = prefixes
                .iter()
                .map(|prefix| {
                    let from = (Hash::ZERO, prefix.first_key());
                    let mine = self.state.flat.range(from..);
                    let mine = mine.map(|((_, key), value)| (*key, value.as_slice()));
                    let mine = mine.take_while(|(key, _)| prefix.leads_to(key)).collect();
                    let proof = self.trie.prove_prefix(prefix, &self.state).unwrap();
                    (proof.encode(), mine)
                })
                .collect();
            let bytes: usize = parts.iter().map(|(sent, _)| sent.len()).sum();
            let entries: usize = parts.iter().map(|(_, mine)| mine.len()).sum();
            let repeats = if entries < 10_000 { REPEATS } else { 1 };
            let time = clock();
            for (prefix, (sent, mine)) in
                std::iter::repeat_n((), repeats).flat_map(|()| prefixes.iter().zip(&parts))
            {
                let proof = PrefixProof::decode(sent).unwrap();
                verify_prefix(TrieKind::Account, &root, prefix, &proof, mine.iter().copied()).unwrap();
            }
            let verify_us = time() / repeats as f64;
            print(
                "prefix_proof",
                &format!("keys={} nibbles={len}", self.keys),
                &[
                    ("bytes_mean", bytes as f64 / rounds as f64),
                    ("made_us", resident_us),
                    ("made_from_stored_us", stored_us),
                    ("entries_mean", entries as f64 / rounds as f64),
                    ("verify_us_per_entry", verify_us / entries as f64),
                ],
            );
        }
    }

    /// One proof of many keys beside as many proofs of one key.
    fn multi_proofs(&self) {
        let root = self.trie.root();
        for count in [10u64, 100, 1_000] {
            let rounds = 20_000 / count;
            let (mut bytes, mut single_bytes, mut made_us, mut verify_us) = (0, 0, 0.0, 0.0);
            for round in 0..rounds {
                let mut keys: Vec<Hash> = (0..count)
                    .map(|n| key((round * count + n) * (self.keys / 20_000).max(1)))
                    .collect();
                keys.sort();
                let claims: Vec<Claim<'_>> = keys
                    .iter()
                    .map(|key| (*key, self.state.flat.get(&(Hash::ZERO, *key)).map(Vec::as_slice)))
                    .collect();
                let time = clock();
                let sent = self.trie.prove_many(&claims, &self.state).unwrap().encode();
                made_us += time();
                let time = clock();
                let proof = MultiProof::decode(&sent).unwrap();
                verify_many(TrieKind::Account, &root, &proof, &claims).unwrap();
                verify_us += time();
                bytes += sent.len();
                for (key, value) in &claims {
                    let single = self.trie.prove(key, *value, &self.state).unwrap().encode();
                    single_bytes += single.len() - value.map_or(0, <[u8]>::len);
                }
            }
            let per_key = |sum: f64| sum / (rounds * count) as f64;
            print(
                "multi_proof",
                &format!("keys={} proven={count}", self.keys),
                &[
                    ("bytes_per_key", per_key(bytes as f64)),
                    ("single_bytes_per_key", per_key(single_bytes as f64)),
                    ("made_us_per_key", per_key(made_us)),
                    ("verify_us_per_key", per_key(verify_us)),
                ],
            );
        }
    }

    fn stream(&self) {
        let entries = self.state.flat.iter();
        let time = clock();
        let root = root_of_sorted(
            TrieKind::Account,
            entries.map(|((_, key), value)| Ok::<_, NotAscending>((*key, value))),
        );
        let micros = time();
        assert_eq!(root, Ok(self.trie.root()));
        print(
            "root_of_sorted",
            &format!("keys={}", self.keys),
            &[("cpu_us_per_key", micros / self.keys as f64)],
        );
    }

    fn memory(&self) {
        for nodes_max in [self.keys / 100, self.keys / 10] {
            let time = clock();
            let small = self.trie.shrink(nodes_max as usize);
            let micros = time();
            print(
                "shrink",
                &format!(
                    "keys={} nodes={} nodes_max={nodes_max}",
                    self.keys,
                    self.trie.node_count()
                ),
                &[
                    ("nodes_left", small.node_count() as f64),
                    ("cpu_ms", micros / 1000.0),
                ],
            );
        }
    }

    /// The branches that a batch makes dirty, hashed in both layouts, and the size of both in a proof.
    fn layouts(&mut self) {
        let rows = self.rows(10_000, [4, 0, 0]);
        let (_, writes) = self
            .trie
            .update(&changes(&rows), &self.state, &Sequential)
            .unwrap();
        let dirty: Vec<commitment::Slots> = writes
            .writes
            .iter()
            .filter_map(|write| Some(slots(&write.node.as_ref()?.encode())))
            .collect();
        let filled = |slots: &commitment::Slots| slots.iter().filter(|hash| !hash.is_zero()).count();
        let binary: usize = dirty.iter().map(binary_pairs).sum();
        let concatenated: usize = dirty
            .iter()
            .map(|slots| (2 + 32 * filled(slots)).div_ceil(64))
            .sum();
        let time = clock();
        for slots in std::iter::repeat_n(&dirty, REPEATS).flatten() {
            black_box(commitment::branch(slots));
        }
        let binary_us = time() / REPEATS as f64;
        let time = clock();
        for slots in std::iter::repeat_n(&dirty, REPEATS).flatten() {
            black_box(concatenation(slots));
        }
        let concatenated_us = time() / REPEATS as f64;

        let shapes: HashMap<Nibbles, commitment::Slots> = self
            .state
            .nodes
            .iter()
            .map(|((_, path), bytes)| (*path, slots(bytes)))
            .collect();
        let (mut bytes, mut deepest) = (0, 0);
        let mut ways = Vec::new();
        for row in rows.iter().take(5_000) {
            let way: Vec<commitment::Slots> = (0..64)
                .filter_map(|depth| shapes.get(&Nibbles::of_key(&row.0, depth)))
                .copied()
                .collect();
            // Tag and bitmap, every child but the key's own, and the value behind its tag.
            bytes += way
                .iter()
                .map(|slots| 1 + 2 + 32 * (filled(slots) - 1))
                .sum::<usize>()
                + 1
                + VALUE_BYTES;
            deepest = deepest.max(way.len());
            ways.push(way);
        }
        let time = clock();
        for slots in std::iter::repeat_n(&ways, REPEATS).flatten().flatten() {
            black_box(concatenation(slots));
        }
        let walk_us = time() / REPEATS as f64;
        let per_dirty = |sum: f64| sum / dirty.len() as f64;
        print(
            "layout",
            &format!("keys={} batch=10000 branches=binary", self.keys),
            &[
                ("compressions_per_dirty_branch", per_dirty(binary as f64)),
                ("hash_us_per_dirty_branch", per_dirty(binary_us)),
                ("hash_us_per_key", binary_us / 10_000.0),
            ],
        );
        print(
            "layout",
            &format!("keys={} batch=10000 branches=concatenated", self.keys),
            &[
                ("compressions_per_dirty_branch", per_dirty(concatenated as f64)),
                ("hash_us_per_dirty_branch", per_dirty(concatenated_us)),
                ("hash_us_per_key", concatenated_us / 10_000.0),
                ("proof_bytes_mean", bytes as f64 / 5_000.0),
                ("proof_branch_hash_us", walk_us / 5_000.0),
                ("deepest", deepest as f64),
            ],
        );
    }
}

fn slots(record: &[u8]) -> commitment::Slots {
    let children = u16::from_le_bytes([record[0], record[1]]);
    let mut hashes = record[5 + usize::from(record[4]).div_ceil(2)..].chunks(32);
    let mut slots = [Hash::ZERO; 16];
    for (n, slot) in slots.iter_mut().enumerate() {
        if children >> n & 1 == 1 {
            *slot = Hash(hashes.next().unwrap().try_into().unwrap());
        }
    }
    slots
}

fn binary_pairs(slots: &commitment::Slots) -> usize {
    let filled: Vec<bool> = slots.iter().map(|hash| !hash.is_zero()).collect();
    [2, 4, 8, 16]
        .iter()
        .map(|&width| filled.chunks(width).filter(|part| part.contains(&true)).count())
        .sum()
}

/// The rejected layout: H(bitmap ‖ children).
fn concatenation(slots: &commitment::Slots) -> Hash {
    let mut input = [0u8; 2 + 512];
    let mut len = 2;
    for (n, slot) in slots.iter().enumerate().filter(|(_, slot)| !slot.is_zero()) {
        input[n / 8] |= 1 << (n % 8);
        input[len..len + 32].copy_from_slice(&slot.0);
        len += 32;
    }
    Domain::TrieBranchPair.hash(&input[..len])
}

fn main() {
    let keys = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000_000);
    let mut bench = Bench::build(keys);
    bench.updates("update", 10_000, [4, 0, 0], None, &Sequential);
    bench.updates("update", 1_000, [4, 0, 0], None, &Sequential);
    bench.updates("update_all_cores", 10_000, [4, 0, 0], None, &AllCores);
    bench.updates("update_insert_remove", 10_000, [2, 1, 1], None, &Sequential);
    bench.updates("update_from_stubs", 10_000, [4, 0, 0], Some(4), &Sequential);
    bench.proofs();
    bench.prefix_proofs();
    bench.multi_proofs();
    bench.stream();
    bench.memory();
    bench.layouts();
}
