//! The kinds of networks, as options.

use clap::ValueEnum;
use vibecoin_devnet::profile::Profile;
use vibecoin_primitives::FaultModel;

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

impl From<FaultModelName> for FaultModel {
    fn from(name: FaultModelName) -> Self {
        match name {
            FaultModelName::Byzantine => Self::Byzantine,
            FaultModelName::Crash => Self::Crash,
        }
    }
}

impl From<NetworkProfile> for Profile {
    fn from(name: NetworkProfile) -> Self {
        match name {
            NetworkProfile::Devnet => Self::Devnet,
            NetworkProfile::Production => Self::Production,
            NetworkProfile::Bench => Self::Bench,
        }
    }
}
