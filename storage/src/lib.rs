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
//! - [`Reader`] reads blocks, transactions and diffs of the live database or of a snapshot.
//! - [`StateView`] is one state: the input of execution, and the source of proofs.
//! - [`SnapshotSource`] is one state of a running store as rows in key order, and [`Store::restore`] creates a chain that
//!   begins at such a state instead of genesis.
//! - [`check`] re-derives all stored data and reports the first fault; [`start`] is the quick form that every
//!   start runs.
//! - [`files`] are the consensus log, the double-sign guard and the head witness: outside the database, each
//!   with its own checksums and its own rule for syncing.
//! - [`kv`] is the database as a trait, RocksDB and an in-memory store with crashes; [`schema`] every key and
//!   value.
//!
//! This crate does not decide on the validity of blocks, and retries nothing: the first failed write is the
//! last, every later one returns the same [`StorageError`], and the process ends with the exit code of its class.

pub mod bench;
pub mod check;
pub mod files;
pub mod kv;
pub mod rng;
pub mod schema;
pub mod start;

mod error;
mod planted;
mod reader;
mod snapshot;
mod state;
mod store;

pub use error::StorageError;
pub use reader::{PohPosition, Reader, StoredTransaction};
pub use schema::{GenesisRecord, Head, Place};
pub use snapshot::{KeyedAccount, KeyedSlot, SnapshotSource, StateRows};
pub use state::{AccountProof, SlotProof, StateView};
pub use store::{GenesisState, RestoreError, RestorePoint, Restored, Store, StoreConfig, StoreStats};
