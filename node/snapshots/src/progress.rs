//! Progress of a long operation, and its end before the time.

use std::ops::ControlFlow;

use crate::error::FilesError;

/// Part of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The rows of a store become chunks.
    Create,
    /// The chunks are verified.
    Verify,
    /// The chunks are verified and their rows stored.
    Restore,
    /// The chunks are fetched from a server.
    Fetch,
    /// The chunks are copied into an archive.
    Pack,
}

impl Phase {
    /// Name of the phase for people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Create => "creating",
            Self::Verify => "verifying",
            Self::Restore => "restoring",
            Self::Fetch => "fetching",
            Self::Pack => "packing",
        }
    }
}

/// State of a phase, reported after each chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Share that is done, out of `all`: bytes of chunks, or for [`Phase::Create`] a position in the key space, which
    /// rows fill evenly.
    pub done: u64,
    /// The whole.
    pub all: u64,
    /// Bytes of the chunks that are done, uncompressed.
    pub bytes: u64,
}

/// Receiver of progress, asked after each chunk whether to go on. Where it breaks, the operation ends with
/// [`FilesError::Stopped`] and leaves nothing.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// A receiver that drops the progress and goes on.
pub fn unwatched(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Reports progress.
pub(crate) fn report(watch: Watch<'_>, progress: Progress) -> Result<(), FilesError> {
    match watch(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(FilesError::Stopped),
    }
}
