//! What RPC clients submit and the signature stage has not checked: bounded in bytes, fair between callers.
//!
//! ```text
//!  small     caller a ▪  caller b ▪       up to `SMALL_MAX` transactions: all of a round, together
//!  large     caller c ▪▪▪▪▪▪▪▪            slices of `SLICE_MAX`, in turns between callers
//!  tainted   caller d ▪▪▪▪                a bad signature lately: `TAINTED_ROUND_MAX` transactions a round
//! ```
//!
//! A round takes from each line what it may, the small ones first, so that no caller waits for another for longer than
//! a round. What one caller sends stays in its order: its line is that of its oldest submission. A flood displaces
//! itself: when the queue is full, the caller with the most in it loses its newest submission, those with a bad
//! signature first.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use vibecoin_primitives::limits::{KIB, MIB, TRANSACTION_BYTES_MAX};
use vibecoin_primitives::{Transaction, transaction_bytes};
use vibecoin_rpc_server::Caller;

use crate::queue::Bounds;
use crate::verify::{Outcome, SubmitError};

/// Submissions that wait for the signature stage. A caller has room for a hundred of the largest transactions, as many as
/// one call may have.
pub const SUBMISSIONS: Bounds = Bounds {
    peer_bytes_max: 8 * MIB,
    bytes_max: 16 * MIB,
};
/// Most bytes of a caller that is tainted.
const TAINTED_BYTES_MAX: usize = 512 * KIB;
/// Most callers with submissions that wait.
const CALLERS_MAX: usize = 4096;
/// What a submission, and each transaction of it, costs beside its bytes.
const ITEM_BYTES: usize = 256;

/// Most transactions of a submission that is small.
const SMALL_MAX: usize = 4;
/// Most transactions, and bytes, of a caller that are taken before the next has its turn.
const SLICE_MAX: usize = 32;
const SLICE_BYTES_MAX: usize = 256 * KIB;
/// Most transactions of a round, by line.
const SMALL_ROUND_MAX: usize = 768;
const LARGE_ROUND_MAX: usize = 512;
const TAINTED_ROUND_MAX: usize = 32;
/// Most bytes of a line in a round.
const ROUND_BYTES_MAX: usize = 2 * MIB;

/// Good slices that make up for one with a bad signature.
const SLICES_PER_FAULT: u32 = 8;
/// Most good slices that a caller owes.
const OWED_MAX: u32 = 8 * SLICES_PER_FAULT;
/// Most tainted callers that are remembered; the oldest is forgotten first.
const TAINTED_MAX: usize = 1024;

const _: () = assert!(100 * (TRANSACTION_BYTES_MAX + ITEM_BYTES) + ITEM_BYTES <= SUBMISSIONS.peer_bytes_max);
const _: () = assert!(SLICE_BYTES_MAX >= TRANSACTION_BYTES_MAX + ITEM_BYTES);
const _: () = assert!(TAINTED_BYTES_MAX >= SLICE_BYTES_MAX && TAINTED_BYTES_MAX < SUBMISSIONS.peer_bytes_max);

/// Why a submission is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its caller, or all callers together, have too much waiting.
    Full,
    /// Nobody checks signatures any more.
    Ended,
}

/// Which submissions a round takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Few transactions of callers in good standing.
    Small,
    /// Many transactions of callers in good standing.
    Large,
    /// Callers that sent a bad signature lately.
    Tainted,
}

/// The way back of the verdicts on a slice.
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
    /// Notes the verdicts on the slice, and answers the client when they are the last.
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
            // A client that went away is no fault.
            let _gone = reply.send(verdicts.into_iter().flatten().collect());
        }
    }
}

/// Transactions of one submission that are checked together.
pub struct Slice {
    /// Whose they are.
    pub caller: Caller,
    /// As decoded.
    pub transactions: Vec<Transaction>,
    /// Where their verdicts go.
    pub part: Part,
}

/// A submission, or what is left of it.
struct Entry {
    rest: VecDeque<(Transaction, usize)>,
    bytes: usize,
    is_small: bool,
    gathered: Arc<Mutex<Gathered>>,
    /// The first of `rest` in the submission.
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

    /// Takes the next transactions, one at least, and the bytes that they held.
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
            // What the submission itself held.
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

    /// Answers that there is no room for what is left.
    fn displace(self) {
        self.part()
            .fill(self.rest.iter().map(|_| Err(SubmitError::Busy)).collect());
    }
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// Callers that sent a bad signature lately.
#[derive(Default)]
struct Tainted {
    callers: BTreeMap<Caller, Fault>,
    faults: u64,
}

#[derive(Clone, Copy)]
struct Fault {
    /// Good slices that the caller owes.
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
    /// Who had its turn last, by line.
    last: [Option<Caller>; 3],
    tainted: Tainted,
    /// Nothing more comes.
    closed: bool,
    /// Nothing more is taken.
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

    /// Takes the newest submission of the caller with the most, if that is more than `bytes`, or if it is tainted and
    /// the one that comes is not.
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

    /// The callers of a line, the next turn first.
    fn turns(&self, line: Line) -> VecDeque<Caller> {
        let last = self.last.get(line as usize).copied().flatten();
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        // The node's own is the first of all callers.
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
        // Full is fine: it rings already.
        let _rings = self.bell.try_send(());
    }
}

/// A queue of submissions, by its two ends.
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

/// Where submissions go in. The queue closes when it is dropped.
pub struct SubmissionSender(Arc<Queue>);

impl Drop for SubmissionSender {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.ring();
    }
}

impl SubmissionSender {
    /// Lets a submission wait for its caller's turn. `reply` gets one verdict per transaction, in order; it is dropped
    /// when the node stops.
    ///
    /// # Errors
    /// [`Refused`]; nothing was submitted then.
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

/// Where the signature stage takes submissions out. When it is dropped, clients that wait learn it at once.
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
    /// Takes what a round may take of a line, in turns between callers.
    pub fn take(&self, line: Line) -> Vec<Slice> {
        self.queue.state.lock().take(line)
    }

    /// Notes whether all signatures of a slice were good. One that has a bad one makes its caller wait behind all
    /// others, until it has sent [`SLICES_PER_FAULT`] good ones.
    pub fn judge(&self, caller: Caller, is_good: bool) {
        self.queue.state.lock().tainted.judge(caller, is_good);
    }

    /// Whether nothing waits and nothing more comes.
    pub fn is_done(&self) -> bool {
        let state = self.queue.state.lock();
        state.closed && state.callers.is_empty()
    }

    /// Bytes and transactions that wait.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        let state = self.queue.state.lock();
        let entries = state.callers.values().flat_map(|waiting| &waiting.entries);
        (state.bytes, entries.map(|entry| entry.rest.len()).sum())
    }

    /// Rings after a push and at the end. Whoever waits for it must take until nothing is left before it waits again.
    pub const fn bell(&self) -> &Receiver<()> {
        &self.rung
    }
}

#[cfg(test)]
#[path = "submissions_tests.rs"]
mod tests;
