//! The pool's verdicts in RPC's types.

use vibecoin_execution::InvalidTransaction;
use vibecoin_mempool::{Inserted, MempoolError, Status};
use vibecoin_primitives::{Hash, TransactionError};
use vibecoin_rpc_backend::{Admitted, BackendError, Refusal, TransactionStatus};

use super::NodeBackend;
use crate::verify::SubmitError;

/// The queue of submissions is full for a caller or for all callers: the caller may try again.
pub(super) const SUBMISSIONS_BUSY: BackendError = BackendError::Busy {
    queue: "signature checks",
};

impl NodeBackend {
    /// Converts the pool's verdict to RPC's types. Submitting the same bytes again is not a refusal.
    pub(super) fn verdict(
        &self,
        verdict: Result<(Hash, Inserted), SubmitError>,
    ) -> Result<Admitted, Refusal> {
        match verdict {
            Ok((id, inserted)) => Ok(Admitted {
                id,
                status: Self::inserted(&inserted),
            }),
            Err(SubmitError::Transaction(error)) => Err(match error {
                TransactionError::WrongChain { expected, got } => Refusal::WrongChain { expected, got },
                TransactionError::OperationCount { got } => Refusal::Malformed {
                    detail: TransactionError::OperationCount { got }.to_string(),
                },
                other => Refusal::BadSignature {
                    detail: other.to_string(),
                },
            }),
            Err(SubmitError::Pool { id, error }) => self.pool_refusal(id, error),
            Err(SubmitError::Busy) => Err(Refusal::Unavailable(SUBMISSIONS_BUSY)),
        }
    }

    fn inserted(inserted: &Inserted) -> TransactionStatus {
        match inserted.status {
            Status::Queued { expected } => TransactionStatus::Queued { expected },
            _ => TransactionStatus::Pending,
        }
    }

    fn pool_refusal(&self, id: Hash, error: MempoolError) -> Result<Admitted, Refusal> {
        let known = |status| Ok(Admitted { id, status });
        match error {
            MempoolError::AlreadyKnown { .. } => {
                let status = self.status_of(&id).map_err(Refusal::from)?;
                // It may have left the pool between the two lookups.
                known(if status == TransactionStatus::Unknown {
                    TransactionStatus::Pending
                } else {
                    status
                })
            }
            MempoolError::Invalid(reason) => {
                // A block that includes it passes its nonce, and may pass its last height.
                let by_state = matches!(
                    reason,
                    InvalidTransaction::NonceTooLow { .. } | InvalidTransaction::Expired { .. }
                );
                if by_state && let Some(status) = self.submitted_before(&id).map_err(Refusal::from)? {
                    return known(status);
                }
                Err(self.invalid(reason))
            }
            MempoolError::NonceGap {
                expected,
                got,
                gap_max,
            } => Err(Refusal::NonceTooHigh {
                expected,
                got,
                gap_max,
            }),
            MempoolError::InsufficientFunds { needed, available } => {
                Err(Refusal::InsufficientFunds { needed, available })
            }
            MempoolError::ReplacementUnderpriced { least, got, .. } => {
                Err(Refusal::ReplacementUnderpriced { least, got })
            }
            // That block is not decided: the nonce may be free again in a moment.
            MempoolError::InBlock { nonce, .. } => Err(Refusal::InBlock { nonce }),
            MempoolError::SenderLimit { limit } => Err(Refusal::AccountLimit { limit: limit as u64 }),
            other => Err(Refusal::PoolFull {
                detail: other.to_string(),
            }),
        }
    }

    pub(super) fn invalid(&self, reason: InvalidTransaction) -> Refusal {
        use InvalidTransaction as I;
        let next = self.shared.head().header.height.saturating_add(1);
        let most = next.saturating_add(self.facts.params.validity_window);
        match reason {
            I::TooLarge { limit, got } => Refusal::TooLarge {
                what: "bytes",
                got: u64::from(got),
                limit: u64::from(limit),
            },
            I::OperationCount { limit, got } => Refusal::TooLarge {
                what: "operations",
                got: got as u64,
                limit: u64::from(limit),
            },
            I::Demand(excess) => Refusal::TooLarge {
                what: excess.what,
                got: excess.got,
                limit: u64::from(excess.limit),
            },
            I::FeeTooLow { least, got } => Refusal::FeeTooLow { least, got },
            I::Expired { valid_until, .. } | I::ValidTooLong { valid_until, .. } => Refusal::Expired {
                valid_until,
                least: next,
                most,
            },
            I::NonceTooLow { expected, got } => Refusal::NonceTooLow { expected, got },
            I::NonceTooHigh { expected, got } => Refusal::NonceTooHigh {
                expected,
                got,
                gap_max: self.nonce_gap_max,
            },
            I::FeeUnpayable { fee, available } => Refusal::InsufficientFunds {
                needed: fee,
                available,
            },
            other => Refusal::Malformed {
                detail: other.to_string(),
            },
        }
    }
}
