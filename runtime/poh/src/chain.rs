//! Making a chain: seed, plain hashes, mix-ins.

use crate::{Pace, PohError, lanes};
use vibecoin_primitives::{Hash, merkle};

/// The context from which seeds are derived.
const SEED_CONTEXT: &str = "vibecoin poh v1";

/// Returns the hash from which a block's chain starts.
///
/// ```text
/// offset  0        32              40             44          76
///         │ parent │ height u64 LE │ round u32 LE │ proposer  │
/// ```
///
/// Height, round and proposer bind every chain to its owner; the parent's hash makes it impossible to begin
/// before the parent is known. `proposer` is the consensus public key.
#[must_use]
pub fn seed(parent: Hash, height: u64, round: u32, proposer: &[u8; 32]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(SEED_CONTEXT);
    hasher.update(&parent.0);
    hasher.update(&height.to_le_bytes());
    hasher.update(&round.to_le_bytes());
    hasher.update(proposer);
    Hash(*hasher.finalize().as_bytes())
}

/// Returns the mix-in of a tick: the Merkle root of its transaction hashes in order, or zero.
#[must_use]
pub fn mixin(tx_hashes: &[Hash]) -> Hash {
    merkle::root(tx_hashes)
}

/// Returns `start` hashed `count` times, one after the other. Timed, this measures the speed at which a
/// machine can propose.
#[must_use]
pub fn burn(start: Hash, count: u64) -> Hash {
    lanes::advance_one(start, count)
}

/// A finished tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedTick {
    /// The chain after the tick's last hash, `t_k`.
    pub hash: Hash,
    /// The hash that was mixed in, `m_k`.
    pub mixin: Hash,
}

/// The last hash of a tick, which includes its transactions.
pub(crate) fn mix(before: Hash, mixin: Hash) -> Hash {
    #[cfg(test)]
    lanes::tally::add(1);
    let mut input = [0; 64];
    let (left, right) = input.split_at_mut(32);
    left.copy_from_slice(&before.0);
    right.copy_from_slice(&mixin.0);
    Hash(*blake3::hash(&input).as_bytes())
}

/// The proposer's side: a chain that is walked hash by hash and sealed tick by tick.
///
/// A tick may be walked up to its last hash and left open there with [`Chain::advance`], so that an idle
/// proposer can answer the first transaction at once.
#[derive(Clone, Debug)]
pub struct Chain {
    pace: Pace,
    hash: Hash,
    plain_left: u64,
    sealed: u64,
}

impl Chain {
    /// Starts a block's chain at its [`seed`].
    #[must_use]
    pub const fn new(pace: Pace, seed: Hash) -> Self {
        Self {
            pace,
            hash: seed,
            plain_left: pace.plain_hashes_per_tick(),
            sealed: 0,
        }
    }

    /// Walks up to `count` plain hashes and stops before the tick's last one. Returns the number of plain
    /// hashes left in the tick; at zero the tick waits for its mix-in.
    pub fn advance(&mut self, count: u64) -> u64 {
        let count = count.min(self.plain_left);
        self.hash = lanes::advance_one(self.hash, count);
        self.plain_left = self.plain_left.saturating_sub(count);
        self.plain_left
    }

    /// Walks the rest of the tick, mixes `mixin` in and opens the next tick.
    ///
    /// # Errors
    /// [`PohError::TickCount`] when the block has all its ticks; nothing is hashed then.
    pub fn finish_tick(&mut self, mixin: Hash) -> Result<SealedTick, PohError> {
        if self.is_complete() {
            let expected = self.pace.ticks();
            return Err(PohError::TickCount {
                expected,
                found: self.sealed.saturating_add(1),
            });
        }
        self.advance(u64::MAX);
        self.hash = mix(self.hash, mixin);
        self.sealed = self.sealed.saturating_add(1);
        // The chain ends with the block: past its last tick no hashes are left.
        self.plain_left = if self.is_complete() {
            0
        } else {
            self.pace.plain_hashes_per_tick()
        };
        Ok(SealedTick {
            hash: self.hash,
            mixin,
        })
    }

    /// The chain's newest hash: after the last tick, the block's `poh_hash`.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Ticks sealed so far.
    #[must_use]
    pub const fn ticks_sealed(&self) -> u64 {
        self.sealed
    }

    /// Returns true if the block has all its ticks.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.sealed >= self.pace.ticks()
    }

    /// The pace that the chain was started with.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, written with the `blake3` crate alone.
    fn tick_by_definition(from: Hash, hashes: u64, mixin: Hash) -> Hash {
        let mut hash = from.0;
        for _ in 1..hashes {
            hash = *blake3::hash(&hash).as_bytes();
        }
        Hash(*blake3::hash(&[hash, mixin.0].concat()).as_bytes())
    }

    #[test]
    fn a_seed_is_derived_from_parent_height_round_and_proposer_in_that_order() {
        let (parent, proposer) = (Hash([3; 32]), [9; 32]);
        let mut input = [3u8; 32].to_vec();
        input.extend([
            0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xdd, 0xcc, 0xbb, 0xaa,
        ]);
        input.extend(proposer);
        let expected = Hash(blake3::derive_key("vibecoin poh v1", &input));
        assert_eq!(
            seed(parent, 0x1122_3344_5566_7788, 0xaabb_ccdd, &proposer),
            expected
        );
    }

    #[test]
    fn a_seed_changes_with_each_of_its_inputs() {
        let base = seed(Hash([1; 32]), 5, 0, &[2; 32]);
        for other in [
            seed(Hash([0; 32]), 5, 0, &[2; 32]),
            seed(Hash([1; 32]), 6, 0, &[2; 32]),
            seed(Hash([1; 32]), 5, 1, &[2; 32]),
            seed(Hash([1; 32]), 5, 0, &[3; 32]),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_tick_is_n_minus_one_plain_hashes_and_one_that_mixes() {
        for hashes in [1, 2, 3, 100] {
            let pace = Pace::new(hashes, 3).expect("small");
            let start = seed(Hash::ZERO, 1, 0, &[0; 32]);
            let mut chain = Chain::new(pace, start);
            let mut from = start;
            for mixin in [Hash::ZERO, Hash([5; 32]), Hash::ZERO] {
                let tick = chain.finish_tick(mixin).expect("three ticks");
                assert_eq!(
                    tick,
                    SealedTick {
                        hash: tick_by_definition(from, hashes, mixin),
                        mixin
                    }
                );
                assert_eq!(chain.hash(), tick.hash);
                from = tick.hash;
            }
        }
    }

    #[test]
    fn a_tick_walked_in_pieces_and_held_open_ends_where_the_straight_one_does() {
        let pace = Pace::new(100, 1).expect("small");
        let mut straight = Chain::new(pace, Hash::ZERO);
        let mut pieces = straight.clone();
        assert_eq!(pieces.advance(0), 99);
        assert_eq!(pieces.advance(40), 59);
        assert_eq!(pieces.advance(1_000), 0);
        let held = pieces.hash();
        assert_eq!(pieces.advance(1_000), 0);
        assert_eq!(pieces.hash(), held, "an open tick does not move on");
        assert_eq!(held, burn(Hash::ZERO, 99));
        assert_eq!(
            pieces.finish_tick(Hash([1; 32])),
            straight.finish_tick(Hash([1; 32]))
        );
    }

    #[test]
    fn a_chain_ends_with_its_block() {
        let mut chain = Chain::new(Pace::new(10, 1).expect("small"), Hash::ZERO);
        let last = chain.finish_tick(Hash::ZERO).expect("the only tick");
        assert!(chain.is_complete());
        assert_eq!(chain.advance(5), 0);
        assert_eq!(
            chain.finish_tick(Hash::ZERO),
            Err(PohError::TickCount {
                expected: 1,
                found: 2
            })
        );
        assert_eq!((chain.hash(), chain.ticks_sealed()), (last.hash, 1));
    }

    #[test]
    fn an_empty_tick_mixes_in_zero_and_a_full_one_the_merkle_root() {
        let txs = [Hash([1; 32]), Hash([2; 32])];
        assert_eq!(mixin(&[]), Hash::ZERO);
        assert_eq!(mixin(&txs), merkle::root(&txs));
    }
}
