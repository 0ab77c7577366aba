//! A devnet for tests.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::plan::tests::spec;
use crate::plan::{Network, Spec};
use crate::profile::Profile;
use crate::setup::state_of;
use crate::state::Devnet;
use crate::wait::Reporter;

/// A devnet with records only.
pub fn devnet_of(dir: &Path, validators: u32, full: u32) -> Devnet {
    let network = Network::plan(&Spec {
        validators,
        full,
        ..spec()
    })
    .unwrap();
    let mut net = Devnet::change(dir, Reporter::SILENT).unwrap();
    net.state = Some(state_of(&net, &network, "7", Profile::Devnet, 27_100));
    net
}
