//! Timeouts: their lengths, and the events that end or extend them.

use malachitebft_core_types as malachite;
use malachitebft_core_types::{Threshold, TimeoutKind, VoteType};
use vibecoin_primitives::{PublicKey, Round};

use super::EffectHandler;
use crate::context::{self, CoreState};
use crate::convert::{from_core, to_core};
use crate::timer_queue::{Timer, TimerKind};
use crate::wait::ProposeWait;
use crate::{ConsensusMessage, HeightParams, Output, Progress, planted};

/// The last round whose precommit timeout ends as soon as a quorum precommitted nil.
const SHORT_PRECOMMIT_ROUND_MAX: Round = Round(1);
/// Divisor of the propose timeout when the proposer is disconnected.
const DISCONNECTED_DIVISOR: u64 = 2;
/// Interval at which messages are rebroadcast for a reconnected validator, in microseconds: a fresh
/// connection may lose messages before both sides have announced their subscriptions.
const RECONNECTED_REBROADCAST_MICROS: u64 = 100_000;
/// Duration of these rebroadcasts, in microseconds.
const RECONNECTED_MICROS: u64 = 1_000_000;

impl EffectHandler<'_> {
    pub(super) fn cancel_all_timeouts(&mut self) {
        self.state.timers.clear();
        self.state.propose_timer.end_all();
    }

    pub fn cancel_timeout(&mut self, timeout: malachite::Timeout) {
        let Some(kind) = timer_kind(timeout.kind) else {
            return;
        };
        let round = from_core::round(timeout.round);
        self.state.timers.cancel(Timer { round, kind });
        if kind == TimerKind::Propose {
            self.state.propose_timer.end(round);
        }
    }

    pub(super) fn schedule_timeout(&mut self, timeout: malachite::Timeout) {
        let Some(kind) = timer_kind(timeout.kind) else {
            return;
        };
        let round = from_core::round(timeout.round);
        match kind {
            TimerKind::Propose => {
                if self.state.propose_timer.request(round) {
                    self.begin_propose_timer(round);
                }
            }
            _ => planted::set_timer(kind, || {
                self.set_timer(kind, round, self.timeout_of(kind, round));
            }),
        }
    }

    fn begin_propose_timer(&mut self, round: Round) {
        let mut length = self.timeout_of(TimerKind::Propose, round);
        if self.node.disconnected.contains(&self.proposer(round)) {
            length /= DISCONNECTED_DIVISOR;
        }
        let wait = ProposeWait::begin(self.node.now, length);
        self.state.propose_timer.begin(round, wait);
        self.set_timer(TimerKind::Propose, round, length);
    }

    fn set_timer(&mut self, kind: TimerKind, round: Round, length: u64) {
        let at = self.node.now.after(length);
        self.state.timers.set(Timer { round, kind }, at);
    }

    /// Length of the timeout of a step, in microseconds.
    fn timeout_of(&self, kind: TimerKind, round: Round) -> u64 {
        let timeouts = self.params().timeouts;
        let first = match kind {
            TimerKind::Propose => timeouts.propose,
            TimerKind::Prevote => timeouts.prevote,
            TimerKind::Precommit => timeouts.precommit,
            TimerKind::Rebroadcast if self.node.now < self.node.rebroadcast_often_until => {
                RECONNECTED_REBROADCAST_MICROS
            }
            TimerKind::Rebroadcast => timeouts.rebroadcast(),
        };
        let growth = match kind {
            TimerKind::Rebroadcast => 0,
            _ => timeouts.delta.saturating_mul(u64::from(round.0)),
        };
        first.saturating_add(growth).min(timeouts.max)
    }

    /// The scheduled proposer of a round.
    pub(super) fn proposer(&self, round: Round) -> PublicKey {
        context::key_of(self.state.validators.proposer(to_core::round(round)))
    }

    /// Allows round 0's propose timer to run. See [`crate::Orderer::start_propose_timer`].
    pub fn release_propose_timer(&mut self) {
        if self.state.propose_timer.release() {
            self.begin_propose_timer(Round::ZERO);
        }
    }

    /// See [`crate::Orderer::on_proposal_progress`].
    pub fn on_proposal_progress(&mut self, round: Round, progress: Progress) {
        let kind = TimerKind::Propose;
        let timer = Timer { round, kind };
        let Some((_, wait)) = self.state.propose_timer.running().filter(|(of, _)| *of == round) else {
            return;
        };
        let Some(due) = self.state.timers.due(timer) else {
            return;
        };
        let end = planted::wait_end(wait.end_after(progress), || self.node.now.after(wait.length()));
        if end > due {
            self.state.timers.set(timer, end);
        }
    }

    /// See [`crate::Orderer::on_peer_disconnected`].
    pub fn on_peer_disconnected(&mut self, validator: PublicKey) {
        let is_member = self.state.validators.member(&validator).is_some();
        if !is_member || !self.node.disconnected.insert(validator) {
            return;
        }
        let Some((round, wait)) = self.state.propose_timer.running() else {
            return;
        };
        if context::key_of(self.state.validators.proposer(to_core::round(round))) != validator {
            return;
        }
        let kind = TimerKind::Propose;
        let sooner = self.node.now.after(wait.length() / DISCONNECTED_DIVISOR);
        if self.state.timers.advance(Timer { round, kind }, sooner) {
            wait.shorten(sooner);
        }
    }

    /// See [`crate::Orderer::on_peer_connected`].
    pub fn on_peer_connected(&mut self, validator: PublicKey) {
        if self.state.validators.member(&validator).is_none() {
            return;
        }
        self.node.disconnected.remove(&validator);
        self.node.rebroadcast_often_until = self.node.now.after(RECONNECTED_MICROS);
        let soon = self.node.now.after(RECONNECTED_REBROADCAST_MICROS);
        for timer in self.state.timers.of_kind(TimerKind::Rebroadcast) {
            self.state.timers.advance(timer, soon);
        }
    }

    /// Removes the first timer that is due and still matters, and performs what does not need the core.
    pub fn expire_timer(&mut self) -> Option<malachite::Timeout> {
        let timer = self.next_due()?;
        if timer.kind == TimerKind::Rebroadcast {
            // The core sends its votes again, but not its proposal.
            let proposed = self.proposed_in(timer.round);
            let message = proposed.map(|signed| Output::Send(ConsensusMessage::Proposal(signed)));
            self.state.burst.extend(message);
        } else {
            self.node.counters.timeouts = self.node.counters.timeouts.saturating_add(1);
        }
        Some(timeout_of(timer.kind, timer.round))
    }

    /// A decision ends every timer, also those that were set after it.
    fn next_due(&mut self) -> Option<Timer> {
        while let Some(timer) = self.state.timers.pop(self.node.now) {
            if timer.kind == TimerKind::Propose {
                self.state.propose_timer.end(timer.round);
            }
            if !self.is_decided() {
                return Some(timer);
            }
        }
        None
    }

    /// With a quorum for nil no decision is possible in this round any more, so the precommit timeout is over.
    pub(super) fn expire_precommit_timer_on_nil_quorum(&mut self, core: &CoreState) {
        let round = from_core::round(core.round());
        let kind = TimerKind::Precommit;
        let timer = Timer { round, kind };
        let votes = core.driver.votes();
        if round <= SHORT_PRECOMMIT_ROUND_MAX
            && self.state.timers.is_set(timer)
            && votes.is_threshold_met(&core.round(), VoteType::Precommit, Threshold::Nil)
        {
            self.state.timers.set(timer, self.node.now);
        }
    }

    /// When an honest validator has voted in round 0, its proposal was sent, and may have been lost on the way.
    pub(super) fn start_propose_timer_on_votes(&mut self, core: &CoreState) {
        let HeightParams { fault_model, .. } = *self.params();
        let total = malachite::ValidatorSet::total_voting_power(&self.state.validators);
        if self.state.propose_timer.is_held()
            && core
                .driver
                .votes()
                .per_round(core.round())
                .is_some_and(|votes| context::is_honest(fault_model, votes.addresses_weights().sum(), total))
        {
            self.release_propose_timer();
        }
    }
}

pub(super) const fn timeout_of(kind: TimerKind, round: Round) -> malachite::Timeout {
    let round = to_core::round(round);
    match kind {
        TimerKind::Propose => malachite::Timeout::propose(round),
        TimerKind::Prevote => malachite::Timeout::prevote(round),
        TimerKind::Precommit => malachite::Timeout::precommit(round),
        TimerKind::Rebroadcast => malachite::Timeout::rebroadcast(round),
    }
}

const fn timer_kind(kind: TimeoutKind) -> Option<TimerKind> {
    match kind {
        TimeoutKind::Propose => Some(TimerKind::Propose),
        TimeoutKind::Prevote => Some(TimerKind::Prevote),
        TimeoutKind::Precommit => Some(TimerKind::Precommit),
        TimeoutKind::Rebroadcast => Some(TimerKind::Rebroadcast),
        // Requested only with a target time, which the core is not given.
        TimeoutKind::FinalizeHeight(_) => None,
    }
}
