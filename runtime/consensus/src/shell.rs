//! Performs the effects of the consensus core, on the state that they may access.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::mem;

use malachitebft_core_consensus::{
    ConsensusMsg, Effect, Error, LivenessMsg, MisbehaviorEvidence, ProposedValue, Resumable as _, Resume,
    SignedConsensusMsg, VoteExtensionError,
};
use malachitebft_core_types as malachite;
use malachitebft_core_types::{
    CertificateError, Proposal as _, SignedMessage, Threshold, TimeoutKind, Validity, ValueOrigin, VoteType,
};
use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{
    CommitCertificate, Evidence, Hash, Header, Height, PartStatement, PublicKey, Round, SecretKey, Signature,
    SignedPart, SignedProposal, SignedVote, VoteKind,
};

use crate::certificates::Certificates;
use crate::context::{self, BlockValue, CoreInput, CoreState, Ctx, Key, ValidatorSet};
use crate::convert::{from_core, to_core};
use crate::own::OwnKey;
use crate::replay::Replay;
use crate::timers::{Timer, TimerKind, Timers};
use crate::verify::{CertificateFault, TOMBSTONE, Verifier};
use crate::wait::ProposeWait;
use crate::{
    Building, ConsensusMessage, Counters, Guard, GuardStep, HaltReason, HeightParams, LogRecord, MonoTime,
    OrdererConfig, Output, Position, Progress, Statement, TimeoutStep, Verdict,
};

/// The last round whose precommit wait ends as soon as a quorum precommitted nil.
const SHORT_WAIT_ROUND_MAX: Round = Round(1);

/// Divisor of the wait for a proposal of a validator that is disconnected.
const GONE_DIVISOR: u64 = 2;
/// Interval at which messages are rebroadcast for a reconnected validator, in microseconds: a fresh
/// connection may lose messages before both sides have announced their subscriptions.
const AGAIN_MICROS: u64 = 100_000;
/// Duration of these rebroadcasts, in microseconds.
const BACK_MICROS: u64 = 1_000_000;

/// Maximum number of different statements of one kind accepted of a validator in a round: one, and one that
/// contradicts it. More prove nothing more, and each would cost every node a signature check and be forwarded to all.
pub(crate) const STATEMENTS_MAX: u8 = 2;

/// The kind of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spoken {
    Proposal,
    Prevote,
    Precommit,
}

impl Spoken {
    pub(crate) const fn of(kind: VoteKind) -> Self {
        match kind {
            VoteKind::Prevote => Self::Prevote,
            VoteKind::Precommit => Self::Precommit,
        }
    }
}

/// State of a block of the current height.
pub(crate) struct Known {
    pub value: BlockValue,
    /// The round of the first proposal for it.
    pub round: Round,
    pub verdict: Option<bool>,
    /// A scheduled proposer signed a proposal for it.
    pub proposed: bool,
    /// The core accepted the verdict.
    pub taken: bool,
}

/// Outputs of one call, before they are ordered.
#[derive(Default)]
pub(crate) struct Burst {
    pub appends: Vec<LogRecord>,
    pub rest: Vec<Output>,
}

pub(crate) struct Shell {
    pub genesis: Hash,
    pub key: Option<SecretKey>,
    pub me: PublicKey,
    pub guard: Guard,
    /// See [`crate::BftOrderer::abstain_through`].
    pub silent_through: Option<Height>,
    /// See [`crate::BftOrderer::doubt_newest`].
    pub newest_in_doubt: bool,
    /// Messages signed by this process, to distinguish them from those that another one signs with the same key.
    pub own: OwnKey,
    pub verifier: Verifier,
    pub set: Option<ValidatorSet>,
    /// Number of different statements of each validator accepted at this height, by round; see [`STATEMENTS_MAX`].
    pub spoken: BTreeMap<(Round, Spoken, PublicKey), u8>,
    pub certificates: Certificates,
    /// Keys that left the set recently, and the first height without them.
    pub left: BTreeMap<PublicKey, Height>,
    pub now: MonoTime,
    pub timers: Timers,
    /// Round 0's propose timer may run.
    pub armed: bool,
    /// Round 0's propose timer was requested before it may run.
    pub held: bool,
    /// State of the propose timer that was set last.
    pub propose: ProposeWait,
    /// Validators that are disconnected.
    pub gone: BTreeSet<PublicKey>,
    /// Time until which messages are rebroadcast often for a reconnected validator.
    pub back_until: MonoTime,
    pub blocks: BTreeMap<Hash, Known>,
    /// Inputs caused by effects.
    pub inputs: VecDeque<CoreInput>,
    pub decided: Option<Hash>,
    /// Our newest proposal of this height.
    pub proposed: Option<Box<SignedProposal>>,
    /// The block of ours that is being streamed, and the sequence number of its next part.
    pub streaming: Option<(Height, Round, u32)>,
    pub replay: Option<Replay>,
    pub burst: Burst,
    /// Records were appended, but a sync was not requested yet.
    pub unsynced: bool,
    pub halt: Option<HaltReason>,
    pub out: VecDeque<Output>,
    pub highest_seen: Height,
    pub counters: Counters,
}

impl Shell {
    pub(crate) fn new(config: OrdererConfig) -> Self {
        let OrdererConfig { genesis, key } = config;
        // Without a key the node has no identity: no validator has the zero key, it is of small order.
        let me = key.as_ref().map_or(PublicKey([0; 32]), SecretKey::public_key);
        Self {
            genesis,
            key,
            me,
            guard: Guard::default(),
            silent_through: None,
            newest_in_doubt: false,
            own: OwnKey::default(),
            verifier: Verifier::new(genesis),
            set: None,
            spoken: BTreeMap::new(),
            certificates: Certificates::default(),
            left: BTreeMap::new(),
            now: MonoTime::default(),
            timers: Timers::default(),
            armed: false,
            held: false,
            propose: ProposeWait::default(),
            gone: BTreeSet::new(),
            back_until: MonoTime::default(),
            blocks: BTreeMap::new(),
            inputs: VecDeque::new(),
            decided: None,
            proposed: None,
            streaming: None,
            replay: None,
            burst: Burst::default(),
            unsynced: false,
            halt: None,
            out: VecDeque::new(),
            highest_seen: Height::ZERO,
            counters: Counters::default(),
        }
    }

    pub(crate) fn height(&self) -> Option<Height> {
        self.set.as_ref().map(|set| set.params().height)
    }

    pub(crate) fn advance_clock(&mut self, now: MonoTime) {
        self.now = self.now.max(now);
    }

    /// Stops for good. The first reason counts.
    pub(crate) fn halt(&mut self, reason: HaltReason) {
        if self.halt.is_none() {
            self.burst = Burst::default();
            self.timers.clear();
            self.out.clear();
            self.out.push_back(Output::Halt(reason.clone()));
            self.halt = Some(reason);
        }
    }

    /// Orders the outputs: appends, then one sync of them, then the guard, then the messages that these allow.
    pub(crate) fn close_burst(&mut self) {
        let Burst { appends, mut rest } = mem::take(&mut self.burst);
        // The core applies our own precommit before it outputs it, so it can decide first.
        rest.sort_by_key(|output| matches!(output, Output::Decided { .. }));
        if self.halt.is_some() {
            return;
        }
        self.unsynced |= !appends.is_empty();
        self.out.extend(appends.into_iter().map(Output::Append));
        let guard = self.guard.take_unsaved();
        let leaves = rest.iter().any(|output| {
            matches!(
                output,
                Output::Send(_) | Output::Decided { .. } | Output::Build { .. }
            )
        });
        let sync = self.unsynced && (guard.is_some() || leaves);
        self.unsynced &= !sync;
        let sync = sync.then_some(Output::SyncLog);
        let guard = guard.map(Output::Guard);
        if active(Bug::SignBeforeSync) {
            self.out.extend(guard.into_iter().chain(rest).chain(sync));
        } else if active(Bug::GuardAfterSend) {
            self.out.extend(sync.into_iter().chain(rest).chain(guard));
        } else {
            self.out.extend(sync.into_iter().chain(guard).chain(rest));
        }
    }

    pub(crate) fn know(&mut self, value: &BlockValue, round: Round) -> &mut Known {
        self.blocks.entry(value.hash()).or_insert_with(|| Known {
            value: value.clone(),
            round,
            verdict: None,
            proposed: false,
            taken: false,
        })
    }

    /// Performs one effect of the core. It never reports a fault back: the core would log it and continue as
    /// if nothing had happened. Faults halt.
    pub(crate) fn effect(&mut self, effect: Effect<Ctx>) -> Result<Resume<Ctx>, Infallible> {
        Ok(match effect {
            Effect::CancelAllTimeouts(resume) => {
                self.timers.clear();
                self.held = false;
                resume.resume_with(())
            }
            Effect::CancelTimeout(timeout, resume) => {
                self.cancel(timeout);
                resume.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, resume) => {
                self.schedule(timeout);
                resume.resume_with(())
            }
            Effect::StartRound(height, round, proposer, _, resume) => {
                if let Some(replay) = &mut self.replay {
                    replay.build = false;
                } else {
                    self.burst.rest.push(Output::RoundStarted {
                        height: Height(height.0),
                        round: from_core::round(round),
                        proposer: proposer.0,
                    });
                }
                resume.resume_with(())
            }
            Effect::PublishConsensusMsg(message, resume) => {
                if self.is_news(message.signature()) {
                    match message {
                        SignedConsensusMsg::Vote(vote) => self.send_vote(vote),
                        SignedConsensusMsg::Proposal(proposal) => self.send(ConsensusMessage::Proposal(
                            Box::new(from_core::signed_proposal(&proposal)),
                        )),
                    }
                }
                resume.resume_with(())
            }
            Effect::PublishLivenessMsg(message, resume) => {
                match message {
                    LivenessMsg::Vote(vote) => self.send_vote(vote),
                    LivenessMsg::PolkaCertificate(certificate) => self.send_polka(certificate),
                    LivenessMsg::SkipRoundCertificate(certificate) => self.send_round(certificate),
                }
                resume.resume_with(())
            }
            Effect::RepublishVote(vote, resume) => {
                self.send_vote(vote);
                resume.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, resume) => {
                self.send_round(certificate);
                resume.resume_with(())
            }
            Effect::GetValue(height, round, _, resume) => {
                if let Some(replay) = &mut self.replay {
                    replay.build = true;
                } else {
                    self.ask_to_build(Height(height.0), from_core::round(round));
                }
                resume.resume_with(())
            }
            Effect::RestreamProposal(height, round, _, _, block, resume) => {
                if self.replay.is_none() {
                    self.burst.rest.push(Output::Restream {
                        height: Height(height.0),
                        round: from_core::round(round),
                        block,
                    });
                }
                resume.resume_with(())
            }
            Effect::SignVote(vote, resume) => {
                let signature = self.sign_vote(vote.clone());
                resume.resume_with(SignedMessage::new(vote, signature))
            }
            Effect::SignProposal(proposal, resume) => {
                let signature = self.sign_proposal(&proposal);
                resume.resume_with(SignedMessage::new(proposal, signature))
            }
            Effect::VerifySignature(message, _, resume) => {
                let SignedMessage { message, signature } = message;
                resume.resume_with(match message {
                    ConsensusMsg::Vote(vote) => self.verifier.vote(&SignedVote {
                        vote: from_core::vote(vote),
                        signature,
                    }),
                    ConsensusMsg::Proposal(proposal) => self.verifier.proposal(&SignedProposal {
                        proposal: from_core::proposal(&proposal),
                        signature,
                    }),
                })
            }
            Effect::VerifyCommitCertificate(certificate, set, _, resume) => {
                self.check_own_decision(certificate, &set);
                // The core panics on a negative answer. It is negative only when memory is corrupt: then we
                // have halted.
                resume.resume_with(Ok(()))
            }
            Effect::VerifyPolkaCertificate(certificate, set, _, resume) => {
                let verdict = self.check_polka(&set, &from_core::polka(certificate));
                resume.resume_with(core_verdict(verdict))
            }
            Effect::VerifyRoundCertificate(certificate, set, _, resume) => {
                let verdict = self.check_round(&set, &from_core::round_certificate(certificate));
                resume.resume_with(core_verdict(verdict))
            }
            Effect::WalAppend(_, input, resume) => {
                self.append(input);
                resume.resume_with(())
            }
            Effect::Finalize(certificate, _, evidence, resume) => {
                self.finalize(certificate, evidence);
                resume.resume_with(())
            }
            // `Finalize` follows at once, as the core is given no target time.
            Effect::Decide(_, _, resume) => resume.resume_with(()),
            // Synced blocks never go through the core.
            Effect::CertVerifiedSyncValue(_, _, resume) => resume.resume_with(()),
            Effect::CertRejectedSyncValue(_, _, _, resume) => resume.resume_with(()),
            Effect::VerifyExtendedCommitCertificate(_, _, _, _, resume) => {
                resume.resume_with(Err(CertificateError::VerificationError(None)))
            }
            // Vote extensions are disabled.
            Effect::ExtendVote(_, _, _, _, resume) => resume.resume_with(None),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, resume) => {
                resume.resume_with(Err(VoteExtensionError::InvalidVoteExtension))
            }
        })
    }

    /// Reads the facts that only the core's state contains, after each input.
    pub(crate) fn look_at(&mut self, core: &CoreState) {
        if self.halt.is_some() || self.decided.is_some() {
            return;
        }
        let (Some(set), votes) = (self.set.clone(), core.driver.votes()) else {
            return;
        };
        let HeightParams {
            height, fault_model, ..
        } = set.params();
        let round = from_core::round(core.round());
        // A quorum for nil: nothing can be decided in this round any more, so the wait is over.
        let wait = Timer {
            height: *height,
            round,
            kind: TimerKind::Precommit,
        };
        if round <= SHORT_WAIT_ROUND_MAX
            && self.timers.is_set(wait)
            && votes.is_threshold_met(&core.round(), VoteType::Precommit, Threshold::Nil)
        {
            self.timers.set(wait, self.now);
        }
        // An honest validator has voted in round 0, so its proposal was sent, and may have been lost on the
        // way to us.
        if self.held
            && votes.per_round(core.round()).is_some_and(|votes| {
                let total = malachite::ValidatorSet::total_voting_power(&set);
                context::is_honest(*fault_model, votes.addresses_weights().sum(), total)
            })
        {
            self.arm();
        }
        let invalid = self
            .blocks
            .iter()
            .filter(|(_, known)| known.verdict == Some(false));
        let decided = invalid.map(|(hash, _)| *hash).find(|hash| {
            votes
                .all_rounds()
                .keys()
                .any(|round| votes.is_threshold_met(round, VoteType::Precommit, Threshold::Value(*hash)))
        });
        if let Some(block) = decided {
            self.halt(HaltReason::InvalidDecision {
                height: *height,
                block,
            });
        }
    }

    pub(crate) fn core_error(&mut self, error: &Error<Ctx>) {
        let height = self.height().unwrap_or(Height::ZERO);
        match error {
            Error::ReplayDivergence(kind, _, round) => {
                let detail = format!("{kind} of round {round}");
                self.halt(HaltReason::ReplayDivergence { height, detail });
            }
            Error::UnexpectedResume(..) | Error::DecisionNotFound(..) => {
                self.halt(HaltReason::Core {
                    height,
                    detail: error.to_string(),
                });
            }
            // The input had no effect; the timers and the other validators carry the height on.
            _ => self.counters.core_errors = self.counters.core_errors.saturating_add(1),
        }
    }

    pub(crate) fn schedule(&mut self, timeout: malachite::Timeout) {
        let (Some(set), Some(kind)) = (&self.set, timer_kind(timeout.kind)) else {
            return;
        };
        let HeightParams { height, timeouts, .. } = set.params();
        let round = from_core::round(timeout.round);
        if kind == TimerKind::Propose && round == Round::ZERO && !self.armed {
            self.held = true;
            return;
        }
        let first = match kind {
            TimerKind::Propose => timeouts.propose,
            TimerKind::Prevote => timeouts.prevote,
            TimerKind::Precommit => timeouts.precommit,
            TimerKind::Rebroadcast if self.now < self.back_until => AGAIN_MICROS,
            TimerKind::Rebroadcast => timeouts.rebroadcast(),
        };
        if kind == TimerKind::Rebroadcast && active(Bug::NeverAgain) {
            return;
        }
        let growth = match kind {
            TimerKind::Rebroadcast => 0,
            _ => timeouts.delta.saturating_mul(u64::from(round.0)),
        };
        let mut wait = first.saturating_add(growth).min(timeouts.max);
        if kind == TimerKind::Propose {
            if self.gone.contains(&context::key_of(set.proposer(timeout.round))) {
                wait /= GONE_DIVISOR;
            }
            self.propose = ProposeWait::begin(self.now, wait);
        }
        self.timers.set(
            Timer {
                height: *height,
                round,
                kind,
            },
            self.now.after(wait),
        );
    }

    pub(crate) fn cancel(&mut self, timeout: malachite::Timeout) {
        let (Some(height), Some(kind)) = (self.height(), timer_kind(timeout.kind)) else {
            return;
        };
        let round = from_core::round(timeout.round);
        self.timers.cancel(Timer { height, round, kind });
        if kind == TimerKind::Propose && round == Round::ZERO {
            self.held = false;
        }
    }

    pub(crate) fn arm(&mut self) {
        self.armed = true;
        if mem::take(&mut self.held) {
            self.schedule(malachite::Timeout::propose(malachite::Round::ZERO));
        }
    }

    /// See [`crate::Orderer::proposal_comes`].
    pub(crate) fn proposal_comes(&mut self, round: Round, progress: Progress) {
        let Some(height) = self.height() else { return };
        let kind = TimerKind::Propose;
        let timer = Timer { height, round, kind };
        let Some(due) = self.timers.due(timer) else { return };
        let end = if active(Bug::StretchUnbounded) {
            self.now.after(self.propose.length())
        } else {
            self.propose.end_after(progress)
        };
        if end > due {
            self.timers.set(timer, end);
        }
    }

    /// See [`crate::Orderer::gone`].
    pub(crate) fn gone(&mut self, validator: PublicKey) {
        let Some(set) = self.set.clone().filter(|set| set.member(&validator).is_some()) else {
            return;
        };
        if !self.gone.insert(validator) {
            return;
        }
        let sooner = self.now.after(self.propose.length() / GONE_DIVISOR);
        let waits = self.hasten(TimerKind::Propose, sooner, |timer| {
            context::key_of(set.proposer(to_core::round(timer.round))) == validator
        });
        if waits {
            self.propose.shorten(sooner);
        }
    }

    /// See [`crate::Orderer::back`].
    pub(crate) fn back(&mut self, validator: PublicKey) {
        if self
            .set
            .as_ref()
            .is_none_or(|set| set.member(&validator).is_none())
        {
            return;
        }
        self.gone.remove(&validator);
        self.back_until = self.now.after(BACK_MICROS);
        self.hasten(TimerKind::Rebroadcast, self.now.after(AGAIN_MICROS), |_| true);
    }

    /// Advances timers of this height that would fire later than `at`. Returns true if there were any.
    fn hasten(&mut self, kind: TimerKind, at: MonoTime, which: impl Fn(&Timer) -> bool) -> bool {
        let Some(height) = self.height() else { return false };
        let later = self.timers.of_kind(height, kind);
        let later: Vec<Timer> = later
            .filter(|(timer, due)| *due > at && which(timer))
            .map(|(timer, _)| timer)
            .collect();
        let any = !later.is_empty();
        later.into_iter().for_each(|timer| self.timers.set(timer, at));
        any
    }

    /// Returns true if a message of ours is not in the log yet. Refused signatures are not messages.
    pub(crate) fn is_news(&self, signature: &Signature) -> bool {
        *signature != TOMBSTONE
            && self
                .replay
                .as_ref()
                .is_none_or(|replay| replay.signed.contains(signature))
    }

    pub(crate) fn send(&mut self, message: ConsensusMessage) {
        self.burst.rest.push(Output::Send(message));
    }

    pub(crate) fn send_vote(&mut self, vote: malachite::SignedVote<Ctx>) {
        if vote.signature != TOMBSTONE {
            self.send(ConsensusMessage::Vote(from_core::signed_vote(vote)));
        }
    }

    pub(crate) fn send_polka(&mut self, certificate: malachite::PolkaCertificate<Ctx>) {
        if self.replay.is_none() {
            self.send(ConsensusMessage::Polka(from_core::polka(certificate)));
        }
    }

    pub(crate) fn send_round(&mut self, certificate: malachite::RoundCertificate<Ctx>) {
        if self.replay.is_none() {
            self.send(ConsensusMessage::Round(from_core::round_certificate(certificate)));
        }
    }

    pub(crate) fn ask_to_build(&mut self, height: Height, round: Round) {
        match self.guard.build(height, round) {
            Ok(building) => {
                let step = GuardStep::Building;
                self.own.signed(Position { height, round, step }, Hash::ZERO);
                let rebuild = building == Building::Again;
                self.streaming = (!rebuild).then_some((height, round, 0));
                self.burst.rest.push(Output::Build {
                    height,
                    round,
                    rebuild,
                });
            }
            Err(_) => self.refused(),
        }
    }

    /// The guard refused to sign. The node continues without the signature; a lone validator cannot continue.
    pub(crate) fn refused(&mut self) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        let (Some(set), Some(newest)) = (&self.set, self.guard.newest()) else {
            return;
        };
        let HeightParams {
            height, validators, ..
        } = set.params();
        if validators.members().len() == 1 {
            self.halt(HaltReason::GuardAhead {
                height: *height,
                guard_height: newest.height,
                guard_round: newest.round,
            });
        }
    }

    pub(crate) fn sign(&mut self, statement: &Statement) -> Option<Signature> {
        let key = self.key.as_ref()?;
        match self.guard.sign(statement, key) {
            Ok(signature) => {
                self.own.signed(statement.position(), statement.digest());
                self.counters.signed = self.counters.signed.saturating_add(1);
                if let Some(replay) = &mut self.replay {
                    replay.signed.push(signature);
                }
                Some(signature)
            }
            Err(_) => {
                self.refused();
                None
            }
        }
    }

    pub(crate) fn sign_vote(&mut self, vote: context::Vote) -> Signature {
        let vote = from_core::vote(vote);
        let Some(signature) = self.sign(&Statement::vote(&vote, &self.genesis)) else {
            return TOMBSTONE;
        };
        self.verifier.remember_vote(SignedVote { vote, signature });
        signature
    }

    pub(crate) fn sign_proposal(&mut self, proposal: &context::Proposal) -> Signature {
        let proposal = from_core::proposal(proposal);
        let Some(signature) = self.sign(&Statement::proposal(&proposal, &self.genesis)) else {
            return TOMBSTONE;
        };
        let signed = SignedProposal { proposal, signature };
        self.verifier.remember_proposal(&signed);
        self.proposed = Some(Box::new(signed));
        signature
    }

    pub(crate) fn sign_part(&mut self, statement: PartStatement) -> Option<SignedPart> {
        let key = self.key.as_ref().filter(|_| statement.proposer == self.me)?;
        if self.halt.is_some() {
            return None;
        }
        let (height, round, next) = self.streaming?;
        if (statement.height, statement.round, statement.sequence) != (height, round, next) {
            return None;
        }
        self.streaming = Some((height, round, next.saturating_add(1)));
        self.counters.signed = self.counters.signed.saturating_add(1);
        self.own.signed_part(&statement);
        Some(statement.sign(&self.genesis, key))
    }

    /// Our proposal for `round`, if we made one.
    pub(crate) fn proposed_in(&self, round: Round) -> Option<Box<SignedProposal>> {
        let proposed = self.proposed.as_ref();
        proposed.filter(|signed| signed.proposal.round == round).cloned()
    }

    /// Logs an input that the core accepted. During replay only inputs missing from the log.
    pub(crate) fn append(&mut self, input: CoreInput) {
        let Some(height) = self.height() else { return };
        let record = match input {
            CoreInput::Vote(vote) if self.is_news(&vote.signature) => {
                LogRecord::Vote(from_core::signed_vote(vote))
            }
            CoreInput::Proposal(proposal) => {
                self.proposal_taken(&proposal);
                if !self.is_news(&proposal.signature) {
                    return;
                }
                LogRecord::Proposal(Box::new(from_core::signed_proposal(&proposal)))
            }
            CoreInput::ProposedValue(value, _) => {
                if let Some(known) = self.blocks.get_mut(&value.value.hash()) {
                    known.taken = true;
                }
                if self.replay.is_some() {
                    return;
                }
                LogRecord::Value {
                    header: Box::new(value.value.header().clone()),
                    round: from_core::round(value.round),
                    valid_round: from_core::lock_round(value.valid_round),
                    proposer: value.proposer.0,
                    valid: value.validity.is_valid(),
                }
            }
            CoreInput::PolkaCertificate(certificate) if self.replay.is_none() => {
                LogRecord::Polka(from_core::polka(certificate))
            }
            CoreInput::TimeoutElapsed(timeout) if self.replay.is_none() => {
                let step = match timeout.kind {
                    TimeoutKind::Propose => TimeoutStep::Propose,
                    TimeoutKind::Prevote => TimeoutStep::Prevote,
                    TimeoutKind::Precommit => TimeoutStep::Precommit,
                    TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return,
                };
                LogRecord::Timeout {
                    height,
                    round: from_core::round(timeout.round),
                    step,
                }
            }
            _ => return,
        };
        self.burst.appends.push(record);
    }

    /// The core accepted a proposal of the scheduled proposer: its body is requested, unless it was checked.
    pub(crate) fn proposal_taken(&mut self, proposal: &malachite::SignedProposal<Ctx>) {
        let round = from_core::round(proposal.message.round());
        let ask = self.replay.is_none();
        let value = proposal.message.value().clone();
        let known = self.know(&value, round);
        // A proposer of a later round shows nothing about the first.
        let is_turn_begun = round == Round::ZERO && known.verdict.is_none();
        match known.verdict {
            None if !known.proposed => {
                known.proposed = true;
                let check = known.check();
                if ask {
                    self.burst.rest.push(check);
                }
            }
            // The core had no capacity for the verdict when it arrived; for a proposed block it has.
            Some(valid) if !known.taken => {
                known.taken = true;
                self.inputs.push_back(proposed_value(value, valid));
            }
            _ => {}
        }
        if is_turn_begun {
            self.arm();
        }
    }

    pub(crate) fn check_own_decision(
        &mut self,
        certificate: malachite::CommitCertificate<Ctx>,
        set: &ValidatorSet,
    ) {
        let certificate = from_core::commit(certificate);
        let votes: Vec<SignedVote> = certificate
            .signatures
            .iter()
            .map(|entry| SignedVote {
                vote: certificate.precommit(entry.validator),
                signature: entry.signature,
            })
            .collect();
        let HeightParams {
            height,
            validators,
            fault_model,
            ..
        } = set.params();
        let verdict = self.verifier.certificate(validators, &votes, |power, total| {
            fault_model.is_quorum(power, total)
        });
        if let Err(fault) = verdict {
            let detail = format!(
                "decided with a bad certificate: {}",
                CertificateFault::text(fault)
            );
            self.halt(HaltReason::Core {
                height: *height,
                detail,
            });
        }
    }

    pub(crate) fn finalize(
        &mut self,
        certificate: malachite::CommitCertificate<Ctx>,
        evidence: MisbehaviorEvidence<Ctx>,
    ) {
        let certificate = from_core::commit(certificate);
        match self.blocks.get(&certificate.block) {
            Some(known) => {
                let header = Box::new(known.value.header().clone());
                self.decide(certificate, header, evidence);
            }
            None => self.halt(HaltReason::Core {
                height: certificate.height,
                detail: format!("decided block {} was never seen", certificate.block),
            }),
        }
    }

    pub(crate) fn decide(
        &mut self,
        certificate: CommitCertificate,
        header: Box<Header>,
        evidence: MisbehaviorEvidence<Ctx>,
    ) {
        self.decided = Some(certificate.block);
        self.timers.clear();
        self.held = false;
        let mut evidence = self.evidence(evidence);
        if active(Bug::EvidenceOverlooked) {
            evidence.clear();
        }
        self.burst.rest.push(Output::Decided {
            certificate,
            header,
            evidence,
        });
    }

    /// Evidence that any verifier accepts. The core also pairs proposals that differ only in their lock
    /// round, which is not evidence on the chain.
    pub(crate) fn evidence(&self, found: MisbehaviorEvidence<Ctx>) -> Vec<Evidence> {
        let Some(set) = &self.set else { return Vec::new() };
        let votes = found
            .votes
            .into_iter()
            .flat_map(|(_, pairs)| pairs)
            .map(|(a, b)| Evidence::votes(from_core::signed_vote(a), from_core::signed_vote(b)));
        let proposals =
            found.proposals.iter().flat_map(|(_, pairs)| pairs).map(|(a, b)| {
                Evidence::proposals(from_core::signed_proposal(a), from_core::signed_proposal(b))
            });
        votes
            .chain(proposals)
            .filter(|evidence| evidence.verify(&self.genesis, &set.params().validators).is_ok())
            .collect()
    }
}

impl Known {
    pub(crate) fn check(&self) -> Output {
        Output::Check {
            header: Box::new(self.value.header().clone()),
            round: self.round,
        }
    }
}

/// The caller's verdict as the core accepts it. The round is that of the block's creation: the core pairs
/// verdicts and proposals by the block alone.
pub(crate) fn proposed_value(value: BlockValue, valid: bool) -> CoreInput {
    let header = value.header();
    CoreInput::ProposedValue(
        ProposedValue {
            height: context::Height(header.height.0),
            round: to_core::round(header.round),
            valid_round: malachite::Round::Nil,
            proposer: Key(header.proposer),
            value,
            validity: Validity::from_bool(valid),
        },
        ValueOrigin::Consensus,
    )
}

#[expect(clippy::result_large_err, reason = "the core's type")]
pub(crate) fn core_verdict(verdict: Verdict) -> Result<(), CertificateError<Ctx>> {
    match verdict {
        Verdict::Fresh | Verdict::Known => Ok(()),
        Verdict::Ignored | Verdict::Rejected(_) => Err(CertificateError::VerificationError(None)),
    }
}

pub(crate) const fn timeout_of(kind: TimerKind, round: Round) -> malachite::Timeout {
    let round = to_core::round(round);
    match kind {
        TimerKind::Propose => malachite::Timeout::propose(round),
        TimerKind::Prevote => malachite::Timeout::prevote(round),
        TimerKind::Precommit => malachite::Timeout::precommit(round),
        TimerKind::Rebroadcast => malachite::Timeout::rebroadcast(round),
    }
}

pub(crate) const fn timer_kind(kind: TimeoutKind) -> Option<TimerKind> {
    match kind {
        TimeoutKind::Propose => Some(TimerKind::Propose),
        TimeoutKind::Prevote => Some(TimerKind::Prevote),
        TimeoutKind::Precommit => Some(TimerKind::Precommit),
        TimeoutKind::Rebroadcast => Some(TimerKind::Rebroadcast),
        // Requested only with a target time, which the core is not given.
        TimeoutKind::FinalizeHeight(_) => None,
    }
}
