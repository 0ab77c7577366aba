//! The pool's record of one transaction.

use std::cmp::Reverse;
use std::sync::Arc;

use vibecoin_execution::executor::SLOT_OVERHEAD_BYTES;
use vibecoin_primitives::{Address, Amount, ChainParams, Height, Nonce, Operation, VerifiedTransaction};

use crate::Reason;
use crate::memory::charge;

/// Bid per byte, in 2^-16 base units, rounded down: fine enough to distinguish bids that differ by one, in
/// every transaction up to 64 KiB. Above 2^48 base units per byte all rates are the same.
///
/// The bid is the part of the fee above the minimum fee ([`ChainParams::fee_for`]). The minimum fee is the
/// price of the resources that a transaction uses: if it counted, transactions with many slots would rank
/// above all others at no further cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FeeRate(pub u64);

/// Fraction bits of a [`FeeRate`].
const RATE_BITS: u32 = 16;

impl FeeRate {
    /// The rate of `bytes` bytes with this bid.
    #[must_use]
    pub fn new(bid: Amount, bytes: u32) -> Self {
        if let Some(bid) = bid.0.checked_mul(1 << RATE_BITS) {
            return Self(bid.checked_div(u64::from(bytes)).unwrap_or(u64::MAX));
        }
        // Beyond all real fees; only these need the slow division.
        let rate = (u128::from(bid.0) << RATE_BITS).checked_div(u128::from(bytes));
        Self(rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(u64::MAX))
    }

    /// The rate of a transaction on a chain with these parameters.
    #[must_use]
    pub fn of(transaction: &VerifiedTransaction, params: &ChainParams) -> Self {
        let (body, bytes) = (transaction.body(), transaction.byte_len());
        let least = params.fee_for(bytes, body.slot_count());
        Self::new(body.fee.saturating_sub(least.0), bytes)
    }

    /// The minimum bid with which `bytes` bytes have a higher rate than this; the largest amount when none has.
    #[must_use]
    pub fn outbid(self, bytes: u32) -> Amount {
        let higher = self.0.checked_add(1);
        higher.map_or(Amount::MAX, |higher| Self(higher).reach(bytes))
    }

    /// The minimum bid with which `bytes` bytes reach this rate; the largest amount when none does.
    #[must_use]
    pub fn reach(self, bytes: u32) -> Amount {
        let bid = u128::from(self.0)
            .saturating_mul(u128::from(bytes))
            .div_ceil(1 << RATE_BITS);
        Amount(u64::try_from(bid).unwrap_or(u64::MAX))
    }
}

/// The order in which transactions compete: the first is included in a block first and evicted last. No two
/// transactions have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub rate: Reverse<FeeRate>,
    pub arrival: u64,
}

/// The order in which the last transactions of the rows are evicted from a full pool: the greatest first.
///
/// Fees of transactions behind a nonce gap buy nothing, since no block can charge them. Nor does the high fee
/// of a transaction behind a cheap one buy more than the cheap one's: it is charged only after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    /// Behind a nonce gap.
    pub queued: bool,
    /// With [`Entry::lowest`] as its rate.
    pub rank: Rank,
}

impl Standing {
    /// Below every queued one, above every pending one.
    pub const QUEUED_MIN: Self = Self {
        queued: true,
        rank: Rank {
            rate: Reverse(FeeRate(u64::MAX)),
            arrival: 0,
        },
    };
}

/// One transaction in its sender's row. The sort keys of the row and the lists are stored beside the pointer,
/// so that these need not follow it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub transaction: Arc<VerifiedTransaction>,
    pub nonce: Nonce,
    pub fee: Amount,
    /// Result of [`cost`].
    pub cost: Amount,
    /// Result of [`charge`].
    bytes: u32,
    /// True if it was ever pending, so that peers may have received it from here.
    pub was_pending: bool,
    pub rank: Rank,
    /// The lowest rate of this and its predecessors in the row: no block includes it for more than that.
    pub lowest: FeeRate,
    pub valid_until: Height,
    /// The lowest last height of this and its predecessors in the row: no block above includes it.
    pub until_min: Height,
    pub since_ms: u64,
}

impl Entry {
    /// `arrival` counts the transactions that this pool has accepted.
    pub fn new(
        transaction: Arc<VerifiedTransaction>,
        lowest: FeeRate,
        cost: Amount,
        arrival: u64,
        since_ms: u64,
    ) -> Self {
        let (nonce, fee) = (transaction.body().nonce, transaction.body().fee);
        let rate = Reverse(lowest);
        let valid_until = transaction.body().valid_until;
        Self {
            bytes: u32::try_from(charge(&transaction)).unwrap_or(u32::MAX),
            transaction,
            nonce,
            fee,
            cost,
            was_pending: false,
            rank: Rank { rate, arrival },
            lowest,
            valid_until,
            until_min: valid_until,
            since_ms,
        }
    }

    pub fn rate(&self) -> FeeRate {
        self.rank.rate.0
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

/// Maximum amount that a transaction takes from its sender, except the prices of new accounts: the pool does
/// not know which recipients exist. Those prices are burned, so a row cannot be emptied through them for free.
pub(crate) fn cost(transaction: &VerifiedTransaction, params: &ChainParams) -> u128 {
    let body = transaction.body();
    let moved = body.operations.iter().map(|operation| match operation {
        Operation::Transfer { to, amount } if *to != transaction.sender() => u128::from(amount.0),
        Operation::SetStorage { value, .. } if !value.is_empty() => {
            let bytes = u64::try_from(value.len()).unwrap_or(u64::MAX);
            u128::from(bytes.saturating_add(SLOT_OVERHEAD_BYTES))
                .saturating_mul(u128::from(params.storage_byte_price.0))
        }
        Operation::Transfer { .. } | Operation::SetStorage { .. } => 0,
    });
    moved.fold(u128::from(body.fee.0), u128::saturating_add)
}

/// Status of a transaction in this pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// In the pool; only its sender's earlier transactions in the pool precede it.
    Pending,
    /// In the pool, but the transaction with this nonce must precede it.
    Queued {
        /// The first nonce that is missing.
        expected: Nonce,
    },
    /// No longer in the pool.
    Departed(Reason),
    /// Never seen, or forgotten.
    Unknown,
}

/// Identifies a transaction within the pool.
pub(crate) type Place = (Address, Nonce);

pub(crate) fn place_of(transaction: &VerifiedTransaction) -> Place {
    (transaction.sender(), transaction.body().nonce)
}
