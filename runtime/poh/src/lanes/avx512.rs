//! Sixteen chains in a vector. The registers hold the states of two groups.

use super::Hash;
use super::words::{Group, INITIAL, SCHEDULE};
use core::arch::asm;
use core::arch::x86_64::{__m512i, _mm512_add_epi32, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_xor_si512};

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
