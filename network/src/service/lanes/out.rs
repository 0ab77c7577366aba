//! Frames that wait for peers, and their writing.
//!
//! ```text
//! push ──▶ queue of a lane (bytes per peer; bytes over all strangers, over all known peers) ──▶ Writer
//! ```
//!
//! A frame counts until it has been written. A peer that takes none for too long is given up, so what it
//! holds is held for seconds.

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
use crate::service::streams::Control;
use crate::service::view::Tally;

/// Most frames that wait for one peer on one lane.
const QUEUE_FRAMES_MAX: usize = 16_384;
/// Most bytes that wait for all strangers together.
pub const STRANGERS_QUEUE_BYTES_MAX: usize = 96 * MIB;
/// Most bytes that wait for all validators and named peers together. Most of it is shared: a part is one
/// allocation for all of its receivers.
pub const KNOWN_QUEUE_BYTES_MAX: usize = 512 * MIB;
/// How long a lane waits before it tries again to open a stream; doubles with each failure.
const REOPEN: Duration = Duration::from_millis(50);
const REOPEN_MAX: Duration = Duration::from_secs(1);
/// Least time between two streams of a lane. A stream that holds is replaced at once when it breaks; one that the
/// peer drops again and again costs no more streams than a stranger may open.
const REOPEN_EACH: Duration = Duration::from_millis(400);
/// How long a peer may refuse to take a stream.
const OPEN_TIME: Duration = Duration::from_secs(30);
/// How often one frame is written before it is given up.
const TRIES: u32 = 2;
/// Bytes of a frame that are written under one deadline.
const STEP_BYTES: usize = 64 * KIB;
/// How long a peer may take none of the bytes of a step.
const STEP_TIME: Duration = Duration::from_secs(5);
/// How long a whole frame may take.
const FRAME_TIME: Duration = Duration::from_secs(30);

/// Bytes that wait for all peers of a rank.
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

/// Bytes that wait on one lane, counted for the peer and for all of its rank.
struct Waiting {
    lane: Lane,
    rank: Rank,
    bytes: AtomicUsize,
    totals: Arc<Totals>,
}

impl Waiting {
    /// Counts a frame, if there is room.
    fn take(&self, len: usize) -> bool {
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        let (total, most) = self.totals.of(self.rank);
        let all = total.fetch_add(len, Ordering::Relaxed);
        let fits =
            before.saturating_add(len) <= self.lane.queue_bytes_max() && all.saturating_add(len) <= most;
        if !fits {
            self.give(len);
        }
        fits
    }

    fn give(&self, len: usize) {
        self.bytes.fetch_sub(len, Ordering::Relaxed);
        self.totals.of(self.rank).0.fetch_sub(len, Ordering::Relaxed);
    }
}

/// Frames that are dropped with their lane no longer wait.
impl Drop for Waiting {
    fn drop(&mut self) {
        let left = *self.bytes.get_mut();
        self.totals.of(self.rank).0.fetch_sub(left, Ordering::Relaxed);
    }
}

/// The end of a lane that frames are put into.
#[derive(Clone)]
pub struct Queue {
    frames: mpsc::Sender<Arc<[u8]>>,
    waiting: Arc<Waiting>,
}

impl Queue {
    /// Puts a frame in, unless there is no room.
    pub fn push(&self, frame: Arc<[u8]>, tally: &Tally) {
        let len = frame.len();
        if !self.waiting.take(len) {
            tally.dropped_out(self.waiting.lane.protocol());
        } else if self.frames.try_send(frame).is_err() {
            self.waiting.give(len);
            tally.dropped_out(self.waiting.lane.protocol());
        }
    }
}

/// How the writing of a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// Its queue was dropped.
    Dropped,
    /// The peer takes nothing.
    Slow,
}

/// Makes a lane. The writer's task ends when the queue is dropped.
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
    let waiting = Arc::new(Waiting {
        lane,
        rank,
        bytes: AtomicUsize::new(0),
        totals,
    });
    let queue = Queue {
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
    waiting: Arc<Waiting>,
    traffic: Arc<Traffic>,
    tally: Arc<Tally>,
    /// When its stream was opened.
    opened: Option<Instant>,
}

impl Writer {
    /// Writes until the queue is dropped or the peer takes nothing.
    pub async fn run(mut self) -> WriteEnd {
        // Opened at once: the first vote or part must not wait for a negotiation.
        let mut stream = match self.open().await {
            Ok(stream) => stream,
            Err(end) => return end,
        };
        while let Some(frame) = self.frames.recv().await {
            // What a broken stream did not take is written once more, from its start.
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
            self.waiting.give(frame.len());
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

    /// A stream, as soon as there is one.
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

/// Writes one frame; flushes when nothing else waits.
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

/// The same, while the peer takes what is written; `TimedOut` when it does not.
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

    fn waiting(totals: &Arc<Totals>, rank: Rank, lane: Lane) -> Waiting {
        Waiting {
            lane,
            rank,
            bytes: AtomicUsize::new(0),
            totals: totals.clone(),
        }
    }

    #[test]
    fn what_waits_is_bounded_for_a_peer_and_for_all_strangers_and_never_displaces_known_peers() {
        let totals = Arc::new(Totals::default());
        let peers = [(); 4].map(|()| waiting(&totals, Rank::Stranger, Lane::Direct));
        let taken = |peer: &Waiting| (0..).take_while(|_| peer.take(MIB)).count();
        let counts: Vec<usize> = peers.iter().map(taken).collect();
        assert_eq!(counts, [32, 32, 32, 0], "32 MiB for one, 96 MiB for all");
        let validator = waiting(&totals, Rank::Known, Lane::Parts);
        assert_eq!(taken(&validator), 16);
        peers[0].give(MIB);
        assert!(peers[3].take(MIB), "what was written makes room");
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
        // Here each step has an hour, and the reader takes a little whenever it is its turn.
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
