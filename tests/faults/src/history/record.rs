//! The record: calls with their times, and the chain at the end.

use std::collections::BTreeMap;

use vibecoin_primitives::{Address, Hash};

/// A transfer of a client, identified by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The transaction's id.
    pub id: Hash,
    /// The sender.
    pub from: Address,
    /// The recipient.
    pub to: Address,
    /// The amount.
    pub amount: u64,
    /// The fee.
    pub fee: u64,
    /// The nonce.
    pub nonce: u64,
}

/// Outcome of a submission, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node reported that the transfer is final at this height.
    Ok {
        /// The height.
        height: u64,
    },
    /// Certainly without effect: it was refused, or never sent.
    Fail,
    /// Unknown: no answer, or still waiting.
    Unknown,
}

/// State of an account in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// Its balance.
    pub balance: u64,
    /// Its next nonce.
    pub nonce: u64,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAnswer {
    /// The height.
    pub height: u64,
    /// Hash of the block at that height.
    pub block: Hash,
    /// The accounts.
    pub accounts: Vec<(Address, AccountState)>,
}

/// The answer to a query of the supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupplyAnswer {
    /// The height.
    pub height: u64,
    /// Total supply.
    pub total: u64,
    /// Supply of genesis.
    pub genesis: u64,
    /// Burned since genesis.
    pub burned: u64,
    /// Minted since genesis.
    pub minted: u64,
}

/// Effect of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Sent a transfer, for the first time or again.
    Send {
        /// The transfer's id.
        id: Hash,
        /// Its outcome.
        outcome: Outcome,
    },
    /// Read accounts at the newest height of the node.
    ReadLatest(ReadAnswer),
    /// Read accounts at a requested height.
    ReadAt {
        /// The requested height.
        asked: u64,
        /// The answer.
        answer: ReadAnswer,
    },
    /// Queried the supply.
    Supply(SupplyAnswer),
    /// A read without an answer, which proves nothing.
    ReadFailed,
}

/// One call of one client. Times are microseconds since the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The calling client.
    pub client: usize,
    /// The called node.
    pub node: usize,
    /// Start of the call.
    pub start_us: u64,
    /// End of the call.
    pub end_us: u64,
    /// Effect and answer.
    pub done: Done,
}

impl Call {
    /// Returns true if the client received a definite success.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        !matches!(
            self.done,
            Done::ReadFailed
                | Done::Send {
                    outcome: Outcome::Fail | Outcome::Unknown,
                    ..
                }
        )
    }
}

/// A transaction in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTransfer {
    /// The transfer in it.
    pub transfer: Transfer,
    /// True if its receipt reports success.
    pub success: bool,
}

/// A block in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its transactions, in order.
    pub transfers: Vec<ChainTransfer>,
}

/// Times of the faults, in microseconds since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Faults began.
    pub faults_from_us: u64,
    /// Faults ended.
    pub faults_to_us: u64,
}

/// Inputs of the check of a run.
#[derive(Clone, Debug)]
pub struct History {
    /// The tracked accounts, with their genesis balances.
    pub genesis: BTreeMap<Address, u64>,
    /// Total supply of genesis.
    pub supply: u64,
    /// All transfers that clients made.
    pub made: Vec<Transfer>,
    /// All calls.
    pub calls: Vec<Call>,
    /// The chain, from height 1 without gaps.
    pub chain: Vec<ChainBlock>,
    /// Times of the faults.
    pub phase: Phase,
    /// Hash of block 0.
    pub genesis_hash: Hash,
}
