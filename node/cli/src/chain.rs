//! The chain that a command acts on, and the extent to which the node is trusted for it.

use jsonrpsee::http_client::HttpClient;
use vibecoin_client::{BuildError, FeeBound, FeeError};
use vibecoin_config::Paths;
use vibecoin_devnet::guard;
use vibecoin_light::{ProofFile, Trust, verify_light_block};
use vibecoin_primitives::text::quoted_path;
use vibecoin_primitives::{AddressError, Hash, Height};
use vibecoin_rpc_api::methods::{ChainApiClient as _, ProofApiClient as _};
use vibecoin_rpc_api::views::ParamsView;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;

pub use vibecoin_client::Chain;

/// Queries the node; a home that belongs to a different chain is an error, before anything is signed.
///
/// With a genesis file in the home the node is not trusted: prices and rules are those of the file, and
/// the newest height is one that a quorum has signed, so that no node can inflate a fee or a validity.
pub async fn ask(context: &Context, client: &HttpClient) -> Result<Chain, CliError> {
    let mut info = client.get_info().await?;
    let Some(own) = context.built_genesis()? else {
        return Chain::reported(info).map_err(no_chain);
    };
    context.refuse_other_chain(&own, info.genesis_hash.0)?;
    info.params = ParamsView::from(&own.params);
    info.address_prefix.clone_from(&own.params.address_prefix);
    let trust = files::trust(&own);
    let head = verified_head(client, &trust).await?;
    Chain::verified(info, trust, head).map_err(no_chain)
}

/// The error for a genesis file, described by `given`, of another chain than that of the home.
pub fn of_another(paths: &Paths, own: Hash, given: &str, its: Hash) -> CliError {
    let message = format!(
        "the home {} is of the chain {own}, {given} is {its}",
        paths.home.display()
    );
    CliError::new(Exit::GenesisMismatch, message).hint(other_chain_hint(paths))
}

/// Remedy for such a file. A home in which nothing was stored or signed may take it in the place of its own.
fn other_chain_hint(paths: &Paths) -> String {
    let genesis = quoted_path(&paths.genesis);
    if paths.db.join("CURRENT").exists() || guard::is_used(&paths.guard) {
        return format!(
            "without --genesis the home goes on with its own chain, that of {genesis}; use another --home for another chain"
        );
    }
    format!(
        "without --genesis the home keeps its own chain, that of {genesis}, of which nothing is stored yet: \
         `mv --backup=numbered {genesis} {genesis}.before` makes place for another one; or use another --home"
    )
}

fn no_chain(error: AddressError) -> CliError {
    CliError::new(Exit::Failure, format!("the node's answer is no chain: {error}"))
}

/// The height of the newest block that the node proves. It may be old, but not from the future.
async fn verified_head(client: &HttpClient, trust: &Trust) -> Result<Height, CliError> {
    let block = client.get_light_block(None).await?;
    let block = block.ok_or_else(|| CliError::unverified("the node has no newest block"))?;
    let proven = ProofFile::from_bytes(&block.proof.0.0).and_then(|file| verify_light_block(trust, &file));
    proven.map(|proven| proven.height).map_err(|error| {
        CliError::unverified(format!("the node does not prove its newest block: {error}"))
            .reason("proof_invalid")
            .hint("another --url names another node")
    })
}

impl From<FeeError> for CliError {
    fn from(error: FeeError) -> Self {
        match error {
            FeeError::TooHigh {
                fee,
                max,
                bound,
                is_verified,
            } => {
                let named = match bound {
                    FeeBound::Caller => "--fee-max allows",
                    FeeBound::Amount => "an amount can be",
                    FeeBound::Unverified => "is believed of a node without a genesis file",
                };
                let message = format!(
                    "the least fee would be {fee} base units, more than the {max} that {named}; nothing was signed"
                );
                let hint = if is_verified {
                    format!("the prices are those of the home's genesis file; --fee-max {fee} pays this fee")
                } else {
                    format!(
                        "`vibecoin init --genesis FILE` gives the home the chain's genesis file, which has the prices; --fee-max {fee} pays this fee"
                    )
                };
                Self::new(Exit::Rejected, message)
                    .reason("fee_too_high")
                    .hint(hint)
            }
            FeeError::PoolFull { needed, max } => {
                let message = format!(
                    "the node's pool is full, and a fee below {needed} base units does not get in, more than the {max} that are paid without --fee; nothing was signed"
                );
                Self::new(Exit::Rejected, message)
                    .reason("mempool_full")
                    .hint("wait until blocks have taken some of it, or pay a higher --fee")
            }
        }
    }
}

impl From<BuildError> for CliError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Rpc(error) => error.into(),
            BuildError::Fee(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_above_its_bound_is_a_rejection_that_names_the_fee() {
        for (bound, is_verified) in [
            (FeeBound::Caller, true),
            (FeeBound::Amount, true),
            (FeeBound::Unverified, false),
        ] {
            let error = CliError::from(FeeError::TooHigh {
                fee: 4_711,
                max: 4_000,
                bound,
                is_verified,
            });
            assert_eq!(
                (error.exit, error.reason.as_str()),
                (Exit::Rejected, "fee_too_high")
            );
            assert!(error.message.contains("4711"), "{}", error.message);
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains("--fee-max 4711"), "{hint}");
            assert_eq!(hint.contains("init --genesis FILE"), !is_verified, "{hint}");
        }
        let error = CliError::from(FeeError::PoolFull { needed: 8, max: 7 });
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (Exit::Rejected, "mempool_full")
        );
    }
}
