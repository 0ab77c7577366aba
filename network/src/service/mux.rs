//! Yamux, with its frames charged to the peer and the bytes that no stream has read yet bounded.
//!
//! `yamux` keeps each frame of a stream in an allocation of its own until it is read, so a window of 256 KiB
//! in frames of one byte takes 100 times as much memory, and `libp2p-yamux` shows neither frames nor the
//! numbers of streams. Here the headers of received frames are read as they pass, and reading the connection
//! pauses while its unread frames exceed their bound.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::future::{Ready, ready};
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};
use vibecoin_primitives::limits::{KIB, MIB};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

use super::lanes::Bucket;
use super::meter::Meter;

/// Maximum number of unread bytes of a connection without a hello, as they lie in memory.
pub const UNMET_UNREAD_BYTES_MAX: usize = 128 * KIB;
/// The same of an admitted unknown peer, and of a known one.
pub const STRANGER_UNREAD_BYTES_MAX: usize = 2 * MIB;
pub const KNOWN_UNREAD_BYTES_MAX: usize = 16 * MIB;
/// Maximum size of a frame. `yamux` sends frames of up to 16 KiB, and allocates the announced size at once.
pub const FRAME_BYTES_MAX: usize = 64 * KIB;
/// Memory of an unread frame beside its content: an allocation, and its place in two queues that double.
const UNREAD_FRAME_BYTES: usize = 128;
/// Charge for each frame beside its content.
const FRAME_CHARGE: usize = 64;
/// Frames with less content than that are small; so are those without any: window updates and pings.
const SMALL_BYTES: usize = 64;
/// Rate limit of small frames of a peer that is not known. Honest peers send two for a message on a lane.
const SMALL_BURST: u32 = 2_048;
const SMALL_EACH: Duration = Duration::from_micros(500);
/// Pause of the connection beyond it.
const SMALL_PAUSE: Duration = Duration::from_millis(50);
/// Streams that wait to be taken from the connection; more are reset.
const ARRIVED_MAX: usize = 16;

const HEADER_BYTES: usize = 12;
const DATA: u8 = 0;
const SYN: u8 = 1;

/// Unread frames of a connection.
#[derive(Debug, Default)]
struct Held {
    /// Remaining bytes of each unread frame of a stream, in order.
    streams: HashMap<u32, VecDeque<usize>>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Held {
    fn add(&mut self, stream: u32, len: usize) {
        if let Some(frames) = self.streams.get_mut(&stream)
            && len > 0
        {
            frames.push_back(len);
            self.bytes = self.bytes.saturating_add(len).saturating_add(UNREAD_FRAME_BYTES);
        }
    }

    fn take(&mut self, stream: u32, mut count: usize) {
        let Some(frames) = self.streams.get_mut(&stream) else {
            return;
        };
        while let Some(first) = frames.front_mut()
            && count > 0
        {
            let read = count.min(*first);
            count = count.saturating_sub(read);
            *first = first.saturating_sub(read);
            self.bytes = self.bytes.saturating_sub(read);
            if *first == 0 {
                frames.pop_front();
                self.bytes = self.bytes.saturating_sub(UNREAD_FRAME_BYTES);
            }
        }
    }

    fn close(&mut self, stream: u32) {
        let frames = self.streams.remove(&stream).unwrap_or_default();
        for frame in frames {
            self.bytes = self
                .bytes
                .saturating_sub(frame.saturating_add(UNREAD_FRAME_BYTES));
        }
    }
}

/// The unread frames of a connection, shared by the connection and its streams.
#[derive(Debug, Default)]
struct Unread(Mutex<Held>);

impl Unread {
    /// Pending while the unread frames exceed the bound.
    fn poll(&self, bound: usize, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.0.lock();
        if held.bytes < bound {
            return Poll::Ready(());
        }
        held.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Changes what is held where that makes it less.
    fn release(&self, change: impl FnOnce(&mut Held)) {
        let mut held = self.0.lock();
        change(&mut held);
        let waker = held.waker.take();
        drop(held);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The bytes below Yamux: counts the frames that arrive.
struct Frames<C> {
    inner: C,
    meter: Arc<Meter>,
    unread: Arc<Unread>,
    header: Vec<u8>,
    /// Remaining bytes of a frame's content.
    left: usize,
    small: Bucket,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<C> Frames<C> {
    fn new(inner: C, meter: Arc<Meter>, unread: Arc<Unread>) -> Self {
        Self {
            inner,
            meter,
            unread,
            header: Vec::with_capacity(HEADER_BYTES),
            left: 0,
            small: Bucket::new(SMALL_EACH, SMALL_BURST, Instant::now()),
            pause: None,
        }
    }

    /// Reads received bytes; returns true if the peer sends too many small frames.
    fn on_read(&mut self, mut bytes: &[u8], now: Instant) -> io::Result<bool> {
        let mut is_flood = false;
        while let Some((byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let read = self.left.min(bytes.len());
                self.left = self.left.saturating_sub(read);
                bytes = bytes.get(read..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.header.push(*byte);
            if let Ok(header) = <[u8; HEADER_BYTES]>::try_from(self.header.as_slice()) {
                self.header.clear();
                is_flood |= self.on_header(header, now)?;
            }
        }
        Ok(is_flood)
    }

    fn on_header(&mut self, header: [u8; HEADER_BYTES], now: Instant) -> io::Result<bool> {
        let [_version, kind, _, flags, a, b, c, d, e, f, g, h] = header;
        let stream = u32::from_be_bytes([a, b, c, d]);
        let mut content = 0;
        if kind == DATA {
            content = usize::try_from(u32::from_be_bytes([e, f, g, h])).unwrap_or(usize::MAX);
            if content > FRAME_BYTES_MAX {
                let error = "a Yamux frame over its limit";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        self.left = content;
        let mut held = self.unread.0.lock();
        if flags & SYN != 0 {
            held.streams.entry(stream).or_default();
        }
        held.add(stream, content);
        drop(held);
        // The content is charged where it is read.
        let _later = self.meter.spend(FRAME_CHARGE, now);
        Ok(content < SMALL_BYTES && !self.meter.is_known() && !self.small.take(now))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Frames<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        ready!(self.unread.poll(self.meter.unread_max(), cx));
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if self.on_read(buf.get(..count).unwrap_or_default(), Instant::now())? {
            self.pause = Some(Box::pin(sleep(SMALL_PAUSE)));
        }
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Frames<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// A stream that reports what is read of it.
pub struct Substream {
    inner: Stream,
    unread: Arc<Unread>,
}

impl Drop for Substream {
    fn drop(&mut self) {
        let stream = self.inner.id().val();
        self.unread.release(|held| held.close(stream));
    }
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let stream = self.inner.id().val();
        self.unread.release(|held| held.take(stream, count));
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// A multiplexed connection.
pub struct Muxer<C> {
    connection: Connection<Frames<C>>,
    unread: Arc<Unread>,
    arrived: VecDeque<Substream>,
    taker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Substream, ConnectionError>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        let stream = next.unwrap_or(Err(ConnectionError::Closed))?;
        Poll::Ready(Ok(self.substream(stream)))
    }

    fn substream(&self, inner: Stream) -> Substream {
        let unread = self.unread.clone();
        Substream { inner, unread }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Substream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Substream, ConnectionError>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.taker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Substream, ConnectionError>> {
        let stream = ready!(self.connection.poll_new_outbound(cx))?;
        let id = stream.id().val();
        self.unread.0.lock().streams.entry(id).or_default();
        Poll::Ready(Ok(self.substream(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    /// Moves the bytes of all streams: `yamux` does so only while it is polled for the next one.
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = ready!(self.poll_next(cx))?;
        if self.arrived.len() < ARRIVED_MAX {
            self.arrived.push_back(stream);
            if let Some(taker) = self.taker.take() {
                taker.wake();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The upgrade of a connection to Yamux.
#[derive(Clone)]
pub struct Mux {
    /// Maximum number of open streams.
    pub streams_max: usize,
    /// The budget of the peer.
    pub meter: Arc<Meter>,
}

impl Mux {
    fn upgrade<C: AsyncRead + AsyncWrite + Unpin>(self, inner: C, mode: Mode) -> Muxer<C> {
        let mut config = Config::default();
        config.set_max_num_streams(self.streams_max);
        let unread = Arc::<Unread>::default();
        let frames = Frames::new(inner, self.meter, unread.clone());
        Muxer {
            connection: Connection::new(frames, config, mode),
            unread,
            arrived: VecDeque::new(),
            taker: None,
        }
    }
}

impl UpgradeInfo for Mux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Mux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_inbound(self, inner: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.upgrade(inner, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Mux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_outbound(self, inner: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.upgrade(inner, Mode::Client)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::service::meter::Meters;

    /// The header of a frame.
    fn header(kind: u8, flags: u8, stream: u32, len: usize) -> Vec<u8> {
        let mut header = vec![0, kind, 0, flags];
        header.extend(stream.to_be_bytes());
        header.extend(u32::try_from(len).unwrap().to_be_bytes());
        header
    }

    fn data(flags: u8, stream: u32, len: usize) -> Vec<u8> {
        [header(DATA, flags, stream, len), vec![7; len]].concat()
    }

    fn frames() -> (Meters, libp2p::PeerId, Frames<()>) {
        let (meters, _) = Meters::new(1 << 30);
        let peer = libp2p::PeerId::random();
        let frames = Frames::new((), meters.of(peer), Arc::default());
        (meters, peer, frames)
    }

    #[test]
    fn an_unread_frame_counts_as_the_memory_that_it_takes_until_it_is_read_or_its_stream_ends() {
        let (_, _, mut frames) = frames();
        let now = Instant::now();
        let bytes = [data(SYN, 1, 1), data(0, 1, 10), data(SYN, 3, 5), data(0, 9, 50)].concat();
        for chunk in bytes.chunks(5) {
            frames.on_read(chunk, now).unwrap();
        }
        let unread = frames.unread.clone();
        let held = || unread.0.lock().bytes;
        assert_eq!(held(), 3 * UNREAD_FRAME_BYTES + 16, "no stream has the number 9");
        unread.release(|held| held.take(1, 4));
        assert_eq!(held(), 2 * UNREAD_FRAME_BYTES + 12);
        unread.release(|held| held.close(1));
        assert_eq!(held(), UNREAD_FRAME_BYTES + 5);
        unread.release(|held| held.take(3, 5));
        assert_eq!(held(), 0);
        // What arrives for a stream that has ended is dropped.
        frames.on_read(&data(0, 1, 100), now).unwrap();
        assert_eq!(held(), 0);
    }

    #[test]
    fn a_connection_is_not_read_while_its_unread_frames_exceed_their_bound() {
        let (meters, peer, mut frames) = frames();
        let now = Instant::now();
        let waker = futures_util::task::noop_waker();
        let cx = Context::from_waker(&waker);
        frames.on_read(&header(1, SYN, 1, 0), now).unwrap();
        let reads = |frames: &mut Frames<()>| {
            let mut count = 0;
            while frames.unread.poll(frames.meter.unread_max(), &cx).is_ready() {
                frames.on_read(&data(0, 1, 1), now).unwrap();
                count += 1;
                assert!(count < 1_000_000, "frames without end are read");
            }
            count
        };
        let per_frame = UNREAD_FRAME_BYTES + 1;
        assert_eq!(reads(&mut frames), UNMET_UNREAD_BYTES_MAX.div_ceil(per_frame));
        frames.unread.release(|held| held.take(1, 2));
        assert_eq!(reads(&mut frames), 2);
        meters.set(&peer, 1, false);
        assert!(reads(&mut frames) > 0);
        let all = frames.unread.0.lock().bytes;
        assert_eq!(all, STRANGER_UNREAD_BYTES_MAX.div_ceil(per_frame) * per_frame);
    }

    #[test]
    fn each_frame_is_charged_and_small_ones_are_bounded_for_peers_that_are_not_known() {
        let (meters, peer, mut frames) = frames();
        meters.set(&peer, 1_000_000, false);
        let now = Instant::now();
        let ping = header(2, 0, 0, 0);
        let mut count = 0;
        while !frames.on_read(&ping, now).unwrap() {
            count += 1;
            assert!(count < 1_000_000, "pings without end are read");
        }
        assert_eq!(count, SMALL_BURST);
        let charged = frames.meter.spend(1_000_000, now);
        let expected = usize::try_from(SMALL_BURST + 1).unwrap() * FRAME_CHARGE;
        assert_eq!(charged.as_micros(), u128::try_from(expected).unwrap());
        meters.set(&peer, 1 << 30, true);
        assert!(!frames.on_read(&ping, now).unwrap(), "a known peer");
        meters.set(&peer, 1, false);
        assert!(frames.on_read(&ping, now).unwrap());
        assert!(
            !frames.on_read(&data(0, 1, SMALL_BYTES), now).unwrap(),
            "not small"
        );
    }

    #[test]
    fn a_frame_over_its_limit_ends_the_connection_before_its_content() {
        let (_, _, mut frames) = frames();
        let now = Instant::now();
        frames.on_read(&data(SYN, 1, FRAME_BYTES_MAX), now).unwrap();
        let error = frames.on_read(&header(DATA, 0, 1, FRAME_BYTES_MAX + 1), now);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// The socket of a peer that sends these bytes; the second field is their number that was read.
    struct Source(Vec<u8>, Arc<Mutex<usize>>);

    impl AsyncRead for Source {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut at = self.1.lock();
            let rest = self.0.get(*at..).unwrap();
            if rest.is_empty() {
                return Poll::Pending;
            }
            let count = rest.len().min(buf.len());
            buf.get_mut(..count)
                .unwrap()
                .copy_from_slice(rest.get(..count).unwrap());
            *at += count;
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Source {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_window_in_frames_of_one_byte_stays_with_its_sender_until_it_is_read() {
        let (meters, _) = Meters::new(1 << 30);
        let peer = libp2p::PeerId::random();
        // Small frames have a rate limit besides, of which known peers are exempt.
        let meter = meters.of(peer);
        meters.set(&peer, 1 << 30, true);
        let count = 2 * KNOWN_UNREAD_BYTES_MAX / UNREAD_FRAME_BYTES;
        let mut sent = header(1, SYN, 1, 0);
        sent.extend(data(0, 1, 1).repeat(count));
        let at = Arc::new(Mutex::new(0));
        let mux = Mux {
            streams_max: 4,
            meter,
        };
        let mut muxer = mux.upgrade(Source(sent.clone(), at.clone()), Mode::Server);
        let waker = futures_util::task::noop_waker();
        let mut cx = Context::from_waker(&waker);
        let Poll::Ready(Ok(mut stream)) = Pin::new(&mut muxer).poll_inbound(&mut cx) else {
            unreachable!("no stream arrived");
        };
        assert!(Pin::new(&mut muxer).poll_inbound(&mut cx).is_pending());
        let held = muxer.unread.0.lock().bytes;
        assert!((KNOWN_UNREAD_BYTES_MAX..KNOWN_UNREAD_BYTES_MAX + 2 * UNREAD_FRAME_BYTES).contains(&held));
        assert!(*at.lock() < sent.len());
        let mut bytes = vec![0; 100 * KIB];
        let mut read = 0;
        while read < count {
            let Poll::Ready(Ok(some)) = Pin::new(&mut stream).poll_read(&mut cx, &mut bytes) else {
                unreachable!("{read} of {count} bytes arrived");
            };
            read += some;
            assert!(Pin::new(&mut muxer).poll_inbound(&mut cx).is_pending());
        }
        assert_eq!(*at.lock(), sent.len());
        assert_eq!(muxer.unread.0.lock().bytes, 0);
    }
}
