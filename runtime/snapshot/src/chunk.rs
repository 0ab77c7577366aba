//! A chunk: the rows under one prefix of one trie, and the proof that they are all of them.

use vibecoin_primitives::limits::{KIB, MIB};
use vibecoin_primitives::{AccountRow, Domain, Encoded, Hash, SlotRow, encode};
use wincode::len::UseIntLen;
use wincode::{SchemaRead, SchemaWrite, containers};

use crate::prefix::KeyPrefix;

/// Maximum bytes of the rows of one chunk; a prefix with more is cut into its 16 children.
///
/// Smaller chunks cost a larger manifest and more proofs. Larger ones cost memory on both sides for each chunk in
/// flight, and more to fetch again when one is damaged.
pub const CHUNK_ROWS_BYTES_MAX: usize = MIB;
/// Maximum bytes of the slots that are sent right behind their account; the slots of larger accounts have chunks of
/// their own.
pub const INLINE_SLOTS_BYTES_MAX: usize = 64 * KIB;
/// Maximum bytes of an encoded prefix proof in a chunk.
pub const CHUNK_PROOF_BYTES_MAX: usize = 16 * KIB;
/// Maximum bytes of an encoded chunk: rows, proof, and the fields around them.
pub const CHUNK_BYTES_MAX: usize = CHUNK_ROWS_BYTES_MAX + CHUNK_PROOF_BYTES_MAX + 128;
/// Bytes of the smallest row: a slot row with a value of one byte. An account with its count of slots is larger.
pub(crate) const ROW_BYTES_MIN: u64 = 32 + 8 + 1;
/// Bytes of the smallest account in a chunk: address, account without optional fields, count of slots.
const ACCOUNT_BYTES_MIN: usize = 32 + 22 + 8;
/// Maximum bytes of memory that a list of a chunk may request when decoded.
const ACCOUNTS_MEMORY_MAX: usize = CHUNK_BYTES_MAX / ACCOUNT_BYTES_MIN * size_of::<AccountEntry>();
const SLOTS_MEMORY_MAX: usize = CHUNK_BYTES_MAX / 41 * size_of::<SlotRow>();

const _: () = assert!(ROW_BYTES_MIN == 41 && ACCOUNT_BYTES_MIN >= 41);
const _: () = assert!(ACCOUNTS_MEMORY_MAX <= 4 * MIB && SLOTS_MEMORY_MAX <= 4 * MIB);
// An account with all the slots that may follow it is never too large for a chunk.
const _: () = assert!(INLINE_SLOTS_BYTES_MAX + 256 <= CHUNK_ROWS_BYTES_MAX);
const _: () = assert!(SlotRow::BYTES_MAX <= INLINE_SLOTS_BYTES_MAX);

/// An account, and its slots unless they have chunks of their own.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct AccountEntry {
    /// The account's row.
    pub row: AccountRow,
    /// All slots of the account, ascending by key; none when it has no slots, or more than
    /// [`INLINE_SLOTS_BYTES_MAX`] of them.
    #[wincode(with = "containers::Vec<SlotRow, UseIntLen<u64, SLOTS_MEMORY_MAX>>")]
    pub slots: Vec<SlotRow>,
}

impl Encoded for AccountEntry {
    const NAME: &'static str = "account of a chunk";
    const BYTES_MAX: usize = CHUNK_ROWS_BYTES_MAX;
}

/// The rows of a chunk, ascending by key. Keys are not sent: they are the hashes of addresses and slots.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum ChunkRows {
    /// Of the account trie.
    Accounts(
        #[wincode(with = "containers::Vec<AccountEntry, UseIntLen<u64, ACCOUNTS_MEMORY_MAX>>")]
        Vec<AccountEntry>,
    ),
    /// Of the storage trie of one account.
    Slots(#[wincode(with = "containers::Vec<SlotRow, UseIntLen<u64, SLOTS_MEMORY_MAX>>")] Vec<SlotRow>),
}

impl ChunkRows {
    /// Number of rows: accounts and slots.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Accounts(accounts) => accounts
                .iter()
                .fold(accounts.len(), |sum, entry| sum.saturating_add(entry.slots.len())),
            Self::Slots(slots) => slots.len(),
        }
    }
}

/// A chunk.
///
/// ```text
/// offset  bytes  field
///      0     32  owner of the trie; zero for the account trie
///     32     33  prefix of the keys
///     65      4  tag of the rows: 0 accounts (owner zero), 1 slots (any other owner)
///     69      8  count, then the rows, ascending by key
///                  account: account row ‖ u64 count of its slots ‖ slot rows
///                  slot:    slot row
///             8  length of the proof, then the proof
/// ```
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Chunk {
    /// Owner of the trie: [`Hash::ZERO`] for the account trie, else the key of an account.
    pub owner: Hash,
    /// Prefix of the keys.
    pub prefix: KeyPrefix,
    /// All rows whose keys begin with the prefix.
    pub rows: ChunkRows,
    /// [`vibecoin_trie::PrefixProof::encode`]: that these are all, against the trie's root.
    #[wincode(with = "containers::Vec<u8, UseIntLen<u64, CHUNK_PROOF_BYTES_MAX>>")]
    pub proof: Vec<u8>,
}

impl Encoded for Chunk {
    const NAME: &'static str = "snapshot chunk";
    const BYTES_MAX: usize = CHUNK_BYTES_MAX;
}

impl Chunk {
    /// The bytes that are hashed and, compressed or not, stored and sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }
}

/// The hash of an encoded, uncompressed chunk.
#[must_use]
pub fn chunk_hash(bytes: &[u8]) -> Hash {
    Domain::SnapshotChunk.hash(bytes)
}
