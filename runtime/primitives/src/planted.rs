//! Deliberate bugs: the test of the simulator.
//!
//! A test network that finds nothing shows nothing, unless it is known which bugs it would find. With the
//! cargo feature `planted`, which no shipped binary has, each [`Bug`] can be switched on for one thread, and
//! the simulator (`tests/sim`) must detect every one of them. Without the feature [`active`] is a constant
//! `false` and costs nothing.
//!
//! Each crate with bugs wraps them around its own calls and values in a module `planted` (here `seams`), so that
//! its product code reads as if there were none.

mod seams;

pub(crate) use seams::{
    batch, bounded_credit, is_in_order, is_limited, is_other_certificate, offenders, quorum_fraction, sort,
};

/// A bug that a crate has when it is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Signed messages leave before the log is synced.
    SignBeforeSync,
    /// Signed messages leave before the guard entry is durable.
    GuardAfterSend,
    /// The guard entry is made durable before the log that has its causes.
    GuardBeforeLog,
    /// A start repairs the consensus log before the silence that its damage asks for is durable.
    LogBeforeSilence,
    /// The witness records a block before the database has it.
    WitnessBeforeBlock,
    /// The prevotes of the others are not replayed at a start, so the lock is forgotten.
    LockForgotten,
    /// A guard that is ahead of the log does not abstain.
    AbstentionForgotten,
    /// A home whose database lost blocks does not abstain where it had signed.
    SilenceForgotten,
    /// Two thirds of the power are enough, where more than two thirds are needed.
    QuorumOfTwoThirds,
    /// A signer that is in a certificate twice counts twice.
    DuplicateSigner,
    /// A certificate of another height is accepted.
    OtherHeight,
    /// Signatures of votes are not checked.
    SignatureUnchecked,
    /// The state root in a header is not compared.
    StateRootUnchecked,
    /// A body is accepted for a header without a check of its hash.
    CachedHash,
    /// One tick of the Proof of History is not checked.
    TickUnchecked,
    /// A header's time is not checked.
    TimeUnchecked,
    /// A proposal is voted for whatever the clock shows.
    UntimelyTaken,
    /// A block whose first proposal names a later round is not checked for its time.
    LaterRoundTimely,
    /// Evidence in a block is not checked.
    EvidenceUnchecked,
    /// Double signatures that this node saw are discarded.
    EvidenceOverlooked,
    /// A spent nonce may be spent again.
    NonceUnchecked,
    /// The pool mistakes the nonce after the next one for the next one.
    NonceOffByOne,
    /// A block that is stored when the process starts is applied once more.
    AppliedTwice,
    /// A commit is reported before it is durable: a crash drops the last batch.
    CommitUnsynced,
    /// A validator that is held back continues to be credited, without bound.
    CreditUnbounded,
    /// Evidence that a block has recorded may be recorded again.
    EvidenceRepeated,
    /// A recorded double signature does not hold its signer back.
    OffenderFavoured,
    /// The proposer order of equals depends on a hash map.
    HashMapOrder,
    /// Records of the consensus log are read without a check of their checksum.
    TornRecord,
    /// Lost messages are never sent again.
    NeverAgain,
    /// Requests to a peer are forgotten with its connection, so its late responses appear unsolicited.
    QuestionForgotten,
    /// The turns of the next height are derived as if the present one had been decided in its first round.
    TurnStale,
    /// Every part of a proposal restarts the wait for it, without an end.
    StretchUnbounded,
    /// The last step of a failed transaction is not undone. All nodes agree about it, so that detection needs
    /// an independent implementation: `tests/sim/src/leftovers.rs`, not [`Bug::ALL`].
    UndoForgotten,
    /// A shape of transaction panics the executor. A network that detects it has failed: not in [`Bug::ALL`].
    PoisonPanics,
    /// As [`Bug::PoisonPanics`], and the panic is not contained: `runtime/replica/tests/streaming`.
    PanicUncontained,
    /// Candidates of past rounds are never dropped. The simulator does not count them:
    /// `runtime/replica/tests/streaming`.
    CandidatesKept,
    /// The last signature of a batch is not checked: `runtime/primitives/tests/signature_paths.rs`.
    BatchTail,
}

impl Bug {
    /// Every bug that a test network must detect.
    pub const ALL: [Self; 33] = [
        Self::SignBeforeSync,
        Self::GuardAfterSend,
        Self::GuardBeforeLog,
        Self::LogBeforeSilence,
        Self::WitnessBeforeBlock,
        Self::LockForgotten,
        Self::AbstentionForgotten,
        Self::SilenceForgotten,
        Self::QuorumOfTwoThirds,
        Self::DuplicateSigner,
        Self::OtherHeight,
        Self::SignatureUnchecked,
        Self::StateRootUnchecked,
        Self::CachedHash,
        Self::TickUnchecked,
        Self::TimeUnchecked,
        Self::UntimelyTaken,
        Self::LaterRoundTimely,
        Self::EvidenceUnchecked,
        Self::EvidenceOverlooked,
        Self::NonceUnchecked,
        Self::NonceOffByOne,
        Self::AppliedTwice,
        Self::CommitUnsynced,
        Self::CreditUnbounded,
        Self::EvidenceRepeated,
        Self::OffenderFavoured,
        Self::HashMapOrder,
        Self::TornRecord,
        Self::NeverAgain,
        Self::QuestionForgotten,
        Self::TurnStale,
        Self::StretchUnbounded,
    ];

    /// Name of the bug on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignBeforeSync => "sign-before-sync",
            Self::GuardAfterSend => "guard-after-send",
            Self::GuardBeforeLog => "guard-before-log",
            Self::LogBeforeSilence => "log-before-silence",
            Self::WitnessBeforeBlock => "witness-before-block",
            Self::LockForgotten => "lock-forgotten",
            Self::AbstentionForgotten => "abstention-forgotten",
            Self::SilenceForgotten => "silence-forgotten",
            Self::QuorumOfTwoThirds => "quorum-of-two-thirds",
            Self::DuplicateSigner => "duplicate-signer",
            Self::OtherHeight => "other-height",
            Self::SignatureUnchecked => "signature-unchecked",
            Self::StateRootUnchecked => "state-root-unchecked",
            Self::CachedHash => "cached-hash",
            Self::TickUnchecked => "tick-unchecked",
            Self::TimeUnchecked => "time-unchecked",
            Self::UntimelyTaken => "untimely-taken",
            Self::LaterRoundTimely => "later-round-timely",
            Self::EvidenceUnchecked => "evidence-unchecked",
            Self::EvidenceOverlooked => "evidence-overlooked",
            Self::NonceUnchecked => "nonce-unchecked",
            Self::NonceOffByOne => "nonce-off-by-one",
            Self::AppliedTwice => "applied-twice",
            Self::CommitUnsynced => "commit-unsynced",
            Self::CreditUnbounded => "credit-unbounded",
            Self::EvidenceRepeated => "evidence-repeated",
            Self::OffenderFavoured => "offender-favoured",
            Self::HashMapOrder => "hash-map-order",
            Self::TornRecord => "torn-record",
            Self::NeverAgain => "never-again",
            Self::QuestionForgotten => "question-forgotten",
            Self::TurnStale => "turn-stale",
            Self::StretchUnbounded => "stretch-unbounded",
            Self::UndoForgotten => "undo-forgotten",
            Self::PoisonPanics => "poison-panics",
            Self::PanicUncontained => "panic-uncontained",
            Self::CandidatesKept => "candidates-kept",
            Self::BatchTail => "batch-tail",
        }
    }
}

/// True if this build can have bugs.
pub const BUILT_IN: bool = cfg!(feature = "planted");

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
        static DRAWN: Cell<u64> = const { Cell::new(0) };
    }

    /// Returns true if the code of this thread has the bug now.
    #[must_use]
    pub fn active(bug: Bug) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// Values in place of a hash map's random keys: different with each call, the same in each run.
    #[must_use]
    pub fn noise() -> u64 {
        DRAWN.set(DRAWN.get().wrapping_add(1));
        DRAWN.get().wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    }

    /// Guard: the code of this thread has the bug until this is dropped.
    #[derive(Debug)]
    pub struct Planted(Option<Bug>);

    impl Planted {
        /// Plants a bug, or none.
        #[must_use]
        pub fn new(bug: Option<Bug>) -> Self {
            Self(ACTIVE.replace(bug))
        }

        /// Begins a run: the same calls return the same noise.
        pub fn reset_noise() {
            DRAWN.set(0);
        }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            ACTIVE.set(self.0);
        }
    }
}

#[cfg(feature = "planted")]
pub use switch::{Planted, active, noise};

/// Returns true if the code of this thread has the bug now: never, in this build.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn active(_bug: Bug) -> bool {
    false
}

/// Values in place of a hash map's random keys; unused in this build.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn noise() -> u64 {
    0
}

/// Plants nothing, in this build.
#[cfg(not(feature = "planted"))]
#[derive(Debug)]
pub struct Planted;

#[cfg(not(feature = "planted"))]
impl Planted {
    /// Plants nothing.
    #[must_use]
    pub const fn new(_bug: Option<Bug>) -> Self {
        Self
    }

    /// No operation in this build.
    pub const fn reset_noise() {}
}

#[cfg(not(feature = "planted"))]
impl Drop for Planted {
    // A guard like the other one, so that it may be dropped by name.
    fn drop(&mut self) {}
}
