//! Snapshots as files: made from a store, listed, verified, packed into one file, restored into a database.
//!
//! ```text
//!  store ── create ──▶ snapshots/HEIGHT-ID/          ── pack ──▶ FILE (archive: the same in one file)
//!                        manifest
//!                        chunks/HASH …                          folder or archive
//!                                                                 │ open, verify: names the first damaged chunk
//!  database ◀── rename ── .db.restore ◀── Store::restore ◀────────┘ restore: each chunk checked as it is read
//! ```
//!
//! - The form of manifest and chunks, and what is checked of them, is `vibecoin-snapshot`'s; the rows and the database
//!   are `vibecoin-storage`'s. This crate has the files between them.
//! - Names of files are computed, never read from a snapshot. Sizes are bounded by the manifest before anything is
//!   read or unpacked, and the manifest by the format.
//! - [`fetch()`] copies a snapshot from a folder of an HTTP server, chunk by verified chunk.
//! - A snapshot and a restored database come into being by the rename of a whole, synced folder. What a killed process
//!   leaves has a name that begins with a dot; the next one that works in that place removes it, and [`clean()`] what is
//!   in a home.
//! - Memory: creating and verifying hold one chunk packed, unpacked and decoded, about 10 MiB; a restore in addition
//!   one piece of rows of the store's (32 MiB and its overhead) and RocksDB's buffers. The manifest takes up to 32 MiB.
//!
//! Reading order: [`create()`], `layout` (names, stored form of a chunk), [`source`], [`verify()`], [`restore()`],
//! [`list()`], [`pack()`].

mod clean;
mod create;
mod error;
mod fetch;
mod folder;
mod http;
mod layout;
mod list;
mod pack;
mod progress;
mod restore;
mod rows;
pub mod source;
mod verify;

pub use clean::clean;
pub use create::{create, create_in_chunks};
pub use error::FilesError;
pub use fetch::{Fetched, fetch};
pub use list::{Listed, delete, find, list};
pub use pack::pack;
pub use progress::{Phase, Progress, Watch, unwatched};
pub use restore::{RestoredHome, check_free, restore};
pub use source::{Snapshot, SnapshotInfo};
pub use verify::{trust_of, verify};
