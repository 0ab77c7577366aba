//! A stream that is read through the meter of its peer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{AsyncRead, AsyncWrite};
use libp2p::PeerId as LibPeer;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use vibecoin_primitives::limits::KIB;

use super::{Meter, StreamFault};
use crate::gossip_cost::GossipCost;
use crate::negotiation::Negotiation;

/// Number of bytes read at once: the maximum by which a stream can exceed its budget.
const READ_BYTES_MAX: usize = 64 * KIB;
/// Beginning of the protocol name of every gossipsub version.
const GOSSIP_NAME: &[u8] = b"/meshsub/";

/// A stream that is read through a meter.
pub struct Metered<S> {
    inner: S,
    meter: Arc<Meter>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Set for a stream that the peer opened.
    inspector: Option<Inspector>,
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, meter: Arc<Meter>, inspector: Option<Inspector>) -> Self {
        Self {
            inner,
            meter,
            pause: None,
            inspector,
        }
    }
}

/// Inspects the bytes of a stream that the peer opened: it bounds the negotiation, detects gossip frames that do not
/// decode, and charges for all of them. `libp2p-gossipsub` reports no event for
/// a frame that does not decode and keeps the connection. It closes its side of an incoming stream then, and
/// otherwise only of one that its peer has ended.
pub(super) struct Inspector {
    peer: LibPeer,
    faults: mpsc::Sender<(LibPeer, StreamFault)>,
    /// `None` once a protocol is agreed on.
    negotiation: Option<(Negotiation, Arc<()>)>,
    is_gossip: bool,
    pub(super) has_ended: bool,
    gossip: GossipCost,
    _open: Arc<()>,
}

impl Inspector {
    pub(super) fn new(
        peer: LibPeer,
        faults: mpsc::Sender<(LibPeer, StreamFault)>,
        open: &Arc<()>,
        negotiated: &Arc<()>,
    ) -> Self {
        Self {
            peer,
            faults,
            negotiation: Some((Negotiation::default(), negotiated.clone())),
            is_gossip: false,
            has_ended: false,
            gossip: GossipCost::new(),
            _open: open.clone(),
        }
    }

    /// Inspects received bytes; returns the charge for them beside their count.
    pub(super) fn on_read(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.negotiation {
            Some((negotiation, _)) => negotiation.on_read(bytes).map(|()| 0),
            None if self.is_gossip => Ok(self.gossip.charge(bytes)),
            None => Ok(0),
        }
    }

    /// Inspects sent bytes: the protocol is the one that this node confirms.
    pub(super) fn on_write(&mut self, bytes: &[u8]) {
        let Some((negotiation, _)) = &mut self.negotiation else {
            return;
        };
        negotiation.on_write(bytes);
        if let Some(protocol) = negotiation.protocol() {
            self.is_gossip = protocol.starts_with(GOSSIP_NAME);
            self.negotiation = None;
        }
    }

    pub(super) fn on_close(&mut self) {
        if self.is_gossip && !self.has_ended {
            self.has_ended = true;
            // If the queue is full its peer is not blamed.
            let _without_room = self.faults.try_send((self.peer, StreamFault::Garbled));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let len = buf.len().min(READ_BYTES_MAX);
        let some = buf.get_mut(..len).unwrap_or_default();
        let is_asked = !some.is_empty();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, some));
        let mut charge = Ok(0);
        if let Some(inspector) = &mut self.inspector {
            match &read {
                Ok(0) if !is_asked => {}
                Ok(0) | Err(_) => inspector.has_ended = true,
                Ok(count) => charge = inspector.on_read(buf.get(..*count).unwrap_or_default()),
            }
        }
        let count = read?;
        let charged = count.saturating_add(charge.as_ref().copied().unwrap_or(0));
        let wait = self.meter.spend(charged, Instant::now());
        charge?;
        // Even a sleep of zero lasts until the timer's next millisecond.
        if !wait.is_zero() {
            self.pause = Some(Box::pin(sleep(wait)));
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        if let Some(inspector) = &mut self.inspector {
            inspector.on_write(buf.get(..count).unwrap_or_default());
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        if let Some(inspector) = &mut self.inspector {
            let mut left = count;
            for buf in bufs {
                let len = left.min(buf.len());
                inspector.on_write(buf.get(..len).unwrap_or_default());
                left = left.saturating_sub(len);
            }
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(inspector) = &mut self.inspector {
            inspector.on_close();
        }
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
