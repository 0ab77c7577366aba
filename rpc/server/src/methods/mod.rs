//! The methods, one file per namespace, and shared helpers: resolving a block, reading a state,
//! paging.

mod account;
pub(crate) mod chain;
mod consensus;
mod dev;
mod evidence;
mod history;
mod mempool;
mod net;
mod node;
mod poh;
mod proof;
mod rounds;
mod rpc;
mod snapshot;
mod tx;

use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::server::{Methods, RegisterMethodError};
use vibecoin_primitives::{Address, AddressPrefix, Domain, Hash, Height};
use vibecoin_rpc_api::limits::{MIN_HEIGHT_WAIT_MS, PAGE_DEFAULT, PAGE_MAX};
use vibecoin_rpc_api::methods::{
    AccountApiServer, ChainApiServer, ConsensusApiServer, DevApiServer, MempoolApiServer, NetAdminApiServer,
    NetApiServer, NodeApiServer, PohApiServer, ProofApiServer, RpcApiServer, SnapshotAdminApiServer,
    SubscriptionApiServer, TxApiServer,
};
use vibecoin_rpc_api::registry;
use vibecoin_rpc_api::views::{Context, Ctx};
use vibecoin_rpc_api::{
    AddressArg, ApiError, BlockRef, BlockSelector, Code, Cursor, CursorArg, Shown, Text, U64,
};
use vibecoin_rpc_backend::{Backend, BackendError, Read, Refusal, StateContext};

use crate::errors::{self, Coded as _};
use crate::gate::{self, Rules, wait_for_block};
use crate::work::{Readers, Work};

/// The methods over a backend. Cloning copies pointers.
pub(crate) struct Rpc<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) rules: Arc<Rules>,
    work: Work,
    /// Turns to read blocks for subscriptions.
    pub(crate) readers: Readers,
}

impl<B> Clone for Rpc<B> {
    fn clone(&self) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            rules: Arc::clone(&self.rules),
            work: self.work.clone(),
            readers: self.readers.clone(),
        }
    }
}

/// Every method of the admin listener.
pub(crate) fn admin<B: Backend>(rpc: &Rpc<B>) -> Result<Methods, RegisterMethodError> {
    let mut methods = Methods::new();
    methods.merge(NetAdminApiServer::into_rpc(rpc.clone()))?;
    methods.merge(SnapshotAdminApiServer::into_rpc(rpc.clone()))?;
    Ok(methods)
}

/// Every method of the public listener.
pub(crate) fn all<B: Backend>(rpc: &Rpc<B>) -> Result<Methods, RegisterMethodError> {
    let mut methods = Methods::new();
    methods.merge(AccountApiServer::into_rpc(rpc.clone()))?;
    methods.merge(ChainApiServer::into_rpc(rpc.clone()))?;
    methods.merge(ConsensusApiServer::into_rpc(rpc.clone()))?;
    methods.merge(DevApiServer::into_rpc(rpc.clone()))?;
    methods.merge(MempoolApiServer::into_rpc(rpc.clone()))?;
    methods.merge(NetApiServer::into_rpc(rpc.clone()))?;
    methods.merge(NodeApiServer::into_rpc(rpc.clone()))?;
    methods.merge(PohApiServer::into_rpc(rpc.clone()))?;
    methods.merge(ProofApiServer::into_rpc(rpc.clone()))?;
    methods.merge(RpcApiServer::into_rpc(rpc.clone()))?;
    methods.merge(SubscriptionApiServer::into_rpc(rpc.clone()))?;
    methods.merge(TxApiServer::into_rpc(rpc.clone()))?;
    Ok(methods)
}

impl<B: Backend> Rpc<B> {
    pub(crate) fn new(backend: Arc<B>, rules: Arc<Rules>) -> Self {
        let work = Work::new(rules.config.expensive_calls_max);
        let readers = Readers::new(rules.config.history_readers_max);
        Self {
            backend,
            rules,
            work,
            readers,
        }
    }

    pub(crate) fn prefix(&self) -> AddressPrefix {
        self.backend.facts().prefix
    }

    pub(crate) fn address(&self, argument: AddressArg) -> Result<Address, ApiError> {
        argument.get()?.on(&self.prefix())
    }

    /// Charges the cost of a call beyond the price of its method, before its work begins: calls that are
    /// admitted at the same time see the debt.
    fn charge_beyond(&self, method: &str, units: u32) {
        let paid = registry::find(method).map_or(0, |method| method.cost);
        self.rules.charge(gate::caller(), units.saturating_sub(paid));
    }

    /// The error for a refused transaction.
    fn refused(&self, refusal: Refusal) -> ApiError {
        errors::refused(refusal, &self.backend.facts().params)
    }

    /// Runs an expensive task against the backend.
    async fn expensive<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let own = self.clone();
        self.work.run(move || task(&own)).await
    }

    /// The height that a reference names; `None` when there is no such block.
    fn height(&self, block: Option<BlockRef>) -> Result<Option<Height>, ApiError> {
        let selector = block.map_or(Ok(BlockSelector::Latest), BlockRef::get)?;
        let head = self.backend.head().header.height;
        Ok(match selector {
            BlockSelector::Latest => Some(head),
            BlockSelector::Genesis => Some(Height::ZERO),
            BlockSelector::Earliest => Some(self.backend.earliest()),
            BlockSelector::Height(height) => (height <= head).then_some(height),
            BlockSelector::Hash(hash) => self.backend.height_of(&hash).coded()?,
            BlockSelector::Time(time) => self.height_at(time.0, head)?,
        })
    }

    /// The last block that is not later than `time_ms`: a binary search over the headers.
    fn height_at(&self, time_ms: u64, head: Height) -> Result<Option<Height>, ApiError> {
        let is_later = |height: Height| -> Result<bool, ApiError> {
            Ok(self
                .backend
                .header(height)
                .coded()?
                .is_none_or(|(header, _)| header.time.0 > time_ms))
        };
        let (mut low, mut high) = (self.backend.earliest(), head);
        if is_later(low)? {
            return Ok(None);
        }
        // `low` is not later; everything above `high` is.
        while low < high {
            let middle = Height(low.0.saturating_add(high.0.saturating_sub(low.0).div_ceil(2)));
            if is_later(middle)? {
                high = middle.saturating_sub(1);
            } else {
                low = middle;
            }
        }
        Ok(Some(low))
    }

    /// The height that a reference names; an unknown one is an error.
    ///
    /// # Errors
    /// 1101 for a height above the head, 1102 for a hash that is unknown or a time before the first block.
    fn existing(&self, block: BlockRef) -> Result<Height, ApiError> {
        let selector = block.get()?;
        if let BlockSelector::Height(height) = selector {
            let head = self.backend.head().header.height;
            if height > head {
                return Err(BackendError::Future { height, head }.coded());
            }
        }
        self.height(Some(selector.into()))?.ok_or_else(|| {
            let message = match selector {
                BlockSelector::Time(time) => format!("no block is as old as {} ms", time.0),
                BlockSelector::Hash(hash) => format!("there is no block {hash}"),
                _ => "there is no such block".to_owned(),
            };
            ApiError::new(Code::NotFound, message)
        })
    }

    /// The height to read a state at: `None` for the newest, which the backend picks itself.
    fn state_at(&self, at: Option<BlockRef>) -> Result<Option<Height>, ApiError> {
        let selector = at.map_or(Ok(BlockSelector::Latest), BlockRef::get)?;
        match selector {
            BlockSelector::Latest => Ok(None),
            // Its existence is checked together with the state.
            BlockSelector::Height(height) => Ok(Some(height)),
            other => self.existing(other.into()).map(Some),
        }
    }

    /// Waits until the node has `height`, up to two seconds.
    async fn reach(&self, height: Option<U64>) -> Result<(), ApiError> {
        let Some(height) = height else { return Ok(()) };
        if self.backend.head().header.height.0 >= height.0 {
            return Ok(());
        }
        let _waiting = wait_for_block()?;
        let mut heads = self.backend.head_watch();
        let reached = heads.wait_for(|head| head.0 >= height.0);
        match tokio::time::timeout(Duration::from_millis(MIN_HEIGHT_WAIT_MS), reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(BackendError::ShuttingDown.coded()),
            Err(_) => {
                let head = self.backend.head().header.height;
                Err(ApiError::new(
                    Code::MinHeight,
                    format!("height {height} is not reached, the head is {head}"),
                )
                .with("head", head.0.to_string()))
            }
        }
    }
}

/// The state of an answer in JSON.
fn context(state: &StateContext) -> Context {
    Context {
        height: state.height.into(),
        block_hash: Shown(state.block),
        state_root: Shown(state.state_root),
        timestamp_ms: state.time.into(),
    }
}

fn answer<T, V>(read: Read<T>, view: impl FnOnce(T) -> V) -> Ctx<V> {
    Ctx {
        context: context(&read.context),
        value: view(read.value),
    }
}

/// Refuses a range that is the wrong way round; both ends belong to it.
fn in_order(from: Height, to: Height) -> Result<(), ApiError> {
    if from <= to {
        return Ok(());
    }
    let message = format!("the range is empty: its first height {from} is above its last, {to}");
    Err(ApiError::invalid_params("empty_range", message))
}

/// Refuses more items than one call allows. Lists of the caller are [`vibecoin_rpc_api::AtMost`].
fn at_most(what: &str, got: usize, limit: usize) -> Result<(), ApiError> {
    if got <= limit {
        return Ok(());
    }
    Err(ApiError::too_many(what, got, limit))
}

/// A number of items within its range.
fn page_size(limit: Option<u32>) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let message = format!("limit is 1 to {PAGE_MAX}, got {limit}");
        return Err(ApiError::invalid_params("limit_out_of_range", message).with("parameter", "limit"));
    }
    usize::try_from(limit).map_err(|error| ApiError::internal(error.to_string()))
}

/// Identifies a query, so that a cursor cannot be used with another one.
struct Query([u8; 8]);

impl Query {
    fn new(parts: &[&[u8]]) -> Self {
        // A cursor is not secret and proves nothing: the first bytes of any hash suffice.
        let joined: Vec<u8> = parts
            .iter()
            .flat_map(|part| [&part.len().to_le_bytes()[..], part].concat())
            .collect();
        let hash: Hash = Domain::Receipt.hash(&joined);
        let [a, b, c, d, e, f, g, h, ..] = hash.0;
        Self([a, b, c, d, e, f, g, h])
    }

    /// The position of a cursor that belongs to this query.
    fn open(&self, cursor: Option<CursorArg>) -> Result<Option<Cursor>, ApiError> {
        let Some(cursor) = cursor.map(CursorArg::get).transpose()? else {
            return Ok(None);
        };
        if cursor.query != self.0 {
            return Err(ApiError::new(
                Code::BadCursor,
                "the cursor belongs to another query",
            ));
        }
        Ok(Some(cursor))
    }

    fn cursor(&self, height: Height, position: &[u8]) -> String {
        Cursor {
            query: self.0,
            height,
            position: position.to_vec(),
        }
        .to_text()
    }
}

/// A position that is a hash.
fn hash_position(cursor: &Cursor) -> Result<Hash, ApiError> {
    let bytes = <[u8; 32]>::try_from(cursor.position.as_slice());
    bytes
        .map(Hash)
        .map_err(|_| ApiError::new(Code::BadCursor, "the cursor is malformed"))
}

/// A position that is a number.
fn number_position(cursor: &Cursor) -> Result<u64, ApiError> {
    let bytes = <[u8; 8]>::try_from(cursor.position.as_slice());
    bytes
        .map(u64::from_le_bytes)
        .map_err(|_| ApiError::new(Code::BadCursor, "the cursor is malformed"))
}

/// A count that is known to be small.
pub(crate) fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
