//! The files beside the database: consensus log, double-sign guard, head witness.
//!
//! Each is one file with separate checksums and a separate rule for syncing, so that damage to one is never
//! hidden by another:
//!
//! | file | grows | synced | a torn write | damage elsewhere |
//! |---|---|---|---|---|
//! | [`ConsensusLog`] | within a height | on request | the tail is dropped | dropped where nothing was signed for it, else refused |
//! | [`GuardFile`] | never | before `store` returns | the previous entry is used | refused |
//! | [`HeadWitness`] | never | every 64 heights | the previous head is used | refused |
//!
//! Every write error is final: the file returns it from then on, and no sync is retried. After a failed sync
//! the kernel may mark lost pages as clean.
//!
//! [`RawFile`] is the interface below them: [`DiskFile`], or [`MemoryFile`], which simulates power cuts.

mod device;
mod guard;
mod log;
mod slots;
mod witness;

pub use device::{DiskFile, MemoryFile, RawFile};
pub use guard::{GUARD_PAYLOAD_BYTES_MAX, GuardEntry, GuardFile, Relied};
pub use log::{ConsensusLog, OpenedLog, RECORD_BYTES_MAX, SALT_BYTES};
pub use witness::{HeadWitness, WITNESS_SYNC_EVERY};
