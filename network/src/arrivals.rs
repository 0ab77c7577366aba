//! Incoming connections whose negotiation the gate can abort.
//!
//! A libp2p behaviour can refuse a connection before its handshake, but not abort the handshake. So the
//! transport wraps each one and leaves its abort handle here: the swarm consults the gate about a connection
//! before it polls the transport again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, AbortRegistration, Abortable, BoxFuture};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId as LibPeer, Transport};
use parking_lot::Mutex;

type Output = (LibPeer, StreamMuxerBox);

#[derive(Debug, thiserror::Error)]
#[error("made way for a connection from elsewhere")]
struct Displaced;

/// The newest incoming connection, and the handle that aborts its negotiation.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<Option<(Multiaddr, AbortHandle)>>>);

impl Arrivals {
    /// The same transport, with incoming connections that can be aborted.
    pub fn watch(&self, inner: Boxed<Output>) -> Watched {
        Watched {
            inner,
            arrivals: self.clone(),
        }
    }

    /// Leaves the handle of a connection from this address.
    pub fn announce(&self, from: Multiaddr) -> AbortRegistration {
        let (handle, registration) = AbortHandle::new_pair();
        *self.0.lock() = Some((from, handle));
        registration
    }

    /// Takes the handle of the newest connection, if it is from this address.
    pub fn take(&self, from: &Multiaddr) -> Option<AbortHandle> {
        let newest = self.0.lock().take();
        newest.filter(|(of, _)| of == from).map(|(_, handle)| handle)
    }
}

/// A transport that announces each incoming connection.
pub struct Watched {
    inner: Boxed<Output>,
    arrivals: Arrivals,
}

impl Transport for Watched {
    type Output = Output;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Output>>;
    type Dial = <Boxed<Output> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.inner).poll(cx).map(|event| {
            let registration = match &event {
                TransportEvent::Incoming { send_back_addr, .. } => {
                    Some(self.arrivals.announce(send_back_addr.clone()))
                }
                _ => None,
            };
            event.map_upgrade(|upgrade| -> Self::ListenerUpgrade {
                let Some(registration) = registration else {
                    return upgrade;
                };
                Box::pin(async move {
                    let ended = Abortable::new(upgrade, registration).await;
                    ended.unwrap_or_else(|_| Err(io::Error::other(Displaced)))
                })
            })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::future::poll_fn;

    use libp2p::core::Endpoint;
    use libp2p::core::transport::{MemoryTransport, PortUse};

    use super::*;

    #[tokio::test]
    async fn a_negotiation_that_never_ends_is_ended_by_its_handle_alone() {
        let endless = MemoryTransport::default()
            .and_then(|_, _| std::future::pending::<io::Result<Output>>())
            .boxed();
        let arrivals = Arrivals::default();
        let mut listener = arrivals.watch(endless);
        let id = ListenerId::next();
        listener.listen_on(id, "/memory/0".parse().unwrap()).unwrap();
        let at = loop {
            let event = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await;
            if let TransportEvent::NewAddress { listen_addr, .. } = event {
                break listen_addr;
            }
        };
        let mut upgrades = Vec::new();
        for _ in 0..2 {
            let options = DialOpts {
                role: Endpoint::Dialer,
                port_use: PortUse::Reuse,
            };
            let dial = MemoryTransport::default().dial(at.clone(), options).unwrap();
            let event = poll_fn(|cx| Pin::new(&mut listener).poll(cx));
            let (_dialled, event) = futures_util::future::join(dial, event).await;
            let TransportEvent::Incoming {
                upgrade,
                send_back_addr,
                ..
            } = event
            else {
                panic!("no connection came: {event:?}");
            };
            upgrades.push((upgrade, arrivals.take(&send_back_addr).unwrap()));
            assert!(arrivals.take(&send_back_addr).is_none(), "it is taken once");
        }
        let [(first, handle), (second, _)] = <[_; 2]>::try_from(upgrades).ok().unwrap();
        handle.abort();
        let ended = futures_util::future::select(first, second).await;
        let futures_util::future::Either::Left((Err(error), _)) = ended else {
            panic!("the other one ended");
        };
        assert!(error.get_ref().unwrap().is::<Displaced>(), "{error}");
        let arrival = arrivals.announce(at);
        assert!(arrivals.take(&"/memory/1".parse().unwrap()).is_none(), "another");
        drop(arrival);
    }
}
