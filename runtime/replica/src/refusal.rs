//! Refused messages: the rule that each broke, its severity, and the cost of detecting it.

use vibecoin_messages::Severity;

/// The rule that a refused message broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// More bytes, parts or blocks than the chain or the request allows.
    Oversized,
    /// More messages than an honest peer sends.
    Flood,
    /// A response without a request.
    Unasked,
    /// A second response to one request.
    Repeated,
    /// A part by a validator out of its turn, or in the name of another one.
    OutOfTurn,
    /// A content, body or link that does not match its hash.
    Mismatch,
    /// The message's own signature does not hold.
    Signature,
    /// The certificate of a block proves nothing.
    Certificate,
    /// A transaction that the sender had to check before forwarding it is malformed or has an invalid
    /// signature: in a part that it signed, or in its gossip.
    Transactions,
}

impl Refused {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Oversized,
        Self::Flood,
        Self::Unasked,
        Self::Repeated,
        Self::OutOfTurn,
        Self::Mismatch,
        Self::Signature,
        Self::Certificate,
        Self::Transactions,
    ];

    /// Severity of the violation.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Mismatch | Self::Signature | Self::Certificate => Severity::Grave,
            // A node with different rules may do it once; one that continues is banned.
            Self::OutOfTurn | Self::Transactions => Severity::Serious,
            Self::Oversized | Self::Flood | Self::Unasked | Self::Repeated => Severity::Minor,
        }
    }
}

/// A message that an honest peer never sends, and the cost of detecting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The violated rule.
    pub kind: Refused,
    /// The reason as text.
    pub reason: &'static str,
    /// Signature checks spent on it: 0 or 1. A certificate is one check: it is verified as one batch.
    pub checks: u32,
}

impl Refusal {
    /// A refusal that cost no signature check.
    #[must_use]
    pub const fn free(kind: Refused, reason: &'static str) -> Self {
        Self {
            kind,
            reason,
            checks: 0,
        }
    }

    /// A refusal for which one signature was checked.
    #[must_use]
    pub const fn one_check(kind: Refused, reason: &'static str) -> Self {
        Self {
            kind,
            reason,
            checks: 1,
        }
    }
}
