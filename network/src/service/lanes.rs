//! Long-lived streams to single peers: frames of `u32` length (little-endian) and an envelope.
//!
//! Each lane has a queue bounded in bytes and a task that writes it. A full queue drops what comes: parts
//! are made up for by the body, and answers are asked for again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{PeerId as LibPeer, Stream, StreamProtocol};
use libp2p_stream::Control;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio::time::Instant;
use vibecoin_primitives::limits::MIB;
use vibecoin_replica::{Message, PeerId};

use super::view::{Protocol, Tally};
use super::{NetworkEvent, Sink};
use crate::wire::{BODY_MESSAGE_BYTES_MAX, ENVELOPE_BYTES, Envelope, PART_BYTES_MAX, SYNC_BYTES_MAX};

/// Most bytes that wait for one peer on the direct lane.
pub const DIRECT_QUEUE_BYTES_MAX: usize = 32 * MIB;
/// Most bytes that wait for one peer on the parts lane.
pub const PARTS_QUEUE_BYTES_MAX: usize = 16 * MIB;
/// Most frames that wait for one peer on one lane.
const QUEUE_FRAMES_MAX: usize = 16_384;
/// How long a lane waits before it opens a stream again.
const REOPEN: Duration = Duration::from_millis(50);
/// How often one frame is written before it is given up.
const TRIES: u32 = 2;

const _: () = assert!(BODY_MESSAGE_BYTES_MAX <= SYNC_BYTES_MAX);
const _: () = assert!(SYNC_BYTES_MAX + ENVELOPE_BYTES <= DIRECT_QUEUE_BYTES_MAX);
const _: () = assert!(PART_BYTES_MAX + ENVELOPE_BYTES <= PARTS_QUEUE_BYTES_MAX);

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Direct,
    Parts,
}

impl Lane {
    /// Most bytes of a frame.
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Direct => SYNC_BYTES_MAX + ENVELOPE_BYTES,
            Self::Parts => PART_BYTES_MAX + ENVELOPE_BYTES,
        }
    }

    const fn queue_bytes_max(self) -> usize {
        match self {
            Self::Direct => DIRECT_QUEUE_BYTES_MAX,
            Self::Parts => PARTS_QUEUE_BYTES_MAX,
        }
    }

    const fn protocol(self) -> Protocol {
        match self {
            Self::Direct => Protocol::Direct,
            Self::Parts => Protocol::Parts,
        }
    }

    /// Whether this kind of message belongs on the lane.
    const fn carries(self, message: &Message) -> bool {
        match self {
            Self::Parts => matches!(message, Message::Part(_)),
            Self::Direct => matches!(
                message,
                Message::Body { .. }
                    | Message::BodyRequest { .. }
                    | Message::SyncRequest { .. }
                    | Message::SyncResponse { .. }
                    | Message::Status { .. }
            ),
        }
    }
}

/// Bytes moved for one peer.
#[derive(Default)]
pub struct Traffic {
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// The newest block that it said it has.
    pub head: AtomicU64,
}

/// The end of a lane that frames are put into.
#[derive(Clone)]
pub struct Queue {
    lane: Lane,
    frames: mpsc::Sender<Arc<[u8]>>,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    /// Puts a frame in, unless there is no room.
    pub fn push(&self, frame: Arc<[u8]>, tally: &Tally) {
        let len = frame.len();
        let before = self.waiting.fetch_add(len, Ordering::Relaxed);
        let fits = before.saturating_add(len) <= self.lane.queue_bytes_max();
        if !fits || self.frames.try_send(frame).is_err() {
            self.waiting.fetch_sub(len, Ordering::Relaxed);
            tally.dropped_out(self.lane.protocol());
        }
    }
}

/// The lanes to one peer.
pub struct Lanes {
    pub direct: Queue,
    pub parts: Option<Queue>,
}

/// The lanes to all peers; any thread may put frames in.
pub type AllLanes = RwLock<BTreeMap<PeerId, Lanes>>;

/// Opens a lane: the task ends when the queue is dropped.
pub fn open(
    lane: Lane,
    peer: LibPeer,
    protocol: StreamProtocol,
    control: Control,
    traffic: Arc<Traffic>,
    tally: Arc<Tally>,
) -> Queue {
    let (frames, waiting) = (mpsc::channel(QUEUE_FRAMES_MAX), Arc::new(AtomicUsize::new(0)));
    let queue = Queue {
        lane,
        frames: frames.0,
        waiting: waiting.clone(),
    };
    let writer = Writer {
        lane,
        peer,
        protocol,
        control,
        frames: frames.1,
        waiting,
        traffic,
        tally,
    };
    tokio::spawn(writer.run());
    queue
}

struct Writer {
    lane: Lane,
    peer: LibPeer,
    protocol: StreamProtocol,
    control: Control,
    frames: mpsc::Receiver<Arc<[u8]>>,
    waiting: Arc<AtomicUsize>,
    traffic: Arc<Traffic>,
    tally: Arc<Tally>,
}

impl Writer {
    async fn run(mut self) {
        // Opened at once: the first vote or part must not wait for a negotiation.
        let mut stream = self.open().await;
        while let Some(frame) = self.frames.recv().await {
            self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
            // What a broken stream did not take is written once more, from its start.
            let mut sent = false;
            for _ in 0..TRIES {
                let Some(open) = &mut stream else { return };
                sent = write_frame(open, &frame, self.frames.is_empty()).await.is_ok();
                if sent {
                    break;
                }
                stream = self.open().await;
            }
            if sent {
                self.tally.sent(self.lane.protocol(), frame.len());
                let len = u64::try_from(frame.len()).unwrap_or(u64::MAX);
                self.traffic.bytes_out.fetch_add(len, Ordering::Relaxed);
            } else {
                self.tally.dropped_out(self.lane.protocol());
            }
        }
        if let Some(mut open) = stream {
            let _gone = open.close().await;
        }
    }

    /// A stream, as soon as there is one; `None` when the lane is given up.
    async fn open(&mut self) -> Option<Stream> {
        while !self.frames.is_closed() {
            if let Ok(stream) = self.control.open_stream(self.peer, self.protocol.clone()).await {
                return Some(stream);
            }
            tokio::time::sleep(REOPEN).await;
        }
        None
    }
}

/// Writes one frame; flushes when nothing else waits.
pub async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
    flush: bool,
) -> io::Result<()> {
    let len = u32::try_from(frame.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&len.to_le_bytes()).await?;
    stream.write_all(frame).await?;
    if flush {
        stream.flush().await?;
    }
    Ok(())
}

/// Reads one frame of at most `max` bytes; `InvalidData` when it says that it is longer.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let len = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if len > max {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    // Grows with what really comes: a length costs its sender as many bytes as it costs us.
    let mut frame = Vec::with_capacity(len.min(MIB));
    let limit = u64::try_from(len).unwrap_or(u64::MAX);
    stream.take(limit).read_to_end(&mut frame).await?;
    if frame.len() < len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(frame)
}

/// Lets a peer send at its pace, over all of its streams: who is too fast is read more slowly.
pub struct Budget {
    per_s: u64,
    /// When what has come so far would have come at that pace.
    at: Mutex<Instant>,
}

impl Budget {
    /// How much a peer may have saved up.
    const SAVED_MAX: Duration = Duration::from_secs(1);

    pub fn new(per_s: u64) -> Self {
        let now = Instant::now();
        Self {
            per_s: per_s.max(1),
            at: Mutex::new(now.checked_sub(Self::SAVED_MAX).unwrap_or(now)),
        }
    }

    /// Counts bytes that came; returns how long to wait before more are read.
    fn spend(&self, len: usize, now: Instant) -> Duration {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let nanos = len.saturating_mul(1_000_000_000).checked_div(self.per_s);
        let cost = Duration::from_nanos(nanos.unwrap_or(0));
        let mut at = self.at.lock();
        let begun = now.checked_sub(Self::SAVED_MAX).unwrap_or(now).max(*at);
        *at = begun.checked_add(cost).unwrap_or(begun);
        at.saturating_duration_since(now)
    }
}

/// Why a lane from a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneFault {
    /// A frame longer than its lane allows.
    Oversize,
    /// An envelope that does not open.
    Undecodable,
    /// A kind of message that does not belong on the lane.
    WrongLane,
}

impl LaneFault {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Oversize => "a frame over the limit of its lane",
            Self::Undecodable => "bytes that are no message",
            Self::WrongLane => "a message on the wrong lane",
        }
    }
}

/// What a reading task needs.
pub struct Reader {
    pub lane: Lane,
    pub from: PeerId,
    pub envelope: Envelope,
    pub sink: Arc<dyn Sink>,
    pub traffic: Arc<Traffic>,
    pub tally: Arc<Tally>,
    pub budget: Arc<Budget>,
}

impl Reader {
    /// Reads frames until the stream ends; `Some` when the peer broke a rule.
    pub async fn run(self, mut stream: Stream) -> Option<LaneFault> {
        loop {
            let frame = match read_frame(&mut stream, self.lane.frame_bytes_max()).await {
                Ok(frame) => frame,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Some(LaneFault::Oversize),
                Err(_) => return None,
            };
            self.tally.received(self.lane.protocol(), frame.len());
            let len = u64::try_from(frame.len()).unwrap_or(u64::MAX);
            self.traffic.bytes_in.fetch_add(len, Ordering::Relaxed);
            let wait = self.budget.spend(frame.len(), Instant::now());
            // Even a sleep of nothing lasts until the timer's next millisecond.
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let Ok(message) = self.envelope.open(&frame) else {
                return Some(LaneFault::Undecodable);
            };
            if !self.lane.carries(&message) {
                return Some(LaneFault::WrongLane);
            }
            if let Message::Status { height } = &message {
                self.traffic.head.store(height.0, Ordering::Relaxed);
            }
            let event = NetworkEvent::Message {
                from: self.from,
                message,
                gossip: None,
            };
            if !self.sink.deliver(event) {
                self.tally.dropped_in(self.lane.protocol());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_budget_for_all_its_streams_and_saves_up_a_second_of_it() {
        let budget = Budget::new(1_000);
        let start = Instant::now();
        let ms = Duration::from_millis;
        let after = |time: u64| start.checked_add(ms(time)).unwrap_or(start);
        let later = after(5_000);
        assert_eq!(budget.spend(600, later), Duration::ZERO);
        assert_eq!(
            budget.spend(400, later),
            Duration::ZERO,
            "a second's worth at once"
        );
        assert_eq!(budget.spend(500, later), ms(500));
        assert_eq!(
            budget.spend(500, later),
            ms(1_000),
            "another stream waits behind the first"
        );
        assert_eq!(budget.spend(100, after(6_000)), ms(100));
        assert_eq!(budget.spend(1_000, after(60_000)), Duration::ZERO);
        assert_eq!(budget.spend(1, after(60_000)), ms(1));
    }
}
