//! Timers of the current height.

use std::collections::BTreeMap;

use vibecoin_primitives::Round;

use crate::MonoTime;

/// The event that a timer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKind {
    Propose,
    Prevote,
    Precommit,
    Rebroadcast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub round: Round,
    pub kind: TimerKind,
}

/// One timer per (round, kind). The serial number orders timers that are due at the same time by when
/// they were set.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    due: BTreeMap<(MonoTime, u64), Timer>,
    index: BTreeMap<Timer, (MonoTime, u64)>,
    serial: u64,
}

impl TimerQueue {
    /// Sets or moves a timer.
    pub fn set(&mut self, timer: Timer, at: MonoTime) {
        self.cancel(timer);
        self.serial = self.serial.wrapping_add(1);
        self.due.insert((at, self.serial), timer);
        self.index.insert(timer, (at, self.serial));
    }

    pub fn cancel(&mut self, timer: Timer) {
        if let Some(key) = self.index.remove(&timer) {
            self.due.remove(&key);
        }
    }

    pub fn clear(&mut self) {
        self.due.clear();
        self.index.clear();
    }

    pub fn is_set(&self, timer: Timer) -> bool {
        self.index.contains_key(&timer)
    }

    /// Time at which a timer fires, if it is set.
    pub fn due(&self, timer: Timer) -> Option<MonoTime> {
        self.index.get(&timer).map(|(at, _)| *at)
    }

    /// The timers of one kind, in ascending order of rounds.
    pub fn of_kind(&self, kind: TimerKind) -> Vec<Timer> {
        let timers = self.index.keys().copied();
        timers.filter(|timer| timer.kind == kind).collect()
    }

    /// Moves a timer that fires later than `at` to `at`. Returns true if it did.
    pub fn advance(&mut self, timer: Timer, at: MonoTime) -> bool {
        let is_later = self.due(timer).is_some_and(|due| due > at);
        if is_later {
            self.set(timer, at);
        }
        is_later
    }

    pub fn next(&self) -> Option<MonoTime> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Removes the first timer that is due.
    pub fn pop(&mut self, now: MonoTime) -> Option<Timer> {
        let (key, timer) = self.due.first_key_value().map(|(key, timer)| (*key, *timer))?;
        if key.0 > now {
            return None;
        }
        self.due.remove(&key);
        self.index.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(round: u32, kind: TimerKind) -> Timer {
        Timer {
            round: Round(round),
            kind,
        }
    }

    #[test]
    fn timers_fire_in_order_of_time_and_then_of_setting() {
        let mut timers = TimerQueue::default();
        timers.set(timer(0, TimerKind::Prevote), MonoTime(5));
        timers.set(timer(0, TimerKind::Propose), MonoTime(5));
        timers.set(timer(0, TimerKind::Rebroadcast), MonoTime(4));
        assert_eq!(timers.pop(MonoTime(3)), None);
        assert_eq!(timers.pop(MonoTime(5)), Some(timer(0, TimerKind::Rebroadcast)));
        assert_eq!(timers.pop(MonoTime(5)), Some(timer(0, TimerKind::Prevote)));
        assert_eq!(timers.pop(MonoTime(5)), Some(timer(0, TimerKind::Propose)));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn setting_a_timer_again_moves_it_and_cancelling_removes_it() {
        let mut timers = TimerQueue::default();
        timers.set(timer(1, TimerKind::Propose), MonoTime(5));
        timers.set(timer(1, TimerKind::Propose), MonoTime(9));
        assert_eq!(timers.next(), Some(MonoTime(9)));
        timers.cancel(timer(0, TimerKind::Propose));
        assert!(timers.is_set(timer(1, TimerKind::Propose)));
        timers.cancel(timer(1, TimerKind::Propose));
        assert_eq!(timers.pop(MonoTime(100)), None);
    }
}
