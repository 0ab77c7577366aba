//! Facts about the build of this program.

use vibecoin_rpc_backend::BuildFacts;

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
