//! A proposed block assembled from its parts: checked and executed tick by tick.
//!
//! ```text
//! part 0    part 1    part 2   ...  part T          proposal (header)
//! opening   tick 0    tick 1        tick T-1              │
//!             │ signatures, execution, Proof of History   ▼
//!             └────────── as they arrive ───────────▶  compare roots, vote
//! ```
//!
//! An assembly is not a verdict: it only has the work done before the header arrives. Any irregularity (an
//! invalid transaction, a wrong tick) ends the work, and the whole body is judged by [`crate::check::judge`]
//! once a proposal names it.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use vibecoin_consensus::Progress;
use vibecoin_execution::{BlockExecutor, ExecutionError, State};
use vibecoin_poh::{SealedTick, Verifier, seed};
use vibecoin_primitives::{
    BlockPart, Body, BodyV1, CommitCertificate, Demand, Evidence, Hash, Header, KnownKeys, PartContent,
    PublicKey, Round, SignedPart, Tick, Transaction, VerifiedTransaction, encode, tick_root,
    transaction_bytes,
};

use crate::check::{SIGNATURES_AT_ONCE, Streamed, evidence_bytes};
use crate::validation::JudgeError;
use crate::{Chain, Parent};

/// Ticks whose Proof of History is checked at once: they fill one vector of the widest verifier, or two of AVX2.
const TICKS_AT_ONCE: usize = 16;

/// Outcome of taking a part.
#[derive(Debug)]
pub enum Taken {
    /// It was new.
    Fresh,
    /// It was known already.
    Known,
    /// The proposer signed different content for the same position.
    Conflict(Evidence),
    /// It goes past the end of the block, or past a limit.
    Beyond,
}

/// The work done while parts arrive.
struct Work<S: State> {
    executor: BlockExecutor<S>,
    verifier: Verifier,
    /// Ticks whose Proof of History has not been checked yet.
    unchecked: Vec<SealedTick>,
    ids: Vec<Hash>,
}

/// A block of the next height, as far as received.
pub struct Assembly<S: State> {
    round: Round,
    proposer: PublicKey,
    tick_count: usize,
    /// One per part taken, by sequence number: a contradicting statement is evidence.
    statements: BTreeMap<u32, SignedPart>,
    /// Parts that arrived before their predecessors.
    early: BTreeMap<u32, BlockPart>,
    opening: Option<(Option<CommitCertificate>, Vec<Evidence>)>,
    ticks: Vec<Tick>,
    roots: Vec<Hash>,
    transactions: usize,
    bytes: usize,
    demand: Demand,
    /// `None` once an irregularity was found in the block.
    work: Option<Work<S>>,
}

impl<S: State> Assembly<S> {
    /// Starts empty. `None` when `proposer` is not a validator or the parameters allow no pace.
    pub fn new(chain: &Chain, parent: &Parent<S>, round: Round, proposer: PublicKey) -> Option<Self> {
        let height = parent.header.height.saturating_add(1);
        let (_, member) = chain.validators.find(&proposer)?;
        let start = seed(parent.hash, height.0, round.0, &proposer.0);
        let work = Work {
            executor: BlockExecutor::new(parent.state.clone(), chain.block_context(height, member.payout)),
            verifier: Verifier::new(chain.pace(round).ok()?, start),
            unchecked: Vec::new(),
            ids: Vec::new(),
        };
        Some(Self {
            round,
            proposer,
            tick_count: usize::from(chain.params.ticks_in_round(round)),
            statements: BTreeMap::new(),
            early: BTreeMap::new(),
            opening: None,
            ticks: Vec::new(),
            roots: Vec::new(),
            transactions: 0,
            bytes: 0,
            demand: Demand::default(),
            work: Some(work),
        })
    }

    /// The round and the proposer of the block.
    pub const fn of(&self) -> (Round, PublicKey) {
        (self.round, self.proposer)
    }

    /// The statement signed for this position, if a part was taken there.
    pub fn statement(&self, sequence: u32) -> Option<&SignedPart> {
        self.statements.get(&sequence)
    }

    /// Returns true if every part is here.
    pub fn is_whole(&self) -> bool {
        self.opening.is_some() && self.ticks.len() == self.tick_count
    }

    /// The parts that are here without a gap. None count once an irregularity was found: the block is
    /// invalid, and nothing is gained by waiting for the rest of it.
    pub fn progress(&self) -> Progress {
        let parts = match self.work {
            Some(_) => self.next_sequence(),
            None => 0,
        };
        Progress {
            parts,
            of: u32::try_from(self.tick_count)
                .unwrap_or(u32::MAX)
                .saturating_add(1),
        }
    }

    /// Takes a complete part whose signature and position were checked. `known` returns transactions whose
    /// signatures have been checked before.
    ///
    /// # Errors
    /// [`JudgeError`] when this node cannot read its own state.
    pub fn take(
        &mut self,
        chain: &Chain,
        part: BlockPart,
        known: &impl Fn(&Hash) -> Option<Arc<VerifiedTransaction>>,
    ) -> Result<Taken, JudgeError> {
        let sequence = part.signed.statement.sequence;
        if let Some(first) = self.statements.get(&sequence) {
            if first.statement == part.signed.statement {
                return Ok(Taken::Known);
            }
            return Ok(Taken::Conflict(Evidence::parts(first.clone(), part.signed)));
        }
        if !self.reserve(chain, &part) {
            return Ok(Taken::Beyond);
        }
        self.statements.insert(sequence, part.signed.clone());
        self.early.insert(sequence, part);
        while let Some(part) = self.early.remove(&self.next_sequence()) {
            self.append(chain, part.content, known)?;
        }
        Ok(Taken::Fresh)
    }

    /// The sequence number of the next part.
    fn next_sequence(&self) -> u32 {
        if self.opening.is_none() {
            return 0;
        }
        u32::try_from(self.ticks.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    /// Reserves capacity for a part; false if its block exceeds the limits. Bounds the memory that a Byzantine
    /// proposer can occupy: never more than one block.
    fn reserve(&mut self, chain: &Chain, part: &BlockPart) -> bool {
        let tick = match &part.content {
            PartContent::Tick(tick) => tick,
            PartContent::Opening { evidence, .. } => {
                return evidence_bytes(evidence) <= chain.params.block_evidence_bytes_max as usize;
            }
        };
        let size = |sum: usize, tx: &Transaction| sum.saturating_add(transaction_bytes(tx));
        let bytes = tick.transactions.iter().fold(self.bytes, size);
        let transactions = self.transactions.saturating_add(tick.transactions.len());
        let sequence = usize::try_from(part.signed.statement.sequence).unwrap_or(usize::MAX);
        let fits = sequence <= self.tick_count
            && transactions <= chain.params.block_transactions_max as usize
            && bytes <= chain.params.block_bytes_max as usize;
        // Before any signature check: the demand of a block follows from its bytes.
        let demand = self.demand.of_block(&tick.transactions, &chain.params);
        let (true, Ok(demand)) = (fits, demand) else {
            return false;
        };
        (self.bytes, self.transactions, self.demand) = (bytes, transactions, demand);
        true
    }

    fn append(
        &mut self,
        chain: &Chain,
        content: PartContent,
        known: &impl Fn(&Hash) -> Option<Arc<VerifiedTransaction>>,
    ) -> Result<(), JudgeError> {
        match content {
            PartContent::Opening {
                last_commit,
                evidence,
            } => self.opening = Some((last_commit, evidence)),
            PartContent::Tick(tick) => {
                let hashes: Vec<Hash> = tick.transactions.iter().map(Transaction::hash).collect();
                let root = tick_root(&hashes);
                self.roots.push(root);
                let last = self.roots.len() == self.tick_count;
                if let Some(work) = &mut self.work {
                    let good =
                        work.execute(chain, &tick, &hashes, known)? && work.check_tick(&tick, root, last);
                    if !good {
                        self.work = None;
                    }
                }
                self.ticks.push(tick);
            }
        }
        Ok(())
    }

    /// Ends the assembly: the encoded body and the body, and the work done on it if no irregularity was
    /// found. `None` when parts are missing, or when these parts are not the block of the header.
    pub fn finish(&mut self, header: &Header) -> Option<(Body, Option<Streamed<S>>)> {
        if !self.is_whole() || (header.round, header.proposer) != (self.round, self.proposer) {
            return None;
        }
        let (last_commit, evidence) = self.opening.take()?;
        let body = Body::V1(BodyV1 {
            ticks: mem::take(&mut self.ticks),
            last_commit,
            evidence,
        });
        if vibecoin_primitives::body_hash(&encode(&body)) != header.body_hash {
            // Of another block by the same proposer: the parts are kept for the header that they belong to.
            let Body::V1(BodyV1 {
                ticks,
                last_commit,
                evidence,
            }) = body;
            self.ticks = ticks;
            self.opening = Some((last_commit, evidence));
            return None;
        }
        let roots = mem::take(&mut self.roots);
        let streamed = self.work.take().and_then(|work| {
            Some(Streamed {
                roots,
                tip: work.verifier.finish().ok()?,
                executor: work.executor,
                ids: work.ids,
            })
        });
        Some((body, streamed))
    }
}

impl<S: State> Work<S> {
    /// Returns true if every transaction of the tick is allowed in the block.
    fn execute(
        &mut self,
        chain: &Chain,
        tick: &Tick,
        hashes: &[Hash],
        known: &impl Fn(&Hash) -> Option<Arc<VerifiedTransaction>>,
    ) -> Result<bool, JudgeError> {
        self.executor.announce(&tick.transactions);
        let mut verified: Vec<Option<Arc<VerifiedTransaction>>> = hashes.iter().map(known).collect();
        let unknown = tick.transactions.iter().zip(&verified);
        let unknown: Vec<Transaction> = unknown
            .filter(|(_, found)| found.is_none())
            .map(|(transaction, _)| transaction.clone())
            .collect();
        // One invalid signature makes the block invalid: the others need no check.
        let mut slots = verified.iter_mut().filter(|slot| slot.is_none());
        for some in unknown.chunks(SIGNATURES_AT_ONCE) {
            let checked = Transaction::verify_all(some.to_vec(), &chain.genesis, &mut KnownKeys::default());
            let Some(checked) = checked else {
                return Ok(false);
            };
            for (transaction, slot) in checked.into_iter().zip(&mut slots) {
                *slot = Some(Arc::new(transaction));
            }
        }
        for transaction in verified.iter().flatten() {
            match self.executor.execute(transaction) {
                Ok(_) => self.ids.push(*transaction.id()),
                Err(ExecutionError::Invalid { .. } | ExecutionError::Panicked { .. }) => return Ok(false),
                Err(error) => return Err(JudgeError(error.to_string())),
            }
        }
        Ok(true)
    }

    /// Returns true if the Proof of History holds as far as it was checked; it is checked a few ticks at a time.
    fn check_tick(&mut self, tick: &Tick, root: Hash, last: bool) -> bool {
        self.unchecked.push(SealedTick {
            hash: tick.hash,
            mixin: root,
        });
        if !last && self.unchecked.len() < TICKS_AT_ONCE {
            return true;
        }
        self.verifier.push(&mem::take(&mut self.unchecked)).is_ok()
    }
}
