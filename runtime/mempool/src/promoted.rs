//! Transactions that became pending after they had been queued.

use std::collections::VecDeque;

use crate::entry::Place;

/// Maximum number of promotions remembered. More than are queued in a default pool, so that one transaction
/// which closes every gap loses none.
pub(crate) const PROMOTED_MAX: usize = 8_192;

/// The last promotions, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promoted {
    ring: VecDeque<Place>,
    /// Number of the promotion at the front of the ring.
    first: u64,
}

impl Promoted {
    pub fn push(&mut self, place: Place) {
        self.ring.push_back(place);
        while self.ring.len() > PROMOTED_MAX {
            self.ring.pop_front();
            self.first = self.first.saturating_add(1);
        }
    }

    /// The number that the next promotion will have.
    pub fn next(&self) -> u64 {
        self.first
            .saturating_add(u64::try_from(self.ring.len()).unwrap_or(u64::MAX))
    }

    /// Promotions from number `from` on, as far as they are remembered.
    pub fn since(&self, from: u64) -> impl Iterator<Item = &Place> {
        let at = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.ring.range(at.min(self.ring.len())..)
    }
}
