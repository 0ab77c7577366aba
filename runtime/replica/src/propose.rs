//! Making blocks in our turn, and streaming them to the validators during construction.

use vibecoin_consensus::MonoTime;
use vibecoin_execution::State;
use vibecoin_mempool::Mempool;
use vibecoin_primitives::{
    BlockPart, Hash, Height, PartContent, PartStatement, PublicKey, Round, SignedPart, TimeMs,
};

use crate::block_size::BlockSizeController;
use crate::build::{Builder, Built, Extras, Step};
use crate::candidates::EMPTY_FROM;
use crate::tip::Tip;
use crate::validation::JudgeError;

/// The block under construction.
struct Proposal<S: State> {
    builder: Builder<S>,
    /// Parts of it that have been sent: never more than its finished ticks and the opening.
    parts_sent: usize,
}

/// The proposer of this node.
pub(crate) struct Proposer<S: State> {
    proposal: Option<Proposal<S>>,
    /// Limit on the size of our own blocks.
    size: BlockSizeController,
}

impl<S: State> Default for Proposer<S> {
    fn default() -> Self {
        Self {
            proposal: None,
            size: BlockSizeController::default(),
        }
    }
}

impl<S: State> Proposer<S> {
    /// Drops the block under construction: another one was decided.
    pub fn stop(&mut self) {
        self.proposal = None;
    }

    /// A round began: a block for a past round would be finished, logged and sent without use.
    pub fn on_round(&mut self, height: Height, round: Round) {
        let proposal = self.proposal.as_ref();
        if proposal.is_some_and(|proposal| proposal.builder.position() != (height, round)) {
            self.proposal = None;
        }
    }

    /// A block became durable `took` microseconds after its parent.
    pub fn on_committed(&mut self, tip: &Tip<S>, took: u64, operations: usize, round: Round) {
        let params = &tip.chain().params;
        self.size.on_block(
            took,
            params.ticks_ms(params.ticks_per_block).saturating_mul(1000),
            operations,
            round == Round::ZERO,
            params.block_operations_max as usize,
        );
    }

    /// Starts a block on the head.
    ///
    /// # Errors
    /// [`JudgeError`] when the parameters allow no pace or the proposer is not a validator.
    pub fn start(
        &mut self,
        tip: &Tip<S>,
        round: Round,
        proposer: PublicKey,
        extras: Extras,
        now: MonoTime,
    ) -> Result<(), JudgeError> {
        let hold = if round == Round::ZERO {
            tip.hold_until()
        } else {
            Some(now)
        };
        let operations_max = if round >= EMPTY_FROM {
            0
        } else {
            self.size.limit(tip.chain().params.block_operations_max as usize)
        };
        let builder = Builder::new(
            tip.chain().clone(),
            tip.parent().clone(),
            tip.next_height(),
            round,
            proposer,
            extras,
            now,
            hold,
            operations_max,
        )?;
        self.proposal = Some(Proposal {
            builder,
            parts_sent: 0,
        });
        Ok(())
    }

    /// The parts that are ready and not yet sent, as far as `sign` signs them.
    pub fn next_parts(
        &mut self,
        proposer: PublicKey,
        mut sign: impl FnMut(PartStatement) -> Option<SignedPart>,
    ) -> Vec<BlockPart> {
        let mut parts = Vec::new();
        let Some(Proposal { builder, parts_sent }) = &mut self.proposal else {
            return parts;
        };
        let (height, round) = builder.position();
        let parent = builder.parent_hash();
        while let Some(content) = content(builder, *parts_sent) {
            let statement = PartStatement {
                height,
                round,
                proposer,
                parent,
                sequence: u32::try_from(*parts_sent).unwrap_or(u32::MAX),
                digest: content.digest(),
            };
            let Some(signed) = sign(statement) else { break };
            parts.push(BlockPart { signed, content });
            *parts_sent = parts_sent.saturating_add(1);
        }
        parts
    }

    /// Time of the next call of [`Self::step`]; `None` while only a transaction can end the wait.
    pub fn due(&self, pool: &Mempool) -> Option<MonoTime> {
        let proposal = self.proposal.as_ref()?;
        proposal.builder.due(!pool.has_pending())
    }

    /// Performs one step of construction, if one is due at `now`.
    ///
    /// # Errors
    /// [`JudgeError`] when this node cannot read its own state.
    pub fn step(&mut self, pool: &mut Mempool, now: MonoTime) -> Result<Option<Step>, JudgeError> {
        let due = self.due(pool).is_some_and(|due| due <= now);
        let Some(proposal) = self.proposal.as_mut().filter(|_| due) else {
            return Ok(None);
        };
        proposal.builder.step(pool, now).map(Some)
    }

    /// Closes the block, whose last step is done.
    ///
    /// # Errors
    /// [`JudgeError`] when this node cannot read its own state.
    pub fn finish(&mut self, wall: TimeMs) -> Result<Option<Built<S>>, JudgeError> {
        let proposal = self.proposal.take();
        proposal.map(|proposal| proposal.builder.finish(wall)).transpose()
    }

    /// The block under construction: its height, the number of ticks done, and the newest hash.
    pub fn progress(&self) -> Option<(Height, u32, Hash)> {
        let proposal = self.proposal.as_ref();
        proposal.map(|proposal| proposal.builder.progress())
    }

    /// Delay of the end of the newest tick, in microseconds.
    pub fn behind_us(&self) -> Option<u64> {
        let proposal = self.proposal.as_ref();
        proposal.map(|proposal| proposal.builder.behind_us())
    }
}

/// The content of part `sequence` of a block, once its tick is done.
fn content<S: State>(builder: &Builder<S>, sequence: usize) -> Option<PartContent> {
    match sequence.checked_sub(1) {
        None => Some(builder.opening()),
        Some(tick) => {
            let tick = builder.ticks().get(tick)?;
            Some(PartContent::Tick(tick.clone()))
        }
    }
}
