//! Every key and value of the database, in one place.
//!
//! Keys are binary, heights big-endian so that key order is height order. Values are encoded by
//! `primitives::codec` unless another format is named.
//!
//! ```text
//! family   key                                            value
//! meta     "schema"                                       schema version, u32
//!          "creating"                                     empty; first row of a creation, gone with its end
//!          "genesis"                                      GenesisRecord
//!          "head"                                         Head
//!          "base"                                         Head: block of the snapshot that the chain begins with
//!                                                         here; absent where it begins with genesis
//!          "rewind"                                       Height a rewind in progress goes to
//! headers  00 ‖ height u64 BE                             Header
//!          01 ‖ height u64 BE                             CommitCertificate (none at height 0)
//!          02 ‖ block hash 32                             Height
//! blocks   height u64 BE ‖ 00                             Body
//!          height u64 BE ‖ 01                             Receipts
//!          height u64 BE ‖ 02                             StateDiff (none at height 0)
//! state    00                                             Materialised
//!          01 ‖ account key 32                            AccountRow
//!          02 ‖ account key 32 ‖ slot key 32              SlotRow
//!          03 ‖ owner 32 ‖ packed path ‖ nibble count     trie node, NodeRecord::encode
//!          04 ‖ transaction id 32                         Place
//! ```
//!
//! A block is written in one synced batch of [`COMMIT_KEYS`] keys whatever it contains. Family `state` is
//! written only by ingests that carry key `00`, so its rows always belong to the height in that key.
//!
//! Of the base, the block of a snapshot, there are the header, the certificate and the hash, but neither body, receipts
//! nor diff; of the blocks below it there is nothing.

use crate::StorageError;
use vibecoin_primitives::{
    Account, AccountRow, ChainParams, Encoded, Hash, Height, SlotRow, StateKey, ValidatorSet, account_key,
    decode, encode, slot_key,
};
use vibecoin_trie::Nibbles;
use wincode::{SchemaRead, SchemaWrite};

/// The schema that this program reads and writes.
///
/// Since 2 the record of a trie node has the keys of its leaves, and a trie of one entry has a record. The row [`BASE`]
/// did not change it: a database without that row is read as before.
pub const SCHEMA_VERSION: u32 = 2;

/// Keys in the batch that commits a block: head, header, certificate, hash, body, receipts, diff.
pub const COMMIT_KEYS: usize = 7;

const _: () = assert!(COMMIT_KEYS <= 10, "a block is one batch of at most ten keys");

/// Key of the schema version, in family `meta`.
pub const SCHEMA: &[u8] = b"schema";
/// Key of the row that marks a creation in progress, in family `meta`. Without it and without a schema
/// version, a database with any rows is damaged.
pub const CREATING: &[u8] = b"creating";
/// Key of the genesis record, in family `meta`.
pub const GENESIS: &[u8] = b"genesis";
/// Key of the head, in family `meta`.
pub const HEAD: &[u8] = b"head";
/// Key of the base, in family `meta`: the block of the snapshot that the chain begins with in this database.
pub const BASE: &[u8] = b"base";
/// Key of the intent to rewind, in family `meta`.
pub const REWIND: &[u8] = b"rewind";
/// Key of the materialised height, in family `state`.
pub const MATERIALISED: &[u8] = &[0];

/// First byte of the keys of account rows.
pub const ACCOUNTS: u8 = 1;
/// First byte of the keys of slot rows.
pub const SLOTS: u8 = 2;
/// First byte of the keys of trie nodes.
pub const NODES: u8 = 3;
/// First byte of the keys of the transaction index.
pub const TRANSACTIONS: u8 = 4;

/// First byte of the keys of headers.
pub const HEADERS: u8 = 0;
/// First byte of the keys of certificates.
pub const CERTIFICATES: u8 = 1;
/// First byte of the keys of heights by block hash.
pub const HASHES: u8 = 2;

/// Contents of family `blocks` for each height, by the last byte of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockPart {
    /// The encoded body.
    Body,
    /// The receipts.
    Receipts,
    /// The state diff.
    Diff,
}

/// Bytes of the address in front of the account in an encoded [`AccountRow`].
const ACCOUNT_ROW_HEAD: usize = 32;
/// Bytes of slot and length in front of the value in an encoded [`SlotRow`].
const SLOT_ROW_HEAD: usize = 32 + 8;

/// The last committed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Head {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
}

impl Encoded for Head {
    const NAME: &'static str = "head";
    const BYTES_MAX: usize = 40;
}

/// Progress of family `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Materialised {
    /// The block with this state.
    pub height: Height,
    /// The root of that state.
    pub root: Hash,
}

impl Encoded for Materialised {
    const NAME: &'static str = "materialised height";
    const BYTES_MAX: usize = 40;
}

/// Position of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub struct Place {
    /// The block's height.
    pub height: Height,
    /// Position in the block, from zero.
    pub index: u32,
}

impl Encoded for Place {
    const NAME: &'static str = "place of a transaction";
    const BYTES_MAX: usize = 12;
}

/// Initial data of the chain.
#[derive(Debug, Clone, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct GenesisRecord {
    /// The genesis hash, which identifies the chain.
    pub hash: Hash,
    /// The chain's parameters.
    pub params: ChainParams,
    /// The validators.
    pub validators: ValidatorSet,
}

impl Encoded for GenesisRecord {
    const NAME: &'static str = "genesis record";
    const BYTES_MAX: usize = 64 + ChainParams::BYTES_MAX + ValidatorSet::BYTES_MAX;
}

/// A height alone, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct HeightRecord(pub Height);

impl Encoded for HeightRecord {
    const NAME: &'static str = "height";
    const BYTES_MAX: usize = 8;
}

fn keyed(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(rest.len().saturating_add(1));
    key.push(first);
    key.extend_from_slice(rest);
    key
}

/// Key of a header.
#[must_use]
pub fn header_key(height: Height) -> Vec<u8> {
    keyed(HEADERS, &height.0.to_be_bytes())
}

/// Key of a certificate.
#[must_use]
pub fn certificate_key(height: Height) -> Vec<u8> {
    keyed(CERTIFICATES, &height.0.to_be_bytes())
}

/// Key of the height of a block hash.
#[must_use]
pub fn hash_key(hash: &Hash) -> Vec<u8> {
    keyed(HASHES, &hash.0)
}

/// Key of a part of a block.
#[must_use]
pub fn block_key(height: Height, part: BlockPart) -> Vec<u8> {
    let mut key = height.0.to_be_bytes().to_vec();
    key.push(match part {
        BlockPart::Body => 0,
        BlockPart::Receipts => 1,
        BlockPart::Diff => 2,
    });
    key
}

/// Key of a flat row.
#[must_use]
pub fn flat_key(key: &StateKey) -> Vec<u8> {
    match key {
        StateKey::Account(account) => keyed(ACCOUNTS, &account.0),
        StateKey::Slot(owner, slot) => {
            let mut bytes = Vec::with_capacity(65);
            bytes.push(SLOTS);
            bytes.extend_from_slice(&owner.0);
            bytes.extend_from_slice(&slot.0);
            bytes
        }
    }
}

/// Parses a flat row's key; `None` when it is not one.
#[must_use]
pub fn parse_flat_key(key: &[u8]) -> Option<StateKey> {
    let (first, rest) = key.split_first()?;
    match *first {
        ACCOUNTS => Some(StateKey::Account(Hash(rest.try_into().ok()?))),
        SLOTS => {
            let (owner, slot) = rest.split_at_checked(32)?;
            Some(StateKey::Slot(
                Hash(owner.try_into().ok()?),
                Hash(slot.try_into().ok()?),
            ))
        }
        _ => None,
    }
}

/// Key of a trie node; [`Hash::ZERO`] owns the account trie.
#[must_use]
pub fn node_key(owner: &Hash, path: &Nibbles) -> Vec<u8> {
    let mut key = keyed(NODES, &owner.0);
    path.write_key(&mut key);
    key
}

/// Key of the index entry of a transaction.
#[must_use]
pub fn transaction_key(id: &Hash) -> Vec<u8> {
    keyed(TRANSACTIONS, &id.0)
}

/// The value of an account's leaf in the trie, a part of the encoded row: the encoded account.
///
/// # Errors
/// [`StorageError::Corrupt`] when the row is too short.
pub fn account_leaf(row: &[u8]) -> Result<&[u8], StorageError> {
    row.get(ACCOUNT_ROW_HEAD..)
        .ok_or_else(|| StorageError::corrupt("account row", "too short"))
}

/// The value of a slot's leaf in the trie, a part of the encoded row: the bytes of the value.
///
/// # Errors
/// [`StorageError::Corrupt`] when the row is too short.
pub fn slot_leaf(row: &[u8]) -> Result<&[u8], StorageError> {
    row.get(SLOT_ROW_HEAD..)
        .ok_or_else(|| StorageError::corrupt("slot row", "too short"))
}

/// Encodes an account's row.
#[must_use]
pub fn account_row(row: &AccountRow) -> Vec<u8> {
    encode(row)
}

/// Reads an account's row.
///
/// # Errors
/// [`StorageError::Corrupt`] when the bytes are not a row.
pub fn read_account_row(bytes: &[u8]) -> Result<AccountRow, StorageError> {
    decode(bytes).map_err(StorageError::codec("account row"))
}

/// Reads a slot's row.
///
/// # Errors
/// [`StorageError::Corrupt`] when the bytes are not a row.
pub fn read_slot_row(bytes: &[u8]) -> Result<SlotRow, StorageError> {
    decode(bytes).map_err(StorageError::codec("slot row"))
}

/// Checks that an encoded row is of the account or slot of `key`. The root does not cover that: addresses and
/// slots are in the rows, only their hashes in the trie.
///
/// # Errors
/// [`StorageError::Corrupt`] when the bytes are not a row, or the row of a different key.
pub fn check_row(key: &StateKey, row: &[u8]) -> Result<(), StorageError> {
    let same = match key {
        StateKey::Account(key) => account_key(&read_account_row(row)?.address) == *key,
        StateKey::Slot(_, key) => {
            let row = read_slot_row(row)?;
            slot_key(&row.slot) == *key && !row.value.is_empty()
        }
    };
    if same {
        return Ok(());
    }
    Err(StorageError::corrupt("row", "it is of another key"))
}

/// The root of the storage trie of an account: zero when it has no slots.
#[must_use]
pub fn storage_root(account: Option<&Account>) -> Hash {
    account
        .and_then(|account| account.storage_root)
        .unwrap_or(Hash::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vibecoin_primitives::{Address, Amount};

    #[test]
    fn leaves_are_the_tail_of_their_rows() {
        let account = Account {
            balance: Amount(7),
            storage_root: Some(Hash([3; 32])),
            ..Account::default()
        };
        let row = account_row(&AccountRow {
            address: Address([9; 32]),
            account,
        });
        assert_eq!(account_leaf(&row).expect("long enough"), encode(&account));
        let row = encode(&SlotRow {
            slot: Hash([1; 32]),
            value: b"value".to_vec(),
        });
        assert_eq!(slot_leaf(&row).expect("long enough"), b"value");
        assert!(account_leaf(&[0; 31]).is_err());
        assert!(slot_leaf(&[0; 39]).is_err());
    }

    #[test]
    fn a_flat_key_tells_what_it_is_the_key_of() {
        for key in [
            StateKey::Account(Hash([1; 32])),
            StateKey::Slot(Hash([1; 32]), Hash([2; 32])),
        ] {
            assert_eq!(parse_flat_key(&flat_key(&key)), Some(key));
            assert_eq!(parse_flat_key(&flat_key(&key)[1..]), None);
        }
    }

    #[test]
    fn keys_of_heights_are_in_the_order_of_heights() {
        let keys: Vec<_> = [0, 1, 255, 256, u64::MAX].map(|h| header_key(Height(h))).into();
        assert!(keys.is_sorted());
        assert!(block_key(Height(255), BlockPart::Diff) < block_key(Height(256), BlockPart::Body));
    }
}
