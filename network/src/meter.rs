//! The byte budget of a peer, over everything that it sends: lanes, gossip, hellos and libp2p's own
//! protocols.
//!
//! Streams are read through a meter that all connections of an identity share. A peer that exceeds its rate
//! is read more slowly, and its sends wait. Unknown peers share one budget: each has an equal part of it, so
//! that many of them together do not take the network's thread from validators.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{AsyncRead, AsyncWrite};
use libp2p::PeerId as LibPeer;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use vibecoin_primitives::limits::{KIB, MIB};

use crate::negotiation::Negotiation;
use crate::opened::Opened;
use crate::transport::NEGOTIATED_STREAMS_MAX;
use crate::weight::Weigher;

/// Bytes per second of all unknown peers together.
pub const STRANGERS_BYTES_PER_S: u64 = 16 * MIB as u64;
/// Minimum share of one unknown peer, in bytes per second.
pub const STRANGER_BYTES_PER_S_MIN: u64 = 256 * KIB as u64;
/// Minimum burst of any peer, in bytes.
const BURST_BYTES_MIN: u64 = 64 * KIB as u64;
/// Charge for a gossiped message that is new to this node, beside its bytes, for the work that does not
/// depend on its size: decoding and validation. Limits all unknown peers together to 8,000 messages per
/// second.
pub const GOSSIP_MESSAGE_BYTES: usize = 2 * KIB;
/// Maximum accumulated budget of a peer, as a time.
const SAVED_MAX: Duration = Duration::from_secs(1);
/// Number of bytes read at once: the maximum by which a stream can exceed its budget.
const READ_BYTES_MAX: usize = 64 * KIB;
/// Maximum number of streams that a peer opened on a connection before its hello was accepted; more are reset.
/// An honest one opens five: its hello, gossip, pings and two lanes.
const STREAMS_BEFORE_HELLO_MAX: usize = 8;
/// Maximum number of streams taken from a connection before others have their turn.
const TAKEN_AT_ONCE: usize = 16;
/// Maximum number of stream faults queued for the swarm.
const FAULTS_MAX: usize = 256;
/// Beginning of the protocol name of every gossipsub version.
const GOSSIP_NAME: &[u8] = b"/meshsub/";

/// Protocol violation on a peer's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// It opens streams without end. Its connection is closed.
    Opened,
    /// It sent gossip that does not decode.
    Garbled,
}

/// Returns the share of one of `strangers` unknown peers.
pub fn part_of_strangers(strangers: usize, per_peer: u64) -> u64 {
    let count = u64::try_from(strangers).unwrap_or(u64::MAX).max(1);
    let part = STRANGERS_BYTES_PER_S.checked_div(count).unwrap_or(0);
    part.max(STRANGER_BYTES_PER_S_MIN).min(per_peer)
}

/// Bytes that one peer has sent, against its rate.
pub struct Meter {
    per_s: AtomicU64,
    /// Time at which the bytes received so far would have arrived at that rate.
    at: Mutex<Instant>,
    opened: Opened,
    /// Its hello was accepted.
    is_met: AtomicBool,
}

impl Meter {
    fn new(per_s: u64) -> Self {
        let now = Instant::now();
        Self {
            per_s: AtomicU64::new(per_s.max(1)),
            at: Mutex::new(now.checked_sub(SAVED_MAX).unwrap_or(now)),
            opened: Opened::new(now),
            is_met: AtomicBool::new(false),
        }
    }

    /// Counts received bytes; returns the delay before more are read.
    fn spend(&self, len: usize, now: Instant) -> Duration {
        let per_s = self.per_s.load(Ordering::Relaxed).max(1);
        let time = |bytes: u64| {
            let nanos = bytes.saturating_mul(1_000_000_000).checked_div(per_s);
            Duration::from_nanos(nanos.unwrap_or(0))
        };
        let saved = SAVED_MAX.max(time(BURST_BYTES_MIN));
        let cost = time(u64::try_from(len).unwrap_or(u64::MAX));
        let mut at = self.at.lock();
        let begun = now.checked_sub(SAVED_MAX).unwrap_or(now).max(*at);
        *at = begun.checked_add(cost).unwrap_or(begun);
        // Budget beyond a second is the minimum burst, which the slowest peer has, too.
        let free = saved.saturating_sub(SAVED_MAX);
        at.saturating_duration_since(now).saturating_sub(free)
    }
}

/// The meters of all connected identities.
#[derive(Clone)]
pub struct Meters {
    /// Rate of a new peer.
    first: u64,
    of: Arc<Mutex<HashMap<LibPeer, Weak<Meter>>>>,
    faults: mpsc::Sender<(LibPeer, StreamFault)>,
}

impl Meters {
    /// Meters that permit new peers this rate, and the receiver of peers whose streams break a rule.
    pub fn new(first: u64) -> (Self, mpsc::Receiver<(LibPeer, StreamFault)>) {
        let (faults, found) = mpsc::channel(FAULTS_MAX);
        let meters = Self {
            first,
            of: Arc::default(),
            faults,
        };
        (meters, found)
    }

    /// Wraps a connection so that its streams are read through the meter of its peer.
    pub fn connection<M: StreamMuxer>(&self, peer: LibPeer, inner: M) -> MeteredMuxer<M> {
        MeteredMuxer {
            inner,
            meter: self.of(peer),
            peer,
            faults: self.faults.clone(),
            arrived: VecDeque::new(),
            open: Arc::default(),
            negotiated: Arc::default(),
        }
    }

    /// The meter of a peer; it lives as long as a connection of the peer.
    pub fn of(&self, peer: LibPeer) -> Arc<Meter> {
        let mut meters = self.of.lock();
        if let Some(meter) = meters.get(&peer).and_then(Weak::upgrade) {
            return meter;
        }
        meters.retain(|_, meter| meter.strong_count() > 0);
        let meter = Arc::new(Meter::new(self.first));
        meters.insert(peer, Arc::downgrade(&meter));
        meter
    }

    /// Charges a connected peer for work beside its bytes, as `bytes` additional ones.
    pub fn charge(&self, peer: &LibPeer, bytes: usize) {
        if let Some(meter) = self.of.lock().get(peer).and_then(Weak::upgrade) {
            let _later = meter.spend(bytes, Instant::now());
        }
    }

    /// Sets the rate of a connected peer whose hello was accepted, and the class of its limits.
    pub fn set(&self, peer: &LibPeer, per_s: u64, is_known: bool) {
        if let Some(meter) = self.of.lock().get(peer).and_then(Weak::upgrade) {
            meter.per_s.store(per_s.max(1), Ordering::Relaxed);
            meter.opened.set_known(is_known, Instant::now());
            meter.is_met.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection whose streams are counted and read through the meter of its peer. It ends when the peer opens
/// too many.
pub struct MeteredMuxer<M: StreamMuxer> {
    inner: M,
    meter: Arc<Meter>,
    peer: LibPeer,
    faults: mpsc::Sender<(LibPeer, StreamFault)>,
    arrived: VecDeque<Metered<M::Substream>>,
    /// Held by each stream that the peer opened, and until its protocol is agreed on.
    open: Arc<()>,
    negotiated: Arc<()>,
}

/// Number of streams that hold this besides the connection.
fn holders(of: &Arc<()>) -> usize {
    Arc::strong_count(of).saturating_sub(1)
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
                let watch = Watch::new(self.peer, self.faults.clone(), &self.open, &self.negotiated);
                self.arrived
                    .push_back(Metered::new(stream, self.meter.clone(), Some(watch)));
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Returns true if another stream may wait for its negotiation. Any other is reset: it could hold a window
    /// of unread bytes for as long as the first ones are stalled.
    fn has_capacity(&self) -> bool {
        let is_met = self.meter.is_met.load(Ordering::Relaxed);
        holders(&self.negotiated) < NEGOTIATED_STREAMS_MAX
            && (is_met || holders(&self.open) < STREAMS_BEFORE_HELLO_MAX)
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

/// A stream that is read through a meter.
pub struct Metered<S> {
    inner: S,
    meter: Arc<Meter>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Set for a stream that the peer opened.
    watch: Option<Watch>,
}

impl<S> Metered<S> {
    fn new(inner: S, meter: Arc<Meter>, watch: Option<Watch>) -> Self {
        Self {
            inner,
            meter,
            pause: None,
            watch,
        }
    }
}

/// Detects gossip frames that do not decode, and weighs all of them. `libp2p-gossipsub` reports no event for
/// a frame that does not decode and keeps the connection. It closes its side of an incoming stream then, and
/// otherwise only of one that its peer has ended.
struct Watch {
    peer: LibPeer,
    faults: mpsc::Sender<(LibPeer, StreamFault)>,
    /// `None` once a protocol is agreed on.
    negotiation: Option<(Negotiation, Arc<()>)>,
    is_gossip: bool,
    has_ended: bool,
    weigher: Weigher,
    _open: Arc<()>,
}

impl Watch {
    fn new(
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
            weigher: Weigher::new(),
            _open: open.clone(),
        }
    }

    /// Inspects received bytes; returns the charge for them beside their count.
    fn on_read(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.negotiation {
            Some((negotiation, _)) => negotiation.on_read(bytes).map(|()| 0),
            None if self.is_gossip => Ok(self.weigher.charge(bytes)),
            None => Ok(0),
        }
    }

    /// Inspects sent bytes: the protocol is the one that this node confirms.
    fn on_write(&mut self, bytes: &[u8]) {
        let Some((negotiation, _)) = &mut self.negotiation else {
            return;
        };
        negotiation.on_write(bytes);
        if let Some(protocol) = negotiation.protocol() {
            self.is_gossip = protocol.starts_with(GOSSIP_NAME);
            self.negotiation = None;
        }
    }

    fn on_close(&mut self) {
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
        if let Some(watch) = &mut self.watch {
            match &read {
                Ok(0) if !is_asked => {}
                Ok(0) | Err(_) => watch.has_ended = true,
                Ok(count) => charge = watch.on_read(buf.get(..*count).unwrap_or_default()),
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
        if let Some(watch) = &mut self.watch {
            watch.on_write(buf.get(..count).unwrap_or_default());
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        if let Some(watch) = &mut self.watch {
            let mut left = count;
            for buf in bufs {
                let len = left.min(buf.len());
                watch.on_write(buf.get(..len).unwrap_or_default());
                left = left.saturating_sub(len);
            }
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(watch) = &mut self.watch {
            watch.on_close();
        }
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]
mod tests {
    use super::*;
    use crate::negotiation::tests::line;

    const MB: usize = 1_000_000;

    #[test]
    fn a_peer_has_one_budget_for_all_its_streams_and_saves_up_a_second_of_it() {
        let (meters, _) = Meters::new(MB as u64);
        let peer = LibPeer::random();
        let (meter, same) = (meters.of(peer), meters.of(peer));
        assert!(Arc::ptr_eq(&meter, &same));
        let start = Instant::now();
        let ms = Duration::from_millis;
        let after = |time: u64| start.checked_add(ms(time)).unwrap();
        assert_eq!(meter.spend(6 * MB / 10, after(5_000)), Duration::ZERO);
        assert_eq!(
            meter.spend(4 * MB / 10, after(5_000)),
            Duration::ZERO,
            "a second's worth at once"
        );
        assert_eq!(meter.spend(MB / 2, after(5_000)), ms(500));
        assert_eq!(
            meter.spend(MB / 2, after(5_000)),
            ms(1_000),
            "another stream waits behind the first"
        );
        assert_eq!(meter.spend(MB / 10, after(6_000)), ms(100));
        assert_eq!(meter.spend(MB, after(60_000)), Duration::ZERO);
        meters.set(&peer, 2 * MB as u64, false);
        assert_eq!(same.spend(MB, after(60_000)), ms(500), "its pace was set");
    }

    #[test]
    fn the_slowest_peer_can_say_hello_at_once_and_no_more() {
        let meter = Meter::new(1);
        let later = Instant::now() + Duration::from_secs(5);
        assert_eq!(meter.spend(64 * KIB, later), Duration::ZERO);
        assert!(meter.spend(64 * KIB, later) > Duration::from_secs(3600));
    }

    #[test]
    fn strangers_share_one_budget_and_meters_end_with_their_connections() {
        let of = |count| part_of_strangers(count, 1 << 40);
        assert_eq!([of(0), of(1), of(4)], [16 << 20, 16 << 20, 4 << 20]);
        assert_eq!(of(10_000), STRANGER_BYTES_PER_S_MIN);
        assert_eq!(part_of_strangers(1, 1_000), 1_000, "never more than any peer");
        let (meters, _) = Meters::new(1);
        for _ in 0..1_000 {
            drop(meters.of(LibPeer::random()));
        }
        assert!(meters.of.lock().len() <= 1);
    }

    /// A connection on which another incoming stream is always ready.
    struct Endless;

    impl StreamMuxer for Endless {
        type Substream = futures_util::io::Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Ready(Ok(futures_util::io::Cursor::default()))
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    /// A stream on which the peer proposed these, and this node confirmed the last one.
    fn watched(proposals: &[&str]) -> (Watch, mpsc::Receiver<(LibPeer, StreamFault)>) {
        let (faults, found) = mpsc::channel(8);
        let mut watch = Watch::new(LibPeer::random(), faults, &Arc::default(), &Arc::default());
        for (at, proposal) in proposals.iter().enumerate() {
            for chunk in line(proposal).chunks(7) {
                assert_eq!(watch.on_read(chunk).unwrap(), 0);
            }
            let is_confirmed = at == 0 || at + 1 == proposals.len();
            watch.on_write(&line(if is_confirmed { proposal } else { "na" }));
        }
        (watch, found)
    }

    const HEADER: &str = "/multistream/1.0.0";

    #[test]
    fn only_gossip_that_its_peer_did_not_end_is_a_fault_when_it_is_closed_here() {
        let faults_of = |proposals: &[&str], ended: bool| {
            let (mut watch, mut found) = watched(proposals);
            let _charge = watch.on_read(b"\x04....").unwrap();
            watch.has_ended = ended;
            watch.on_close();
            watch.on_close();
            std::iter::from_fn(|| found.try_recv().ok()).count()
        };
        let gossip = "/meshsub/1.1.0";
        assert_eq!(faults_of(&[HEADER, gossip], false), 1, "once");
        assert_eq!(faults_of(&[HEADER, gossip], true), 0);
        assert_eq!(faults_of(&[HEADER, "/ipfs/id/1.0.0"], false), 0);
        let junk = "/".repeat(320);
        assert_eq!(faults_of(&[HEADER, &junk, gossip], false), 1);
        assert_eq!(
            faults_of(&[HEADER, gossip, "/ipfs/id/1.0.0"], false),
            0,
            "it was refused"
        );
    }

    #[test]
    fn gossip_is_weighed_whatever_was_proposed_before_it() {
        let ids = [4, 3 << 3 | 2, 2, 0, 0];
        let junk = "/".repeat(320);
        for proposals in [
            &[HEADER, "/meshsub/1.1.0"][..],
            &[HEADER, &junk, "/meshsub/1.2.0"],
        ] {
            let (mut watch, _) = watched(proposals);
            assert!(watch.on_read(&ids).unwrap() >= 256);
        }
        let (mut watch, _) = watched(&[HEADER, "/ipfs/ping/1.0.0"]);
        assert_eq!(watch.on_read(&ids).unwrap(), 0);
        let (mut watch, _) = watched(&[HEADER]);
        let proposals = (0..100).take_while(|_| watch.on_read(&line("/a")).is_ok());
        assert_eq!(proposals.count(), 15, "beside the header");
    }

    #[test]
    fn streams_that_nobody_takes_are_counted_bounded_and_end_the_connection() {
        for (is_met, kept) in [(false, STREAMS_BEFORE_HELLO_MAX), (true, NEGOTIATED_STREAMS_MAX)] {
            let (meters, mut found) = Meters::new(1);
            let peer = LibPeer::random();
            let mut muxer = meters.connection(peer, Endless);
            if is_met {
                meters.set(&peer, 1, false);
            }
            let waker = futures_util::task::noop_waker();
            let mut cx = Context::from_waker(&waker);
            let mut polls = 0;
            while Pin::new(&mut muxer).poll(&mut cx).is_pending() {
                polls += 1;
                assert!(polls < 1_000, "streams without end are taken");
            }
            assert_eq!(found.try_recv(), Ok((peer, StreamFault::Opened)));
            // The others were reset.
            assert_eq!(muxer.arrived.len(), kept);
        }
    }

    #[test]
    fn streams_before_the_hello_and_negotiations_after_it_make_way_when_they_end() {
        let (meters, _) = Meters::new(1);
        let peer = LibPeer::random();
        let muxer = meters.connection(peer, Endless);
        let watch = || Watch::new(peer, meters.faults.clone(), &muxer.open, &muxer.negotiated);
        let mut streams: Vec<Watch> = (0..STREAMS_BEFORE_HELLO_MAX).map(|_| watch()).collect();
        assert!(!muxer.has_capacity());
        drop(streams.pop());
        assert!(muxer.has_capacity());
        meters.set(&peer, 1, false);
        streams.extend((streams.len()..NEGOTIATED_STREAMS_MAX).map(|_| watch()));
        assert!(!muxer.has_capacity());
        for text in [HEADER, "/ipfs/ping/1.0.0"] {
            streams[0].on_read(&line(text)).unwrap();
            streams[0].on_write(&line(text));
        }
        assert!(muxer.has_capacity(), "one has agreed on its protocol");
    }
}
