//! The transactions of one sender, ascending by nonce.

use std::cmp::Reverse;
use std::collections::VecDeque;

use vibecoin_primitives::{Account, Amount, Height, Nonce};

use crate::FeeRate;
use crate::class::Class;
use crate::entry::{Entry, Rank, Standing};

/// One sender's transactions, and the last known values of its account.
#[derive(Clone, Debug, Default)]
pub(crate) struct SenderQueue {
    /// The account's next nonce. No entry has a lower one.
    nonce: Nonce,
    balance: Amount,
    /// Strictly ascending by nonce.
    entries: VecDeque<Entry>,
    /// Number of entries from the front with the nonces `nonce`, `nonce + 1`, ...: those are pending.
    ready: usize,
    /// Bytes of the pending entries.
    ready_bytes: usize,
    costs: u128,
    /// Index from which [`Entry::lowest`] and [`Entry::until_min`] are outdated; see [`SenderQueue::refresh`].
    stale_from: Option<usize>,
    /// Nonces that became pending for the first time since the pool last read this.
    pub promoted: Vec<Nonce>,
    /// Number of pending entries that the pool has counted.
    pub counted: usize,
    /// Bytes of the pending entries that the pool has counted.
    pub counted_bytes: usize,
    /// Class and rank under which the pool lists this row's first pending entry.
    pub head: Option<(Class, Rank)>,
    /// Standing under which the pool lists this row's last entry.
    pub tail: Option<Standing>,
}

impl SenderQueue {
    pub fn new(account: &Account) -> Self {
        Self {
            nonce: account.nonce,
            balance: account.balance,
            ..Self::default()
        }
    }

    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    pub fn balance(&self) -> Amount {
        self.balance
    }

    /// The summed costs of all entries.
    pub fn costs(&self) -> u128 {
        self.costs
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn pending_count(&self) -> usize {
        self.ready
    }

    pub fn pending_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// The first nonce that is missing.
    pub fn next_nonce(&self) -> Nonce {
        self.nonce
            .saturating_add(u64::try_from(self.ready).unwrap_or(u64::MAX))
    }

    pub fn is_pending(&self, nonce: Nonce) -> bool {
        nonce < self.next_nonce()
    }

    /// [`SenderQueue::next_nonce`] for a block at `height`: expired entries that are still to be removed are missing.
    pub fn next_nonce_at(&self, height: Height) -> Nonce {
        let is_valid = |entry: &Entry| entry.until_min >= height;
        let valid = self.entries.partition_point(is_valid);
        let ready = u64::try_from(self.ready.min(valid)).unwrap_or(u64::MAX);
        self.nonce.saturating_add(ready)
    }

    /// Returns true if some entry has expired before a block at `height`.
    pub fn has_expired(&self, height: Height) -> bool {
        self.last().is_some_and(|last| last.until_min < height)
    }

    /// The lowest last height of all entries before `nonce`; the highest when there are none.
    pub fn until_before(&self, nonce: Nonce) -> Height {
        self.before(nonce)
            .map_or(Height(u64::MAX), |before| before.until_min)
    }

    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn standing(&self, entry: &Entry) -> Standing {
        Standing {
            queued: !self.is_pending(entry.nonce),
            rank: Rank {
                rate: Reverse(entry.lowest),
                arrival: entry.rank.arrival,
            },
        }
    }

    /// The lowest rate of all entries before `nonce`; the highest when there are none.
    pub fn lowest_before(&self, nonce: Nonce) -> FeeRate {
        self.before(nonce)
            .map_or(FeeRate(u64::MAX), |before| before.lowest)
    }

    /// Recomputes [`Entry::lowest`] and [`Entry::until_min`] behind the changes since the last time. Once for
    /// many changes: a row may lose thousands of entries from its front in one block.
    pub fn refresh(&mut self) {
        let Some(from) = self.stale_from.take() else {
            return;
        };
        let before = from.checked_sub(1).and_then(|before| self.entries.get(before));
        let mut lowest = before.map_or(FeeRate(u64::MAX), |before| before.lowest);
        let mut until = before.map_or(Height(u64::MAX), |before| before.until_min);
        for entry in self.entries.range_mut(from.min(self.entries.len())..) {
            lowest = lowest.min(entry.rate());
            entry.lowest = lowest;
            until = until.min(entry.valid_until);
            entry.until_min = until;
        }
    }

    fn changed(&mut self, at: usize) {
        self.stale_from = Some(self.stale_from.map_or(at, |from| from.min(at)));
    }

    pub fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub fn first_pending(&self) -> Option<&Entry> {
        self.entries.front().filter(|_| self.ready > 0)
    }

    pub fn get(&self, nonce: Nonce) -> Option<&Entry> {
        self.entries.get(self.find(nonce).ok()?)
    }

    pub fn get_pending(&self, nonce: Nonce) -> Option<&Entry> {
        self.get(nonce).filter(|_| self.is_pending(nonce))
    }

    /// The entry just below `nonce`.
    pub fn before(&self, nonce: Nonce) -> Option<&Entry> {
        let (Ok(at) | Err(at)) = self.find(nonce);
        self.entries.get(at.checked_sub(1)?)
    }

    /// Puts an entry into the row and returns the one whose nonce it has.
    pub fn put(&mut self, mut entry: Entry) -> Option<Entry> {
        if self.entries.capacity() == 0 {
            // A typical sender has one.
            self.entries.reserve_exact(1);
        }
        self.costs = self.costs.saturating_add(u128::from(entry.cost.0));
        match self.find(entry.nonce) {
            Ok(at) => {
                self.changed(at);
                entry.was_pending = at < self.ready;
                let place = self.entries.get_mut(at)?;
                let bytes = entry.bytes();
                let old = std::mem::replace(place, entry);
                self.costs = self.costs.saturating_sub(u128::from(old.cost.0));
                if at < self.ready {
                    self.ready_bytes = self.ready_bytes.saturating_sub(old.bytes()).saturating_add(bytes);
                }
                Some(old)
            }
            Err(at) => {
                self.changed(at);
                self.entries.insert(at, entry);
                self.extend();
                None
            }
        }
    }

    /// Removes an entry. Later entries are queued, until [`SenderQueue::set_account`] advances the account.
    pub fn take(&mut self, nonce: Nonce) -> Option<Entry> {
        let at = self.find(nonce).ok()?;
        let demoted = self.entries.range(at.min(self.ready)..self.ready);
        let demoted_bytes = demoted.map(Entry::bytes).fold(0, usize::saturating_add);
        let entry = self.entries.remove(at)?;
        self.ready = self.ready.min(at);
        self.ready_bytes = self.ready_bytes.saturating_sub(demoted_bytes);
        self.costs = self.costs.saturating_sub(u128::from(entry.cost.0));
        self.changed(at);
        // Otherwise the memory of a long row would stay with its last entry.
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len().saturating_mul(2));
        }
        Some(entry)
    }

    /// Updates the account. Entries with used nonces must have been removed.
    pub fn set_account(&mut self, nonce: Nonce, balance: Amount) {
        self.balance = balance;
        if nonce != self.nonce {
            self.nonce = nonce;
            (self.ready, self.ready_bytes) = (0, 0);
        }
        self.extend();
    }

    /// Continues counting from the entries that are known to be pending.
    fn extend(&mut self) {
        while let next = self.next_nonce()
            && let Some(entry) = self.entries.get_mut(self.ready)
            && entry.nonce == next
        {
            let bytes = entry.bytes();
            if !std::mem::replace(&mut entry.was_pending, true) {
                self.promoted.push(next);
            }
            self.ready = self.ready.saturating_add(1);
            self.ready_bytes = self.ready_bytes.saturating_add(bytes);
        }
    }

    /// Position of the entry with this nonce, or its insertion point. Constant time among the pending.
    fn find(&self, nonce: Nonce) -> Result<usize, usize> {
        if self.nonce <= nonce && nonce < self.next_nonce() {
            return usize::try_from(nonce.saturating_sub(self.nonce.0).0).map_err(|_| self.entries.len());
        }
        if self.entries.back().is_none_or(|last| last.nonce < nonce) {
            return Err(self.entries.len());
        }
        self.entries.binary_search_by_key(&nonce, |entry| entry.nonce)
    }
}
