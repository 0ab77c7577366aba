//! The deliberate bugs of this crate ([`Bug`]), each wrapped around the value that it spoils, so that the product reads
//! as if there were none. Without the feature `planted` each function is its argument.

use vibecoin_primitives::planted::{Bug, active};

/// True if a commit is synced; with [`Bug::CommitUnsynced`] never.
pub(crate) fn synced(sync: bool) -> bool {
    sync && !active(Bug::CommitUnsynced)
}

/// True if a record of the consensus log is intact; with [`Bug::TornRecord`] always.
pub(crate) fn intact(has_its_checksum: bool) -> bool {
    has_its_checksum || active(Bug::TornRecord)
}
