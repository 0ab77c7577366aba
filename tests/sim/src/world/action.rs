//! A simulated node as the host of its replica, on a disk that may fail during any action.

use vibecoin_execution::DecidedBlock;
use vibecoin_host::{ConsensusFiles, Host, HostError, perform};
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_primitives::{PublicKey, Round};
use vibecoin_replica::{GossipId, PeerId};

use super::*;

/// The operation of the guard, as its errors name it.
const GUARD: &str = "write the double-sign guard";

/// Reason why a node performs no more actions.
enum Stop {
    /// A write failed.
    Write(HostError),
    /// A rule did not hold.
    Broken(Fault),
    /// The replica stops for good.
    Halted(vibecoin_replica::Fault),
}

impl From<HostError> for Stop {
    fn from(error: HostError) -> Self {
        Self::Write(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Broken(fault)
    }
}

impl World {
    pub(super) fn perform(&mut self, index: usize) -> Result<(), Violation> {
        loop {
            let Some(running) = &mut self.nodes[index].running else {
                return Ok(());
            };
            let Some(action) = running.replica.poll() else {
                return Ok(());
            };
            let dies = running.dies_after == Some(0);
            running.dies_after = running.dies_after.map(|left| left.saturating_sub(1));
            if dies {
                // Half of the crashes are between two actions, half during a sync.
                if !is_sync(&action) || self.rng.chance(500) {
                    self.crash(index);
                    return Ok(());
                }
                // One action is one sync. A host that makes it two may lose its power between them.
                let syncs = self.starts.below(2);
                self.nodes[index].disk.power().fail_sync_after(syncs);
            }
            match self.act(index, action) {
                Ok(()) if !dies => {}
                Ok(()) => {
                    self.crash(index);
                    return Ok(());
                }
                Err(Stop::Write(_)) if self.nodes[index].disk.power().is_off() => {
                    self.crash(index);
                    return Ok(());
                }
                // The guard refuses a signature that contradicts an earlier one.
                Err(Stop::Write(HostError {
                    context: GUARD,
                    source: StorageError::Refused(detail),
                })) => return Err(self.violation(index, (Rule::NoEquivocation, detail))),
                // D6: the first error is the last.
                Err(Stop::Write(error)) => return self.halt(index, error.source.class()),
                Err(Stop::Broken(fault)) => return Err(self.violation(index, fault)),
                Err(Stop::Halted(fault)) => {
                    let excused = self.config.lies(index)
                        || !matches!(self.sabotage(index), Sabotage::None | Sabotage::Equivocation);
                    if !excused {
                        return Err(self.violation(index, (Rule::NoHalt, fault.to_string())));
                    }
                    return self.halt(index, fault.class());
                }
            }
        }
    }

    /// The promise that this node breaks.
    fn sabotage(&self, index: usize) -> Sabotage {
        if index == SABOTEUR {
            self.config.sabotage
        } else {
            Sabotage::None
        }
    }

    /// Performs one action, with what the node's saboteur does to it.
    fn act(&mut self, index: usize, action: Action<StateView>) -> Result<(), Stop> {
        let sabotage = self.sabotage(index);
        let now = self.now;
        let (trace, node) = (&mut self.trace, &mut self.nodes[index]);
        match &action {
            Action::Append(record) => {
                trace.note(now, format_args!("{index} appends {}", Recorded(record)));
                if sabotage == Sabotage::LogFails && record.height() > Height(3) {
                    node.disk.fail_log();
                    node.log_failed = true;
                }
            }
            Action::SyncLog => trace.note(now, format_args!("{index} syncs its log")),
            Action::Guard(entry) => {
                trace.note(now, format_args!("{index} guards {}", entry.position()));
                if sabotage == Sabotage::GuardUnsaved {
                    return Ok(());
                }
            }
            Action::ResetLog { height } => {
                let head = node.running.as_ref().map(|running| running.store.head().height);
                if head.is_some_and(|head| height.0 != head.0 + 1) {
                    let detail = format!("the log is reset for {height}, the head is {head:?}");
                    return Err(Stop::Broken((Rule::CommitFirst, detail)));
                }
            }
            _ => {}
        }
        // The observer has no bugs, so they are planted only while the node writes.
        let _bug = is_sync(&action).then(|| Planted::new(self.config.bug));
        perform(action, &mut Acting { world: self, index })
    }

    pub(super) fn decided(
        &mut self,
        index: usize,
        commit: Box<DecidedBlock<StateView>>,
    ) -> Result<(), Fault> {
        let height = commit.header.height;
        self.trace.note(
            self.now,
            format_args!("{index} decides {height} {}", Short(&commit.hash)),
        );
        let honest = (0..self.nodes.len()).filter(|node| !self.config.lies(*node));
        let clocks = honest.map(|node| self.nodes[node].now(self.now).wall);
        if self.model.decide(&commit, clocks.max().unwrap_or_default())? {
            self.decided_at = self.now;
            if let Some(byzantine) = &mut self.byzantine {
                byzantine.count_turn(&commit.header);
            }
        }
        self.observer.certificate(&commit.certificate)?;
        let node = &mut self.nodes[index];
        let boot = node.boot;
        let Some(running) = &mut node.running else {
            return Ok(());
        };
        if running.committing.replace(commit).is_some() {
            return Err((
                Rule::CommitFirst,
                format!("{height} is decided before the block below is stored"),
            ));
        }
        let after = self.rng.wait(self.faults.commit);
        self.later(after, Happening::Stored { node: index, boot });
        Ok(())
    }

    /// Makes the block durable and notifies the node and every waiting client.
    pub(super) fn stored(&mut self, index: usize, boot: u64) -> Result<(), Violation> {
        let sabotage = if index == SABOTEUR {
            self.config.sabotage
        } else {
            Sabotage::None
        };
        let node = &mut self.nodes[index];
        let Some(running) = node.running.as_mut().filter(|_| node.boot == boot) else {
            return Ok(());
        };
        let Some(commit) = running.committing.take() else {
            return Ok(());
        };
        let (height, hash) = (commit.header.height, commit.hash);
        if sabotage == Sabotage::CommitForgotten && height >= Height(3) {
            node.disk.forgotten = Some(node.disk.kv.crash());
        }
        // Kept before this block and restored later: between one and many blocks are lost.
        if sabotage == Sabotage::TailLost && height >= Height(3) && self.rng.chance(200) {
            node.disk.kept = Some((node.disk.kv.crash(), node.acked));
        }
        let store = &running.store;
        let bug = Planted::new(self.config.bug);
        let stored = vibecoin_host::commit(&commit, &mut running.witness, |block| store.commit(block));
        drop(bug);
        let unsynced = node.disk.kv.unsynced();
        let fault = match stored {
            Ok(state) if unsynced == 0 => {
                node.acked = (height, hash);
                self.trace
                    .note(self.now, format_args!("{index} has stored {height}"));
                return self.step(index, Event::Committed { height, state });
            }
            Ok(_) => (
                Rule::CommitFirst,
                format!("{height} is told of, and {unsynced} batches are not synced"),
            ),
            Err(error) => (Rule::CommitFirst, error.to_string()),
        };
        Err(self.violation(index, fault))
    }
}

fn is_sync(action: &Action<StateView>) -> bool {
    matches!(
        action,
        Action::SyncLog | Action::Guard(_) | Action::ResetLog { .. }
    )
}

/// A node whose replica's action is performed.
struct Acting<'a> {
    world: &'a mut World,
    index: usize,
}

impl Acting<'_> {
    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let (now, index) = (self.world.now, self.index);
        self.world.trace.note(now, format_args!("{index} {what}"));
    }

    fn running(&mut self) -> &mut Running {
        let running = self.world.nodes[self.index].running.as_mut();
        running.expect("a node that performs an action runs")
    }
}

impl Host for Acting<'_> {
    type Error = Stop;

    fn files(&mut self) -> &mut ConsensusFiles {
        &mut self.running().files
    }

    fn appended(&mut self, record: LogRecord) -> Result<(), Stop> {
        let node = &mut self.world.nodes[self.index];
        let genesis = &self.world.chain.genesis;
        match record {
            LogRecord::Block(block) => self.world.show(self.index, &block)?,
            LogRecord::Vote(vote) => node.note_signed(genesis, ConsensusMessage::Vote(vote)),
            LogRecord::Proposal(proposal) => node.note_signed(genesis, ConsensusMessage::Proposal(proposal)),
            _ => {}
        }
        Ok(())
    }

    fn commit(&mut self, commit: Box<DecidedBlock<StateView>>) -> Result<(), Stop> {
        Ok(self.world.decided(self.index, commit)?)
    }

    fn broadcast(&mut self, message: Message) -> Result<(), Stop> {
        self.note(format_args!("-> all  {}", describe(&message)));
        let equivocates = self.world.sabotage(self.index) == Sabotage::Equivocation;
        let twice = equivocates.then(|| message.clone());
        self.world.say(self.index, None, message)?;
        if let Some(message) = twice {
            self.world.equivocate(self.index, &message)?;
        }
        Ok(())
    }

    fn send(&mut self, to: PeerId, message: Message) -> Result<(), Stop> {
        self.note(format_args!("-> {}  {}", to.0, describe(&message)));
        let mono = self.world.nodes[self.index].now(self.world.now).mono;
        self.running().intake.asked(to, &message, mono);
        Ok(self.world.say(self.index, Some(to.0 as usize), message)?)
    }

    fn send_body(&mut self, to: PeerId, block: Hash) -> Result<(), Stop> {
        let Some(message) = self.running().replica.body(&block) else {
            return Ok(());
        };
        self.note(format_args!("-> {}  {}", to.0, describe(&message)));
        Ok(self.world.say(self.index, Some(to.0 as usize), message)?)
    }

    fn forward(&mut self, gossip: GossipId, verdict: Verdict) {
        if matches!(verdict, Verdict::Fresh | Verdict::Known) {
            self.world.forward(self.index, gossip.0);
        }
    }

    fn blame(&mut self, peer: PeerId, reason: String) -> Result<(), Stop> {
        Ok(self.world.blamed(self.index, peer, &reason)?)
    }

    fn admitted(&mut self, _ticket: Ticket, results: Vec<Result<Inserted, MempoolError>>) {
        self.world.report.refused += results.iter().filter(|result| result.is_err()).count() as u64;
    }

    fn round_started(&mut self, height: Height, round: Round, _proposer: PublicKey) {
        self.note(format_args!("is at {height}/{round}"));
    }

    fn untimely(&mut self, height: Height, round: Round, time: TimeMs, _clock: TimeMs) {
        self.note(format_args!("finds {height}/{round} untimely, dated {time}"));
        self.world.report.untimely += 1;
    }

    fn halt(&mut self, fault: vibecoin_replica::Fault) -> Stop {
        self.note(format_args!("halts: {fault}"));
        Stop::Halted(fault)
    }
}
