//! The deliberate bugs of this crate ([`Bug`]), each wrapped around the call or the value that it spoils, so that the
//! product reads as if there were none. Without the feature `planted` each function is its argument.

use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{Evidence, Height, PublicKey, VoteKind};

use crate::context::CoreInput;
use crate::convert::from_core;
use crate::timer_queue::TimerKind;
use crate::{MonoTime, Output};

/// Checks the signature of a vote; with [`Bug::SignatureUnchecked`] not at all.
pub(crate) fn is_signed(check: impl FnOnce() -> bool) -> bool {
    active(Bug::SignatureUnchecked) || check()
}

/// The double signatures that this node saw; with [`Bug::EvidenceOverlooked`] none.
pub(crate) fn evidence(found: Vec<Evidence>) -> Vec<Evidence> {
    if active(Bug::EvidenceOverlooked) {
        return Vec::new();
    }
    found
}

/// Sets a timer; with [`Bug::NeverAgain`] not the one of rebroadcasts.
pub(crate) fn set_timer(kind: TimerKind, set: impl FnOnce()) {
    if active(Bug::NeverAgain) && kind == TimerKind::Rebroadcast {
        return;
    }
    set();
}

/// The end of the wait for a proposal that has made progress; with [`Bug::StretchUnbounded`] a whole wait from now on.
pub(crate) fn wait_end(end: MonoTime, whole_wait_from_now: impl FnOnce() -> MonoTime) -> MonoTime {
    if active(Bug::StretchUnbounded) {
        return whole_wait_from_now();
    }
    end
}

/// Appends the sync of the log, the guard and the messages, in this order; with [`Bug::SignBeforeSync`] the sync comes
/// last, with [`Bug::GuardAfterSend`] the guard.
pub(crate) fn append(
    out: &mut impl Extend<Output>,
    sync: Option<Output>,
    guard: Option<Output>,
    messages: Vec<Output>,
) {
    if active(Bug::SignBeforeSync) {
        out.extend(guard.into_iter().chain(messages).chain(sync));
    } else if active(Bug::GuardAfterSend) {
        out.extend(sync.into_iter().chain(messages).chain(guard));
    } else {
        out.extend(sync.into_iter().chain(guard).chain(messages));
    }
}

/// The inputs that a log replays; with [`Bug::LockForgotten`] without those that lock: prevotes of the others, and
/// their certificates.
pub(crate) fn replayed(mut inputs: Vec<CoreInput>, me: &PublicKey) -> Vec<CoreInput> {
    if active(Bug::LockForgotten) {
        inputs.retain(|input| match input {
            CoreInput::Vote(vote) => {
                let vote = from_core::vote(vote.message.clone());
                vote.kind == VoteKind::Precommit || vote.validator == *me
            }
            CoreInput::PolkaCertificate(_) => false,
            _ => true,
        });
    }
    inputs
}

/// True if a guard is ahead of the log, so that the key abstains; with [`Bug::AbstentionForgotten`] never.
pub(crate) fn is_ahead(ahead: bool) -> bool {
    ahead && !active(Bug::AbstentionForgotten)
}

/// The height up to which the key abstains; with [`Bug::SilenceForgotten`] none.
pub(crate) fn abstention(through: Option<Height>) -> Option<Height> {
    through.filter(|_| !active(Bug::SilenceForgotten))
}
