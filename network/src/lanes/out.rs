//! Queues of frames to peers, and their writers.
//!
//! ```text
//! push ──▶ queue of a lane (bytes per peer; bytes over all strangers, over all known peers) ──▶ Writer
//! ```
//!
//! A frame counts until it has been written. A peer that reads nothing for too long is disconnected, so its
//! memory is held for seconds only.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{AsyncWrite, AsyncWriteExt as _};
use libp2p::{PeerId as LibPeer, Stream, StreamProtocol};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use vibecoin_primitives::limits::{KIB, MIB};

use super::read::after;
use super::{Lane, Rank, Traffic};
use crate::counters::Tally;
use crate::streams::Control;

/// Maximum number of frames queued for one peer on one lane.
const QUEUE_FRAMES_MAX: usize = 16_384;
/// Maximum bytes queued for all unknown peers together.
pub const STRANGERS_QUEUE_BYTES_MAX: usize = 96 * MIB;
/// Maximum bytes queued for all validators and configured peers together. Most of it is shared: a part is one
/// allocation for all of its receivers.
pub const KNOWN_QUEUE_BYTES_MAX: usize = 512 * MIB;
/// Delay before a lane opens a stream again; doubles with each failure.
const REOPEN: Duration = Duration::from_millis(50);
const REOPEN_MAX: Duration = Duration::from_secs(1);
/// Minimum time between two streams of a lane. A stable stream is replaced at once when it breaks; one that
/// the peer drops repeatedly costs no more streams than an unknown peer may open.
const REOPEN_EACH: Duration = Duration::from_millis(400);
/// Time for which a peer may refuse a stream.
const OPEN_TIME: Duration = Duration::from_secs(30);
/// Number of attempts to write one frame.
const TRIES: u32 = 2;
/// Number of bytes of a frame that are written under one deadline.
const STEP_BYTES: usize = 64 * KIB;
/// Deadline of a step.
const STEP_TIME: Duration = Duration::from_secs(5);
/// Deadline of a whole frame.
const FRAME_TIME: Duration = Duration::from_secs(30);

/// Bytes queued for all peers of a rank.
#[derive(Default)]
pub struct Totals {
    strangers: AtomicUsize,
    known: AtomicUsize,
}

impl Totals {
    const fn of(&self, rank: Rank) -> (&AtomicUsize, usize) {
        match rank {
            Rank::Stranger => (&self.strangers, STRANGERS_QUEUE_BYTES_MAX),
            Rank::Known => (&self.known, KNOWN_QUEUE_BYTES_MAX),
        }
    }
}

/// Bytes queued on one lane, counted for the peer and for all of its rank.
struct QueuedBytes {
    lane: Lane,
    rank: Rank,
    bytes: AtomicUsize,
    totals: Arc<Totals>,
}

impl QueuedBytes {
    /// Counts a frame; returns false if it exceeds a bound.
    fn reserve(&self, len: usize) -> bool {
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        let (total, max) = self.totals.of(self.rank);
        let all = total.fetch_add(len, Ordering::Relaxed);
        let fits =
            before.saturating_add(len) <= self.lane.queue_bytes_max() && all.saturating_add(len) <= max;
        if !fits {
            self.release(len);
        }
        fits
    }

    /// Ends the count of a frame that was written or dropped.
    fn release(&self, len: usize) {
        self.bytes.fetch_sub(len, Ordering::Relaxed);
        self.totals.of(self.rank).0.fetch_sub(len, Ordering::Relaxed);
    }
}

/// Frames dropped with their lane are no longer counted.
impl Drop for QueuedBytes {
    fn drop(&mut self) {
        let left = *self.bytes.get_mut();
        self.totals.of(self.rank).0.fetch_sub(left, Ordering::Relaxed);
    }
}

/// The sending end of a lane.
#[derive(Clone)]
pub struct Queue {
    frames: mpsc::Sender<Arc<[u8]>>,
    queued: Arc<QueuedBytes>,
}

impl Queue {
    /// Queues a frame, unless there is no space.
    pub fn push(&self, frame: Arc<[u8]>, tally: &Tally) {
        let len = frame.len();
        if !self.queued.reserve(len) {
            tally.dropped_out(self.queued.lane.protocol());
        } else if self.frames.try_send(frame).is_err() {
            self.queued.release(len);
            tally.dropped_out(self.queued.lane.protocol());
        }
    }
}

/// Reason for which the writer of a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// Its queue was dropped.
    Dropped,
    /// The peer reads nothing.
    Slow,
}

/// Creates a lane. The writer's task ends when the queue is dropped.
#[expect(clippy::too_many_arguments, reason = "the fields of a writer, each used once")]
pub fn open(
    lane: Lane,
    rank: Rank,
    peer: LibPeer,
    protocol: StreamProtocol,
    control: Control,
    traffic: Arc<Traffic>,
    tally: Arc<Tally>,
    totals: Arc<Totals>,
) -> (Queue, Writer) {
    let frames = mpsc::channel(QUEUE_FRAMES_MAX);
    let queued = Arc::new(QueuedBytes {
        lane,
        rank,
        bytes: AtomicUsize::new(0),
        totals,
    });
    let queue = Queue {
        frames: frames.0,
        queued: queued.clone(),
    };
    let writer = Writer {
        lane,
        peer,
        protocol,
        control,
        frames: frames.1,
        queued,
        traffic,
        tally,
        opened: None,
    };
    (queue, writer)
}

/// Writes the frames of one lane.
pub struct Writer {
    lane: Lane,
    peer: LibPeer,
    protocol: StreamProtocol,
    control: Control,
    frames: mpsc::Receiver<Arc<[u8]>>,
    queued: Arc<QueuedBytes>,
    traffic: Arc<Traffic>,
    tally: Arc<Tally>,
    /// Time at which its stream was opened.
    opened: Option<Instant>,
}

impl Writer {
    /// Writes until the queue is dropped or the peer stops reading.
    pub async fn run(mut self) -> WriteEnd {
        // Opened at once: the first vote or part must not wait for a negotiation.
        let mut stream = match self.open().await {
            Ok(stream) => stream,
            Err(end) => return end,
        };
        while let Some(frame) = self.frames.recv().await {
            // A frame that a broken stream did not transmit is written once more, from its start.
            let mut sent = false;
            for _ in 0..TRIES {
                match write_in_time(&mut stream, &frame, self.frames.is_empty(), STEP_TIME).await {
                    Ok(()) => {
                        sent = true;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => return WriteEnd::Slow,
                    Err(_) => {}
                }
                stream = match self.open().await {
                    Ok(stream) => stream,
                    Err(end) => return end,
                };
            }
            self.queued.release(frame.len());
            if sent {
                self.tally.sent(self.lane.protocol(), frame.len());
                let len = u64::try_from(frame.len()).unwrap_or(u64::MAX);
                self.traffic.bytes_out.fetch_add(len, Ordering::Relaxed);
            } else {
                self.tally.dropped_out(self.lane.protocol());
            }
        }
        let _gone = timeout(STEP_TIME, stream.close()).await;
        WriteEnd::Dropped
    }

    /// Opens a stream, with repeated attempts.
    async fn open(&mut self) -> Result<Stream, WriteEnd> {
        if let Some(opened) = self.opened {
            tokio::time::sleep(REOPEN_EACH.saturating_sub(opened.elapsed())).await;
        }
        let begun = Instant::now();
        let mut rest = REOPEN;
        while !self.frames.is_closed() {
            if begun.elapsed() > OPEN_TIME {
                return Err(WriteEnd::Slow);
            }
            let opening = self.control.open_stream(self.peer, self.protocol.clone());
            if let Ok(Ok(stream)) = timeout(OPEN_TIME, opening).await {
                self.opened = Some(Instant::now());
                return Ok(stream);
            }
            tokio::time::sleep(rest).await;
            rest = rest.saturating_mul(2).min(REOPEN_MAX);
        }
        Err(WriteEnd::Dropped)
    }
}

/// Writes one frame; flushes when no other is queued.
pub async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
    flush: bool,
) -> io::Result<()> {
    stream.write_all(&head_of(frame)?).await?;
    stream.write_all(frame).await?;
    if flush {
        stream.flush().await?;
    }
    Ok(())
}

fn head_of(frame: &[u8]) -> io::Result<[u8; 4]> {
    let len = u32::try_from(frame.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(len.to_le_bytes())
}

/// Writes bytes under the deadline of a step; `TimedOut` when the peer does not read them.
async fn write_in_time(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
    flush: bool,
    step_time: Duration,
) -> io::Result<()> {
    let end = after(FRAME_TIME);
    let step = || end.min(after(step_time));
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let head = head_of(frame)?;
    timeout_at(step(), stream.write_all(&head))
        .await
        .map_err(late)??;
    for bytes in frame.chunks(STEP_BYTES) {
        timeout_at(step(), stream.write_all(bytes))
            .await
            .map_err(late)??;
    }
    if flush {
        timeout_at(step(), stream.flush()).await.map_err(late)??;
    }
    Ok(())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]
mod tests {
    use futures_util::AsyncReadExt as _;

    use super::super::pipe::pipe;
    use super::*;

    fn queued(totals: &Arc<Totals>, rank: Rank, lane: Lane) -> QueuedBytes {
        QueuedBytes {
            lane,
            rank,
            bytes: AtomicUsize::new(0),
            totals: totals.clone(),
        }
    }

    #[test]
    fn what_waits_is_bounded_for_a_peer_and_for_all_strangers_and_never_displaces_known_peers() {
        let totals = Arc::new(Totals::default());
        let peers = [(); 4].map(|()| queued(&totals, Rank::Stranger, Lane::Direct));
        let taken = |peer: &QueuedBytes| (0..).take_while(|_| peer.reserve(MIB)).count();
        let counts: Vec<usize> = peers.iter().map(taken).collect();
        assert_eq!(counts, [32, 32, 32, 0], "32 MiB for one, 96 MiB for all");
        let validator = queued(&totals, Rank::Known, Lane::Parts);
        assert_eq!(taken(&validator), 16);
        peers[0].release(MIB);
        assert!(peers[3].reserve(MIB), "what was written makes room");
        drop(peers);
        drop(validator);
        assert_eq!(totals.strangers.load(Ordering::Relaxed), 0);
        assert_eq!(totals.known.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let step = Duration::from_millis(20);
        let (mut stuck, _never_read) = pipe(16);
        let error = write_in_time(&mut stuck, &[0; 1024], true, step)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Here each step has an hour, and the reader reads a little at each of its turns.
        let (mut slow, mut read) = pipe(100);
        let frame = vec![7; 3 * STEP_BYTES];
        let reading = async {
            let mut taken = vec![0; 4 + 3 * STEP_BYTES];
            read.read_exact(&mut taken).await.unwrap();
            taken
        };
        let hour = Duration::from_secs(3600);
        let writing = write_in_time(&mut slow, &frame, true, hour);
        let (written, taken) = futures_util::join!(writing, reading);
        written.unwrap();
        assert_eq!(taken.get(4..), Some(frame.as_slice()));
    }
}
