//! Gossip of excessive cost (faults 11 and 19, B6).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use vibecoin_network::Envelope;
use vibecoin_primitives::{Nonce, Transaction};
use vibecoin_replica::Message;

use crate::attack::Stage;
use crate::session::{Event, Session};
use crate::wire::{Rpc, field, varint};

/// Bytes before the envelope of a gossiped message: the number of the copy.
const COPY_BYTES: usize = 2;
/// Number of valid copy numbers.
const COPIES: u16 = 4_096;
/// Copies of one message after which a node must disconnect.
const COPIES_TOO_MANY: u16 = 1_024;
/// Copies in one frame.
const COPIES_PER_FRAME: u16 = 64;
/// Unknown topics of one burst, and of one frame: a frame has its limit.
const TOPICS: u32 = 100_000;
const TOPICS_PER_FRAME: u32 = 4_000;
/// Backoff of a PRUNE.
const BACKOFF_S: u64 = 1 << 63;
/// Message ids in one frame.
const IDS: u64 = 2_000;
/// Message ids and messages in one frame of [`unwanted`].
const UNWANTED_PER_FRAME: u16 = 3_990;
const MESSAGES_PER_FRAME: u16 = 100;
/// Messages of one frame of [`unfunded`], and the time between two frames: two clients on each of five nodes
/// send 20,000 in a second.
const UNFUNDED_AT_ONCE: usize = 50;
const UNFUNDED_EACH: Duration = Duration::from_millis(25);
/// Pause between two batches: 20,000 transactions a second with the batches of the material.
const BATCH_REST: Duration = Duration::from_millis(25);

/// Decodes the message in gossiped data.
#[must_use]
pub fn opened(stage: &Stage, data: &[u8]) -> Option<Message> {
    stage.envelope.open(data.get(COPY_BYTES..)?).ok()
}

/// A message as gossiped data, as one of its copies.
#[must_use]
pub fn packed(envelope: &Envelope, message: &Message, copy: u16) -> Vec<u8> {
    [&copy.to_le_bytes()[..], &envelope.pack(message)].concat()
}

/// Another copy of gossiped data.
#[must_use]
pub fn copied(data: &[u8], copy: u16) -> Vec<u8> {
    let mut data = data.to_vec();
    for (byte, number) in data.iter_mut().zip(copy.to_le_bytes()) {
        *byte = number;
    }
    data
}

/// A frame that publishes these statements.
#[must_use]
pub fn statements<T: AsRef<[u8]>>(stage: &Stage, all: impl IntoIterator<Item = T>) -> Vec<u8> {
    let publish = |rpc: Rpc, data: T| rpc.publish(&stage.names.consensus, data.as_ref());
    all.into_iter().fold(Rpc::default(), publish).frame()
}

/// Publishes every received message again, under every copy number.
pub fn copies<'a>(_: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut stream = session.gossip().await?;
        while let Some(event) = session.event().await {
            let Event::Gossip(topic, data) = event else {
                continue;
            };
            let Some((_, envelope)) = data.split_at_checked(COPY_BYTES) else {
                continue;
            };
            let mut next = 0;
            while next < COPIES {
                let mut rpc = Rpc::default();
                for copy in next..(next + COPIES_PER_FRAME).min(COPIES) {
                    rpc = rpc.publish(&topic, &[&copy.to_le_bytes(), envelope].concat());
                }
                next += COPIES_PER_FRAME;
                session
                    .write(&mut stream, &rpc.frame(), u64::from(COPIES_PER_FRAME))
                    .await?;
                if next >= COPIES_TOO_MANY {
                    session.offend("copies of one message");
                }
            }
        }
        Ok(())
    })
}

/// Control messages of gossip that no honest peer sends: unknown topics, endless PRUNE, ids of messages that
/// no peer has, endless subscriptions, invalid protobuf.
pub fn control<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut stream = session.gossip().await?;
        let topics = [stage.names.consensus.clone(), stage.names.transactions.clone()];
        for burst in 0u32.. {
            // A frame that ends inside of a field: the node closes the stream, and gets a new one.
            let mut broken = field(2, &[1; 100]);
            broken.truncate(50);
            let frame = [varint(broken.len() as u64), broken].concat();
            let _closed = session.write(&mut stream, &frame, 1).await;
            session.offend("protobuf that is none");
            stream = session.gossip().await?;
            let mut next = 0;
            while next < TOPICS {
                let range = next..next + TOPICS_PER_FRAME;
                let graft = Rpc::default().graft(range.clone().map(|number| format!("t/{burst}/{number}")));
                session
                    .write(&mut stream, &graft.frame(), u64::from(TOPICS_PER_FRAME))
                    .await?;
                next += TOPICS_PER_FRAME;
            }
            for topic in &topics {
                let prune = Rpc::default().prune(topic, BACKOFF_S).prune(topic, u64::MAX);
                let graft = Rpc::default().graft([topic]);
                session
                    .write(&mut stream, &[prune.frame(), graft.frame()].concat(), 3)
                    .await?;
                let ids: Vec<Vec<u8>> = (0..IDS)
                    .map(|id| [&id.to_le_bytes()[..], &[burst as u8; 24]].concat())
                    .collect();
                let rpc = Rpc::default().have(topic, &ids).want(&ids);
                session.write(&mut stream, &rpc.frame(), IDS).await?;
            }
            let mut rpc = Rpc::default();
            for number in 0..1_000 {
                rpc = rpc.subscribe(&format!("s/{burst}/{number}"), true);
            }
            session.write(&mut stream, &rpc.frame(), 1_000).await?;
        }
        Ok(())
    })
}

/// Frames that are cheap to send: IDONTWANT, a message that is known already, messages of an unsupported
/// form. None of them is a fault.
pub fn unwanted<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut stream = session.gossip().await?;
        let known = stage.material.transactions.iter().take(1).cloned().collect();
        let known = packed(&stage.envelope, &Message::Transactions(known), 0);
        for burst in (0..=u16::MAX).cycle() {
            let ids = (0..UNWANTED_PER_FRAME).map(|id| id.wrapping_add(burst).to_le_bytes());
            let ids = Rpc::default().unwanted(ids).frame();
            let mut copies = Rpc::default();
            let mut signed = Rpc::default();
            for _ in 0..MESSAGES_PER_FRAME {
                copies = copies.publish(&stage.names.transactions, &known);
                signed = signed.signed(&stage.names.consensus);
            }
            for _ in 0..8 {
                session
                    .write(&mut stream, &ids, u64::from(UNWANTED_PER_FRAME))
                    .await?;
            }
            for frame in [copies.frame(), signed.frame()] {
                session
                    .write(&mut stream, &frame, u64::from(MESSAGES_PER_FRAME))
                    .await?;
            }
        }
        Ok(())
    })
}

/// Messages of one validly signed transaction each, of accounts that do not exist: no peer is at fault for
/// relaying them.
pub fn unfunded<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut stream = session.gossip().await?;
        let prepared = &stage.material.transactions;
        loop {
            let begun = tokio::time::Instant::now();
            let from = stage.next_message(UNFUNDED_AT_ONCE);
            let mut rpc = Rpc::default();
            for number in from..from + UNFUNDED_AT_ONCE {
                let Some(transaction) = prepared.get(number % prepared.len().max(1)) else {
                    return Ok(());
                };
                let message = Message::Transactions(vec![transaction.clone()]);
                let data = packed(&stage.envelope, &message, 0);
                rpc = rpc.publish(&stage.names.transactions, &data);
            }
            session
                .write(&mut stream, &rpc.frame(), UNFUNDED_AT_ONCE as u64)
                .await?;
            tokio::time::sleep_until(begun + UNFUNDED_EACH).await;
        }
    })
}

/// Batches of transactions with bad signatures, each batch different.
pub fn bad_transactions<'a>(
    stage: &'a Arc<Stage>,
    session: &'a mut Session,
) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut stream = session.gossip().await?;
        let mut batch = stage.material.transactions.clone();
        loop {
            for Transaction::V1(transaction) in &mut batch {
                transaction.body.nonce = Nonce(transaction.body.nonce.0 + 1_000);
            }
            let data = packed(&stage.envelope, &Message::Transactions(batch.clone()), 0);
            let rpc = Rpc::default().publish(&stage.names.transactions, &data);
            session
                .write(&mut stream, &rpc.frame(), batch.len() as u64)
                .await?;
            session.offend("bad transactions");
            tokio::time::sleep(BATCH_REST).await;
        }
    })
}
