//! Contents of the state: accounts, slots, and the chain's own records.

use wincode::containers;
use wincode::len::UseIntLen;
use wincode::{SchemaRead, SchemaWrite};

use crate::limits::{ACCOUNT_ROW_BYTES_MAX, BLOCK_ROWS_MAX, DIFF_BYTES_MAX, SLOT_VALUE_BYTES_MAX};
use crate::{Address, Amount, Domain, Encoded, Hash, Nonce};

/// Kind of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, SchemaWrite, SchemaRead)]
pub enum AccountType {
    /// Its address is a public key whose owner signs for it.
    #[default]
    User,
    /// Belongs to the chain; no key signs for it.
    System,
}

/// One account: the value of a leaf of the account trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct Account {
    /// Base units owned.
    pub balance: Amount,
    /// Number of transactions spent; the nonce of the next one.
    pub nonce: Nonce,
    /// The kind of the account.
    pub kind: AccountType,
    /// Hash of the account's code; always `None` until contracts are supported.
    pub code: Option<Hash>,
    /// Root of the account's storage trie; `None` when it has no slots.
    pub storage_root: Option<Hash>,
}

impl Encoded for Account {
    const NAME: &'static str = "account";
    const BYTES_MAX: usize = 128;
}

/// The key of an account in the account trie.
#[must_use]
pub fn account_key(address: &Address) -> Hash {
    Domain::TrieAccountKey.hash(&address.0)
}

/// The key of a slot in its account's storage trie.
#[must_use]
pub fn slot_key(slot: &Hash) -> Hash {
    Domain::TrieSlotKey.hash(&slot.0)
}

/// A key of the flat state: hashed, so that key order is path order in the tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead)]
pub enum StateKey {
    /// An account, by [`account_key`].
    Account(Hash),
    /// A slot, by [`account_key`] of its owner and [`slot_key`].
    Slot(Hash, Hash),
}

/// A row of the flat state for an account: with the address, since the key is a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct AccountRow {
    /// The address.
    pub address: Address,
    /// The account.
    pub account: Account,
}

impl Encoded for AccountRow {
    const NAME: &'static str = "account row";
    const BYTES_MAX: usize = ACCOUNT_ROW_BYTES_MAX;
}

/// A row of the flat state for a slot: with the slot, since the key is a hash.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct SlotRow {
    /// The slot.
    pub slot: Hash,
    /// Its value, never empty.
    pub value: Vec<u8>,
}

impl Encoded for SlotRow {
    const NAME: &'static str = "slot row";
    const BYTES_MAX: usize = SLOT_VALUE_BYTES_MAX + 64;
}

/// One changed row: the key, the encoded row before, and the encoded row after; `None` is absence.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct DiffEntry {
    /// The key.
    pub key: StateKey,
    /// The encoded row before the block.
    pub old: Option<Vec<u8>>,
    /// The encoded row after the block.
    pub new: Option<Vec<u8>>,
}

/// Maximum bytes of memory that the entries of one diff may request when decoded.
const DIFF_MEMORY_MAX: usize = BLOCK_ROWS_MAX * size_of::<DiffEntry>();

/// Everything a block changed in the state, ascending by key: the commit of the block.
#[derive(Clone, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct StateDiff {
    /// State root before the block.
    pub parent_root: Hash,
    /// State root after the block.
    pub root: Hash,
    /// Changed rows, strictly ascending by key.
    #[wincode(with = "containers::Vec<DiffEntry, UseIntLen<u64, DIFF_MEMORY_MAX>>")]
    pub entries: Vec<DiffEntry>,
}

impl Encoded for StateDiff {
    const NAME: &'static str = "state diff";
    const BYTES_MAX: usize = DIFF_BYTES_MAX;
}

/// Slots of [`Address::system`].
pub mod records {
    use crate::{Hash, Height};

    /// A record's slot: its name, padded with zeros.
    const fn slot(name: &[u8]) -> Hash {
        let mut bytes = [0u8; 32];
        let (head, _) = bytes.split_at_mut(name.len());
        head.copy_from_slice(name);
        Hash(bytes)
    }

    /// Base units burned since genesis, `u64` little-endian.
    pub const BURNED: Hash = slot(b"burned");
    /// Base units created by genesis, `u64` little-endian.
    pub const SUPPLY: Hash = slot(b"supply");
    /// The encoded [`crate::ProposerSchedule`] of the next height.
    pub const SCHEDULE: Hash = slot(b"proposer schedule");

    /// The encoded [`crate::OffenceRecord`] of a height: a name and, in the last eight bytes, the height.
    #[must_use]
    pub fn offences(height: Height) -> Hash {
        let mut name = slot(b"offences of height").0;
        if let Some(place) = name.last_chunk_mut() {
            *place = height.0.to_le_bytes();
        }
        Hash(name)
    }
}
