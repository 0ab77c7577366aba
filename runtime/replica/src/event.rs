//! What a replica is told, and what it wants done.

use std::sync::Arc;

use vibecoin_consensus::{GuardEntry, HaltReason, LogRecord, MonoTime, Verdict};
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_primitives::{
    Body, CommitCertificate, Evidence, Hash, Header, Height, PublicKey, Receipts, Round, StateDiff, TimeMs,
    VerifiedTransaction,
};

use vibecoin_sync::PeerId;

use crate::Message;

/// The time, made by the caller: a clock that never goes back, and the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// For timers.
    pub mono: MonoTime,
    /// For block times.
    pub wall: TimeMs,
}

/// Names a gossiped message whose forwarding waits for a verdict; the network room gives the numbers out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub u64);

/// Names a submission, so that its answer finds the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Event<S> {
    /// The process starts: what the consensus log and the guard file hold. The first event, once.
    Start {
        /// Records of the log, oldest first.
        records: Vec<LogRecord>,
        /// The newest entry of the guard; `None` says that this key never signed.
        guard: Option<GuardEntry>,
    },
    /// A deadline is due.
    Time,
    /// A peer sent a message that passed the wire's limits.
    Message {
        /// Who.
        from: PeerId,
        /// What.
        message: Box<Message>,
        /// Transactions of it whose signatures have been checked already.
        verified: Vec<VerifiedTransaction>,
        /// Set when the message came by gossip: [`Action::Forward`] must follow.
        gossip: Option<GossipId>,
    },
    /// A peer of the same chain is connected.
    Connected {
        /// Who.
        peer: PeerId,
        /// The newest block that it says it has.
        head: Height,
        /// Which validator it proved to be.
        validator: Option<PublicKey>,
    },
    /// A peer is gone.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// Blocks that a peer gave from this height on were refused before they came here: others are asked at once.
    Refused {
        /// Who gave them.
        from: PeerId,
        /// The height of the first of them.
        height: Height,
    },
    /// Evidence that a client of this node handed in. Peers are told only of what is news here: whoever repeats a
    /// piece must not make this node publish it again and again, for which others would ban it.
    Evidence(Box<Evidence>),
    /// Transactions whose signatures have been checked.
    Transactions {
        /// Comes back with the answer.
        ticket: Ticket,
        /// Oldest first.
        transactions: Vec<Arc<VerifiedTransaction>>,
    },
    /// The commit that was asked for is durable; `state` is the state after it.
    Committed {
        /// Its height.
        height: Height,
        /// The state to go on from.
        state: S,
    },
}

/// A decided block with everything that is stored of it.
#[derive(Clone, Debug)]
pub struct Commit<S> {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// The body.
    pub body: Body,
    /// What makes it final.
    pub certificate: CommitCertificate,
    /// One per transaction.
    pub receipts: Receipts,
    /// The changed rows.
    pub diff: StateDiff,
    /// Identifiers of the transactions, in block order.
    pub ids: Vec<Hash>,
    /// The state after the block.
    pub state: S,
}

/// Something to do. Actions are performed in order; a sync action is complete before the next begins.
#[derive(Debug)]
pub enum Action<S> {
    /// Append to the consensus log.
    Append(LogRecord),
    /// Make the log durable.
    SyncLog,
    /// Make the entry durable in the guard file.
    Guard(GuardEntry),
    /// Send to everybody: parts of a block to every validator, statements by gossip, a status to every peer.
    Broadcast(Message),
    /// Send to one peer.
    Send {
        /// Whom.
        to: PeerId,
        /// What.
        message: Message,
    },
    /// Answer a peer's sync request from the stored blocks.
    Serve {
        /// Whom.
        to: PeerId,
        /// First height wanted.
        from: Height,
        /// How many blocks.
        count: u32,
    },
    /// Answer a peer's request for the body of a block of the height being decided, or of the newest decided one;
    /// [`crate::Replica::body`] has it.
    GiveBody {
        /// Whom.
        to: PeerId,
        /// The block.
        block: Hash,
    },
    /// Whether a gossiped message may be passed on.
    Forward {
        /// Of the event.
        gossip: GossipId,
        /// Fresh and known ones are passed on; ignored ones are not; rejected ones are the sender's fault.
        verdict: Verdict,
    },
    /// Store the block in one atomic synced write, then say [`Event::Committed`].
    Commit(Box<Commit<S>>),
    /// Empty the log: the height before this one is durable.
    ResetLog {
        /// The height that the log is for now.
        height: Height,
    },
    /// The answer to [`Event::Transactions`], one entry per transaction, in order.
    Admitted {
        /// Of the event.
        ticket: Ticket,
        /// What became of each.
        results: Vec<Result<Inserted, MempoolError>>,
    },
    /// A round began. Information only.
    RoundStarted {
        /// At which height.
        height: Height,
        /// Which round.
        round: Round,
        /// Whose turn it is.
        proposer: PublicKey,
    },
    /// A proposal came at another time than it names: this node votes for nothing in its round. Information
    /// only; when it comes often, a clock is wrong.
    Untimely {
        /// At which height.
        height: Height,
        /// In which round.
        round: Round,
        /// What the block names.
        time: TimeMs,
        /// What the clock of this node showed.
        clock: TimeMs,
    },
    /// A peer sent what no honest node sends.
    Blame {
        /// Who.
        peer: PeerId,
        /// What was wrong.
        reason: String,
    },
    /// Stop the process with the reason's exit code. Nothing follows.
    Halt(Fault),
}

/// Why a replica stops for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Going on could break safety.
    #[error(transparent)]
    Consensus(#[from] HaltReason),
    /// This node cannot read its own state.
    #[error("the state cannot be read: {0}")]
    State(String),
    /// A block was decided whose body this node does not have.
    #[error("block {block} at height {height} was decided, but its body is missing here")]
    BodyMissing {
        /// The height.
        height: Height,
        /// The block.
        block: Hash,
    },
}

impl Fault {
    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Consensus(reason) => reason.exit_code(),
            Self::State(_) => 20,
            Self::BodyMissing { .. } => 30,
        }
    }
}
