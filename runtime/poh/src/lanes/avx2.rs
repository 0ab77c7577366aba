//! Eight chains in a vector.

use super::Hash;
use super::words::{Group, INITIAL, SCHEDULE};
use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_or_si256, _mm256_set1_epi32, _mm256_setr_epi64x, _mm256_shuffle_epi8,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_xor_si256,
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
