//! Withholder: keeps its own proposals, parts or bodies back.

use vibecoin_consensus::ConsensusMessage;
use vibecoin_replica::Message;

use crate::Behaviour;

/// Nodes that do not receive a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    None,
    /// One half of the other nodes.
    Half,
    All,
}

/// The receivers from which one of the validator's own messages is withheld.
pub fn withheld(behaviour: Behaviour, message: &Message) -> Withheld {
    match (behaviour, message) {
        (
            Behaviour::WithheldProposals,
            Message::Consensus(ConsensusMessage::Proposal(_)) | Message::Part(_) | Message::Body { .. },
        ) => Withheld::All,
        (Behaviour::WithheldBodies, Message::Part(_) | Message::Body { .. }) => Withheld::Half,
        (Behaviour::WithheldParts, Message::Part(part)) if part.signed.statement.sequence % 2 == 1 => {
            Withheld::All
        }
        _ => Withheld::None,
    }
}
