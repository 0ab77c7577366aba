//! The state of a chain as four rows of four words: one vector per row, and one chain, or four, per vector.
//!
//! A hash is a path of 14 half rounds that depend on each other, and no form of it is shorter. Plain
//! registers need three times the instructions for it, which costs little on a dedicated core and a third of
//! the speed where two threads share one. Row `b` is the last to be ready, so the other three are rotated
//! when columns become diagonals: nothing waits for the rotations.
//!
//! Needs the rotations of AVX-512; without them this form is no faster than the crate.

use super::Hash;
use super::words::{INITIAL, SCHEDULE};

/// For each of the four additions of message words in a round: the position in the schedule of the word of
/// each column, then of each diagonal, in the order of the word of row `b` that it meets.
const PLACES: [[usize; 4]; 4] = [[0, 2, 4, 6], [1, 3, 5, 7], [14, 8, 10, 12], [15, 9, 11, 13]];

/// Bytes of message words 0 to 3 (`half` 0) or 4 to 7 (`half` 1) for the places of row `a` in this addition
/// of this round, as the two halves of a byte shuffle's mask; `None` when there are none. A byte of 0x80
/// makes a zero, the value of words 8 to 15.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "run by the compiler, over four places"
)]
const fn mask(round: usize, addition: usize, half: usize) -> Option<[i64; 2]> {
    let mut mask = [0u64; 2];
    let mut any = false;
    let mut place = 0;
    while place < 4 {
        let word = SCHEDULE[round][PLACES[addition][place]];
        let bytes = if word / 4 == half {
            any = true;
            0x0302_0100 + 0x0404_0404 * (word % 4) as u64
        } else {
            0x8080_8080
        };
        mask[place / 2] |= bytes << (32 * (place % 2));
        place += 1;
    }
    if any {
        Some([mask[0].cast_signed(), mask[1].cast_signed()])
    } else {
        None
    }
}

/// The words of one row before the first round.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "run by the compiler, over four rows"
)]
const fn initial(row: usize) -> [u32; 4] {
    let first = row % 4 * 4;
    [
        INITIAL[first],
        INITIAL[first + 1],
        INITIAL[first + 2],
        INITIAL[first + 3],
    ]
}

/// Argument of `turn` that moves every word down by this many places; those moved out reappear on top.
const BY_ONE: i32 = 0b00_11_10_01;
const BY_TWO: i32 = 0b01_00_11_10;
const BY_THREE: i32 = 0b10_01_00_11;

/// A walk over `LANES` chains with the arithmetic of the module it is in.
macro_rules! row_walker {
    ($(#[$doc:meta])* $features:literal) => {
        fn load(chains: [Hash; LANES]) -> [Vector; 2] {
            let mut halves = [[[0; 4]; LANES]; 2];
            for (half, rows) in halves.iter_mut().enumerate() {
                for (row, chain) in rows.iter_mut().zip(&chains) {
                    let words = chain.0.as_chunks().0.iter().skip(half.saturating_mul(4));
                    for (word, bytes) in row.iter_mut().zip(words) {
                        *word = u32::from_le_bytes(*bytes);
                    }
                }
            }
            // SAFETY: a `Vector` is LANES times four u32 in order; both types hold plain integers.
            halves.map(|rows| unsafe { core::mem::transmute::<[[u32; 4]; LANES], Vector>(rows) })
        }

        fn store(halves: [Vector; 2]) -> [Hash; LANES] {
            let mut chains = [Hash::ZERO; LANES];
            for (half, rows) in halves.into_iter().enumerate() {
                // SAFETY: a `Vector` is LANES times four u32 in order; both types hold plain integers.
                let rows = unsafe { core::mem::transmute::<Vector, [[u32; 4]; LANES]>(rows) };
                for (chain, row) in chains.iter_mut().zip(rows) {
                    let words = chain.0.as_chunks_mut().0.iter_mut().skip(half.saturating_mul(4));
                    for (bytes, word) in words.zip(row) {
                        *bytes = word.to_le_bytes();
                    }
                }
            }
            chains
        }

        /// Adds the message words of one addition to row `a`.
        #[target_feature(enable = $features)]
        #[inline]
        fn add_words<const ROUND: usize, const ADDITION: usize>(a: Vector, message: [Vector; 2]) -> Vector {
            let [low, high] = message;
            let mut a = a;
            if let Some(mask) = const { mask(ROUND, ADDITION, 0) } {
                a = add(a, shuffle(low, mask));
            }
            if let Some(mask) = const { mask(ROUND, ADDITION, 1) } {
                a = add(a, shuffle(high, mask));
            }
            a
        }

        /// Mixes the four columns, or the four diagonals if the rows are turned.
        #[target_feature(enable = $features)]
        #[inline]
        fn half_round<const ROUND: usize, const FIRST: usize, const SECOND: usize>(
            rows: [Vector; 4],
            message: [Vector; 2],
        ) -> [Vector; 4] {
            let [mut a, mut b, mut c, mut d] = rows;
            a = add(add_words::<ROUND, FIRST>(a, message), b);
            d = ror::<16>(xor(d, a));
            c = add(c, d);
            b = ror::<12>(xor(b, c));
            a = add(add_words::<ROUND, SECOND>(a, message), b);
            d = ror::<8>(xor(d, a));
            c = add(c, d);
            b = ror::<7>(xor(b, c));
            [a, b, c, d]
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn round<const ROUND: usize>(rows: [Vector; 4], message: [Vector; 2]) -> [Vector; 4] {
            let [a, b, c, d] = half_round::<ROUND, 0, 1>(rows, message);
            let diagonals = [turn::<BY_THREE>(a), b, turn::<BY_ONE>(c), turn::<BY_TWO>(d)];
            let [a, b, c, d] = half_round::<ROUND, 2, 3>(diagonals, message);
            [turn::<BY_ONE>(a), b, turn::<BY_THREE>(c), turn::<BY_TWO>(d)]
        }

        $(#[$doc])*
        #[target_feature(enable = $features)]
        pub(in super::super) fn walk(chains: [Hash; LANES], count: u64) -> [Hash; LANES] {
            let mut message = load(chains);
            let initial = [row(initial(0)), row(initial(1)), row(initial(2)), row(initial(3))];
            for _ in 0..count {
                let rows = round::<0>(initial, message);
                let rows = round::<1>(rows, message);
                let rows = round::<2>(rows, message);
                let rows = round::<3>(rows, message);
                let rows = round::<4>(rows, message);
                let rows = round::<5>(rows, message);
                let [a, b, c, d] = round::<6>(rows, message);
                message = [xor(a, c), xor(b, d)];
            }
            store(message)
        }
    };
}

/// One chain in a vector.
pub(super) mod one {
    use super::{BY_ONE, BY_THREE, BY_TWO, Hash, initial, mask};
    use core::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_ror_epi32, _mm_set_epi64x, _mm_setr_epi32, _mm_shuffle_epi8,
        _mm_shuffle_epi32, _mm_xor_si128,
    };

    const LANES: usize = 1;
    type Vector = __m128i;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn row(words: [u32; 4]) -> Vector {
        let [a, b, c, d] = words.map(u32::cast_signed);
        _mm_setr_epi32(a, b, c, d)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn add(a: Vector, b: Vector) -> Vector {
        _mm_add_epi32(a, b)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn xor(a: Vector, b: Vector) -> Vector {
        _mm_xor_si128(a, b)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn ror<const BITS: i32>(a: Vector) -> Vector {
        _mm_ror_epi32::<BITS>(a)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn turn<const BY: i32>(a: Vector) -> Vector {
        _mm_shuffle_epi32::<BY>(a)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn shuffle(a: Vector, [low, high]: [i64; 2]) -> Vector {
        _mm_shuffle_epi8(a, _mm_set_epi64x(high, low))
    }

    row_walker!(
        /// Hashes one chain `count` times.
        "avx512f,avx512bw,avx512vl"
    );
}

/// Four chains in a vector.
pub(super) mod four {
    use super::{BY_ONE, BY_THREE, BY_TWO, Hash, initial, mask};
    use core::arch::x86_64::{
        __m512i, _mm_set_epi64x, _mm_setr_epi32, _mm512_add_epi32, _mm512_broadcast_i32x4, _mm512_ror_epi32,
        _mm512_shuffle_epi8, _mm512_shuffle_epi32, _mm512_xor_si512,
    };

    pub(in super::super) const LANES: usize = 4;
    type Vector = __m512i;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn row(words: [u32; 4]) -> Vector {
        let [a, b, c, d] = words.map(u32::cast_signed);
        _mm512_broadcast_i32x4(_mm_setr_epi32(a, b, c, d))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn add(a: Vector, b: Vector) -> Vector {
        _mm512_add_epi32(a, b)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn xor(a: Vector, b: Vector) -> Vector {
        _mm512_xor_si512(a, b)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn ror<const BITS: i32>(a: Vector) -> Vector {
        _mm512_ror_epi32::<BITS>(a)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn turn<const BY: i32>(a: Vector) -> Vector {
        _mm512_shuffle_epi32::<BY>(a)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn shuffle(a: Vector, [low, high]: [i64; 2]) -> Vector {
        _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(_mm_set_epi64x(high, low)))
    }

    row_walker!(
        /// Hashes four chains `count` times.
        "avx512f,avx512bw,avx512vl"
    );
}
