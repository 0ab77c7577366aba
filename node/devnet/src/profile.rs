//! Named parameters of the networks that are planned here.

use vibecoin_primitives::{ChainParams, FaultModel};

/// Named parameters of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Blocks of 100 ms.
    #[default]
    Devnet,
    /// Blocks of 320 ms.
    Production,
    /// As fast as the validators agree: no pace of the Proof of History, empty blocks without a pause.
    Bench,
}

impl Profile {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Devnet => "devnet",
            Self::Production => "production",
            Self::Bench => "bench",
        }
    }

    /// The parameters, with a fault model.
    #[must_use]
    pub fn params(self, fault_model: FaultModel) -> ChainParams {
        let params = match self {
            Self::Devnet => vibecoin_genesis::Profile::Devnet.params(),
            Self::Production => vibecoin_genesis::Profile::Production.params(),
            Self::Bench => ChainParams {
                network: "bench".to_owned(),
                tick_ms: 1,
                ticks_per_block: 1,
                quiet_ticks: 0,
                hashes_per_tick: 16,
                empty_block_interval_ms: 1,
                ..vibecoin_genesis::Profile::Devnet.params().unpaced()
            },
        };
        ChainParams {
            fault_model,
            ..params
        }
    }
}

/// Name of a fault model in files.
#[must_use]
pub const fn fault_model_name(model: FaultModel) -> &'static str {
    match model {
        FaultModel::Byzantine => "byzantine",
        FaultModel::Crash => "crash",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_within_the_ranges() {
        for profile in [Profile::Devnet, Profile::Production, Profile::Bench] {
            for faults in [FaultModel::Byzantine, FaultModel::Crash] {
                profile.params(faults).check().unwrap();
            }
        }
    }
}
