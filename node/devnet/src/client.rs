//! Requests to nodes: their heads, their agreement, their peers.

use std::time::Duration;

use futures_util::future::join_all;
use jsonrpsee::core::client::ClientT as _;
use jsonrpsee::core::params::ObjectParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde_json::Value;
use vibecoin_client::{OperatorError, operator};
use vibecoin_primitives::{Hash, Height};
use vibecoin_rpc_api::BlockRef;
use vibecoin_rpc_api::methods::ChainApiClient as _;
use vibecoin_rpc_api::views::BlockRangeOptions;

use crate::error::{Class, Error, Request};
use crate::home::{paths_of, read_token};
use crate::record::NodeRecord;

/// Deadline of one query; a node under load answers in much less.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Blocks requested at once when their transactions are counted.
const BLOCKS_AT_ONCE: u32 = 25;

/// The head of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A client of a node.
///
/// # Errors
/// An address that is none.
pub fn client(url: &str) -> Result<HttpClient, Error> {
    HttpClientBuilder::new()
        .request_timeout(ANSWER_WITHIN)
        .build(url)
        .map_err(|error| Error::usage(format!("{url} is no address of a node: {error}")))
}

/// Clients of several nodes, in their order.
///
/// # Errors
/// As [`client`].
pub fn clients(nodes: &[NodeRecord]) -> Result<Vec<HttpClient>, Error> {
    nodes.iter().map(|node| client(node.url())).collect()
}

/// The heads of several nodes; `None` for one that does not answer.
pub async fn heads(clients: &[HttpClient]) -> Vec<Option<Head>> {
    let ask = |client: &HttpClient| {
        let client = client.clone();
        async move {
            client.get_head().await.ok().map(|head| Head {
                height: head.height.0,
                hash: head.hash.0,
            })
        }
    };
    join_all(clients.iter().map(ask)).await
}

/// The error when no node of a devnet runs.
#[must_use]
pub fn no_node() -> Error {
    Error::new(Class::CannotConnect, "no node of the devnet runs").hint("start it with `vibecoin devnet up`")
}

/// Hint for a node that does not answer although its process runs.
#[must_use]
pub fn silent_hint(node: &NodeRecord) -> String {
    format!(
        "its process runs: `vibecoin devnet logs {}` shows what it does",
        node.name
    )
}

/// The genesis hash of the chain, from the first of these nodes that answers.
///
/// # Errors
/// The error of the last one when none answers.
pub async fn genesis_hash(nodes: &[NodeRecord]) -> Result<Hash, Error> {
    let mut failed = no_node();
    for node in nodes {
        match client(node.url())?.get_info().await {
            Ok(info) => return Ok(info.genesis_hash.0),
            Err(error) => failed = Error::from(error).at(node.url(), silent_hint(node)),
        }
    }
    Err(failed)
}

/// Returns true if all nodes have the same block at a height. `None`: one of them does not have it, or does
/// not answer.
///
/// # Errors
/// The fault `fork` when two nodes have different blocks there, with both hashes.
pub async fn same_block(clients: &[HttpClient], names: &[&str], height: u64) -> Result<Option<Hash>, Error> {
    let ask = |client: &HttpClient| {
        let client = client.clone();
        async move {
            let block = BlockRef::from(Height(height));
            let header = client.get_header(Some(block)).await.ok().flatten();
            header.map(|header| header.hash.0)
        }
    };
    let hashes = join_all(clients.iter().map(ask)).await;
    let mut first: Option<(&str, Hash)> = None;
    let mut all = true;
    for (name, hash) in names.iter().zip(hashes) {
        match (hash, first) {
            (None, _) => all = false,
            (Some(hash), None) => first = Some((name, hash)),
            (Some(hash), Some((other, its))) if hash != its => {
                let message = format!("FORK at height {height}: {other} has {its}, {name} has {hash}");
                return Err(Error::new(Class::Fork, message)
                    .reason("fork")
                    .hint("keep the folder of the devnet: its logs and databases are needed for a report"));
            }
            (Some(_), Some(_)) => {}
        }
    }
    Ok(first.filter(|_| all).map(|(_, hash)| hash))
}

/// The height at which a node has the head of others, whose highest is `highest`; `None` while it is below.
#[must_use]
pub fn head_in_common(mine: Option<u64>, highest: Option<u64>) -> Option<u64> {
    let mine = mine?;
    match highest {
        Some(highest) => (mine >= highest).then_some(highest),
        None => Some(mine),
    }
}

/// Number of transactions in the blocks of `from` to `to`; `None` when the node does not return them all.
pub async fn transactions(client: &HttpClient, from: u64, to: u64) -> Option<u64> {
    let mut sum = 0u64;
    let mut first = from;
    while first <= to {
        let after = first.saturating_add(u64::from(BLOCKS_AT_ONCE));
        let last = to.min(after.saturating_sub(1));
        let options = BlockRangeOptions {
            from: Some(BlockRef::from(Height(first))),
            to: Some(BlockRef::from(Height(last))),
            limit: Some(BLOCKS_AT_ONCE),
            ..BlockRangeOptions::default()
        };
        let blocks = client.get_blocks(Some(options)).await.ok()?.items;
        if blocks.len() as u64 != last.saturating_sub(first).saturating_add(1) {
            return None;
        }
        let counts = blocks.iter().map(|block| u64::from(block.tx_count));
        sum = counts.fold(sum, u64::saturating_add);
        first = last.saturating_add(1);
    }
    Some(sum)
}

/// The ids of a node's connected peers.
///
/// # Errors
/// A request that fails.
pub async fn peers(client: &HttpClient) -> Result<Vec<String>, Error> {
    let peers: Value = client.request("net_getPeers", ObjectParams::new()).await?;
    let items = peers.as_array().or_else(|| peers.get("items")?.as_array());
    let ids = items.into_iter().flatten();
    Ok(ids
        .filter_map(|peer| Some(peer.get("id")?.as_str()?.to_owned()))
        .collect())
}

/// Client of a node's admin methods.
pub struct Admin {
    name: String,
    client: HttpClient,
}

impl Admin {
    /// Reads the node's token.
    ///
    /// # Errors
    /// A node without such a listener, or a token that cannot be read.
    pub fn of(node: &NodeRecord) -> Result<Self, Error> {
        let Some(address) = &node.admin else {
            return Err(Error::new(
                Class::Failure,
                format!("{} has no listener for its operator", node.name),
            ));
        };
        let Some(token) = read_token(&paths_of(&node.home)?.admin_token)? else {
            let message = format!("{} has no listener for its operator: it made no token", node.name);
            return Err(Error::new(Class::Failure, message)
                .reason("no_admin")
                .hint("the key `admin.listen` of its config.toml switches it on"));
        };
        let url = format!("http://{address}");
        let client = operator(&url, &token, ANSWER_WITHIN).map_err(|error| match error {
            OperatorError::Token => {
                Error::new(Class::Key, format!("the token of {} cannot be sent", node.name))
            }
            OperatorError::Address(error) => Error::new(Class::Failure, format!("{url}: {error}")),
        })?;
        Ok(Self {
            name: node.name.clone(),
            client,
        })
    }

    /// Bans a peer until [`Admin::unban`].
    ///
    /// # Errors
    /// A request that fails.
    pub async fn ban(&self, id: &str, reason: &str) -> Result<(), Error> {
        self.call("net_banPeer", &[("id", id), ("reason", reason)])
            .await?;
        Ok(())
    }

    /// The ids of the peers that the node bans.
    ///
    /// # Errors
    /// A request that fails.
    pub async fn bans(&self) -> Result<Vec<String>, Error> {
        let bans = self.call("net_getBans", &[]).await?;
        let items = bans.as_array().into_iter().flatten();
        Ok(items
            .filter_map(|ban| Some(ban.get("id")?.as_str()?.to_owned()))
            .collect())
    }

    /// Lifts the ban of a peer.
    ///
    /// # Errors
    /// A request that fails.
    pub async fn unban(&self, id: &str) -> Result<(), Error> {
        self.call("net_unbanPeer", &[("id", id)]).await?;
        Ok(())
    }

    async fn call(&self, method: &str, fields: &[(&str, &str)]) -> Result<Value, Error> {
        let mut params = ObjectParams::new();
        for (name, value) in fields {
            params
                .insert(name, value)
                .map_err(|error| Error::new(Class::Failure, format!("{method}: {error}")))?;
        }
        self.client.request(method, params).await.map_err(|error| {
            Error::Request(Box::new(Request {
                error,
                during: Some(format!("{} refuses {method}", self.name)),
                at: None,
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_one_block_behind_is_not_at_the_head() {
        assert_eq!(head_in_common(Some(6), Some(7)), None);
        assert_eq!(head_in_common(Some(7), Some(7)), Some(7));
        // The others have that block; the next one may still be on its way to them.
        assert_eq!(head_in_common(Some(8), Some(7)), Some(7));
        assert_eq!(head_in_common(Some(7), None), Some(7), "there is no other");
        assert_eq!(head_in_common(None, Some(7)), None);
    }
}
