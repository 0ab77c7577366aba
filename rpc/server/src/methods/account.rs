//! `account_*`.

use jsonrpsee::core::async_trait;
use vibecoin_primitives::{Account, Address, Nonce, account_key};
use vibecoin_rpc_api::limits::ADDRESSES_MAX;
use vibecoin_rpc_api::methods::AccountApiServer;
use vibecoin_rpc_api::views::{
    AccountListOptions, AccountView, AtOptions, BalanceView, Ctx, NonceView, Page, ReadOptions,
};
use vibecoin_rpc_api::{AddressArg, ApiError, AtMost, BlockRef, BlockSelector};
use vibecoin_rpc_backend::{Backend, BackendError, Read};

use super::{Query, Rpc, answer, context, hash_position, page_size};
use crate::errors::Coded as _;

impl<B: Backend> Rpc<B> {
    async fn account(
        &self,
        address: AddressArg,
        options: Option<ReadOptions>,
    ) -> Result<(Address, Read<Option<Account>>), ApiError> {
        let address = self.address(address)?;
        let ReadOptions { at, min_height } = options.unwrap_or_default();
        self.reach(min_height).await?;
        let read = self.backend.accounts(self.state_at(at)?, &[address]).coded()?;
        let account = read.value.first().copied().flatten();
        Ok((
            address,
            Read {
                context: read.context,
                value: account,
            },
        ))
    }

    fn accounts_page(&self, options: AccountListOptions) -> Result<Ctx<Page<AccountView>>, ApiError> {
        let limit = page_size(options.limit)?;
        let least = options.min_balance.unwrap_or_default();
        let query = Query::new(&[b"account_list", &least.0.to_le_bytes()]);
        let pinned = options.at.clone().map(BlockRef::get).transpose()?;
        let pinned = pinned.is_some_and(|at| at != BlockSelector::Latest);
        let (at, after) = match query.open(options.cursor)? {
            Some(cursor) => (Some(cursor.height), Some(hash_position(&cursor)?)),
            None => (self.state_at(options.at)?, None),
        };
        let read = match self.backend.list_accounts(at, after, limit) {
            // The state of the first page is pruned by a later block. A list without a named height
            // continues in the newest state: in the order of the keys no account is listed twice, and
            // none is left out that existed all the time.
            Err(BackendError::Pruned { .. }) if after.is_some() && !pinned => {
                self.backend.list_accounts(None, after, limit)
            }
            read => read,
        }
        .coded()?;
        // A page may be short, even empty, when many accounts own less: the cursor continues.
        let next_cursor = read
            .value
            .last()
            .filter(|_| read.value.len() == limit)
            .map(|(address, _)| query.cursor(read.context.height, &account_key(address).0));
        let prefix = self.prefix();
        let items = read
            .value
            .iter()
            .filter(|(_, account)| account.balance.0 >= least.0);
        let items = items
            .map(|(address, account)| AccountView::new(*address, account, prefix))
            .collect();
        Ok(Ctx {
            context: context(&read.context),
            value: Page { items, next_cursor },
        })
    }
}

#[async_trait]
impl<B: Backend> AccountApiServer for Rpc<B> {
    async fn get(
        &self,
        address: AddressArg,
        options: Option<ReadOptions>,
    ) -> Result<Ctx<Option<AccountView>>, ApiError> {
        let (address, read) = self.account(address, options).await?;
        Ok(answer(read, |account| {
            account.map(|account| AccountView::new(address, &account, self.prefix()))
        }))
    }

    async fn get_many(
        &self,
        addresses: AtMost<AddressArg, ADDRESSES_MAX>,
        options: Option<AtOptions>,
    ) -> Result<Ctx<Vec<Option<AccountView>>>, ApiError> {
        let addresses: Vec<Address> = addresses
            .get("addresses")?
            .into_iter()
            .map(|address| self.address(address))
            .collect::<Result<_, _>>()?;
        let read = self
            .backend
            .accounts(self.state_at(options.unwrap_or_default().at)?, &addresses)
            .coded()?;
        let view = |(account, address): (Option<Account>, &Address)| {
            account.map(|account| AccountView::new(*address, &account, self.prefix()))
        };
        Ok(answer(read, |accounts| {
            accounts.into_iter().zip(&addresses).map(view).collect()
        }))
    }

    async fn get_balance(
        &self,
        address: AddressArg,
        options: Option<ReadOptions>,
    ) -> Result<Ctx<BalanceView>, ApiError> {
        let (_, read) = self.account(address, options).await?;
        Ok(answer(read, |account| BalanceView {
            balance: account.unwrap_or_default().balance.into(),
        }))
    }

    async fn get_nonce(&self, address: AddressArg) -> Result<Ctx<NonceView>, ApiError> {
        let (address, read) = self.account(address, None).await?;
        let committed = read.value.map_or(Nonce::ZERO, |account| account.nonce);
        // The pool may lag behind the block that was just committed, never the other way round.
        let pending = self
            .backend
            .pool_account(&address)
            .next_nonce
            .unwrap_or(committed)
            .max(committed);
        Ok(answer(read, |_| NonceView {
            committed: committed.into(),
            pending_next: pending.into(),
        }))
    }

    async fn list(&self, options: Option<AccountListOptions>) -> Result<Ctx<Page<AccountView>>, ApiError> {
        self.accounts_page(options.unwrap_or_default())
    }
}
