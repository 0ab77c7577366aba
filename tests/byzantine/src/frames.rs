//! Frames of a lane: too many, too slow, too long, or wrong (faults 6 and 7, B6).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::AsyncWriteExt as _;
use futures_util::future::BoxFuture;
use libp2p::core::muxing::SubstreamBox;
use vibecoin_network::Envelope;
use vibecoin_network::wire::{ENVELOPE_BYTES, REQUEST_BYTES_MAX, SYNC_BYTES_MAX};
use vibecoin_primitives::{Hash, Height};
use vibecoin_replica::Message;

use crate::attack::Stage;
use crate::hello::HELLO_PROTOCOL;
use crate::session::Session;
use crate::wire::frame;

/// Status messages in one write.
const STATUS_BURST: u64 = 2_000;
/// Interval of the bytes of a frame that is never finished.
const DRIP: Duration = Duration::from_secs(1);
/// Streams of each client that hold such a frame.
const HELD: usize = 2;
/// Pause between two broken connections.
const REST: Duration = Duration::from_millis(20);
/// Time that a node permits for a frame, or for 64 KiB of it.
const STEP_TIME: Duration = Duration::from_secs(5);
/// The rules that [`broken`] breaks, in turn.
const RULES: [&str; 10] = [
    "a frame over the limit of its lane",
    "a message over the limit of its kind",
    "bytes that are no message",
    "a message of another chain",
    "a message on the wrong lane",
    "bytes behind a message",
    "half a frame",
    "a hello over its limit",
    "a hello that is none",
    "hellos without end",
];

/// Status messages at full speed, of heights around the head.
pub fn status<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut lane = session.direct().await?;
        let head = stage.head();
        let burst: Vec<u8> = (0..STATUS_BURST)
            .flat_map(|number| {
                let height = Height(head + number % 1_000);
                frame(&stage.envelope.pack(&Message::Status { height }))
            })
            .collect();
        loop {
            session.write(&mut lane, &burst, STATUS_BURST).await?;
            session.offend("statuses without end");
            tokio::task::yield_now().await;
        }
    })
}

/// Begins frames of a kind that may arrive unsolicited, at their maximum length, and continues with a byte a
/// second.
///
/// The frames of an answer cannot be held like this: without a request they are refused at their first bytes.
pub fn never_finished<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut lanes = Vec::new();
        for _ in 0..HELD {
            lanes.push(session.direct().await?);
        }
        let mut whole = stage.envelope.pack(&Message::Status { height: Height(1) });
        whole.resize(ENVELOPE_BYTES + REQUEST_BYTES_MAX, 0);
        let begun = &frame(&whole)[..size_of::<u32>() + ENVELOPE_BYTES];
        for lane in &mut lanes {
            session.write(lane, begun, 1).await?;
        }
        let dripping = Instant::now();
        loop {
            tokio::time::sleep(DRIP).await;
            // From here on the frames are past the deadline of a step.
            if dripping.elapsed() >= STEP_TIME {
                session.offend("a frame at a byte a second");
            }
            for lane in &mut lanes {
                session.write(lane, &[0], 0).await?;
            }
        }
    })
}

/// On every node, one connection after the other, each broken in another way.
pub async fn broken(stage: &Arc<Stage>) {
    let nodes = stage.setting.targets.len();
    let crowd = stage.crowd(nodes, |stage, node, stranger| async move {
        for turn in stranger.. {
            let identity = stage.identity(turn);
            match Session::join(&stage, node, &identity, stage.hello()).await {
                Ok(mut session) => {
                    let _thrown_out = break_rule(&stage, &mut session, turn % RULES.len()).await;
                    session.linger().await;
                }
                Err(error) => stage.tally.refused(&error),
            }
            tokio::time::sleep(REST).await;
        }
    });
    crowd.await;
}

async fn break_rule(stage: &Stage, session: &mut Session, way: usize) -> io::Result<()> {
    if way >= 7 {
        return break_hello(stage, session, way).await;
    }
    let mut lane = session.direct().await?;
    let height = Height(1);
    let status = || stage.envelope.pack(&Message::Status { height });
    let bytes = match way {
        // One byte over the lane's limit, with something behind it.
        0 => {
            let mut bytes = ((SYNC_BYTES_MAX + ENVELOPE_BYTES + 1) as u32)
                .to_le_bytes()
                .to_vec();
            bytes.resize(64 * 1024, 7);
            bytes
        }
        // One byte over the limit of its kind.
        1 => {
            let mut bytes = status();
            bytes.resize(ENVELOPE_BYTES + REQUEST_BYTES_MAX + 1, 0);
            frame(&bytes)
        }
        2 => frame(&[0xa5; 4096]),
        3 => frame(&Envelope::new(&Hash([8; 32])).pack(&Message::Status { height })),
        // A kind that does not belong on the lane.
        4 => {
            let transactions = stage.material.transactions.iter().take(3).cloned().collect();
            frame(&stage.envelope.pack(&Message::Transactions(transactions)))
        }
        // Bytes behind a whole message.
        5 => {
            let mut bytes = status();
            bytes.push(0);
            frame(&bytes)
        }
        // Half of a frame, and the end of the stream: no rule is broken, it is only useless.
        _ => {
            let bytes = frame(&status());
            session.write(&mut lane, &bytes[..bytes.len() / 2], 1).await?;
            lane.close().await?;
            return Ok(());
        }
    };
    session.write(&mut lane, &bytes, 1).await?;
    session.offend(RULES[way]);
    session.link.closed().await;
    Ok(())
}

async fn break_hello(stage: &Stage, session: &mut Session, way: usize) -> io::Result<()> {
    let hello = stage.hello().bytes();
    let (bytes, times) = match way {
        7 => (u32::MAX.to_le_bytes().to_vec(), 1),
        8 => (frame(&[0x5a; 512]), 1),
        // More often than any connection needs it.
        _ => (frame(&hello), 100),
    };
    for _ in 0..times {
        let mut stream: SubstreamBox = session.link.open(HELLO_PROTOCOL).await?;
        session.write(&mut stream, &bytes, 1).await?;
        stream.close().await?;
    }
    session.offend(RULES[way]);
    session.link.closed().await;
    Ok(())
}
