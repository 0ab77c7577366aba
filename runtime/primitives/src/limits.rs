//! Hard limits that no chain parameter may exceed. Genesis chooses values at or below them.

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,024 KiB.
pub const MIB: usize = 1024 * KIB;

/// Most bytes of one encoded transaction.
pub const TRANSACTION_BYTES_MAX: usize = 64 * KIB;
/// Most operations in one transaction.
pub const OPERATIONS_MAX: usize = 64;
/// Most bytes of one slot's value.
pub const SLOT_VALUE_BYTES_MAX: usize = 4 * KIB;
/// Most bytes of the transactions of one block.
pub const BLOCK_BYTES_MAX: usize = 4 * MIB;
/// Most transactions in one block.
pub const BLOCK_TRANSACTIONS_MAX: usize = 20_000;
/// Most ticks in one block.
pub const TICKS_MAX: usize = 1024;
/// Most hashes in one tick.
pub const HASHES_PER_TICK_MAX: u32 = 1_000_000;
/// Most validators. The proposer order of that many fits into one slot of the state.
pub const VALIDATORS_MAX: usize = 200;
/// Most summed voting power, so that power times any threshold's denominator (at most 100) fits.
pub const TOTAL_POWER_MAX: u64 = u64::MAX / 100;
/// Most pieces of evidence in one block.
pub const EVIDENCE_MAX: usize = 16;
/// Most bytes of one encoded header.
pub const HEADER_BYTES_MAX: usize = KIB;
/// Most bytes of one encoded certificate.
pub const CERTIFICATE_BYTES_MAX: usize = VALIDATORS_MAX * 96 + KIB;
/// Most bytes of one encoded piece of evidence.
pub const EVIDENCE_BYTES_MAX: usize = 4 * KIB;
/// Most bytes of one encoded body: transactions, tick hashes, certificate and evidence.
pub const BODY_BYTES_MAX: usize =
    BLOCK_BYTES_MAX + TICKS_MAX * 64 + CERTIFICATE_BYTES_MAX + EVIDENCE_MAX * EVIDENCE_BYTES_MAX + KIB;
/// Most bytes of the receipts of one block.
pub const RECEIPTS_BYTES_MAX: usize = BLOCK_TRANSACTIONS_MAX * 128 + KIB;
/// Most bytes of a text parameter (network name, symbol).
pub const NAME_BYTES_MAX: usize = 32;

const _: () = assert!(TRANSACTION_BYTES_MAX <= BLOCK_BYTES_MAX);
const _: () = assert!(OPERATIONS_MAX * 64 <= TRANSACTION_BYTES_MAX);
const _: () = assert!(SLOT_VALUE_BYTES_MAX + 512 <= TRANSACTION_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(VALIDATORS_MAX * 20 + 8 <= SLOT_VALUE_BYTES_MAX);
// A list of the largest allowed number of transactions must stay below wincode's 4 MiB of memory.
const _: () = assert!(BLOCK_TRANSACTIONS_MAX * size_of::<crate::Transaction>() <= 4 * MIB);
const _: () = assert!(BLOCK_TRANSACTIONS_MAX * size_of::<crate::Receipt>() <= 4 * MIB);
const _: () = assert!(EVIDENCE_BYTES_MAX >= 2 * (HEADER_BYTES_MAX + 256));
