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

use super::{Bucket, Lane, LaneFault, Owed, Rank, Traffic};
use crate::counters::{Refusal, Tally};
use crate::wire::{ENVELOPE_BYTES, Envelope, WireError, kind};
use crate::{NetworkEvent, Sink};

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
mod tests {
    use futures_util::AsyncWriteExt as _;
    use vibecoin_primitives::{Hash, Height};

    use super::super::pipe::pipe;
    use super::*;

    const GENESIS: Hash = Hash([7; 32]);

    struct Kept(parking_lot::Mutex<Vec<Message>>);

    impl Sink for Kept {
        fn deliver(&self, event: NetworkEvent) -> bool {
            if let NetworkEvent::Message { message, .. } = event {
                self.0.lock().push(message);
            }
            true
        }
    }

    struct Bench {
        kept: Arc<Kept>,
        tally: Arc<Tally>,
        owed: Arc<Owed>,
        in_flight: Arc<InFlight>,
    }

    fn bench() -> Bench {
        Bench {
            kept: Arc::new(Kept(parking_lot::Mutex::default())),
            tally: Arc::default(),
            owed: Arc::default(),
            in_flight: Arc::default(),
        }
    }

    impl Bench {
        fn reader(&self, lane: Lane) -> Reader {
            Reader {
                lane,
                rank: Rank::Stranger,
                from: PeerId(1),
                envelope: Envelope::new(&GENESIS),
                sink: self.kept.clone(),
                traffic: Arc::default(),
                tally: self.tally.clone(),
                owed: self.owed.clone(),
                in_flight: self.in_flight.clone(),
                bytes_per_s: 1 << 30,
                step_time: Duration::from_millis(2),
            }
        }

        /// Reads these bytes; the stream stays open after them.
        async fn read(&self, lane: Lane, bytes: &[u8]) -> Option<LaneFault> {
            let (mut far, near) = pipe(bytes.len());
            far.write_all(bytes).await.unwrap();
            let fault = self.reader(lane).run(near).await;
            drop(far);
            fault
        }
    }

    fn framed(message: &Message) -> Vec<u8> {
        let envelope = Envelope::new(&GENESIS).pack(message);
        let mut bytes = u32::try_from(envelope.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(envelope);
        bytes
    }

    fn answer() -> Message {
        Message::SyncResponse {
            from: Height(3),
            blocks: Vec::new(),
        }
    }

    fn question() -> Message {
        Message::SyncRequest {
            from: Height(3),
            count: 1,
        }
    }

    /// Length and envelope of a frame without its message.
    fn announced(kind: u8, message: usize) -> Vec<u8> {
        let len = u32::try_from(message + ENVELOPE_BYTES).unwrap();
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend([crate::wire::WIRE_VERSION, 7, 7, 7, 7, kind]);
        bytes
    }

    #[tokio::test]
    async fn what_may_not_come_is_refused_at_its_first_bytes() {
        use crate::wire::{PART_BYTES_MAX, REQUEST_BYTES_MAX, SYNC_BYTES_MAX};
        let bench = bench();
        let cases: [(&str, Vec<u8>, LaneFault); 9] = [
            (
                "an answer",
                announced(kind::SYNC_RESPONSE, 1 << 20),
                LaneFault::Unasked,
            ),
            ("a body", announced(kind::BODY, 1 << 20), LaneFault::Unasked),
            ("a vote", announced(0, 100), LaneFault::WrongLane),
            ("a part", announced(kind::PART, 100), LaneFault::WrongLane),
            ("kind 9", announced(9, 100), LaneFault::Undecodable),
            ("no envelope", vec![5, 0, 0, 0], LaneFault::Undecodable),
            ("an empty frame", vec![0, 0, 0, 0], LaneFault::Undecodable),
            (
                "one byte over the kind's limit",
                announced(kind::STATUS, REQUEST_BYTES_MAX + 1),
                LaneFault::Oversize,
            ),
            (
                "one byte over the lane's limit",
                announced(kind::SYNC_RESPONSE, SYNC_BYTES_MAX + 1),
                LaneFault::Oversize,
            ),
        ];
        for (name, bytes, fault) in cases {
            assert_eq!(bench.read(Lane::Direct, &bytes).await, Some(fault), "{name}");
        }
        let part = announced(kind::PART, PART_BYTES_MAX + 1);
        assert_eq!(bench.read(Lane::Parts, &part).await, Some(LaneFault::Oversize));
        let mut other_chain = framed(&question());
        other_chain[5] = 0;
        assert_eq!(
            bench.read(Lane::Direct, &other_chain).await,
            Some(LaneFault::Undecodable)
        );
        assert!(bench.kept.0.lock().is_empty());
    }

    #[tokio::test]
    async fn one_answer_comes_for_each_question_and_the_next_one_is_a_fault() {
        let bench = bench();
        bench.owed.asked(&question());
        bench.owed.asked(&question());
        let bytes = framed(&answer()).repeat(3);
        assert_eq!(bench.read(Lane::Direct, &bytes).await, Some(LaneFault::Unasked));
        assert_eq!(*bench.kept.0.lock(), [answer(), answer()]);
    }

    #[tokio::test]
    async fn a_frame_that_stands_still_is_given_up_wherever_it_does() {
        let bench = bench();
        let whole = framed(&question());
        for cut in 1..whole.len() {
            let bytes = whole.get(..cut).unwrap();
            assert_eq!(
                bench.read(Lane::Direct, bytes).await,
                Some(LaneFault::Slow),
                "{cut}"
            );
        }
        // A large one that was requested, too.
        bench.owed.asked(&question());
        let mut bytes = announced(kind::SYNC_RESPONSE, 1 << 20);
        bytes.resize(100_000, 0);
        assert_eq!(bench.read(Lane::Direct, &bytes).await, Some(LaneFault::Slow));
        assert!(bench.kept.0.lock().is_empty());
    }

    #[tokio::test]
    async fn an_idle_lane_is_no_fault() {
        let bench = bench();
        let (far, near) = pipe(16);
        let reading = tokio::spawn(bench.reader(Lane::Direct).run(near));
        tokio::task::yield_now().await;
        drop(far);
        assert_eq!(reading.await.unwrap(), None);
    }

    #[tokio::test]
    async fn frames_of_strangers_share_a_bounded_memory_and_take_none_of_validators() {
        use futures_util::FutureExt as _;
        let in_flight = InFlight::default();
        let largest = Lane::Direct.frame_bytes_max();
        let mut taken = Vec::new();
        for _ in 0..STRANGERS_IN_FLIGHT_MAX / largest {
            taken.push(in_flight.share(Rank::Stranger, largest).now_or_never().unwrap());
        }
        assert_eq!(taken.len(), 3);
        let next = in_flight.share(Rank::Stranger, largest);
        assert!(next.now_or_never().is_none(), "the next one waits");
        assert!(in_flight.share(Rank::Known, largest).now_or_never().is_some());
        let small = in_flight.share(Rank::Stranger, SMALL_BYTES).now_or_never();
        assert!(
            small.is_some_and(|share| share.is_none()),
            "a small one needs none"
        );
        taken.pop();
        assert!(in_flight.share(Rank::Stranger, largest).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_frame_holds_its_share_until_it_is_given_up() {
        let bench = bench();
        bench.owed.asked(&question());
        let bytes = announced(kind::SYNC_RESPONSE, crate::wire::SYNC_BYTES_MAX);
        assert_eq!(bench.read(Lane::Direct, &bytes).await, Some(LaneFault::Slow));
        assert_eq!(
            bench.in_flight.strangers.available_permits(),
            STRANGERS_IN_FLIGHT_MAX
        );
    }

    #[tokio::test]
    async fn a_buffer_grows_with_what_came() {
        let (mut far, mut near) = pipe(1 << 20);
        far.write_all(&[1; 100_000]).await.unwrap();
        let mut frame = Vec::new();
        read_step(&mut near, &mut frame, 16 * MIB).await.unwrap();
        assert_eq!((frame.len(), frame.capacity()), (STEP_BYTES, STEP_BYTES));
        let stuck = tokio::time::timeout(
            Duration::from_millis(1),
            read_step(&mut near, &mut frame, 16 * MIB),
        );
        assert!(stuck.await.is_err());
        assert!(frame.capacity() <= 2 * STEP_BYTES, "{}", frame.capacity());
        // A short frame needs no more than its length.
        let mut short = Vec::new();
        far.write_all(&[2; 100]).await.unwrap();
        let mut near = futures_util::AsyncReadExt::take(near, 100);
        read_step(&mut near, &mut short, 100).await.unwrap();
        assert_eq!(short.capacity(), 100);
    }

    #[tokio::test]
    async fn statuses_are_passed_on_a_few_times_a_second_and_a_flood_is_a_fault() {
        let bench = bench();
        let status = |height: u64| {
            framed(&Message::Status {
                height: Height(height),
            })
        };
        let flood: Vec<u8> = (0..1_000).flat_map(status).collect();
        assert_eq!(bench.read(Lane::Direct, &flood).await, Some(LaneFault::Statuses));
        let passed = bench.kept.0.lock().len();
        assert!(passed <= 20, "{passed} were passed on");
        assert!(bench.tally.read().refused(Refusal::Status) > u64::from(STATUS_FAULT));
    }
}
