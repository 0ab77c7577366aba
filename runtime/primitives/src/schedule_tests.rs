//! Tests of the proposer order: the share of each validator, whatever the others do.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    reason = "tests count with plain numbers"
)]

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{Address, Power, PublicKey, SecretKey};

/// Number of heights over which a share is compared with the blocks proposed.
const WINDOW: usize = 100;

/// A hundred keys, ascending: the order of a set is known then.
static KEYS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
    let mut keys: Vec<PublicKey> = (1..=100u8)
        .map(|i| SecretKey::from_seed(&[i; 32]).public_key())
        .collect();
    keys.sort_unstable();
    keys
});

fn set(powers: &[u64]) -> ValidatorSet {
    let validators = powers.iter().zip(KEYS.iter()).map(|(power, key)| Validator {
        key: *key,
        power: Power(*power),
        payout: Address([200; 32]),
    });
    ValidatorSet::new(validators.collect()).unwrap()
}

/// Record of one height.
struct Seen {
    proposer: usize,
    /// For each validator: its power as a share of those that were neither held back nor passed over.
    shares: Vec<f64>,
}

/// A chain on which `absent` returns the validators that miss their turn, given the height and the order.
fn run(powers: &[u64], heights: u64, mut absent: impl FnMut(u64, &[usize]) -> Vec<bool>) -> Vec<Seen> {
    let set = set(powers);
    let mut schedule = ProposerSchedule::genesis(&set);
    let mut seen = Vec::new();
    for height in (1..=heights).map(Height) {
        let ProposerOrder(order) = schedule.order(&set, height);
        let absent = absent(height.0, &order);
        // One validator makes a block in the end.
        let round = order.iter().position(|index| !absent[*index]).unwrap_or(0);
        let held: Vec<bool> = schedule.entries(&set, height).iter().map(|e| e.held).collect();
        let present = |index: usize| {
            let passed_over = order[..round].contains(&index);
            !passed_over && (!held[index] || index == order[round])
        };
        let total: u64 = (0..powers.len()).filter(|i| present(*i)).map(|i| powers[i]).sum();
        let share = |index: usize| {
            let power = if present(index) { powers[index] } else { 0 };
            power as f64 / total as f64
        };
        seen.push(Seen {
            proposer: order[round],
            shares: (0..powers.len()).map(share).collect(),
        });
        schedule = schedule.after(&set, height, Round(u32::try_from(round).unwrap()));
        for turn in &schedule.turns {
            assert!(turn.credit.abs() <= 12 * CREDIT, "{turn:?} is out of its bounds");
        }
    }
    seen
}

/// No validator proposes more than twice its share plus two in a row.
fn check_rows(seen: &[Seen]) {
    let mut from = 0;
    for (at, now) in seen.iter().enumerate() {
        if seen[from].proposer != now.proposer {
            from = at;
        }
        let row = &seen[from..=at];
        let share: f64 = row.iter().map(|seen| seen.shares[now.proposer]).sum();
        let most = 2.0f64.mul_add(share, 2.0) + 1e-6;
        let length = row.len() as f64;
        assert!(
            length <= most,
            "{length} in a row to height {at}, its share is {share}"
        );
    }
}

/// No validator proposes more than 1.5 times its share in any hundred heights, or ten blocks more than its share
/// where that is more (7.9 was the maximum of 55,000 patterns of absence: 23 of 15.1, with powers that differ by
/// a factor of 10,000). No rule could give a small share exactly its due: see docs/protocol.md, section 15.
fn check_windows(seen: &[Seen]) {
    for index in 0..seen[0].shares.len() {
        let (mut proposed, mut share) = (0.0, 0.0);
        for (at, now) in seen.iter().enumerate() {
            proposed += f64::from(u8::from(now.proposer == index));
            share += now.shares[index];
            if let Some(old) = at.checked_sub(WINDOW).map(|old| &seen[old]) {
                proposed -= f64::from(u8::from(old.proposer == index));
                share -= old.shares[index];
            }
            let most = (1.5 * share).max(share + 10.0) + 1e-6;
            assert!(
                proposed <= most,
                "{index} proposed {proposed} of {WINDOW} blocks to height {at}, its share is {share}"
            );
        }
    }
}

fn check_bounds(seen: &[Seen]) {
    check_rows(seen);
    check_windows(seen);
}

/// Pseudorandom values.
fn noise(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// Patterns of absence. `period` is in heights; `victim` is singled out by some of them.
#[derive(Clone, Copy, Debug)]
enum Absence {
    /// Each validator misses each turn with an individual chance.
    Flapping,
    /// Each is absent now and then, for up to two periods.
    Leaving,
    /// All but one are absent every other period.
    AllButOne,
    /// All before a drawn position in the order are absent.
    Front,
    /// The victim is present, then absent, then half of the time all before it are absent.
    Favoured,
    /// Two are absent alternately.
    Alternating,
}

const PATTERNS: [Absence; 6] = [
    Absence::Flapping,
    Absence::Leaving,
    Absence::AllButOne,
    Absence::Front,
    Absence::Favoured,
    Absence::Alternating,
];

fn absence(pattern: Absence, count: usize, period: u64, seed: u64) -> impl FnMut(u64, &[usize]) -> Vec<bool> {
    let mut draw = noise(seed);
    let victim = usize::try_from(draw()).unwrap() % count;
    let chances: Vec<u64> = (0..count).map(|_| draw() % 700).collect();
    let mut back = vec![0u64; count];
    move |height, order| {
        let phase = height / period;
        let mut away = vec![false; count];
        match pattern {
            Absence::Flapping => {
                away = chances.iter().map(|chance| draw() % 1000 < *chance).collect();
            }
            Absence::Leaving => {
                for back in &mut back {
                    if *back < height && draw().is_multiple_of(period) {
                        *back = height + 1 + draw() % (2 * period);
                    }
                }
                away = back.iter().map(|back| *back >= height).collect();
            }
            Absence::AllButOne if phase % 2 == 1 => {
                away = vec![true; count];
                away[(victim + usize::try_from(phase).unwrap()) % count] = false;
            }
            Absence::Front if draw().is_multiple_of(3) => {
                let places = usize::try_from(draw()).unwrap() % count;
                order[..places].iter().for_each(|index| away[*index] = true);
            }
            Absence::Favoured if phase % 3 == 1 => away[victim] = true,
            Absence::Favoured if phase % 3 == 2 && draw().is_multiple_of(2) => {
                let first = order.iter().take_while(|index| **index != victim);
                first.for_each(|index| away[*index] = true);
            }
            Absence::Alternating => away[(victim + usize::from(phase % 2 == 1)) % count] = true,
            Absence::AllButOne | Absence::Front | Absence::Favoured => {}
        }
        away
    }
}

/// Sets of 1 to 100 validators: equal, mixed, of two sizes, and one far larger than the others.
fn powers() -> impl Strategy<Value = Vec<u64>> {
    let count = prop_oneof![1usize..=8, 9usize..=100];
    (count, 0u8..4, any::<u64>()).prop_map(|(count, kind, seed)| {
        let mut draw = noise(seed);
        let power = |kind: u8, drawn: u64| match kind {
            0 => 1,
            1 => 1 + drawn % 100,
            2 => 1 + (drawn % 2) * 999,
            _ => 1 + (drawn % 10_000).pow(4) / 10u64.pow(12),
        };
        (0..count).map(|_| power(kind, draw())).collect()
    })
}

/// Found by the test below: 18 blocks of 11.9, where those before one validator are absent half of the time
/// and credits were centred whenever a validator was held back.
#[test]
fn a_validator_that_absences_favour_stays_within_its_bounds() {
    let powers = [
        19, 73, 50, 35, 64, 37, 50, 64, 19, 59, 70, 96, 45, 2, 95, 3, 20, 48, 68, 96, 31, 56, 18, 41, 72, 40,
        17, 6, 67, 12, 13, 27, 78, 50, 75, 75, 97, 4, 19, 60, 51, 20, 60, 25, 21, 92, 31, 50, 75, 66, 9, 19,
        55, 61, 9, 79, 24, 26, 51, 82, 25, 63,
    ];
    let absent = absence(PATTERNS[4], powers.len(), 2, 6_833_225_979_782_252_926);
    check_bounds(&run(&powers, 1_200, absent));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_absence_gives_anybody_more_than_its_share(
        powers in powers(), pattern in 0usize..PATTERNS.len(), period in prop_oneof![1u64..=10, 11u64..=400], seed in any::<u64>()
    ) {
        check_bounds(&run(&powers, 1_200, absence(PATTERNS[pattern], powers.len(), period, seed)));
    }

    #[test]
    fn while_all_are_present_each_has_its_share_but_for_one_block(powers in powers()) {
        let heights = 1_500u32;
        let seen = run(&powers, u64::from(heights), |_, _| vec![false; powers.len()]);
        let mut proposed = vec![0u32; powers.len()];
        for (seen, height) in seen.iter().zip(1..) {
            proposed[seen.proposer] += 1;
            for (proposed, share) in proposed.iter().zip(&seen.shares) {
                let owed = f64::from(height) * share - f64::from(*proposed);
                prop_assert!(owed.abs() < 1.0, "owed {owed} blocks at height {height}");
            }
        }
    }
}

#[test]
fn everyone_proposes_in_proportion_to_its_power() {
    let mut proposed = vec![0; 4];
    for seen in run(&[1, 2, 3, 4], 1000, |_, _| vec![false; 4]) {
        proposed[seen.proposer] += 1;
    }
    assert_eq!(proposed, [100, 200, 300, 400]);
}

#[test]
fn a_validator_that_was_away_for_a_day_has_no_more_than_its_turn() {
    let away = 30_000u64;
    let seen = run(&[1; 4], away + 2_300, |height, _| {
        vec![false, height <= away, false, false]
    });
    let back = &seen[usize::try_from(away).unwrap()..];
    check_bounds(back);
    let first = back.iter().position(|seen| seen.proposer == 1);
    let first = first.expect("it is taken back when its penalty is over");
    let after = &back[first..first + 450];
    let count = after.iter().filter(|seen| seen.proposer == 1).count();
    assert!((112..=114).contains(&count), "{count} of 450, fair is 112 or 113");
}

#[test]
fn a_dead_validator_costs_fewer_and_fewer_turns() {
    let mut missed = 0;
    run(&[1; 4], 2000, |_, order| {
        missed += u32::from(order[0] == 2);
        vec![false, false, true, false]
    });
    assert!((5..=12).contains(&missed), "{missed} turns lost in 2,000 heights");
}

#[test]
fn every_validator_is_reached_within_n_rounds() {
    let set = set(&[5, 1, 1, 1, 1]);
    let schedule = ProposerSchedule::genesis(&set);
    let mut seen: Vec<_> = (0..5)
        .map(|r| schedule.proposer(&set, Height(1), Round(r)).unwrap().key)
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

#[test]
fn powers_at_the_limit_do_not_overflow() {
    let huge = crate::limits::TOTAL_POWER_MAX / 4;
    check_bounds(&run(&[huge, huge, huge, 1], 300, |height, _| {
        vec![false, height % 3 == 0, height > 200, false]
    }));
}

/// Number of heights after `offence` at which each validator is first, while no turn is missed.
fn first_after(powers: &[u64], offence: Height, offenders: &[usize], heights: u64) -> Vec<u32> {
    let set = set(powers);
    let mut schedule = ProposerSchedule::genesis(&set);
    let mut first = vec![0; powers.len()];
    for height in (1..=offence.0 + heights).map(Height) {
        let index = schedule.order(&set, height).index(Round::ZERO).unwrap();
        first[index] += u32::from(height > offence);
        schedule = schedule.after(&set, height, Round::ZERO);
        if height == offence {
            schedule.hold_back(&set, height, offenders.iter().map(|index| &KEYS[*index]));
        }
    }
    first
}

/// Two proposals for one round, shown to the next proposer, make the next round fail too, and the third decides
/// the block of the first: by rounds no validator missed a turn, and the offender would have every fourth one.
#[test]
fn whose_offence_is_recorded_comes_last_for_the_penalty_of_an_offence() {
    let penalty = u64::from(PENALTY_OFFENCE);
    for offence in (1..=8).map(Height) {
        let first = first_after(&[1; 4], offence, &[2], penalty);
        assert_eq!(first[2], 0, "recorded at height {offence}");
        assert_eq!(first.iter().sum::<u32>(), PENALTY_OFFENCE);
        let first = first_after(&[1; 4], offence, &[2], penalty + 400);
        assert!((99..=101).contains(&first[2]), "{first:?} once it is over");
    }
}

#[test]
fn offenders_with_more_than_a_third_of_the_power_are_not_all_held_back() {
    let first = first_after(&[1; 4], Height(3), &[1, 2], 300);
    assert_eq!(first[1], 0, "{first:?}");
    assert!(first[2] >= 99, "the second of them has its turns: {first:?}");
}

#[test]
fn an_offence_of_nobody_in_the_set_changes_nothing() {
    let set = set(&[1; 4]);
    let schedule = ProposerSchedule::genesis(&set);
    let mut later = schedule.clone();
    later.hold_back(&set, Height(1), [&KEYS[5]]);
    assert_eq!(later, schedule);
}

/// Found by the simulator: a block of the offender in a later round ended its penalty, as it ends one for
/// missed turns.
#[test]
fn neither_a_block_nor_a_missed_turn_changes_the_penalty_of_an_offence() {
    let set = set(&[1; 4]);
    let mut schedule = ProposerSchedule::genesis(&set);
    schedule.hold_back(&set, Height(0), [&KEYS[2]]);
    let penalty = schedule.turns[2];
    for height in (1..=u64::from(PENALTY_OFFENCE)).map(Height) {
        // All others miss some of their turns; it makes the block, or is passed over too.
        let round = if height.0.is_multiple_of(5) {
            height.0 % 2 + 3
        } else {
            0
        };
        schedule = schedule.after(&set, height, Round(u32::try_from(round).unwrap()));
        let (now, next) = (schedule.turns[2], height.saturating_add(1));
        assert_eq!(
            (now.penalty, now.penalty_until),
            (penalty.penalty, penalty.penalty_until)
        );
        assert!(next >= penalty.penalty_until || schedule.order(&set, next).0[3] == 2);
    }
    let order = schedule.order(&set, penalty.penalty_until);
    let round = order.0.iter().position(|index| *index == 2).unwrap();
    let free = schedule.after(&set, penalty.penalty_until, Round(u32::try_from(round).unwrap()));
    assert_eq!(
        (free.turns[2].penalty, free.turns[2].penalty_until),
        (0, Height::ZERO)
    );
}
