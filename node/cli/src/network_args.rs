//! The kinds of networks, as options.

use clap::ValueEnum;
use vibecoin_genesis::Profile;
use vibecoin_primitives::{ChainParams, FaultModel};

/// Which faults the validators survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FaultModelName {
    /// Up to a third may lie.
    Byzantine,
    /// Up to a half may stop, nobody may lie.
    Crash,
}

/// Which rules a network has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NetworkProfile {
    /// Blocks of 100 ms.
    #[default]
    Devnet,
    /// Blocks of 320 ms.
    Production,
    /// As fast as the validators agree: no pace of the Proof of History, empty blocks without a pause.
    Bench,
}

impl NetworkProfile {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Devnet => "devnet",
            Self::Production => "production",
            Self::Bench => "bench",
        }
    }

    /// The parameters, with a fault model.
    pub fn params(self, faults: FaultModelName) -> ChainParams {
        let params = match self {
            Self::Devnet => Profile::Devnet.params(),
            Self::Production => Profile::Production.params(),
            Self::Bench => ChainParams {
                network: "bench".to_owned(),
                tick_ms: 1,
                ticks_per_block: 1,
                quiet_ticks: 0,
                hashes_per_tick: 16,
                empty_block_interval_ms: 1,
                ..Profile::Devnet.params().unpaced()
            },
        };
        let fault_model = match faults {
            FaultModelName::Byzantine => FaultModel::Byzantine,
            FaultModelName::Crash => FaultModel::Crash,
        };
        ChainParams {
            fault_model,
            ..params
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_within_the_ranges() {
        for profile in [
            NetworkProfile::Devnet,
            NetworkProfile::Production,
            NetworkProfile::Bench,
        ] {
            for faults in [FaultModelName::Byzantine, FaultModelName::Crash] {
                profile.params(faults).check().unwrap();
            }
        }
    }
}
