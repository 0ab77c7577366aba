//! Progress of a load, for the person who waits.

/// A step of a load that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The accounts are topped up.
    Funding,
    /// Transfers are signed.
    Signing,
    /// Transfers are about to be sent.
    Sending,
    /// All were sent; the last ones have to become final. Open loop only.
    Sent {
        /// Number of transfers that were accepted.
        taken: u64,
    },
    /// Still waiting for the last ones; repeated.
    Settling,
}
