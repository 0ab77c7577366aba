//! Facts that are constant while the node runs.

use vibecoin_primitives::{AddressPrefix, ChainParams, Hash, ValidatorSet};

/// Facts that are constant while the node runs.
#[derive(Clone, Debug)]
pub struct ChainFacts {
    /// Name of the chain (`chainId`).
    pub chain_id: String,
    /// Hash of block 0.
    pub genesis: Hash,
    /// The chain's rules.
    pub params: ChainParams,
    /// [`ChainParams::prefix`].
    pub prefix: AddressPrefix,
    /// The validators; the set never changes yet.
    pub validators: ValidatorSet,
    /// Version and origin of this program.
    pub build: BuildFacts,
}

/// Version and origin of the program.
#[derive(Clone, Debug, Default)]
pub struct BuildFacts {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from, empty when unknown.
    pub git: String,
    /// Compiler version, empty when unknown.
    pub rustc: String,
    /// Features it was built with.
    pub features: Vec<String>,
}
