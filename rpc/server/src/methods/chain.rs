//! `chain_*`.

use jsonrpsee::core::async_trait;
use vibecoin_primitives::{
    Address, AddressPrefix, BLOCK_VERSION, Hash, Header, Height, Transaction, records, tick_root,
};
use vibecoin_rpc_api::limits::PAGE_BYTES_MAX;
use vibecoin_rpc_api::methods::ChainApiServer;
use vibecoin_rpc_api::registry::{COUNTED_PER_UNIT, STATS_BLOCKS_PER_UNIT};
use vibecoin_rpc_api::views::{
    AtOptions, BlockOptions, BlockRangeOptions, BlockTransactions, BlockView, CertificateView, ChainInfo,
    Ctx, FeeSuggestion, HeadView, HeaderView, LocationView, Order, Page, ParamsView, PohEntryView,
    ReceiptView, StatsOptions, StatsView, SupplyView, TransactionDetail, TransactionView,
};
use vibecoin_rpc_api::{API_VERSION, ApiError, BlockRef, BlockSelector, Shown, U64};
use vibecoin_rpc_backend::{Backend, BackendError, CommittedBlock};

use super::{Query, Rpc, answer, in_order, number_position, page_size, small};
use crate::errors::Coded as _;
use crate::gate;

/// Bytes of a transaction with one transfer.
const TRANSFER_BYTES: u32 = 188;
/// Bytes of a hash in JSON, with quotes and comma.
const HASH_JSON_BYTES: usize = 69;
/// Bytes of a header in JSON, about.
const HEADER_JSON_BYTES: usize = 1500;
/// Default number of blocks of `chain_getStats`.
const STATS_WINDOW: u32 = 100;
/// Maximum number of blocks of `chain_getStats`.
const STATS_WINDOW_MAX: u32 = 1000;

impl<B: Backend> Rpc<B> {
    pub(crate) fn head_view(&self) -> HeadView {
        let head = self.backend.head();
        HeadView::new(&head.header, head.hash, head.transactions)
    }

    /// A block with the details that `options` requests.
    pub(crate) fn block_view(&self, block: &CommittedBlock, options: &BlockOptions) -> BlockView {
        let transactions = match options.transactions {
            TransactionDetail::None => None,
            TransactionDetail::Hashes => Some(BlockTransactions::Hashes(transaction_ids(block))),
            TransactionDetail::Full => Some(BlockTransactions::Full(self.transaction_views(block))),
        };
        let certificate = if options.certificate {
            block.certificate.as_ref().map(CertificateView::from)
        } else {
            None
        };
        BlockView {
            header: HeaderView::new(&block.header, block.hash),
            tx_count: small(block.receipts.0.len()),
            transactions,
            certificate,
            poh: options.poh.then(|| self.poh_entries(block)),
        }
    }

    /// The transactions of a block with their locations. Their ids are in the receipts already.
    pub(crate) fn transaction_views(&self, block: &CommittedBlock) -> Vec<TransactionView> {
        let prefix = self.prefix();
        block
            .body
            .transactions()
            .zip(&block.receipts.0)
            .zip(0u32..)
            .map(|((transaction, receipt), index)| {
                transaction_view(block, transaction, receipt.v1().transaction, index, prefix)
            })
            .collect()
    }

    /// The ticks of a block.
    pub(crate) fn poh_entries(&self, block: &CommittedBlock) -> Vec<PohEntryView> {
        let mut ids = block
            .receipts
            .0
            .iter()
            .map(|receipt| Shown(receipt.v1().transaction));
        let hashes_per_tick = self.backend.facts().params.hashes_per_tick;
        let tick_view = |(tick, index): (&vibecoin_primitives::Tick, u32)| {
            let leaves: Vec<Hash> = tick
                .transactions
                .iter()
                .map(|transaction| transaction.hash())
                .collect();
            PohEntryView {
                index,
                num_hashes: hashes_per_tick,
                hash: Shown(tick.hash),
                mixin: Shown(tick_root(&leaves)),
                tx_hashes: ids.by_ref().take(tick.transactions.len()).collect(),
            }
        };
        block.body.v1().ticks.iter().zip(0u32..).map(tick_view).collect()
    }

    /// The block that a reference names, or `None`.
    pub(crate) fn find_block(
        &self,
        block: Option<BlockRef>,
    ) -> Result<Option<std::sync::Arc<CommittedBlock>>, ApiError> {
        match self.height(block)? {
            Some(height) => self.backend.block(height).coded(),
            None => Ok(None),
        }
    }
}

/// A transaction of a block with its location.
pub(crate) fn transaction_view(
    block: &CommittedBlock,
    transaction: &Transaction,
    id: Hash,
    index: u32,
    prefix: AddressPrefix,
) -> TransactionView {
    let location = LocationView {
        height: block.header.height.into(),
        block_hash: Shown(block.hash),
        index,
    };
    TransactionView::new(transaction, id, prefix, Some(location))
}

/// A block of which nothing but the header is shown.
fn header_only(header: &Header, tx_count: u32) -> BlockView {
    BlockView {
        header: HeaderView::new(header, header.hash()),
        tx_count,
        transactions: None,
        certificate: None,
        poh: None,
    }
}

fn transaction_ids(block: &CommittedBlock) -> Vec<Shown<Hash>> {
    block
        .receipts
        .0
        .iter()
        .map(|receipt| Shown(receipt.v1().transaction))
        .collect()
}

#[async_trait]
impl<B: Backend> ChainApiServer for Rpc<B> {
    async fn get_info(&self) -> Result<ChainInfo, ApiError> {
        let facts = self.backend.facts();
        let params = &facts.params;
        Ok(ChainInfo {
            chain_id: facts.chain_id.clone(),
            network: params.network.clone(),
            genesis_hash: Shown(facts.genesis),
            address_prefix: params.address_prefix.clone(),
            symbol: params.symbol.clone(),
            decimals: params.decimals,
            protocol_version: BLOCK_VERSION,
            api_version: API_VERSION.to_owned(),
            dev: params.dev,
            params: ParamsView::from(params),
            head: self.head_view(),
            earliest: self.backend.earliest().into(),
        })
    }

    async fn get_head(&self) -> Result<HeadView, ApiError> {
        Ok(self.head_view())
    }

    async fn get_block(
        &self,
        block: Option<BlockRef>,
        options: Option<BlockOptions>,
    ) -> Result<Option<BlockView>, ApiError> {
        let options = options.unwrap_or_default();
        let block = self.find_block(block)?;
        Ok(block.map(|block| self.block_view(&block, &options)))
    }

    async fn get_header(&self, block: Option<BlockRef>) -> Result<Option<HeaderView>, ApiError> {
        let Some(height) = self.height(block)? else {
            return Ok(None);
        };
        let found = self.backend.header(height).coded()?;
        Ok(found.map(|(header, hash)| HeaderView::new(&header, hash)))
    }

    async fn get_blocks(&self, options: Option<BlockRangeOptions>) -> Result<Page<BlockView>, ApiError> {
        self.blocks_page(options.unwrap_or_default())
    }

    async fn get_certificate(&self, block: Option<BlockRef>) -> Result<Option<CertificateView>, ApiError> {
        let Some(height) = self.height(block)? else {
            return Ok(None);
        };
        Ok(self
            .backend
            .certificate(height)
            .coded()?
            .as_ref()
            .map(CertificateView::from))
    }

    async fn get_receipts(&self, block: Option<BlockRef>) -> Result<Option<Vec<ReceiptView>>, ApiError> {
        let Some(block) = self.find_block(block)? else {
            return Ok(None);
        };
        let height = block.header.height;
        let views = block
            .receipts
            .0
            .iter()
            .zip(0u32..)
            .map(|(r, index)| ReceiptView::new(r, height, index));
        Ok(Some(views.collect()))
    }

    async fn get_supply(&self, options: Option<AtOptions>) -> Result<Ctx<SupplyView>, ApiError> {
        let at = self.state_at(options.unwrap_or_default().at)?;
        let read = self
            .backend
            .slots(at, &Address::system(), &[records::SUPPLY, records::BURNED])
            .coded()?;
        let mut amounts = read.value.iter().map(|value| match value {
            None => Some(0),
            Some(bytes) => <[u8; 8]>::try_from(bytes.as_slice()).ok().map(u64::from_le_bytes),
        });
        let (Some(Some(genesis)), Some(Some(burned))) = (amounts.next(), amounts.next()) else {
            return Err(ApiError::internal(
                "the chain's supply records are not as they should be",
            ));
        };
        Ok(answer(read, |_| SupplyView {
            total: U64(genesis.saturating_sub(burned)),
            genesis: U64(genesis),
            burned: U64(burned),
            minted: U64(0),
            staked: U64(0),
        }))
    }

    async fn get_fee_suggestion(&self) -> Result<FeeSuggestion, ApiError> {
        let params = &self.backend.facts().params;
        let least = params
            .fee_for(TRANSFER_BYTES, 0)
            .0
            .max(self.backend.pool_status().fee_min.0);
        Ok(FeeSuggestion {
            slow: U64(least),
            normal: U64(least.saturating_add(least / 10)),
            fast: U64(least.saturating_mul(2)),
            bytes: TRANSFER_BYTES,
            per_byte: params.fee_per_byte.into(),
            per_slot: params.fee_per_slot.into(),
        })
    }

    async fn get_stats(&self, options: Option<StatsOptions>) -> Result<StatsView, ApiError> {
        let window = options.unwrap_or_default().window.unwrap_or(STATS_WINDOW);
        if !(2..=STATS_WINDOW_MAX).contains(&window) {
            let message = format!("window is 2 to {STATS_WINDOW_MAX}, got {window}");
            return Err(ApiError::invalid_params("window_out_of_range", message).with("parameter", "window"));
        }
        let head = self.backend.head().header.height;
        let from = head
            .saturating_sub(u64::from(window).saturating_sub(1))
            .max(self.backend.earliest());
        let blocks = head.0.saturating_sub(from.0).saturating_add(1);
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        self.charge_beyond("chain_getStats", blocks.div_ceil(STATS_BLOCKS_PER_UNIT));
        let stats = self.expensive(move |rpc| rpc.stats(from, head)).await?;
        self.charge_counted(stats.tx_count.0);
        Ok(stats)
    }
}

impl<B: Backend> Rpc<B> {
    fn blocks_page(&self, options: BlockRangeOptions) -> Result<Page<BlockView>, ApiError> {
        let limit = page_size(options.limit)?;
        let order = options.order.unwrap_or_default();
        let detail = options.transactions.unwrap_or(TransactionDetail::None);
        if detail == TransactionDetail::Full {
            let message = "lists of blocks give `none` or `hashes`; ask for whole blocks one by one";
            return Err(
                ApiError::invalid_params("detail_not_available", message).with("parameter", "transactions")
            );
        }
        let checked = |block: Option<BlockRef>| block.map(BlockRef::get).transpose();
        let (from, to) = (checked(options.from)?, checked(options.to)?);
        let named = (from.map(BlockRef::from), to.map(BlockRef::from));
        let key = serde_json::to_vec(&(&named, order, detail))
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let query = Query::new(&[b"chain_getBlocks", &key]);
        let cursor = query.open(options.cursor)?;
        let earliest = self.backend.earliest();
        let has_range = named.0.is_some() || named.1.is_some();
        let least = match named.0 {
            Some(from) => self.existing(from)?,
            None => earliest,
        };
        // References are resolved once: later pages keep the last height of the first page's range, and
        // continue when the start of the range has been pruned since.
        let (from, to) = match &cursor {
            Some(cursor) => (least.max(earliest), cursor.height),
            None if least < earliest => {
                return Err(BackendError::Pruned {
                    height: least,
                    earliest,
                }
                .coded());
            }
            None => {
                let to = self.existing(named.1.unwrap_or_else(|| BlockSelector::Latest.into()))?;
                // All blocks of a node that has none above its snapshot yet are an empty page.
                if has_range {
                    in_order(least, to)?;
                }
                (least, to)
            }
        };
        let start = match (&cursor, order) {
            (Some(cursor), _) => Height(number_position(cursor)?),
            (None, Order::Asc) => from,
            (None, Order::Desc) => to,
        };
        let options = BlockOptions {
            transactions: detail,
            ..BlockOptions::default()
        };
        let (mut items, mut bytes, mut counted) = (Vec::new(), 0usize, 0u64);
        let mut next = (from <= start && start <= to).then_some(start);
        // A page of large blocks ends early.
        while let Some(height) = next.filter(|_| items.len() < limit && bytes < PAGE_BYTES_MAX) {
            // Bodies are megabytes of a page of headers, which shows nothing of them.
            let (view, ids) = if detail == TransactionDetail::None {
                let Some((header, tx_count)) = self.backend.count(height).coded()? else {
                    break;
                };
                counted = counted.saturating_add(u64::from(tx_count));
                (header_only(&header, tx_count), 0)
            } else {
                let Some(block) = self.backend.block(height).coded()? else {
                    break;
                };
                let ids = block.receipts.0.len().saturating_mul(HASH_JSON_BYTES);
                (self.block_view(&block, &options), ids)
            };
            bytes = bytes.saturating_add(ids).saturating_add(HEADER_JSON_BYTES);
            items.push(view);
            next = match order {
                Order::Asc => height.next().filter(|next| *next <= to),
                Order::Desc => height.previous().filter(|next| *next >= from),
            };
        }
        self.charge_counted(counted);
        let next_cursor = next.map(|height| query.cursor(to, &height.0.to_le_bytes()));
        Ok(Page { items, next_cursor })
    }

    /// Charges for transactions that were counted and not shown.
    fn charge_counted(&self, transactions: u64) {
        let units = transactions.checked_div(COUNTED_PER_UNIT.into()).unwrap_or(0);
        self.rules
            .charge(gate::caller(), u32::try_from(units).unwrap_or(u32::MAX));
    }

    fn stats(&self, from: Height, head: Height) -> Result<StatsView, ApiError> {
        let (mut times, mut transactions, mut empty) = (Vec::new(), 0u64, 0u32);
        for height in from.0..=head.0 {
            let Some((header, count)) = self.backend.count(Height(height)).coded()? else {
                break;
            };
            times.push(header.time.0);
            transactions = transactions.saturating_add(u64::from(count));
            empty = empty.saturating_add(u32::from(count == 0));
        }
        let span = times
            .last()
            .copied()
            .unwrap_or(0)
            .saturating_sub(times.first().copied().unwrap_or(0));
        let mut gaps: Vec<u64> = times
            .iter()
            .zip(times.iter().skip(1))
            .map(|(a, b)| b.saturating_sub(*a))
            .collect();
        gaps.sort_unstable();
        let percentile = |percent: usize| {
            let at = gaps.len().saturating_sub(1).saturating_mul(percent).div_ceil(100);
            U64(gaps.get(at).copied().unwrap_or(0))
        };
        Ok(StatsView {
            from_height: from.into(),
            to_height: head.into(),
            tx_count: U64(transactions),
            tx_per_1000_s: U64(transactions
                .saturating_mul(1_000_000)
                .checked_div(span)
                .unwrap_or(0)),
            block_time_p50_ms: percentile(50),
            block_time_p95_ms: percentile(95),
            empty_blocks: empty,
        })
    }
}
