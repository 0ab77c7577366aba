//! Memory of a transaction in the pool, as charged against
//! [`MempoolConfig::bytes_max`](crate::MempoolConfig).
//!
//! The encoding is a poor measure: 64 operations that set slots of one byte are 2.9 KB sent and 5.6 KB
//! decoded, and a small transfer costs five times its bytes in maps and lists. So the charge is the memory
//! that is allocated: the decoded transaction, and the entries that refer to it, at the load of a map right
//! after it grew.

use std::mem::size_of;
use std::sync::Arc;

use vibecoin_primitives::{Address, Hash, Height, Operation, VerifiedTransaction};

use crate::Departure;
use crate::class::Class;
use crate::entry::{Entry, Place, Rank, Standing};
use crate::sender_queue::SenderQueue;

/// Charge for the readers' copy of the pool, which exists beside it and holds the same transactions. The node
/// checks at compile time that its entries fit.
pub const READERS_BYTES: usize = 400;

/// Maximum bytes of one remembered departure.
pub const DEPARTURE_BYTES: usize = 2 * size_of::<Departure>() + hashed(size_of::<(Hash, u64)>());

/// Maximum bytes of all remembered departures, of as many as the default configuration has.
pub const DEPARTURES_BYTES_MAX: usize = 17 * 1024 * 1024;

const _: () = assert!(50_000 * DEPARTURE_BYTES <= DEPARTURES_BYTES_MAX);

/// Charge for the entries that refer to a transaction, whatever its content. Each may be the only one of its sender.
pub const ENTRY_BYTES: usize = 2 * hashed(size_of::<(Hash, Arc<VerifiedTransaction>)>())
    + hashed(size_of::<(Address, Box<SenderQueue>)>())
    + block(size_of::<SenderQueue>())
    + block(size_of::<Entry>())
    + ordered(size_of::<(u64, Arc<VerifiedTransaction>)>())
    + ordered(size_of::<(Height, u64)>())
    + ordered(size_of::<((Class, Rank), Place)>())
    + ordered(size_of::<(Standing, Place)>())
    + READERS_BYTES;

/// Bytes that the allocator uses for `bytes`: a header of eight, rounded up to 16, minimum 32.
#[must_use]
pub const fn block(bytes: usize) -> usize {
    let most = bytes.saturating_add(8).next_multiple_of(16);
    if most < 32 { 32 } else { most }
}

/// An entry of a hash map that just doubled: a control byte, and 7 of 16 buckets in use.
#[must_use]
pub const fn hashed(entry: usize) -> usize {
    entry.saturating_add(1).saturating_mul(16).div_ceil(7)
}

/// An entry of a B-tree whose nodes are filled to six of eleven, as they are in ascending order.
const fn ordered(entry: usize) -> usize {
    entry.saturating_mul(11).div_ceil(6).saturating_add(8)
}

/// Bytes of memory that this transaction takes in the pool.
#[must_use]
pub fn charge(transaction: &VerifiedTransaction) -> usize {
    let operations = &transaction.body().operations;
    let values = operations.iter().map(|operation| match operation {
        Operation::SetStorage { value, .. } if !value.is_empty() => block(value.len()),
        Operation::SetStorage { .. } | Operation::Transfer { .. } => 0,
    });
    let list = block(operations.len().saturating_mul(size_of::<Operation>()));
    values.fold(SHARED_BYTES.saturating_add(list), usize::saturating_add)
}

/// Upper bound of [`charge`] for a transaction of transfers whose encoding has so many bytes.
#[must_use]
pub const fn charge_for_transfers(bytes: u32) -> usize {
    // A transfer is 44 bytes encoded and as large as the largest operation in memory.
    let list = (bytes as usize)
        .saturating_mul(size_of::<Operation>())
        .div_ceil(44);
    SHARED_BYTES.saturating_add(block(list))
}

/// Charge for each transaction except its operations: the entries, and the part with the counts of [`Arc`] in front.
const SHARED_BYTES: usize = ENTRY_BYTES + block(2 * size_of::<usize>() + size_of::<VerifiedTransaction>());

const _: () = assert!(ENTRY_BYTES < 2_048);
