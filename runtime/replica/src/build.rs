//! Making a block: ticks are hashed on time, transactions are executed as their tick ends.
//!
//! ```text
//! window of a tick   │ N-1 hashes in one burst │ ... wait ... │ take, execute, mix in │
//!                    └ start                                  └ start + tick_ms
//! ```
//!
//! The last tick that takes transactions is held open while the pool is empty, so an idle chain answers at
//! once; the empty-block interval ends the wait. The quiet ticks follow, which take nothing, so that the
//! state root is ready with the last hash. A builder that falls behind moves its schedule instead of rushing
//! through more than [`CATCH_UP_TICKS`].

use vibecoin_consensus::MonoTime;
use vibecoin_execution::{BlockExecutor, ExecutionError, State};
use vibecoin_mempool::{BlockSpace, Mempool, Selection};
use vibecoin_poh::{Chain as PohChain, seed};
use vibecoin_primitives::{
    BLOCK_VERSION, Body, BodyV1, CommitCertificate, Evidence, Hash, Header, Height, PartContent, PublicKey,
    Round, Tick, TimeMs, VerifiedTransaction, body_hash, encode, merkle, tick_root,
};

use crate::check::evidence_bytes;
use crate::validation::{Executed, JudgeError};
use crate::{Chain, Parent};

/// Number of ticks that a builder makes up for after falling behind.
pub const CATCH_UP_TICKS: u64 = 4;

/// A finished block with the results of executing it.
#[derive(Clone, Debug)]
pub struct Built<S> {
    /// The header, ready to be proposed.
    pub header: Header,
    /// The decoded body.
    pub body: Body,
    /// Receipts, diff, state.
    pub executed: Executed<S>,
}

enum Phase {
    /// Next: the burst of hashes at the start of the window.
    Burst,
    /// Next: taking transactions and mixing in.
    Mix,
}

/// Outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again at [`Builder::due`].
    Continue,
    /// The last tick is done: call [`Builder::finish`].
    Complete,
}

/// Contents of a block besides transactions.
pub struct Extras {
    /// The parent's certificate; `None` at height 1.
    pub last_commit: Option<CommitCertificate>,
    /// Double signatures to punish.
    pub evidence: Vec<Evidence>,
}

/// A block under construction.
pub struct Builder<S: State> {
    chain: Chain,
    parent: Parent<S>,
    height: Height,
    round: Round,
    proposer: PublicKey,
    extras: Extras,
    executor: BlockExecutor<S>,
    poh: PohChain,
    selection: Selection,
    ticks: Vec<Tick>,
    roots: Vec<Hash>,
    ids: Vec<Hash>,
    space: BlockSpace,
    /// Operations of the transactions that were taken.
    operations: u64,
    window: MonoTime,
    phase: Phase,
    /// Delay of the end of the newest tick, in microseconds.
    behind_us: u64,
    /// Time until which the last intake tick is held open for a first transaction; `None` is without end.
    hold_until: Option<MonoTime>,
    /// Number of operations after which this block takes no more transactions.
    operations_max: usize,
}

impl<S: State> Builder<S> {
    /// Starts a block on `parent` at `now`.
    ///
    /// # Errors
    /// [`JudgeError`] when the parameters allow no pace or the proposer is not a validator.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different fact, and there is one caller"
    )]
    pub fn new(
        chain: Chain,
        parent: Parent<S>,
        height: Height,
        round: Round,
        proposer: PublicKey,
        mut extras: Extras,
        now: MonoTime,
        hold_until: Option<MonoTime>,
        operations_max: usize,
    ) -> Result<Self, JudgeError> {
        let Some((_, member)) = chain.validators.find(&proposer) else {
            return Err(JudgeError(format!("{proposer} proposes but is not a validator")));
        };
        let bytes_max = chain.params.block_evidence_bytes_max as usize;
        let within = (0..=extras.evidence.len())
            .rev()
            .find(|count| evidence_bytes(extras.evidence.iter().take(*count)) <= bytes_max);
        extras.evidence.truncate(within.unwrap_or(0));
        let mut executor =
            BlockExecutor::new(parent.state.clone(), chain.block_context(height, member.payout));
        executor.record_offences(extras.evidence.iter().map(Evidence::offence));
        let start = seed(parent.hash, height.0, round.0, &proposer.0);
        let pace = chain.pace(round).map_err(|e| JudgeError(e.to_string()))?;
        Ok(Self {
            executor,
            poh: PohChain::new(pace, start),
            selection: Selection::default(),
            ticks: Vec::new(),
            roots: Vec::new(),
            ids: Vec::new(),
            space: BlockSpace::of_block(&chain.params),
            operations: 0,
            window: now,
            phase: Phase::Burst,
            behind_us: 0,
            hold_until,
            operations_max,
            chain,
            parent,
            height,
            round,
            proposer,
            extras,
        })
    }

    /// The height and round that this block is for.
    #[must_use]
    pub const fn position(&self) -> (Height, Round) {
        (self.height, self.round)
    }

    /// The height, the number of ticks done, and the newest hash.
    #[must_use]
    pub fn progress(&self) -> (Height, u32, Hash) {
        (
            self.height,
            u32::try_from(self.ticks.len()).unwrap_or(u32::MAX),
            self.poh.hash(),
        )
    }

    /// Delay of the newest tick's end after its due time, in microseconds.
    #[must_use]
    pub const fn behind_us(&self) -> u64 {
        self.behind_us
    }

    /// The contents of the block besides ticks, as its first part.
    #[must_use]
    pub fn opening(&self) -> PartContent {
        PartContent::Opening {
            last_commit: self.extras.last_commit.clone(),
            evidence: self.extras.evidence.clone(),
        }
    }

    /// The hash of the block that this one builds on.
    #[must_use]
    pub const fn parent_hash(&self) -> Hash {
        self.parent.hash
    }

    /// The ticks that are done.
    #[must_use]
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    fn tick_us(&self) -> u64 {
        u64::from(self.chain.params.tick_ms).saturating_mul(1000)
    }

    fn tick_count(&self) -> usize {
        usize::from(self.chain.params.ticks_in_round(self.round))
    }

    /// Number of ticks that take transactions, minimum one.
    fn intake_ticks(&self) -> usize {
        self.tick_count()
            .saturating_sub(usize::from(self.chain.params.quiet_ticks))
            .max(1)
    }

    fn is_last_intake(&self) -> bool {
        self.ticks.len().saturating_add(1) == self.intake_ticks()
    }

    fn holds(&self, pool_is_empty: bool, now: MonoTime) -> bool {
        let waits = pool_is_empty && self.ids.is_empty() && self.is_last_intake();
        waits && self.hold_until.is_none_or(|until| now < until)
    }

    /// Number of transactions of the pool considered for this block so far.
    #[must_use]
    pub const fn looked_at(&self) -> u64 {
        self.selection.looked_at()
    }

    /// Time of the next call of [`Builder::step`]; `None` while only a transaction can end the wait.
    #[must_use]
    pub fn due(&self, pool_is_empty: bool) -> Option<MonoTime> {
        match self.phase {
            Phase::Burst => Some(self.window),
            Phase::Mix => {
                let end = MonoTime(self.window.0.saturating_add(self.tick_us()));
                if self.holds(pool_is_empty, end) {
                    return self.hold_until.map(|until| until.max(end));
                }
                Some(end)
            }
        }
    }

    /// Performs the work that is due at `now`, up to one phase of one tick.
    ///
    /// # Errors
    /// [`JudgeError`] when this node cannot read its own state.
    pub fn step(&mut self, pool: &mut Mempool, now: MonoTime) -> Result<Step, JudgeError> {
        let pool_is_empty = !pool.has_pending();
        let Some(due) = self.due(pool_is_empty).filter(|due| *due <= now) else {
            return Ok(Step::Continue);
        };
        match self.phase {
            Phase::Burst => {
                let hashes = u64::from(self.chain.params.hashes_per_tick);
                self.poh.advance(hashes.saturating_sub(1));
                self.phase = Phase::Mix;
                Ok(Step::Continue)
            }
            Phase::Mix => {
                // A tick that was held open for a transaction is due as soon as there is one: it has no
                // schedule to be behind.
                let held = self.is_last_intake() && self.hold_until.is_none_or(|until| self.window < until);
                self.behind_us = if held { 0 } else { now.0.saturating_sub(due.0) };
                if self.ticks.len() < self.intake_ticks() {
                    self.take(pool)?;
                } else {
                    self.seal(Vec::new(), &[])?;
                }
                let next = self.window.0.saturating_add(self.tick_us());
                let oldest = now
                    .0
                    .saturating_sub(CATCH_UP_TICKS.saturating_mul(self.tick_us()));
                self.window = MonoTime(next.max(oldest));
                self.phase = Phase::Burst;
                Ok(if self.ticks.len() < self.tick_count() {
                    Step::Continue
                } else {
                    Step::Complete
                })
            }
        }
    }

    /// Takes the transactions that the pool offers for this tick, executes them and mixes them in.
    fn take(&mut self, pool: &mut Mempool) -> Result<(), JudgeError> {
        let block_max = (self.chain.params.block_transactions_max as usize).min(self.operations_max);
        let limit = u64::try_from(self.operations_max).unwrap_or(u64::MAX);
        let tick_max = block_max.div_ceil(self.intake_ticks()).max(32);
        let mut transactions = Vec::new();
        let mut hashes = Vec::new();
        while transactions.len() < tick_max && self.ids.len() < block_max && self.operations < limit {
            // A transaction that does not fit into the block waits for the next one: none is refused for its size.
            let Some(next) = pool.next_within(&mut self.selection, &self.space) else {
                break;
            };
            if !self.execute(&next, pool)? {
                pool.skip_sender(&mut self.selection, &next.sender());
                continue;
            }
            pool.pin(&next);
            let need = BlockSpace::needed(&next, &self.chain.params);
            self.space = self.space.less(need);
            self.operations = self.operations.saturating_add(need.demand.operations);
            self.ids.push(*next.id());
            hashes.push(*next.hash());
            transactions.push(next.transaction().clone());
        }
        self.executor.announce(&transactions);
        self.seal(transactions, &hashes)
    }

    /// Returns true if the transaction was included; one that is not allowed is left out. One that triggers a
    /// bug of the executor leaves the pool for good, or every block of ours would trigger it again.
    fn execute(&mut self, transaction: &VerifiedTransaction, pool: &mut Mempool) -> Result<bool, JudgeError> {
        match self.executor.execute(transaction) {
            Ok(_) => Ok(true),
            Err(ExecutionError::Panicked { id, .. }) => {
                pool.set_aside(&id);
                Ok(false)
            }
            Err(ExecutionError::Invalid { .. }) => Ok(false),
            Err(error) => Err(JudgeError(error.to_string())),
        }
    }

    fn seal(
        &mut self,
        transactions: Vec<vibecoin_primitives::Transaction>,
        hashes: &[Hash],
    ) -> Result<(), JudgeError> {
        let root = tick_root(hashes);
        let sealed = self
            .poh
            .finish_tick(root)
            .map_err(|e| JudgeError(e.to_string()))?;
        self.ticks.push(Tick {
            hash: sealed.hash,
            transactions,
        });
        self.roots.push(root);
        Ok(())
    }

    /// Closes the block: state root, header. `wall` is this node's clock; the header's time is never earlier
    /// than the parent's time plus the duration of the ticks.
    ///
    /// # Errors
    /// [`JudgeError`] when this node cannot read its own state.
    pub fn finish(self, wall: TimeMs) -> Result<Built<S>, JudgeError> {
        let judge = JudgeError;
        let outcome = self
            .executor
            .finish(self.round)
            .map_err(|e| judge(e.to_string()))?;
        let (state, diff) = self
            .parent
            .state
            .apply(&outcome.changes)
            .map_err(|e| judge(e.to_string()))?;

        let ticks = self.ticks;
        let count = u16::try_from(ticks.len()).unwrap_or(u16::MAX);
        let poh_hash = ticks.last().map_or(Hash::ZERO, |tick| tick.hash);
        let poh_seq = self
            .chain
            .pace(self.round)
            .and_then(|pace| pace.sequence_after(self.parent.header.poh_seq))
            .map_err(|e| judge(e.to_string()))?;
        let last_commit_hash = self
            .extras
            .last_commit
            .as_ref()
            .map_or(Hash::ZERO, CommitCertificate::hash);
        let body = Body::V1(BodyV1 {
            ticks,
            last_commit: self.extras.last_commit,
            evidence: self.extras.evidence,
        });
        let evidence_root = body.evidence_root();
        let encoded = encode(&body);
        let earliest = self.chain.earliest_time(&self.parent.header, count);
        let header = Header {
            version: BLOCK_VERSION,
            height: self.height,
            round: self.round,
            proposer: self.proposer,
            parent: self.parent.hash,
            time: wall.max(earliest),
            ticks: count,
            poh_seq,
            poh_hash,
            body_hash: body_hash(&encoded),
            tx_root: merkle::root(&self.roots),
            receipt_root: outcome.receipts.root(),
            evidence_root,
            state_root: state.root(),
            validators_hash: self.chain.validators_hash,
            next_validators_hash: self.chain.validators_hash,
            params_hash: self.chain.params_hash,
            last_commit_hash,
        };
        Ok(Built {
            header,
            body,
            executed: Executed {
                outcome,
                diff,
                state,
                ids: self.ids,
            },
        })
    }
}
