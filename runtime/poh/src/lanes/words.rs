//! The hash of a message of eight words, as macros over the arithmetic of the module that expands them: `splat`,
//! `add`, `xor`, four rotations and `hold`, over its `Vector` of `LANES` words.

/// The eight words of BLAKE3's initial state, which are also the key of the unkeyed hash.
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
pub(super) const INITIAL: [u32; 16] = [
    IV[0], IV[1], IV[2], IV[3], IV[4], IV[5], IV[6], IV[7], IV[0], IV[1], IV[2], IV[3], 0, 0, 32, 11,
];

/// Position of message words: `SCHEDULE[round][place]`.
pub(super) const SCHEDULE: [[usize; 16]; 7] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8],
    [3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1],
    [10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6],
    [12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4],
    [9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7],
    [11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13],
];

/// One group of chains in the middle of a hash.
pub(super) struct Group<Vector> {
    pub(super) state: [Vector; 16],
    pub(super) message: [Vector; 8],
}

/// Replaces the words in each of the named variables by the words of their hash, the groups taking
/// turns by half rounds. Written out in full, because the words must stay in registers.
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
