//! Making a snapshot: from rows in key order to chunks and their manifest.

use std::iter::Peekable;

use vibecoin_primitives::{AccountRow, Encoded, Hash, Header, SlotRow, account_key, encoded_len, slot_key};
use vibecoin_trie::{Nibbles, PrefixProof};

use crate::chunk::{
    AccountEntry, CHUNK_BYTES_MAX, CHUNK_PROOF_BYTES_MAX, CHUNK_ROWS_BYTES_MAX, Chunk, ChunkRows,
    INLINE_SLOTS_BYTES_MAX, chunk_hash,
};
use crate::cut::{Cut, Cutter};
use crate::manifest::{CHUNKS_MAX, ChunkInfo, Manifest, SNAPSHOT_FORMAT};
use crate::prefix::KeyPrefix;

/// Sizes by which a state is cut. Those of format 1 are the default; others are for tests with few rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    rows_bytes_max: usize,
    inline_bytes_max: usize,
}

impl Default for ChunkSizes {
    fn default() -> Self {
        Self {
            rows_bytes_max: CHUNK_ROWS_BYTES_MAX,
            inline_bytes_max: INLINE_SLOTS_BYTES_MAX,
        }
    }
}

impl ChunkSizes {
    /// Smaller sizes. Lifted where an account with all the slots that may follow it, or a slot of full size, would
    /// not fit into a chunk; cut to those of the format.
    #[must_use]
    pub fn small(rows_bytes_max: usize, inline_bytes_max: usize) -> Self {
        let inline_bytes_max = inline_bytes_max.min(INLINE_SLOTS_BYTES_MAX);
        let row_bytes_max = AccountRow::BYTES_MAX
            .saturating_add(8)
            .saturating_add(inline_bytes_max)
            .max(SlotRow::BYTES_MAX);
        Self {
            rows_bytes_max: rows_bytes_max.max(row_bytes_max).min(CHUNK_ROWS_BYTES_MAX),
            inline_bytes_max,
        }
    }
}

/// Reason why no snapshot was made. `E` is the error of the caller's rows, proofs or storage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError<E> {
    /// The caller's own error.
    #[error(transparent)]
    Caller(#[from] E),
    /// Keys of a stream do not ascend.
    #[error("key {key} does not come after the key before it")]
    Order {
        /// The key that should have been higher.
        key: Hash,
    },
    /// A row is under the key of another.
    #[error("the row under key {key} is of another key")]
    OtherKey {
        /// The key.
        key: Hash,
    },
    /// Slots whose account does not exist, or has no storage root.
    #[error("account {account} has slots and no storage root")]
    StraySlots {
        /// Key of the account.
        account: Hash,
    },
    /// An account with a storage root has no slots.
    #[error("account {account} has a storage root and no slots")]
    NoSlots {
        /// Key of the account.
        account: Hash,
    },
    /// A row or proof is longer than the format allows.
    #[error("the chunk at prefix {prefix} of {owner} has {got} bytes")]
    TooLarge {
        /// Owner of the trie.
        owner: Hash,
        /// The prefix.
        prefix: Nibbles,
        /// Bytes of the chunk, or of the proof where that is too long.
        got: usize,
    },
    /// More chunks than a snapshot may have.
    #[error("the state needs more than {CHUNKS_MAX} chunks")]
    TooManyChunks,
}

/// The block whose state is cut.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Genesis hash of the chain.
    pub genesis: Hash,
    /// The block's header.
    pub header: Header,
    /// Sizes of the chunks.
    pub sizes: ChunkSizes,
}

impl Builder {
    /// A builder with the sizes of the format.
    #[must_use]
    pub fn new(genesis: Hash, header: Header) -> Self {
        Self {
            genesis,
            header,
            sizes: ChunkSizes::default(),
        }
    }

    /// Cuts the state into chunks and returns its manifest.
    ///
    /// `accounts` ascends by account key, `slots` by account key, then slot key; both are of the state after the
    /// block, and complete. `prove` returns the proof of a prefix in the trie of an owner with this root
    /// ([`vibecoin_trie::Trie::prove_prefix`]). `emit` stores a chunk; chunks of large accounts come before the chunk
    /// of their account, so names follow from hashes and not from order.
    ///
    /// Memory: up to one chunk of accounts, one of slots, and their encodings. Time is linear in the rows.
    ///
    /// # Errors
    /// [`BuildError`]: an error of the caller's, or rows that are not a state.
    pub fn build<E>(
        &self,
        accounts: impl IntoIterator<Item = Result<(Hash, AccountRow), E>>,
        slots: impl IntoIterator<Item = Result<(Hash, Hash, SlotRow), E>>,
        mut prove: impl FnMut(&Hash, &Hash, &Nibbles) -> Result<PrefixProof, E>,
        mut emit: impl FnMut(&ChunkInfo, Vec<u8>) -> Result<(), E>,
    ) -> Result<Manifest, BuildError<E>> {
        let root = self.header.state_root;
        let mut out = Output {
            prove: &mut prove,
            emit: &mut emit,
            chunks: Vec::new(),
        };
        let mut slots = Slots {
            rows: slots.into_iter().peekable(),
            sizes: self.sizes,
        };
        let mut cutter = Cutter::new(self.sizes.rows_bytes_max);
        let mut before = None;
        for row in accounts {
            let (key, row) = row?;
            check_key::<E>(key, account_key(&row.address), &mut before)?;
            let entry = slots.entry(key, row, &mut out)?;
            let bytes = encoded_len(&entry);
            cutter.push(key, bytes, entry, &mut |(prefix, entries): Cut<AccountEntry>| {
                out.put(Hash::ZERO, root, &prefix, ChunkRows::Accounts(entries))
            })?;
        }
        cutter.finish(&mut |(prefix, entries): Cut<AccountEntry>| {
            out.put(Hash::ZERO, root, &prefix, ChunkRows::Accounts(entries))
        })?;
        slots.check_end()?;
        Ok(self.manifest(out.chunks))
    }

    fn manifest(&self, mut chunks: Vec<ChunkInfo>) -> Manifest {
        // Chunks of one trie were made in order; a stable sort puts the tries in theirs.
        chunks.sort_by_key(|chunk| chunk.owner);
        let sum = |of: fn(&ChunkInfo) -> u32| {
            chunks
                .iter()
                .fold(0u64, |sum, chunk| sum.saturating_add(u64::from(of(chunk))))
        };
        Manifest {
            format: SNAPSHOT_FORMAT,
            genesis: self.genesis,
            header: self.header.clone(),
            bytes: sum(|chunk| chunk.bytes),
            rows: sum(|chunk| chunk.rows),
            chunks,
        }
    }
}

/// Checks that a row is under its own key and above the one before it.
fn check_key<E>(key: Hash, of_row: Hash, before: &mut Option<Hash>) -> Result<(), BuildError<E>> {
    if of_row != key {
        return Err(BuildError::OtherKey { key });
    }
    if before.replace(key).is_some_and(|before| before >= key) {
        return Err(BuildError::Order { key });
    }
    Ok(())
}

/// The stream of slots, read account by account.
struct Slots<I: Iterator> {
    rows: Peekable<I>,
    sizes: ChunkSizes,
}

impl<E, I: Iterator<Item = Result<(Hash, Hash, SlotRow), E>>> Slots<I> {
    /// The next slot of an account.
    fn next_of(&mut self, owner: Hash) -> Result<Option<(Hash, SlotRow)>, BuildError<E>> {
        let is_next = |row: &Result<(Hash, Hash, SlotRow), E>| match row {
            Ok((of, _, _)) => *of == owner,
            Err(_) => true,
        };
        let Some(row) = self.rows.next_if(is_next) else {
            return Ok(None);
        };
        let (_, key, row) = row?;
        Ok(Some((key, row)))
    }

    /// The account with its slots; those of a large account become chunks.
    fn entry(
        &mut self,
        owner: Hash,
        row: AccountRow,
        out: &mut Output<'_, E>,
    ) -> Result<AccountEntry, BuildError<E>> {
        // Slots of a key between the last account and this one belong to no account.
        if let Some(Ok((stray, _, _))) = self.rows.peek()
            && *stray < owner
        {
            return Err(BuildError::StraySlots { account: *stray });
        }
        let mut before = None;
        let mut held = Vec::new();
        let mut bytes = 0usize;
        while bytes <= self.sizes.inline_bytes_max {
            let Some((key, slot)) = self.next_of(owner)? else {
                break;
            };
            check_key::<E>(key, slot_key(&slot.slot), &mut before)?;
            bytes = bytes.saturating_add(encoded_len(&slot));
            held.push((key, slot));
        }
        match row.account.storage_root {
            None if held.is_empty() => {}
            None => return Err(BuildError::StraySlots { account: owner }),
            Some(_) if held.is_empty() => return Err(BuildError::NoSlots { account: owner }),
            Some(root) if bytes > self.sizes.inline_bytes_max => {
                self.cut_large((owner, root), held, before, out)?;
                held = Vec::new();
            }
            Some(_) => {}
        }
        let slots = held.into_iter().map(|(_, slot)| slot).collect();
        Ok(AccountEntry { row, slots })
    }

    /// Cuts the slots of one account: those that were read already, and the rest.
    fn cut_large(
        &mut self,
        (owner, root): (Hash, Hash),
        held: Vec<(Hash, SlotRow)>,
        mut before: Option<Hash>,
        out: &mut Output<'_, E>,
    ) -> Result<(), BuildError<E>> {
        let mut put = |(prefix, slots): Cut<SlotRow>| out.put(owner, root, &prefix, ChunkRows::Slots(slots));
        let mut cutter = Cutter::new(self.sizes.rows_bytes_max);
        for (key, slot) in held {
            cutter.push(key, encoded_len(&slot), slot, &mut put)?;
        }
        while let Some((key, slot)) = self.next_of(owner)? {
            check_key::<E>(key, slot_key(&slot.slot), &mut before)?;
            cutter.push(key, encoded_len(&slot), slot, &mut put)?;
        }
        cutter.finish(&mut put)
    }

    fn check_end(mut self) -> Result<(), BuildError<E>> {
        match self.rows.next() {
            None => Ok(()),
            Some(row) => Err(BuildError::StraySlots { account: row?.0 }),
        }
    }
}

type Prove<'a, E> = dyn FnMut(&Hash, &Hash, &Nibbles) -> Result<PrefixProof, E> + 'a;
type Emit<'a, E> = dyn FnMut(&ChunkInfo, Vec<u8>) -> Result<(), E> + 'a;

/// Where chunks go.
struct Output<'a, E> {
    prove: &'a mut Prove<'a, E>,
    emit: &'a mut Emit<'a, E>,
    chunks: Vec<ChunkInfo>,
}

impl<E> Output<'_, E> {
    fn put(
        &mut self,
        owner: Hash,
        root: Hash,
        prefix: &Nibbles,
        rows: ChunkRows,
    ) -> Result<(), BuildError<E>> {
        if self.chunks.len() >= CHUNKS_MAX {
            return Err(BuildError::TooManyChunks);
        }
        let too_large = |got| BuildError::TooLarge {
            owner,
            prefix: *prefix,
            got,
        };
        let proof = (self.prove)(&owner, &root, prefix)?.encode();
        if proof.len() > CHUNK_PROOF_BYTES_MAX {
            return Err(too_large(proof.len()));
        }
        let count = rows.count();
        let chunk = Chunk {
            owner,
            prefix: KeyPrefix::new(prefix),
            rows,
            proof,
        };
        let bytes = chunk.to_bytes();
        drop(chunk);
        let (Ok(len), Ok(count)) = (u32::try_from(bytes.len()), u32::try_from(count)) else {
            return Err(too_large(bytes.len()));
        };
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(too_large(bytes.len()));
        }
        let info = ChunkInfo {
            owner,
            root,
            prefix: KeyPrefix::new(prefix),
            bytes: len,
            rows: count,
            hash: chunk_hash(&bytes),
        };
        (self.emit)(&info, bytes)?;
        self.chunks.push(info);
        Ok(())
    }
}
