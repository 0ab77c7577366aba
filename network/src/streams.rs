//! Streams opened to peers, and streams opened by them.
//!
//! Like the crate `libp2p-stream`, with three differences: no state is kept of a closed connection, so a peer
//! that reconnects repeatedly takes no memory; incoming streams do not pass through one queue for all peers,
//! where one that opens them without end displaces those of others; and a stream to a peer that is not
//! connected is an error, not a dial.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandlerEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId as LibPeer, Stream, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

/// Maximum number of streams to open, and of incoming ones, queued in one connection.
const WAITING_MAX: usize = 16;
/// Maximum number of streams to open queued for the swarm. Further callers wait.
const OPEN_REQUESTS_MAX: usize = 256;

/// The peer is not connected, does not support the protocol or has closed the connection.
#[derive(Debug, thiserror::Error)]
#[error("no stream to the peer could be opened")]
pub struct NoStream;

/// Receiver of an opened stream. Dropped on failure.
type Reply = oneshot::Sender<Stream>;

/// A stream to open.
#[derive(Debug)]
pub struct OpenRequest {
    protocol: StreamProtocol,
    reply: Reply,
}

/// Opens streams.
#[derive(Clone, Debug)]
pub struct Control {
    requests: mpsc::Sender<(LibPeer, OpenRequest)>,
}

impl Control {
    /// Opens a stream to a connected peer.
    ///
    /// # Errors
    /// [`NoStream`].
    pub async fn open_stream(&self, peer: LibPeer, protocol: StreamProtocol) -> Result<Stream, NoStream> {
        let (reply, opened) = oneshot::channel();
        let request = OpenRequest { protocol, reply };
        self.requests.send((peer, request)).await.map_err(|_| NoStream)?;
        opened.await.map_err(|_| NoStream)
    }
}

/// A stream that a peer opened.
#[derive(Debug)]
pub struct Incoming {
    pub peer: LibPeer,
    pub protocol: StreamProtocol,
    pub stream: Stream,
}

/// The libp2p behaviour that handles these streams.
pub struct Streams {
    accepted: Arc<[StreamProtocol]>,
    requests: mpsc::Receiver<(LibPeer, OpenRequest)>,
    control: Control,
    arrived: VecDeque<Incoming>,
}

impl Streams {
    /// Accepts streams of these protocols.
    pub fn new(accepted: impl IntoIterator<Item = StreamProtocol>) -> Self {
        let (sender, requests) = mpsc::channel(OPEN_REQUESTS_MAX);
        Self {
            accepted: accepted.into_iter().collect(),
            requests,
            control: Control { requests: sender },
            arrived: VecDeque::new(),
        }
    }

    /// A handle that opens streams, from any task.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    fn handler(&self) -> Handler {
        Handler {
            accepted: self.accepted.clone(),
            requests: VecDeque::new(),
            arrived: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: LibPeer,
        _: ConnectionId,
        (stream, protocol): THandlerOutEvent<Self>,
    ) {
        // Taken by the poll that follows at once.
        self.arrived.push_back(Incoming {
            peer,
            protocol,
            stream,
        });
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(incoming) = self.arrived.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(incoming));
        }
        match self.requests.poll_recv(cx) {
            Poll::Ready(Some((peer_id, event))) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event,
            }),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The streams of one connection.
pub struct Handler {
    accepted: Arc<[StreamProtocol]>,
    requests: VecDeque<OpenRequest>,
    arrived: VecDeque<(Stream, StreamProtocol)>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenRequest;
    type ToBehaviour = (Stream, StreamProtocol);
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocols> {
        SubstreamProtocol::new(Protocols(self.accepted.clone()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Protocols, Reply, Self::ToBehaviour>> {
        if let Some(arrived) = self.arrived.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(arrived));
        }
        // None is opened for a caller that has given up.
        while let Some(OpenRequest { protocol, reply }) = self.requests.pop_front() {
            if !reply.is_closed() {
                let protocol = SubstreamProtocol::new(Protocols(Arc::from([protocol])), reply);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, request: OpenRequest) {
        if self.requests.len() < WAITING_MAX {
            self.requests.push_back(request);
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Protocols, Protocols, (), Reply>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info: () })
                if self.arrived.len() < WAITING_MAX =>
            {
                self.arrived.push_back(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: reply,
            }) => {
                let _caller_has_given_up = reply.send(stream);
            }
            // The reply of a failed one is dropped, which reports the failure.
            _ => {}
        }
    }
}

/// Protocols that may be negotiated for a stream.
#[derive(Debug)]
pub struct Protocols(Arc<[StreamProtocol]>);

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Vec::from(&*self.0).into_iter()
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
