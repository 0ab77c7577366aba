//! State that effects may access: of the node, and of the height in progress.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use malachitebft_core_consensus::Params;
use malachitebft_core_types::ValuePayload;
use vibecoin_primitives::{
    Evidence, FaultModel, Hash, Height, PartStatement, PublicKey, Round, SecretKey, SignedProposal,
};

use super::blocks::Blocks;
use super::burst::Burst;
use super::certificates::AcceptedCertificates;
use super::propose_timer::ProposeTimer;
use super::replay::Replay;
use super::statements::StatementCounts;
use crate::context::{self, CoreInput, Ctx, Key, ValidatorSet};
use crate::own::OwnKey;
use crate::timer_queue::TimerQueue;
use crate::verify::Verifier;
use crate::{
    Counters, FUTURE_HEIGHTS, Guard, GuardEntry, HaltReason, HeightParams, MonoTime, Output, Verdict,
};

/// State that outlives a height.
pub(crate) struct NodeState {
    pub(super) genesis: Hash,
    pub(super) key: Option<SecretKey>,
    pub(super) me: PublicKey,
    pub(super) guard: Guard,
    /// See [`crate::BftOrderer::abstain_through`].
    pub(super) abstain_through: Option<Height>,
    /// See [`crate::BftOrderer::doubt_newest`].
    pub(super) newest_in_doubt: bool,
    /// Messages signed by this process, to distinguish them from those that another one signs with the same key.
    pub(super) own: OwnKey,
    pub(super) verifier: Verifier,
    /// Keys that left the set recently, and the first height without them.
    departed: BTreeMap<PublicKey, Height>,
    /// Never decreases.
    pub(super) now: MonoTime,
    /// Validators that are disconnected.
    pub(super) disconnected: BTreeSet<PublicKey>,
    /// Time until which messages are rebroadcast often for a reconnected validator.
    pub(super) rebroadcast_often_until: MonoTime,
    halted: bool,
    pub(super) out: VecDeque<Output>,
    /// Never decreases.
    highest_seen: Height,
    pub(super) counters: Counters,
}

impl NodeState {
    pub fn new(genesis: Hash, key: Option<SecretKey>) -> Self {
        // Without a key the node has no identity: no validator has the zero key, it is of small order.
        let me = key.as_ref().map_or(PublicKey([0; 32]), SecretKey::public_key);
        Self {
            genesis,
            key,
            me,
            guard: Guard::default(),
            abstain_through: None,
            newest_in_doubt: false,
            own: OwnKey::default(),
            verifier: Verifier::new(genesis),
            departed: BTreeMap::new(),
            now: MonoTime::default(),
            disconnected: BTreeSet::new(),
            rebroadcast_often_until: MonoTime::default(),
            halted: false,
            out: VecDeque::new(),
            highest_seen: Height::ZERO,
            counters: Counters::default(),
        }
    }

    pub const fn abstain_through(&mut self, height: Height) {
        self.abstain_through = Some(height);
    }

    pub const fn doubt_newest(&mut self) {
        self.newest_in_doubt = true;
    }

    pub const fn unwatch_key(&mut self) {
        self.own.unwatched = true;
    }

    /// Begins with this content of the guard file.
    pub fn load_guard(&mut self, newest: Option<GuardEntry>) {
        self.guard = Guard::new(newest);
    }

    pub fn advance_clock(&mut self, now: MonoTime) {
        self.now = self.now.max(now);
    }

    pub const fn is_halted(&self) -> bool {
        self.halted
    }

    /// Stops for good. Returns true if this is the first reason; later ones are dropped.
    pub fn halt(&mut self, reason: HaltReason) -> bool {
        let is_first = !self.halted;
        if is_first {
            self.out.clear();
            self.out.push_back(Output::Halt(reason));
            self.halted = true;
        }
        is_first
    }

    /// Prepares for the next height, whose validators are `next` and follow `previous`.
    pub fn begin_height(&mut self, previous: Option<&ValidatorSet>, next: &ValidatorSet) {
        let height = next.params().height;
        self.verifier.forget_below(height);
        self.own.begin_height(height);
        self.record_departed(previous, next);
    }

    /// Keeps the keys that leave with this set, for as long as a node that forwards their messages could be behind.
    fn record_departed(&mut self, previous: Option<&ValidatorSet>, next: &ValidatorSet) {
        let height = next.params().height;
        self.departed
            .retain(|key, since| height < since.saturating_add(FUTURE_HEIGHTS) && next.member(key).is_none());
        let Some(previous) = previous else { return };
        for member in previous.params().validators.members() {
            if next.member(&member.key).is_none() {
                self.departed.insert(member.key, height);
            }
        }
    }

    pub fn has_departed(&self, key: &PublicKey) -> bool {
        self.departed.contains_key(key)
    }

    /// This node's part in the core.
    pub fn core_params(&self, fault_model: FaultModel) -> Params<Ctx> {
        Params {
            address: Key(self.me),
            threshold_params: context::thresholds(fault_model),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: self.key.is_some(),
        }
    }

    /// The reason to halt if this process did not sign a part that is signed by its key.
    pub fn own_part_elsewhere(&self, statement: &PartStatement) -> Option<HaltReason> {
        let PartStatement { height, round, .. } = *statement;
        let is_foreign = self.me == statement.proposer && self.own.is_foreign_part(statement);
        is_foreign.then_some(HaltReason::KeyUsedElsewhere {
            what: "part of a block",
            height,
            round,
        })
    }

    /// The reason to halt if evidence against this node's key shows that another process signed.
    pub fn own_evidence_elsewhere(&self, evidence: &Evidence) -> Option<HaltReason> {
        let (validator, height) = evidence.offender();
        let (what, round) = match evidence {
            Evidence::DuplicateVote { first, .. } => ("one of two votes", first.vote.round),
            Evidence::DuplicateProposal { first, .. } => ("one of two proposals", first.proposal.round),
            Evidence::DuplicatePart { first, .. } => ("one of two parts of blocks", first.statement.round),
        };
        let is_foreign = self.me == validator && self.own.is_foreign_at(height);
        is_foreign.then_some(HaltReason::KeyUsedElsewhere { what, height, round })
    }

    pub fn next_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Records that a validator is at `height`.
    pub fn record_height(&mut self, height: Height) {
        self.highest_seen = self.highest_seen.max(height);
    }

    pub const fn highest_seen(&self) -> Height {
        self.highest_seen
    }

    pub fn is_abstaining(&self, height: Height) -> bool {
        self.key.is_some() && self.guard.abstains(height)
    }

    pub const fn count(&mut self, verdict: Verdict) {
        let counters = &mut self.counters;
        match verdict {
            Verdict::Fresh | Verdict::Known => {}
            Verdict::Ignored => counters.ignored = counters.ignored.saturating_add(1),
            Verdict::Rejected(_) => counters.rejected = counters.rejected.saturating_add(1),
        }
    }

    pub const fn counters(&self) -> Counters {
        Counters {
            verified: self.verifier.checked,
            verified_before: self.verifier.remembered,
            ..self.counters
        }
    }
}

/// State of one height. The next height has a new one.
pub(crate) struct HeightState {
    pub(super) validators: ValidatorSet,
    pub(super) statements: StatementCounts,
    pub(super) certificates: AcceptedCertificates,
    pub(super) timers: TimerQueue,
    pub(super) propose_timer: ProposeTimer,
    pub(super) blocks: Blocks,
    /// Inputs caused by effects.
    pub(super) inputs: VecDeque<CoreInput>,
    pub(super) decided: Option<Hash>,
    /// Our newest proposal.
    pub(super) proposed: Option<Box<SignedProposal>>,
    /// Round of the block of ours that is being streamed, and the sequence number of its next part.
    pub(super) streaming: Option<(Round, u32)>,
    /// Present while the log is replayed.
    pub(super) replay: Option<Replay>,
    pub(super) burst: Burst,
}

impl HeightState {
    pub fn new(validators: ValidatorSet) -> Self {
        Self {
            validators,
            statements: StatementCounts::default(),
            certificates: AcceptedCertificates::default(),
            timers: TimerQueue::default(),
            propose_timer: ProposeTimer::default(),
            blocks: Blocks::default(),
            inputs: VecDeque::new(),
            decided: None,
            proposed: None,
            streaming: None,
            replay: None,
            burst: Burst::default(),
        }
    }

    pub const fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    pub fn params(&self) -> &HeightParams {
        self.validators.params()
    }

    pub const fn is_decided(&self) -> bool {
        self.decided.is_some()
    }

    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.timers.next()
    }
}
