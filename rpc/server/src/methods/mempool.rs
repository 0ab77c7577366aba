//! `mempool_*`.

use jsonrpsee::core::async_trait;
use vibecoin_primitives::Height;
use vibecoin_rpc_api::methods::MempoolApiServer;
use vibecoin_rpc_api::views::{
    MempoolAccountView, MempoolEntryView, MempoolListOptions, MempoolStatusView, Page, TransactionView,
};
use vibecoin_rpc_api::{AddressArg, ApiError, U64};

use super::{Query, Rpc, hash_position, page_size};
use crate::backend::{Backend, PoolEntry};

impl<B: Backend> Rpc<B> {
    pub(crate) fn pool_view(&self) -> MempoolStatusView {
        let pool = self.backend.pool_status();
        MempoolStatusView {
            count: U64(pool.count),
            bytes: U64(pool.bytes),
            pending: U64(pool.pending),
            queued: U64(pool.queued),
            oldest_ms: pool.oldest.map(U64::from),
            min_fee: pool.fee_min.into(),
            count_max: U64(pool.count_max),
            bytes_max: U64(pool.bytes_max),
            per_sender_max: U64(pool.per_sender_max),
        }
    }

    fn entry_view(&self, entry: &PoolEntry) -> MempoolEntryView {
        let transaction = &entry.transaction;
        MempoolEntryView {
            transaction: TransactionView::new(
                transaction.transaction(),
                *transaction.id(),
                self.prefix(),
                None,
            ),
            queued: entry.queued,
        }
    }
}

#[async_trait]
impl<B: Backend> MempoolApiServer for Rpc<B> {
    async fn get_status(&self) -> Result<MempoolStatusView, ApiError> {
        Ok(self.pool_view())
    }

    async fn list(&self, options: Option<MempoolListOptions>) -> Result<Page<MempoolEntryView>, ApiError> {
        let options = options.unwrap_or_default();
        let limit = page_size(options.limit)?;
        let sender = options.sender.map(|sender| self.address(sender)).transpose()?;
        let query = Query::new(&[
            b"mempool_list",
            sender.as_ref().map_or(&[][..], |sender| &sender.0),
        ]);
        let after = query
            .open(options.cursor)?
            .as_ref()
            .map(hash_position)
            .transpose()?;
        // A page out of a large pool takes milliseconds.
        let entries = self
            .expensive(move |rpc| Ok(rpc.backend.pool_list(sender.as_ref(), after.as_ref(), limit)))
            .await?;
        let next_cursor = entries
            .last()
            .filter(|_| entries.len() == limit)
            .map(|last| query.cursor(Height::ZERO, &last.transaction.id().0));
        Ok(Page {
            items: entries.iter().map(|entry| self.entry_view(entry)).collect(),
            next_cursor,
        })
    }

    async fn get_account(&self, address: AddressArg) -> Result<MempoolAccountView, ApiError> {
        let account = self.backend.pool_account(&self.address(address)?);
        let (queued, pending): (Vec<_>, Vec<_>) = account
            .entries
            .iter()
            .map(|entry| self.entry_view(entry))
            .partition(|entry| entry.queued);
        Ok(MempoolAccountView { pending, queued })
    }
}
