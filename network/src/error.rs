//! Errors of the network.

/// Reason for which the network did not start, or refused an operator's request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Not a multiaddress, or one without a part required here.
    #[error("address {address:?}: {detail}")]
    Address {
        /// The address as configured.
        address: String,
        /// Description of the fault.
        detail: String,
    },
    /// Not the identity of a peer.
    #[error("peer id {id:?}: {detail}")]
    PeerId {
        /// The text as received.
        id: String,
        /// Description of the fault.
        detail: String,
    },
    /// Listening on an address failed.
    #[error("cannot listen at {address}: {detail}")]
    Listen {
        /// The address.
        address: String,
        /// The system's message.
        detail: String,
    },
    /// The swarm could not be built.
    #[error("the network did not start: {detail}")]
    Start {
        /// Description of the fault.
        detail: String,
    },
    /// There is no such peer.
    #[error("there is no peer {id}")]
    NoSuchPeer {
        /// The requested identity.
        id: String,
    },
    /// The network has stopped, or its queue of commands is full.
    #[error("the network is busy or stopped; try again")]
    Busy,
}
