//! `account_*`: accounts as of a block.

use jsonrpsee::proc_macros::rpc;

use crate::error::ApiError;
use crate::limits::ADDRESSES_MAX;
use crate::list::AtMost;
use crate::scalars::AddressArg;
use crate::views::{
    AccountListOptions, AccountView, AtOptions, BalanceView, Ctx, NonceView, Page, ReadOptions,
};

#[rpc(client, server, namespace = "account")]
pub trait AccountApi {
    /// An account; `value` is `null` when there is none.
    ///
    /// Errors: 1001, 1002, 1101, 1103, 1202.
    #[method(name = "get", param_kind = map)]
    async fn get(
        &self,
        address: AddressArg,
        options: Option<ReadOptions>,
    ) -> Result<Ctx<Option<AccountView>>, ApiError>;

    /// Up to 100 accounts of one state, in the order of the request.
    ///
    /// Errors: 1001, 1002, 1101, 1103, 1402.
    #[method(name = "getMany", param_kind = map)]
    async fn get_many(
        &self,
        addresses: AtMost<AddressArg, ADDRESSES_MAX>,
        options: Option<AtOptions>,
    ) -> Result<Ctx<Vec<Option<AccountView>>>, ApiError>;

    /// The balance in base units; 0 when there is no such account.
    ///
    /// Errors: 1001, 1002, 1101, 1103, 1202.
    #[method(name = "getBalance", param_kind = map)]
    async fn get_balance(
        &self,
        address: AddressArg,
        options: Option<ReadOptions>,
    ) -> Result<Ctx<BalanceView>, ApiError>;

    /// The nonce for the next transaction: committed, and with this node's pool counted.
    ///
    /// Errors: 1001.
    #[method(name = "getNonce", param_kind = map)]
    async fn get_nonce(&self, address: AddressArg) -> Result<Ctx<NonceView>, ApiError>;

    /// All accounts in trie-key order, page by page. No account is listed twice, and none is left out that
    /// existed all the time, also when the chain moves between two pages.
    ///
    /// Errors: 1002, 1003, 1101, 1103.
    #[method(name = "list", param_kind = map)]
    async fn list(&self, options: Option<AccountListOptions>) -> Result<Ctx<Page<AccountView>>, ApiError>;
}
