//! The chain on disk: blocks, state, indexes, and the small files beside the database.
//!
//! ```text
//!  commit(block) ── one synced batch of 7 keys: header, certificate, body, receipts, diff, hash, head
//!       │
//!       └─ view: overlay of recent blocks ── materialiser, behind: rows, trie nodes, index, height
//!                                            in one ingest; rebuilt from diffs after a crash
//! ```
//!
//! - [`Store`] is the chain: open or create, commit, read, rewind, close.
//! - [`StateView`] is one state: what execution reads and applies to, what proofs are made from.
//! - [`check`] re-derives everything that is stored and names the first fault; [`start`] is the quick
//!   form that every start runs.
//! - [`files`] are the consensus log, the double-sign guard and the head witness: outside the database, each
//!   with its own checksums and its own rule for syncing.
//! - [`kv`] is the database as a trait, RocksDB and a memory that can crash; [`schema`] every key and value.
//!
//! Nothing here decides what a valid block is, and nothing retries: the first failed write is the last,
//! every later one answers with the same [`StorageError`], and the process ends with its exit code.

pub mod bench;
pub mod check;
pub mod files;
pub mod kv;
pub mod rng;
pub mod schema;
pub mod start;

mod error;
mod state;
mod store;

pub use error::{FaultClass, StorageError};
pub use schema::{GenesisRecord, Head, Place};
pub use state::{AccountProof, SlotProof, StateView};
pub use store::{
    BlockStore, CommitBlock, GenesisState, PohPosition, PohStore, StateStore, Store, StoreConfig, StoreStats,
    StoredTransaction, TxStore,
};
