//! Faults: partitions, crashes, halts, and Byzantine messages with their report to the observer.

use super::*;
use crate::disk::io_error;
use crate::ledger::Stored;
use vibecoin_primitives::FaultClass;

impl World {
    pub(super) fn cut(&mut self) {
        if !self.calm {
            self.apart = (0..self.nodes.len()).filter(|_| self.rng.chance(500)).collect();
            self.trace
                .note(self.now, format_args!("partition: {:?} apart", self.apart));
            self.look_at_links();
            let (lasts, next) = (
                self.rng.wait(self.faults.partition),
                self.rng.wait(self.faults.partition_every),
            );
            self.later(lasts, Happening::Heal);
            self.later(lasts + next, Happening::Cut);
        }
    }

    /// The saboteur's second prevote, for a block that does not exist.
    pub(super) fn equivocate(&mut self, from: usize, message: &Message) -> Result<(), Fault> {
        if let Message::Consensus(ConsensusMessage::Vote(signed)) = message
            && signed.vote.kind == VoteKind::Prevote
            && signed.vote.validator == self.nodes[from].public
        {
            let vote = Vote {
                block: Some(Hash([9; 32])),
                ..signed.vote.clone()
            };
            let vote = vote.sign(&self.chain.genesis, &self.nodes[from].key);
            let to: Vec<usize> = (0..self.nodes.len()).filter(|peer| *peer != from).collect();
            self.send(from, &to, Message::Consensus(ConsensusMessage::Vote(vote)))?;
        }
        Ok(())
    }

    /// A Byzantine node that has made a block shows others in its place.
    pub(super) fn show(&mut self, index: usize, block: &Block) -> Result<(), Fault> {
        let byzantine = self.byzantine.as_mut();
        let Some(byzantine) = byzantine.filter(|byzantine| byzantine.node == index) else {
            return Ok(());
        };
        let Some(running) = &self.nodes[index].running else {
            return Ok(());
        };
        // A Byzantine node executes like all others.
        let bug = Planted::new(self.config.bug);
        let said = byzantine.on_built(block, &Stored(&running.store));
        drop(bug);
        for said in said {
            self.send(index, &said.to, said.message)?;
        }
        Ok(())
    }

    /// Sends the held-back messages of the Byzantine node, unless its process has ended.
    pub(super) fn say_late(&mut self, message: Message) -> Result<(), Violation> {
        let Some(byzantine) = self.byzantine.as_ref() else {
            return Ok(());
        };
        let (from, to) = (byzantine.node, byzantine.others());
        if self.nodes[from].running.is_none() {
            return Ok(());
        }
        self.trace.note(
            self.now,
            format_args!("{from} -> all  {}, late", describe(&message)),
        );
        self.send(from, &to, message)
            .map_err(|fault| self.violation(from, fault))
    }

    // ---- crashes ------------------------------------------------------------------------------

    pub(super) fn choose_victim(&mut self) -> Result<(), Violation> {
        if self.calm {
            return Ok(());
        }
        let after = self.rng.wait(self.faults.crash_every);
        self.later(after, Happening::Crash);
        let sabotaged = !matches!(self.config.sabotage, Sabotage::None | Sabotage::Equivocation);
        let victim = if sabotaged && self.rng.chance(700) {
            SABOTEUR
        } else {
            self.rng.index(self.nodes.len())
        };
        let all = self.rng.chance(50);
        for index in 0..self.nodes.len() {
            if index == victim || all {
                let actions = self.rng.below(12);
                match &mut self.nodes[index].running {
                    Some(running) if actions > 3 => running.dies_after = Some(actions - 4),
                    Some(_) => self.crash(index),
                    None => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, index: usize) {
        self.count(index);
        let Some(running) = self.nodes[index].running.take() else {
            return;
        };
        self.unlink(index);
        // The thread that commits may have finished, or not, or is between any two of its steps.
        if let Some(commit) = running.committing
            && self.rng.chance(500)
            && !self.nodes[index].disk.power().is_off()
        {
            self.nodes[index].disk.power().hold();
            let _bug = Planted::new(self.config.bug);
            let (store, mut witness) = (running.store.clone(), running.witness);
            // Nothing is reported of it: what it leaves is checked at the next start.
            match self.starts.below(3) {
                0 => drop(store.commit(&commit)),
                1 => drop(vibecoin_host::commit(&commit, &mut witness, |block| {
                    store.commit(block)
                })),
                _ => drop(vibecoin_host::commit(&commit, &mut witness, |_| {
                    Err(io_error("the process ended"))
                })),
            }
        }
        let torn = self.rng.chance(self.faults.tear);
        let (sabotage, next) = (self.config.sabotage, Height(running.store.head().height.0 + 1));
        let disk = &mut self.nodes[index].disk;
        let lost = disk.crash(&mut self.rng, torn);
        if index == SABOTEUR {
            // Notifications of its clients before the crash are out of scope: here the blocks count.
            if sabotage == Sabotage::TailLost
                && let Some(block) = disk.lose_tail()
            {
                self.report.tails_lost += 1;
                self.nodes[index].acked = block;
            }
            let disk = &mut self.nodes[index].disk;
            if matches!(sabotage, Sabotage::LogLost | Sabotage::LogAndGuardLost) {
                disk.lose_log(next);
            }
            if sabotage == Sabotage::LogAndGuardLost {
                disk.lose_guard();
            }
            if sabotage == Sabotage::GuardAndLogDamaged
                && let Some(signed) = disk.damage_guard_and_log()
            {
                self.nodes[index].silent = Some(signed);
                self.report.signatures_lost += 1;
                self.trace
                    .note(self.now, format_args!("{index} loses its signature of {signed}"));
            }
        }
        self.report.crashes += 1;
        self.report.torn += u64::from(lost);
        self.trace.note(
            self.now,
            format_args!("{index} crashes, torn {torn}, lost {lost}"),
        );
        // In an outage a node stays dead until it ends.
        if !self.calm && !self.rng.chance(self.faults.stays_down) {
            let after = self.rng.wait(self.faults.down);
            self.later(after, Happening::Start { node: index });
        }
    }

    /// The power fails during a start: it is repeated, from what is on the disk by then.
    pub(super) fn start_again(&mut self, index: usize) {
        self.nodes[index].running = None;
        let lost = self.nodes[index].disk.crash(&mut self.starts, true);
        self.report.torn_starts += 1;
        self.trace.note(
            self.now,
            format_args!("{index} loses its power during the start, lost {lost}"),
        );
        let after = self.starts.wait(self.faults.down);
        self.later(after, Happening::Start { node: index });
    }

    /// Adds the counters of a process before it ends.
    pub(super) fn count(&mut self, index: usize) {
        if let Some(running) = &self.nodes[index].running {
            let counters = running.replica.orderer().status().counters;
            self.report.guard_refusals += counters.refused;
            self.report.core_errors += counters.core_errors;
        }
    }

    pub(super) fn halt(&mut self, index: usize, class: FaultClass) -> Result<(), Violation> {
        self.trace
            .note(self.now, format_args!("{index} halts: {class:?}"));
        self.nodes[index].running = None;
        self.unlink(index);
        self.nodes[index].halted = Some(class);
        self.report.halted[index] = Some(class);
        Ok(())
    }

    // ---- actions ------------------------------------------------------------------------------
}
