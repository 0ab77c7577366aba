//! Which blocks to ask for next, and from whom.

/// Names a peer; the network room gives the numbers out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);
