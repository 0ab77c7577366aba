#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic
)]

use super::*;
use crate::lanes::tally;
use crate::{Chain, HASHES_PER_TICK_MAX, TICKS_MAX, seed};
use proptest::prelude::*;

const PARENT: Hash = Hash([0x11; 32]);
const PROPOSER: [u8; 32] = [0x22; 32];

/// A valid block: every third tick has transactions.
fn block(hashes_per_tick: u64, ticks: u64) -> (Pace, Hash, Vec<SealedTick>) {
    let pace = Pace::new(hashes_per_tick, ticks).unwrap();
    let start = seed(PARENT, 7, 0, &PROPOSER);
    let mut chain = Chain::new(pace, start);
    let mixin = |k: u64| {
        if k % 3 == 1 {
            Hash([k as u8; 32])
        } else {
            Hash::ZERO
        }
    };
    let ticks = (0..ticks).map(|k| chain.finish_tick(mixin(k)).unwrap()).collect();
    assert!(chain.is_complete());
    (pace, start, ticks)
}

/// The index in a refusal; panics when it is not about a tick's hash.
fn bad_tick(result: Result<(), PohError>) -> u64 {
    match result {
        Err(PohError::TickHash {
            index,
            expected,
            found,
        }) if expected != found => index,
        other => panic!("expected a bad tick, got {other:?}"),
    }
}

/// Returns the number of hashes that `work` computed, with its result.
fn hashes_of<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = tally::read();
    let result = work();
    (tally::read() - before, result)
}

fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut bytes = hash.0;
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash(bytes)
}

#[test]
fn a_good_block_is_accepted_by_every_kernel_at_every_tick_count() {
    for ticks in (1..=40).chain([63, 64, 65, 100]) {
        let (pace, start, list) = block(20, ticks);
        for kernel in Kernel::available() {
            assert_eq!(
                verify_with(kernel, pace, start, &list),
                Ok(()),
                "{} on {ticks}",
                kernel.name()
            );
        }
    }
}

#[test]
fn a_tick_of_one_hash_is_the_mixing_one_alone() {
    let (pace, start, list) = block(1, 40);
    assert_eq!(verify(pace, start, &list), Ok(()));
    let input = [start.0, list[0].mixin.0].concat();
    assert_eq!(list[0].hash.0, *blake3::hash(&input).as_bytes());
    let mut bad = list;
    bad[39].mixin = flipped(bad[39].mixin, 0);
    assert_eq!(bad_tick(verify(pace, start, &bad)), 39);
}

#[test]
fn a_flipped_bit_in_any_tick_hash_names_that_tick() {
    let (pace, start, list) = block(10, 40);
    for kernel in Kernel::available() {
        for k in 0..list.len() {
            let mut bad = list.clone();
            bad[k].hash = flipped(bad[k].hash, (k * 37) % 256);
            assert_eq!(
                bad_tick(verify_with(kernel, pace, start, &bad)),
                k as u64,
                "{}",
                kernel.name()
            );
        }
    }
}

#[test]
fn a_flipped_bit_in_any_mixin_names_that_tick() {
    let (pace, start, list) = block(10, 40);
    for kernel in Kernel::available() {
        for k in 0..list.len() {
            let mut bad = list.clone();
            bad[k].mixin = flipped(bad[k].mixin, (k * 41) % 256);
            assert_eq!(
                bad_tick(verify_with(kernel, pace, start, &bad)),
                k as u64,
                "{}",
                kernel.name()
            );
        }
    }
}

#[test]
fn every_single_bit_of_one_tick_counts() {
    let (pace, start, list) = block(5, 3);
    for bit in 0..256 {
        let mut bad = list.clone();
        bad[1].hash = flipped(bad[1].hash, bit);
        assert_eq!(bad_tick(verify(pace, start, &bad)), 1);
        let mut bad = list.clone();
        bad[1].mixin = flipped(bad[1].mixin, bit);
        assert_eq!(bad_tick(verify(pace, start, &bad)), 1);
        assert_eq!(bad_tick(verify(pace, flipped(start, bit), &list)), 0);
    }
}

#[test]
fn the_first_of_several_bad_ticks_is_named() {
    let (pace, start, list) = block(10, 64);
    let mut bad = list;
    for k in [50, 13, 14, 35] {
        bad[k].mixin = flipped(bad[k].mixin, 3);
    }
    assert_eq!(bad_tick(verify(pace, start, &bad)), 13);
}

#[test]
fn another_seed_another_order_or_another_length_of_tick_is_refused() {
    let (pace, start, list) = block(10, 20);
    for other in [
        seed(flipped(PARENT, 0), 7, 0, &PROPOSER),
        seed(PARENT, 8, 0, &PROPOSER),
        seed(PARENT, 7, 1, &PROPOSER),
        seed(PARENT, 7, 0, &[0x23; 32]),
    ] {
        assert_eq!(bad_tick(verify(pace, other, &list)), 0);
    }
    for hashes_per_tick in [9, 11] {
        let other = Pace::new(hashes_per_tick, 20).unwrap();
        assert_eq!(bad_tick(verify(other, start, &list)), 0);
    }
    let mut swapped = list;
    swapped.swap(4, 5);
    assert_eq!(bad_tick(verify(pace, start, &swapped)), 4);
}

#[test]
fn a_wrong_count_of_ticks_is_refused_before_anything_is_hashed() {
    let (pace, start, list) = block(10, 20);
    let (hashes, result) = hashes_of(|| verify(pace, start, &list));
    assert_eq!(
        (hashes, result),
        (200, Ok(())),
        "the tally sees the work of a good block"
    );

    let mut longer = list.clone();
    longer.push(list[0]);
    for wrong in [&list[..19], &longer, &[]] {
        for kernel in Kernel::available() {
            let (hashes, result) = hashes_of(|| verify_with(kernel, pace, start, wrong));
            assert_eq!(
                result,
                Err(PohError::TickCount {
                    expected: 20,
                    found: wrong.len() as u64
                })
            );
            assert_eq!(hashes, 0);
        }
    }
}

#[test]
fn absurd_claims_are_refused_before_anything_is_hashed() {
    let claims = [
        (12_500, 1 << 40),
        (1 << 40, 64),
        (u64::MAX, u64::MAX),
        (HASHES_PER_TICK_MAX, TICKS_MAX),
        (0, 0),
    ];
    for (hashes_per_tick, ticks) in claims {
        let (hashes, result) = hashes_of(|| {
            let pace = Pace::new(hashes_per_tick, ticks)?;
            verify(pace, Hash::ZERO, &[])
        });
        assert!(
            !matches!(result, Ok(()) | Err(PohError::TickCount { .. })),
            "{result:?}"
        );
        assert_eq!(hashes, 0);
    }
}

#[test]
fn a_bad_first_tick_stops_the_work_after_32_ticks() {
    let (pace, start, mut list) = block(10, 100);
    list[0].mixin = flipped(list[0].mixin, 0);
    let (hashes, result) = hashes_of(|| verify(pace, start, &list));
    assert_eq!(bad_tick(result), 0);
    assert!(hashes <= 32 * 10, "{hashes} hashes");
}

#[test]
fn runs_in_any_order_together_check_the_block_and_name_its_own_index() {
    let (pace, start, mut list) = block(10, 50);
    let check = |list: &[SealedTick], from: usize, to: usize| {
        let before = if from == 0 { start } else { list[from - 1].hash };
        verify_run(Kernel::best(), pace, from as u64, before, &list[from..to])
    };
    for (from, to) in [(33, 50), (0, 17), (17, 33), (50, 50)] {
        assert_eq!(check(&list, from, to), Ok(()));
    }
    list[40].mixin = flipped(list[40].mixin, 9);
    assert_eq!(check(&list, 0, 33), Ok(()));
    assert_eq!(bad_tick(check(&list, 33, 50)), 40);
}

#[test]
fn a_run_past_the_end_of_the_block_is_refused_before_anything_is_hashed() {
    let (pace, start, list) = block(10, 20);
    for (first, found) in [(1, 21), (u64::MAX, u64::MAX)] {
        let (hashes, result) = hashes_of(|| verify_run(Kernel::best(), pace, first, start, &list));
        assert_eq!(
            (hashes, result),
            (0, Err(PohError::TickCount { expected: 20, found }))
        );
    }
}

#[test]
fn a_streamed_block_ends_at_its_last_tick() {
    let (pace, start, list) = block(10, 40);
    let mut verifier = Verifier::new(pace, start);
    assert_eq!((verifier.tip(), verifier.ticks_verified()), (start, 0));
    for portion in list.chunks(16) {
        verifier.push(portion).unwrap();
    }
    verifier.push(&[]).unwrap();
    assert_eq!(verifier.ticks_verified(), 40);
    let (hashes, result) = hashes_of(|| verifier.push(&list[..1]));
    assert_eq!(
        (hashes, result),
        (
            0,
            Err(PohError::TickCount {
                expected: 40,
                found: 41
            })
        )
    );
    assert_eq!(verifier.finish(), Ok(list[39].hash));
}

#[test]
fn a_bad_portion_leaves_a_streamed_block_where_it_was() {
    let (pace, start, list) = block(10, 40);
    let mut verifier = Verifier::new(pace, start);
    verifier.push(&list[..16]).unwrap();
    let mut bad = list[16..32].to_vec();
    bad[5].mixin = flipped(bad[5].mixin, 1);
    assert_eq!(bad_tick(verifier.push(&bad)), 21);
    assert_eq!((verifier.tip(), verifier.ticks_verified()), (list[15].hash, 16));
    assert_eq!(
        verifier.clone().finish(),
        Err(PohError::TickCount {
            expected: 40,
            found: 16
        })
    );
    verifier.push(&list[16..]).unwrap();
    assert_eq!(verifier.finish(), Ok(list[39].hash));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_generator_makes_passes_and_what_was_altered_does_not(
        hashes_per_tick in 1u64..60,
        mixins in prop::collection::vec(prop_oneof![Just([0; 32]), any::<[u8; 32]>()], 1..80),
        steps in prop::collection::vec(0u64..70, 0..8),
        kernel in prop::sample::select(Kernel::available()),
        (at, bit, in_mixin) in (any::<prop::sample::Index>(), 0usize..256, any::<bool>()),
        portion in 1usize..40,
    ) {
        let pace = Pace::new(hashes_per_tick, mixins.len() as u64).unwrap();
        let start = seed(PARENT, hashes_per_tick, 3, &PROPOSER);
        let mut chain = Chain::new(pace, start);
        let mut list = Vec::new();
        for mixin in mixins {
            for step in &steps {
                chain.advance(*step);
            }
            list.push(chain.finish_tick(Hash(mixin)).unwrap());
        }
        prop_assert_eq!(verify_with(kernel, pace, start, &list), Ok(()));

        let at = at.index(list.len());
        let part = if in_mixin { &mut list[at].mixin } else { &mut list[at].hash };
        *part = flipped(*part, bit);
        prop_assert_eq!(bad_tick(verify_with(kernel, pace, start, &list)), at as u64);

        let mut verifier = Verifier::new(pace, start);
        let streamed = list.chunks(portion).try_for_each(|ticks| verifier.push(ticks));
        prop_assert_eq!(bad_tick(streamed), at as u64);
        prop_assert_eq!(verifier.ticks_verified(), (at / portion * portion) as u64);
    }
}
