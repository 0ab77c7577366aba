//! The trait [`Orderer`] and its vocabulary.

use std::sync::Arc;

use vibecoin_primitives::{
    ChainParams, CommitCertificate, Evidence, FaultClass, FaultModel, Hash, Header, Height, PartStatement,
    ProposerSchedule, PublicKey, Round, SignedPart, ValidatorSet,
};

use crate::{ConsensusMessage, GuardEntry, LogRecord, Verdict};

/// Microseconds of a monotonic clock, read by the caller; only differences are meaningful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// The time `micros` later.
    #[must_use]
    pub const fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// Timeout of each step, in microseconds: first value, growth per round, maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a proposal.
    pub propose: u64,
    /// For a quorum of prevotes to agree.
    pub prevote: u64,
    /// For a quorum of precommits to agree.
    pub precommit: u64,
    /// Growth of each per round.
    pub delta: u64,
    /// Maximum of each.
    pub max: u64,
}

impl Timeouts {
    /// Interval at which a waiting node sends its messages of the round again. Does not grow: a lost message
    /// is needed before the next timeout.
    #[must_use]
    pub const fn rebroadcast(&self) -> u64 {
        self.propose
            .saturating_add(self.prevote)
            .saturating_add(self.precommit)
    }
}

impl From<&ChainParams> for Timeouts {
    fn from(params: &ChainParams) -> Self {
        let micros = |ms: u32| u64::from(ms).saturating_mul(1000);
        Self {
            propose: micros(params.timeout_propose_ms),
            prevote: micros(params.timeout_prevote_ms),
            precommit: micros(params.timeout_precommit_ms),
            delta: micros(params.timeout_delta_ms),
            max: micros(params.timeout_max_ms),
        }
    }
}

/// Inputs of a height. A function of the chain up to the previous height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeightParams {
    /// The height to decide.
    pub height: Height,
    /// The validators that vote on it.
    pub validators: Arc<ValidatorSet>,
    /// The proposer order of its rounds.
    pub schedule: ProposerSchedule,
    /// The fault model, which determines the quorum. The same at every height of a chain.
    pub fault_model: FaultModel,
    /// Timeouts of its steps.
    pub timeouts: Timeouts,
}

/// Received share of the block of a round: parts without a gap, counted from the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Parts received.
    pub parts: u32,
    /// Parts of the whole block.
    pub of: u32,
}

/// A result about a block, reported by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockEvent {
    /// The answer to [`Output::Build`]: the block is complete and in the log.
    Built {
        /// The requested height.
        height: Height,
        /// The requested round.
        round: Round,
        /// The block.
        header: Box<Header>,
    },
    /// The answer to [`Output::Check`], or earlier than it when the body arrived first: the body is in the
    /// log and was checked. The verdict is a pure function of header, body and parent.
    Checked {
        /// The block.
        header: Box<Header>,
        /// The verdict.
        valid: bool,
    },
    /// A block of the current height that arrived with a certificate, complete and checked. The certificate
    /// is verified here; one that proves nothing changes nothing. `valid: false` under a valid certificate is
    /// a safety halt.
    Synced {
        /// The block.
        header: Box<Header>,
        /// The certificate that makes it final.
        certificate: CommitCertificate,
        /// The verdict on the body.
        valid: bool,
    },
}

/// An output for the caller to perform. See the crate's page for the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the consensus log; need not be durable yet.
    Append(LogRecord),
    /// Make everything appended durable.
    SyncLog,
    /// Make the entry durable in the guard file. Covers every earlier one.
    Guard(GuardEntry),
    /// Send to all validators.
    Send(ConsensusMessage),
    /// A round began. Informational only.
    RoundStarted {
        /// The height of the round.
        height: Height,
        /// The round.
        round: Round,
        /// The proposer of the round.
        proposer: PublicKey,
    },
    /// It is our turn: build a block and answer with [`BlockEvent::Built`]. The guard entry
    /// `Building` for this height and round is durable by now, so parts may be streamed.
    Build {
        /// The height of the block.
        height: Height,
        /// The round of the block.
        round: Round,
        /// We were building here before a restart: answer with the finished block from the log, or
        /// not at all. Another block would contradict parts already sent.
        rebuild: bool,
    },
    /// The scheduled proposer signed a proposal for this block: get its body, check it and answer with
    /// [`BlockEvent::Checked`]. Once per block; never for a block already answered.
    Check {
        /// The block.
        header: Box<Header>,
        /// The round it is proposed in.
        round: Round,
    },
    /// Send the stored body of `block` again.
    Restream {
        /// The height of the block.
        height: Height,
        /// The round of the proposal.
        round: Round,
        /// The hash of the block.
        block: Hash,
    },
    /// The height is decided. Nothing more happens until [`Orderer::start_height`].
    Decided {
        /// The certificate that makes the block final; entries in ascending validator order.
        certificate: CommitCertificate,
        /// The block.
        header: Box<Header>,
        /// Double signatures seen at this height; each verifies against the height's validators.
        evidence: Vec<Evidence>,
    },
    /// Continuing could break safety: stop. No output follows.
    Halt(HaltReason),
}

/// Reason why the orderer stopped for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HaltReason {
    /// The log and the code disagree about what this node signs.
    #[error(
        "replay of the consensus log at height {height} derived another message than the recorded one: {detail}"
    )]
    ReplayDivergence {
        /// The height.
        height: Height,
        /// The difference.
        detail: String,
    },
    /// The only validator of the chain has signed something that its log does not hold, so it can
    /// neither sign again nor fetch the block from others.
    #[error(
        "the guard stands at height {guard_height} round {guard_round}, ahead of what the log of height {height} holds, and there is no other validator"
    )]
    GuardAhead {
        /// The height to be decided.
        height: Height,
        /// The guard's height.
        guard_height: Height,
        /// The guard's round.
        guard_round: Round,
    },
    /// A quorum decided a block that this node finds invalid.
    #[error("block {block} at height {height} has a quorum but is invalid here")]
    InvalidDecision {
        /// The height.
        height: Height,
        /// The block.
        block: Hash,
    },
    /// Two blocks of one height have certificates.
    #[error("two blocks are certified at height {height}: {first} and {second}")]
    ConflictingCertificates {
        /// The height.
        height: Height,
        /// The block decided here.
        first: Hash,
        /// The other one.
        second: Hash,
    },
    /// The node's own key signed something that this process did not sign.
    #[error(
        "this node's validator key signs in another process too: {what} at height {height} round {round} is not from here; stop the other process, remove the key from its home, and only then start this node again"
    )]
    KeyUsedElsewhere {
        /// The kind of message.
        what: &'static str,
        /// Its height.
        height: Height,
        /// Its round.
        round: Round,
    },
    /// Validators and proposer order do not belong together, or their power is out of range.
    #[error("the parameters of height {height} contradict each other: {detail}")]
    BadHeightParams {
        /// The height.
        height: Height,
        /// The violation.
        detail: &'static str,
    },
    /// A rule of the core was broken.
    #[error("consensus core at height {height}: {detail}")]
    Core {
        /// The height.
        height: Height,
        /// The error that the core reported.
        detail: String,
    },
}

impl HaltReason {
    /// Class of the fault: own data lost, or a safety halt.
    #[must_use]
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::GuardAhead { .. } => FaultClass::Corruption,
            _ => FaultClass::Safety,
        }
    }
}

/// Position of the node within a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Before the first height, or between a decision and the next height.
    Idle,
    /// Waiting for a proposal.
    Propose,
    /// Prevoted.
    Prevote,
    /// Precommitted.
    Precommit,
}

/// Counters since start, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Signatures made.
    pub signed: u64,
    /// Signatures checked.
    pub verified: u64,
    /// Checks answered from memory.
    pub verified_before: u64,
    /// Times the guard refused to sign.
    pub refused: u64,
    /// Messages rejected.
    pub rejected: u64,
    /// Messages ignored.
    pub ignored: u64,
    /// Timeouts that fired (rebroadcasts not counted).
    pub timeouts: u64,
    /// Inputs that the core answered with an error and that changed nothing.
    pub core_errors: u64,
}

/// Snapshot of the state, for RPC and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The height being decided, or decided last.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The step.
    pub step: Step,
    /// True if the guard keeps this node from signing at this height.
    pub abstaining: bool,
    /// The highest height that a verified message of a validator named, as far as this node looks ahead;
    /// above `height` means that others are ahead and blocks should be fetched.
    pub highest_seen: Height,
    /// Counters since start.
    pub counters: Counters,
}

/// Decides the next block. One per chain; drained by [`Orderer::poll`] after each call.
pub trait Orderer: Send {
    /// Begins a height. Called after the previous block is durable, and the log reset.
    fn start_height(&mut self, params: HeightParams, now: MonoTime);

    /// Begins the first height after the start of the process, from the contents of the log and the guard
    /// file. Records of other heights are skipped. `guard: None` means that this key never signed.
    fn replay(
        &mut self,
        params: HeightParams,
        records: Vec<LogRecord>,
        guard: Option<GuardEntry>,
        now: MonoTime,
    );

    /// Blocks that may still be decided although their rounds are over: the one that this node is locked on,
    /// and the one that a quorum prevoted last. The caller keeps their bodies.
    fn pinned(&self) -> Vec<Hash>;

    /// Processes a message of a peer, already limited in size and rate.
    fn on_message(&mut self, message: ConsensusMessage, now: MonoTime) -> Verdict;

    /// Processes a result about a block.
    fn on_block(&mut self, event: BlockEvent, now: MonoTime);

    /// Fires the timers that are due.
    fn on_time(&mut self, now: MonoTime);

    /// Starts the wait for round 0's proposal: the pool is not empty, the first part was seen, or the
    /// empty-block interval is over. Without it an idle chain waits in round 0. Call it once per
    /// height; later calls change nothing.
    fn start_propose_timer(&mut self, now: MonoTime);

    /// A new part of the block of `round` arrived, and `progress` of the block is here: its proposer is
    /// active. A running wait for its proposal is extended by half a propose timeout times the share that
    /// `progress` is of the block. It is never shortened, and never ends later than one and a half propose
    /// timeouts after it began, whatever arrives and when ([`crate::PROPOSE_STRETCH_DIVISOR`]).
    fn on_proposal_progress(&mut self, round: Round, progress: Progress, now: MonoTime);

    /// A validator disconnected: the wait for its proposals is halved. It is not skipped, since others may
    /// still receive its messages.
    fn on_peer_disconnected(&mut self, validator: PublicKey, now: MonoTime);

    /// A validator connected: for a short time the messages of this node in this round are rebroadcast often.
    /// The validator has not received them, and may be needed for a quorum.
    fn on_peer_connected(&mut self, validator: PublicKey, now: MonoTime);

    /// Signs the next part of the block requested by [`Output::Build`]. The guard entry that covers all parts
    /// is durable by then. `None` for anything else: parts are signed once, in order, and never where parts
    /// may have left before a restart.
    fn sign_part(&mut self, statement: PartStatement) -> Option<SignedPart>;

    /// A part of a block received from a peer, signed by this node's own key; the signature was checked.
    /// Halts when this process did not sign it.
    fn on_own_part(&mut self, statement: &PartStatement);

    /// Verified evidence against this node's own key. Halts when the height is one at which this process, and
    /// no earlier one, has signed: it never equivocates, so another process did.
    fn on_own_evidence(&mut self, evidence: &Evidence);

    /// Time at which [`Orderer::on_time`] is due.
    fn next_deadline(&self) -> Option<MonoTime>;

    /// The next output to perform.
    fn poll(&mut self) -> Option<Output>;

    /// Snapshot of the current state.
    fn status(&self) -> Status;
}
