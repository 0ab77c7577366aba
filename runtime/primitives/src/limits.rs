//! Hard limits that no chain parameter may exceed. Genesis chooses values at or below them.

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,024 KiB.
pub const MIB: usize = 1024 * KIB;

/// Maximum bytes of one encoded transaction.
pub const TRANSACTION_BYTES_MAX: usize = 64 * KIB;
/// Maximum number of operations in one transaction.
pub const OPERATIONS_MAX: usize = 64;
/// Maximum bytes of one slot's value.
pub const SLOT_VALUE_BYTES_MAX: usize = 4 * KIB;
/// Maximum bytes of the transactions of one block.
pub const BLOCK_BYTES_MAX: usize = 4 * MIB;
/// Maximum number of transactions in one block.
pub const BLOCK_TRANSACTIONS_MAX: usize = 20_000;
/// Maximum number of operations in one block.
pub const BLOCK_OPERATIONS_MAX: usize = 100_000;
/// Maximum number of slots that one block sets or clears.
pub const BLOCK_SLOTS_MAX: usize = 16_384;
/// Maximum bytes of the old and new rows of one block, each counted at its largest.
pub const BLOCK_STATE_BYTES_MAX: usize = 64 * MIB;
/// Maximum bytes of an encoded account row.
pub const ACCOUNT_ROW_BYTES_MAX: usize = 118;
/// Bytes of an encoded slot row besides the value: the slot and the value's length.
pub const SLOT_ROW_OVERHEAD_BYTES: usize = 40;
/// Maximum number of ticks in one block.
pub const TICKS_MAX: usize = 1024;
/// Maximum number of hashes in one tick.
pub const HASHES_PER_TICK_MAX: u32 = 1_000_000;
/// Maximum number of validators. The proposer order of that many fits into one slot of the state.
pub const VALIDATORS_MAX: usize = 200;
/// Maximum summed voting power, so that power times any threshold's denominator (up to 100) fits.
pub const TOTAL_POWER_MAX: u64 = u64::MAX / 100;
/// Maximum number of pieces of evidence in one block.
pub const EVIDENCE_MAX: usize = 16;
/// Maximum bytes of one encoded header.
pub const HEADER_BYTES_MAX: usize = KIB;
/// Maximum bytes of one encoded certificate.
pub const CERTIFICATE_BYTES_MAX: usize = VALIDATORS_MAX * 96 + KIB;
/// Maximum bytes of one encoded piece of evidence.
pub const EVIDENCE_BYTES_MAX: usize = 4 * KIB;
/// Maximum bytes of one encoded body: transactions, tick hashes, certificate and evidence.
pub const BODY_BYTES_MAX: usize =
    BLOCK_BYTES_MAX + TICKS_MAX * 64 + CERTIFICATE_BYTES_MAX + EVIDENCE_MAX * EVIDENCE_BYTES_MAX + KIB;
/// Maximum bytes of the evidence of one block.
pub const BLOCK_EVIDENCE_BYTES_MAX: usize = EVIDENCE_MAX * EVIDENCE_BYTES_MAX;
/// Maximum bytes of one encoded receipt: it has no fields of variable length.
pub const RECEIPT_BYTES_MAX: usize = 80;
/// Maximum bytes of the receipts of one block.
pub const RECEIPTS_BYTES_MAX: usize = BLOCK_TRANSACTIONS_MAX * 128 + KIB;
/// Maximum number of rows that a block changes besides those of its transactions: the payout account, the
/// chain's account and its records.
pub const BLOCK_OWN_ROWS_MAX: usize = 8;
/// Maximum number of rows that one block changes: for each transaction its sender's, for each operation one more.
pub const BLOCK_ROWS_MAX: usize = BLOCK_TRANSACTIONS_MAX + BLOCK_OPERATIONS_MAX + BLOCK_OWN_ROWS_MAX;
/// Maximum bytes of the encoded diff of one block: its rows, and for each of them a key and four lengths.
pub const DIFF_BYTES_MAX: usize =
    BLOCK_STATE_BYTES_MAX + BLOCK_ROWS_MAX * 96 + BLOCK_OWN_ROWS_MAX * 2 * SLOT_VALUE_BYTES_MAX + KIB;
/// Maximum bytes of a text parameter (network name, symbol).
pub const NAME_BYTES_MAX: usize = 32;

const _: () = assert!(TRANSACTION_BYTES_MAX <= BLOCK_BYTES_MAX);
const _: () = assert!(OPERATIONS_MAX * 64 <= TRANSACTION_BYTES_MAX);
const _: () = assert!(SLOT_VALUE_BYTES_MAX + 512 <= TRANSACTION_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(VALIDATORS_MAX * 20 + 8 <= SLOT_VALUE_BYTES_MAX);
// A list of the largest allowed number of transactions must stay below wincode's 4 MiB of memory.
const _: () = assert!(BLOCK_TRANSACTIONS_MAX * size_of::<crate::Transaction>() <= 4 * MIB);
const _: () = assert!(BLOCK_TRANSACTIONS_MAX * size_of::<crate::Receipt>() <= 4 * MIB);
const _: () = assert!(BLOCK_TRANSACTIONS_MAX * RECEIPT_BYTES_MAX + 8 <= RECEIPTS_BYTES_MAX);
// The whole diff of a block is in memory several times: memory requested before it is checked stays small.
const _: () = assert!(DIFF_BYTES_MAX <= 128 * MIB);
const _: () = assert!(EVIDENCE_BYTES_MAX >= 2 * (HEADER_BYTES_MAX + 256));
