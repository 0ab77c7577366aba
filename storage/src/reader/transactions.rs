//! Transactions by identifier.

use super::{Reader, named, required};
use crate::StorageError;
use crate::kv::{Family, KvRead};
use crate::schema::{self, Place};
use vibecoin_primitives::{Body, Hash, Height, Receipt, Transaction, decode};

/// A transaction as stored in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTransaction {
    /// The block's height.
    pub height: Height,
    /// Position in the block, from zero.
    pub index: u32,
    /// The transaction.
    pub transaction: Transaction,
    /// Its result.
    pub receipt: Receipt,
}

impl<R: KvRead + ?Sized> Reader<'_, R> {
    /// Position of a transaction of a materialised block. [`Store::place`](crate::Store::place) also finds those of
    /// the blocks above.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn place(&self, id: &Hash) -> Result<Option<Place>, StorageError> {
        self.record(Family::State, &schema::transaction_key(id), "transaction index")
    }

    /// The transaction `id` and its receipt, at the position that the index gives for it.
    pub(crate) fn transaction_at(&self, id: &Hash, place: Place) -> Result<StoredTransaction, StorageError> {
        let Place { height, index } = place;
        let at = index as usize;
        let body = self.require_body(height)?;
        let receipts = required(self.receipts(height)?, "receipts", height)?;
        match (body.transactions().nth(at), receipts.0.into_iter().nth(at)) {
            (Some(transaction), Some(receipt)) => Ok(StoredTransaction {
                height,
                index,
                transaction: transaction.clone(),
                receipt,
            }),
            _ => {
                let detail = format!("it leads to position {index} of height {height}, which has none");
                Err(StorageError::corrupt(
                    format!("index of transaction {id}"),
                    detail,
                ))
            }
        }
    }

    /// The identifiers of the transactions of an existing height.
    pub(crate) fn transaction_ids(&self, height: Height, genesis: &Hash) -> Result<Vec<Hash>, StorageError> {
        let bytes = required(self.body_bytes(height)?, "body", height)?;
        let body: Body = decode(&bytes).map_err(StorageError::codec(named("body", height)))?;
        Ok(body
            .transactions()
            .map(|transaction| transaction.id(genesis))
            .collect())
    }
}
