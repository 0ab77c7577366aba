//! State of consensus and of the Proof of History.

use vibecoin_primitives::{Hash, Height, PublicKey, Round, TimeMs};

/// Progress of the proposer's Proof of History.
#[derive(Clone, Debug, Default)]
pub struct PohStatus {
    /// The height in progress.
    pub height: Height,
    /// Number of completed ticks of it.
    pub tick: u32,
    /// The newest hash.
    pub hash: Hash,
    /// Hashes per second measured on this machine, 0 when not measured.
    pub measured_hash_rate: u64,
    /// Delay of the newest tick of the node's own block.
    pub drift_ms: i64,
}

/// State of consensus.
#[derive(Clone, Debug, Default)]
pub struct ConsensusStatus {
    /// The height being decided.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// `propose`, `prevote`, `precommit`, `commit` or `idle`.
    pub step: &'static str,
    /// Public key with which this node votes; `None` when it does not vote.
    pub validator: Option<PublicKey>,
    /// Time of the newest commit on this node.
    pub last_commit: Option<TimeMs>,
    /// The double-sign guard keeps this node from voting at this height.
    pub abstaining: bool,
    /// Expired timeouts since the start.
    pub timeouts: u64,
}
