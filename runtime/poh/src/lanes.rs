//! The repeated hash of a 32-byte input, on one chain or on many side by side.
//!
//! In such a chain nearly everything about BLAKE3 is constant: one chunk of one block, no key, no counter.
//! Only eight message words vary, and they are the eight words of the previous hash. So the kernels keep
//! those words in registers from hash to hash, one vector per word and one chain per lane (except [`rows`]),
//! and never add the other eight message words, which are always zero.
//!
//! Results of measurements:
//! * One group of lanes is bound by the latency of its longest chain of instructions. Two groups
//!   in turns fill the gaps: 1.5 times faster with AVX-512, 1.3 times with AVX2.
//! * The compiler undoes the turns with AVX-512 unless it is held to them ([`avx512::hold`]).
//! * One chain is bound by the latency of its rounds. With the rotations of AVX-512 it is fastest in four
//!   vectors, 1.4 times as fast as in plain registers on a shared core ([`rows`]); without them plain
//!   registers are, provided that rotations are `rorx` (BMI2): for the baseline target they become slow
//!   double shifts.
//! * Array code left to the auto-vectoriser is slower than one chain.
//!
//! The oracle, and the fallback where no kernel fits, is the `blake3` crate.

#![allow(unsafe_code)] // The only module of the room that may: every block says why it is sound.

use vibecoin_primitives::Hash;

#[cfg(target_arch = "x86_64")]
mod rows;

/// A method of walking many chains. A value exists only if this machine can run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Bmi2,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// One chain after the other through the `blake3` crate. Runs everywhere.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// Returns every kernel that this machine can run, the slowest first. Never empty.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_mut, reason = "only the portable kernel")
        )]
        let mut kernels = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("bmi2") {
                kernels.push(Self(Kind::Bmi2));
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self(Kind::Avx2));
            }
            if avx512_detected() {
                kernels.push(Self(Kind::Avx512));
            }
        }
        kernels
    }

    /// Returns the fastest kernel that this machine can run.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::PORTABLE)
    }

    /// Display name: `blake3`, `bmi2`, `avx2` or `avx512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "blake3",
            #[cfg(target_arch = "x86_64")]
            Kind::Bmi2 => "bmi2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// Maximum number of chains walked side by side: 1, 16 or 32.
    #[must_use]
    pub const fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Kind::Bmi2 => 1,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 2 * avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 2 * avx512::LANES,
        }
    }

    /// Hashes every chain `count` times: each `h` becomes `BLAKE3(h)`, repeatedly.
    ///
    /// Any number of chains; a multiple of [`Kernel::lanes`] leaves no lane idle. All kernels return the same result.
    pub fn advance(self, chains: &mut [Hash], count: u64) {
        #[cfg(test)]
        tally::add(count.saturating_mul(chains.len() as u64));
        match self.0 {
            Kind::Portable => {
                for chain in chains {
                    *chain = portable(*chain, count);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Bmi2 => {
                for chain in chains {
                    // SAFETY: a kernel of this kind is made only where BMI2 was detected.
                    [[*chain]] = unsafe { bmi2::walk([[*chain]], count) };
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => in_lanes(
                chains,
                // Two in plain registers take about as long as a whole group.
                (1, |few| each(few, |chain| plain(chain, count))),
                // SAFETY (both): a kernel of this kind is made only where AVX2 was detected.
                |group| unsafe { avx2::walk(group, count) },
                |groups| unsafe { avx2::walk_two(groups, count) },
            ),
            #[cfg(target_arch = "x86_64")]
            // SAFETY (all): a kernel of this kind is made only where AVX-512 was detected.
            Kind::Avx512 => in_lanes(
                chains,
                (rows::four::LANES, |few| match few {
                    [chain] => [*chain] = unsafe { rows::one::walk([*chain], count) },
                    _ => with_idle_lanes(few, |[group]: [_; 1]| [unsafe { rows::four::walk(group, count) }]),
                }),
                |group| unsafe { avx512::walk(group, count) },
                |groups| unsafe { avx512::walk_two(groups, count) },
            ),
        }
    }
}

/// Returns true if this machine has the features used by the AVX-512 kernels, as every server with any
/// AVX-512 has except one accelerator of 2017.
#[cfg(target_arch = "x86_64")]
fn avx512_detected() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// Hashes one chain `count` times, as fast as one core of this machine can.
pub(crate) fn advance_one(chain: Hash, count: u64) -> Hash {
    #[cfg(test)]
    tally::add(count);
    #[cfg(target_arch = "x86_64")]
    if avx512_detected() {
        // SAFETY: the features that it uses were detected on the line above.
        let [walked] = unsafe { rows::one::walk([chain], count) };
        return walked;
    }
    plain(chain, count)
}

/// In plain registers.
fn plain(chain: Hash, count: u64) -> Hash {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("bmi2") {
        // SAFETY: BMI2 was detected on the line above.
        let [[walked]] = unsafe { bmi2::walk([[chain]], count) };
        return walked;
    }
    portable(chain, count)
}

fn portable(chain: Hash, count: u64) -> Hash {
    let mut hash = chain.0;
    for _ in 0..count {
        hash = *blake3::hash(&hash).as_bytes();
    }
    Hash(hash)
}

#[cfg(target_arch = "x86_64")]
fn each(chains: &mut [Hash], walk: impl Fn(Hash) -> Hash) {
    for chain in chains {
        *chain = walk(*chain);
    }
}

/// Cuts `chains` into groups for two kernels of one width, and for one that takes up to `few.0` chains. Lanes
/// that are left over stay idle.
#[cfg(target_arch = "x86_64")]
fn in_lanes<const LANES: usize>(
    chains: &mut [Hash],
    few: (usize, impl Fn(&mut [Hash])),
    walk: impl Fn([[Hash; LANES]; 1]) -> [[Hash; LANES]; 1],
    walk_two: impl Fn([[Hash; LANES]; 2]) -> [[Hash; LANES]; 2],
) {
    let (few_max, walk_few) = few;
    for part in chains.chunks_mut(LANES.saturating_mul(2)) {
        if part.len() > LANES.saturating_add(few_max) {
            with_idle_lanes(part, &walk_two);
            continue;
        }
        for part in part.chunks_mut(LANES) {
            if part.len() > few_max {
                with_idle_lanes(part, &walk);
            } else {
                walk_few(part);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn with_idle_lanes<const LANES: usize, const GROUPS: usize>(
    chains: &mut [Hash],
    walk: impl Fn([[Hash; LANES]; GROUPS]) -> [[Hash; LANES]; GROUPS],
) {
    let mut lanes = [[Hash::ZERO; LANES]; GROUPS];
    for (lane, chain) in lanes.as_flattened_mut().iter_mut().zip(chains.iter()) {
        *lane = *chain;
    }
    let lanes = walk(lanes);
    for (chain, lane) in chains.iter_mut().zip(lanes.as_flattened()) {
        *chain = *lane;
    }
}

/// The eight words of BLAKE3's initial state, which are also the key of the unkeyed hash.
#[cfg(target_arch = "x86_64")]
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The state before the first round: key, half the IV, counter 0, 32 bytes, and the flags of a
/// block that is the first (1) and the last (2) of a chunk that is the root (8).
#[cfg(target_arch = "x86_64")]
const INITIAL: [u32; 16] = [
    IV[0], IV[1], IV[2], IV[3], IV[4], IV[5], IV[6], IV[7], IV[0], IV[1], IV[2], IV[3], 0, 0, 32, 11,
];

/// Position of message words: `SCHEDULE[round][place]`.
#[cfg(target_arch = "x86_64")]
const SCHEDULE: [[usize; 16]; 7] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8],
    [3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1],
    [10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6],
    [12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4],
    [9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7],
    [11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13],
];

/// One group of chains in the middle of a hash.
#[cfg(target_arch = "x86_64")]
struct Group<Vector> {
    state: [Vector; 16],
    message: [Vector; 8],
}

/// Replaces the words in each of the named variables by the words of their hash, the groups taking
/// turns by half rounds. Written out in full, because the words must stay in registers.
#[cfg(target_arch = "x86_64")]
macro_rules! hash_words {
    ($($group:ident)+) => {
        $(
            let mut $group = Group {
                state: [
                    splat(INITIAL[0]), splat(INITIAL[1]), splat(INITIAL[2]), splat(INITIAL[3]),
                    splat(INITIAL[4]), splat(INITIAL[5]), splat(INITIAL[6]), splat(INITIAL[7]),
                    splat(INITIAL[8]), splat(INITIAL[9]), splat(INITIAL[10]), splat(INITIAL[11]),
                    splat(INITIAL[12]), splat(INITIAL[13]), splat(INITIAL[14]), splat(INITIAL[15]),
                ],
                message: $group,
            };
        )+
        hash_words!(@round 0 $($group)+);
        hash_words!(@round 1 $($group)+);
        hash_words!(@round 2 $($group)+);
        hash_words!(@round 3 $($group)+);
        hash_words!(@round 4 $($group)+);
        hash_words!(@round 5 $($group)+);
        hash_words!(@round 6 $($group)+);
        $(
            let v = $group.state;
            let $group = [
                xor(v[0], v[8]), xor(v[1], v[9]), xor(v[2], v[10]), xor(v[3], v[11]),
                xor(v[4], v[12]), xor(v[5], v[13]), xor(v[6], v[14]), xor(v[7], v[15]),
            ];
        )+
    };
    (@round $round:literal $($group:ident)+) => {
        $(
            hash_words!(@mix $group, $round, 0, 0 4 8 12);
            hash_words!(@mix $group, $round, 2, 1 5 9 13);
            hash_words!(@mix $group, $round, 4, 2 6 10 14);
            hash_words!(@mix $group, $round, 6, 3 7 11 15);
            hold(&mut $group.state);
        )+
        $(
            hash_words!(@mix $group, $round, 8, 0 5 10 15);
            hash_words!(@mix $group, $round, 10, 1 6 11 12);
            hash_words!(@mix $group, $round, 12, 2 7 8 13);
            hash_words!(@mix $group, $round, 14, 3 4 9 14);
            hold(&mut $group.state);
        )+
    };
    (@mix $group:ident, $round:literal, $place:literal, $a:literal $b:literal $c:literal $d:literal) => {
        let v = &mut $group.state;
        hash_words!(@word v[$a], $group.message, SCHEDULE[$round][$place]);
        v[$a] = add(v[$a], v[$b]);
        v[$d] = ror16(xor(v[$d], v[$a]));
        v[$c] = add(v[$c], v[$d]);
        v[$b] = ror12(xor(v[$b], v[$c]));
        hash_words!(@word v[$a], $group.message, SCHEDULE[$round][$place + 1]);
        v[$a] = add(v[$a], v[$b]);
        v[$d] = ror8(xor(v[$d], v[$a]));
        v[$c] = add(v[$c], v[$d]);
        v[$b] = ror7(xor(v[$b], v[$c]));
    };
    // Words 8 to 15 are zero. Adding the others before `b` keeps them off the longest path.
    (@word $to:expr, $message:expr, $word:expr) => {
        if const { $word < 8 } {
            $to = add($to, $message[const { $word % 8 }]);
        }
    };
}

/// A function that walks some groups of `LANES` chains, with the arithmetic of the module it is in.
#[cfg(target_arch = "x86_64")]
macro_rules! walker {
    ($(#[$doc:meta])* $name:ident, $feature:literal, $groups:literal: $($group:ident)+) => {
        $(#[$doc])*
        #[target_feature(enable = $feature)]
        pub(super) fn $name(chains: [[Hash; LANES]; $groups], count: u64) -> [[Hash; LANES]; $groups] {
            let [$($group),+] = chains;
            $(let mut $group = load(&$group);)+
            for _ in 0..count {
                ($($group,)+) = {
                    hash_words!($($group)+);
                    ($($group,)+)
                };
            }
            [$(store($group)),+]
        }
    };
}

/// Words of chains to vectors and back: one vector per word, one chain per lane.
#[cfg(target_arch = "x86_64")]
macro_rules! transposition {
    () => {
        fn load(chains: &[Hash; LANES]) -> [Vector; 8] {
            let mut words = [[0; LANES]; 8];
            for (lane, chain) in chains.iter().enumerate() {
                for (word, bytes) in words.iter_mut().zip(chain.0.as_chunks().0) {
                    if let Some(word) = word.get_mut(lane) {
                        *word = u32::from_le_bytes(*bytes);
                    }
                }
            }
            // SAFETY: a `Vector` is LANES times u32 in order; both types hold plain integers.
            unsafe { core::mem::transmute::<[[u32; LANES]; 8], [Vector; 8]>(words) }
        }

        fn store(words: [Vector; 8]) -> [Hash; LANES] {
            // SAFETY: a `Vector` is LANES times u32 in order; both types hold plain integers.
            let words = unsafe { core::mem::transmute::<[Vector; 8], [[u32; LANES]; 8]>(words) };
            let mut chains = [Hash::ZERO; LANES];
            for (lane, chain) in chains.iter_mut().enumerate() {
                for (bytes, word) in chain.0.as_chunks_mut().0.iter_mut().zip(&words) {
                    if let Some(word) = word.get(lane) {
                        *bytes = word.to_le_bytes();
                    }
                }
            }
            chains
        }
    };
}

/// One chain in plain registers.
#[cfg(target_arch = "x86_64")]
mod bmi2 {
    use super::{Group, Hash, INITIAL, SCHEDULE};

    pub(super) const LANES: usize = 1;
    type Vector = u32;

    fn splat(word: u32) -> Vector {
        word
    }

    fn add(a: Vector, b: Vector) -> Vector {
        a.wrapping_add(b)
    }

    fn xor(a: Vector, b: Vector) -> Vector {
        a ^ b
    }

    fn ror16(a: Vector) -> Vector {
        a.rotate_right(16)
    }

    fn ror12(a: Vector) -> Vector {
        a.rotate_right(12)
    }

    fn ror8(a: Vector) -> Vector {
        a.rotate_right(8)
    }

    fn ror7(a: Vector) -> Vector {
        a.rotate_right(7)
    }

    /// There is one group only, so there are no turns to hold it to.
    fn hold(_: &mut [Vector; 16]) {}

    transposition!();
    walker!(
        /// Hashes one chain `count` times.
        walk, "bmi2", 1: a
    );
}

/// Eight chains in a vector.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Group, Hash, INITIAL, SCHEDULE};
    use core::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_or_si256, _mm256_set1_epi32, _mm256_setr_epi64x,
        _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_xor_si256,
    };

    pub(super) const LANES: usize = 8;
    type Vector = __m256i;

    #[target_feature(enable = "avx2")]
    #[inline]
    fn splat(word: u32) -> Vector {
        _mm256_set1_epi32(word.cast_signed())
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add(a: Vector, b: Vector) -> Vector {
        _mm256_add_epi32(a, b)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn xor(a: Vector, b: Vector) -> Vector {
        _mm256_xor_si256(a, b)
    }

    /// Moves bytes inside each half of the vector as encoded by `low` and `high`, lowest byte first.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn shuffle(a: Vector, low: i64, high: i64) -> Vector {
        _mm256_shuffle_epi8(a, _mm256_setr_epi64x(low, high, low, high))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn ror16(a: Vector) -> Vector {
        shuffle(a, 0x0504_0706_0100_0302, 0x0d0c_0f0e_0908_0b0a)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn ror12(a: Vector) -> Vector {
        _mm256_or_si256(_mm256_srli_epi32::<12>(a), _mm256_slli_epi32::<20>(a))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn ror8(a: Vector) -> Vector {
        shuffle(a, 0x0407_0605_0003_0201, 0x0c0f_0e0d_080b_0a09)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn ror7(a: Vector) -> Vector {
        _mm256_or_si256(_mm256_srli_epi32::<7>(a), _mm256_slli_epi32::<25>(a))
    }

    /// Two groups do not fit the registers; holding them to their turns gains nothing.
    fn hold(_: &mut [Vector; 16]) {}

    transposition!();
    walker!(
        /// Hashes 8 chains `count` times.
        walk, "avx2", 1: a
    );
    walker!(
        /// Hashes two groups of 8 chains `count` times.
        walk_two, "avx2", 2: a b
    );
}

/// Sixteen chains in a vector. The registers hold the states of two groups.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{Group, Hash, INITIAL, SCHEDULE};
    use core::arch::asm;
    use core::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_xor_si512,
    };

    pub(super) const LANES: usize = 16;
    type Vector = __m512i;

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn splat(word: u32) -> Vector {
        _mm512_set1_epi32(word.cast_signed())
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn add(a: Vector, b: Vector) -> Vector {
        _mm512_add_epi32(a, b)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn xor(a: Vector, b: Vector) -> Vector {
        _mm512_xor_si512(a, b)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn ror16(a: Vector) -> Vector {
        _mm512_ror_epi32::<16>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn ror12(a: Vector) -> Vector {
        _mm512_ror_epi32::<12>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn ror8(a: Vector) -> Vector {
        _mm512_ror_epi32::<8>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn ror7(a: Vector) -> Vector {
        _mm512_ror_epi32::<7>(a)
    }

    /// Ends a group's turn: the last value of a half round passes through here, and since such
    /// statements keep their order, the compiler cannot finish one group before it begins the other.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn hold(state: &mut [Vector; 16]) {
        // SAFETY: the text is a comment. No instruction runs; nothing is read or written.
        unsafe {
            asm!(
                "# {} {} {} {}",
                inout(zmm_reg) state[4], inout(zmm_reg) state[5], inout(zmm_reg) state[6], inout(zmm_reg) state[7],
                options(nomem, nostack, preserves_flags),
            );
        }
    }

    transposition!();
    walker!(
        /// Hashes 16 chains `count` times.
        walk, "avx512f", 1: a
    );
    walker!(
        /// Hashes two groups of 16 chains `count` times.
        walk_two, "avx512f", 2: a b
    );
}

/// Number of hashes computed by this thread, so that a test can show that a refusal cost none.
#[cfg(test)]
pub(crate) mod tally {
    use std::cell::Cell;

    thread_local!(static HASHES: Cell<u64> = const { Cell::new(0) });

    pub(crate) fn add(count: u64) {
        HASHES.with(|hashes| hashes.set(hashes.get().saturating_add(count)));
    }

    pub(crate) fn read() -> u64 {
        HASHES.with(Cell::get)
    }
}

#[cfg(test)]
mod tests {
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
}
