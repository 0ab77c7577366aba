//! A connection whose streams are counted, and read through the meter of its peer.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use libp2p::PeerId as LibPeer;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::stream::{Inspector, Metered};
use super::{Meter, StreamFault};
use crate::transport::NEGOTIATED_STREAMS_MAX;

/// Maximum number of streams that a peer opened on a connection before its hello was accepted; more are reset.
/// An honest one opens five: its hello, gossip, pings and two lanes.
pub(super) const STREAMS_BEFORE_HELLO_MAX: usize = 8;
/// Maximum number of streams taken from a connection before others have their turn.
const TAKEN_AT_ONCE: usize = 16;

/// A connection whose streams are counted and read through the meter of its peer. It ends when the peer opens
/// too many.
pub struct MeteredMuxer<M: StreamMuxer> {
    inner: M,
    meter: Arc<Meter>,
    peer: LibPeer,
    faults: mpsc::Sender<(LibPeer, StreamFault)>,
    pub(super) arrived: VecDeque<Metered<M::Substream>>,
    /// Held by each stream that the peer opened, and until its protocol is agreed on.
    pub(super) open: Arc<()>,
    pub(super) negotiated: Arc<()>,
}

/// Number of streams that hold this besides the connection.
fn holders(of: &Arc<()>) -> usize {
    Arc::strong_count(of).saturating_sub(1)
}

impl<M: StreamMuxer> MeteredMuxer<M> {
    pub(super) fn new(
        inner: M,
        meter: Arc<Meter>,
        peer: LibPeer,
        faults: mpsc::Sender<(LibPeer, StreamFault)>,
    ) -> Self {
        Self {
            inner,
            meter,
            peer,
            faults,
            arrived: VecDeque::new(),
            open: Arc::default(),
            negotiated: Arc::default(),
        }
    }

    /// Returns true if another stream may wait for its negotiation. Any other is reset: it could hold a window
    /// of unread bytes for as long as the first ones are stalled.
    pub(super) fn has_capacity(&self) -> bool {
        let is_met = self.meter.is_met.load(Ordering::Relaxed);
        holders(&self.negotiated) < NEGOTIATED_STREAMS_MAX
            && (is_met || holders(&self.open) < STREAMS_BEFORE_HELLO_MAX)
    }
}

impl<M: StreamMuxer + Unpin> MeteredMuxer<M>
where
    M::Error: Send + Sync + 'static,
{
    /// Accepts the incoming streams. All of them are counted: the swarm accepts none while enough are being
    /// negotiated, and a peer that keeps those open could open and drop others uncounted.
    fn take(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        for _ in 0..TAKEN_AT_ONCE {
            let Poll::Ready(stream) = Pin::new(&mut self.inner).poll_inbound(cx) else {
                return Ok(());
            };
            let stream = stream.map_err(io::Error::other)?;
            if !self.meter.opened.take(Instant::now()) {
                // The connection ends with the error; if the queue is full its peer is not blamed.
                let _without_room = self.faults.try_send((self.peer, StreamFault::Opened));
                return Err(io::Error::other("the peer opens streams without end"));
            }
            if self.has_capacity() {
                let inspector = Inspector::new(self.peer, self.faults.clone(), &self.open, &self.negotiated);
                self.arrived
                    .push_back(Metered::new(stream, self.meter.clone(), Some(inspector)));
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for MeteredMuxer<M>
where
    M::Substream: Unpin,
    M::Error: Send + Sync + 'static,
{
    type Substream = Metered<M::Substream>;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if self.arrived.is_empty() {
            self.take(cx)?;
        }
        match self.arrived.pop_front() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => Poll::Pending,
        }
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_outbound(cx)).map_err(io::Error::other)?;
        Poll::Ready(Ok(Metered::new(inner, self.meter.clone(), None)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(io::Error::other)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let event = Pin::new(&mut self.inner).poll(cx).map_err(io::Error::other)?;
        self.take(cx)?;
        event.map(Ok)
    }
}
