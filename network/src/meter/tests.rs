//! Tests of the byte budget, and of the bounds on streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::core::muxing::StreamMuxerEvent;

use super::muxer::STREAMS_BEFORE_HELLO_MAX;
use super::stream::Inspector;
use super::*;
use crate::negotiation::tests::line;
use crate::transport::NEGOTIATED_STREAMS_MAX;

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
fn watched(proposals: &[&str]) -> (Inspector, mpsc::Receiver<(LibPeer, StreamFault)>) {
    let (faults, found) = mpsc::channel(8);
    let mut inspector = Inspector::new(LibPeer::random(), faults, &Arc::default(), &Arc::default());
    for (at, proposal) in proposals.iter().enumerate() {
        for chunk in line(proposal).chunks(7) {
            assert_eq!(inspector.on_read(chunk).unwrap(), 0);
        }
        let is_confirmed = at == 0 || at + 1 == proposals.len();
        inspector.on_write(&line(if is_confirmed { proposal } else { "na" }));
    }
    (inspector, found)
}

const HEADER: &str = "/multistream/1.0.0";

#[test]
fn only_gossip_that_its_peer_did_not_end_is_a_fault_when_it_is_closed_here() {
    let faults_of = |proposals: &[&str], ended: bool| {
        let (mut inspector, mut found) = watched(proposals);
        let _charge = inspector.on_read(b"\x04....").unwrap();
        inspector.has_ended = ended;
        inspector.on_close();
        inspector.on_close();
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
        let (mut inspector, _) = watched(proposals);
        assert!(inspector.on_read(&ids).unwrap() >= 256);
    }
    let (mut inspector, _) = watched(&[HEADER, "/ipfs/ping/1.0.0"]);
    assert_eq!(inspector.on_read(&ids).unwrap(), 0);
    let (mut inspector, _) = watched(&[HEADER]);
    let proposals = (0..100).take_while(|_| inspector.on_read(&line("/a")).is_ok());
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
    let inspector = || Inspector::new(peer, meters.faults.clone(), &muxer.open, &muxer.negotiated);
    let mut streams: Vec<Inspector> = (0..STREAMS_BEFORE_HELLO_MAX).map(|_| inspector()).collect();
    assert!(!muxer.has_capacity());
    drop(streams.pop());
    assert!(muxer.has_capacity());
    meters.set(&peer, 1, false);
    streams.extend((streams.len()..NEGOTIATED_STREAMS_MAX).map(|_| inspector()));
    assert!(!muxer.has_capacity());
    for text in [HEADER, "/ipfs/ping/1.0.0"] {
        streams[0].on_read(&line(text)).unwrap();
        streams[0].on_write(&line(text));
    }
    assert!(muxer.has_capacity(), "one has agreed on its protocol");
}
