//! `mempool_*`.

use jsonrpsee::core::async_trait;
use vibecoin_primitives::Height;
use vibecoin_rpc_api::limits::PAGE_BYTES_MAX;
use vibecoin_rpc_api::methods::MempoolApiServer;
use vibecoin_rpc_api::views::{
    MempoolAccountView, MempoolEntryView, MempoolListOptions, MempoolStatusView, Page, TransactionView,
};
use vibecoin_rpc_api::{AddressArg, ApiError, Code, U64};
use vibecoin_rpc_backend::{Backend, PoolEntry};

use super::{Query, Rpc, hash_position, page_size};

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

/// Number of leading entries that have up to `bytes_max` bytes together.
fn count_within(bytes_max: usize, entries: &[PoolEntry]) -> usize {
    let bytes = |entry: &PoolEntry| usize::try_from(entry.transaction.byte_len()).unwrap_or(usize::MAX);
    let sums = entries.iter().scan(0usize, |sum, entry| {
        *sum = sum.saturating_add(bytes(entry));
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= bytes_max).count()
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
        let mut entries = self.backend.pool_list(sender.as_ref(), after.as_ref(), limit);
        let found = entries.len();
        // A page of large transactions ends early, after its first at the soonest.
        let fitting = count_within(PAGE_BYTES_MAX, &entries).max(1);
        entries.truncate(fitting);
        let next_cursor = entries
            .last()
            .filter(|_| found == limit || entries.len() < found)
            .map(|last| query.cursor(Height::ZERO, &last.transaction.id().0));
        Ok(Page {
            items: entries.iter().map(|entry| self.entry_view(entry)).collect(),
            next_cursor,
        })
    }

    async fn get_account(&self, address: AddressArg) -> Result<MempoolAccountView, ApiError> {
        let account = self.backend.pool_account(&self.address(address)?);
        if count_within(PAGE_BYTES_MAX, &account.entries) < account.entries.len() {
            let message =
                "too much waits for this account for one answer; see mempool_list with its `sender`";
            return Err(ApiError::new(Code::TooExpensive, message).with("bytesMax", PAGE_BYTES_MAX));
        }
        let (queued, pending): (Vec<_>, Vec<_>) = account
            .entries
            .iter()
            .map(|entry| self.entry_view(entry))
            .partition(|entry| entry.queued);
        Ok(MempoolAccountView { pending, queued })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mock::MockBackend;

    #[test]
    fn a_page_has_as_many_entries_as_its_bytes_allow() {
        let node = MockBackend::new();
        let entry = |nonce| {
            let transaction = node.transfer(0, nonce, MockBackend::address(1), 1);
            PoolEntry {
                transaction: Arc::new(transaction.verify(&node.facts().genesis).unwrap()),
                queued: false,
            }
        };
        let entries: Vec<PoolEntry> = (0..3).map(entry).collect();
        let one = usize::try_from(entries.first().unwrap().transaction.byte_len()).unwrap();
        let within = |bytes| count_within(bytes, &entries);
        let counts = [
            one.saturating_sub(1),
            one,
            one.saturating_mul(3).saturating_sub(1),
            usize::MAX,
        ]
        .map(within);
        assert_eq!(counts, [0, 1, 2, 3]);
    }
}
