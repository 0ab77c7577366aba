//! Selection of transactions for a block, while more of them arrive.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use vibecoin_primitives::{Address, FastMap, Nonce, VerifiedTransaction};

use crate::class::{BlockSpace, Class};
use crate::entry::{Place, Rank};
use crate::{FeeRate, Mempool};

/// Number of arrivals remembered for running selections.
const NEWS_MAX: usize = 16_384;

/// Number of misfits of one class after which a selection takes no more heads of this class.
///
/// The loss is less than twice the space that the largest of the class needs: of a block, once. Without a
/// bound a builder would examine every transaction that sets many slots, for every block, once the slots of
/// the block are used up.
pub const MISFITS_MAX: u32 = 8;

/// State of the selection for one block. Taking leaves the pool unchanged.
///
/// A selection serves one block: start a new one after [`Mempool::on_committed`].
///
/// At every moment the candidates are, for each sender that was not skipped, its pending transaction with the
/// next nonce. They are found in two places: `waiting` has those of senders that were taken from and of
/// senders with arrivals, the heads of each [`Class`] from that of `fronts` on have the rest. Either may hold
/// entries that are not candidates any more; that is detected when they are reached.
///
/// The classes bound the work: of a class that cannot fit any more none is examined, and of one that could,
/// up to [`MISFITS_MAX`] without success. So one block costs as many checks as it has transactions, arrivals
/// and classes, whatever the pool holds, plus those for expired transactions that are still to be removed.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Number of the next arrival to examine; `None` before the first step.
    arrivals: Option<u64>,
    /// The best head of each class that has not been examined.
    fronts: BTreeMap<Rank, (Class, Place)>,
    waiting: BTreeMap<Rank, Place>,
    /// The next nonce of each sender that was taken from; `None` for those skipped.
    next: FastMap<Address, Option<Nonce>>,
    /// Number of transactions of each class that did not fit.
    misfits: BTreeMap<Class, u32>,
    looked_at: u64,
}

impl Selection {
    /// Number of transactions examined so far.
    #[must_use]
    pub const fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// Returns true if the heads of this class are still examined.
    fn is_open(&self, class: Class) -> bool {
        self.misfits.get(&class).is_none_or(|count| *count < MISFITS_MAX)
    }
}

/// Senders that have a new pending transaction, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    ring: VecDeque<Address>,
    /// Number of the arrival at the front of the ring.
    first: u64,
}

impl Arrivals {
    pub fn push(&mut self, sender: Address) {
        self.ring.push_back(sender);
        while self.ring.len() > NEWS_MAX {
            self.ring.pop_front();
            self.first = self.first.saturating_add(1);
        }
    }

    fn next(&self) -> u64 {
        self.first
            .saturating_add(u64::try_from(self.ring.len()).unwrap_or(u64::MAX))
    }

    /// The arrivals from number `from` on; `None` when some of them are forgotten.
    fn since(&self, from: u64) -> Option<impl Iterator<Item = &Address>> {
        let at = usize::try_from(from.checked_sub(self.first)?).ok()?;
        Some(self.ring.range(at.min(self.ring.len())..))
    }
}

impl Mempool {
    /// The best transaction that can be next in the block: of all senders the one that bids most per byte, of
    /// each sender the lowest nonce.
    #[must_use]
    pub fn next(&self, selection: &mut Selection) -> Option<Arc<VerifiedTransaction>> {
        self.next_within(selection, &BlockSpace::UNLIMITED)
    }

    /// [`Mempool::next`] among those that fit into `space`, which must not grow during a selection. A sender
    /// whose next transaction does not fit is skipped; after [`MISFITS_MAX`] misfits of a class, one that
    /// would fit may be left for the next block.
    pub fn next_within(
        &self,
        selection: &mut Selection,
        space: &BlockSpace,
    ) -> Option<Arc<VerifiedTransaction>> {
        self.catch_up(selection);
        loop {
            let (rank, (sender, nonce)) = self.advance(selection, space)?;
            selection.looked_at = selection.looked_at.saturating_add(1);
            let Some(row) = self.rows.get(&sender) else {
                continue;
            };
            if selection.next.get(&sender).copied().unwrap_or(Some(row.nonce())) != Some(nonce) {
                continue;
            }
            let Some(entry) = row.get_pending(nonce).filter(|entry| entry.rank == rank) else {
                continue;
            };
            if entry.until_min < self.next_height {
                continue;
            }
            let need = BlockSpace::needed(&entry.transaction, &self.params);
            if !space.holds(&need) {
                let misfits = selection.misfits.entry(Class::of(&need)).or_default();
                *misfits = misfits.saturating_add(1);
                self.skip_sender(selection, &sender);
                continue;
            }
            let following = nonce.next();
            selection.next.insert(sender, following);
            self.wait(selection, &sender, following);
            return Some(Arc::clone(&entry.transaction));
        }
    }

    /// Takes no more from this sender: call it when the offered transaction cannot be in the block.
    pub fn skip_sender(&self, selection: &mut Selection, sender: &Address) {
        selection.next.insert(*sender, None);
    }

    /// Examines the arrivals since the last step.
    fn catch_up(&self, selection: &mut Selection) {
        let Some(from) = selection.arrivals.replace(self.arrivals.next()) else {
            return self.open_classes(selection);
        };
        if let Some(arrivals) = self.arrivals.since(from) {
            for sender in arrivals {
                let next = selection.next.get(sender).copied();
                let next = next.unwrap_or_else(|| self.rows.get(sender).map(|row| row.nonce()));
                self.wait(selection, sender, next);
            }
            return;
        }
        // Too many arrivals: examine all again, except classes that are closed.
        self.open_classes(selection);
        let taken: Vec<_> = selection
            .next
            .iter()
            .map(|(sender, next)| (*sender, *next))
            .collect();
        for (sender, next) in taken {
            self.wait(selection, &sender, next);
        }
    }

    /// Begins with the best head of every class. One search for each.
    fn open_classes(&self, selection: &mut Selection) {
        selection.fronts.clear();
        let mut from = Unbounded;
        while let Some(((class, rank), place)) = self.heads.range((from, Unbounded)).next() {
            if selection.is_open(*class) {
                selection.fronts.insert(*rank, (*class, *place));
            }
            from = Excluded((*class, Rank::LAST));
        }
    }

    /// Makes the sender's transaction with this nonce a candidate, if it is pending.
    fn wait(&self, selection: &mut Selection, sender: &Address, nonce: Option<Nonce>) {
        let Some(nonce) = nonce else { return };
        if let Some(entry) = self.rows.get(sender).and_then(|row| row.get_pending(nonce)) {
            selection.waiting.insert(entry.rank, (*sender, nonce));
        }
    }

    /// Removes and returns the best candidate.
    fn advance(&self, selection: &mut Selection, space: &BlockSpace) -> Option<(Rank, Place)> {
        loop {
            let waiting = selection.waiting.first_key_value().map(|(rank, _)| *rank);
            let Some(front) = selection
                .fronts
                .first_entry()
                .filter(|front| waiting.is_none_or(|other| *front.key() < other))
            else {
                return selection.waiting.pop_first();
            };
            let (rank, (class, place)) = front.remove_entry();
            // The space only shrinks, so the class is not examined again.
            if !selection.is_open(class) || !class.may_fit(space) {
                continue;
            }
            let rest = (Excluded((class, rank)), Included((class, Rank::LAST)));
            if let Some(((_, following), place)) = self.heads.range(rest).next() {
                selection.fronts.insert(*following, (class, *place));
            }
            return Some((rank, place));
        }
    }
}

impl Rank {
    /// Behind every transaction.
    const LAST: Self = Self {
        rate: std::cmp::Reverse(FeeRate(0)),
        arrival: u64::MAX,
    };
}
