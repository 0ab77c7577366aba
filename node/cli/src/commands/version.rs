//! `vibecoin version`: version and build of this program.

use clap::Args;
use serde_json::json;
use vibecoin_primitives::BLOCK_VERSION;
use vibecoin_rpc_api::API_VERSION;
use vibecoin_rpc_backend::BuildFacts;

use crate::output::Answer;

/// Arguments of `version`: none of its own.
#[derive(Args, Debug)]
pub struct VersionArgs {}

/// Facts about this program.
#[must_use]
pub fn facts() -> BuildFacts {
    BuildFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git: env!("VIBECOIN_GIT").to_owned(),
        rustc: env!("VIBECOIN_RUSTC").to_owned(),
        features: Vec::new(),
    }
}

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
