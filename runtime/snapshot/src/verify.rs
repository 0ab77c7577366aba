//! Checking a snapshot: the manifest against the trust, every chunk against the manifest and the certified root.

use std::collections::{BTreeMap, BTreeSet};

use vibecoin_primitives::limits::SLOT_VALUE_BYTES_MAX;
use vibecoin_primitives::{
    Account, AccountRow, Hash, Header, SlotRow, account_key, decode, encode, slot_key,
};
use vibecoin_trie::{Nibbles, NotAscending, PrefixProof, TrieKind, root_of_sorted, verify_prefix};

use crate::chunk::{AccountEntry, Chunk, ChunkRows, chunk_hash};
use crate::manifest::{ChunkInfo, Manifest, SnapshotManifest};
use crate::trust::TrustedSet;

pub use fault::{ChunkError, ChunkFault, Incomplete, SnapshotError};

mod fault;

/// Accounts by key, and slots by the key of their account and their own.
pub type ChunkContents = (Vec<(Hash, AccountRow)>, Vec<(Hash, Hash, SlotRow)>);

/// The rows of a chunk, each proved to be in the state and under its key, none missing.
///
/// Only [`Restore::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedChunk {
    /// Id of the snapshot under whose manifest it was verified.
    snapshot: Hash,
    index: u32,
    accounts: Vec<(Hash, AccountRow)>,
    slots: Vec<(Hash, Hash, SlotRow)>,
}

impl VerifiedChunk {
    /// Position in the manifest, from zero.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The accounts with their keys, ascending by key. Chunks of one trie do not overlap.
    #[must_use]
    pub fn accounts(&self) -> &[(Hash, AccountRow)] {
        &self.accounts
    }

    /// The slots with the keys of their account and their own, ascending by both. All slots of an account are in one
    /// chunk, or in the chunks of their own trie.
    #[must_use]
    pub fn slots(&self) -> &[(Hash, Hash, SlotRow)] {
        &self.slots
    }

    /// The rows: accounts and slots.
    #[must_use]
    pub fn into_rows(self) -> ChunkContents {
        (self.accounts, self.slots)
    }
}

/// The state that a complete snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Header of the block after which the state is this one; certified.
    pub header: Header,
    /// Hash of that block.
    pub block: Hash,
    /// Number of rows.
    pub rows: u64,
}

/// A restore of one snapshot: takes its chunks in any order.
///
/// Verifying needs only a shared reference, so chunks can be verified on several threads. Nothing that is refused
/// leaves a trace.
#[derive(Clone, Debug)]
pub struct Restore {
    snapshot: SnapshotManifest,
    id: Hash,
    block: Hash,
    /// Accounts whose slots have chunks of their own, with the root that the manifest states.
    owners: BTreeMap<Hash, Hash>,
    missing: BTreeSet<u32>,
    bytes_present: u64,
}

impl Restore {
    /// Begins a restore of a snapshot whose header follows from the trust.
    ///
    /// # Errors
    /// [`SnapshotError`]: the manifest contradicts itself, or its block is not final on the trusted chain.
    pub fn begin(trust: &TrustedSet, snapshot: SnapshotManifest) -> Result<Self, SnapshotError> {
        snapshot.manifest.check()?;
        let block = trust.check(&snapshot)?;
        let chunks = &snapshot.manifest.chunks;
        let owners = chunks
            .iter()
            .filter(|chunk| !chunk.owner.is_zero())
            .map(|chunk| (chunk.owner, chunk.root))
            .collect();
        let missing = (0u32..).zip(chunks).map(|(index, _)| index).collect();
        Ok(Self {
            id: snapshot.manifest.id(),
            snapshot,
            block,
            owners,
            missing,
            bytes_present: 0,
        })
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.snapshot.manifest
    }

    /// The manifest with its certificate.
    #[must_use]
    pub const fn snapshot(&self) -> &SnapshotManifest {
        &self.snapshot
    }

    /// The snapshot's id. A restore that was interrupted goes on only under the same id.
    #[must_use]
    pub const fn id(&self) -> &Hash {
        &self.id
    }

    /// The chunks that are missing, ascending.
    pub fn missing(&self) -> impl Iterator<Item = (u32, &ChunkInfo)> {
        self.missing
            .iter()
            .filter_map(|index| Some((*index, self.info(*index)?)))
    }

    /// Number of chunks that are missing.
    #[must_use]
    pub fn missing_count(&self) -> usize {
        self.missing.len()
    }

    /// Bytes of the chunks that are present, uncompressed.
    #[must_use]
    pub const fn bytes_present(&self) -> u64 {
        self.bytes_present
    }

    fn info(&self, index: u32) -> Option<&ChunkInfo> {
        self.manifest().chunks.get(usize::try_from(index).ok()?)
    }

    /// Checks the bytes of a chunk: size and hash, form, that its rows are all rows of its prefix, and the slots of
    /// its accounts.
    ///
    /// Costs a hash over the bytes, two hashes for each row, and the hashes of the subtrie.
    ///
    /// # Errors
    /// [`ChunkError`] names the chunk and the violation.
    pub fn verify(&self, index: u32, bytes: &[u8]) -> Result<VerifiedChunk, ChunkError> {
        let Some(info) = self.info(index) else {
            return Err(ChunkError {
                index,
                name: "not in the manifest".to_owned(),
                fault: Box::new(ChunkFault::Unknown {
                    count: self.manifest().chunks.len(),
                }),
            });
        };
        self.verify_known(index, info, bytes).map_err(|fault| ChunkError {
            index,
            name: info.to_string(),
            fault: Box::new(fault),
        })
    }

    fn verify_known(&self, index: u32, info: &ChunkInfo, bytes: &[u8]) -> Result<VerifiedChunk, ChunkFault> {
        if usize::try_from(info.bytes) != Ok(bytes.len()) {
            return Err(ChunkFault::Bytes {
                expected: info.bytes,
                got: bytes.len(),
            });
        }
        let got = chunk_hash(bytes);
        if got != info.hash {
            return Err(ChunkFault::Hash {
                expected: info.hash,
                got,
            });
        }
        let chunk: Chunk = decode(bytes)?;
        let prefix = chunk.prefix.nibbles().ok_or(ChunkFault::OtherPlace)?;
        if chunk.owner != info.owner || chunk.prefix != info.prefix {
            return Err(ChunkFault::OtherPlace);
        }
        let rows = chunk.rows.count();
        if usize::try_from(info.rows) != Ok(rows) {
            return Err(ChunkFault::Rows {
                expected: info.rows,
                got: rows,
            });
        }
        let proof = PrefixProof::decode(&chunk.proof)?;
        let (accounts, slots) = match chunk.rows {
            ChunkRows::Accounts(entries) if info.owner.is_zero() => {
                self.verify_accounts(info, &prefix, &proof, entries)?
            }
            ChunkRows::Slots(rows) if !info.owner.is_zero() => {
                (Vec::new(), verify_slots(info, &prefix, &proof, rows)?)
            }
            _ => return Err(ChunkFault::OtherPlace),
        };
        Ok(VerifiedChunk {
            snapshot: self.id,
            index,
            accounts,
            slots,
        })
    }

    fn verify_accounts(
        &self,
        info: &ChunkInfo,
        prefix: &Nibbles,
        proof: &PrefixProof,
        entries: Vec<AccountEntry>,
    ) -> Result<ChunkContents, ChunkFault> {
        // Keys come from the rows, so a row under another prefix, or under the key of another address, cannot be stated.
        let leaves: Vec<(Hash, Vec<u8>)> = entries
            .iter()
            .map(|entry| {
                (
                    account_key(&entry.row.address),
                    encode::<Account>(&entry.row.account),
                )
            })
            .collect();
        let values = leaves.iter().map(|(key, value)| (*key, value.as_slice()));
        verify_prefix(TrieKind::Account, &info.root, prefix, proof, values)?;
        let mut accounts = Vec::with_capacity(entries.len());
        let mut slots = Vec::new();
        let mut large = BTreeSet::new();
        for ((key, _), entry) in leaves.into_iter().zip(entries) {
            if self.verify_storage(key, &entry)? {
                large.insert(key);
            }
            accounts.push((key, entry.row));
            slots.extend(
                entry
                    .slots
                    .into_iter()
                    .map(|slot| (key, slot_key(&slot.slot), slot)),
            );
        }
        // All accounts of this prefix are known now, so the manifest may have slots of no others.
        let stray = self
            .owners
            .range(crate::prefix::first_key(prefix)..)
            .map(|(owner, _)| *owner)
            .take_while(|owner| prefix.leads_to(owner))
            .find(|owner| !large.contains(owner));
        match stray {
            Some(owner) => Err(ChunkFault::StrayOwner { owner }),
            None => Ok((accounts, slots)),
        }
    }

    /// Checks the slots behind a proved account, or that its slots have chunks of their own under its root; then the
    /// result is true.
    fn verify_storage(&self, account: Hash, entry: &AccountEntry) -> Result<bool, ChunkFault> {
        let expected = entry.row.account.storage_root.unwrap_or(Hash::ZERO);
        let own = self.owners.get(&account);
        if entry.slots.is_empty() {
            return match (expected.is_zero(), own) {
                // If the manifest has slots of it, the caller reports a stray owner.
                (true, _) => Ok(false),
                (false, Some(stated)) if *stated == expected => Ok(true),
                (false, stated) => Err(ChunkFault::StorageRoot {
                    account,
                    expected,
                    found: stated.copied().unwrap_or(Hash::ZERO),
                }),
            };
        }
        if own.is_some() {
            return Err(ChunkFault::SlotsTwice { account });
        }
        let leaves = slot_leaves(&entry.slots)?;
        let entries = leaves.iter().map(|(key, value)| Ok((*key, *value)));
        let found = root_of_sorted::<_, NotAscending>(TrieKind::Storage, entries)
            .map_err(|fault| ChunkFault::InlineOrder { account, fault })?;
        if found != expected {
            return Err(ChunkFault::StorageRoot {
                account,
                expected,
                found,
            });
        }
        Ok(false)
    }

    /// Notes that a verified chunk is kept. Returns false if it was already, or was verified under another manifest: the
    /// same chunk may be wrong beside other chunks.
    pub fn record(&mut self, chunk: &VerifiedChunk) -> bool {
        if chunk.snapshot != self.id {
            return false;
        }
        let Some(info) = self.info(chunk.index) else {
            return false;
        };
        let bytes = u64::from(info.bytes);
        let is_new = self.missing.remove(&chunk.index);
        if is_new {
            self.bytes_present = self.bytes_present.saturating_add(bytes);
        }
        is_new
    }

    /// Ends the restore when every chunk is there.
    ///
    /// No root is computed here, because the parts prove it. The chunks of a trie cover every key once
    /// ([`Manifest::check`]). Each was compared with the root of its trie, and its rows are all that the trie has
    /// under its prefix. So the accounts together are exactly the leaves under the header's state root. For each of them
    /// the slots behind it have its storage root, or the chunks of its own trie were compared with that root, and
    /// slots of other accounts are not accepted.
    ///
    /// # Errors
    /// [`Incomplete`] names the first chunk that is missing.
    pub fn complete(&self) -> Result<Restored, Incomplete> {
        match self.missing().next() {
            None => Ok(Restored {
                header: self.manifest().header.clone(),
                block: self.block,
                rows: self.manifest().rows,
            }),
            Some((first, info)) => Err(Incomplete {
                missing: self.missing.len(),
                count: self.manifest().chunks.len(),
                first,
                name: info.to_string(),
            }),
        }
    }
}

fn verify_slots(
    info: &ChunkInfo,
    prefix: &Nibbles,
    proof: &PrefixProof,
    rows: Vec<SlotRow>,
) -> Result<Vec<(Hash, Hash, SlotRow)>, ChunkFault> {
    let leaves = slot_leaves(&rows)?;
    verify_prefix(
        TrieKind::Storage,
        &info.root,
        prefix,
        proof,
        leaves.iter().copied(),
    )?;
    let keys: Vec<Hash> = leaves.into_iter().map(|(key, _)| key).collect();
    let keyed = keys.into_iter().zip(rows);
    Ok(keyed.map(|(key, row)| (info.owner, key, row)).collect())
}

/// The leaves of slots, with values that slots may have.
fn slot_leaves(rows: &[SlotRow]) -> Result<Vec<(Hash, &[u8])>, ChunkFault> {
    rows.iter()
        .map(|row| {
            let key = slot_key(&row.slot);
            let bytes = row.value.len();
            if bytes == 0 || bytes > SLOT_VALUE_BYTES_MAX {
                return Err(ChunkFault::Value { key, bytes });
            }
            Ok((key, row.value.as_slice()))
        })
        .collect()
}
