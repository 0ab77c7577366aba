//! Typed reads of the stored chain, over the live database or a snapshot of it.
//!
//! Three answers to a height: the record, `None` above the head, and [`StorageError::Pruned`] below the heights that
//! the database keeps. A record that is asked for by a hash is `None` where the chain does not have it. The `require_*`
//! forms are for heights that the database has, where a missing record is damage. Files by topic: `blocks`,
//! `transactions`, `state`, `poh`, and `earliest` for the lowest height.
//!
//! Accounts and slots are not read here but through [`StateView`](crate::StateView), which combines several sources.

mod blocks;
mod earliest;
mod poh;
mod state;
mod transactions;

use earliest::Kept;
pub use poh::PohPosition;
pub use transactions::StoredTransaction;

use crate::StorageError;
use crate::kv::{Family, KvRead, KvStore};
use vibecoin_primitives::{Encoded, Height, decode};
use wincode::SchemaReadOwned;
use wincode::config::DefaultConfig;

/// Reads of the chain in a database: the live one, where each read sees the newest commit, or a snapshot, where all
/// reads see one moment. Free to create and to copy.
pub struct Reader<'a, R: KvRead + ?Sized = dyn KvStore> {
    kv: &'a R,
}

impl<R: KvRead + ?Sized> Clone for Reader<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: KvRead + ?Sized> Copy for Reader<'_, R> {}

impl<'a, R: KvRead + ?Sized> Reader<'a, R> {
    /// Reads of `kv`.
    pub const fn new(kv: &'a R) -> Self {
        Self { kv }
    }

    /// Reads and decodes a record; `what` names it in errors.
    pub(crate) fn record<T>(&self, family: Family, key: &[u8], what: &str) -> Result<Option<T>, StorageError>
    where
        T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>,
    {
        let Some(bytes) = self.kv.get(family, key)? else {
            return Ok(None);
        };
        decode(&bytes).map(Some).map_err(StorageError::codec(what))
    }

    /// [`Reader::record`] of the record `what` of a height, which is pruned below the heights of `kept`.
    fn of_height<T>(
        &self,
        kept: Kept,
        key: &[u8],
        what: &str,
        height: Height,
    ) -> Result<Option<T>, StorageError>
    where
        T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>,
    {
        let found = self.record(kept.family(), key, &named(what, height))?;
        self.unless_pruned(found, kept, height)
    }
}

fn named(what: &str, height: Height) -> String {
    format!("{what} of height {height}")
}

fn required<T>(record: Option<T>, what: &str, height: Height) -> Result<T, StorageError> {
    record.ok_or_else(|| StorageError::missing(named(what, height)))
}
