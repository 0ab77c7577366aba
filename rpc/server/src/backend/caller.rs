//! Whose share of the node a call uses.

use std::net::IpAddr;

/// Whose share of the node a call uses: callers take turns, and bounds are theirs.
///
/// One address is one caller, and so is a whole IPv6 /64. Behind a loopback address stand all programs and proxies of
/// the machine: there each connection is a caller of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller {
    /// The address, of IPv6 its /64; `None` for the node itself.
    pub address: Option<IpAddr>,
    /// The connection of a loopback address; zero otherwise.
    pub connection: u32,
}

impl Caller {
    /// The node itself.
    pub const NODE: Self = Self {
        address: None,
        connection: 0,
    };
}
