//! The deliberate bugs of this crate ([`Bug`]), each wrapped around the call or the value that it spoils, so that
//! the product reads as if there were none. Without the feature `planted` each function is its argument.

use vibecoin_consensus::LogRecord;
use vibecoin_execution::{State, execute_body};
use vibecoin_poh::{Kernel, Pace, PohError, SealedTick, verify_run};
use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{Body, Evidence, EvidenceError, Hash, Header, Round, TimeMs};

use crate::{Chain, Parent};

/// The hash of an encoded body; with [`Bug::CachedHash`] the one that its header names.
pub(crate) fn body_hash(header: &Header, encoded: &[u8]) -> Hash {
    if active(Bug::CachedHash) {
        return header.body_hash;
    }
    vibecoin_primitives::body_hash(encoded)
}

/// Checks a body; with [`Bug::CachedHash`] not if it is another one than its header names.
pub(crate) fn body_check<E>(
    header: &Header,
    body: &Body,
    check: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    if active(Bug::CachedHash) && body.hash() != header.body_hash {
        return Ok(());
    }
    check()
}

/// The earliest time that a header may name; with [`Bug::TimeUnchecked`] any.
pub(crate) fn earliest_time(earliest: TimeMs) -> TimeMs {
    if active(Bug::TimeUnchecked) {
        return TimeMs(0);
    }
    earliest
}

/// The tolerance of clocks in milliseconds; with [`Bug::UntimelyTaken`] without end.
pub(crate) fn clock_tolerance_ms(tolerance: u64) -> u64 {
    if active(Bug::UntimelyTaken) {
        return u64::MAX;
    }
    tolerance
}

/// Compares a proposal with the clock; with [`Bug::LaterRoundTimely`] only if it is for the round that the block
/// was made for.
pub(crate) fn clock_check<T>(made: Round, named: Round, check: impl FnOnce() -> Option<T>) -> Option<T> {
    if active(Bug::LaterRoundTimely) && made != named {
        return None;
    }
    check()
}

/// Verifies a piece of evidence; with [`Bug::EvidenceUnchecked`] not at all.
pub(crate) fn verify_evidence(chain: &Chain, evidence: &Evidence) -> Result<(), EvidenceError> {
    if active(Bug::EvidenceUnchecked) {
        return Ok(());
    }
    evidence.verify(&chain.genesis, &chain.validators)
}

/// True if an offence is recorded; with [`Bug::EvidenceRepeated`] never.
pub(crate) fn recorded(is_recorded: bool) -> bool {
    is_recorded && !active(Bug::EvidenceRepeated)
}

/// Verifies a run of ticks; with [`Bug::TickUnchecked`] without the first one.
pub(crate) fn verify_poh(pace: Pace, start: Hash, ticks: &[SealedTick]) -> Result<(), PohError> {
    if !active(Bug::TickUnchecked) {
        return vibecoin_poh::verify(pace, start, ticks);
    }
    match ticks {
        [first, rest @ ..] => verify_run(Kernel::best(), pace, 1, first.hash, rest),
        [] => Ok(()),
    }
}

/// The root of a state; with [`Bug::StateRootUnchecked`] the one that the header names.
pub(crate) fn state_root<S: State>(state: &S, header: &Header) -> Hash {
    if active(Bug::StateRootUnchecked) {
        return header.state_root;
    }
    state.root()
}

/// True if candidates exceed their bounds; with [`Bug::CandidatesKept`] never.
pub(crate) fn over_bounds(is_over: bool) -> bool {
    is_over && !active(Bug::CandidatesKept)
}

/// The round in which a block was decided; with [`Bug::TurnStale`] the first one.
pub(crate) fn decided_round(round: Round) -> Round {
    if active(Bug::TurnStale) {
        return Round::ZERO;
    }
    round
}

/// With [`Bug::QuestionForgotten`] the open requests to a peer are forgotten when it disconnects.
pub(crate) fn on_disconnect(forget: impl FnOnce()) {
    if active(Bug::QuestionForgotten) {
        forget();
    }
}

/// With [`Bug::AppliedTwice`] the block of the head, which is still in the log, is applied to the state again.
pub(crate) fn apply_twice<S: State>(chain: &Chain, head: &mut Parent<S>, records: &[LogRecord]) {
    if !active(Bug::AppliedTwice) {
        return;
    }
    let stored = records
        .iter()
        .any(|record| matches!(record, LogRecord::Block(block) if block.header == head.header));
    let proposer = chain.validators.find(&head.header.proposer);
    if let Some((_, proposer)) = proposer.filter(|_| stored)
        && let context = chain.block_context(head.header.height, proposer.payout)
        && let Ok(outcome) = execute_body(&head.state, context, [], head.header.round)
        && let Ok((state, _)) = head.state.apply(&outcome.changes)
    {
        head.state = state;
    }
}
