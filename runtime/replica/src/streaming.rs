//! Blocks that are streamed in: the assemblies of the height being decided, and parts of the next height.

use std::collections::VecDeque;
use std::sync::Arc;

use vibecoin_consensus::{Progress, Verdict};
use vibecoin_execution::State;
use vibecoin_mempool::Mempool;
use vibecoin_primitives::limits::{MIB, TICKS_MAX};
use vibecoin_primitives::{
    BlockPart, Body, Evidence, Hash, Header, Height, PartContent, PublicKey, Round, transaction_bytes,
};

use crate::assembly::{Assembly, Taken};
use crate::check::{Streamed, Verified};
use crate::tip::Tip;
use crate::validation::JudgeError;

/// Maximum number of blocks streamed in at once: those of so many rounds.
pub const ASSEMBLIES_MAX: usize = 4;
/// Maximum number of parts of the next height's block kept until this height is committed.
pub const LATER_PARTS_MAX: usize = 2 * (TICKS_MAX + 1);
/// Maximum bytes of transactions in them.
pub const LATER_PARTS_BYTES_MAX: usize = 8 * MIB;

/// Outcome of a part of the height being decided.
pub(crate) enum Reception {
    /// It is new, and so much of its block is here.
    Fresh {
        /// Round and proposer of the block.
        of: (Round, PublicKey),
        progress: Progress,
        /// True if the part holds a transaction. An idle proposer streams the parts it has and then waits for a
        /// transaction: a block is under way, and may be missed, only when a part holds one.
        under_way: bool,
    },
    /// The proposer signed different content for the same position.
    Conflict(Evidence),
    /// Nothing follows from it.
    Settled(Verdict),
}

/// A part of the next height's block, with its transactions that are known as checked.
struct Later {
    part: BlockPart,
    verified: Arc<Verified>,
    bytes: usize,
}

/// Blocks that are streamed in.
pub(crate) struct Streaming<S: State> {
    /// At most [`ASSEMBLIES_MAX`], one for each round and proposer.
    assemblies: Vec<Assembly<S>>,
    /// Parts that arrived while the height before theirs was being committed, oldest first; at most
    /// [`LATER_PARTS_MAX`].
    later: VecDeque<Later>,
    /// Sum of `bytes` over `later`; at most [`LATER_PARTS_BYTES_MAX`].
    later_bytes: usize,
}

impl<S: State> Default for Streaming<S> {
    fn default() -> Self {
        Self {
            assemblies: Vec::new(),
            later: VecDeque::new(),
            later_bytes: 0,
        }
    }
}

impl<S: State> Streaming<S> {
    /// Drops the assemblies; parts that were kept for later remain.
    pub fn begin_height(&mut self) {
        self.assemblies.clear();
    }

    /// Checks a part from outside: turn, capacity, content and signature, in this order. `own` is this node's key,
    /// whose parts are verified even if they will not be kept: they show that the key signs elsewhere.
    ///
    /// # Errors
    /// The verdict on a part of which nothing more is needed.
    pub fn check(
        &self,
        tip: &Tip<S>,
        part: &BlockPart,
        own: Option<PublicKey>,
        is_committing: bool,
    ) -> Result<(), Verdict> {
        let statement = &part.signed.statement;
        let of = (statement.round, statement.proposer);
        let next = tip.next_height();
        // While a block is being committed, parts of the next one begin to arrive.
        let is_ahead = next.0.checked_add(1) == Some(statement.height.0);
        if (statement.height != next && !is_ahead) || !tip.is_validator(&statement.proposer) {
            return Err(Verdict::Ignored);
        }
        if !is_ahead && !tip.is_turn(of) {
            return Err(Verdict::Ignored);
        }
        let known = self.assemblies.iter().find(|a| a.of() == of);
        let known = known.and_then(|a| a.statement(statement.sequence));
        if known.is_some_and(|known| known.statement == *statement) {
            return Err(Verdict::Known);
        }
        if usize::try_from(statement.sequence).unwrap_or(usize::MAX) > TICKS_MAX {
            return Err(Verdict::Rejected("a part past the end of its block"));
        }
        if Some(statement.proposer) != own {
            if is_ahead || is_committing {
                self.check_later(part)?;
            } else if statement.parent != tip.parent().hash {
                return Err(Verdict::Ignored);
            }
        }
        if !part.is_whole() {
            return Err(Verdict::Rejected("a part with another content than was signed"));
        }
        if part.signed.verify(&tip.chain().genesis).is_err() {
            return Err(Verdict::Rejected("bad signature of a part"));
        }
        Ok(())
    }

    /// Takes a part of the height being decided; its signature was checked.
    ///
    /// # Errors
    /// [`JudgeError`] when this node cannot read its own state.
    pub fn take(
        &mut self,
        tip: &Tip<S>,
        pool: &Mempool,
        part: BlockPart,
        verified: &Verified,
    ) -> Result<Reception, JudgeError> {
        let statement = &part.signed.statement;
        let of = (statement.round, statement.proposer);
        if statement.parent != tip.parent().hash || !tip.is_turn(of) {
            return Ok(Reception::Settled(Verdict::Ignored));
        }
        let under_way = match &part.content {
            PartContent::Tick(tick) => !tick.transactions.is_empty(),
            PartContent::Opening { .. } => false,
        };
        let known = |hash: &Hash| pool.get_by_hash(hash).or_else(|| verified.get(hash)).cloned();
        let Some(assembly) = self.assembly(tip, of) else {
            return Ok(Reception::Settled(Verdict::Ignored));
        };
        Ok(match assembly.take(tip.chain(), part, &known)? {
            Taken::Fresh => Reception::Fresh {
                of,
                progress: assembly.progress(),
                under_way,
            },
            Taken::Known => Reception::Settled(Verdict::Known),
            Taken::Conflict(evidence) => Reception::Conflict(evidence),
            Taken::Beyond => Reception::Settled(Verdict::Rejected("parts of more than one block")),
        })
    }

    /// The assembly of this round and proposer; a new one replaces that of the lowest round.
    fn assembly(&mut self, tip: &Tip<S>, of: (Round, PublicKey)) -> Option<&mut Assembly<S>> {
        if !self.assemblies.iter().any(|assembly| assembly.of() == of) {
            if self.assemblies.len() >= ASSEMBLIES_MAX {
                let lowest = self.assemblies.iter().map(Assembly::of).min()?;
                if lowest > of {
                    return None;
                }
                self.assemblies.retain(|assembly| assembly.of() != lowest);
            }
            let assembly = Assembly::new(tip.chain(), tip.parent(), of.0, of.1)?;
            self.assemblies.push(assembly);
        }
        self.assemblies.iter_mut().find(|assembly| assembly.of() == of)
    }

    /// The block of a header from its parts, and the work that was done while they arrived. `None` when they are
    /// not all here, or belong to another block.
    pub fn finish(&mut self, header: &Header) -> Option<(Body, Option<Streamed<S>>)> {
        let of = (header.round, header.proposer);
        let mut assemblies = self.assemblies.iter_mut();
        let assembly = assemblies.find(|a| a.of() == of && a.is_whole())?;
        assembly.finish(header)
    }

    // ---- parts of the next height -------------------------------------------------------------

    /// Checks that a part for later would be kept, whatever its signature is.
    ///
    /// # Errors
    /// The verdict on a part that is not kept.
    fn check_later(&self, part: &BlockPart) -> Result<(), Verdict> {
        let statement = &part.signed.statement;
        if self
            .later
            .iter()
            .any(|later| later.part.signed.statement == *statement)
        {
            return Err(Verdict::Known);
        }
        let full = self.later_bytes.saturating_add(transactions_bytes(part));
        if self.later.len() >= LATER_PARTS_MAX || full > LATER_PARTS_BYTES_MAX {
            return Err(Verdict::Ignored);
        }
        Ok(())
    }

    /// Keeps a part until its height begins.
    pub fn keep_for_later(&mut self, part: BlockPart, verified: Arc<Verified>) -> Verdict {
        if let Err(verdict) = self.check_later(&part) {
            return verdict;
        }
        let bytes = transactions_bytes(&part);
        self.later_bytes = self.later_bytes.saturating_add(bytes);
        self.later.push_back(Later {
            part,
            verified,
            bytes,
        });
        Verdict::Fresh
    }

    /// Number of parts that are kept for later.
    pub fn later_count(&self) -> usize {
        self.later.len()
    }

    /// The oldest part that was kept for later: its height, the part, and its checked transactions.
    pub fn pop_later(&mut self) -> Option<(Height, BlockPart, Arc<Verified>)> {
        let Later {
            part,
            verified,
            bytes,
        } = self.later.pop_front()?;
        self.later_bytes = self.later_bytes.saturating_sub(bytes);
        Some((part.signed.statement.height, part, verified))
    }
}

/// Bytes of the transactions in a part.
fn transactions_bytes(part: &BlockPart) -> usize {
    match &part.content {
        PartContent::Opening { .. } => 0,
        PartContent::Tick(tick) => tick
            .transactions
            .iter()
            .fold(0usize, |sum, tx| sum.saturating_add(transaction_bytes(tx))),
    }
}
