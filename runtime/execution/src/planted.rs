//! The deliberate bugs of this crate ([`Bug`]), each wrapped around the call or the value that it spoils, so that the
//! product reads as if there were none. Without the feature `planted` each function is its argument.

use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{Amount, Nonce};

/// A transfer of this many base units panics while [`Bug::PoisonPanics`] or [`Bug::PanicUncontained`] is planted.
pub const POISON: Amount = Amount(6_660_666);

/// With [`Bug::PoisonPanics`] or [`Bug::PanicUncontained`] a transfer of [`POISON`] panics.
pub(crate) fn panic_at(amount: Amount) {
    let is_poison = active(Bug::PoisonPanics) || active(Bug::PanicUncontained);
    assert!(!(is_poison && amount == POISON), "planted");
}

/// Contains the panics of `work`; with [`Bug::PanicUncontained`] not.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    if active(Bug::PanicUncontained) {
        return Some(work());
    }
    crate::contained::contained(work)
}

/// With [`Bug::UndoForgotten`] the last step of a failed transaction is not undone.
pub(crate) fn forget_last<T>(undo: &mut Vec<T>) {
    if active(Bug::UndoForgotten) {
        undo.pop();
    }
}

/// True if a nonce is spent; with [`Bug::NonceUnchecked`] never.
pub(crate) fn is_spent(nonce: Nonce, next: Nonce) -> bool {
    nonce < next && !active(Bug::NonceUnchecked)
}
