//! Taking transactions for a block, while more of them arrive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use vibecoin_primitives::{Address, FastMap, Nonce, VerifiedTransaction};

use crate::Mempool;
use crate::entry::{Place, Rank};

/// How many arrivals are remembered for selections that are under way.
const NEWS_MAX: usize = 16_384;

/// How far the selection for one block has got. Taking leaves the pool as it is.
///
/// A selection serves one block: start a new one after [`Mempool::on_committed`].
///
/// At every moment the candidates are, for each sender that was not skipped, its pending transaction with
/// the next nonce. They are found in two places: `waiting` has those of senders that were taken from and
/// of senders with news, the pool's heads beyond `cursor` have the rest. Either may hold what is no
/// candidate any more; that shows when it comes up.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Number of the news to look at next; `None` before the first step.
    news: Option<u64>,
    /// All heads up to this rank have been looked at.
    cursor: Option<Rank>,
    waiting: BTreeMap<Rank, Place>,
    /// The next nonce of each sender that was taken from; `None` for those skipped.
    next: FastMap<Address, Option<Nonce>>,
}

/// Senders that have a new pending transaction, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    ring: VecDeque<Address>,
    /// Number of the news at the front of the ring.
    first: u64,
}

impl News {
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

    /// The news from number `from` on; `None` when some of them are forgotten.
    fn since(&self, from: u64) -> Option<impl Iterator<Item = &Address>> {
        let at = usize::try_from(from.checked_sub(self.first)?).ok()?;
        Some(self.ring.range(at.min(self.ring.len())..))
    }
}

impl Mempool {
    /// The best transaction that can come next in the block: of all senders the one that bids most per
    /// byte, of each sender the lowest nonce.
    #[must_use]
    pub fn next(&self, selection: &mut Selection) -> Option<Arc<VerifiedTransaction>> {
        self.next_within(selection, u32::MAX)
    }

    /// [`Mempool::next`] among those of at most `bytes_max` bytes. A sender whose next transaction is
    /// larger is skipped.
    pub fn next_within(&self, selection: &mut Selection, bytes_max: u32) -> Option<Arc<VerifiedTransaction>> {
        self.catch_up(selection);
        loop {
            let (rank, (sender, nonce)) = self.advance(selection)?;
            let Some(row) = self.rows.get(&sender) else {
                continue;
            };
            if selection.next.get(&sender).copied().unwrap_or(Some(row.nonce())) != Some(nonce) {
                continue;
            }
            let Some(entry) = row.get_pending(nonce).filter(|entry| entry.rank == rank) else {
                continue;
            };
            if entry.transaction.byte_len() > bytes_max {
                self.skip_sender(selection, &sender);
                continue;
            }
            let following = nonce.next();
            selection.next.insert(sender, following);
            self.wait(selection, &sender, following);
            return Some(Arc::clone(&entry.transaction));
        }
    }

    /// Takes nothing more from this sender: call it when the block could not have what was offered.
    pub fn skip_sender(&self, selection: &mut Selection, sender: &Address) {
        selection.next.insert(*sender, None);
    }

    /// Looks at what has arrived since the last step.
    fn catch_up(&self, selection: &mut Selection) {
        let from = selection.news.replace(self.news.next());
        let Some(from) = from else { return };
        if let Some(news) = self.news.since(from) {
            for sender in news {
                let next = selection.next.get(sender).copied();
                let next = next.unwrap_or_else(|| self.rows.get(sender).map(|row| row.nonce()));
                self.wait(selection, sender, next);
            }
            return;
        }
        // Too much has happened: look at everything again.
        selection.cursor = None;
        let taken: Vec<_> = selection
            .next
            .iter()
            .map(|(sender, next)| (*sender, *next))
            .collect();
        for (sender, next) in taken {
            self.wait(selection, &sender, next);
        }
    }

    /// Makes the sender's transaction with this nonce a candidate, if it is pending.
    fn wait(&self, selection: &mut Selection, sender: &Address, nonce: Option<Nonce>) {
        let Some(nonce) = nonce else { return };
        if let Some(entry) = self.rows.get(sender).and_then(|row| row.get_pending(nonce)) {
            selection.waiting.insert(entry.rank, (*sender, nonce));
        }
    }

    /// The best candidate, which is then no longer one.
    fn advance(&self, selection: &mut Selection) -> Option<(Rank, Place)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = selection.cursor.map_or(Unbounded, Excluded);
        let head = self.heads.range((from, Unbounded)).next();
        let waiting = selection.waiting.first_key_value();
        if let Some((rank, place)) = head
            && waiting.is_none_or(|(other, _)| rank < other)
        {
            selection.cursor = Some(*rank);
            return Some((*rank, *place));
        }
        selection.waiting.pop_first()
    }
}
