//! `poh_*`.

use std::time::Instant;

use jsonrpsee::core::async_trait;
use vibecoin_poh::{Pace, SealedTick};
use vibecoin_primitives::{Hash, Height, Round};
use vibecoin_rpc_api::limits::POH_VERIFY_BLOCKS_MAX;
use vibecoin_rpc_api::methods::PohApiServer;
use vibecoin_rpc_api::registry::POH_BLOCK_UNITS;
use vibecoin_rpc_api::views::{
    EntriesOptions, Page, PohEntryView, PohParamsView, PohStatusView, PohVerdict, TransactionOrderView,
};
use vibecoin_rpc_api::{ApiError, BlockRef, BlockSelector, HashArg, Shown, U64};
use vibecoin_rpc_backend::{Backend, CommittedBlock};

use super::{Query, Rpc, at_most, in_order, number_position, page_size, small};
use crate::errors::Coded as _;

#[async_trait]
impl<B: Backend> PohApiServer for Rpc<B> {
    async fn get_status(&self) -> Result<PohStatusView, ApiError> {
        let (status, params) = (self.backend.poh_status(), &self.backend.facts().params);
        Ok(PohStatusView {
            height: status.height.into(),
            tick: status.tick,
            hash: Shown(status.hash),
            hashes_per_tick: params.hashes_per_tick,
            ticks_per_block: params.ticks_per_block,
            measured_hash_rate: U64(status.measured_hash_rate),
            drift_ms: i32::try_from(status.drift_ms).unwrap_or(if status.drift_ms < 0 {
                i32::MIN
            } else {
                i32::MAX
            }),
        })
    }

    async fn get_params(&self) -> Result<PohParamsView, ApiError> {
        let params = &self.backend.facts().params;
        Ok(PohParamsView {
            tick_ms: params.tick_ms,
            hashes_per_tick: params.hashes_per_tick,
            ticks_per_block: params.ticks_per_block,
            ticks_per_later_round_block: params.ticks_in_round(Round(1)),
            quiet_ticks: params.quiet_ticks,
        })
    }

    async fn get_entries(
        &self,
        block: Option<BlockRef>,
        options: Option<EntriesOptions>,
    ) -> Result<Option<Page<PohEntryView>>, ApiError> {
        let options = options.unwrap_or_default();
        let limit = page_size(options.limit)?;
        let query = Query::new(&[b"poh_getEntries"]);
        // Later pages keep the block of the first, also when it was named `latest`.
        let (height, from) = match query.open(options.cursor)? {
            Some(cursor) => (Some(cursor.height), number_position(&cursor)?),
            None => (self.height(block)?, 0),
        };
        let Some(height) = height else { return Ok(None) };
        let Some(block) = self.backend.block(height).coded()? else {
            return Ok(None);
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let entries = self.poh_entries(&block);
        let end = from.saturating_add(limit);
        let next_cursor = (end < entries.len()).then(|| query.cursor(height, &(end as u64).to_le_bytes()));
        Ok(Some(Page {
            items: entries.into_iter().skip(from).take(limit).collect(),
            next_cursor,
        }))
    }

    async fn verify(&self, block: Option<BlockRef>, to: Option<BlockRef>) -> Result<PohVerdict, ApiError> {
        let from = self.existing(block.unwrap_or_else(|| BlockSelector::Latest.into()))?;
        let to = to.map_or(Ok(from), |to| self.existing(to))?;
        in_order(from, to)?;
        let count = to.0.saturating_sub(from.0).saturating_add(1);
        at_most(
            "blocks",
            usize::try_from(count).unwrap_or(usize::MAX),
            usize::try_from(POH_VERIFY_BLOCKS_MAX).unwrap_or(usize::MAX),
        )?;
        let blocks = u32::try_from(count).unwrap_or(u32::MAX);
        self.charge_beyond("poh_verify", blocks.saturating_mul(POH_BLOCK_UNITS));
        self.expensive(move |rpc| rpc.verify_poh(from, to)).await
    }

    async fn get_transaction_order(&self, hash: HashArg) -> Result<Option<TransactionOrderView>, ApiError> {
        let Some((block, index)) = self.included(&hash.get()?)? else {
            return Ok(None);
        };
        Ok(self.order_of(&block, index))
    }
}

impl<B: Backend> Rpc<B> {
    fn seed(header: &vibecoin_primitives::Header) -> Hash {
        vibecoin_poh::seed(header.parent, header.height.0, header.round.0, &header.proposer.0)
    }

    fn order_of(&self, block: &CommittedBlock, index: u32) -> Option<TransactionOrderView> {
        let mut entry = usize::try_from(index).ok()?;
        let mut prev_hash = Self::seed(&block.header);
        for (tick, position) in block.body.v1().ticks.iter().zip(0u64..) {
            if let Some(rest) = entry.checked_sub(tick.transactions.len()) {
                entry = rest;
                prev_hash = tick.hash;
                continue;
            }
            let hashes = u64::from(self.backend.facts().params.hashes_per_tick);
            let ticks_left = u64::from(block.header.ticks).checked_sub(position.checked_add(1)?)?;
            return Some(TransactionOrderView {
                height: block.header.height.into(),
                index,
                tick: u32::try_from(position).ok()?,
                entry: small(entry),
                prev_hash: Shown(prev_hash),
                next_hash: Shown(tick.hash),
                sequence: U64(block
                    .header
                    .poh_seq
                    .saturating_sub(ticks_left.saturating_mul(hashes))),
            });
        }
        None
    }

    fn verify_poh(&self, from: Height, to: Height) -> Result<PohVerdict, ApiError> {
        let start = Instant::now();
        let mut verdict = PohVerdict {
            valid: true,
            blocks: 0,
            hashes: U64(0),
            first_bad: None,
            reason: None,
            elapsed_ms: U64(0),
        };
        for height in (from.0..=to.0).map(Height) {
            let Some(block) = self.backend.block(height).coded()? else {
                break;
            };
            verdict.blocks = verdict.blocks.saturating_add(1);
            match self.verify_block_poh(&block) {
                Ok(hashes) => verdict.hashes.0 = verdict.hashes.0.saturating_add(hashes),
                Err(reason) => {
                    verdict.valid = false;
                    verdict.first_bad = Some(height.into());
                    verdict.reason = Some(reason);
                    break;
                }
            }
        }
        verdict.elapsed_ms = U64(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        Ok(verdict)
    }

    /// Returns the number of hashes computed, or the fault. Genesis has no ticks and is valid.
    fn verify_block_poh(&self, block: &CommittedBlock) -> Result<u64, String> {
        let (header, ticks) = (&block.header, &block.body.v1().ticks);
        if header.height == Height::ZERO && ticks.is_empty() {
            return Ok(0);
        }
        let hashes_per_tick = u64::from(self.backend.facts().params.hashes_per_tick);
        let pace = Pace::new(hashes_per_tick, u64::from(header.ticks)).map_err(|error| error.to_string())?;
        let sealed: Vec<SealedTick> = ticks
            .iter()
            .map(|tick| {
                let leaves: Vec<Hash> = tick
                    .transactions
                    .iter()
                    .map(|transaction| transaction.hash())
                    .collect();
                SealedTick {
                    hash: tick.hash,
                    mixin: vibecoin_poh::mixin(&leaves),
                }
            })
            .collect();
        vibecoin_poh::verify(pace, Self::seed(header), &sealed).map_err(|error| error.to_string())?;
        if sealed.last().map(|tick| tick.hash) != Some(header.poh_hash) {
            return Err("the last tick is not the header's".to_owned());
        }
        Ok(hashes_per_tick.saturating_mul(u64::from(header.ticks)))
    }
}
