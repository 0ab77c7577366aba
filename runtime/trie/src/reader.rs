//! Interfaces that the caller provides: a reader for nodes that are not in memory, and an executor for parallel work.

use crate::Nibbles;
use vibecoin_primitives::Hash;

/// Error of a read, in the reader's own terms (an I/O error, for example).
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// Reads records and leaves of one consistent state: the one whose root the calling trie has.
///
/// `owner` is [`Hash::ZERO`] for the account trie and the hashed account key for its storage trie.
/// `Sync`, because subtries may be updated on several threads.
pub trait NodeReader: Sync {
    /// Returns the record stored under `path`, as encoded by [`crate::NodeRecord::encode`], or `None`.
    ///
    /// # Errors
    /// [`ReadError`] when the store fails; the caller receives it in [`crate::TrieError::Read`].
    fn node(&self, owner: &Hash, path: &Nibbles) -> Result<Option<Vec<u8>>, ReadError>;

    /// Returns the value that the flat state has under `key`, or `None`.
    ///
    /// # Errors
    /// As in [`NodeReader::node`].
    fn leaf(&self, owner: &Hash, key: &Hash) -> Result<Option<Vec<u8>>, ReadError>;
}

/// One job of [`Parallel::run`].
pub type Job<'a> = Box<dyn FnMut() + Send + 'a>;

/// An executor for jobs that may run in any order. The result does not depend on it.
pub trait Parallel: Sync {
    /// Calls every job exactly once and returns when all have returned.
    fn run(&self, jobs: &mut [Job<'_>]);
}

/// A sequential executor: the calling thread runs the jobs in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequential;

impl Parallel for Sequential {
    fn run(&self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            job();
        }
    }
}
