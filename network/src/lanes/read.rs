//! Frames from peers.
//!
//! In this order: length against the lane's limit; the envelope's version, chain, kind and the kind's limit;
//! whether the kind belongs on the lane and, for a response, was requested; a share of the memory for frames
//! being received; the bytes, at a minimum rate; decoding. An invalid frame costs only the bytes read until
//! then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};
use vibecoin_messages::{Message, PeerId};
use vibecoin_primitives::limits::{KIB, MIB};

use super::{Lane, LaneFault, Owed, Rank, Traffic};
use crate::bucket::Bucket;
use crate::counters::{Refusal, Tally};
use crate::event::{NetworkEvent, Sink};
use crate::wire::{ENVELOPE_BYTES, Envelope, WireError, kind};

/// Maximum bytes of frames being received from all unknown peers together.
pub const STRANGERS_IN_FLIGHT_MAX: usize = 64 * MIB;
/// Maximum bytes of frames being received from all validators and configured peers together.
pub const KNOWN_IN_FLIGHT_MAX: usize = 256 * MIB;
/// Frames up to this size need no share of that memory.
const SMALL_BYTES: usize = 4 * KIB;
/// Number of bytes read under one deadline; a buffer exceeds the received bytes by up to this.
const STEP_BYTES: usize = 64 * KIB;
/// Deadline of a step, and of the bytes before the message.
pub const STEP_TIME: Duration = Duration::from_secs(5);
/// Deadline of a whole frame, beside the time for its bytes at the minimum rate.
const FRAME_TIME: Duration = Duration::from_secs(10);
/// Minimum rate of a frame, in bytes per second; less if the operator permits a peer less.
const PACE_MIN: u64 = 128 * 1024;
/// Rate limit for forwarding statuses: interval and burst. Honest peers send two a second.
const STATUS_EACH: Duration = Duration::from_millis(250);
const STATUS_BURST: u32 = 8;
/// Number of statuses beyond that before the peer is blamed; one is forgiven each second.
const STATUS_FAULT: u32 = 64;

const _: () = assert!(Lane::Direct.frame_bytes_max() <= STRANGERS_IN_FLIGHT_MAX);

/// Memory for frames being received.
pub struct InFlight {
    strangers: Semaphore,
    known: Semaphore,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            strangers: Semaphore::new(STRANGERS_IN_FLIGHT_MAX),
            known: Semaphore::new(KNOWN_IN_FLIGHT_MAX),
        }
    }
}

impl InFlight {
    async fn share(&self, rank: Rank, len: usize) -> Option<SemaphorePermit<'_>> {
        if len <= SMALL_BYTES {
            return None;
        }
        let all = match rank {
            Rank::Stranger => &self.strangers,
            Rank::Known => &self.known,
        };
        all.acquire_many(u32::try_from(len).unwrap_or(u32::MAX))
            .await
            .ok()
    }
}

/// Reads one frame of up to `max` bytes; `InvalidData` when its length exceeds that.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let len = length(head);
    if len > max {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mut frame = Vec::new();
    while frame.len() < len {
        read_step(stream, &mut frame, len).await?;
    }
    Ok(frame)
}

fn length(head: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX)
}

/// Reads the next step of a frame of `len` bytes. The buffer grows with the bytes received: a length costs
/// its sender as many bytes as it costs this node.
async fn read_step(stream: &mut (impl AsyncRead + Unpin), frame: &mut Vec<u8>, len: usize) -> io::Result<()> {
    let start = frame.len();
    let end = start.saturating_add(STEP_BYTES).min(len);
    if end > frame.capacity() {
        let goal = start.saturating_mul(2).clamp(end, len.max(end));
        frame.reserve_exact(goal.saturating_sub(start));
    }
    frame.resize(end, 0);
    let rest = frame.get_mut(start..).unwrap_or_default();
    stream.read_exact(rest).await
}

/// Reason for which reading a frame ended without one.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// The stream has ended.
    Ended,
    Fault(LaneFault),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

impl From<LaneFault> for Stop {
    fn from(fault: LaneFault) -> Self {
        Self::Fault(fault)
    }
}

/// State of a reading task.
pub struct Reader {
    pub lane: Lane,
    pub rank: Rank,
    pub from: PeerId,
    pub envelope: Envelope,
    pub sink: Arc<dyn Sink>,
    pub traffic: Arc<Traffic>,
    pub tally: Arc<Tally>,
    pub owed: Arc<Owed>,
    pub in_flight: Arc<InFlight>,
    /// Rate in bytes per second that the operator permits a peer.
    pub bytes_per_s: u64,
    /// [`STEP_TIME`], shorter in tests.
    pub step_time: Duration,
}

impl Reader {
    /// Reads frames until the stream ends; `Some` when the peer broke a rule.
    pub async fn run(self, mut stream: impl AsyncRead + Unpin) -> Option<LaneFault> {
        let mut statuses = Bucket::new(STATUS_EACH, STATUS_BURST, Instant::now());
        let mut excess = Bucket::new(Duration::from_secs(1), STATUS_FAULT, Instant::now());
        loop {
            match self.next(&mut stream, &mut statuses, &mut excess).await {
                Ok(()) => {}
                Err(Stop::Ended) => return None,
                Err(Stop::Fault(fault)) => return Some(fault),
            }
        }
    }

    /// Reads one frame and delivers its message.
    async fn next(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        statuses: &mut Bucket,
        excess: &mut Bucket,
    ) -> Result<(), Stop> {
        // Between frames a lane may be idle for any time.
        let mut first = [0; 1];
        stream.read_exact(&mut first).await?;
        let (head, len) = match timeout(self.step_time, self.head(stream, first)).await {
            Ok(head) => head?,
            Err(_late) => return Err(LaneFault::Slow.into()),
        };
        self.admit(&head, len)?;
        let share = self.in_flight.share(self.rank, len).await;
        let frame = self.rest(stream, &head, len).await?;
        self.tally.received(self.lane.protocol(), frame.len());
        let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.traffic.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        let message = self.envelope.open(&frame).map_err(|_| LaneFault::Undecodable)?;
        drop(frame);
        if let Message::Status { height } = &message {
            self.traffic.head.store(height.0, Ordering::Relaxed);
            let now = Instant::now();
            if !statuses.take(now) {
                self.tally.refuse(Refusal::Status);
                return if excess.take(now) {
                    Ok(())
                } else {
                    Err(LaneFault::Statuses.into())
                };
            }
        }
        let event = NetworkEvent::Message {
            from: self.from,
            message,
            gossip: None,
        };
        if !self.sink.deliver(event) {
            self.tally.dropped_in(self.lane.protocol());
        }
        drop(share);
        Ok(())
    }

    /// Reads the rest of the length, and the envelope before the message.
    async fn head(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        [first]: [u8; 1],
    ) -> Result<([u8; ENVELOPE_BYTES], usize), Stop> {
        let mut rest = [0; 3];
        stream.read_exact(&mut rest).await?;
        let [b, c, d] = rest;
        let len = length([first, b, c, d]);
        if len > self.lane.frame_bytes_max() {
            return Err(LaneFault::Oversize.into());
        }
        if len < ENVELOPE_BYTES {
            return Err(LaneFault::Undecodable.into());
        }
        let mut head = [0; ENVELOPE_BYTES];
        stream.read_exact(&mut head).await?;
        Ok((head, len))
    }

    /// Admits or refuses a frame of `len` bytes with this envelope.
    fn admit(&self, head: &[u8; ENVELOPE_BYTES], len: usize) -> Result<(), LaneFault> {
        let kind = match self.envelope.peek(head, len.saturating_sub(ENVELOPE_BYTES)) {
            Ok(kind) => kind,
            Err(WireError::TooLarge { .. }) => return Err(LaneFault::Oversize),
            Err(_) => return Err(LaneFault::Undecodable),
        };
        if !self.lane.carries(kind) {
            return Err(LaneFault::WrongLane);
        }
        if matches!(kind, kind::BODY | kind::SYNC_RESPONSE) && !self.owed.take(kind) {
            return Err(LaneFault::Unasked);
        }
        Ok(())
    }

    /// Reads the whole frame, its message at the minimum rate.
    async fn rest(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        head: &[u8; ENVELOPE_BYTES],
        len: usize,
    ) -> Result<Vec<u8>, Stop> {
        let pace = PACE_MIN.min(self.bytes_per_s / 4).max(1);
        let wanted = u64::try_from(len).unwrap_or(u64::MAX);
        let seconds = wanted.checked_div(pace).unwrap_or(0);
        let end = after(FRAME_TIME.saturating_add(Duration::from_secs(seconds)));
        let mut frame = head.to_vec();
        while frame.len() < len {
            let step = end.min(after(self.step_time));
            match timeout_at(step, read_step(stream, &mut frame, len)).await {
                Ok(read) => read?,
                Err(_late) => return Err(LaneFault::Slow.into()),
            }
        }
        Ok(frame)
    }
}

pub fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]
mod tests;
