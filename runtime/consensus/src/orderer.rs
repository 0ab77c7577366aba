//! The trait [`Orderer`] and the words it speaks.

use std::sync::Arc;

use vibecoin_primitives::{
    ChainParams, CommitCertificate, Evidence, FaultModel, Hash, Header, Height, PartStatement,
    ProposerSchedule, PublicKey, Round, SignedPart, ValidatorSet,
};

use crate::{ConsensusMessage, GuardEntry, LogRecord, Progress};

/// Microseconds on a clock that never goes back. The caller makes it; only differences mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// The time `micros` later.
    #[must_use]
    pub const fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// How long each step waits, in microseconds: first value, growth per round, ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a proposal.
    pub propose: u64,
    /// For a quorum of prevotes to agree.
    pub prevote: u64,
    /// For a quorum of precommits to agree.
    pub precommit: u64,
    /// What each grows by per round.
    pub delta: u64,
    /// What none grows beyond.
    pub max: u64,
}

impl Timeouts {
    /// How often a node that waits sends its messages of the round again. Does not grow: what was lost
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

/// Everything that a height depends on. A function of the chain up to the height before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeightParams {
    /// Which height.
    pub height: Height,
    /// Who votes on it.
    pub validators: Arc<ValidatorSet>,
    /// Who proposes in which round.
    pub schedule: ProposerSchedule,
    /// Which quorum decides. The same at every height of a chain.
    pub fault_model: FaultModel,
    /// How long steps wait.
    pub timeouts: Timeouts,
}

/// What the caller found out about a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockEvent {
    /// The answer to [`Output::Build`]: the block is complete and in the log.
    Built {
        /// As asked.
        height: Height,
        /// As asked.
        round: Round,
        /// The block.
        header: Box<Header>,
    },
    /// The answer to [`Output::Check`], or earlier than it when the body came first: the body is in the
    /// log and was checked. The verdict is a pure function of header, body and parent.
    Checked {
        /// The block.
        header: Box<Header>,
        /// The verdict.
        valid: bool,
    },
    /// A block of the current height that came with a certificate, complete and checked. The
    /// certificate is verified here; one that proves nothing changes nothing. `valid: false` under a
    /// good certificate is a safety halt.
    Synced {
        /// The block.
        header: Box<Header>,
        /// What makes it final.
        certificate: CommitCertificate,
        /// The verdict on the body.
        valid: bool,
    },
}

/// What the caller is to do. See the crate's page for the order.
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
    /// A round began. Information only.
    RoundStarted {
        /// At which height.
        height: Height,
        /// Which round.
        round: Round,
        /// Whose turn it is.
        proposer: PublicKey,
    },
    /// It is our turn: build a block and answer with [`BlockEvent::Built`]. The guard entry
    /// `Building` for this height and round is durable by now, so parts may be streamed.
    Build {
        /// At which height.
        height: Height,
        /// In which round.
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
        /// At which height.
        height: Height,
        /// In which round.
        round: Round,
        /// Which block.
        block: Hash,
    },
    /// The height is decided. Nothing more happens until [`Orderer::start_height`].
    Decided {
        /// What makes the block final; entries in ascending validator order.
        certificate: CommitCertificate,
        /// The block.
        header: Box<Header>,
        /// Double signatures seen at this height; each verifies against the height's validators.
        evidence: Vec<Evidence>,
    },
    /// Going on could break safety: stop. Nothing comes after this.
    Halt(HaltReason),
}

/// Why the orderer stopped for good.
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
        /// What differs.
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
        /// What is wrong.
        detail: &'static str,
    },
    /// A rule of the core was broken.
    #[error("consensus core at height {height}: {detail}")]
    Core {
        /// The height.
        height: Height,
        /// What the core said.
        detail: String,
    },
}

impl HaltReason {
    /// The exit code of the process: 20 (own data lost), 30 (safety halt).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::GuardAhead { .. } => 20,
            _ => 30,
        }
    }
}

/// What became of a message: what a gossip layer needs to know before it forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New, and every signature in it is good.
    Fresh,
    /// Good, and seen before.
    Known,
    /// Not for now: another height, too far ahead, or no room. Says nothing about the sender.
    Ignored,
    /// No honest node sends this.
    Rejected(&'static str),
}

/// Where in a round the node stands.
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

/// Counts since start, for metrics.
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

/// A look at the state, for RPC and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The height being decided, or decided last.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The step.
    pub step: Step,
    /// The guard keeps this node from signing at this height.
    pub abstaining: bool,
    /// The highest height that a verified message of a validator named, as far as this node looks ahead;
    /// above `height` means that others are ahead and blocks should be fetched.
    pub highest_seen: Height,
    /// Counts.
    pub counters: Counters,
}

/// Decides the next block. One per chain; drained by [`Orderer::poll`] after each call.
pub trait Orderer: Send {
    /// Begins a height. Called after the previous block is durable, and the log reset.
    fn start_height(&mut self, params: HeightParams, now: MonoTime);

    /// Begins the first height after the start of the process, from what the log and the guard file
    /// hold. Records of other heights are passed over. `guard: None` says that this key never signed.
    fn replay(
        &mut self,
        params: HeightParams,
        records: Vec<LogRecord>,
        guard: Option<GuardEntry>,
        now: MonoTime,
    );

    /// Blocks that may still be decided though their rounds are over: the one that this node is locked on, and the
    /// one that a quorum prevoted last. Whoever holds bodies keeps theirs.
    fn pinned(&self) -> Vec<Hash>;

    /// Takes a message of a peer, already limited in size and rate.
    fn on_message(&mut self, message: ConsensusMessage, now: MonoTime) -> Verdict;

    /// Takes a fact about a block.
    fn on_block(&mut self, event: BlockEvent, now: MonoTime);

    /// Fires the timers that are due.
    fn on_time(&mut self, now: MonoTime);

    /// Starts the wait for round 0's proposal: the pool is not empty, the first part was seen, or the
    /// empty-block interval is over. Without it an idle chain waits in round 0. Call it once per
    /// height; later calls change nothing.
    fn arm_propose(&mut self, now: MonoTime);

    /// A new part of the block of `round` came, and this much of the block is here: its proposer is at work. The wait
    /// for its proposal, where one runs, ends later by the share of half a propose timeout that `progress` is of the
    /// block. It never ends sooner for it, and never later than one and a half propose timeouts after it began,
    /// whatever comes and when ([`crate::PROPOSE_STRETCH_DIVISOR`]).
    fn proposal_comes(&mut self, round: Round, progress: Progress, now: MonoTime);

    /// The connection with a validator has ended: it is waited for half as long in its turns. It is waited
    /// for since others may still hear it.
    fn gone(&mut self, validator: PublicKey, now: MonoTime);

    /// There is a connection with a validator: for a moment it is often told again what this node says in
    /// this round. It has not heard it, and may be needed for a quorum.
    fn back(&mut self, validator: PublicKey, now: MonoTime);

    /// Signs the next part of the block that [`Output::Build`] asked for. The guard entry that covers all
    /// parts is durable by then. `None` for anything else: parts are signed once, in order, and not at all
    /// where parts may have left before a restart.
    fn sign_part(&mut self, statement: PartStatement) -> Option<SignedPart>;

    /// A part of a block that a peer sent, signed by this node's own key; the signature was checked. Halts
    /// when this process did not sign it.
    fn on_own_part(&mut self, statement: &PartStatement);

    /// Evidence against this node's own key; it was verified. Halts when the height is one at which this
    /// process, and none before it, has signed: it never contradicts itself, so another process did.
    fn on_own_evidence(&mut self, evidence: &Evidence);

    /// When [`Orderer::on_time`] is due.
    fn next_deadline(&self) -> Option<MonoTime>;

    /// The next thing to do.
    fn poll(&mut self) -> Option<Output>;

    /// Where things stand.
    fn status(&self) -> Status;
}
