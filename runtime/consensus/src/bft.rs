//! The orderer: implementation of each call.
//!
//! The core yields effects while it holds its own state, so the state that effects may access lives in
//! [`crate::shell`], apart from the core. The outputs of one call form one burst, which is put into the order
//! that durability requires when the call ends.

use malachitebft_core_consensus::{Error, LocallyProposedValue, MisbehaviorEvidence, Params, process};
use malachitebft_core_types::{ValuePayload, VoteExtensionPolicy};
use vibecoin_primitives::{
    CommitCertificate, Evidence, Hash, Header, Height, PartStatement, PublicKey, Round, SecretKey, SignedPart,
};

use crate::context::{self, BlockValue, CoreInput, CoreState, Ctx, Key, ValidatorSet};
use crate::convert::{from_core, to_core};
use crate::future::Future;
use crate::replay::Replay;
use crate::shell::{Shell, proposed_value, timeout_of};
use crate::timers::TimerKind;
use crate::{
    BlockEvent, ConsensusMessage, Counters, Guard, GuardEntry, HaltReason, HeightParams, LogRecord, MonoTime,
    Orderer, Output, Progress, Status, Step, Verdict,
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
    pub(crate) core: Option<CoreState>,
    pub(crate) shell: Shell,
    pub(crate) future: Future,
}

impl BftOrderer {
    /// An orderer before its first height.
    #[must_use]
    pub fn new(config: OrdererConfig) -> Self {
        Self {
            core: None,
            shell: Shell::new(config),
            future: Future::default(),
        }
    }

    /// Abstains up to and including `height`, from the start on: the home shows that the key may have signed
    /// there without a trustworthy record of it. Call it before [`Orderer::replay`].
    pub const fn abstain_through(&mut self, height: Height) {
        self.shell.silent_through = Some(height);
    }

    /// Declares that the guard file may have lost its newest entry, while the log is complete. Signed
    /// messages are in the log; the beginning of a block is not, so the round in progress counts as one in
    /// which a block was begun. Call it before [`Orderer::replay`].
    pub const fn doubt_newest(&mut self) {
        self.shell.newest_in_doubt = true;
    }

    /// The same orderer for a node that equivocates on purpose, as in tests: messages of its own key from
    /// elsewhere do not stop it.
    #[must_use]
    pub fn with_unwatched_key(mut self) -> Self {
        self.shell.own.unwatched = true;
        self
    }

    /// Resets everything that belongs to one height. `None` after a halt.
    pub(crate) fn open(&mut self, params: HeightParams, now: MonoTime) -> Option<ValidatorSet> {
        let shell = &mut self.shell;
        if shell.halt.is_some() {
            return None;
        }
        shell.advance_clock(now);
        let height = params.height;
        let fault_model = params.fault_model;
        let set = match ValidatorSet::new(params) {
            Ok(set) => set,
            Err(detail) => {
                shell.halt(HaltReason::BadHeightParams { height, detail });
                return None;
            }
        };
        shell.verifier.forget_below(height);
        shell.own.begin_height(height);
        shell.note_who_left(&set);
        shell.set = Some(set.clone());
        shell.spoken.clear();
        shell.certificates.clear();
        shell.timers.clear();
        shell.armed = false;
        shell.held = false;
        shell.blocks.clear();
        shell.inputs.clear();
        shell.decided = None;
        shell.proposed = None;
        shell.streaming = None;
        shell.replay = None;
        shell.unsynced = false;
        self.core = Some(CoreState::new(
            Ctx,
            context::Height(height.0),
            set.clone(),
            Params {
                address: Key(shell.me),
                threshold_params: context::thresholds(fault_model),
                value_payload: ValuePayload::ProposalAndParts,
                enabled: shell.key.is_some(),
            },
            // The core's own queue for later heights stays empty: ours precedes it.
            1,
            1,
        ));
        Some(set)
    }

    pub(crate) fn begin(&mut self, set: ValidatorSet) {
        let height = context::Height(set.params().height.0);
        self.feed(CoreInput::StartHeight(
            height,
            set,
            false,
            None,
            VoteExtensionPolicy::Disabled,
        ));
    }

    /// Feeds the core one input, and every input that results from it.
    pub(crate) fn feed(&mut self, input: CoreInput) {
        let Self { core, shell, .. } = self;
        let Some(core) = core else { return };
        shell.inputs.push_back(input);
        while let Some(input) = shell.inputs.pop_front() {
            if shell.halt.is_some() || shell.decided.is_some() {
                shell.inputs.clear();
                return;
            }
            let result: Result<(), Error<Ctx>> = process!(
                input: input, state: &mut *core, metrics: &(), with: effect => shell.effect(effect)
            );
            if let Err(error) = result {
                shell.core_error(&error);
            }
            shell.look_at(core);
        }
    }

    /// Ends a call: its burst becomes outputs for the caller.
    pub(crate) fn finish(&mut self) {
        self.shell.close_burst();
    }

    fn on_built(&mut self, height: Height, round: Round, header: Header) {
        let shell = &mut self.shell;
        if shell.height() != Some(height)
            || (header.height, header.round, header.proposer) != (height, round, shell.me)
        {
            return;
        }
        let value = BlockValue::new(header);
        shell.know(&value, round).verdict = Some(true);
        self.feed(CoreInput::Propose(LocallyProposedValue::new(
            context::Height(height.0),
            to_core::round(round),
            value,
        )));
    }

    fn on_checked(&mut self, header: Header, valid: bool) {
        let shell = &mut self.shell;
        if shell.height() != Some(header.height) {
            return;
        }
        let round = header.round;
        let value = BlockValue::new(header);
        let known = shell.know(&value, round);
        if known.verdict.is_some() {
            return;
        }
        known.verdict = Some(valid);
        self.feed(proposed_value(value, valid));
    }

    fn on_synced(&mut self, header: Box<Header>, certificate: CommitCertificate, valid: bool) {
        let shell = &mut self.shell;
        let (Some(set), Some(core)) = (shell.set.clone(), &mut self.core) else {
            return;
        };
        let HeightParams {
            height,
            validators,
            fault_model,
            ..
        } = set.params();
        let (height, block) = (*height, header.hash());
        if header.height != height || shell.decided == Some(block) {
            return;
        }
        if certificate
            .verify(&shell.genesis, *fault_model, validators, height, &block)
            .is_err()
        {
            shell.counters.rejected = shell.counters.rejected.saturating_add(1);
            return;
        }
        if let Some(first) = shell.decided {
            return shell.halt(HaltReason::ConflictingCertificates {
                height,
                first,
                second: block,
            });
        }
        if !valid {
            return shell.halt(HaltReason::InvalidDecision { height, block });
        }
        let evidence = MisbehaviorEvidence {
            proposals: core.driver.take_proposal_evidence(),
            votes: core.driver.take_vote_evidence(),
        };
        shell.decide(certificate, header, evidence);
    }
}

impl Orderer for BftOrderer {
    fn start_height(&mut self, params: HeightParams, now: MonoTime) {
        if let Some(set) = self.open(params, now) {
            let height = set.params().height;
            self.begin(set);
            for message in self.future.take(height) {
                self.admit(message);
            }
        }
        self.finish();
    }

    fn replay(
        &mut self,
        params: HeightParams,
        records: Vec<LogRecord>,
        guard: Option<GuardEntry>,
        now: MonoTime,
    ) {
        let height = params.height;
        let alone = params.validators.members().len() == 1;
        self.shell.guard = Guard::new(guard);
        let Some(set) = self.open(params, now) else {
            return self.finish();
        };
        let read = self.shell.read_log(height, records);
        self.shell.guard.compare_with_log(height, read.signed);
        if let Some(through) = self.shell.silent_through {
            self.shell.guard.abstain_through(through);
        }
        self.shell.guard.keep_abstention();
        self.shell.own.start(self.shell.guard.newest());
        // Records just read may never have been synced: a killed process leaves them to the page cache.
        self.shell.unsynced = !read.inputs.is_empty();
        if let Some(newest) = self.shell.guard.newest()
            && alone
            && set.member(&self.shell.me).is_some()
            && self.shell.guard.abstains(height)
        {
            let (guard_height, guard_round) = (newest.height, newest.round);
            self.shell.halt(HaltReason::GuardAhead {
                height,
                guard_height,
                guard_round,
            });
            return self.finish();
        }
        self.shell.replay = Some(Replay::default());
        self.begin(set);
        if let Some(core) = &mut self.core {
            core.record_recovered_own_precommit_extensions(&read.inputs);
            core.index_wal_entries(&read.inputs);
        }
        for input in read.inputs {
            if let CoreInput::TimeoutElapsed(timeout) = &input {
                self.shell.cancel(*timeout);
            }
            self.feed(input);
        }
        if let Some(core) = &mut self.core {
            core.reset_entries_index();
        }
        self.after_replay();
        self.finish();
    }

    fn pinned(&self) -> Vec<Hash> {
        let state = self.core.as_ref().map(|core| core.driver.round_state());
        let values = state.map(|state| [&state.locked, &state.valid]);
        let values = values.into_iter().flatten().flatten();
        values.map(|found| found.value.hash()).collect()
    }

    fn on_message(&mut self, message: ConsensusMessage, now: MonoTime) -> Verdict {
        if self.shell.halt.is_some() {
            return Verdict::Ignored;
        }
        self.shell.advance_clock(now);
        let verdict = self.admit(message);
        self.shell.counters.count(verdict);
        self.finish();
        verdict
    }

    fn on_block(&mut self, event: BlockEvent, now: MonoTime) {
        if self.shell.halt.is_some() {
            return;
        }
        self.shell.advance_clock(now);
        match event {
            BlockEvent::Built {
                height,
                round,
                header,
            } => self.on_built(height, round, *header),
            BlockEvent::Checked { header, valid } => self.on_checked(*header, valid),
            BlockEvent::Synced {
                header,
                certificate,
                valid,
            } => self.on_synced(header, certificate, valid),
        }
        self.finish();
    }

    fn on_time(&mut self, now: MonoTime) {
        self.shell.advance_clock(now);
        while let Some(timer) = self.shell.timers.pop(self.shell.now) {
            if self.shell.height() != Some(timer.height) || self.shell.decided.is_some() {
                continue;
            }
            if timer.kind == TimerKind::Rebroadcast {
                // The core sends its votes again, but not its proposal.
                let proposed = self.shell.proposed_in(timer.round);
                self.shell
                    .burst
                    .rest
                    .extend(proposed.map(|p| Output::Send(ConsensusMessage::Proposal(p))));
            } else {
                self.shell.counters.timeouts = self.shell.counters.timeouts.saturating_add(1);
            }
            self.feed(CoreInput::TimeoutElapsed(timeout_of(timer.kind, timer.round)));
        }
        self.finish();
    }

    fn arm_propose(&mut self, now: MonoTime) {
        self.shell.advance_clock(now);
        self.shell.arm();
    }

    fn proposal_comes(&mut self, round: Round, progress: Progress, now: MonoTime) {
        self.shell.advance_clock(now);
        self.shell.proposal_comes(round, progress);
    }

    fn gone(&mut self, validator: PublicKey, now: MonoTime) {
        self.shell.advance_clock(now);
        self.shell.gone(validator);
    }

    fn back(&mut self, validator: PublicKey, now: MonoTime) {
        self.shell.advance_clock(now);
        self.shell.back(validator);
    }

    fn sign_part(&mut self, statement: PartStatement) -> Option<SignedPart> {
        self.shell.sign_part(statement)
    }

    fn on_own_part(&mut self, statement: &PartStatement) {
        if self.shell.me == statement.proposer && self.shell.own.is_foreign_part(statement) {
            let PartStatement { height, round, .. } = *statement;
            self.shell.halt_elsewhere("part of a block", height, round);
        }
    }

    fn on_own_evidence(&mut self, evidence: &Evidence) {
        let (validator, height) = evidence.offender();
        if self.shell.me == validator && self.shell.own.is_foreign_at(height) {
            let (what, round) = match evidence {
                Evidence::DuplicateVote { first, .. } => ("one of two votes", first.vote.round),
                Evidence::DuplicateProposal { first, .. } => ("one of two proposals", first.proposal.round),
                Evidence::DuplicatePart { first, .. } => {
                    ("one of two parts of blocks", first.statement.round)
                }
            };
            self.shell.halt_elsewhere(what, height, round);
        }
    }

    fn next_deadline(&self) -> Option<MonoTime> {
        self.shell.timers.next()
    }

    fn poll(&mut self) -> Option<Output> {
        self.shell.out.pop_front()
    }

    fn status(&self) -> Status {
        let shell = &self.shell;
        let height = shell.height().unwrap_or(Height::ZERO);
        let core = self.core.as_ref();
        let step = match core.map(|core| &core.driver) {
            _ if shell.decided.is_some() => Step::Idle,
            Some(driver) if driver.step_is_propose() => Step::Propose,
            Some(driver) if driver.step_is_prevote() => Step::Prevote,
            Some(driver) if driver.step_is_precommit() => Step::Precommit,
            _ => Step::Idle,
        };
        Status {
            height,
            round: core.map_or(Round::ZERO, |core| from_core::round(core.round())),
            step,
            abstaining: shell.key.is_some() && shell.guard.abstains(height),
            highest_seen: shell.highest_seen.max(height),
            counters: Counters {
                verified: shell.verifier.checked,
                verified_before: shell.verifier.remembered,
                ..shell.counters
            },
        }
    }
}

impl Counters {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Fresh | Verdict::Known => {}
            Verdict::Ignored => self.ignored = self.ignored.saturating_add(1),
            Verdict::Rejected(_) => self.rejected = self.rejected.saturating_add(1),
        }
    }
}
