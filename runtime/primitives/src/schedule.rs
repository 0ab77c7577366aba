//! The order in which the validators propose.

use std::cmp::Ordering;

use wincode::{SchemaRead, SchemaWrite};

use crate::limits::VALIDATORS_MAX;
use crate::{Encoded, Height, PublicKey, Round, Validator, ValidatorSet, planted};

/// First penalty, in heights, of a validator that missed its turn.
pub const PENALTY_MIN: u32 = 64;
/// Maximum penalty, in heights.
pub const PENALTY_MAX: u32 = 1024;
/// Penalty, in heights, of a validator whose offence a block records. Longer than any for missed turns, by
/// which it is distinguished: no block that the validator proposes ends it.
pub const PENALTY_OFFENCE: u32 = 2048;
/// Cost of one proposal, in credit.
pub const CREDIT: i64 = 1 << 40;
/// Maximum absolute credit of a validator. Not reached: credit is only transferred, and in 40,000 patterns of
/// absence no validator had more than nine proposals of it, in either direction.
const CREDIT_BOUND: i64 = CREDIT << 6;

/// Position of one validator in the proposer order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct Turn {
    /// Proposals that the validator is owed, in units of one [`CREDIT`]th; below zero it had more than its share.
    pub credit: i64,
    /// The validator is last in the order at heights below this one.
    pub penalty_until: Height,
    /// Length of its last penalty in heights; 0 when it has proposed since, without an offence in that block.
    pub penalty: u32,
}

impl Turn {
    /// Returns true if the validator is held back at `height` for an offence.
    const fn is_for_offence(&self, height: Height) -> bool {
        self.penalty > PENALTY_MAX && self.penalty_until.0 > height.0
    }
}

/// The newest blocks, as far as one validator proposed all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct Row {
    /// Index of the validator.
    pub proposer: u32,
    /// Their number beyond twice the validator's credit for these heights; in units of one [`CREDIT`]th.
    pub excess: u64,
}

/// The proposer order of the next height: a record in the state, so a function of chain data alone.
///
/// At each height the validators that are *present* share one proposal: present are those that are neither held
/// back nor were passed over at this height, for the chain knows no other absence. Each is credited its power
/// divided by theirs, and the proposer is debited the sum of these credits. So credit is only transferred: a
/// proposer owes the blocks beyond its share to those that were present, and an absence earns nothing.
///
/// The order compares each credit with the mean, per unit of power, of those that are not held back. First is, of
/// those that are owed something, the one that would be owed a whole proposal first (earliest eligible virtual
/// deadline first), so while no turn is missed no credit reaches one proposal in either direction. A validator
/// that would thereby have more blocks in a row than twice its share and two is placed after the others.
///
/// Later rounds follow the same order, and every validator is reached within `n` rounds. A validator whose
/// turn passed without a block is last for [`PENALTY_MIN`] heights, doubling up to [`PENALTY_MAX`] on
/// repetition, and is credited nothing; a block that it proposes clears that. Up to a third of the power is
/// held back; those released first are returned to the order first, offenders after all others.
///
/// A validator whose double signature a block records is last for [`PENALTY_OFFENCE`] heights, whatever it
/// proposes meanwhile: two proposals for one round can make the round of the next proposer fail too, while
/// the first block is decided in the end, so that by the rounds alone no validator would have missed a turn.
///
/// Source: docs/protocol.md, section 15.
#[derive(Clone, Debug, PartialEq, Eq, Default, SchemaWrite, SchemaRead)]
pub struct ProposerSchedule {
    /// One entry per validator, in the order of the set.
    pub turns: Vec<Turn>,
    /// The last proposer, and its recent blocks beyond its share.
    pub row: Row,
}

impl Encoded for ProposerSchedule {
    const NAME: &'static str = "proposer schedule";
    const BYTES_MAX: usize = VALIDATORS_MAX * 20 + 20;
}

/// The order of one height, sorted once: the entry at position `r` proposes in round `r`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProposerOrder(Vec<usize>);

impl ProposerOrder {
    /// Index in the set of the proposer of a round; `None` only when the order is empty.
    #[must_use]
    pub fn index(&self, round: Round) -> Option<usize> {
        let at = usize::try_from(round.0).ok()?.checked_rem(self.0.len())?;
        self.0.get(at).copied()
    }

    /// The proposer of a round; `None` only when order and set do not belong together.
    #[must_use]
    pub fn proposer<'a>(&self, set: &'a ValidatorSet, round: Round) -> Option<&'a Validator> {
        set.members().get(self.index(round)?)
    }
}

/// One entry of the schedule with the validator that it belongs to.
#[derive(Clone, Copy)]
struct Entry {
    index: usize,
    turn: Turn,
    power: u64,
    /// The credit against the mean of those that are not held back.
    owed: i64,
    held: bool,
    /// True if another block in a row would be one too many.
    waits: bool,
}

impl Entry {
    /// The first value is false if the validator is owed something; the second is then its distance from a
    /// whole proposal, else from being owed something. Divided by the power it is a number of heights.
    fn distance(&self) -> (bool, u64) {
        let owes = self.owed < 0;
        let distance = if owes {
            self.owed
        } else {
            CREDIT.saturating_sub(self.owed).max(0)
        };
        (owes, distance.unsigned_abs())
    }

    fn compare(&self, other: &Self) -> Ordering {
        let ((owes, mine), (other_owes, its)) = (self.distance(), other.distance());
        // mine / power against its / power, of 64-bit numbers.
        let product = |distance: u64, power: u64| u128::from(distance).saturating_mul(u128::from(power));
        let nearer = product(mine, other.power).cmp(&product(its, self.power));
        self.held
            .cmp(&other.held)
            .then(self.waits.cmp(&other.waits))
            .then(owes.cmp(&other_owes))
            .then(nearer)
    }
}

impl ProposerSchedule {
    /// The schedule of height 1.
    #[must_use]
    pub fn genesis(set: &ValidatorSet) -> Self {
        Self {
            turns: vec![Turn::default(); set.members().len()],
            row: Row::default(),
        }
    }

    /// The entries in the order of the set, with those marked that are held back at `height`.
    fn entries(&self, set: &ValidatorSet, height: Height) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self
            .turns
            .iter()
            .zip(set.members())
            .enumerate()
            .map(|(index, (turn, validator))| Entry {
                index,
                turn: *turn,
                power: validator.power.0,
                owed: turn.credit,
                held: false,
                waits: false,
            })
            .collect();
        let mut penalised: Vec<&mut Entry> = entries
            .iter_mut()
            .filter(|entry| entry.turn.penalty_until > height)
            .collect();
        // Offenders first, then the longest remaining; the others return once a third of the power is held.
        penalised.sort_by_key(|entry| {
            let turn = &entry.turn;
            (
                !turn.is_for_offence(height),
                std::cmp::Reverse(turn.penalty_until),
                entry.index,
            )
        });
        let third = set.total_power() / 3;
        let mut power = 0u64;
        for entry in penalised {
            let more = power.saturating_add(entry.power);
            if more <= third {
                power = more;
                entry.held = true;
            }
        }
        centre(&mut entries);
        self.limit_row(&mut entries);
        entries
    }

    /// Places the last proposer after the others where another block would be more than twice its share and two.
    fn limit_row(&self, entries: &mut [Entry]) {
        let (_, power) = listed(entries);
        let proposer = usize::try_from(self.row.proposer).unwrap_or(usize::MAX);
        if let Some(entry) = entries.get_mut(proposer) {
            let excess = grown(self.row.excess, credit(entry.power, power));
            entry.waits = planted::is_limited(excess > CREDIT.unsigned_abs().saturating_mul(2));
        }
    }

    /// The order at `height`, the height that this schedule is for. Sorts: cache it where it is needed often.
    #[must_use]
    pub fn order(&self, set: &ValidatorSet, height: Height) -> ProposerOrder {
        Self::sorted(self.entries(set, height))
    }

    fn sorted(mut entries: Vec<Entry>) -> ProposerOrder {
        // Stable, so equals go by index.
        planted::sort(&mut entries, Entry::compare, |entry| entry.index);
        ProposerOrder(entries.into_iter().map(|entry| entry.index).collect())
    }

    /// The proposer of `round` at `height`, the height that this schedule is for.
    ///
    /// `None` only when schedule and set do not belong together.
    #[must_use]
    pub fn proposer<'a>(&self, set: &'a ValidatorSet, height: Height, round: Round) -> Option<&'a Validator> {
        self.order(set, height).proposer(set, round)
    }

    /// The schedule of the height after `height`, whose block was created in `round`.
    ///
    /// The proposers of lower rounds missed their turn. Offences in the block's evidence are applied by
    /// [`Self::hold_back`].
    #[must_use]
    pub fn after(&self, set: &ValidatorSet, height: Height, round: Round) -> Self {
        let mut entries = self.entries(set, height);
        let order = Self::sorted(entries.clone());
        let Some(proposer) = order.index(round) else {
            return self.clone();
        };
        let rounds = usize::try_from(round.0).unwrap_or(usize::MAX);
        let mut missed = vec![false; entries.len()];
        for index in order.0.iter().take(rounds).filter(|index| **index != proposer) {
            if let Some(missed) = missed.get_mut(*index) {
                *missed = true;
            }
        }
        let next = height.saturating_add(1);
        for (entry, missed) in entries.iter_mut().zip(&missed) {
            let turn = &mut entry.turn;
            if turn.is_for_offence(next) {
                continue;
            }
            if *missed {
                turn.penalty = turn.penalty.saturating_mul(2).clamp(PENALTY_MIN, PENALTY_MAX);
                turn.penalty_until = next.saturating_add(u64::from(turn.penalty));
            } else if entry.index == proposer {
                (turn.penalty_until, turn.penalty) = (Height::ZERO, 0);
            }
        }
        let credited = share(&mut entries, proposer, &missed);
        let index = u32::try_from(proposer).unwrap_or(u32::MAX);
        let before = if self.row.proposer == index {
            self.row.excess
        } else {
            0
        };
        Self {
            turns: entries.into_iter().map(|entry| entry.turn).collect(),
            row: Row {
                proposer: index,
                excess: grown(before, credited),
            },
        }
    }
}

impl ProposerSchedule {
    /// Holds back the validators whose offences the block of `height` records, for [`PENALTY_OFFENCE`]
    /// heights. `self` is the schedule of the height after it.
    pub fn hold_back<'a>(
        &mut self,
        set: &ValidatorSet,
        height: Height,
        offenders: impl IntoIterator<Item = &'a PublicKey>,
    ) {
        let until = height
            .saturating_add(1)
            .saturating_add(u64::from(PENALTY_OFFENCE));
        for (index, _) in planted::offenders(offenders).filter_map(|key| set.find(key)) {
            if let Some(turn) = self.turns.get_mut(index) {
                (turn.penalty_until, turn.penalty) = (until, PENALTY_OFFENCE);
            }
        }
    }
}

/// [`Row::excess`] after one more block, for whose height its proposer was credited so much.
fn grown(excess: u64, credited: i64) -> u64 {
    let twice = credited.unsigned_abs().saturating_mul(2);
    excess.saturating_add(CREDIT.unsigned_abs()).saturating_sub(twice)
}

/// The share of one proposal for `power` of `total`.
fn credit(power: u64, total: u64) -> i64 {
    let credit = u128::from(power).saturating_mul(u128::from(CREDIT.unsigned_abs()));
    let credit = credit.checked_div(u128::from(total)).unwrap_or(0);
    i64::try_from(credit).unwrap_or(CREDIT)
}

/// The summed credit and power of those that are not held back.
fn listed(entries: &[Entry]) -> (i128, u64) {
    let listed = entries.iter().filter(|entry| !entry.held);
    listed.fold((0i128, 0u64), |(sum, power), entry| {
        (
            sum.saturating_add(i128::from(entry.turn.credit)),
            power.saturating_add(entry.power),
        )
    })
}

/// Sets `owed` of each: its credit against the mean of those that are not held back. While no turn is missed
/// that mean is zero. The credits themselves are unchanged, so a validator that is held back or returns takes
/// nothing from the others.
fn centre(entries: &mut [Entry]) {
    let (sum, power) = listed(entries);
    for entry in entries.iter_mut().filter(|entry| !entry.held) {
        // Below 2^54 of credit and 2^57 of power.
        let mean = sum.saturating_mul(i128::from(entry.power));
        let mean = mean.checked_div_euclid(i128::from(power)).unwrap_or(0);
        let mean = i64::try_from(mean).unwrap_or(if mean < 0 { i64::MIN } else { i64::MAX });
        entry.owed = entry.turn.credit.saturating_sub(mean);
    }
}

/// Credits those that are present, and debits the proposer with the sum of it. Returns the proposer's credit.
fn share(entries: &mut [Entry], proposer: usize, missed: &[bool]) -> i64 {
    let is_present = |entry: &Entry| {
        let passed_over = missed.get(entry.index).copied().unwrap_or(true);
        !passed_over && (!planted::is_limited(entry.held) || entry.index == proposer)
    };
    let present = entries.iter().filter(|entry| is_present(entry));
    let power = present.fold(0u64, |sum, entry| sum.saturating_add(entry.power));
    let mut paid = 0i64;
    for entry in entries.iter_mut().filter(|entry| is_present(entry)) {
        let credit = credit(entry.power, power);
        entry.turn.credit = entry.turn.credit.saturating_add(credit);
        paid = paid.saturating_add(credit);
    }
    let Some(entry) = entries.get_mut(proposer) else {
        return 0;
    };
    entry.turn.credit = entry.turn.credit.saturating_sub(paid);
    let credited = credit(entry.power, power);
    for entry in entries.iter_mut() {
        entry.turn.credit = planted::bounded_credit(entry.turn.credit, CREDIT_BOUND);
    }
    credited
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
