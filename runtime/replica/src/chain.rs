//! One chain: its constants, which never change while it runs, and its newest block.

use std::sync::Arc;

use vibecoin_execution::BlockContext;
use vibecoin_poh::{Pace, PohError};
use vibecoin_primitives::{
    Address, ChainParams, CommitCertificate, FaultModel, Hash, Header, Height, ProposerSchedule, Round,
    TimeMs, ValidatorSet,
};

/// Constants that every rule of the chain needs.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Hash of block 0: names the chain in everything that is signed.
    pub genesis: Hash,
    /// The parameters of the chain.
    pub params: Arc<ChainParams>,
    /// `params.hash()`.
    pub params_hash: Hash,
    /// The validators. The set does not change yet.
    pub validators: Arc<ValidatorSet>,
    /// `validators.hash()`.
    pub validators_hash: Hash,
}

impl Chain {
    /// Collects the constants and computes their hashes once.
    #[must_use]
    pub fn new(genesis: Hash, params: ChainParams, validators: ValidatorSet) -> Self {
        Self {
            genesis,
            params_hash: params.hash(),
            params: Arc::new(params),
            validators_hash: validators.hash(),
            validators: Arc::new(validators),
        }
    }

    /// The faults that the validator set tolerates.
    #[must_use]
    pub fn fault_model(&self) -> FaultModel {
        self.params.fault_model
    }

    /// The pace of the Proof of History of a block created in `round`.
    ///
    /// # Errors
    /// [`PohError`] when the parameters exceed the Proof of History's own bounds.
    pub fn pace(&self, round: Round) -> Result<Pace, PohError> {
        let ticks = self.params.ticks_in_round(round);
        Pace::new(u64::from(self.params.hashes_per_tick), u64::from(ticks))
    }

    /// The earliest time that a child of `parent` with so many ticks may name.
    #[must_use]
    pub fn earliest_time(&self, parent: &Header, ticks: u16) -> TimeMs {
        parent.time.saturating_add(self.params.ticks_ms(ticks))
    }

    /// The context in which the transactions of a block at `height` are executed; `payout` is its proposer's
    /// account.
    #[must_use]
    pub fn block_context(&self, height: Height, payout: Address) -> BlockContext {
        BlockContext {
            params: self.params.clone(),
            validators: self.validators.clone(),
            height,
            payout,
        }
    }
}

/// The parent of a block, with the state after it.
#[derive(Clone, Debug)]
pub struct Parent<S> {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// The state after it.
    pub state: S,
    /// The proposer order of the next height, from that state.
    pub schedule: ProposerSchedule,
}

/// The newest block of the chain.
pub struct Head<S> {
    /// The newest block and the state after it.
    pub parent: Parent<S>,
    /// Its certificate; `None` for genesis.
    pub certificate: Option<CommitCertificate>,
}
