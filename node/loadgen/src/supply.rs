//! The total supply, added up account by account.

use jsonrpsee::http_client::HttpClient;
use vibecoin_primitives::Height;
use vibecoin_rpc_api::limits::PAGE_MAX;
use vibecoin_rpc_api::methods::{AccountApiClient as _, ChainApiClient as _};
use vibecoin_rpc_api::views::{AccountListOptions, AtOptions};
use vibecoin_rpc_api::{ApiError, Arg, BlockRef, Code, Cursor, Text as _, U64};

use crate::error::LoadError;

/// Attempts to read one state of an advancing chain.
const READS_MAX: u32 = 100;

/// The total supply of a chain at one height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// The height.
    pub height: U64,
    /// Sum of all balances.
    pub sum_of_balances: u128,
    /// Burned since genesis, as reported by the node.
    pub burned: U64,
    /// Supply of genesis, as reported by the node.
    pub genesis: U64,
    /// True if the sum of all balances and of burned funds equals the supply of genesis.
    pub holds: bool,
}

impl Supply {
    /// Adds up every account of one state. Retries when a block is committed in between: only the newest
    /// state is kept.
    ///
    /// # Errors
    /// The error of the node's answer.
    pub async fn read(client: &HttpClient) -> Result<Self, LoadError> {
        for _ in 1..READS_MAX {
            match Self::read_once(client).await {
                Err(LoadError::Rpc(error))
                    if ApiError::from_client(&error)
                        .is_some_and(|error| error.data.reason == Code::Pruned.reason()) => {}
                read => return read,
            }
        }
        Self::read_once(client).await
    }

    async fn read_once(client: &HttpClient) -> Result<Self, LoadError> {
        let height = client.get_head().await?.height;
        let at = BlockRef::from(Height(height.0));
        let reported = client
            .get_supply(Some(AtOptions { at: Some(at.clone()) }))
            .await?
            .value;
        let mut sum = 0u128;
        let mut cursor = None;
        loop {
            let options = AccountListOptions {
                at: cursor.is_none().then(|| at.clone()),
                limit: Some(PAGE_MAX),
                cursor: cursor.take(),
                min_balance: None,
            };
            let page = client.list(Some(options)).await?.value;
            sum = page.items.iter().fold(sum, |sum, account| {
                sum.saturating_add(u128::from(account.balance.0))
            });
            let Some(next) = page.next_cursor else { break };
            cursor = Some(Arg::new(Cursor::from_text(&next)?));
        }
        Ok(Self {
            height,
            sum_of_balances: sum,
            burned: reported.burned,
            genesis: reported.genesis,
            holds: sum.saturating_add(u128::from(reported.burned.0)) == u128::from(reported.genesis.0)
                && sum == u128::from(reported.total.0),
        })
    }
}
