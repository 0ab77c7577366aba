//! Nobody but the address book decides whom this node dials.
//!
//! Parts of the swarm dial on their own: opening a stream to a peer that has just been sent away dials it
//! back, and it would come in as one that we chose, past every bound for strangers.

use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId as LibPeer};

#[derive(Debug, thiserror::Error)]
#[error("the address book has not asked for this dial")]
struct NotAsked;

/// Denies every dial but the one that was announced.
#[derive(Debug, Default)]
pub struct DialGate {
    open_for: Option<ConnectionId>,
}

impl DialGate {
    /// The next dial with this number may pass.
    pub const fn open_for(&mut self, dial: ConnectionId) {
        self.open_for = Some(dial);
    }
}

impl NetworkBehaviour for DialGate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        dial: ConnectionId,
        _: Option<LibPeer>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.open_for != Some(dial) {
            return Err(ConnectionDenied::new(NotAsked));
        }
        self.open_for = None;
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: LibPeer, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_announced_dial_passes_and_only_once() {
        let [asked, other] = [1, 2].map(ConnectionId::new_unchecked);
        let mut gate = DialGate::default();
        let passes = |gate: &mut DialGate, dial| {
            let peer = Some(LibPeer::random());
            gate.handle_pending_outbound_connection(dial, peer, &[], Endpoint::Dialer)
                .is_ok()
        };
        assert!(!passes(&mut gate, asked), "nobody asked");
        gate.open_for(asked);
        assert!(!passes(&mut gate, other), "another one was asked for");
        assert!(passes(&mut gate, asked));
        assert!(!passes(&mut gate, asked), "it has passed already");
    }
}
