//! Rows of a state in key order: the overlay merged over the base.

use super::{Overlay, Row, StateView};
use crate::StorageError;
use crate::kv::{Direction, Family, Row as StoredRow};
use crate::schema;
use std::borrow::Cow;
use vibecoin_primitives::StateKey;

/// A key with its row: where it lies in the overlay, or as read from the base.
type MergedRow<'a> = (StateKey, Cow<'a, [u8]>);

/// Existing rows from a key on, in key order. The overlay is newer: where both have a key its row is used, and a row
/// that it removes is left out. The first error is the end.
pub(crate) struct MergedRows<'a> {
    overlay: &'a Overlay<StateKey, Row>,
    base: Box<dyn Iterator<Item = StoredRow> + 'a>,
    /// The next entry of the overlay. A search through its runs finds it, so it is kept while rows of the base come
    /// before it.
    above: Option<(&'a StateKey, &'a Row)>,
    /// The next row of the base.
    below: Option<(StateKey, Vec<u8>)>,
}

impl StateView {
    /// The rows of the keys from `from` on; if `exclusive`, of those above it.
    pub(super) fn rows_from(&self, from: StateKey, exclusive: bool) -> Result<MergedRows<'_>, StorageError> {
        let snapshot = &self.layers.base.snapshot;
        let base = snapshot.range(Family::State, &schema::flat_key(&from), None, Direction::Forward);
        self.merged(base, from, exclusive)
    }

    /// The rows of the keys from `from` on, for a scan of much of the state.
    pub(crate) fn scan_from(&self, from: StateKey) -> Result<MergedRows<'_>, StorageError> {
        let snapshot = &self.layers.base.snapshot;
        let base = snapshot.range_uncached(Family::State, &schema::flat_key(&from), None);
        self.merged(base, from, false)
    }

    fn merged<'a>(
        &'a self,
        base: Box<dyn Iterator<Item = StoredRow> + 'a>,
        from: StateKey,
        exclusive: bool,
    ) -> Result<MergedRows<'a>, StorageError> {
        let overlay = &self.layers.rows;
        let mut rows = MergedRows {
            overlay,
            base,
            above: overlay.next(&from, exclusive),
            below: None,
        };
        rows.below = rows.next_below()?;
        if exclusive && rows.below.as_ref().is_some_and(|(key, _)| *key == from) {
            rows.below = rows.next_below()?;
        }
        Ok(rows)
    }
}

impl<'a> MergedRows<'a> {
    fn next_below(&mut self) -> Result<Option<(StateKey, Vec<u8>)>, StorageError> {
        let Some((key, row)) = self.base.next().transpose()? else {
            return Ok(None);
        };
        // The family continues with trie nodes, which are not rows.
        Ok(schema::parse_flat_key(&key).map(|key| (key, row)))
    }

    fn step(&mut self) -> Result<Option<MergedRow<'a>>, StorageError> {
        let overlay = self.overlay;
        loop {
            let is_above = match (self.above, &self.below) {
                (Some((key, _)), Some((below, _))) => key <= below,
                (above, _) => above.is_some(),
            };
            if !is_above {
                let Some((key, row)) = self.below.take() else {
                    return Ok(None);
                };
                self.below = self.next_below()?;
                return Ok(Some((key, Cow::Owned(row))));
            }
            let Some((key, row)) = self.above else {
                return Ok(None);
            };
            self.above = overlay.next(key, true);
            if self.below.as_ref().is_some_and(|(below, _)| below == key) {
                self.below = self.next_below()?;
            }
            if let Some(row) = row {
                return Ok(Some((*key, Cow::Borrowed(&**row))));
            }
        }
    }
}

impl<'a> Iterator for MergedRows<'a> {
    type Item = Result<MergedRow<'a>, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
