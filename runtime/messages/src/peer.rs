//! Identities of peers and of gossiped messages, and the judgement of them that the network acts on.

/// Identifies a peer; the network crate assigns the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// Identifies a gossiped message whose forwarding waits for a verdict; the network crate assigns the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub u64);

/// Outcome of a message, which the gossip layer needs before it forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New, and every signature in it is valid.
    Fresh,
    /// Valid, and seen before.
    Known,
    /// Not accepted now: another height, too far ahead, or no capacity. Not a fault of the sender.
    Ignored,
    /// An honest node never sends this.
    Rejected(&'static str),
}

/// Severity of a violation, as a measure of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A race or a late response may explain one; ten in a short time lead to a ban.
    Minor,
    /// The peer follows other rules or none: two in a short time lead to a ban.
    Serious,
    /// Neither a race nor a broken stream explains it: a ban at once.
    Grave,
}
