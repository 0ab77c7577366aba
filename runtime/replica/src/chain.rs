//! The facts of one chain that never change while it runs.

use std::sync::Arc;

use vibecoin_primitives::{ChainParams, FaultModel, Hash, ValidatorSet};

/// What every rule of the chain needs to know.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Hash of block 0: names the chain in everything that is signed.
    pub genesis: Hash,
    /// The parameters.
    pub params: Arc<ChainParams>,
    /// `params.hash()`.
    pub params_hash: Hash,
    /// The validators. The set does not change yet.
    pub validators: Arc<ValidatorSet>,
    /// `validators.hash()`.
    pub validators_hash: Hash,
}

impl Chain {
    /// Puts the facts together and computes their hashes once.
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

    /// Which faults the validators survive.
    #[must_use]
    pub fn fault_model(&self) -> FaultModel {
        self.params.fault_model
    }
}
