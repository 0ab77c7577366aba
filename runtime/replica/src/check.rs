//! Block validity: a pure function of header, body, parent and parent state.
//!
//! Cheap rules are checked first. Nothing is hashed before sizes, counts, proposer and ticks hold, so a block
//! that misstates them costs its sender more than its receivers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use vibecoin_execution::{
    BlockExecutor, BlockOutcome, ExecutionError, State, StateError, announce, execute_block, read_offences,
};
use vibecoin_poh::{SealedTick, seed};
use vibecoin_primitives::limits::EVIDENCE_MAX;
use vibecoin_primitives::{
    BLOCK_VERSION, Body, Demand, Evidence, EvidenceError, Hash, Header, Offence, Tick, TimeMs, Transaction,
    VerifiedTransaction, encoded_len, merkle, tick_root, transaction_bytes,
};

use crate::validation::{BlockError, Executed, JudgeError, Stop, Validation};
use crate::{Chain, Parent, planted};

/// Transactions whose signatures were checked before they arrived here, by hash.
pub(crate) type Verified = HashMap<Hash, Arc<VerifiedTransaction>>;

/// Signatures checked in one batch: the cost of a bad one.
pub(crate) const SIGNATURES_AT_ONCE: usize = 1_024;

fn field<T: PartialEq + ToString>(field: &'static str, expected: &T, got: &T) -> Result<(), BlockError> {
    if expected == got {
        return Ok(());
    }
    Err(BlockError::Field {
        field,
        expected: expected.to_string(),
        got: got.to_string(),
    })
}

fn limit(what: &'static str, got: usize, limit: usize) -> Result<(), BlockError> {
    if got <= limit {
        Ok(())
    } else {
        Err(BlockError::Limit { what, got, limit })
    }
}

/// Checks everything that the header alone shows. No hashing.
///
/// # Errors
/// [`BlockError`] naming the first field that does not hold.
pub fn check_header<S>(chain: &Chain, parent: &Parent<S>, header: &Header) -> Result<(), BlockError> {
    field("version", &BLOCK_VERSION, &header.version)?;
    let height = parent.header.height.saturating_add(1);
    field("height", &height, &header.height)?;
    field("parent", &parent.hash, &header.parent)?;
    field("ticks", &chain.params.ticks_in_round(header.round), &header.ticks)?;
    field(
        "poh_seq",
        &chain.pace(header.round)?.sequence_after(parent.header.poh_seq)?,
        &header.poh_seq,
    )?;
    let proposer = parent.schedule.proposer(&chain.validators, height, header.round);
    let proposer =
        proposer.ok_or_else(|| BlockError::Execution("the schedule has no proposer".to_owned()))?;
    field("proposer", &proposer.key, &header.proposer)?;
    field("params_hash", &chain.params_hash, &header.params_hash)?;
    field("validators_hash", &chain.validators_hash, &header.validators_hash)?;
    field(
        "next_validators_hash",
        &chain.validators_hash,
        &header.next_validators_hash,
    )?;
    let earliest = planted::earliest_time(chain.earliest_time(&parent.header, header.ticks));
    if header.time < earliest {
        return Err(BlockError::Field {
            field: "time",
            expected: format!("{earliest} or later"),
            got: header.time.to_string(),
        });
    }
    Ok(())
}

/// Returns true if a new proposal arrives near the time that its header names, by the clock of this node. It
/// is not part of validity, since two honest nodes may disagree: a node that finds a block untimely prevotes
/// nil in its round, and accepts it when the others do.
///
/// The earliest time that a block may name is always timely: when the chain's time is ahead of the clocks,
/// nothing else can follow. The time allowed for a message grows with each round, so that a network slower
/// than its parameters assume makes progress.
pub fn is_timely<S>(chain: &Chain, parent: &Parent<S>, header: &Header, clock: TimeMs) -> bool {
    let rounds = u64::from(header.round.0).saturating_add(1);
    let delay = u64::from(chain.params.message_delay_ms).saturating_mul(rounds);
    let tolerance = u64::from(chain.params.clock_precision_ms).saturating_add(delay);
    header.time == chain.earliest_time(&parent.header, header.ticks)
        || header.time.0.abs_diff(clock.0) <= planted::clock_tolerance_ms(tolerance)
}

/// Checks a body against its header and everything it refers to, except its ticks, the signatures of
/// transactions and execution.
fn check_body<S>(chain: &Chain, parent: &Parent<S>, header: &Header, body: &Body) -> Result<(), BlockError> {
    let inner = body.v1();
    limit("number of ticks", inner.ticks.len(), usize::from(header.ticks))?;
    limit(
        "number of transactions",
        body.transaction_count(),
        chain.params.block_transactions_max as usize,
    )?;
    let bytes = body
        .transactions()
        .fold(0usize, |sum, tx| sum.saturating_add(transaction_bytes(tx)));
    limit(
        "bytes of transactions",
        bytes,
        chain.params.block_bytes_max as usize,
    )?;
    Demand::default().of_block(body.transactions(), &chain.params)?;
    limit("number of evidence", inner.evidence.len(), EVIDENCE_MAX)?;
    limit(
        "bytes of evidence",
        evidence_bytes(&inner.evidence),
        chain.params.block_evidence_bytes_max as usize,
    )?;

    match (&inner.last_commit, header.height.0) {
        (None, 0 | 1) => field("last_commit_hash", &Hash::ZERO, &header.last_commit_hash)?,
        (Some(certificate), 2..) => {
            field("last_commit_hash", &certificate.hash(), &header.last_commit_hash)?;
            certificate.verify(
                &chain.genesis,
                chain.fault_model(),
                &chain.validators,
                parent.header.height,
                &parent.hash,
            )?;
        }
        (found, _) => {
            let (expected, got) = if found.is_some() {
                ("none", "one")
            } else {
                ("one", "none")
            };
            return Err(BlockError::Field {
                field: "last_commit",
                expected: expected.to_owned(),
                got: got.to_owned(),
            });
        }
    }

    field("evidence_root", &body.evidence_root(), &header.evidence_root)?;
    let mut seen = BTreeSet::new();
    for (index, evidence) in inner.evidence.iter().enumerate() {
        let fault = |detail: String| BlockError::Evidence { index, detail };
        let (_, at) = evidence.offender();
        if at > header.height || at.saturating_add(chain.params.evidence_age_max) < header.height {
            return Err(fault(format!(
                "it is about height {at}, the block has {}",
                header.height
            )));
        }
        if !seen.insert(evidence.offence()) {
            return Err(fault("its offence is in the block twice".to_owned()));
        }
        planted::verify_evidence(chain, evidence).map_err(|e: EvidenceError| fault(e.to_string()))?;
    }
    Ok(())
}

/// Total bytes of these pieces of evidence.
pub(crate) fn evidence_bytes<'e>(evidence: impl IntoIterator<Item = &'e Evidence>) -> usize {
    evidence
        .into_iter()
        .fold(0usize, |sum, piece| sum.saturating_add(encoded_len(piece)))
}

/// Checks that no block below has recorded an offence of this body: each is recorded once. No hashing, but
/// one state read for each piece.
fn check_unrecorded<S: State>(chain: &Chain, parent: &Parent<S>, body: &Body) -> Result<(), Stop> {
    for (index, evidence) in body.v1().evidence.iter().take(EVIDENCE_MAX).enumerate() {
        if planted::recorded(is_recorded(chain, &parent.state, &evidence.offence())?) {
            let detail = "a block below has recorded this offence".to_owned();
            return Err(BlockError::Evidence { index, detail }.into());
        }
    }
    Ok(())
}

/// Returns true if a block up to this state has recorded the offence, as far as that still matters.
pub(crate) fn is_recorded<S: State>(chain: &Chain, state: &S, offence: &Offence) -> Result<bool, JudgeError> {
    let record = read_offences(state, offence.height).map_err(|error| JudgeError(error.to_string()))?;
    Ok(record.is_some_and(|record| record.has(&chain.validators, offence)))
}

/// The Merkle roots of a body's ticks.
fn tick_roots(body: &Body) -> Vec<Hash> {
    let hashes = |tick: &Tick| {
        tick.transactions
            .iter()
            .map(Transaction::hash)
            .collect::<Vec<_>>()
    };
    body.v1()
        .ticks
        .iter()
        .map(|tick| tick_root(&hashes(tick)))
        .collect()
}

/// Checks the Proof of History of a body whose ticks have these roots.
fn check_history(chain: &Chain, header: &Header, body: &Body, roots: &[Hash]) -> Result<(), BlockError> {
    field("tx_root", &merkle::root(roots), &header.tx_root)?;
    let ticks: Vec<SealedTick> = body
        .v1()
        .ticks
        .iter()
        .zip(roots)
        .map(|(tick, root)| SealedTick {
            hash: tick.hash,
            mixin: *root,
        })
        .collect();
    let start = seed(header.parent, header.height.0, header.round.0, &header.proposer.0);
    planted::verify_poh(chain.pace(header.round)?, start, &ticks)?;
    let last = ticks.last().map_or(start, |tick| tick.hash);
    field("poh_hash", &last, &header.poh_hash)
}

/// Finds the transactions whose signatures have been checked already (by their hash over all bytes,
/// signature included) and checks the others in one batch.
fn verify_transactions(
    chain: &Chain,
    body: &Body,
    known: &impl Fn(&Hash) -> Option<VerifiedTransaction>,
) -> Result<Vec<VerifiedTransaction>, BlockError> {
    let mut verified: Vec<Option<VerifiedTransaction>> =
        body.transactions().map(|tx| known(&tx.hash())).collect();
    let (at, unknown): (Vec<usize>, Vec<Transaction>) = body
        .transactions()
        .enumerate()
        .zip(&verified)
        .filter(|(_, found)| found.is_none())
        .map(|((index, transaction), _)| (index, transaction.clone()))
        .unzip();
    // In batches; the first with an invalid signature is the last checked.
    let batches = unknown.chunks(SIGNATURES_AT_ONCE);
    let verdicts = batches.flat_map(|some| Transaction::verify_batch(some.to_vec(), &chain.genesis));
    for (index, verdict) in at.into_iter().zip(verdicts) {
        let checked = verdict.map_err(|fault| BlockError::Transaction { index, fault })?;
        if let Some(slot) = verified.get_mut(index) {
            *slot = Some(checked);
        }
    }
    Ok(verified.into_iter().flatten().collect())
}

/// Judges a whole block.
///
/// `known` returns transactions whose signatures this node has checked before.
pub fn judge<S: State>(
    chain: &Chain,
    parent: &Parent<S>,
    header: &Header,
    body: &Body,
    known: &impl Fn(&Hash) -> Option<VerifiedTransaction>,
) -> Validation<S> {
    let validate = || {
        check_header(chain, parent, header)?;
        check_unrecorded(chain, parent, body)?;
        planted::body_check(header, body, || {
            check_body(chain, parent, header, body)?;
            announce(&parent.state, body.transactions());
            check_history(chain, header, body, &tick_roots(body))
        })?;
        let transactions = verify_transactions(chain, body, known)?;
        execute(chain, parent, header, body, &transactions)
    };
    validate().into()
}

/// Results on a block's ticks from while they were streamed in: their Proof of History holds and their
/// transactions have been executed.
pub struct Streamed<S: State> {
    /// The ticks' Merkle roots.
    pub roots: Vec<Hash>,
    /// The last tick's hash.
    pub tip: Hash,
    /// The executor after the last tick.
    pub executor: BlockExecutor<S>,
    /// Identifiers of the transactions, in block order.
    pub ids: Vec<Hash>,
}

/// Judges a block whose ticks were checked while they arrived; the verdict is that of [`judge`].
pub fn judge_streamed<S: State>(
    chain: &Chain,
    parent: &Parent<S>,
    header: &Header,
    body: &Body,
    mut streamed: Streamed<S>,
) -> Validation<S> {
    let validate = || {
        check_header(chain, parent, header)?;
        check_unrecorded(chain, parent, body)?;
        check_body(chain, parent, header, body)?;
        field("tx_root", &merkle::root(&streamed.roots), &header.tx_root)?;
        field("poh_hash", &streamed.tip, &header.poh_hash)?;
        let offences = body.v1().evidence.iter().map(Evidence::offence);
        streamed.executor.record_offences(offences);
        let outcome = streamed
            .executor
            .finish(header.round)
            .map_err(|error| JudgeError(error.to_string()))?;
        conclude(parent, header, outcome, streamed.ids)
    };
    validate().into()
}

fn execute<S: State>(
    chain: &Chain,
    parent: &Parent<S>,
    header: &Header,
    body: &Body,
    transactions: &[VerifiedTransaction],
) -> Result<Executed<S>, Stop> {
    let Some((_, proposer)) = chain.validators.find(&header.proposer) else {
        return Err(BlockError::Execution("the proposer is not a validator".to_owned()).into());
    };
    let context = chain.block_context(header.height, proposer.payout);
    let offences = body.v1().evidence.iter().map(Evidence::offence);
    let executed = execute_block(&parent.state, context, transactions, offences, header.round);
    let outcome = executed.map_err(|error| match error {
        // A transaction that triggers a bug makes the block invalid too: the same program returns the same
        // verdict everywhere, and no block stops every validator at once.
        ExecutionError::Invalid { .. } | ExecutionError::Panicked { .. } => {
            Stop::Invalid(BlockError::Execution(error.to_string()))
        }
        error => Stop::Fault(JudgeError(error.to_string())),
    })?;
    let ids = transactions.iter().map(|tx| *tx.id()).collect();
    conclude(parent, header, outcome, ids)
}

/// Applies the results of execution, and compares the roots.
fn conclude<S: State>(
    parent: &Parent<S>,
    header: &Header,
    outcome: BlockOutcome,
    ids: Vec<Hash>,
) -> Result<Executed<S>, Stop> {
    let (state, diff) = parent
        .state
        .apply(&outcome.changes)
        .map_err(|e: StateError| JudgeError(e.to_string()))?;
    field("receipt_root", &outcome.receipts.root(), &header.receipt_root)?;
    field(
        "state_root",
        &planted::state_root(&state, header),
        &header.state_root,
    )?;
    Ok(Executed {
        outcome,
        diff,
        state,
        ids,
    })
}
