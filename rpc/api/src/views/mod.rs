//! JSON form of answers. Field names are camelCase, 64-bit integers decimal strings, bytes hex.
//!
//! Within a major version of the API fields are only added, so readers must ignore unknown ones;
//! parameters are the opposite: unknown ones are refused.

mod account;
mod chain;
mod consensus;
mod mempool;
mod net;
mod node;
mod operation;
mod poh;
mod proof;
mod rounds;
mod snapshot;
mod subscription;
mod transaction;

pub use account::{
    AccountListOptions, AccountView, AtOptions, BalanceView, NonceView, ReadOptions, SlotView,
};
pub use chain::{
    BlockOptions, BlockRangeOptions, BlockTransactions, BlockView, CertificateView, ChainInfo,
    CommitSignatureView, FeeSuggestion, HeadView, HeaderView, Order, ParamsView, StatsOptions, StatsView,
    SupplyView, TransactionDetail,
};
pub use consensus::{
    ConsensusStatusView, EvidenceOptions, EvidenceView, ProposerTurnView, ScheduleOptions, ValidatorOptions,
    ValidatorRecordView, ValidatorSetView, ValidatorView,
};
pub use mempool::{MempoolAccountView, MempoolEntryView, MempoolListOptions, MempoolStatusView};
pub use net::{BanView, NetInfoView, PeerView, PeersOptions};
pub use node::{
    HealthCheckView, HealthView, LimitsView, NodeStatusView, NodeVersionView, SyncStatusView, WaitingView,
};
pub use operation::OperationView;
pub use poh::{EntriesOptions, PohEntryView, PohParamsView, PohStatusView, PohVerdict, TransactionOrderView};
pub use proof::{
    AccountProofView, AddressesArg, LightBlockView, ProofView, ProvenAccountView, ProvenSlotView, Verdict,
};
pub use rounds::{BlockPowerView, ObservedRoundView, RoundView, RoundsView, TallyView, TimeoutView};
pub use snapshot::{SnapshotJobState, SnapshotJobView, SnapshotView};
pub use subscription::{AccountChangeView, SubscriptionEvent, Topic, TopicParams, TransactionEventView};
pub use transaction::{
    BatchEntry, DecodedTransaction, EncodedTransaction, FailureView, FeeEstimate, LocationView, ReceiptView,
    SimulationView, StatusView, SubmitOptions, Submitted, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX,
    TransactionState, TransactionView, UnsignedTransaction, Wait, WaitOptions,
};

use serde::{Deserialize, Serialize};
use vibecoin_primitives::Hash;

use crate::scalars::{Shown, U64};

/// The state that an answer was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// The state after this block.
    pub height: U64,
    /// The block's hash.
    pub block_hash: Shown<Hash>,
    /// The state root.
    pub state_root: Shown<Hash>,
    /// The block's time, milliseconds since 1970.
    pub timestamp_ms: U64,
}

/// A value with the state it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ctx<T> {
    /// The state.
    pub context: Context,
    /// The value.
    pub value: T,
}

/// A part of a long list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Cursor of the next page; `null` at the end.
    pub next_cursor: Option<String>,
}
