//! `tx_*`: submission of transactions, and queries about them.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use jsonrpsee::core::async_trait;
use vibecoin_primitives::{
    CodecError, Encoded as _, Hash, Outcome, Signature, Transaction, TransactionBody, TransactionError,
    TransactionV1, decode, encode, transaction_bytes,
};
use vibecoin_rpc_api::limits::{STATUSES_MAX, SUBMIT_BATCH_MAX};
use vibecoin_rpc_api::methods::TxApiServer;
use vibecoin_rpc_api::registry::RECEIPTS_BLOCK_UNITS;
use vibecoin_rpc_api::views::{
    AtOptions, BatchEntry, DecodedTransaction, EncodedTransaction, FeeEstimate, LocationView, ReceiptView,
    SimulationView, StatusView, SubmitOptions, Submitted, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX,
    TransactionState, TransactionView, UnsignedTransaction, Wait, WaitOptions,
};
use vibecoin_rpc_api::{ApiError, AtMost, Bytes, BytesArg, Code, HashArg, Shown, U64};

use super::{Rpc, at_most, context, small};
use crate::backend::{Admitted, Backend, CommittedBlock, Refusal, TransactionStatus};
use crate::gate::{self, wait_for_block};
use crate::settling::Awaited;
use crate::work::on_a_thread;

/// Units that a transaction with a bad signature costs its caller beside the price of the call.
const BAD_SIGNATURE_UNITS: u32 = 20;
/// Blocks that an answer may need on a thread that serves connections. Receipts of one submission usually are
/// in one block, which is still in memory.
const BLOCKS_AT_HAND_MAX: usize = 4;
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
        Ok(status_view(hash, self.backend.status(&hash)?))
    }

    async fn get_statuses(&self, hashes: AtMost<HashArg, STATUSES_MAX>) -> Result<Vec<StatusView>, ApiError> {
        let hashes = hashes.get("hashes")?;
        let status = |hash: HashArg| -> Result<StatusView, ApiError> {
            let hash = hash.get()?;
            Ok(status_view(hash, self.backend.status(&hash)?))
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
        let status = self.backend.status(&hash)?;
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
            let read = rpc.backend.simulate(transaction)?;
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
    /// Offers all, then waits once for all that were accepted. One entry per raw transaction, in
    /// order.
    async fn submit_all(
        &self,
        raws: Vec<BytesArg>,
        wait: Wait,
        timeout: Duration,
    ) -> Result<Vec<BatchEntry>, ApiError> {
        // Before anything is decoded: a refusal has no effect, and costs next to nothing.
        let (_waiting, awaited) = match wait {
            Wait::Final => (
                wait_for_block()?,
                Some(self.rules.settling.wait(gate::caller(), raws.len())?),
            ),
            Wait::None | Wait::Mempool => (None, None),
        };
        let mut entries: Vec<Option<BatchEntry>> = Vec::with_capacity(raws.len());
        let mut transactions = Vec::with_capacity(raws.len());
        for raw in raws {
            match read(raw) {
                Ok(transaction) => {
                    transactions.push(transaction);
                    entries.push(None);
                }
                Err(error) => entries.push(Some(BatchEntry::Refused { error })),
            }
        }
        let verdicts = if wait == Wait::None {
            self.submit_and_forget(transactions).await
        } else {
            self.submit_and_wait(transactions, awaited, timeout).await?
        };
        let mut verdicts = verdicts.into_iter();
        let fill = |entry: Option<BatchEntry>| {
            entry
                .or_else(|| verdicts.next())
                .ok_or_else(|| ApiError::internal("a submission has no verdict"))
        };
        entries.into_iter().map(fill).collect()
    }

    async fn submit_and_wait(
        &self,
        transactions: Vec<Transaction>,
        awaited: Option<Awaited>,
        timeout: Duration,
    ) -> Result<Vec<BatchEntry>, ApiError> {
        // In a separate task: it is paid for even if the caller disconnects.
        let submitting = tokio::spawn(self.submitting(transactions));
        let mut verdicts = submitting.await.map_err(|error| {
            tracing::error!(target: "rpc", %error, "a submission ended early");
            ApiError::internal("the node failed to answer; its log says why")
        })?;
        if let Some(awaited) = awaited {
            let unsettled = |verdict: &&mut Result<Admitted, Refusal>| {
                verdict
                    .as_ref()
                    .is_ok_and(|admitted| !admitted.status.is_settled())
            };
            let ids: Vec<Hash> = verdicts
                .iter_mut()
                .filter(unsettled)
                .filter_map(|v| v.as_ref().ok().map(|a| a.id))
                .collect();
            if !ids.is_empty() {
                let mut settled = self.settle(awaited, ids, timeout).await?.into_iter();
                for verdict in verdicts.iter_mut().filter(unsettled) {
                    if let (Ok(admitted), Some(status)) = (verdict, settled.next()) {
                        admitted.status = status;
                    }
                }
            }
        }
        let included = verdicts
            .iter()
            .filter_map(|verdict| match verdict.as_ref().ok()?.status {
                TransactionStatus::Included { height, .. } => Some(height),
                _ => None,
            });
        let blocks = included.collect::<BTreeSet<_>>().len();
        if blocks <= BLOCKS_AT_HAND_MAX {
            return self.entries(verdicts);
        }
        // Bytes sent again that were included long ago: each block is read from the store.
        self.charge_beyond(
            "tx_submitBatch",
            small(blocks).saturating_mul(RECEIPTS_BLOCK_UNITS),
        );
        let permit = self.rules.building.acquire(gate::caller()).await?;
        let own = self.clone();
        on_a_thread(move || {
            let _permit = permit;
            own.entries(verdicts)
        })
        .await?
    }

    /// Waits for the ends of transactions. A call that loses its place to another caller's ends as if its time were
    /// over.
    async fn settle(
        &self,
        mut awaited: Awaited,
        ids: Vec<Hash>,
        timeout: Duration,
    ) -> Result<Vec<TransactionStatus>, ApiError> {
        let settled = tokio::select! {
            biased;
            settled = self.backend.settle(ids.clone(), timeout) => settled,
            () = awaited.displaced() => self.backend.settle(ids, Duration::ZERO).await,
        };
        Ok(settled?)
    }

    /// Outcome of each transaction, with receipts.
    fn entries(&self, verdicts: Vec<Result<Admitted, Refusal>>) -> Result<Vec<BatchEntry>, ApiError> {
        // Transactions of one batch usually are in the same block: it is read once.
        let mut block = None;
        verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Ok(admitted) => self
                    .submitted_in(&mut block, admitted.id, admitted.status)
                    .map(BatchEntry::Taken),
                Err(refusal) => Ok(BatchEntry::Refused {
                    error: refusal.into(),
                }),
            })
            .collect()
    }

    /// `wait: none`: answers with the hashes while the pool is still deciding. Its verdict is available
    /// from `tx_getStatus`. Only a node that is too busy to decide is reported.
    async fn submit_and_forget(&self, transactions: Vec<Transaction>) -> Vec<BatchEntry> {
        let genesis = self.backend.facts().genesis;
        let taken = |transaction: &Transaction| {
            let status = status_view(transaction.id(&genesis), TransactionStatus::Unknown);
            BatchEntry::Taken(Submitted {
                status,
                receipt: None,
            })
        };
        let entries: Vec<BatchEntry> = transactions.iter().map(taken).collect();
        let mut submitting = Box::pin(self.submitting(transactions));
        // A full queue refuses at the first poll.
        let first = poll_fn(|task| Poll::Ready(submitting.as_mut().poll(task))).await;
        let Poll::Ready(verdicts) = first else {
            tokio::spawn(submitting);
            return entries;
        };
        let refused = |(entry, verdict): (BatchEntry, Result<_, Refusal>)| match verdict {
            Err(refusal @ Refusal::Unavailable(_)) => BatchEntry::Refused {
                error: refusal.into(),
            },
            _ => entry,
        };
        entries.into_iter().zip(verdicts).map(refused).collect()
    }

    /// Offers transactions to the pool. Bad signatures cost the node more than good ones, and their sender
    /// nothing but what is charged here.
    fn submitting(
        &self,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Vec<Result<Admitted, Refusal>>> + Send + use<B> {
        let (own, caller) = (self.clone(), gate::caller());
        async move {
            let verdicts = own.backend.submit(caller, transactions).await;
            let bad = verdicts
                .iter()
                .filter(|verdict| matches!(verdict, Err(Refusal::BadSignature { .. })));
            let units = small(bad.count()).saturating_mul(BAD_SIGNATURE_UNITS);
            own.rules.charge(caller, units);
            verdicts
        }
    }

    /// The block and position of an included transaction.
    pub(crate) fn included(
        &self,
        id: &Hash,
    ) -> Result<Option<(std::sync::Arc<CommittedBlock>, u32)>, ApiError> {
        let TransactionStatus::Included { height, index, .. } = self.backend.status(id)? else {
            return Ok(None);
        };
        Ok(self.backend.block(height)?.map(|block| (block, index)))
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
                *block = self.backend.block(height)?;
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
        let operations = unsigned
            .operations
            .get("operations")?
            .into_iter()
            .map(|operation| operation.get(&facts.prefix));
        let body = TransactionBody {
            chain: facts.genesis.prefix(),
            sender: self.address(unsigned.sender)?.public_key(),
            nonce: unsigned.nonce.into(),
            fee: unsigned.fee.into(),
            valid_until: unsigned.valid_until.into(),
            operations: operations.collect::<Result<_, _>>()?,
        };
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

/// The answer to a caller that asked for a final status: 1403 when there is none in time.
fn settled(submitted: Submitted) -> Result<Submitted, ApiError> {
    let state = submitted.status.status;
    let open = matches!(
        state,
        TransactionState::Unknown | TransactionState::Pending | TransactionState::Queued
    );
    if !open {
        return Ok(submitted);
    }
    let status = serde_json::to_value(state).unwrap_or_default();
    let error = ApiError::new(
        Code::Timeout,
        "the wait ended before the transaction was in a block; it may still come",
    )
    .with("hash", submitted.status.hash.0.to_string())
    .with("status", status);
    Err(match submitted.status.by {
        Some(by) => error.with("by", by.0.to_string()),
        None => error,
    })
}

fn receipt_view(block: &CommittedBlock, index: u32) -> Option<ReceiptView> {
    let receipt = block.receipts.0.get(usize::try_from(index).ok()?)?;
    Some(ReceiptView::new(receipt, block.header.height, index))
}

fn status_view(id: Hash, status: TransactionStatus) -> StatusView {
    let mut view = StatusView {
        hash: Shown(id),
        status: TransactionState::Unknown,
        height: None,
        index: None,
        success: None,
        reason: None,
        by: None,
        expected_nonce: None,
    };
    match status {
        TransactionStatus::Unknown => {}
        TransactionStatus::Pending => view.status = TransactionState::Pending,
        TransactionStatus::Queued { expected } => {
            view.status = TransactionState::Queued;
            view.expected_nonce = Some(expected.into());
        }
        TransactionStatus::Departed {
            by,
            reason,
            valid_until,
        } => {
            view.status = TransactionState::Pending;
            view.by = by.map(Shown);
            view.reason = Some(format!(
                "{reason}; not in this node's pool, a block up to height {valid_until} may still include it"
            ));
        }
        TransactionStatus::Included {
            height,
            index,
            outcome,
        } => {
            view.status = TransactionState::Included;
            view.height = Some(height.into());
            view.index = Some(index);
            view.success = Some(outcome == Outcome::Success);
        }
        TransactionStatus::Dropped { reason } => {
            view.status = TransactionState::Dropped;
            view.reason = Some(reason);
        }
        TransactionStatus::Replaced { by } => {
            view.status = TransactionState::Replaced;
            view.by = Some(Shown(by));
        }
        TransactionStatus::Expired => view.status = TransactionState::Expired,
    }
    view
}
