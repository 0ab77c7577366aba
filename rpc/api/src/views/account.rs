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
    /// Balance in base units.
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

/// A balance: `account_getBalance`. An account that does not exist has balance 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceView {
    /// Balance in base units.
    pub balance: U64,
}

/// Nonces: `account_getNonce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NonceView {
    /// The next nonce as of the newest block.
    pub committed: U64,
    /// The next nonce including transactions in this node's pool that have no gap.
    pub pending_next: U64,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotView {
    /// The slot.
    pub slot: Shown<Hash>,
    /// Its value; `null` if it is unset.
    pub value: Option<Shown<Bytes>>,
}

/// Options of reads of one account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReadOptions {
    /// The state to read; default `latest`.
    pub at: Option<BlockRef>,
    /// Wait up to two seconds until the node has this height, else 1202.
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
    /// pruned, pages that named no height continue in the newest one; `context` names the state of each
    /// page.
    pub at: Option<BlockRef>,
    /// Items per page, 1 to 1000, default 100.
    pub limit: Option<u32>,
    /// Cursor of the previous page.
    pub cursor: Option<CursorArg>,
    /// Minimum balance of listed accounts.
    pub min_balance: Option<U64>,
}
