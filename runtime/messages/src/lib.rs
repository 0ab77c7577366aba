//! Messages between nodes, and the few types with which the layers above refer to peers and gossip.
//!
//! The transport carries these messages, the orderer and the replica process them; this crate is what both
//! sides know. It has no rules: which message is valid, and when, is decided by `vibecoin-consensus` and
//! `vibecoin-replica`; the envelope and the limit of each kind are in `vibecoin-network`. Every message is
//! encoded by the codec of `vibecoin-primitives`, and has a golden line in `tests/conformance`.
//!
//! Modules: [`message`] (the message between nodes, with decided blocks), [`consensus`] (votes, proposals and
//! certificates, which it contains), [`peer`] (identities of peers and of gossiped messages, verdicts,
//! severity of violations).

pub mod consensus;
pub mod message;
pub mod peer;

pub use consensus::{
    ConsensusMessage, PolkaCertificate, RoundCertificate, RoundCertificateKind, RoundVote, VoteSignature,
};
pub use message::{CertifiedBlock, Message, SYNC_BLOCKS_MAX};
pub use peer::{GossipId, PeerId, Severity, Verdict};
