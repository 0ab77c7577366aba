//! Checks in front of a replica: the cheap checks of the node, in the same order, to show that they never
//! blame honest peers.

use vibecoin_primitives::planted::Planted;
use vibecoin_replica::{Event, Message, PeerId, Refusal, Ruling, examine};

use crate::node::Fault;
use crate::report::Rule;
use crate::world::World;
use crate::{Sabotage, Violation};

impl World {
    /// Checks a message before its node receives it; `None` when nothing of it is passed on.
    pub fn examine(
        &mut self,
        from: usize,
        to: usize,
        message: Message,
    ) -> Result<Option<Message>, Violation> {
        let now = self.nodes[to].now(self.now).mono;
        let Some(running) = &mut self.nodes[to].running else {
            return Ok(None);
        };
        let bug = Planted::new(self.config.bug);
        let ruling = running.intake.rule(PeerId(from as u64), &message, now);
        drop(bug);
        match ruling {
            Ruling::Take | Ruling::Evidence => {}
            Ruling::Drop => return Ok(None),
            Ruling::Refuse(refusal) => {
                self.refused(from, to, refusal)?;
                return Ok(None);
            }
        }
        let bug = Planted::new(self.config.bug);
        let (message, refusal) = match message {
            Message::Part(part) => match examine::part(&self.chain, &part) {
                Ok(()) => (Some(Message::Part(part)), None),
                Err(refusal) => (None, Some(refusal)),
            },
            Message::Body { header, body } => match examine::body(&header, &body) {
                Ok(()) => (Some(Message::Body { header, body }), None),
                Err(refusal) => (None, Some(refusal)),
            },
            Message::SyncResponse { from: first, blocks } => {
                let mut good = Vec::new();
                let mut refusal = examine::blocks(first, &blocks).err();
                for block in blocks {
                    refusal = refusal.or_else(|| examine::certificate(&self.chain, &block).err());
                    if refusal.is_some() {
                        break;
                    }
                    good.push(block);
                }
                let first_bad = vibecoin_primitives::Height(first.0 + good.len() as u64);
                let blocks = good;
                drop(bug);
                if let Some(refusal) = refusal {
                    self.refused(from, to, refusal)?;
                    if !blocks.is_empty() {
                        let message = Message::SyncResponse { from: first, blocks };
                        self.hand_over(from, to, message, None)?;
                    }
                    let event = Event::Refused {
                        from: PeerId(from as u64),
                        height: first_bad,
                    };
                    self.step(to, event)?;
                    return Ok(None);
                }
                return Ok(Some(Message::SyncResponse { from: first, blocks }));
            }
            message => (Some(message), None),
        };
        drop(bug);
        if let Some(refusal) = refusal {
            self.refused(from, to, refusal)?;
        }
        Ok(message)
    }

    fn refused(&mut self, from: usize, to: usize, refusal: Refusal) -> Result<(), Violation> {
        self.report.turned_away += 1;
        if refusal.checks > 1 {
            let detail = format!("{refusal:?} cost more than one check of a signature");
            return Err(self.violation(to, (Rule::Bounded, detail)));
        }
        self.blamed(to, PeerId(from as u64), refusal.reason)
            .map_err(|fault| self.violation(to, fault))
    }

    /// A node blames a peer: an honest one only for wire faults in its messages.
    pub fn blamed(&mut self, index: usize, peer: PeerId, reason: &str) -> Result<(), Fault> {
        self.trace
            .note(self.now, format_args!("{index} blames {}: {reason}", peer.0));
        let innocent = self.storm.damage == 0 && !self.config.lies(peer.0 as usize);
        if innocent && self.config.sabotage == Sabotage::None {
            return Err((Rule::NoBlame, format!("blames node {}: {reason}", peer.0)));
        }
        Ok(())
    }

    /// Updates a node's intake with the position of its replica, when that has changed.
    pub fn note_stand(&mut self, index: usize) {
        let bug = Planted::new(self.config.bug);
        if let Some(running) = &mut self.nodes[index].running {
            let position = running.replica.position();
            if running.position != Some(position) {
                running.position = Some(position);
                running.intake.stand(running.replica.stand());
            }
        }
        drop(bug);
    }
}
