//! The deliberate bugs of this crate, each wrapped around the call or the value that it spoils, so that the product
//! reads as if there were none. Without the feature `planted` each function is its argument.

use std::cmp::Ordering;

use super::{Bug, active, noise};
use crate::PublicKey;

/// The fraction of the power that a quorum must exceed; with [`Bug::QuorumOfTwoThirds`] slightly less than two
/// thirds: with the small powers of a simulation, two thirds exceed it.
pub(crate) fn quorum_fraction(fraction: (u64, u64)) -> (u64, u64) {
    if active(Bug::QuorumOfTwoThirds) {
        return (1999, 3000);
    }
    fraction
}

/// True if a certificate is not the one of a block; with [`Bug::OtherHeight`] one of another height always is.
pub(crate) fn is_other_certificate(is_other_height: bool, is_other_block: bool) -> bool {
    if active(Bug::OtherHeight) {
        return is_other_block && !is_other_height;
    }
    is_other_height || is_other_block
}

/// True if two signers of a certificate are in order; with [`Bug::DuplicateSigner`] also if they are one.
pub(crate) fn is_in_order(signer: &PublicKey, next: &PublicKey) -> bool {
    signer < next || (active(Bug::DuplicateSigner) && signer == next)
}

/// The signatures of a batch that are checked; with [`Bug::BatchTail`] all but the last.
pub(crate) fn batch<T>(items: &[T]) -> &[T] {
    match items {
        [checked @ .., _] if active(Bug::BatchTail) => checked,
        _ => items,
    }
}

/// True if a validator is not credited, or has had more than its share; with [`Bug::CreditUnbounded`] never.
pub(crate) fn is_limited(limited: bool) -> bool {
    limited && !active(Bug::CreditUnbounded)
}

/// A credit within `bound` on either side; with [`Bug::CreditUnbounded`] as it is.
pub(crate) fn bounded_credit(credit: i64, bound: i64) -> i64 {
    if active(Bug::CreditUnbounded) {
        return credit;
    }
    credit.clamp(bound.saturating_neg(), bound)
}

/// Sorts, and keeps equals in their order; with [`Bug::HashMapOrder`] they change places at random.
pub(crate) fn sort<T>(entries: &mut [T], compare: impl Fn(&T, &T) -> Ordering, index: impl Fn(&T) -> usize) {
    entries.sort_by(&compare);
    if active(Bug::HashMapOrder) {
        let noise = noise();
        let drawn = |entry: &T| noise.rotate_left(u32::try_from(index(entry)).unwrap_or(0));
        entries.sort_by(|a, b| compare(a, b).then(drawn(a).cmp(&drawn(b))));
    }
}

/// The validators whose recorded offences hold them back; with [`Bug::OffenderFavoured`] none.
pub(crate) fn offenders<T>(offenders: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let held_back = !active(Bug::OffenderFavoured);
    offenders.into_iter().filter(move |_| held_back)
}
