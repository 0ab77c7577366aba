//! The orderer: implementation of each call.
//!
//! The core yields effects while it holds its own state, so the state that effects may access lives in
//! [`crate::handler`], apart from the core. The outputs of one call form one burst, which is put into the order
//! that durability requires when the call ends.

use vibecoin_primitives::{Evidence, Hash, Height, PartStatement, PublicKey, Round, SecretKey, SignedPart};

use crate::active::ActiveHeight;
use crate::context::{self, CoreState, Ctx, ValidatorSet};
use crate::convert::from_core;
use crate::future::FutureMessages;
use crate::handler::{HeightState, NodeState};
use crate::{
    BlockEvent, ConsensusMessage, GuardEntry, HaltReason, HeightParams, LogRecord, MonoTime, Orderer, Output,
    Progress, Status, Step, Verdict,
};

/// Configuration that is constant while the process runs.
pub struct OrdererConfig {
    /// Genesis hash of the chain: part of everything signed.
    pub genesis: Hash,
    /// The signing key; `None` on a follower.
    pub key: Option<SecretKey>,
}

/// [`Orderer`] by a Tendermint-style protocol: proposal, prevote, precommit.
pub struct BftOrderer {
    node: NodeState,
    /// The height being decided, or decided last; `None` before the first.
    height: Option<CoreOfHeight>,
    future: FutureMessages,
}

/// The core at one height, with the state that its effects may access.
struct CoreOfHeight {
    core: CoreState,
    state: HeightState,
}

impl BftOrderer {
    /// An orderer before its first height.
    #[must_use]
    pub fn new(config: OrdererConfig) -> Self {
        Self {
            node: NodeState::new(config.genesis, config.key),
            height: None,
            future: FutureMessages::default(),
        }
    }

    /// Abstains up to and including `height`, from the start on: the home shows that the key may have signed
    /// there without a trustworthy record of it. Call it before [`Orderer::replay`].
    pub const fn abstain_through(&mut self, height: Height) {
        self.node.abstain_through(height);
    }

    /// Declares that the guard file may have lost its newest entry, while the log is complete. Signed
    /// messages are in the log; the beginning of a block is not, so the round in progress counts as one in
    /// which a block was begun. Call it before [`Orderer::replay`].
    pub const fn doubt_newest(&mut self) {
        self.node.doubt_newest();
    }

    /// The same orderer for a node that equivocates on purpose, as in tests: messages of its own key from
    /// elsewhere do not stop it.
    #[must_use]
    pub fn with_unwatched_key(mut self) -> Self {
        self.node.unwatch_key();
        self
    }

    /// Replaces the height. Returns false after a halt.
    fn open(&mut self, params: HeightParams, now: MonoTime) -> bool {
        if self.node.is_halted() {
            return false;
        }
        self.node.advance_clock(now);
        let height = params.height;
        let fault_model = params.fault_model;
        let set = match ValidatorSet::new(params) {
            Ok(set) => set,
            Err(detail) => {
                self.halt(HaltReason::BadHeightParams { height, detail });
                return false;
            }
        };
        let previous = self.height.as_ref().map(|height| height.state.validators());
        self.node.begin_height(previous, &set);
        let core = CoreState::new(
            Ctx,
            context::Height(height.0),
            set.clone(),
            self.node.core_params(fault_model),
            // The core's own queue for later heights stays empty: ours precedes it.
            1,
            1,
        );
        let state = HeightState::new(set);
        self.height = Some(CoreOfHeight { core, state });
        true
    }

    /// The height in progress, and the messages kept for later ones. `None` before the first height.
    fn active(&mut self) -> Option<(ActiveHeight<'_>, &mut FutureMessages)> {
        let CoreOfHeight { core, state } = self.height.as_mut()?;
        let active = ActiveHeight::new(core, &mut self.node, state);
        Some((active, &mut self.future))
    }

    fn halt(&mut self, reason: HaltReason) {
        match self.active() {
            Some((mut active, _)) => active.handler().halt(reason),
            None => {
                let _is_first = self.node.halt(reason);
            }
        }
    }
}

impl Orderer for BftOrderer {
    fn start_height(&mut self, params: HeightParams, now: MonoTime) {
        let height = params.height;
        if self.open(params, now)
            && let Some((mut active, future)) = self.active()
        {
            active.start();
            for message in future.take(height) {
                active.admit(message, future);
            }
            active.handler().close_burst();
        }
    }

    fn replay(
        &mut self,
        params: HeightParams,
        records: Vec<LogRecord>,
        guard: Option<GuardEntry>,
        now: MonoTime,
    ) {
        self.node.load_guard(guard);
        if self.open(params, now)
            && let Some((mut active, _)) = self.active()
        {
            active.replay(records);
            active.handler().close_burst();
        }
    }

    fn pinned(&self) -> Vec<Hash> {
        let state = self
            .height
            .as_ref()
            .map(|height| height.core.driver.round_state());
        let values = state.map(|state| [&state.locked, &state.valid]);
        let values = values.into_iter().flatten().flatten();
        values.map(|found| found.value.hash()).collect()
    }

    fn on_message(&mut self, message: ConsensusMessage, now: MonoTime) -> Verdict {
        if self.node.is_halted() {
            return Verdict::Ignored;
        }
        self.node.advance_clock(now);
        let verdict = match self.active() {
            Some((mut active, future)) => {
                let verdict = active.admit(message, future);
                active.handler().close_burst();
                verdict
            }
            None => Verdict::Ignored,
        };
        self.node.count(verdict);
        verdict
    }

    fn on_block(&mut self, event: BlockEvent, now: MonoTime) {
        if self.node.is_halted() {
            return;
        }
        self.node.advance_clock(now);
        if let Some((mut active, _)) = self.active() {
            active.on_block(event);
            active.handler().close_burst();
        }
    }

    fn on_time(&mut self, now: MonoTime) {
        self.node.advance_clock(now);
        if let Some((mut active, _)) = self.active() {
            active.on_time();
            active.handler().close_burst();
        }
    }

    fn start_propose_timer(&mut self, now: MonoTime) {
        self.node.advance_clock(now);
        if let Some((mut active, _)) = self.active() {
            active.handler().release_propose_timer();
        }
    }

    fn on_proposal_progress(&mut self, round: Round, progress: Progress, now: MonoTime) {
        self.node.advance_clock(now);
        if let Some((mut active, _)) = self.active() {
            active.handler().on_proposal_progress(round, progress);
        }
    }

    fn on_peer_disconnected(&mut self, validator: PublicKey, now: MonoTime) {
        self.node.advance_clock(now);
        if let Some((mut active, _)) = self.active() {
            active.handler().on_peer_disconnected(validator);
        }
    }

    fn on_peer_connected(&mut self, validator: PublicKey, now: MonoTime) {
        self.node.advance_clock(now);
        if let Some((mut active, _)) = self.active() {
            active.handler().on_peer_connected(validator);
        }
    }

    fn sign_part(&mut self, statement: PartStatement) -> Option<SignedPart> {
        let (mut active, _) = self.active()?;
        active.handler().sign_part(statement)
    }

    fn on_own_part(&mut self, statement: &PartStatement) {
        if let Some(reason) = self.node.own_part_elsewhere(statement) {
            self.halt(reason);
        }
    }

    fn on_own_evidence(&mut self, evidence: &Evidence) {
        if let Some(reason) = self.node.own_evidence_elsewhere(evidence) {
            self.halt(reason);
        }
    }

    fn next_deadline(&self) -> Option<MonoTime> {
        self.height.as_ref()?.state.next_deadline()
    }

    fn poll(&mut self) -> Option<Output> {
        self.node.next_output()
    }

    fn status(&self) -> Status {
        let (height, round, step) = self
            .height
            .as_ref()
            .map_or((Height::ZERO, Round::ZERO, Step::Idle), CoreOfHeight::position);
        Status {
            height,
            round,
            step,
            abstaining: self.node.is_abstaining(height),
            highest_seen: self.node.highest_seen().max(height),
            counters: self.node.counters(),
        }
    }
}

impl CoreOfHeight {
    fn position(&self) -> (Height, Round, Step) {
        let driver = &self.core.driver;
        let step = if self.state.is_decided() {
            Step::Idle
        } else if driver.step_is_propose() {
            Step::Propose
        } else if driver.step_is_prevote() {
            Step::Prevote
        } else if driver.step_is_precommit() {
            Step::Precommit
        } else {
            Step::Idle
        };
        let round = from_core::round(self.core.round());
        (self.state.params().height, round, step)
    }
}
