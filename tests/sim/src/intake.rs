//! Checks in front of a replica: the cheap checks of the node, in the same order, to show that they never
//! blame honest peers.

use vibecoin_primitives::Height;
use vibecoin_primitives::planted::Planted;
use vibecoin_replica::{
    CertifiedBlock, Chain, Event, Message, PeerId, ReceivedBlock, Refusal, Ruling, examine,
};

use crate::node::Fault;
use crate::report::Rule;
use crate::world::World;
use crate::{Sabotage, Violation};

/// The blocks of a response before the first that is refused, and that refusal.
fn certified(
    chain: &Chain,
    first: Height,
    blocks: Vec<CertifiedBlock>,
) -> (Vec<ReceivedBlock>, Option<Refusal>) {
    let linked = match examine::blocks(first, blocks) {
        Ok(linked) => linked,
        Err(refusal) => return (Vec::new(), Some(refusal)),
    };
    let mut good = Vec::new();
    for block in linked {
        match examine::certificate(chain, block) {
            Ok(block) => good.push(block),
            Err(refusal) => return (good, Some(refusal)),
        }
    }
    (good, None)
}

impl World {
    /// Checks a message before its node receives it. Bodies and blocks are handed over from here; `None` when nothing
    /// of the message is left to be handed over.
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
            Message::Body { header, body } => {
                let body = examine::body(*header, &body);
                drop(bug);
                match body {
                    Ok(body) => {
                        let event = Event::Body {
                            from: PeerId(from as u64),
                            body: Box::new(body),
                            verified: Vec::new(),
                        };
                        self.step(to, event)?;
                    }
                    Err(refusal) => self.refused(from, to, refusal)?,
                }
                return Ok(None);
            }
            Message::SyncResponse { from: first, blocks } => {
                let (blocks, refusal) = certified(&self.chain, first, blocks);
                drop(bug);
                self.blocks(from, to, first, blocks, refusal)?;
                return Ok(None);
            }
            message => (Some(message), None),
        };
        drop(bug);
        if let Some(refusal) = refusal {
            self.refused(from, to, refusal)?;
        }
        Ok(message)
    }

    /// A node receives the good blocks of a response, and the refusal of the first bad one.
    fn blocks(
        &mut self,
        from: usize,
        to: usize,
        first: Height,
        blocks: Vec<ReceivedBlock>,
        refusal: Option<Refusal>,
    ) -> Result<(), Violation> {
        let peer = PeerId(from as u64);
        let height = Height(first.0 + blocks.len() as u64);
        let is_refused = refusal.is_some();
        if let Some(refusal) = refusal {
            self.refused(from, to, refusal)?;
        }
        if !is_refused || !blocks.is_empty() {
            let event = Event::Blocks {
                from: peer,
                first,
                blocks,
                verified: Vec::new(),
            };
            self.step(to, event)?;
        }
        if is_refused {
            self.step(to, Event::Refused { from: peer, height })?;
        }
        Ok(())
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
