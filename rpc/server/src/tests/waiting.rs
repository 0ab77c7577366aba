//! Calls that wait for a block, and the capacity that they leave to others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use vibecoin_primitives::{encode, hex};
use vibecoin_rpc_backend::{Backend as _, Caller, TransactionStatus};

use super::hostile::{closed, sent};
use super::{RawSocket, Served, expect_error, serve, serve_with};
use crate::Config;
use crate::metrics::{Closed, MethodLabel};
use crate::mock::MockBackend;

/// Id of an unknown transaction.
const UNKNOWN: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";

fn seats(count: u32) -> Config {
    Config {
        connections_max: count,
        ..Config::default()
    }
}

fn wait_for(hash: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tx_wait", "params": [hash]}).to_string()
}

/// A request that leaves its connection open.
fn waits() -> String {
    let body = wait_for(UNKNOWN);
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A connection with `pipelined` calls, the first of which waits.
async fn waiter(served: &Served, pipelined: usize) -> TcpStream {
    let before = served.node.watchers();
    let stream = sent(served.server.address(), waits().repeat(pipelined).as_bytes()).await;
    watchers(served, before + 1).await;
    stream
}

async fn watchers(served: &Served, count: usize) {
    while served.node.watchers() != count {
        tokio::task::yield_now().await;
    }
}

async fn is_answered(served: &Served) {
    assert_eq!(served.get("/livez").await.status, 200);
    let head = served.call("chain_getHead", json!([])).await;
    assert_eq!(head["result"]["height"], "0", "{head}");
}

#[tokio::test]
async fn health_and_calls_are_answered_while_every_connection_asks_to_wait() {
    let config = seats(8);
    let metrics = Arc::clone(&config.metrics);
    let served = serve_with(config).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(sent(served.server.address(), waits().repeat(2).as_bytes()).await);
    }
    let refused = || metrics.calls.at(MethodLabel::of("tx_wait")).get() as usize;
    while served.node.watchers() + refused() / 2 < 8 {
        tokio::task::yield_now().await;
    }
    for _ in 0..4 {
        is_answered(&served).await;
    }
    assert_eq!(served.node.watchers(), 4, "half of the seats wait on");
    assert_eq!(metrics.turned_away.get(), 0);
}

#[tokio::test]
async fn a_call_that_waits_makes_room_when_no_other_connection_can() {
    let config = seats(1);
    let metrics = Arc::clone(&config.metrics);
    let served = serve_with(config).await;
    let waiting = waiter(&served, 2).await;
    is_answered(&served).await;
    assert!(closed(waiting).await.is_empty());
    watchers(&served, 0).await;
    assert!(metrics.closed.at(Closed::Evicted).get() >= 1);
}

#[tokio::test]
async fn a_caller_that_leaves_is_noticed_behind_pipelined_requests() {
    let config = seats(8);
    let metrics = Arc::clone(&config.metrics);
    let served = serve_with(config).await;
    // More than is read ahead: the rest stays in the kernel, in front of the end.
    drop(waiter(&served, 100).await);
    watchers(&served, 0).await;
    assert_eq!(metrics.closed.at(Closed::Left).get(), 1);
}

#[tokio::test]
async fn a_wait_too_many_is_refused_by_name_before_anything_happens() {
    let served = serve_with(seats(2)).await;
    let _waiting = waiter(&served, 1).await;
    let refused = |answer: &Value| {
        expect_error(answer, 1401, "rate_limited");
        assert_eq!(answer["error"]["data"]["queue"], "waiting");
        assert_eq!(answer["error"]["data"]["limit"], "1");
    };
    refused(&served.call("tx_wait", json!([UNKNOWN])).await);
    let transaction = served.node.transfer(0, 0, MockBackend::address(1), 5);
    let raw = hex::encode(&encode(&transaction));
    for (method, params) in [
        ("tx_submit", json!([raw, {"wait": "final"}])),
        ("tx_submitBatch", json!([[raw], {"wait": "final"}])),
        // Nothing is decoded for a call that may not wait.
        ("tx_submit", json!(["0x00", {"wait": "final"}])),
        ("tx_submitBatch", json!([["0x00"], {"wait": "final"}])),
        (
            "account_get",
            json!({"address": hex::encode(&[1; 32]), "minHeight": 9}),
        ),
    ] {
        refused(&served.call(method, params).await);
    }
    let pool = served.call("mempool_getStatus", json!([])).await;
    assert_eq!(pool["result"]["count"], "0");

    // A call that needs no wait is answered as always.
    let taken = served.call("tx_submit", json!([raw])).await;
    served.node.produce(1);
    let hash = taken["result"]["hash"].as_str().unwrap();
    let settled = served.call("tx_wait", json!([hash])).await;
    assert_eq!(settled["result"]["status"], "included", "{settled}");

    let mut session = RawSocket::open(&served).await;
    session.send(&wait_for(UNKNOWN)).await;
    watchers(&served, 2).await;
    session.0.shutdown().await.unwrap();
}

#[tokio::test]
async fn transactions_that_stay_in_the_pool_are_not_asked_for_at_every_block() {
    let node = MockBackend::new();
    // All wait for the first nonce.
    let stuck: Vec<_> = (1..=50)
        .map(|nonce| node.transfer(0, nonce, MockBackend::address(1), 1))
        .collect();
    let verdicts = node.submit(Caller::NODE, stuck).await;
    let ids: Vec<_> = verdicts.into_iter().map(|verdict| verdict.unwrap().id).collect();
    let before = node.status_calls();
    let mut settling = Box::pin(node.settle(ids, Duration::from_secs(600)));
    assert!((&mut settling).now_or_never().is_none());
    assert_eq!(node.status_calls() - before, 50, "once at the start");
    for _ in 0..3 {
        node.produce(1);
        assert!((&mut settling).now_or_never().is_none());
    }
    assert_eq!(node.status_calls() - before, 50, "and at no block");
    let first = node.transfer(0, 0, MockBackend::address(1), 1);
    assert!(
        node.submit(Caller::NODE, vec![first])
            .await
            .iter()
            .all(Result::is_ok)
    );
    let before = node.status_calls();
    node.produce(1);
    let found = settling.await.unwrap();
    let is_included = |status: &TransactionStatus| matches!(status, TransactionStatus::Included { .. });
    assert!(found.iter().all(is_included), "{found:?}");
    assert_eq!(node.status_calls() - before, 50, "once when they have left");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_says_where_each_stands_by_then() {
    let node = MockBackend::new();
    let transfer = |nonce| node.transfer(0, nonce, MockBackend::address(1), 1);
    let verdicts = node.submit(Caller::NODE, vec![transfer(1)]).await;
    let ids: Vec<_> = verdicts.into_iter().map(|verdict| verdict.unwrap().id).collect();
    let mut settling = Box::pin(node.settle(ids, Duration::from_secs(600)));
    assert!((&mut settling).now_or_never().is_none(), "it is queued");
    assert!(
        node.submit(Caller::NODE, vec![transfer(0)])
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(settling.await.unwrap(), [TransactionStatus::Pending]);
}

/// Found in review: this node's pool replaced it, another node's proposer did not.
#[tokio::test]
async fn a_replaced_transaction_is_pending_until_a_block_has_one_of_its_versions() {
    for included in 0..3 {
        let served = serve().await;
        let versions = [1, 2, 3].map(|amount| served.node.transfer(0, 0, MockBackend::address(1), amount));
        let genesis = served.node.facts().genesis;
        let ids = versions.clone().map(|version| version.id(&genesis));
        let first = versions.first().unwrap().clone();
        let admitted = served.node.submit(Caller::NODE, vec![first]).await;
        assert!(admitted.iter().all(Result::is_ok));
        served.node.replace(&ids[0], versions[1].clone());
        served.node.replace(&ids[1], versions[2].clone());
        let mut settling = Box::pin(served.node.settle(ids.to_vec(), Duration::from_secs(600)));
        assert!((&mut settling).now_or_never().is_none(), "nothing is decided");
        let status = served.call("tx_getStatus", json!([ids[0].to_string()])).await;
        assert_eq!(status["result"]["status"], "pending", "{status}");
        assert_eq!(status["result"]["by"], ids[1].to_string(), "{status}");
        let waited = json!([ids[0].to_string(), {"timeoutMs": "0"}]);
        let waited = served.call("tx_wait", waited).await;
        expect_error(&waited, 1403, "timeout");
        assert_eq!(waited["error"]["data"]["by"], ids[1].to_string(), "{waited}");

        if included < 2 {
            served.node.replace(&ids[2], versions[included].clone());
        }
        served.node.produce(1);
        let by = ids[included];
        for (at, status) in settling.await.unwrap().into_iter().enumerate() {
            if at == included {
                assert!(matches!(status, TransactionStatus::Included { .. }), "{status:?}");
            } else {
                assert_eq!(status, TransactionStatus::Replaced { by }, "{at} of {included}");
            }
        }
    }
}

#[tokio::test]
async fn a_caller_waits_for_so_many_transactions_at_once() {
    let served = serve().await;
    let raws: Vec<String> = (0..2)
        .flat_map(|from| (1..=50).map(move |nonce| (from, nonce)))
        .map(|(from, nonce)| served.node.transfer(from, nonce, MockBackend::address(5), 1))
        .map(|transaction| hex::encode(&encode(&transaction)))
        .collect();
    let mut session = RawSocket::open(&served).await;
    for id in 1..=5 {
        let params = json!([raws, {"wait": "final"}]);
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tx_submitBatch", "params": params});
        session.send(&call.to_string()).await;
    }
    let answer: Value = serde_json::from_str(&session.receive().await).unwrap();
    expect_error(&answer, 1401, "rate_limited");
    assert_eq!(answer["error"]["data"]["queue"], "waiting transactions");
    assert_eq!(answer["error"]["data"]["limit"], "400");
    watchers(&served, 4).await;
}
