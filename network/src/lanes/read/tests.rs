//! Tests of reading frames.

use futures_util::AsyncWriteExt as _;
use vibecoin_primitives::{Hash, Height};

use super::*;
use crate::lanes::pipe::pipe;

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
