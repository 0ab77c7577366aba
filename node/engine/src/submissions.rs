//! Submissions of RPC clients queued for the signature stage: bounded in bytes, fair between callers.
//!
//! ```text
//!  small     caller a ▪  caller b ▪       up to `SMALL_MAX` transactions: all of a round, together
//!  large     caller c ▪▪▪▪▪▪▪▪            slices of `SLICE_MAX`, in turns between callers
//!  tainted   caller d ▪▪▪▪                a bad signature lately: `TAINTED_ROUND_MAX` transactions a round
//! ```
//!
//! A round takes a bounded number from each line, the small ones first, so that no caller waits for another
//! for longer than a round. The transactions of one caller stay in order: its line is that of its oldest
//! submission. A flood displaces itself: when the queue is full, the caller with the largest share loses its
//! newest submission, those with an invalid signature first.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use vibecoin_primitives::limits::{KIB, MIB, TRANSACTION_BYTES_MAX};
use vibecoin_primitives::{Transaction, transaction_bytes};
use vibecoin_rpc_backend::{BackendError, Caller};

use crate::queue::Bounds;
use crate::verify::{Outcome, Rejected};

/// The queue is full for a caller or for all callers: the caller may try again.
pub const BUSY: BackendError = BackendError::Busy {
    queue: "signature checks",
};

/// Bounds of the queue. A caller has space for a hundred of the largest transactions, the maximum of one
/// call.
pub const SUBMISSIONS: Bounds = Bounds {
    peer_bytes_max: 8 * MIB,
    bytes_max: 16 * MIB,
};
/// Maximum bytes of a tainted caller.
const TAINTED_BYTES_MAX: usize = 512 * KIB;
/// Maximum number of callers with queued submissions.
const CALLERS_MAX: usize = 4096;
/// Fixed cost of a submission, and of each of its transactions, beside its bytes.
const ITEM_BYTES: usize = 256;

/// Maximum number of transactions of a small submission.
const SMALL_MAX: usize = 4;
/// Maximum number of transactions, and bytes, taken from a caller per turn.
const SLICE_MAX: usize = 32;
const SLICE_BYTES_MAX: usize = 256 * KIB;
/// Maximum number of transactions of a round, by line.
const SMALL_ROUND_MAX: usize = 768;
const LARGE_ROUND_MAX: usize = 512;
const TAINTED_ROUND_MAX: usize = 32;
/// Maximum bytes of a line in a round.
const ROUND_BYTES_MAX: usize = 2 * MIB;

/// Number of valid slices that compensate for one with an invalid signature.
const SLICES_PER_FAULT: u32 = 8;
/// Maximum number of valid slices that a caller owes.
const OWED_MAX: u32 = 8 * SLICES_PER_FAULT;
/// Maximum number of tainted callers kept; the oldest is removed first.
const TAINTED_MAX: usize = 1024;

const _: () = assert!(100 * (TRANSACTION_BYTES_MAX + ITEM_BYTES) + ITEM_BYTES <= SUBMISSIONS.peer_bytes_max);
const _: () = assert!(SLICE_BYTES_MAX >= TRANSACTION_BYTES_MAX + ITEM_BYTES);
const _: () = assert!(TAINTED_BYTES_MAX >= SLICE_BYTES_MAX && TAINTED_BYTES_MAX < SUBMISSIONS.peer_bytes_max);

/// Reason for which a submission is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much is queued for its caller, or for all callers together.
    Full,
    /// The signature stage has ended.
    Ended,
}

/// Class of submissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Few transactions of callers in good standing.
    Small,
    /// Many transactions of callers in good standing.
    Large,
    /// Callers that sent an invalid signature lately.
    Tainted,
}

/// Return path of the verdicts on a slice.
pub struct Part {
    gathered: Arc<Mutex<Gathered>>,
    first: usize,
}

/// The verdicts of one submission, slice by slice.
struct Gathered {
    verdicts: Vec<Option<Outcome>>,
    missing: usize,
    reply: Option<oneshot::Sender<Vec<Outcome>>>,
}

impl Part {
    /// Records the verdicts on the slice, and answers the client when they are the last.
    pub fn fill(self, outcomes: Vec<Outcome>) {
        let mut gathered = self.gathered.lock();
        let mut filled = 0usize;
        for (verdict, outcome) in gathered.verdicts.iter_mut().skip(self.first).zip(outcomes) {
            filled = filled.saturating_add(usize::from(verdict.is_none()));
            *verdict = Some(outcome);
        }
        gathered.missing = gathered.missing.saturating_sub(filled);
        if gathered.missing == 0
            && let Some(reply) = gathered.reply.take()
        {
            let verdicts = std::mem::take(&mut gathered.verdicts);
            // A disconnected client is not a fault.
            let _gone = reply.send(verdicts.into_iter().flatten().collect());
        }
    }
}

/// Transactions of one submission that are checked together.
pub struct Slice {
    /// The client that submitted them.
    pub caller: Caller,
    /// As decoded.
    pub transactions: Vec<Transaction>,
    /// Return path of their verdicts.
    pub part: Part,
}

/// A submission, or its remaining transactions.
struct Entry {
    rest: VecDeque<(Transaction, usize)>,
    bytes: usize,
    is_small: bool,
    gathered: Arc<Mutex<Gathered>>,
    /// Position of the first of `rest` in the submission.
    first: usize,
}

impl Entry {
    fn new(transactions: Vec<Transaction>, reply: oneshot::Sender<Vec<Outcome>>) -> Self {
        let count = transactions.len();
        let sized = |transaction: Transaction| {
            let bytes = transaction_bytes(&transaction).saturating_add(ITEM_BYTES);
            (transaction, bytes)
        };
        let rest: VecDeque<_> = transactions.into_iter().map(sized).collect();
        let bytes = rest.iter().map(|(_, bytes)| *bytes);
        Self {
            bytes: bytes.fold(ITEM_BYTES, usize::saturating_add),
            rest,
            is_small: count <= SMALL_MAX,
            gathered: Arc::new(Mutex::new(Gathered {
                verdicts: (0..count).map(|_| None).collect(),
                missing: count,
                reply: Some(reply),
            })),
            first: 0,
        }
    }

    /// Takes up to `count_max` transactions, at minimum one, and returns them with the bytes that they held.
    fn cut(&mut self, count_max: usize) -> (Vec<Transaction>, Part, usize) {
        let part = self.part();
        let (mut taken, mut bytes) = (Vec::new(), 0usize);
        while let Some((_, next)) = self.rest.front() {
            let after = bytes.saturating_add(*next);
            if !taken.is_empty() && (taken.len() >= count_max || after > SLICE_BYTES_MAX) {
                break;
            }
            bytes = after;
            taken.extend(self.rest.pop_front().map(|(transaction, _)| transaction));
        }
        self.first = self.first.saturating_add(taken.len());
        if self.rest.is_empty() {
            // The fixed cost of the submission.
            bytes = self.bytes;
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        (taken, part, bytes)
    }

    fn part(&self) -> Part {
        Part {
            gathered: Arc::clone(&self.gathered),
            first: self.first,
        }
    }

    /// Reports to the client that its remaining transactions were displaced.
    fn displace(self) {
        let busy = self.rest.iter().map(|_| Err(Rejected::unverified(BUSY)));
        self.part().fill(busy.collect());
    }
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// Callers that sent an invalid signature lately.
#[derive(Default)]
struct Tainted {
    callers: BTreeMap<Caller, Fault>,
    faults: u64,
}

#[derive(Clone, Copy)]
struct Fault {
    /// Number of valid slices that the caller owes.
    owed: u32,
    /// The number of its newest fault.
    newest: u64,
}

impl Tainted {
    fn has(&self, caller: Caller) -> bool {
        self.callers.contains_key(&caller)
    }

    fn judge(&mut self, caller: Caller, is_good: bool) {
        let owed = self.callers.get(&caller).map_or(0, |fault| fault.owed);
        if is_good {
            match owed.saturating_sub(1) {
                0 => {
                    self.callers.remove(&caller);
                }
                left => {
                    self.callers.entry(caller).and_modify(|fault| fault.owed = left);
                }
            }
            return;
        }
        if owed == 0 && self.callers.len() >= TAINTED_MAX {
            let oldest = self.callers.iter().min_by_key(|(_, fault)| fault.newest);
            if let Some(oldest) = oldest.map(|(caller, _)| *caller) {
                self.callers.remove(&oldest);
            }
        }
        self.faults = self.faults.saturating_add(1);
        let fault = Fault {
            owed: owed.saturating_add(SLICES_PER_FAULT).min(OWED_MAX),
            newest: self.faults,
        };
        self.callers.insert(caller, fault);
    }
}

#[derive(Default)]
struct State {
    callers: BTreeMap<Caller, Waiting>,
    bytes: usize,
    /// Caller of the last turn, by line.
    last: [Option<Caller>; 3],
    tainted: Tainted,
    /// The sender is gone.
    closed: bool,
    /// The receiver is gone.
    ended: bool,
}

impl State {
    fn push(&mut self, caller: Caller, entry: Entry) -> Result<(), Refused> {
        if self.ended {
            return Err(Refused::Ended);
        }
        let is_tainted = self.tainted.has(caller);
        let own_max = if is_tainted {
            TAINTED_BYTES_MAX
        } else {
            SUBMISSIONS.peer_bytes_max
        };
        let held = self.callers.get(&caller).map(|waiting| waiting.bytes);
        let after = held.unwrap_or_default().saturating_add(entry.bytes);
        if after > own_max {
            return Err(Refused::Full);
        }
        if held.is_none() && self.callers.len() >= CALLERS_MAX {
            return Err(Refused::Full);
        }
        while self.bytes.saturating_add(entry.bytes) > SUBMISSIONS.bytes_max {
            self.make_room(caller, is_tainted, after)?;
        }
        self.bytes = self.bytes.saturating_add(entry.bytes);
        let waiting = self.callers.entry(caller).or_default();
        waiting.bytes = after;
        waiting.entries.push_back(entry);
        Ok(())
    }

    /// Displaces the newest submission of the caller with the largest share, if that exceeds `bytes`, or if
    /// that caller is tainted and the submitting one is not.
    fn make_room(&mut self, coming: Caller, is_tainted: bool, bytes: usize) -> Result<(), Refused> {
        let others = self.callers.iter().filter(|(caller, _)| **caller != coming);
        let ranked = others.map(|(caller, waiting)| {
            let is_worse = !is_tainted && self.tainted.has(*caller);
            ((is_worse, waiting.bytes), *caller)
        });
        let ((is_worse, most), caller) = ranked.max().ok_or(Refused::Full)?;
        if !is_worse && most <= bytes {
            return Err(Refused::Full);
        }
        let waiting = self.callers.get_mut(&caller).ok_or(Refused::Full)?;
        if let Some(entry) = waiting.entries.pop_back() {
            waiting.bytes = waiting.bytes.saturating_sub(entry.bytes);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            entry.displace();
        }
        if waiting.entries.is_empty() {
            self.callers.remove(&caller);
        }
        Ok(())
    }

    fn line_of(&self, caller: Caller, waiting: &Waiting) -> Option<Line> {
        let oldest = waiting.entries.front()?;
        Some(match (self.tainted.has(caller), oldest.is_small) {
            (true, _) => Line::Tainted,
            (false, true) => Line::Small,
            (false, false) => Line::Large,
        })
    }

    /// The callers of a line, in the order of their turns.
    fn turns(&self, line: Line) -> VecDeque<Caller> {
        let last = self.last.get(line as usize).copied().flatten();
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        // The node's own caller sorts before all others.
        let until = last.map_or(Bound::Excluded(Caller::NODE), Bound::Included);
        let ordered = self.callers.range((after, Bound::Unbounded));
        let ordered = ordered.chain(self.callers.range((Bound::Unbounded, until)));
        let of_line = ordered.filter(|(caller, waiting)| self.line_of(**caller, waiting) == Some(line));
        of_line.map(|(caller, _)| *caller).collect()
    }

    fn take(&mut self, line: Line) -> Vec<Slice> {
        let count_max = match line {
            Line::Small => SMALL_ROUND_MAX,
            Line::Large => LARGE_ROUND_MAX,
            Line::Tainted => TAINTED_ROUND_MAX,
        };
        let mut turns = self.turns(line);
        let (mut taken, mut count, mut bytes) = (Vec::new(), 0usize, 0usize);
        while count < count_max
            && bytes < ROUND_BYTES_MAX
            && let Some(caller) = turns.pop_front()
        {
            let left = count_max.saturating_sub(count).min(SLICE_MAX);
            let Some((slice, held)) = self.cut(caller, left) else {
                continue;
            };
            count = count.saturating_add(slice.transactions.len());
            bytes = bytes.saturating_add(held);
            taken.push(slice);
            if let Some(last) = self.last.get_mut(line as usize) {
                *last = Some(caller);
            }
            let again = self.callers.get(&caller);
            if again.and_then(|waiting| self.line_of(caller, waiting)) == Some(line) {
                turns.push_back(caller);
            }
        }
        taken
    }

    fn cut(&mut self, caller: Caller, count_max: usize) -> Option<(Slice, usize)> {
        let waiting = self.callers.get_mut(&caller)?;
        let entry = waiting.entries.front_mut()?;
        let (transactions, part, bytes) = entry.cut(count_max);
        if entry.rest.is_empty() {
            waiting.entries.pop_front();
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        if waiting.entries.is_empty() {
            self.callers.remove(&caller);
        }
        let slice = Slice {
            caller,
            transactions,
            part,
        };
        Some((slice, bytes))
    }
}

struct Queue {
    state: Mutex<State>,
    bell: Sender<()>,
}

impl Queue {
    fn ring(&self) {
        // A full channel is fine: the signal is pending already.
        let _rings = self.bell.try_send(());
    }
}

/// Creates a queue of submissions and returns its two ends.
pub fn submissions() -> (SubmissionSender, SubmissionReceiver) {
    let (bell, rung) = bounded(1);
    let queue = Arc::new(Queue {
        state: Mutex::default(),
        bell,
    });
    (
        SubmissionSender(Arc::clone(&queue)),
        SubmissionReceiver { queue, rung },
    )
}

/// Sending end. The queue closes when it is dropped.
pub struct SubmissionSender(Arc<Queue>);

impl Drop for SubmissionSender {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.ring();
    }
}

impl SubmissionSender {
    /// Queues a submission until its caller's turn. `reply` receives one verdict per transaction, in order;
    /// it is dropped when the node stops.
    ///
    /// # Errors
    /// [`Refused`]; nothing was submitted in that case.
    pub fn push(
        &self,
        caller: Caller,
        transactions: Vec<Transaction>,
        reply: oneshot::Sender<Vec<Outcome>>,
    ) -> Result<(), Refused> {
        if transactions.is_empty() {
            let _gone = reply.send(Vec::new());
            return Ok(());
        }
        let entry = Entry::new(transactions, reply);
        self.0.state.lock().push(caller, entry)?;
        self.0.ring();
        Ok(())
    }
}

/// Receiving end, for the signature stage. When it is dropped, waiting clients are notified at once.
pub struct SubmissionReceiver {
    queue: Arc<Queue>,
    rung: Receiver<()>,
}

impl Drop for SubmissionReceiver {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.ended = true;
        state.callers.clear();
        state.bytes = 0;
    }
}

impl SubmissionReceiver {
    /// Takes the share of one line in a round, in turns between callers.
    pub fn take(&self, line: Line) -> Vec<Slice> {
        self.queue.state.lock().take(line)
    }

    /// Records whether all signatures of a slice were valid. An invalid one moves its caller behind all
    /// others, until it has sent [`SLICES_PER_FAULT`] valid slices.
    pub fn judge(&self, caller: Caller, is_good: bool) {
        self.queue.state.lock().tainted.judge(caller, is_good);
    }

    /// Returns true if the queue is empty and closed.
    pub fn is_done(&self) -> bool {
        let state = self.queue.state.lock();
        state.closed && state.callers.is_empty()
    }

    /// Bytes and number of the queued transactions.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        let state = self.queue.state.lock();
        let entries = state.callers.values().flat_map(|waiting| &waiting.entries);
        (state.bytes, entries.map(|entry| entry.rest.len()).sum())
    }

    /// Signalled after each push and at the end. A receiver must take until the queue is empty before it
    /// waits again.
    pub const fn bell(&self) -> &Receiver<()> {
        &self.rung
    }
}

#[cfg(test)]
#[path = "submissions_tests.rs"]
mod tests;
