//! Outcome of the submissions of a load.

use std::collections::BTreeMap;

/// Outcome of the submissions.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Accepted by a pool.
    pub taken: u64,
    /// Number of accepted transfers, by account.
    pub sent: BTreeMap<usize, u64>,
    /// Refused permanently, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Refused for lack of space and sent again, by reason.
    pub retried: BTreeMap<String, u64>,
    /// Requests without an answer; they were repeated, to a different node. Open loop only.
    pub unanswered: u64,
    /// Accepted, and abandoned: no block included any while they were the only ones in flight. Open loop only.
    pub given_up: u64,
}

impl Outcome {
    /// Number of accepted transfers of an account.
    #[must_use]
    pub fn sent_by(&self, account: usize) -> u64 {
        self.sent.get(&account).copied().unwrap_or(0)
    }

    /// Counts an accepted transfer of an account.
    pub(crate) fn take(&mut self, account: usize) {
        self.taken = self.taken.saturating_add(1);
        count_up(&mut self.sent, account, 1);
    }

    /// Counts a permanent refusal.
    pub(crate) fn reject(&mut self, reason: String) {
        count_up(&mut self.rejected, reason, 1);
    }

    /// Counts a refusal for lack of space.
    pub(crate) fn retry(&mut self, reason: String) {
        count_up(&mut self.retried, reason, 1);
    }

    /// Counts a request without an answer.
    pub(crate) const fn no_answer(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Number in flight, when `included` are in blocks.
    pub(crate) const fn in_flight(&self, included: u64) -> u64 {
        self.taken.saturating_sub(included).saturating_sub(self.given_up)
    }

    /// Abandons those in flight, when `included` are in blocks.
    pub(crate) const fn give_up(&mut self, included: u64) {
        self.given_up = self.taken.saturating_sub(included);
    }

    /// Adds the outcome of another connection.
    pub(crate) fn add(&mut self, other: Self) {
        let Self {
            taken,
            sent,
            rejected,
            retried,
            unanswered,
            given_up,
        } = other;
        self.taken = self.taken.saturating_add(taken);
        self.unanswered = self.unanswered.saturating_add(unanswered);
        self.given_up = self.given_up.saturating_add(given_up);
        merge(&mut self.sent, sent);
        merge(&mut self.rejected, rejected);
        merge(&mut self.retried, retried);
    }
}

fn merge<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, count) in from {
        count_up(into, key, count);
    }
}

fn count_up<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, count: u64) {
    let sum = counts.entry(key).or_default();
    *sum = sum.saturating_add(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_is_given_up_and_makes_room() {
        let mut outcome = Outcome::default();
        (0..10).for_each(|_| outcome.take(0));
        assert_eq!(outcome.in_flight(4), 6);
        outcome.give_up(4);
        assert_eq!(outcome.in_flight(4), 0);
        outcome.take(0);
        assert_eq!(outcome.in_flight(4), 1);
        assert_eq!(outcome.in_flight(7), 0, "some came after all");
    }
}
