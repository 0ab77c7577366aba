//! Large answers: built beside the threads that serve connections, a bounded number at a time, for a price.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_util::FutureExt as _;
use serde_json::json;
use vibecoin_primitives::encode;
use vibecoin_rpc_api::registry::{self, METHODS};

use super::hostile::{LARGE, closed, sent};
use super::{expect_error, never, serve, serve_with};
use crate::building::{BUILT_AT_ONCE_MAX, build};
use crate::gate::{self, Rules};
use crate::metrics::Closed;
use crate::mock::MockBackend;
use crate::{Config, Rate};

const HEAD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"chain_getHead"}"#;

fn limited(burst: u32) -> Config {
    Config {
        rate: Some(Rate { per_second: 1, burst }),
        rate_exempts_loopback: false,
        ..Config::default()
    }
}

#[tokio::test]
async fn a_cheap_call_is_answered_while_as_many_large_answers_as_may_are_being_built() {
    let served = Arc::new(serve().await);
    let gate = served.node.close_blocks();
    let call = |_| {
        let served = Arc::clone(&served);
        tokio::spawn(async move { served.call("chain_getBlock", json!([])).await })
    };
    let large: Vec<_> = (0..BUILT_AT_ONCE_MAX + 6).map(call).collect();
    while gate.inside() < BUILT_AT_ONCE_MAX {
        tokio::task::yield_now().await;
    }
    let head = served.call("chain_getHead", json!([])).await;
    assert_eq!(head["result"]["height"], "0", "{head}");
    assert_eq!(gate.inside(), BUILT_AT_ONCE_MAX, "the others wait for a turn");
    gate.open();
    for answer in large {
        let answer = answer.await.unwrap();
        assert_eq!(answer["result"]["height"], "0", "{answer}");
    }
    assert_eq!(gate.most(), BUILT_AT_ONCE_MAX);
}

#[tokio::test]
async fn newcomers_are_answered_while_every_seat_is_in_line_for_a_turn_to_compute() {
    let config = Config {
        connections_max: 8,
        ..Config::default()
    };
    let (metrics, running) = (Arc::clone(&config.metrics), config.expensive_calls_max);
    let served = Arc::new(serve_with(config).await);
    let gate = served.node.close_blocks();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"poh_verify"}"#;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut streams = Vec::new();
    for count in 1..=8 {
        streams.push(sent(served.server.address(), request.as_bytes()).await);
        while gate.inside() < running.min(count)
            || served.server.seats().in_line() < count.saturating_sub(running)
        {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..4 {
        let head = served.post(HEAD).await.json();
        assert_eq!(head["result"]["height"], "0", "{head}");
    }
    assert_eq!(metrics.turned_away.get(), 0);
    assert!(metrics.closed.at(Closed::Evicted).get() >= 1);
    assert!(
        closed(streams.remove(running)).await.is_empty(),
        "the oldest in line has gone"
    );
    assert_eq!(gate.inside(), running, "what is worked on keeps its seat");
    gate.open();
}

#[tokio::test]
async fn calls_that_read_many_blocks_are_paid_for_by_the_block() {
    let call = |method: &str, params: serde_json::Value| {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
    };
    for (first, units) in [
        // Of 101 blocks.
        (call("chain_getStats", json!({"window": 1000})), 26),
        (call("poh_verify", json!([1, 20])), 200),
        // Within the price of the method.
        (call("chain_getStats", json!({"window": 10})), 10),
        (call("poh_verify", json!([1, 2])), 50),
    ] {
        // Asking for the head costs one unit.
        for (burst, status) in [(units + 1, 200), (units, 429)] {
            let served = serve_with(Config {
                rate: Some(Rate { per_second: 0, burst }),
                ..limited(burst)
            })
            .await;
            served.node.produce(100);
            let answer = served.post(&first).await.json();
            assert!(answer["result"].is_object(), "{first}: {answer}");
            assert_eq!(served.post(HEAD).await.status, status, "{first} with {burst}");
        }
    }
}

#[tokio::test]
async fn a_large_message_is_paid_for_before_it_is_parsed_and_too_many_entries_afterwards() {
    // `text` is not JSON: a refusal for that proves that it was parsed.
    let large = |units: usize| "x".repeat(units * 4096);
    let served = serve_with(limited(10)).await;
    expect_error(&served.post(&large(10)).await.json(), -32700, "parse_error");
    expect_error(&served.post(&large(1)).await.json(), 1401, "rate_limited");
    expect_error(&served.post("x").await.json(), 1401, "rate_limited");
    let served = serve_with(limited(50)).await;
    let many = format!("[{}]", vec!["1"; 200].join(","));
    expect_error(&served.post(&many).await.json(), -32010, "batch_too_large");
    let refused = served.post(HEAD).await.json();
    expect_error(&refused, 1401, "rate_limited");
    let wait: u64 = refused["error"]["data"]["retryAfterMs"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    // A budget of 50 less 200, one unit a second.
    assert!((149_000..=152_000).contains(&wait), "{wait}");
}

#[tokio::test]
async fn answered_entries_of_a_batch_count_while_the_others_are_waited_for() {
    let served = Arc::new(serve().await);
    let gate = served.node.close_blocks();
    let block = r#"{"jsonrpc":"2.0","id":2,"method":"chain_getBlock"}"#;
    let batch = format!("[{LARGE},{LARGE},{block}]");
    let asking = {
        let served = Arc::clone(&served);
        tokio::spawn(async move { served.post(&batch).await.json() })
    };
    while gate.inside() < 1 {
        tokio::task::yield_now().await;
    }
    let held = served.server.seats().held();
    gate.open();
    let answer = asking.await.unwrap();
    let first = answer[0].to_string().len();
    assert!(first > 10_000, "{first}");
    assert!(
        held > 2 * first * 9 / 10,
        "{held} bytes are counted of twice {first}"
    );
}

#[tokio::test]
async fn the_bytes_of_an_answer_are_paid_for_afterwards() {
    let served = serve_with(limited(11)).await;
    let first = served.post(LARGE).await;
    assert_eq!(first.status, 200);
    let owed = first.body.len() / 1024 - 11;
    assert!(owed > 3, "{owed}");
    let second = served.post(HEAD).await;
    assert_eq!(second.status, 429);
    let second = second.json();
    expect_error(&second, 1401, "rate_limited");
    let wait: usize = second["error"]["data"]["retryAfterMs"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (owed * 900..=(owed + 2) * 1000).contains(&wait),
        "{wait} ms for {owed} units"
    );
}

#[tokio::test]
async fn bad_signatures_are_paid_for_afterwards() {
    let served = serve_with(limited(60)).await;
    let mut bad = encode(&served.node.transfer(0, 0, MockBackend::address(1), 1));
    let last = bad.len() - 40;
    bad[last] ^= 1;
    let raw = bad.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tx_submit", "params": [format!("0x{raw}")]});
    for _ in 0..2 {
        expect_error(
            &served.post(&body.to_string()).await.json(),
            1301,
            "bad_signature",
        );
    }
    assert_eq!(served.post(&body.to_string()).await.status, 429, "30 units each");
}

#[tokio::test]
async fn a_call_that_waited_is_not_built_for_a_caller_that_owes_by_then() {
    let rules = Arc::new(Rules::new(Arc::new(limited(20)), false, never()));
    let peer: IpAddr = "10.0.0.1".parse().unwrap();
    let seated = Arc::new(rules.seats.take(0, peer, Instant::now()).unwrap());
    let mut permits = Vec::new();
    for _ in 0..BUILT_AT_ONCE_MAX {
        permits.push(rules.building.acquire(seated.caller()).await);
    }
    let call = async { panic!("it is built") };
    let method = registry::find("chain_getBlock").unwrap();
    let building = build(&rules, method, call.boxed());
    let mut building = Box::pin(gate::on_behalf_of(Some(Arc::clone(&seated)), building));
    let first = poll_fn(|task| Poll::Ready(building.as_mut().poll(task).is_pending())).await;
    assert!(first, "no turn is free");
    rules.charge(seated.caller(), 100);
    permits.clear();
    assert!(building.await.is_err());
    assert!(
        rules.building.acquire(seated.caller()).now_or_never().is_some(),
        "the turn is free"
    );
}

#[test]
fn connections_of_this_machine_are_callers_of_their_own() {
    let rules = Rules::new(Arc::new(Config::default()), false, never());
    let seats = [
        "127.0.0.1",
        "127.0.0.1",
        "10.0.0.1",
        "10.0.0.1",
        "2001:db8::1",
        "2001:db8::2",
    ];
    let taken: Vec<_> = (0u32..)
        .zip(seats)
        .map(|(id, peer)| {
            rules
                .seats
                .take(id, peer.parse().unwrap(), Instant::now())
                .unwrap()
        })
        .collect();
    let callers: Vec<_> = taken.iter().map(|seated| seated.caller()).collect();
    assert_ne!(callers[0], callers[1]);
    assert_eq!(callers[2], callers[3]);
    assert_eq!(callers[4], callers[5]);
}

#[test]
fn every_list_is_built_beside_the_threads_of_the_listeners() {
    for method in METHODS {
        let is_list = method
            .options
            .iter()
            .any(|option| ["limit", "cursor"].contains(&option.name));
        assert!(method.large || !is_list, "{}", method.name);
        assert!(
            !(method.large && method.waits),
            "{} would hold a turn while it waits",
            method.name
        );
    }
}

#[tokio::test]
async fn the_parameters_that_a_call_of_a_batch_keeps_count_beside_the_batch() {
    let served = Arc::new(serve().await);
    let gate = served.node.close_blocks();
    let space = " ".repeat(100_000);
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"chain_getBlock","params":[{space}"latest"]}}"#);
    let asking = |body: String| {
        let served = Arc::clone(&served);
        tokio::spawn(async move { served.post(&body).await.json() })
    };
    let mut held = Vec::new();
    let mut asked = Vec::new();
    for (count, body) in [(1, call.clone()), (2, format!("[{call}]"))] {
        asked.push(asking(body));
        while gate.inside() < count {
            tokio::task::yield_now().await;
        }
        held.push(served.server.seats().held());
    }
    // A single call keeps its parameters alone, one of a batch both.
    let (single, both) = (held[0], held[1]);
    assert_eq!(single, call.len());
    assert!(both - single >= 2 * space.len(), "{held:?}");
    gate.open();
    for answer in asked {
        assert!(answer.await.unwrap().to_string().contains("\"height\":\"0\""));
    }
}
