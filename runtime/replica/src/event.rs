//! Inputs ([`Event`]) and outputs ([`Action`]) of the replica.

use std::sync::Arc;

use vibecoin_consensus::{GuardEntry, HaltReason, LogRecord, MonoTime};
use vibecoin_execution::DecidedBlock;
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_messages::{GossipId, Message, PeerId, Verdict};
use vibecoin_primitives::{
    Evidence, FaultClass, Hash, Height, PublicKey, Round, TimeMs, VerifiedTransaction,
};

use crate::received::{ReceivedBlock, ReceivedBody};
use crate::validation::JudgeError;

/// The time, read by the caller: a monotonic clock and the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// For timers.
    pub mono: MonoTime,
    /// For block times.
    pub wall: TimeMs,
}

/// Identifies a submission, so that its answer can be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// An input of the replica.
#[derive(Debug)]
pub enum Event<S> {
    /// The process starts, with the contents of the consensus log and the guard file. The first event, once.
    Start {
        /// Records of the log, oldest first.
        records: Vec<LogRecord>,
        /// The newest entry of the guard; `None` if this key never signed.
        guard: Option<GuardEntry>,
    },
    /// A deadline is due.
    Time,
    /// A peer sent a message that passed the wire's limits. Bodies, decided blocks and transactions have events of
    /// their own, and requests for stored blocks are answered by the host: none of these is taken from here.
    Message {
        /// The sender.
        from: PeerId,
        /// The message.
        message: Box<Message>,
        /// Its transactions whose signatures have been checked already.
        verified: Vec<VerifiedTransaction>,
        /// Set when the message arrived by gossip: [`Action::Forward`] must follow.
        gossip: Option<GossipId>,
    },
    /// A peer sent the body of a proposed block.
    Body {
        /// The sender.
        from: PeerId,
        /// The body with its header.
        body: Box<ReceivedBody>,
        /// Its transactions whose signatures have been checked already.
        verified: Vec<VerifiedTransaction>,
    },
    /// A peer answered a request for decided blocks.
    Blocks {
        /// The sender.
        from: PeerId,
        /// The first height that was requested.
        first: Height,
        /// Ascending, without gaps.
        blocks: Vec<ReceivedBlock>,
        /// Their transactions whose signatures have been checked already.
        verified: Vec<VerifiedTransaction>,
    },
    /// A peer of the same chain is connected.
    Connected {
        /// The peer.
        peer: PeerId,
        /// The newest block that it claims to have.
        head: Height,
        /// The validator identity that it proved, if any.
        validator: Option<PublicKey>,
    },
    /// A peer disconnected.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// Blocks of a peer from this height on were refused before they arrived here: others are asked at once.
    Refused {
        /// The peer that sent them.
        from: PeerId,
        /// The height of the first refused block.
        height: Height,
    },
    /// Evidence that a client of this node submitted. Only new evidence is published: a client that repeats a
    /// piece must not make this node publish it again and again, for which others would ban it.
    Evidence(Box<Evidence>),
    /// Transactions whose signatures have been checked.
    Transactions {
        /// Returned with the answer.
        ticket: Ticket,
        /// Oldest first.
        transactions: Vec<Arc<VerifiedTransaction>>,
    },
    /// The requested commit is durable; `state` is the state after it.
    Committed {
        /// The height of the committed block.
        height: Height,
        /// The state to continue from.
        state: S,
    },
}

/// An output of the replica. Actions are performed in order; a sync action is complete before the next begins.
#[derive(Debug)]
pub enum Action<S> {
    /// Append to the consensus log.
    Append(LogRecord),
    /// Make the log durable.
    SyncLog,
    /// Make the entry durable in the guard file.
    Guard(GuardEntry),
    /// Send to all: parts of a block to every validator, statements by gossip, a status to every peer.
    Broadcast(Message),
    /// Send to one peer.
    Send {
        /// The recipient.
        to: PeerId,
        /// The message.
        message: Message,
    },
    /// Answer a peer's request for the body of a block of the height being decided, or of the newest decided one;
    /// [`crate::Replica::body`] has it.
    GiveBody {
        /// The requesting peer.
        to: PeerId,
        /// The block.
        block: Hash,
    },
    /// Report the verdict on a gossiped message to the gossip layer.
    Forward {
        /// As in the event.
        gossip: GossipId,
        /// Fresh and known ones are forwarded; ignored ones are not; rejected ones are the sender's fault.
        verdict: Verdict,
    },
    /// Store the block in one atomic synced write, then report [`Event::Committed`].
    Commit(Box<DecidedBlock<S>>),
    /// Empty the log: the height before this one is durable.
    ResetLog {
        /// The height that the log is for from now on.
        height: Height,
    },
    /// The answer to [`Event::Transactions`], one entry per transaction, in order.
    Admitted {
        /// As in the event.
        ticket: Ticket,
        /// The result for each transaction.
        results: Vec<Result<Inserted, MempoolError>>,
    },
    /// A round began. Informational only.
    RoundStarted {
        /// The height of the round.
        height: Height,
        /// The round.
        round: Round,
        /// The proposer of the round.
        proposer: PublicKey,
    },
    /// A proposal arrived at another time than it names: this node prevotes nil in its round. Informational
    /// only; when frequent, a clock is wrong.
    Untimely {
        /// The height of the proposal.
        height: Height,
        /// The round of the proposal.
        round: Round,
        /// The time that the block names.
        time: TimeMs,
        /// The wall clock of this node.
        clock: TimeMs,
    },
    /// A peer sent a message that an honest node never sends.
    Blame {
        /// The peer.
        peer: PeerId,
        /// The violation.
        reason: String,
    },
    /// Stop the process with the reason's exit code. No action follows.
    Halt(Fault),
}

/// Reason why a replica stops for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Continuing could break safety.
    #[error(transparent)]
    Consensus(#[from] HaltReason),
    /// This node cannot read its own state.
    #[error("the state cannot be read: {0}")]
    State(String),
    /// A block was decided whose body this node does not have.
    #[error("block {block} at height {height} was decided, but its body is missing here")]
    BodyMissing {
        /// The height of the block.
        height: Height,
        /// The hash of the block.
        block: Hash,
    },
}

impl From<JudgeError> for Fault {
    fn from(JudgeError(error): JudgeError) -> Self {
        Self::State(error)
    }
}

impl Fault {
    /// Class of the fault, for the exit of the process.
    #[must_use]
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Consensus(reason) => reason.class(),
            Self::State(_) => FaultClass::Corruption,
            Self::BodyMissing { .. } => FaultClass::Safety,
        }
    }
}
