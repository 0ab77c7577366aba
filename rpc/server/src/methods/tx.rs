//! `tx_*`: submission of transactions, and queries about them.

mod submit;
mod views;

use std::time::Duration;

use jsonrpsee::core::async_trait;
use vibecoin_primitives::{
    CodecError, Encoded as _, Hash, Signature, Transaction, TransactionBody, TransactionError, TransactionV1,
    decode, encode, transaction_bytes,
};
use vibecoin_rpc_api::limits::{STATUSES_MAX, SUBMIT_BATCH_MAX};
use vibecoin_rpc_api::methods::TxApiServer;
use vibecoin_rpc_api::views::{
    AtOptions, BatchEntry, DecodedTransaction, EncodedTransaction, FeeEstimate, LocationView, ReceiptView,
    SimulationView, StatusView, SubmitOptions, Submitted, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX,
    TransactionView, UnsignedTransaction, Wait, WaitOptions,
};
use vibecoin_rpc_api::{ApiError, AtMost, Bytes, BytesArg, Code, HashArg, Shown, U64};
use vibecoin_rpc_backend::{Backend, CommittedBlock, TransactionStatus};

use super::{Rpc, at_most, context, small};
use crate::errors::Coded as _;
use crate::gate::{self, wait_for_block};
use views::{receipt_view, settled, status_view};

/// Bytes of the signature at the end of a transaction.
const SIGNATURE_BYTES: usize = 64;

#[async_trait]
impl<B: Backend> TxApiServer for Rpc<B> {
    async fn submit(&self, raw: BytesArg, options: Option<SubmitOptions>) -> Result<Submitted, ApiError> {
        let options = options.unwrap_or_default();
        let timeout = wait_time(options.timeout_ms)?;
        self.reach(options.min_height).await?;
        let entry = self.submit_all(vec![raw], options.wait, timeout).await?.pop();
        let submitted = match entry {
            Some(BatchEntry::Taken(submitted)) => submitted,
            Some(BatchEntry::Refused { error }) => return Err(error),
            None => return Err(ApiError::internal("a submission has no verdict")),
        };
        if options.wait == Wait::Final {
            settled(submitted)
        } else {
            Ok(submitted)
        }
    }

    async fn submit_batch(
        &self,
        raws: AtMost<BytesArg, SUBMIT_BATCH_MAX>,
        options: Option<SubmitOptions>,
    ) -> Result<Vec<BatchEntry>, ApiError> {
        let raws = raws.get("transactions")?;
        let options = options.unwrap_or_default();
        let timeout = wait_time(options.timeout_ms)?;
        self.reach(options.min_height).await?;
        self.submit_all(raws, options.wait, timeout).await
    }

    async fn get(&self, hash: HashArg) -> Result<Option<TransactionView>, ApiError> {
        let hash = hash.get()?;
        if let Some((block, index)) = self.included(&hash)? {
            let location = LocationView {
                height: block.header.height.into(),
                block_hash: Shown(block.hash),
                index,
            };
            let transaction = usize::try_from(index)
                .ok()
                .and_then(|index| block.body.transactions().nth(index));
            return Ok(transaction.map(|t| TransactionView::new(t, hash, self.prefix(), Some(location))));
        }
        let entry = self.backend.pooled(&hash);
        Ok(entry
            .map(|entry| TransactionView::new(entry.transaction.transaction(), hash, self.prefix(), None)))
    }

    async fn get_status(&self, hash: HashArg) -> Result<StatusView, ApiError> {
        let hash = hash.get()?;
        Ok(status_view(hash, self.backend.status(&hash).coded()?))
    }

    async fn get_statuses(&self, hashes: AtMost<HashArg, STATUSES_MAX>) -> Result<Vec<StatusView>, ApiError> {
        let hashes = hashes.get("hashes")?;
        let status = |hash: HashArg| -> Result<StatusView, ApiError> {
            let hash = hash.get()?;
            Ok(status_view(hash, self.backend.status(&hash).coded()?))
        };
        let statuses: Vec<StatusView> = hashes.into_iter().map(status).collect::<Result<_, _>>()?;
        // The outcome of each was read from the receipts of its block.
        let included = statuses.iter().filter(|status| status.height.is_some());
        self.charge_beyond("tx_getStatuses", small(included.count()));
        Ok(statuses)
    }

    async fn get_receipt(&self, hash: HashArg) -> Result<Option<ReceiptView>, ApiError> {
        let found = self.included(&hash.get()?)?;
        Ok(found.and_then(|(block, index)| receipt_view(&block, index)))
    }

    async fn wait(&self, hash: HashArg, options: Option<WaitOptions>) -> Result<Submitted, ApiError> {
        let hash = hash.get()?;
        let timeout = wait_time(options.unwrap_or_default().timeout_ms)?;
        let status = self.backend.status(&hash).coded()?;
        if status.is_settled() {
            return self.submitted(hash, status);
        }
        let _waiting = wait_for_block()?;
        let awaited = self.rules.settling.wait(gate::caller(), 1)?;
        let status = self.settle(awaited, vec![hash], timeout).await?.pop();
        settled(self.submitted(hash, status.unwrap_or(TransactionStatus::Unknown))?)
    }

    async fn encode(&self, unsigned: UnsignedTransaction) -> Result<EncodedTransaction, ApiError> {
        let body = self.unsigned(unsigned)?;
        let facts = self.backend.facts();
        let signing_bytes = body.signing_bytes(&facts.genesis);
        let slots = body.slot_count();
        let transaction = unsigned_transaction(body);
        let mut unsigned_raw = encode(&transaction);
        let bytes = small(unsigned_raw.len());
        unsigned_raw.truncate(unsigned_raw.len().saturating_sub(SIGNATURE_BYTES));
        Ok(EncodedTransaction {
            signing_bytes: Shown(Bytes(signing_bytes)),
            unsigned_raw: Shown(Bytes(unsigned_raw)),
            hash: Shown(transaction.id(&facts.genesis)),
            bytes,
            fee_min: facts.params.fee_for(bytes, slots).into(),
        })
    }

    async fn decode(&self, raw: BytesArg) -> Result<DecodedTransaction, ApiError> {
        let transaction = read(raw)?;
        let facts = self.backend.facts();
        let (bytes, slots) = (
            small(transaction_bytes(&transaction)),
            transaction.body().slot_count(),
        );
        let view = TransactionView::new(&transaction, transaction.id(&facts.genesis), self.prefix(), None);
        let chain_matches = transaction.body().chain == facts.genesis.prefix();
        let verdict = transaction.verify(&facts.genesis);
        Ok(DecodedTransaction {
            transaction: view,
            chain_matches,
            signature_valid: chain_matches && !matches!(verdict, Err(TransactionError::Signature(_))),
            fee_min: facts.params.fee_for(bytes, slots).into(),
            problem: verdict.err().map(|error| error.to_string()),
        })
    }

    async fn simulate(&self, raw: BytesArg, options: Option<AtOptions>) -> Result<SimulationView, ApiError> {
        if self.state_at(options.unwrap_or_default().at)?.is_some() {
            return Err(ApiError::new(
                Code::Disabled,
                "transactions are simulated on the newest state only",
            ));
        }
        let transaction = read(raw)?;
        self.expensive(move |rpc| {
            let read = rpc.backend.simulate(transaction);
            let read = read.map_err(|refusal| rpc.refused(refusal))?;
            let height = read.context.height.saturating_add(1);
            Ok(SimulationView {
                context: context(&read.context),
                receipt: ReceiptView::new(&read.value, height, 0),
            })
        })
        .await
    }

    async fn estimate_fee(&self, unsigned: UnsignedTransaction) -> Result<FeeEstimate, ApiError> {
        let transaction = unsigned_transaction(self.unsigned(unsigned)?);
        let (bytes, slots) = (
            small(transaction_bytes(&transaction)),
            transaction.body().slot_count(),
        );
        Ok(FeeEstimate {
            fee: self.backend.facts().params.fee_for(bytes, slots).into(),
            bytes,
        })
    }
}

impl<B: Backend> Rpc<B> {
    /// The block and position of an included transaction.
    pub(crate) fn included(
        &self,
        id: &Hash,
    ) -> Result<Option<(std::sync::Arc<CommittedBlock>, u32)>, ApiError> {
        let TransactionStatus::Included { height, index, .. } = self.backend.status(id).coded()? else {
            return Ok(None);
        };
        Ok(self.backend.block(height).coded()?.map(|block| (block, index)))
    }

    fn submitted(&self, id: Hash, status: TransactionStatus) -> Result<Submitted, ApiError> {
        self.submitted_in(&mut None, id, status)
    }

    fn submitted_in(
        &self,
        block: &mut Option<std::sync::Arc<CommittedBlock>>,
        id: Hash,
        status: TransactionStatus,
    ) -> Result<Submitted, ApiError> {
        let mut receipt = None;
        if let TransactionStatus::Included { height, index, .. } = status {
            if block.as_ref().is_none_or(|block| block.header.height != height) {
                *block = self.backend.block(height).coded()?;
            }
            receipt = block.as_ref().and_then(|block| receipt_view(block, index));
        }
        Ok(Submitted {
            status: status_view(id, status),
            receipt,
        })
    }

    fn unsigned(&self, unsigned: UnsignedTransaction) -> Result<TransactionBody, ApiError> {
        let facts = self.backend.facts();
        let body = unsigned.body(&facts.genesis, &facts.prefix)?;
        let longest = body.operations.iter().map(slot_value_len).max().unwrap_or(0);
        at_most(
            "bytes of a slot's value",
            longest,
            vibecoin_primitives::limits::SLOT_VALUE_BYTES_MAX,
        )?;
        Ok(body)
    }
}

fn slot_value_len(operation: &vibecoin_primitives::Operation) -> usize {
    match operation {
        vibecoin_primitives::Operation::SetStorage { value, .. } => value.len(),
        vibecoin_primitives::Operation::Transfer { .. } => 0,
    }
}

/// With zeros for the signature, which does not change its size.
fn unsigned_transaction(body: TransactionBody) -> Transaction {
    Transaction::V1(TransactionV1 {
        body,
        signature: Signature([0; SIGNATURE_BYTES]),
    })
}

/// Reads a raw transaction: size first, then its only valid encoding.
fn read(raw: BytesArg) -> Result<Transaction, ApiError> {
    let bytes = raw.get()?.0;
    decode::<Transaction>(&bytes).map_err(|error| match error {
        CodecError::TooLarge { got, limit, .. } => {
            ApiError::new(Code::TransactionTooLarge, error.to_string())
                .with("what", "bytes")
                .with("got", got.to_string())
                .with("limit", limit.to_string())
        }
        other => ApiError::new(Code::BadEncoding, other.to_string())
            .with("bytesMax", Transaction::BYTES_MAX.to_string()),
    })
}

fn wait_time(timeout_ms: Option<U64>) -> Result<Duration, ApiError> {
    let ms = timeout_ms.map_or(TIMEOUT_MS_DEFAULT, |timeout| timeout.0);
    if ms > TIMEOUT_MS_MAX {
        let message = format!("timeoutMs is at most {TIMEOUT_MS_MAX}, got {ms}");
        return Err(ApiError::invalid_params("timeout_out_of_range", message).with("parameter", "timeoutMs"));
    }
    Ok(Duration::from_millis(ms))
}
