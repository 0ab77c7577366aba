//! The caller that a call is charged to.

use std::net::IpAddr;

/// The caller that a call is charged to: callers take turns, and bounds apply per caller.
///
/// One address is one caller, and so is a whole IPv6 /64. A loopback address stands for all programs and
/// proxies of the machine: there each connection is a separate caller.
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
