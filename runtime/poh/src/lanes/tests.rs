use super::*;

fn chains(count: usize) -> Vec<Hash> {
    (0..count)
        .map(|i| Hash(*blake3::hash(&(i as u64).to_le_bytes()).as_bytes()))
        .collect()
}

/// Walks `chains` with the `blake3` crate alone.
fn by_the_crate(chains: &[Hash], count: u64) -> Vec<Hash> {
    let walk = |chain: &Hash| (0..count).fold(chain.0, |hash, _| *blake3::hash(&hash).as_bytes());
    chains.iter().map(walk).map(Hash).collect()
}

#[test]
fn every_kernel_agrees_with_the_crate_over_a_thousand_hashes_on_any_number_of_chains() {
    let all = chains(70);
    let expected = by_the_crate(&all, 1_000);
    for kernel in Kernel::available() {
        for count in 0..=all.len() {
            let mut walked = all[..count].to_vec();
            kernel.advance(&mut walked, 1_000);
            assert_eq!(walked, expected[..count], "{} on {count} chains", kernel.name());
        }
    }
}

#[test]
fn every_kernel_agrees_with_the_crate_at_every_short_length() {
    // Two groups and one chain; two groups, one group and four.
    for all in [chains(33), chains(52)] {
        for kernel in Kernel::available() {
            for count in 0..20 {
                let mut walked = all.clone();
                kernel.advance(&mut walked, count);
                let expected = by_the_crate(&all, count);
                assert_eq!(walked, expected, "{} over {count} hashes", kernel.name());
            }
        }
    }
}

#[test]
fn every_kernel_agrees_with_the_crate_on_words_of_all_zeros_and_all_ones() {
    for len in [33, 40, 52] {
        let all: Vec<_> = (0..len)
            .map(|i| Hash(if i % 3 == 0 { [0; 32] } else { [0xff; 32] }))
            .collect();
        for kernel in Kernel::available() {
            let mut walked = all.clone();
            kernel.advance(&mut walked, 1);
            assert_eq!(walked, by_the_crate(&all, 1), "{} on {len} chains", kernel.name());
        }
    }
}

#[test]
fn the_single_chain_agrees_with_the_crate() {
    let all = chains(5);
    for count in [0, 1, 2, 1_000] {
        let walked: Vec<_> = all.iter().map(|chain| advance_one(*chain, count)).collect();
        assert_eq!(walked, by_the_crate(&all, count));
    }
}

#[test]
fn the_kernels_are_listed_from_slow_to_fast_and_the_portable_one_is_always_there() {
    let kernels = Kernel::available();
    assert_eq!(kernels.first(), Some(&Kernel::PORTABLE));
    assert_eq!(kernels.last(), Some(&Kernel::best()));
    assert!(kernels.is_sorted_by_key(|kernel| kernel.lanes()));
}

#[test]
fn the_tally_counts_every_hash_of_every_chain() {
    let before = tally::read();
    Kernel::best().advance(&mut chains(7), 100);
    advance_one(Hash::ZERO, 11);
    assert_eq!(tally::read() - before, 711);
}
