//! Subscriptions: no gap, no silent loss, bounded memory.

use std::time::Duration;

use jsonrpsee::core::client::Subscription;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vibecoin_primitives::{Height, encode};
use vibecoin_rpc_api::methods::{SubscriptionApiClient, TxApiClient};
use vibecoin_rpc_api::views::{
    AccountChangeView, BlockView, HeaderView, SubscriptionEvent, Topic, TopicParams, TransactionDetail,
    TransactionEventView,
};
use vibecoin_rpc_api::{ApiError, U64};

use super::{serve, serve_with};
use crate::Config;
use crate::mock::{BALANCE, MockBackend};

async fn next(subscription: &mut Subscription<SubscriptionEvent>) -> SubscriptionEvent {
    let event = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
    event
        .expect("an event comes")
        .expect("the subscription is open")
        .unwrap()
}

fn data<T: serde::de::DeserializeOwned>(event: &SubscriptionEvent) -> T {
    serde_json::from_str(event.data.as_ref().expect("an event with data").get()).unwrap()
}

#[tokio::test]
async fn backfill_and_live_events_have_no_gap_and_no_double() {
    let served = serve().await;
    served.node.produce(40);
    let client = served.ws().await;
    let mut blocks = client.follow(Topic::Blocks, None, Some(U64(3))).await.unwrap();
    // Blocks are made while the backfill runs.
    let node = std::sync::Arc::clone(&served.node);
    let maker = tokio::task::spawn_blocking(move || node.produce(60));
    for (seq, height) in (3..=100).enumerate() {
        let event = next(&mut blocks).await;
        assert_eq!(
            (event.seq, event.height, event.topic),
            (U64(seq as u64), U64(height), Topic::Blocks)
        );
        assert_eq!(data::<BlockView>(&event).header.height, U64(height));
    }
    maker.await.unwrap();
}

#[tokio::test]
async fn without_a_height_a_subscription_starts_with_the_next_block() {
    let served = serve().await;
    served.node.produce(5);
    let client = served.ws().await;
    let mut headers = client.follow(Topic::Headers, None, None).await.unwrap();
    served.node.produce(1);
    let event = next(&mut headers).await;
    assert_eq!(data::<HeaderView>(&event).height, U64(6));
}

#[tokio::test]
async fn an_account_is_told_of_when_it_changes_and_only_then() {
    let served = serve().await;
    let bob = MockBackend::address(1);
    served.node.produce(2);
    served
        .http()
        .submit(encode(&served.node.transfer(0, 0, bob, 7)).into(), None)
        .await
        .unwrap();
    served.node.produce(3);
    let client = served.ws().await;
    let params = TopicParams {
        address: Some(bob.into()),
        transactions: None,
    };
    let mut changes = client
        .follow(Topic::Account, Some(params), Some(U64(0)))
        .await
        .unwrap();
    let change: AccountChangeView = data(&next(&mut changes).await);
    assert_eq!(change.height, U64(3));
    assert_eq!(change.before.unwrap().balance.0, BALANCE.0);
    assert_eq!(change.after.unwrap().balance.0, BALANCE.0 + 7);
    served
        .http()
        .submit(encode(&served.node.transfer(0, 1, bob, 1)).into(), None)
        .await
        .unwrap();
    served.node.produce(1);
    let event = next(&mut changes).await;
    assert_eq!((event.seq, event.height), (U64(1), U64(6)));
}

#[tokio::test]
async fn transactions_come_with_their_receipts_and_can_be_told_by_sender() {
    let served = serve().await;
    let bob = MockBackend::address(1);
    for (from, nonce) in [(0, 0), (2, 0), (0, 1)] {
        let raw = encode(&served.node.transfer(from, nonce, bob, 7));
        served.http().submit(raw.into(), None).await.unwrap();
    }
    served.node.produce(1);
    let client = served.ws().await;
    let mut all = client
        .follow(Topic::Transactions, None, Some(U64(0)))
        .await
        .unwrap();
    for _ in 0..3 {
        let event: TransactionEventView = data(&next(&mut all).await);
        assert_eq!(event.transaction.hash, event.receipt.hash);
        assert_eq!(event.transaction.location.unwrap().index, event.receipt.index);
    }
    let params = TopicParams {
        address: Some(MockBackend::address(0).into()),
        transactions: None,
    };
    let mut own = client
        .follow(Topic::Transactions, Some(params), Some(U64(0)))
        .await
        .unwrap();
    for nonce in 0..2 {
        let event: TransactionEventView = data(&next(&mut own).await);
        assert_eq!(
            (event.transaction.sender.0.address, event.transaction.nonce),
            (MockBackend::address(0), U64(nonce))
        );
    }
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_so_and_where_to_resume() {
    let config = Config {
        lag_blocks_max: 10,
        message_buffer: 4,
        ..Config::default()
    };
    let served = serve_with(config).await;
    let client = served.ws().await;
    let mut blocks = client.follow(Topic::Headers, None, None).await.unwrap();
    served.node.produce(1);
    assert_eq!(next(&mut blocks).await.height, U64(1));
    // Live now. Fifty blocks at once are more than it may be behind.
    served.node.produce(50);
    let (mut expected, mut last) = (2, next(&mut blocks).await);
    while last.closed.is_none() {
        assert_eq!(last.height, U64(expected), "no gap before the end");
        expected += 1;
        last = next(&mut blocks).await;
    }
    assert_eq!(last.closed.as_deref(), Some("lagged"));
    assert_eq!(last.resume_from, Some(U64(expected)));
    let mut again = client
        .follow(Topic::Headers, None, last.resume_from)
        .await
        .unwrap();
    for height in expected..=51 {
        assert_eq!(next(&mut again).await.height, U64(height));
    }
}

/// A WebSocket by hand, because the library's client always reads.
#[tokio::test]
async fn a_reader_that_never_reads_holds_a_bounded_queue_and_ends_with_lagged() {
    let config = Config {
        message_buffer: 8,
        stall_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let served = serve_with(config).await;
    // Enough that the kernel's buffers cannot hold it.
    served.node.produce(20_000);
    let mut stream = served.connect().await;
    let upgrade = "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "sub_subscribe",
        "params": {"topic": "headers", "fromHeight": 0}});
    stream.write_all(&masked(&request.to_string())).await.unwrap();
    // Nothing is read until the server has given up.
    for running in [true, false] {
        while (served.node.watchers() > 0) != running {
            tokio::task::yield_now().await;
        }
    }
    let mut seen = 0;
    let mut reader = FrameReader {
        stream,
        buffer: Vec::new(),
    };
    reader.skip_head().await;
    let farewell = loop {
        let message = reader.text().await;
        let Some(event) = message.get("params").map(|params| params["result"].clone()) else {
            continue;
        };
        if event["closed"].is_string() {
            break event;
        }
        assert_eq!(event["height"], seen.to_string(), "no gap before the end");
        seen += 1;
    };
    assert_eq!(farewell["closed"], "lagged");
    assert_eq!(farewell["resumeFrom"], seen.to_string());
    assert!(seen > 0 && seen < 20_000, "{seen} events were on their way");
}

#[tokio::test]
async fn subscriptions_above_the_limit_of_a_connection_are_refused_and_a_free_one_can_be_had() {
    let served = serve_with(Config {
        subscriptions_per_connection_max: 2,
        ..Config::default()
    })
    .await;
    let client = served.ws().await;
    let first = client.follow(Topic::Headers, None, None).await.unwrap();
    let _second = client.follow(Topic::Headers, None, None).await.unwrap();
    let third = client.follow(Topic::Headers, None, None).await.unwrap_err();
    assert_eq!(ApiError::from_client(&third).unwrap().code, -32006);
    first.unsubscribe().await.unwrap();
    // Ended subscriptions free their place when their task has noticed.
    let mut again = client.follow(Topic::Headers, None, None).await;
    for _ in 0..1000 {
        if again.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
        again = client.follow(Topic::Headers, None, None).await;
    }
    again.unwrap();
}

#[tokio::test]
async fn a_subscription_that_cannot_work_is_refused_with_its_reason() {
    let served = serve().await;
    served.node.produce(5);
    served.node.prune_below(Height(3));
    let client = served.ws().await;
    let address = TopicParams {
        address: Some(MockBackend::address(0).into()),
        transactions: None,
    };
    let full = TopicParams {
        address: None,
        transactions: Some(TransactionDetail::Full),
    };
    for (topic, params, from, code) in [
        (Topic::Account, None, None, -32602),
        (Topic::Headers, Some(address), None, -32602),
        (Topic::Blocks, Some(full), None, -32602),
        (Topic::Blocks, None, Some(U64(1)), 1103),
    ] {
        let error = client.follow(topic, params, from).await.unwrap_err();
        assert_eq!(ApiError::from_client(&error).unwrap().code, code, "{topic:?}");
    }
    let http = served.call("sub_subscribe", json!({"topic": "blocks"})).await;
    assert!(
        http["error"].is_object(),
        "there are no subscriptions over HTTP: {http}"
    );
}

/// A text frame as clients send it; the mask is zeros.
fn masked(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len())
        .ok()
        .filter(|length| *length < 126)
        .expect("a short text");
    [&[0x81, 0x80 | length, 0, 0, 0, 0][..], text.as_bytes()].concat()
}

struct FrameReader {
    stream: tokio::net::TcpStream,
    buffer: Vec<u8>,
}

impl FrameReader {
    async fn fill(&mut self, bytes: usize) {
        while self.buffer.len() < bytes {
            let mut chunk = vec![0; 64 * 1024];
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut chunk)).await;
            let read = read.expect("the server goes on sending").unwrap();
            assert!(read > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    async fn skip_head(&mut self) {
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                self.buffer.drain(..end + 4);
                return;
            }
            self.fill(self.buffer.len() + 1).await;
        }
    }

    /// The next text message; pings are skipped.
    async fn text(&mut self) -> Value {
        loop {
            self.fill(2).await;
            let opcode = self.buffer[0] & 0x0f;
            let (length, head) = match self.buffer[1] {
                126 => {
                    self.fill(4).await;
                    (
                        usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]])),
                        4,
                    )
                }
                127 => panic!("no message is that long"),
                short => (usize::from(short), 2),
            };
            self.fill(head + length).await;
            let payload: Vec<u8> = self.buffer.drain(..head + length).skip(head).collect();
            if opcode == 1 {
                return serde_json::from_slice(&payload).unwrap();
            }
        }
    }
}
