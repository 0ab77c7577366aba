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

#![allow(unsafe_code)] // The only module of the crate that may: every block states why it is sound.

use vibecoin_primitives::Hash;

#[cfg(target_arch = "x86_64")]
#[macro_use]
mod words;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod bmi2;
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
mod tests;
