//! Peers and their messages, submitted transactions, and evidence.

use std::sync::Arc;

use vibecoin_consensus::{ConsensusMessage, Orderer, Verdict};
use vibecoin_execution::State;
use vibecoin_primitives::{Evidence, Height, PublicKey, VerifiedTransaction};

use super::Replica;
use crate::check::Verified;
use crate::event::{Action, Fault, Ticket};
use crate::{GossipId, Message, PeerId};

/// Transactions whose signatures were checked, by hash.
pub(super) fn by_hash(verified: Vec<VerifiedTransaction>) -> Verified {
    let verified = verified.into_iter();
    verified.map(|tx| (*tx.hash(), Arc::new(tx))).collect()
}

impl<S: State, O: Orderer> Replica<S, O> {
    pub(super) fn on_connected(&mut self, peer: PeerId, head: Height, validator: Option<PublicKey>) {
        self.peers.connect(peer, validator);
        self.catch_up.connected(peer, head, validator);
        if let Some(validator) = validator {
            self.orderer.on_peer_connected(validator, self.now.mono);
        }
    }

    pub(super) fn on_disconnected(&mut self, peer: PeerId) {
        if let Some(validator) = self.peers.disconnect(peer) {
            self.orderer.on_peer_disconnected(validator, self.now.mono);
        }
        self.bodies.disconnected(peer);
        self.catch_up.disconnected(peer);
    }

    pub(super) fn admit(&mut self, ticket: Ticket, transactions: Vec<Arc<VerifiedTransaction>>) {
        let (state, next) = (&self.tip.parent().state, self.tip.next_height());
        let mut results = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            match state.account(&transaction.sender()) {
                Ok(account) => {
                    let account = account.as_ref();
                    results.push(self.pool.insert(transaction, account, next, self.now.wall.0));
                }
                Err(error) => return self.halt(Fault::State(error.to_string())),
            }
        }
        self.emit(Action::Admitted { ticket, results });
    }

    pub(super) fn on_message(
        &mut self,
        from: PeerId,
        message: Message,
        verified: Vec<VerifiedTransaction>,
        gossip: Option<GossipId>,
    ) {
        let verdict = match message {
            Message::Consensus(message) => self.on_statement(from, message),
            Message::Evidence(evidence) => self.on_evidence(*evidence),
            Message::Part(part) => self.on_part(*part, by_hash(verified)),
            Message::BodyRequest { block, .. } => self.on_body_request(from, block),
            Message::Status { height } => {
                self.catch_up.on_status(from, height);
                Verdict::Ignored
            }
            // These arrive here as `Event::Transactions`, `Event::Body` and `Event::Blocks`, after their checks, and
            // the host answers requests for stored blocks.
            Message::Transactions(_)
            | Message::Body { .. }
            | Message::SyncResponse { .. }
            | Message::SyncRequest { .. } => Verdict::Ignored,
        };
        if let Some(gossip) = gossip {
            self.emit(Action::Forward { gossip, verdict });
        }
        if let Verdict::Rejected(reason) = verdict {
            self.blame(from, reason);
        }
    }

    /// Handles a consensus message. A vote for height h proves that its sender has block h-1; we record it at once,
    /// since a status is sent only twice a second and a node that missed a block would be behind for as long.
    fn on_statement(&mut self, from: PeerId, message: ConsensusMessage) -> Verdict {
        let height = message.height();
        let vote = match &message {
            ConsensusMessage::Vote(vote) => Some(vote.vote.clone()),
            _ => None,
        };
        let verdict = self.orderer.on_message(message, self.now.mono);
        if let Some(vote) = vote
            && matches!(verdict, Verdict::Fresh | Verdict::Known)
        {
            if self.peers.is_validator(from, &vote.validator) {
                self.catch_up.on_proof(from, height.saturating_sub(1));
            }
            self.peers.record_vote(vote.validator, height);
            if height >= self.tip.next_height() {
                self.bodies.record_vote(&vote);
            }
        }
        verdict
    }

    pub(super) fn blame(&mut self, peer: PeerId, reason: &str) {
        self.emit(Action::Blame {
            peer,
            reason: reason.to_owned(),
        });
    }

    /// Announces our head to peers.
    pub(super) fn announce_head(&mut self) {
        let status = self.peers.announce(self.tip.height(), self.now.mono);
        self.emit_all(status.map(Action::Broadcast));
    }

    // ---- evidence -----------------------------------------------------------------------------

    /// Handles evidence that a client of this node submitted: only new evidence is published.
    pub(super) fn on_submitted_evidence(&mut self, evidence: Box<Evidence>) {
        if self.on_evidence((*evidence).clone()) == Verdict::Fresh {
            self.emit(Action::Broadcast(Message::Evidence(evidence)));
        }
    }

    pub(super) fn on_evidence(&mut self, evidence: Evidence) -> Verdict {
        match self.evidence.check(&self.tip, &evidence, self.key) {
            Ok(Verdict::Fresh) => {}
            Ok(verdict) => return verdict,
            Err(error) => {
                self.halt(error);
                return Verdict::Ignored;
            }
        }
        self.watch_evidence(&evidence);
        if self.evidence.add(evidence) {
            Verdict::Fresh
        } else {
            Verdict::Ignored
        }
    }

    /// Evidence against this node's own key may show that the key also signs elsewhere.
    pub(super) fn watch_evidence(&mut self, evidence: &Evidence) {
        if self.key == Some(evidence.offender().0) {
            self.orderer.on_own_evidence(evidence);
        }
    }

    /// Keeps evidence found here for a block of ours, and broadcasts it.
    pub(super) fn found_evidence(&mut self, evidence: Evidence) {
        self.watch_evidence(&evidence);
        if self.evidence.add(evidence.clone()) {
            self.emit(Action::Broadcast(Message::Evidence(Box::new(evidence))));
        }
    }
}
