//! The check. Every rule is a row of the list "RPC history checking" in the reliability document:
//!
//! - (a) an acknowledged transfer is in the chain exactly once, at the acknowledged height;
//! - (b) one that failed is never in the chain; one of unknown fate no more than once;
//! - (c) a transfer first sent after another was acknowledged is not at a lower height;
//! - (d) every value that was read is the model's at that height;
//! - (e) no node reports a height and later a lower one, across restarts too;
//! - (f) two nodes return the same block for a height;
//! - (g) no money appears or disappears;
//! - a run with too little traffic proves nothing and is void.

use std::collections::{BTreeMap, BTreeSet};

use vibecoin_primitives::{Address, Hash};

use super::record::{AccountState, ChainTransfer, Done, History, Outcome, ReadAnswer, Transfer};

/// Minimum ok calls per second before the faults.
pub const OK_PER_SECOND_MIN: u64 = 50;
/// Minimum ok calls while faults run.
pub const OK_IN_FAULTS_MIN: u64 = 1_000;

/// An observation that one correct chain cannot explain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// (a)
    #[error("(a) transfer {id} was acknowledged at height {told} and is in the chain at {found:?}")]
    AckLost {
        /// The transfer.
        id: Hash,
        /// The acknowledged height.
        told: u64,
        /// Heights in the chain.
        found: Vec<u64>,
    },
    /// (b)
    #[error("(b) transfer {id} failed and is in the chain at height {height}")]
    FailedIsThere {
        /// The transfer.
        id: Hash,
        /// Its height in the chain.
        height: u64,
    },
    /// (a), (b)
    #[error("(b) transfer {id} is in the chain more than once, at {heights:?}")]
    Twice {
        /// The transfer.
        id: Hash,
        /// Its heights in the chain.
        heights: Vec<u64>,
    },
    /// (c)
    #[error("(c) transfer {id} at height {height} was sent after one was acknowledged at height {acked}")]
    OutOfOrder {
        /// The later transfer.
        id: Hash,
        /// Its height.
        height: u64,
        /// The highest height known before it was sent.
        acked: u64,
    },
    /// (d)
    #[error("(d) node {node} said {got:?} of {account:?} at height {height}, the model says {expected:?}")]
    WrongRead {
        /// The node.
        node: usize,
        /// The height.
        height: u64,
        /// The account.
        account: Address,
        /// The answer.
        got: AccountState,
        /// The value of the model.
        expected: AccountState,
    },
    /// (d)
    #[error("(d) node {node} was asked for height {asked} and answered for height {got}")]
    OtherHeight {
        /// The node.
        node: usize,
        /// The requested height.
        asked: u64,
        /// The height of the answer.
        got: u64,
    },
    /// (e)
    #[error("(e) node {node} showed height {before} and then height {after}")]
    WentBack {
        /// The node.
        node: usize,
        /// The earlier head.
        before: u64,
        /// The later head.
        after: u64,
    },
    /// (f)
    #[error("(f) node {node} names block {got} at height {height}, the chain has {expected:?}")]
    OtherBlock {
        /// The node.
        node: usize,
        /// The height.
        height: u64,
        /// The answer.
        got: Hash,
        /// The hash in the chain.
        expected: Option<Hash>,
    },
    /// (g)
    #[error("(g) money at height {height}: {detail}")]
    Money {
        /// The height.
        height: u64,
        /// Description of the difference.
        detail: String,
    },
    /// A transaction that no client made.
    #[error("the chain has {id} at height {height}, which is not what a client made")]
    Stranger {
        /// Its id.
        id: Hash,
        /// Its height.
        height: u64,
    },
    /// A transaction in the chain that the rules forbid, or with the wrong result.
    #[error("the chain has {id} at height {height}: {detail}")]
    BrokenRule {
        /// The transaction.
        id: Hash,
        /// Its height.
        height: u64,
        /// The broken rule.
        detail: String,
    },
    /// The chain as read has a gap.
    #[error("the chain has height {got} where {expected} belongs")]
    Gap {
        /// The expected height.
        expected: u64,
        /// The actual height.
        got: u64,
    },
    /// Too little traffic to prove anything.
    #[error("void: {detail}")]
    Void {
        /// The quantity that was too small.
        detail: String,
    },
}

/// Statistics of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of calls.
    pub calls: u64,
    /// Number of successful calls.
    pub ok: u64,
    /// Of those, while faults ran.
    pub ok_in_faults: u64,
    /// Ok calls per second before the faults.
    pub ok_per_second_before: u64,
    /// Transfers that clients made.
    pub transfers: u64,
    /// Transfers that were acknowledged.
    pub acknowledged: u64,
    /// Transfers that failed for certain.
    pub failed: u64,
    /// Blocks in the chain.
    pub blocks: u64,
}

/// Checks a run. The list is empty when one chain explains everything.
#[must_use]
pub fn check(history: &History) -> (Summary, Vec<Violation>) {
    let mut found = Vec::new();
    let model = Model::replay(history, &mut found);
    check_fates(history, &model, &mut found);
    check_real_time(history, &model, &mut found);
    check_reads(history, &model, &mut found);
    check_heads(history, &mut found);
    let summary = summarise(history);
    check_traffic(history, &summary, &mut found);
    (summary, found)
}

/// The chain replayed by the simplest possible rules.
struct Model {
    /// Heights by transaction.
    placed: BTreeMap<Hash, Vec<u64>>,
    /// By account: its state from a height on, ascending.
    states: BTreeMap<Address, Vec<(u64, AccountState)>>,
    blocks: BTreeMap<u64, Hash>,
}

impl Model {
    fn replay(history: &History, found: &mut Vec<Violation>) -> Self {
        let made: BTreeMap<Hash, &Transfer> = history.made.iter().map(|made| (made.id, made)).collect();
        let start = |balance: &u64| {
            let state = AccountState {
                balance: *balance,
                nonce: 0,
            };
            vec![(0, state)]
        };
        let mut model = Self {
            placed: BTreeMap::new(),
            states: history
                .genesis
                .iter()
                .map(|(who, has)| (*who, start(has)))
                .collect(),
            blocks: BTreeMap::from([(0, history.genesis_hash)]),
        };
        for (block, expected) in history.chain.iter().zip(1u64..) {
            if block.height != expected {
                found.push(Violation::Gap {
                    expected,
                    got: block.height,
                });
            }
            model.blocks.insert(block.height, block.hash);
            for there in &block.transfers {
                let id = there.transfer.id;
                model.placed.entry(id).or_default().push(block.height);
                if made.get(&id) != Some(&&there.transfer) {
                    found.push(Violation::Stranger {
                        id,
                        height: block.height,
                    });
                }
                if let Err(detail) = model.apply(block.height, there) {
                    found.push(Violation::BrokenRule {
                        id,
                        height: block.height,
                        detail,
                    });
                }
            }
        }
        model
    }

    fn state(&self, who: &Address, height: u64) -> Option<AccountState> {
        let states = self.states.get(who)?;
        let after = states.partition_point(|(from, _)| *from <= height);
        states.get(after.checked_sub(1)?).map(|(_, state)| *state)
    }

    fn set(&mut self, who: Address, height: u64, state: AccountState) {
        self.states.entry(who).or_default().push((height, state));
    }

    /// Applies one transfer; returns the rule that it breaks, if any.
    fn apply(&mut self, height: u64, there: &ChainTransfer) -> Result<(), String> {
        let transfer = &there.transfer;
        let mut sender = self
            .state(&transfer.from, height)
            .ok_or("its sender is not one of the accounts")?;
        if sender.nonce != transfer.nonce {
            return Err(format!("nonce {}, expected {}", transfer.nonce, sender.nonce));
        }
        sender.nonce = sender.nonce.saturating_add(1);
        sender.balance = sender
            .balance
            .checked_sub(transfer.fee)
            .ok_or_else(|| format!("fee {} of a balance of {}", transfer.fee, sender.balance))?;
        let left = sender.balance.checked_sub(transfer.amount);
        if there.success != left.is_some() {
            return Err(format!(
                "its receipt says success={}, the model does not",
                there.success
            ));
        }
        if let Some(left) = left {
            sender.balance = left;
            self.set(transfer.from, height, sender);
            let mut receiver = self
                .state(&transfer.to, height)
                .ok_or("its receiver is not one of the accounts")?;
            receiver.balance = receiver.balance.saturating_add(transfer.amount);
            self.set(transfer.to, height, receiver);
        } else {
            self.set(transfer.from, height, sender);
        }
        Ok(())
    }
}

/// (a) and (b).
fn check_fates(history: &History, model: &Model, found: &mut Vec<Violation>) {
    let mut told: BTreeMap<Hash, BTreeSet<u64>> = BTreeMap::new();
    let mut failed: BTreeMap<Hash, bool> = BTreeMap::new();
    for call in &history.calls {
        let Done::Send { id, outcome } = &call.done else {
            continue;
        };
        let only_failed = failed.entry(*id).or_insert(true);
        match outcome {
            Outcome::Ok { height } => {
                told.entry(*id).or_default().insert(*height);
                *only_failed = false;
            }
            Outcome::Unknown => *only_failed = false,
            Outcome::Fail => {}
        }
    }
    for (id, heights) in &model.placed {
        if heights.len() > 1 {
            found.push(Violation::Twice {
                id: *id,
                heights: heights.clone(),
            });
        }
        if let (Some(true), Some(height)) = (failed.get(id), heights.first()) {
            found.push(Violation::FailedIsThere {
                id: *id,
                height: *height,
            });
        }
    }
    for (id, heights) in told {
        let placed = model.placed.get(&id).cloned().unwrap_or_default();
        for told in heights.into_iter().filter(|told| placed != [*told]) {
            found.push(Violation::AckLost {
                id,
                told,
                found: placed.clone(),
            });
        }
    }
}

/// (c).
fn check_real_time(history: &History, model: &Model, found: &mut Vec<Violation>) {
    let mut first_sent: BTreeMap<Hash, u64> = BTreeMap::new();
    let mut acks = Vec::new();
    for call in &history.calls {
        if let Done::Send { id, outcome } = &call.done {
            let first = first_sent.entry(*id).or_insert(call.start_us);
            *first = (*first).min(call.start_us);
            if let Outcome::Ok { height } = outcome {
                acks.push((call.end_us, *height));
            }
        }
    }
    let acked = Watermark::new(acks);
    for (id, sent) in first_sent {
        let height = model.placed.get(&id).and_then(|heights| heights.first());
        if let (Some(height), Some(acked)) = (height, acked.before(sent))
            && *height < acked
        {
            found.push(Violation::OutOfOrder {
                id,
                height: *height,
                acked,
            });
        }
    }
}

/// (d), (f), (g).
fn check_reads(history: &History, model: &Model, found: &mut Vec<Violation>) {
    for call in &history.calls {
        match &call.done {
            Done::ReadLatest(answer) => check_read(call.node, answer, model, found),
            Done::ReadAt { asked, answer } => {
                if *asked != answer.height {
                    found.push(Violation::OtherHeight {
                        node: call.node,
                        asked: *asked,
                        got: answer.height,
                    });
                }
                check_read(call.node, answer, model, found);
            }
            Done::Supply(supply) => {
                let expected = supply
                    .genesis
                    .saturating_add(supply.minted)
                    .checked_sub(supply.burned);
                // Nothing is minted, and every account exists from the beginning: nothing is burned.
                let whole = (history.supply, 0, 0);
                if expected != Some(supply.total) || (supply.genesis, supply.burned, supply.minted) != whole {
                    found.push(Violation::Money {
                        height: supply.height,
                        detail: format!("{supply:?}, genesis made {}", history.supply),
                    });
                }
            }
            Done::Send { .. } | Done::ReadFailed => {}
        }
    }
}

fn check_read(node: usize, answer: &ReadAnswer, model: &Model, found: &mut Vec<Violation>) {
    let height = answer.height;
    let expected = model.blocks.get(&height).copied();
    if expected != Some(answer.block) {
        found.push(Violation::OtherBlock {
            node,
            height,
            got: answer.block,
            expected,
        });
    }
    for (account, got) in &answer.accounts {
        if let Some(expected) = model.state(account, height)
            && expected != *got
        {
            found.push(Violation::WrongRead {
                node,
                height,
                account: *account,
                got: *got,
                expected,
            });
        }
    }
}

/// (e): a height that a node once reported or acknowledged stays.
fn check_heads(history: &History, found: &mut Vec<Violation>) {
    let mut shown: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for call in &history.calls {
        let height = match &call.done {
            Done::ReadLatest(answer) => answer.height,
            Done::Supply(supply) => supply.height,
            Done::Send {
                outcome: Outcome::Ok { height },
                ..
            } => *height,
            _ => continue,
        };
        shown.entry(call.node).or_default().push((call.end_us, height));
    }
    let shown: BTreeMap<usize, Watermark> = shown
        .into_iter()
        .map(|(node, seen)| (node, Watermark::new(seen)))
        .collect();
    for call in &history.calls {
        // An acknowledgement may name an old height: the transfer may have been final for long.
        let after = match &call.done {
            Done::ReadLatest(answer) => answer.height,
            Done::Supply(supply) => supply.height,
            _ => continue,
        };
        let before = shown
            .get(&call.node)
            .and_then(|shown| shown.before(call.start_us));
        if let Some(before) = before.filter(|before| *before > after) {
            found.push(Violation::WentBack {
                node: call.node,
                before,
                after,
            });
        }
    }
}

/// The highest height that was known at each time.
struct Watermark(Vec<(u64, u64)>);

impl Watermark {
    fn new(mut seen: Vec<(u64, u64)>) -> Self {
        seen.sort_unstable();
        let mut highest = 0;
        for (_, height) in &mut seen {
            highest = highest.max(*height);
            *height = highest;
        }
        Self(seen)
    }

    /// The highest height known strictly before this time.
    fn before(&self, time: u64) -> Option<u64> {
        let after = self.0.partition_point(|(end, _)| *end < time);
        self.0.get(after.checked_sub(1)?).map(|(_, height)| *height)
    }
}

fn summarise(history: &History) -> Summary {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let phase = history.phase;
    let ok = history.calls.iter().filter(|call| call.is_ok());
    let before = ok
        .clone()
        .filter(|call| call.end_us < phase.faults_from_us)
        .count();
    let during = ok
        .clone()
        .filter(|call| (phase.faults_from_us..=phase.faults_to_us).contains(&call.end_us));
    let mut acknowledged = BTreeSet::new();
    let mut failed = BTreeSet::new();
    for call in &history.calls {
        match call.done {
            Done::Send {
                id,
                outcome: Outcome::Ok { .. },
            } => acknowledged.insert(id),
            Done::Send {
                id,
                outcome: Outcome::Fail,
            } => failed.insert(id),
            _ => false,
        };
    }
    Summary {
        calls: count(history.calls.len()),
        ok: count(ok.clone().count()),
        ok_in_faults: count(during.count()),
        ok_per_second_before: count(before)
            .saturating_mul(1_000_000)
            .checked_div(phase.faults_from_us)
            .unwrap_or(0),
        transfers: count(history.made.len()),
        acknowledged: count(acknowledged.len()),
        failed: count(failed.len()),
        blocks: count(history.chain.len()),
    }
}

fn check_traffic(history: &History, summary: &Summary, found: &mut Vec<Violation>) {
    let mut void = |detail: String| found.push(Violation::Void { detail });
    if summary.ok_per_second_before < OK_PER_SECOND_MIN {
        void(format!(
            "{} ok calls per second before the faults, a run needs {OK_PER_SECOND_MIN}",
            summary.ok_per_second_before
        ));
    }
    if summary.ok_in_faults < OK_IN_FAULTS_MIN {
        void(format!(
            "{} ok calls during the faults, a run needs {OK_IN_FAULTS_MIN}",
            summary.ok_in_faults
        ));
    }
    let transfers_ok = history.calls.iter().any(|call| {
        matches!(
            call.done,
            Done::Send {
                outcome: Outcome::Ok { .. },
                ..
            }
        ) && (history.phase.faults_from_us..=history.phase.faults_to_us).contains(&call.end_us)
    });
    if !transfers_ok {
        void("no transfer was acknowledged during the faults".to_owned());
    }
}
