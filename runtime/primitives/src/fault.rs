//! Classes of the faults that end a node.
//!
//! A crate that cannot go on reports a class; the number with which a process ends for it belongs to the binary
//! (`node/engine/src/error.rs`).

/// Class of a fault, for the process that must decide on its exit. Exhaustive: each class has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// The database is in use.
    Locked,
    /// No chain has been created here.
    NotCreated,
    /// A different chain.
    GenesisMismatch,
    /// Stored data is damaged or lost.
    Corruption,
    /// The disk is full.
    DiskFull,
    /// The disk failed.
    Io,
    /// A rule of safety was broken, by a bug or by another process with this key. Stop before it does harm.
    Safety,
    /// A program with another schema wrote the data.
    OtherSchema,
}
