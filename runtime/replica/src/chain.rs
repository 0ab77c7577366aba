//! The constants of one chain, which never change while it runs.

use std::sync::Arc;

use vibecoin_primitives::{ChainParams, FaultModel, Hash, ValidatorSet};

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
}
