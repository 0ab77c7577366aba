//! The tip of the chain: the head, and everything that follows from it for the next height.

use vibecoin_consensus::{HeightParams, LogRecord, MonoTime, Timeouts};
use vibecoin_execution::State;
use vibecoin_primitives::{
    Height, ProposerOrder, ProposerSchedule, PublicKey, Round, TimeMs, Validator, ValidatorSet,
};

use crate::intake::Stand;
use crate::{Chain, Head, Parent, planted};

/// A head is recent if its time is within this many empty-block intervals plus [`RECENT_MS`] of the clock.
const RECENT_INTERVALS: u64 = 5;
/// In milliseconds; added to [`RECENT_INTERVALS`].
const RECENT_MS: u64 = 2_000;

/// The chain and its newest durable block.
pub(crate) struct Tip<S> {
    chain: Chain,
    head: Head<S>,
    /// Proposers at the next height, sorted once: each part needs them. Always the order of the head's schedule.
    turns: ProposerOrder,
    /// Time at which the head became durable here, or at which the process started.
    since: MonoTime,
}

impl<S: State> Tip<S> {
    pub fn new(chain: Chain, head: Head<S>) -> Self {
        Self {
            turns: turns(&chain, &head),
            chain,
            head,
            since: MonoTime::default(),
        }
    }

    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn validators(&self) -> &ValidatorSet {
        &self.chain.validators
    }

    pub const fn head(&self) -> &Head<S> {
        &self.head
    }

    pub const fn parent(&self) -> &Parent<S> {
        &self.head.parent
    }

    /// The height of the head.
    pub const fn height(&self) -> Height {
        self.head.parent.header.height
    }

    /// The height being decided.
    pub fn next_height(&self) -> Height {
        self.height().saturating_add(1)
    }

    /// The process starts, with these records in the log.
    pub fn start(&mut self, records: &[LogRecord], now: MonoTime) {
        self.since = now;
        planted::apply_twice(&self.chain, &mut self.head.parent, records);
    }

    /// The child of the head is durable: it is the head from now on.
    pub fn advance(&mut self, head: Head<S>, now: MonoTime) {
        self.turns = turns(&self.chain, &head);
        self.head = head;
        self.since = now;
    }

    /// Time since the head became durable here, in microseconds.
    pub const fn age_us(&self, now: MonoTime) -> u64 {
        now.0.saturating_sub(self.since.0)
    }

    /// Time until which an empty block waits; `None` is without end.
    pub fn hold_until(&self) -> Option<MonoTime> {
        let interval = u64::from(self.chain.params.empty_block_interval_ms);
        (interval > 0).then(|| self.since.after(interval.saturating_mul(1000)))
    }

    /// Returns true if it is this validator's turn in this round of the next height.
    pub fn is_turn(&self, (round, proposer): (Round, PublicKey)) -> bool {
        let turn = self.turns.proposer(&self.chain.validators, round);
        turn.is_some_and(|member| member.key == proposer)
    }

    /// Returns true if the key is that of a validator.
    pub fn is_validator(&self, key: &PublicKey) -> bool {
        self.chain.validators.find(key).is_some()
    }

    /// Returns true if blocks are produced on time. Never on a chain without empty blocks, where an old head
    /// proves nothing.
    pub fn is_recent(&self, wall: TimeMs) -> bool {
        let interval = u64::from(self.chain.params.empty_block_interval_ms);
        let age_max = interval
            .saturating_mul(RECENT_INTERVALS)
            .saturating_add(RECENT_MS);
        let age = wall.0.abs_diff(self.head.parent.header.time.0);
        interval > 0 && age <= age_max
    }

    /// The next height, as the orderer needs it.
    pub fn height_params(&self) -> HeightParams {
        HeightParams {
            height: self.next_height(),
            validators: self.chain.validators.clone(),
            schedule: self.head.parent.schedule.clone(),
            fault_model: self.chain.fault_model(),
            timeouts: Timeouts::from(self.chain.params.as_ref()),
        }
    }

    /// The proposers around `round` of the next height, and those of the height after it once its block is
    /// decided: in that round, with double signatures of these offenders.
    pub fn stand(&self, round: Round, decided: Option<(Round, &[PublicKey])>) -> Stand {
        let height = self.next_height();
        let (set, schedule) = (&self.chain.validators, &self.head.parent.schedule);
        let (first, length) = Stand::window(round);
        let key = |schedule: &ProposerSchedule, height, round| {
            let member: Option<&Validator> = schedule.proposer(set, height, round);
            member.map(|member| member.key)
        };
        let rounds = (first.0..).take(usize::try_from(length).unwrap_or(usize::MAX));
        let turns = rounds.map_while(|round| key(schedule, height, Round(round)));
        let next_turns = decided.map(|(round, offenders)| {
            let mut schedule = schedule.after(set, height, planted::decided_round(round));
            schedule.hold_back(set, height, offenders);
            let next = height.saturating_add(1);
            let turns = (0..Stand::NEXT_ROUNDS).map_while(|round| key(&schedule, next, Round(round)));
            turns.collect()
        });
        Stand {
            height,
            round,
            first,
            turns: turns.collect(),
            next_turns: next_turns.unwrap_or_default(),
        }
    }
}

fn turns<S>(chain: &Chain, head: &Head<S>) -> ProposerOrder {
    let next = head.parent.header.height.saturating_add(1);
    head.parent.schedule.order(&chain.validators, next)
}
