//! Blocks of the current height.

use std::collections::BTreeMap;

use vibecoin_primitives::{Hash, Header, Round};

use crate::Output;
use crate::context::BlockValue;

/// Progress of a block.
#[derive(Clone, Copy, Debug)]
enum BlockStatus {
    /// A scheduled proposer signed a proposal for it; the caller has not checked it.
    Proposed,
    /// The caller built or checked it, and the core has not accepted the verdict.
    Checked { valid: bool },
    /// The core accepted the verdict.
    Accepted { valid: bool },
}

impl BlockStatus {
    const fn verdict(self) -> Option<bool> {
        match self {
            Self::Proposed => None,
            Self::Checked { valid } | Self::Accepted { valid } => Some(valid),
        }
    }
}

struct Block {
    value: BlockValue,
    /// The round in which it was seen first.
    round: Round,
    status: BlockStatus,
}

/// Consequence of a proposal for a block.
pub(crate) enum AfterProposal {
    /// The caller has to check the block.
    Check(Output),
    /// The check was requested before.
    AwaitVerdict,
    /// The core has capacity for the verdict now, which arrived before the proposal.
    Feed { valid: bool },
    /// The core has the verdict.
    Nothing,
}

/// Blocks by hash. A block enters it by a proposal, by a verdict, or from the log.
#[derive(Default)]
pub(crate) struct Blocks {
    by_hash: BTreeMap<Hash, Block>,
}

impl Blocks {
    fn entry(&mut self, value: &BlockValue, round: Round, status: BlockStatus) -> &mut Block {
        self.by_hash.entry(value.hash()).or_insert_with(|| Block {
            value: value.clone(),
            round,
            status,
        })
    }

    /// Records a block that this node built, which is valid.
    pub fn on_built(&mut self, value: &BlockValue, round: Round) {
        let valid = true;
        let block = self.entry(value, round, BlockStatus::Checked { valid });
        block.status = match block.status {
            BlockStatus::Proposed | BlockStatus::Checked { .. } => BlockStatus::Checked { valid },
            BlockStatus::Accepted { .. } => BlockStatus::Accepted { valid },
        };
    }

    /// Records the verdict of the caller. Returns false if there was one before, which stays.
    pub fn on_checked(&mut self, value: &BlockValue, round: Round, valid: bool) -> bool {
        let block = self.entry(value, round, BlockStatus::Proposed);
        let is_first = block.status.verdict().is_none();
        if is_first {
            block.status = BlockStatus::Checked { valid };
        }
        is_first
    }

    /// Records a verdict that the log holds.
    pub fn on_logged(&mut self, value: &BlockValue, round: Round, valid: bool) {
        let status = BlockStatus::Accepted { valid };
        self.entry(value, round, status).status = status;
    }

    /// Records that the core accepted the verdict on a block.
    pub fn on_accepted(&mut self, hash: &Hash, valid: bool) {
        if let Some(block) = self.by_hash.get_mut(hash) {
            let valid = block.status.verdict().unwrap_or(valid);
            block.status = BlockStatus::Accepted { valid };
        }
    }

    /// Records that the core accepted a proposal of the scheduled proposer.
    pub fn on_proposed(&mut self, value: &BlockValue, round: Round) -> AfterProposal {
        let Some(block) = self.by_hash.get_mut(&value.hash()) else {
            return AfterProposal::Check(self.entry(value, round, BlockStatus::Proposed).check());
        };
        match block.status {
            BlockStatus::Proposed => AfterProposal::AwaitVerdict,
            BlockStatus::Checked { valid } => {
                block.status = BlockStatus::Accepted { valid };
                AfterProposal::Feed { valid }
            }
            BlockStatus::Accepted { .. } => AfterProposal::Nothing,
        }
    }

    pub fn header(&self, hash: &Hash) -> Option<&Header> {
        self.by_hash.get(hash).map(|block| block.value.header())
    }

    /// Blocks that are invalid, in ascending order.
    pub fn invalid(&self) -> impl Iterator<Item = Hash> {
        let invalid = |block: &Block| block.status.verdict() == Some(false);
        let blocks = self.by_hash.iter();
        blocks
            .filter(move |(_, block)| invalid(block))
            .map(|(hash, _)| *hash)
    }

    /// Requests to check the blocks that are proposed and not checked.
    pub fn checks(&self) -> Vec<Output> {
        let blocks = self.by_hash.values();
        let unchecked = blocks.filter(|block| matches!(block.status, BlockStatus::Proposed));
        unchecked.map(Block::check).collect()
    }
}

impl Block {
    fn check(&self) -> Output {
        Output::Check {
            header: Box::new(self.value.header().clone()),
            round: self.round,
        }
    }
}
