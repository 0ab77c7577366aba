//! Proof of History: verifiable pacing, and verifiable order inside one block.
//!
//! A block carries a chain of hashes that only one core at a time can compute, cut into ticks of
//! exactly `N` hashes. The transactions that arrive during a tick are mixed in at its last hash:
//!
//! ```text
//!            N - 1 plain hashes     mix      N - 1 plain hashes     mix
//! seed = t_0 ──▶ h ──▶ … ──▶ h ──▶ t_1 ──▶ h ──▶ … ──▶ h ──▶ t_2 ──▶ … ──▶ t_T = poh_hash
//!                                  ▲                        ▲
//!                                 m_1                      m_2    Merkle root of the tick's
//!                                                                 transactions, zero if none
//!
//! t_k = BLAKE3( BLAKE3^(N-1)(t_(k-1)) ‖ m_k )
//! ```
//!
//! The proposer walks this line step by step. A verifier receives every `t_k`, so it walks all ticks side by
//! side in SIMD lanes; since every tick is equally long, no lane waits.
//!
//! # Guarantees
//!
//! Between the parent and this block `T × N` or more sequential hashes were computed; they were computed for
//! this parent, height, round and proposer; and a transaction of tick `k` was known before tick `k + 1`
//! began. So a block cannot be rushed, a chain cannot be borrowed or prepared before its parent exists,
//! streamed ticks cannot be reordered, and old keys cannot rewrite long stretches of history without spending
//! a large part of its time.
//!
//! # Limits
//!
//! It is a lower bound on time, never an upper one, and only up to the speed of the fastest core in the
//! world. It does not stop a proposer from choosing the order within a tick, leaving transactions out, or
//! computing several chains and publishing one. It is not a source of randomness, orders nothing between
//! nodes, and agrees on nothing: agreement and finality result from votes.
//!
//! # Example
//!
//! ```
//! use vibecoin_poh::{Chain, Pace, seed, verify};
//! use vibecoin_primitives::Hash;
//!
//! let pace = Pace::new(100, 2)?;
//! let start = seed(Hash::ZERO, 1, 0, &[7; 32]);
//! let mut chain = Chain::new(pace, start);
//! let quiet = chain.finish_tick(Hash::ZERO)?;
//! chain.advance(99); // the last mix-in stays open until a transaction comes
//! let busy = chain.finish_tick(Hash([1; 32]))?;
//! verify(pace, start, &[quiet, busy])?;
//! # Ok::<(), vibecoin_poh::PohError>(())
//! ```
//!
//! Reading order: [`pace`](Pace) (the numbers and their bounds), `chain` (making), `verify` (checking),
//! `lanes` (the fast kernels, one file per width, and the only `unsafe` code of the crate).

mod chain;
mod lanes;
mod pace;
mod verify;

pub use chain::{Chain, SealedTick, burn, mixin, seed};
pub use lanes::Kernel;
pub use pace::{HASHES_PER_BLOCK_MAX, HASHES_PER_TICK_MAX, Pace, TICKS_MAX};
pub use verify::{Verifier, verify, verify_run, verify_with};

use vibecoin_primitives::Hash;

/// Reason why a Proof of History was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PohError {
    /// The hashes per tick are zero or above [`HASHES_PER_TICK_MAX`].
    #[error("{found} hashes per tick are outside 1..={max}")]
    HashesPerTick {
        /// The requested value.
        found: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// The ticks of a block are zero or above [`TICKS_MAX`].
    #[error("{found} ticks per block are outside 1..={max}")]
    TicksPerBlock {
        /// The requested value.
        found: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// Ticks and hashes per tick are each in range, but their product is above
    /// [`HASHES_PER_BLOCK_MAX`].
    #[error("{found} hashes per block are more than {max}")]
    HashesPerBlock {
        /// Ticks times hashes per tick.
        found: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// The number of ticks differs from the pace's.
    #[error("{found} ticks where the pace asks for {expected}")]
    TickCount {
        /// Number of ticks of the pace.
        expected: u64,
        /// Number of ticks found, or with the ones just offered.
        found: u64,
    },
    /// A tick does not follow from the previous one and its own mix-in. It is the first such tick.
    #[error("tick at index {index} is {found}, but its chain leads to {expected}")]
    TickHash {
        /// Position in the block, from zero.
        index: u64,
        /// The hash computed by the verifier.
        expected: Hash,
        /// The hash in the tick.
        found: Hash,
    },
    /// The number of hashes since genesis no longer fits.
    #[error("sequence {parent} plus {hashes} hashes does not fit into 64 bits")]
    SequenceOverflow {
        /// The parent's sequence number.
        parent: u64,
        /// Number of hashes of the block.
        hashes: u64,
    },
}
