//! `vibecoin version`: version and build of this program.

use clap::Args;
use serde_json::json;
use vibecoin_primitives::BLOCK_VERSION;
use vibecoin_rpc_api::API_VERSION;

use crate::build_facts::facts;
use crate::output::Answer;

/// Arguments of `version`: none of its own.
#[derive(Args, Debug)]
pub struct VersionArgs {}

impl VersionArgs {
    /// Reports it.
    #[must_use]
    pub fn run(self) -> Answer {
        let facts = facts();
        let text = format!("vibecoin {} {}", facts.version, facts.git);
        Answer::new(json!({
            "version": facts.version,
            "git": facts.git,
            "rustc": facts.rustc,
            "features": facts.features,
            "protocolVersion": BLOCK_VERSION,
            "apiVersion": API_VERSION,
        }))
        .text(text)
    }
}
