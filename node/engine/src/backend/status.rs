//! Status of a transaction: in a block, in the pool, or departed from it.

use vibecoin_primitives::{Hash, Nonce};
use vibecoin_rpc_backend::{BackendError, TransactionStatus};

use super::{NodeBackend, from_store, internal};
use crate::fates::{Departed, End, Fate};

impl NodeBackend {
    /// Answers `Backend::status`.
    pub(super) fn status_of(&self, id: &Hash) -> Result<TransactionStatus, BackendError> {
        if let Some(waiting) = self.shared.pool.get(id) {
            let head = self.shared.head().header.height;
            // The block may have become final since the lookup in the pool.
            if let Some(status) = self.included(id)? {
                return Ok(status);
            }
            let body = waiting.transaction.body();
            // The pool removes a bounded number at a time of the transactions that expire at one height.
            if body.valid_until <= head {
                return Ok(TransactionStatus::Expired);
            }
            let gap = self.gap(&waiting.transaction.sender(), body.nonce);
            return Ok(match gap {
                Some(expected) => TransactionStatus::Queued { expected },
                None => TransactionStatus::Pending,
            });
        }
        let departed = self.shared.fates.lock().get(id);
        match departed {
            None => Ok(self.included(id)?.unwrap_or(TransactionStatus::Unknown)),
            Some((departed, replacements)) => self.departed(id, &departed, &replacements),
        }
    }

    fn included(&self, id: &Hash) -> Result<Option<TransactionStatus>, BackendError> {
        let Some(place) = self.store.place(id).map_err(from_store)? else {
            return Ok(None);
        };
        // The store is slightly ahead of the published head.
        if place.height > self.shared.head().header.height {
            return Ok(None);
        }
        let index = place.index as usize;
        let outcome = match self.shared.recent(place.height) {
            Some(block) => block.receipts.0.get(index).map(|receipt| receipt.v1().outcome),
            None => {
                let receipts = self.store.reader().receipts(place.height).map_err(from_store)?;
                receipts.and_then(|receipts| receipts.0.get(index).map(|receipt| receipt.v1().outcome))
            }
        };
        let outcome = outcome
            .ok_or_else(|| internal(format!("receipt {index} of height {} is missing", place.height)))?;
        Ok(Some(TransactionStatus::Included {
            height: place.height,
            index: place.index,
            outcome,
        }))
    }

    /// Status of a transaction that left the pool: an end is answered only when the published chain has decided it.
    fn departed(
        &self,
        id: &Hash,
        departed: &Departed,
        replacements: &[Hash],
    ) -> Result<TransactionStatus, BackendError> {
        // Read before the blocks are searched: these are of that height or a later one.
        let (head, view) = self.shared.newest();
        let account = view.account(&departed.sender).map_err(from_store)?;
        let at = (
            head.header.height,
            account.map_or(Nonce(0), |account| account.nonce),
        );
        let end = match departed.fate(id, at, replacements, |id| self.included(id))? {
            Fate::Included(status) => return Ok(status),
            Fate::Open => {
                return Ok(TransactionStatus::Departed {
                    by: departed.replaced_by(),
                    reason: departed.reason.to_string(),
                    valid_until: departed.valid_until,
                });
            }
            Fate::Ended(end) => self.shared.fates.lock().end(id, end),
        };
        Ok(match end {
            End::Replaced(by) => TransactionStatus::Replaced { by },
            End::Expired => TransactionStatus::Expired,
            End::Dropped => TransactionStatus::Dropped {
                reason: format!("{}; its nonce is used by another transaction", departed.reason),
            },
        })
    }

    /// Status of a submitted transaction that the pool refused because of the chain's state: it may be in a block,
    /// also in one that the pool knows and that is not published yet.
    pub(super) fn submitted_before(&self, id: &Hash) -> Result<Option<TransactionStatus>, BackendError> {
        if let Some(status) = self.included(id)? {
            return Ok(Some(status));
        }
        let place = self.store.place(id).map_err(from_store)?;
        Ok(place.map(|_| TransactionStatus::Pending))
    }
}
