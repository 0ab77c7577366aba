//! A state with small and large accounts, its block with a certificate, and snapshots of it.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::collections::BTreeMap;
use std::convert::Infallible;

use vibecoin_primitives::{
    Account, AccountRow, Address, Amount, ChainParams, CommitCertificate, Domain, Hash, Header, Height,
    Nonce, Round, SecretKey, SlotRow, ValidatorSet, account_key, encode, slot_key,
};
use vibecoin_snapshot::{
    Builder, Chunk, ChunkInfo, ChunkSizes, Restore, SnapshotManifest, TrustedSet, chunk_hash,
};
use vibecoin_tests_support::{GENESIS, certify, header, key, trie_of, validators};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Nibbles, PrefixProof, Trie};

/// Slots per account, by its number, and the bytes of each value.
pub type Plan = Vec<(u16, Vec<(u16, u16)>)>;

pub struct World {
    pub accounts: BTreeMap<Hash, AccountRow>,
    pub slots: BTreeMap<(Hash, Hash), SlotRow>,
    pub nodes: MemoryState,
    pub header: Header,
    pub certificate: Option<CommitCertificate>,
    pub params: ChainParams,
    pub set: ValidatorSet,
}

pub fn address(n: u16) -> Address {
    Address(Domain::SystemAddress.hash(&n.to_le_bytes()).0)
}

pub fn keys() -> Vec<SecretKey> {
    (1..5).map(key).collect()
}

/// The rows of an account with these slots, and its storage root.
fn account(nodes: &mut MemoryState, n: u16, slots: &[(u16, u16)]) -> (AccountRow, BTreeMap<Hash, SlotRow>) {
    let address = address(n);
    let rows: BTreeMap<Hash, SlotRow> = slots
        .iter()
        .map(|(slot, bytes)| {
            let slot = Domain::Receipt.hash(&slot.to_le_bytes());
            let value = vec![7; usize::from(*bytes).max(1)];
            (slot_key(&slot), SlotRow { slot, value })
        })
        .collect();
    let leaves = rows.iter().map(|(key, row)| (*key, row.value.clone())).collect();
    let storage = trie_of(&Trie::storage(account_key(&address), Hash::ZERO), leaves, nodes);
    let account = Account {
        balance: Amount(1_000 + u64::from(n)),
        nonce: Nonce(u64::from(n % 3)),
        storage_root: (!storage.is_empty()).then(|| storage.root()),
        ..Account::default()
    };
    (AccountRow { address, account }, rows)
}

impl World {
    pub fn new(plan: &Plan, height: u64) -> Self {
        let mut nodes = MemoryState::default();
        let (mut accounts, mut slots) = (BTreeMap::new(), BTreeMap::new());
        for (n, of) in plan {
            let (row, rows) = account(&mut nodes, *n, of);
            let owner = account_key(&row.address);
            accounts.insert(owner, row);
            slots.extend(rows.into_iter().map(|(key, row)| ((owner, key), row)));
        }
        let leaves = accounts
            .iter()
            .map(|(key, row)| (*key, encode(&row.account)))
            .collect();
        let root = trie_of(&Trie::accounts(Hash::ZERO), leaves, &mut nodes).root();
        let (params, set) = (ChainParams::devnet(), validators(1..5));
        let header = Header {
            height: Height(height),
            state_root: root,
            validators_hash: set.hash(),
            next_validators_hash: set.hash(),
            params_hash: params.hash(),
            ..header()
        };
        let certificate = (height > 0).then(|| certify(&GENESIS, &header, Round(1), &keys()));
        Self {
            accounts,
            slots,
            nodes,
            header,
            certificate,
            params,
            set,
        }
    }

    /// 120 accounts; number 3 has 5 slots, 4 and 5 have more than fit behind them.
    pub fn usual() -> Self {
        let slots = |count: u16| (0..count).map(|slot| (slot, 50)).collect();
        let plan = (0..120)
            .map(|n| match n {
                3 => (n, slots(5)),
                4 => (n, slots(300)),
                5 => (n, slots(40)),
                _ => (n, Vec::new()),
            })
            .collect();
        Self::new(&plan, 7)
    }

    pub fn trust(&self) -> TrustedSet {
        TrustedSet::genesis(GENESIS, self.params.clone(), self.set.clone())
    }

    pub fn snapshot(&self, sizes: ChunkSizes) -> Snapshot {
        let mut chunks = BTreeMap::new();
        let builder = Builder {
            sizes,
            ..Builder::new(GENESIS, self.header.clone())
        };
        let accounts = self
            .accounts
            .iter()
            .map(|(key, row)| Ok::<_, Infallible>((*key, *row)));
        let slots = self
            .slots
            .iter()
            .map(|((owner, key), row)| Ok((*owner, *key, row.clone())));
        let manifest = builder
            .build(
                accounts,
                slots,
                |owner, root, prefix| Ok(self.prove(owner, root, prefix)),
                |info, bytes| {
                    assert_eq!(chunk_hash(&bytes), info.hash);
                    assert_eq!(chunks.insert(info.hash, bytes), None, "two chunks with one hash");
                    Ok(())
                },
            )
            .unwrap();
        let snapshot = SnapshotManifest::new(
            manifest,
            self.certificate.clone(),
            self.params.fault_model,
            &self.set,
        );
        let chunks = snapshot
            .manifest
            .chunks
            .iter()
            .map(|info| chunks[&info.hash].clone())
            .collect();
        Snapshot { snapshot, chunks }
    }

    pub fn prove(&self, owner: &Hash, root: &Hash, prefix: &Nibbles) -> PrefixProof {
        let trie = if owner.is_zero() {
            Trie::accounts(*root)
        } else {
            Trie::storage(*owner, *root)
        };
        trie.prove_prefix(prefix, &self.nodes).unwrap()
    }
}

pub fn small() -> ChunkSizes {
    ChunkSizes::small(0, 1_000)
}

/// A snapshot as it is sent. Its parts can be forged, with all hashes and sums made right again.
#[derive(Clone)]
pub struct Snapshot {
    pub snapshot: SnapshotManifest,
    /// In the order of the manifest.
    pub chunks: Vec<Vec<u8>>,
}

impl Snapshot {
    pub fn restore(&self, world: &World) -> Restore {
        Restore::begin(&world.trust(), self.snapshot.clone()).unwrap()
    }

    pub fn infos(&self) -> &[ChunkInfo] {
        &self.snapshot.manifest.chunks
    }

    pub fn chunk(&self, index: usize) -> Chunk {
        vibecoin_primitives::decode(&self.chunks[index]).unwrap()
    }

    /// Position of the chunk with the account of this number.
    pub fn index_of_account(&self, n: u16) -> usize {
        let key = account_key(&address(n));
        let has = |info: &ChunkInfo| info.owner.is_zero() && info.prefix.nibbles().unwrap().leads_to(&key);
        self.infos().iter().position(has).unwrap()
    }

    /// Replaces a chunk, as a server would that makes its manifest fit.
    pub fn put(&mut self, index: usize, chunk: &Chunk) {
        let bytes = chunk.to_bytes();
        let info = &mut self.snapshot.manifest.chunks[index];
        info.bytes = u32::try_from(bytes.len()).unwrap();
        info.rows = u32::try_from(chunk.rows.count()).unwrap();
        info.hash = chunk_hash(&bytes);
        self.chunks[index] = bytes;
        self.sum();
    }

    /// Makes the totals fit.
    pub fn sum(&mut self) {
        let manifest = &mut self.snapshot.manifest;
        manifest.bytes = manifest.chunks.iter().map(|info| u64::from(info.bytes)).sum();
        manifest.rows = manifest.chunks.iter().map(|info| u64::from(info.rows)).sum();
    }

    /// Faults of all chunks, by position.
    pub fn faults(&self, world: &World) -> Vec<(usize, vibecoin_snapshot::ChunkFault)> {
        let restore = self.restore(world);
        (0u32..)
            .zip(&self.chunks)
            .filter_map(|(index, bytes)| {
                let error = restore.verify(index, bytes).err()?;
                assert_eq!(error.index, index);
                Some((usize::try_from(index).unwrap(), *error.fault))
            })
            .collect()
    }
}
