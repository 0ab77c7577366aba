//! The record: calls with the time they took, and the chain that was found at the end.

use std::collections::BTreeMap;

use vibecoin_primitives::{Address, Hash};

/// A transfer that some client made. Its id names it everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The transaction's id.
    pub id: Hash,
    /// Who pays.
    pub from: Address,
    /// Who gets it.
    pub to: Address,
    /// How much.
    pub amount: u64,
    /// The fee.
    pub fee: u64,
    /// The nonce.
    pub nonce: u64,
}

/// How a sending ended, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node said that the transfer is final at this height.
    Ok {
        /// The height.
        height: u64,
    },
    /// Certainly without effect: it was refused, or never sent.
    Fail,
    /// Nobody knows: no answer, or still waiting.
    Unknown,
}

/// What an account was said to hold.
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
    /// At which height.
    pub height: u64,
    /// Which block that is.
    pub block: Hash,
    /// The accounts.
    pub accounts: Vec<(Address, AccountState)>,
}

/// The answer to a question for the money in existence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupplyAnswer {
    /// At which height.
    pub height: u64,
    /// In existence.
    pub total: u64,
    /// In the beginning.
    pub genesis: u64,
    /// Gone for ever.
    pub burned: u64,
    /// Made since.
    pub minted: u64,
}

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Sent a transfer, for the first time or again.
    Send {
        /// The transfer's id.
        id: Hash,
        /// How it ended.
        outcome: Outcome,
    },
    /// Read accounts at the newest height of the node.
    ReadLatest(ReadAnswer),
    /// Read accounts at a height that was asked for.
    ReadAt {
        /// The height asked for.
        asked: u64,
        /// The answer.
        answer: ReadAnswer,
    },
    /// Asked for the money in existence.
    Supply(SupplyAnswer),
    /// A read without an answer. It says nothing.
    ReadFailed,
}

/// One call of one client. Times are microseconds since the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who called.
    pub client: usize,
    /// Which node.
    pub node: usize,
    /// When it began.
    pub start_us: u64,
    /// When it ended.
    pub end_us: u64,
    /// What it did.
    pub done: Done,
}

impl Call {
    /// Whether the client was told something definite and good.
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

/// A transaction as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTransfer {
    /// What it says.
    pub transfer: Transfer,
    /// Whether its receipt says success.
    pub success: bool,
}

/// A block as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its transactions, in order.
    pub transfers: Vec<ChainTransfer>,
}

/// When what happened, in microseconds since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Faults began.
    pub faults_from_us: u64,
    /// Faults ended.
    pub faults_to_us: u64,
}

/// Everything that is needed to judge a run.
#[derive(Clone, Debug)]
pub struct History {
    /// The accounts that are followed, with what genesis gave them.
    pub genesis: BTreeMap<Address, u64>,
    /// All money of genesis.
    pub supply: u64,
    /// All transfers that clients made.
    pub made: Vec<Transfer>,
    /// All calls.
    pub calls: Vec<Call>,
    /// The chain, from height 1 without gaps.
    pub chain: Vec<ChainBlock>,
    /// When faults ran.
    pub phase: Phase,
    /// Hash of block 0.
    pub genesis_hash: Hash,
}
