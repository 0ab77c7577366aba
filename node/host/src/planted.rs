//! The deliberate bugs of this crate ([`Bug`]), each wrapped around the call or the value that it spoils, so that the
//! product reads as if there were none. Without the feature `planted` each function is its argument, or nothing.

use vibecoin_primitives::Height;
use vibecoin_primitives::planted::{Bug, active};

/// Syncs the log; with [`Bug::GuardBeforeLog`] not yet.
pub(crate) fn sync<E>(sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if active(Bug::GuardBeforeLog) {
        return Ok(());
    }
    sync()
}

/// With [`Bug::GuardBeforeLog`] the log is synced behind the guard.
pub(crate) fn sync_late<E>(sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if active(Bug::GuardBeforeLog) {
        return sync();
    }
    Ok(())
}

/// With [`Bug::WitnessBeforeBlock`] a block is recorded before it is stored.
pub(crate) fn record_early<E>(record: &mut impl FnMut() -> Result<(), E>) -> Result<(), E> {
    if active(Bug::WitnessBeforeBlock) {
        return record();
    }
    Ok(())
}

/// The silence that a damaged log asks for, before the log is repaired; with [`Bug::LogBeforeSilence`] not yet.
pub(crate) fn silence(through: Option<Height>) -> Option<Height> {
    through.filter(|_| !active(Bug::LogBeforeSilence))
}

/// With [`Bug::LogBeforeSilence`] the silence behind the repair of the log.
pub(crate) fn silence_late(through: Option<Height>) -> Option<Height> {
    through.filter(|_| active(Bug::LogBeforeSilence))
}

/// Brings a log to the next height; with [`Bug::AppliedTwice`] it keeps the block of the head.
pub(crate) fn brought<T, E>(log: T, bring: impl FnOnce(T) -> Result<T, E>) -> Result<T, E> {
    if active(Bug::AppliedTwice) {
        return Ok(log);
    }
    bring(log)
}
