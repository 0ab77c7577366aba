//! Targets over snapshots: foreign manifests and chunks.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::LazyLock;

use vibecoin_primitives::{AccountRow, Encoded, Hash, SlotRow, account_key, decode, encode, slot_key};
use vibecoin_snapshot::difference::DifferenceChunk;
use vibecoin_snapshot::{
    Builder, CertifiedDifference, Chunk, ChunkSizes, Restore, SnapshotManifest, TrustedSet, chunk_hash,
};
use vibecoin_tests_conformance as values;
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Sequential, Trie};
use wincode::SchemaReadOwned;
use wincode::config::DefaultConfig;

type Seeds = Vec<(String, Vec<u8>)>;

/// A snapshot of the known state: a chunk of accounts and a chunk of the slots of one of them.
struct Known {
    trust: TrustedSet,
    snapshot: SnapshotManifest,
    chunks: Vec<Vec<u8>>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let state = values::known_state();
    let owner = account_key(&state.owner);
    let slots: Vec<(Hash, SlotRow)> = state
        .slots
        .iter()
        .map(|(slot, value)| {
            let row = SlotRow {
                slot: *slot,
                value: value.clone(),
            };
            (slot_key(slot), row)
        })
        .collect();
    let accounts: Vec<(Hash, AccountRow)> = state
        .accounts
        .iter()
        .map(|(address, account)| {
            let row = AccountRow {
                address: *address,
                account: *account,
            };
            (account_key(address), row)
        })
        .collect();
    let mut nodes = MemoryState::default();
    let slot_values = slots.iter().map(|(key, row)| (*key, row.value.clone())).collect();
    let storage = trie(Trie::storage(owner, Hash::ZERO), slot_values, &mut nodes);
    let leaves = accounts
        .iter()
        .map(|(key, row)| (*key, encode(&row.account)))
        .collect();
    let account_trie = trie(Trie::accounts(Hash::ZERO), leaves, &mut nodes);

    let (header, certificate) = values::snapshot_block();
    let builder = Builder {
        sizes: ChunkSizes::small(0, 0),
        ..Builder::new(values::GENESIS, header)
    };
    let mut chunks = BTreeMap::new();
    let manifest = builder
        .build(
            accounts.into_iter().map(Ok::<_, Infallible>),
            slots.into_iter().map(|(key, row)| Ok((owner, key, row))),
            |of, _, prefix| {
                let trie = if of.is_zero() { &account_trie } else { &storage };
                Ok(trie.prove_prefix(prefix, &nodes).expect("a proof"))
            },
            |info, bytes| {
                chunks.insert(info.hash, bytes);
                Ok(())
            },
        )
        .expect("a snapshot");
    let chunks = manifest
        .chunks
        .iter()
        .map(|info| chunks[&info.hash].clone())
        .collect();
    Known {
        trust: TrustedSet::genesis(values::GENESIS, values::crash_params(), values::validator_set()),
        snapshot: SnapshotManifest::new(
            manifest,
            Some(certificate),
            values::crash_params().fault_model,
            &values::validator_set(),
        ),
        chunks,
    }
});

fn trie(empty: Trie, leaves: Vec<(Hash, Vec<u8>)>, nodes: &mut MemoryState) -> Trie {
    let changes: Vec<Change<'_>> = leaves
        .iter()
        .map(|(key, value)| Change {
            key: *key,
            old: None,
            new: Some(value),
        })
        .collect();
    let (trie, writes) = empty
        .update(&changes, nodes, &Sequential)
        .expect("ascending changes");
    nodes.apply(&writes, &changes);
    trie
}

/// A manifest with its certificate, against the trust anchors of a verifier.
pub fn snapshot_manifest(bytes: &[u8]) {
    let Ok(read) = SnapshotManifest::from_bytes(bytes) else {
        return;
    };
    assert_eq!(read.to_bytes(), bytes, "two forms of one manifest");
    assert_eq!(read.manifest.check(), Ok(()));
    let sum: u64 = read
        .manifest
        .chunks
        .iter()
        .map(|info| u64::from(info.bytes))
        .sum();
    assert_eq!(sum, read.manifest.bytes);
    // The fuzzer cannot sign: a final block is the one that the fixed keys have signed.
    if let Ok(mut restore) = Restore::begin(&KNOWN.trust, read) {
        let header = &KNOWN.snapshot.manifest.header;
        assert_eq!(restore.manifest().header, *header, "a block out of nowhere");
        for (index, bytes) in (0u32..).zip(&KNOWN.chunks) {
            if let Ok(chunk) = restore.verify(index, bytes) {
                restore.record(&chunk);
            }
        }
        if restore.complete().is_ok() {
            assert_eq!(
                *restore.id(),
                KNOWN.snapshot.manifest.id(),
                "another snapshot of one state"
            );
        }
    }
}

/// Seeds of [`snapshot_manifest`].
pub fn snapshot_manifest_seeds() -> Seeds {
    vec![("manifest".to_owned(), KNOWN.snapshot.to_bytes())]
}

/// A chunk from a server whose manifest fits it: the first byte chooses which chunk it stands for.
pub fn snapshot_chunk(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let Ok(chunk) = decode::<Chunk>(bytes) else { return };
    assert_eq!(chunk.to_bytes(), bytes, "two forms of one chunk");
    let index = usize::from(*choice) % KNOWN.chunks.len();
    let mut snapshot = KNOWN.snapshot.clone();
    let manifest = &mut snapshot.manifest;
    let info = &mut manifest.chunks[index];
    (info.hash, info.prefix) = (chunk_hash(bytes), chunk.prefix);
    (info.bytes, info.rows) = (bytes.len() as u32, chunk.rows.count() as u32);
    manifest.bytes = manifest.chunks.iter().map(|info| u64::from(info.bytes)).sum();
    manifest.rows = manifest.chunks.iter().map(|info| u64::from(info.rows)).sum();
    let Ok(restore) = Restore::begin(&KNOWN.trust, snapshot) else {
        return;
    };
    if restore.verify(index as u32, bytes).is_ok() {
        assert_eq!(bytes, KNOWN.chunks[index], "rows that are not the state's");
    }
}

/// Seeds of [`snapshot_chunk`].
pub fn snapshot_chunk_seeds() -> Seeds {
    let numbered = KNOWN.chunks.iter().zip(0u8..);
    numbered
        .map(|(chunk, n)| (format!("chunk_{n}"), [&[n], chunk.as_slice()].concat()))
        .collect()
}

fn read<T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>>(bytes: &[u8]) -> Option<T> {
    let value = decode::<T>(bytes).ok()?;
    assert!(
        bytes.len() <= T::BYTES_MAX,
        "{}: accepted over its limit",
        T::NAME
    );
    assert_eq!(encode(&value), bytes, "{}: two forms of one value", T::NAME);
    Some(value)
}

/// The manifest and a chunk of a difference.
pub fn difference(bytes: &[u8]) {
    if let Some(read) = read::<CertifiedDifference>(bytes) {
        let mut other = read.manifest.clone();
        other.base.root.0[0] ^= 1;
        assert_ne!(read.manifest.id(), other.id(), "the id covers the base");
    }
    if let Some(chunk) = read::<DifferenceChunk>(bytes) {
        assert!(chunk.changes.len() * 36 <= bytes.len());
    }
}

/// Seeds of [`difference`].
pub fn difference_seeds() -> Seeds {
    let empty = DifferenceChunk::default();
    vec![("empty_chunk".to_owned(), encode(&empty))]
}
