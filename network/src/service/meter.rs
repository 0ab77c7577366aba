//! The byte budget of a peer, over everything that it sends: lanes, gossip, hellos and libp2p's own
//! protocols.
//!
//! Streams are read through a meter that all connections of an identity share. A peer that exceeds its rate
//! is read more slowly, and its sends wait. Unknown peers share one budget: each has an equal part of it, so
//! that many of them together do not take the network's thread from validators.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
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

use super::opened::Opened;
use super::weight::Weigher;

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
/// Maximum number of streams of a connection waiting to be negotiated; more are reset.
const ARRIVED_MAX: usize = 32;
/// Maximum number of streams taken from a connection before others have their turn.
const TAKEN_AT_ONCE: usize = 16;
/// Maximum number of stream faults queued for the swarm.
const FAULTS_MAX: usize = 256;
/// Number of bytes within which an incoming stream names its protocol.
const NAMED_WITHIN: usize = 256;
/// Part of the protocol name of every gossipsub version.
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
}

impl Meter {
    fn new(per_s: u64) -> Self {
        let now = Instant::now();
        Self {
            per_s: AtomicU64::new(per_s.max(1)),
            at: Mutex::new(now.checked_sub(SAVED_MAX).unwrap_or(now)),
            opened: Opened::new(now),
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

    /// Sets the rate of a connected peer, and the class of its limit on opened streams.
    pub fn set(&self, peer: &LibPeer, per_s: u64, is_known: bool) {
        if let Some(meter) = self.of.lock().get(peer).and_then(Weak::upgrade) {
            meter.per_s.store(per_s.max(1), Ordering::Relaxed);
            meter.opened.set_known(is_known, Instant::now());
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
    arrived: VecDeque<M::Substream>,
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
            if self.arrived.len() < ARRIVED_MAX {
                self.arrived.push_back(stream);
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
            Some(inner) => {
                let watch = Watch::new(self.peer, self.faults.clone());
                Poll::Ready(Ok(Metered::new(inner, self.meter.clone(), Some(watch))))
            }
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
    /// First bytes of the stream, until the protocol is known.
    first: Vec<u8>,
    is_gossip: bool,
    has_ended: bool,
    weigher: Weigher,
}

impl Watch {
    const fn new(peer: LibPeer, faults: mpsc::Sender<(LibPeer, StreamFault)>) -> Self {
        Self {
            peer,
            faults,
            first: Vec::new(),
            is_gossip: false,
            has_ended: false,
            weigher: Weigher::new(),
        }
    }

    /// Inspects received bytes; returns the charge for them beside their count.
    fn on_read(&mut self, bytes: &[u8]) -> usize {
        let room = NAMED_WITHIN.saturating_sub(self.first.len());
        if !self.is_gossip && room == 0 {
            return 0;
        }
        let charge = self.weigher.charge(bytes);
        if !self.is_gossip {
            self.first.extend(bytes.iter().take(room));
            let mut parts = self.first.windows(GOSSIP_NAME.len());
            self.is_gossip = parts.any(|part| part == GOSSIP_NAME);
        }
        if self.is_gossip { charge } else { 0 }
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
        let mut charge = 0;
        if let Some(watch) = &mut self.watch {
            match &read {
                Ok(0) if !is_asked => {}
                Ok(0) | Err(_) => watch.has_ended = true,
                Ok(count) => charge = watch.on_read(buf.get(..*count).unwrap_or_default()),
            }
        }
        let count = read?;
        let wait = self.meter.spend(count.saturating_add(charge), Instant::now());
        // Even a sleep of zero lasts until the timer's next millisecond.
        if !wait.is_zero() {
            self.pause = Some(Box::pin(sleep(wait)));
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
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
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

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

    #[test]
    fn only_gossip_that_its_peer_did_not_end_is_a_fault_when_it_is_closed_here() {
        let faults_of = |bytes: &[u8], ended: bool| {
            let (faults, mut found) = mpsc::channel(8);
            let mut watch = Watch::new(LibPeer::random(), faults);
            for chunk in bytes.chunks(7) {
                let _charge = watch.on_read(chunk);
            }
            watch.has_ended = ended;
            watch.on_close();
            watch.on_close();
            std::iter::from_fn(|| found.try_recv().ok()).count()
        };
        let gossip = b"\x13/multistream/1.0.0\n\x0f/meshsub/1.1.0\n\x04....";
        assert_eq!(faults_of(gossip, false), 1, "once");
        assert_eq!(faults_of(gossip, true), 0);
        assert_eq!(
            faults_of(b"\x13/multistream/1.0.0\n\x0f/ipfs/id/1.0.0\n", false),
            0
        );
        let late = [vec![b'.'; NAMED_WITHIN], gossip.to_vec()].concat();
        assert_eq!(faults_of(&late, false), 0, "it is another protocol's content");
    }

    #[test]
    fn streams_that_nobody_takes_are_counted_bounded_and_end_the_connection() {
        let (meters, mut found) = Meters::new(1);
        let peer = LibPeer::random();
        let mut muxer = meters.connection(peer, Endless);
        let waker = futures_util::task::noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut polls = 0;
        while Pin::new(&mut muxer).poll(&mut cx).is_pending() {
            polls += 1;
            assert!(muxer.arrived.len() <= ARRIVED_MAX);
            assert!(polls < 1_000, "streams without end are taken");
        }
        assert_eq!(found.try_recv(), Ok((peer, StreamFault::Opened)));
        // Streams accepted before the limit are returned first.
        let mut given = 0;
        while let Poll::Ready(Ok(_)) = Pin::new(&mut muxer).poll_inbound(&mut cx) {
            given += 1;
            assert!(given < 1_000, "streams without end are given out");
        }
        assert!(given >= ARRIVED_MAX, "{given}");
    }
}
