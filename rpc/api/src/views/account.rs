//! Accounts and their slots.

use serde::{Deserialize, Serialize};
use vibecoin_primitives::{Account, AccountType, Address, AddressPrefix, Hash};

use crate::block_ref::BlockRef;
use crate::scalars::{AddressText, Bytes, CursorArg, Shown, U64};

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// Its address.
    pub address: Shown<AddressText>,
    /// Base units owned.
    pub balance: U64,
    /// The nonce of its next transaction.
    pub nonce: U64,
    /// `user` or `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Hash of its code; absent for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hash: Option<Shown<Hash>>,
    /// Root of its storage trie; absent when it has no slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_root: Option<Shown<Hash>>,
}

impl AccountView {
    /// The account at this address.
    #[must_use]
    pub fn new(address: Address, account: &Account, prefix: AddressPrefix) -> Self {
        Self {
            address: Shown(AddressText::new(address, prefix)),
            balance: account.balance.into(),
            nonce: account.nonce.into(),
            kind: match account.kind {
                AccountType::User => "user".to_owned(),
                AccountType::System => "system".to_owned(),
            },
            code_hash: account.code.map(Shown),
            storage_root: account.storage_root.map(Shown),
        }
    }
}

/// A balance: `account_getBalance`. An account that does not exist owns 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceView {
    /// Base units owned.
    pub balance: U64,
}

/// Nonces: `account_getNonce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NonceView {
    /// The next nonce as of the newest block.
    pub committed: U64,
    /// The next nonce when everything that waits in this node's pool without a gap is counted.
    pub pending_next: U64,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotView {
    /// The slot.
    pub slot: Shown<Hash>,
    /// Its value; `null` when there is none.
    pub value: Option<Shown<Bytes>>,
}

/// Options of reads of one account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReadOptions {
    /// The state to read; default `latest`.
    pub at: Option<BlockRef>,
    /// Wait at most two seconds until the node has this height, else 1202.
    pub min_height: Option<U64>,
}

/// Options of reads at a height.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AtOptions {
    /// The state to read; default `latest`.
    pub at: Option<BlockRef>,
}

/// Options of `account_list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AccountListOptions {
    /// The state to read; default `latest`. Later pages keep the height of the first. When that state is
    /// gone, pages that named no height go on in the newest one; `context` names the state of each page.
    pub at: Option<BlockRef>,
    /// Items per page, 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// From the page before.
    pub cursor: Option<CursorArg>,
    /// Leave out accounts that own less.
    pub min_balance: Option<U64>,
}
