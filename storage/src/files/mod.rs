//! The files beside the database: consensus log, double-sign guard, head witness.
//!
//! Each is one file with checksums of its own and its own rule for syncing, so that damage to one is never
//! hidden by another:
//!
//! | file | grows | synced | a torn write | damage elsewhere |
//! |---|---|---|---|---|
//! | [`ConsensusLog`] | within a height | when told | the tail is dropped | dropped where nothing was signed for it, else refused |
//! | [`GuardFile`] | never | before `store` returns | the entry before it counts | refused |
//! | [`HeadWitness`] | never | every 64 heights | the head before it counts | refused |
//!
//! Every write error is final: the file answers with it from then on, and no sync is tried again. After a
//! failed sync the kernel may call lost pages clean.
//!
//! [`RawFile`] is what they stand on: [`DiskFile`], or [`MemoryFile`], which can lose power.

mod device;
mod guard;
mod log;
mod slots;
mod witness;

pub use device::{DiskFile, MemoryFile, RawFile};
pub use guard::{GUARD_PAYLOAD_BYTES_MAX, GuardEntry, GuardFile, Relied};
pub use log::{ConsensusLog, OpenedLog, RECORD_BYTES_MAX, SALT_BYTES};
pub use witness::{HeadWitness, WITNESS_SYNC_EVERY};
