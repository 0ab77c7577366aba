//! The height in progress: the core, and the handler of its effects.

use malachitebft_core_consensus::{Error, LocallyProposedValue, MisbehaviorEvidence, process};
use malachitebft_core_types::VoteExtensionPolicy;
use vibecoin_primitives::{CommitCertificate, Header, Height, Round};

use crate::context::{self, BlockValue, CoreInput, CoreState, Ctx};
use crate::convert::{from_core, to_core};
use crate::handler::{EffectHandler, HeightState, NodeState, proposed_value};
use crate::{BlockEvent, LogRecord};

pub(crate) struct ActiveHeight<'a> {
    core: &'a mut CoreState,
    handler: EffectHandler<'a>,
}

impl<'a> ActiveHeight<'a> {
    pub const fn new(core: &'a mut CoreState, node: &'a mut NodeState, state: &'a mut HeightState) -> Self {
        Self {
            core,
            handler: EffectHandler::new(node, state),
        }
    }

    pub const fn handler(&mut self) -> &mut EffectHandler<'a> {
        &mut self.handler
    }
}

impl ActiveHeight<'_> {
    pub fn round(&self) -> Round {
        from_core::round(self.core.round())
    }

    pub fn start(&mut self) {
        let set = self.handler.validators().clone();
        self.feed(CoreInput::StartHeight(
            context::Height(self.handler.height().0),
            set,
            false,
            None,
            VoteExtensionPolicy::Disabled,
        ));
    }

    /// Starts the height from its log.
    pub fn replay(&mut self, records: Vec<LogRecord>) {
        let inputs = self.handler.recover(records);
        if !self.handler.begin_replay() {
            return;
        }
        self.start();
        self.core.record_recovered_own_precommit_extensions(&inputs);
        self.core.index_wal_entries(&inputs);
        for input in inputs {
            if let CoreInput::TimeoutElapsed(timeout) = &input {
                self.handler.cancel_timeout(*timeout);
            }
            self.feed(input);
        }
        self.core.reset_entries_index();
        self.handler.end_replay(self.core);
    }

    /// Feeds the core one input, and every input that results from it.
    pub fn feed(&mut self, input: CoreInput) {
        let Self { core, handler } = self;
        handler.add_input(input);
        while let Some(input) = handler.next_input() {
            let result: Result<(), Error<Ctx>> = process!(
                input: input, state: &mut **core, metrics: &(), with: effect => handler.perform(effect)
            );
            if let Err(error) = result {
                handler.on_core_error(&error);
            }
            handler.after_input(core);
        }
    }

    pub fn on_block(&mut self, event: BlockEvent) {
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
    }

    fn on_built(&mut self, height: Height, round: Round, header: Header) {
        let value = BlockValue::new(header);
        if self.handler.on_built(height, round, &value) {
            self.feed(CoreInput::Propose(LocallyProposedValue::new(
                context::Height(height.0),
                to_core::round(round),
                value,
            )));
        }
    }

    fn on_checked(&mut self, header: Header, valid: bool) {
        let value = BlockValue::new(header);
        if self.handler.on_checked(&value, valid) {
            self.feed(proposed_value(value, valid));
        }
    }

    fn on_synced(&mut self, header: Box<Header>, certificate: CommitCertificate, valid: bool) {
        if self.handler.accept_synced(&header, &certificate, valid) {
            let evidence = MisbehaviorEvidence {
                proposals: self.core.driver.take_proposal_evidence(),
                votes: self.core.driver.take_vote_evidence(),
            };
            self.handler.decide(certificate, header, evidence);
        }
    }

    /// Fires the timers that are due.
    pub fn on_time(&mut self) {
        while let Some(timeout) = self.handler.expire_timer() {
            self.feed(CoreInput::TimeoutElapsed(timeout));
        }
    }
}
