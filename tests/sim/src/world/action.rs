//! Performs the actions of a replica, on a disk that may fail during any of them.

use super::*;

/// Outcome of an action.
enum Flow {
    Go,
    /// The power failed during the action.
    Dead,
    Halted(u8),
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
                self.nodes[index].disk.power().fail_next_sync();
            }
            let flow = self
                .act(index, action)
                .map_err(|fault| self.violation(index, fault))?;
            match flow {
                Flow::Go if !dies => {}
                Flow::Go | Flow::Dead => {
                    self.crash(index);
                    return Ok(());
                }
                Flow::Halted(code) => return self.halt(index, code),
            }
        }
    }

    fn act(&mut self, index: usize, action: Action<StateView>) -> Result<Flow, Fault> {
        let sabotage = if index == SABOTEUR {
            self.config.sabotage
        } else {
            Sabotage::None
        };
        let now = self.now;
        let trace = &mut self.trace;
        let node = &mut self.nodes[index];
        let Some(running) = &mut node.running else {
            return Ok(Flow::Go);
        };
        match action {
            Action::Append(record) => {
                trace.note(now, format_args!("{index} appends {}", Recorded(&record)));
                if sabotage == Sabotage::LogFails && record.height() > Height(3) {
                    node.disk.fail_log();
                    node.log_failed = true;
                }
                let written = written(running.log.append(&encode(&record)));
                if let LogRecord::Block(block) = &record {
                    self.show(index, block)?;
                }
                Ok(written)
            }
            Action::SyncLog => {
                trace.note(now, format_args!("{index} syncs its log"));
                Ok(written(running.log.sync()))
            }
            Action::Guard(entry) => {
                trace.note(now, format_args!("{index} guards {}", entry.position()));
                if sabotage == Sabotage::GuardUnsaved {
                    return Ok(Flow::Go);
                }
                let stored = running.guard.store(guard_row(&entry), running.log.len());
                if let Err(StorageError::Refused(detail)) = &stored {
                    return Err((Rule::NoEquivocation, detail.clone()));
                }
                Ok(written(stored))
            }
            Action::Broadcast(message) => {
                trace.note(now, format_args!("{index} -> all  {}", describe(&message)));
                let twice = (sabotage == Sabotage::Equivocation).then(|| message.clone());
                self.say(index, None, message)?;
                if let Some(message) = twice {
                    self.equivocate(index, &message)?;
                }
                Ok(Flow::Go)
            }
            Action::Send { to, message } => {
                trace.note(now, format_args!("{index} -> {}  {}", to.0, describe(&message)));
                let mono = node.now(now).mono;
                if let Some(running) = &mut node.running {
                    running.intake.asked(to, &message, mono);
                }
                self.say(index, Some(to.0 as usize), message).map(|()| Flow::Go)
            }
            Action::GiveBody { to, block } => {
                let Some(message) = running.replica.body(&block) else {
                    return Ok(Flow::Go);
                };
                trace.note(now, format_args!("{index} -> {}  {}", to.0, describe(&message)));
                self.say(index, Some(to.0 as usize), message).map(|()| Flow::Go)
            }
            Action::Forward { gossip, verdict } => {
                if matches!(verdict, Verdict::Fresh | Verdict::Known) {
                    self.forward(index, gossip.0);
                }
                Ok(Flow::Go)
            }
            Action::Serve { to, from, count } => {
                let message = serve(&running.store, from, count)
                    .map_err(|error| (Rule::Recovery, error.to_string()))?;
                self.report.served += 1;
                self.say(index, Some(to.0 as usize), message).map(|()| Flow::Go)
            }
            Action::Commit(commit) => self.decided(index, commit).map(|()| Flow::Go),
            Action::ResetLog { height } => {
                let head = running.store.head().height;
                if height.0 != head.0 + 1 {
                    return Err((
                        Rule::CommitFirst,
                        format!("the log is reset for {height}, the head is {head}"),
                    ));
                }
                Ok(written(running.log.reset(height)))
            }
            Action::Admitted { results, .. } => {
                self.report.refused += results.iter().filter(|result| result.is_err()).count() as u64;
                Ok(Flow::Go)
            }
            Action::RoundStarted { height, round, .. } => {
                trace.note(now, format_args!("{index} is at {height}/{round}"));
                Ok(Flow::Go)
            }
            Action::Untimely {
                height, round, time, ..
            } => {
                trace.note(
                    now,
                    format_args!("{index} finds {height}/{round} untimely, dated {time}"),
                );
                self.report.untimely += 1;
                Ok(Flow::Go)
            }
            Action::Blame { peer, reason } => {
                self.blamed(index, peer, &reason)?;
                Ok(Flow::Go)
            }
            Action::Halt(fault) => {
                trace.note(now, format_args!("{index} halts: {fault}"));
                match sabotage {
                    _ if self.config.lies(index) => Ok(Flow::Halted(fault.exit_code())),
                    Sabotage::None | Sabotage::Equivocation => Err((Rule::NoHalt, fault.to_string())),
                    _ => Ok(Flow::Halted(fault.exit_code())),
                }
            }
        }
    }

    pub(super) fn decided(&mut self, index: usize, commit: Box<Commit<StateView>>) -> Result<(), Fault> {
        let height = commit.header.height;
        self.trace.note(
            self.now,
            format_args!("{index} decides {height} {}", Short(&commit.hash)),
        );
        let honest = (0..self.nodes.len()).filter(|node| !self.config.lies(*node));
        let clocks = honest.map(|node| self.nodes[node].now(self.now).wall);
        if self.model.decide(&commit, clocks.max().unwrap_or_default())? {
            self.decided_at = self.now;
            if let Some(liar) = &mut self.liar {
                liar.count_turn(&commit.header);
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
        let bug = Planted::new(self.config.bug);
        let committed = running.store.commit(&block_of(*commit));
        drop(bug);
        // As the node does: while lost blocks are fetched the witness keeps the newest, and it must be the same.
        let recorded = match running.witness.head() {
            Some(seen) if seen.height == height && seen.hash != hash => {
                Err(io_error("peers have another block than the witness"))
            }
            Some(seen) if seen.height >= height => Ok(()),
            _ => running.witness.record(vibecoin_storage::Head { height, hash }),
        };
        let unsynced = node.disk.kv.unsynced();
        let fault = match (committed, recorded) {
            (Ok(state), Ok(())) if unsynced == 0 => {
                node.acked = (height, hash);
                self.trace
                    .note(self.now, format_args!("{index} has stored {height}"));
                return self.step(index, Event::Committed { height, state });
            }
            (Err(error), _) | (_, Err(error)) => (Rule::CommitFirst, error.to_string()),
            _ => (
                Rule::CommitFirst,
                format!("{height} is told of, and {unsynced} batches are not synced"),
            ),
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

/// Outcome of a write. D6: the first error is the last.
fn written(result: Result<(), StorageError>) -> Flow {
    match result {
        Ok(()) => Flow::Go,
        Err(StorageError::Io { detail, .. }) if detail.contains("power") => Flow::Dead,
        Err(error) => Flow::Halted(error.exit_code()),
    }
}

pub(super) fn block_of(commit: Commit<StateView>) -> CommitBlock {
    let Commit {
        header,
        body,
        certificate,
        receipts,
        diff,
        ids,
        state,
        ..
    } = commit;
    CommitBlock {
        header,
        body,
        certificate,
        receipts,
        diff,
        state,
        ids,
    }
}

/// Blocks from a height on, as many as fit.
fn serve(store: &Store, from: Height, count: u32) -> Result<Message, StorageError> {
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    let reader = store.blocks();
    for height in (from.0..).map(Height).take(SYNC_BLOCKS_MAX.min(count as usize)) {
        let (Some(header), Some(body), Some(certificate)) = (
            reader.header(height)?,
            reader.body_bytes(height)?,
            reader.certificate(height)?,
        ) else {
            break;
        };
        bytes += body.len();
        if bytes > SERVE_BYTES_MAX && !blocks.is_empty() {
            break;
        }
        blocks.push(CertifiedBlock {
            header,
            body,
            certificate,
        });
    }
    Ok(Message::SyncResponse { from, blocks })
}
