//! Views of transactions and of their ends.

use vibecoin_primitives::{Hash, Outcome};
use vibecoin_rpc_api::views::{ReceiptView, StatusView, Submitted, TransactionState};
use vibecoin_rpc_api::{ApiError, Code, Shown};
use vibecoin_rpc_backend::{CommittedBlock, TransactionStatus};

/// The answer to a caller that asked for a final status: 1403 when there is none in time.
pub(super) fn settled(submitted: Submitted) -> Result<Submitted, ApiError> {
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

pub(super) fn receipt_view(block: &CommittedBlock, index: u32) -> Option<ReceiptView> {
    let receipt = block.receipts.0.get(usize::try_from(index).ok()?)?;
    Some(ReceiptView::new(receipt, block.header.height, index))
}

pub(super) fn status_view(id: Hash, status: TransactionStatus) -> StatusView {
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
