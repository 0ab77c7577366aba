//! The gate: lifetime of messages in memory, and isolation of callers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use jsonrpsee::server::ServerHandle;
use vibecoin_rpc_api::views::TIMEOUT_MS_MAX;
use vibecoin_rpc_backend::Caller;

use super::*;
use crate::config::Config;
use crate::seats::Phase;

/// Accepts every call and answers none.
#[derive(Clone, Default)]
struct Silent(Arc<AtomicUsize>);

impl Calls for Silent {
    fn run(&self, _: Request<'_>) -> BoxFuture<'_, MethodResponse> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_at_one_deadline_and_the_entries_behind_it_are_not_run() {
    let config = Config::default();
    let longest = config.call_timeout + Duration::from_millis(TIMEOUT_MS_MAX);
    let expected_runs = longest.as_millis().div_ceil(config.call_timeout.as_millis());
    let calls = Silent::default();
    let (stop, _handle) = jsonrpsee::server::stop_channel();
    let rules = Arc::new(Rules::new(Arc::new(config), false, stop));
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let seated = rules.seats.take(0, peer, Instant::now()).unwrap();
    let gate = Gate {
        rules,
        seated: Arc::new(seated),
        calls: calls.clone(),
    };
    let call = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"chain_getHead"}}"#);
    let batch: Vec<String> = (0..50).map(call).collect();
    let batch = format!("[{}]", batch.join(","));
    let started = tokio::time::Instant::now();
    let answer = gate.answer(batch.into(), None).await.unwrap();
    assert_eq!(
        started.elapsed().as_secs(),
        longest.as_secs(),
        "of the paused clock"
    );
    assert_eq!(calls.0.load(Ordering::Relaxed) as u128, expected_runs);
    let answer: Vec<serde_json::Value> = serde_json::from_str(answer.as_ref()).unwrap();
    assert_eq!(answer.len(), 50);
    for (id, entry) in answer.iter().enumerate() {
        assert_eq!(entry["id"], id);
        assert_eq!(entry["error"]["code"], 1403, "{entry}");
    }
}

/// Answers a call while the thread that asked for it is held up.
#[derive(Clone)]
struct Slow {
    begun: Arc<tokio::sync::Notify>,
    go_on: Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>,
}

impl Calls for Slow {
    fn run(&self, request: Request<'_>) -> BoxFuture<'_, MethodResponse> {
        self.begun.notify_one();
        let _ = self.go_on.lock().map(|go_on| go_on.recv());
        let answer = refused(request.id.into_owned(), ApiError::internal("slow"));
        Box::pin(std::future::ready(answer))
    }
}

#[test]
fn a_large_message_does_not_hold_up_the_thread_that_serves_others() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_time().build().unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let begun = Arc::new(tokio::sync::Notify::new());
    let calls = Slow {
        begun: Arc::clone(&begun),
        go_on: Arc::new(std::sync::Mutex::new(receive)),
    };
    let (stop, _handle) = jsonrpsee::server::stop_channel();
    let rules = Arc::new(Rules::new(Arc::new(Config::default()), false, stop));
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let seated = Arc::new(rules.seats.take(0, peer, Instant::now()).unwrap());
    let gate = Gate { rules, seated, calls };
    let space = " ".repeat(READ_HERE_BYTES_MAX);
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,{space}"method":"chain_getHead"}}"#);
    // Both run on the one thread of the runtime: the second yields to the first.
    let answering = runtime.spawn(async move { gate.answer(message.into(), None).await });
    let other = runtime.spawn(async move {
        begun.notified().await;
        send.send(()).unwrap();
    });
    let answer = runtime.block_on(answering).unwrap().unwrap();
    assert_eq!(answer.as_error_code(), Some(ApiError::internal("").code));
    runtime.block_on(other).unwrap();
}

/// Bytes that record when they are freed.
struct Noted(Arc<AtomicBool>, Vec<u8>);

impl AsRef<[u8]> for Noted {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection and calls that none answers.
fn silent() -> (Gate<Silent>, Silent, ServerHandle) {
    let (stop, running) = jsonrpsee::server::stop_channel();
    let rules = Arc::new(Rules::new(Arc::new(Config::default()), false, stop));
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let seated = Arc::new(rules.seats.take(0, peer, Instant::now()).unwrap());
    let calls = Silent::default();
    let gate = Gate {
        rules,
        seated,
        calls: calls.clone(),
    };
    (gate, calls, running)
}

/// A call with so many bytes of white space.
fn call_with(space: usize) -> String {
    let space = " ".repeat(space);
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tx_wait",{space}"params":["0x"]}}"#)
}

#[tokio::test]
async fn the_message_of_a_call_is_freed_while_the_call_waits() {
    let (gate, calls, _running) = silent();
    for space in [0, READ_AT_ONCE_BYTES_MAX, READ_HERE_BYTES_MAX] {
        let freed = Arc::new(AtomicBool::new(false));
        let message = Bytes::from_owner(Noted(Arc::clone(&freed), call_with(space).into_bytes()));
        let mut answering = Box::pin(gate.answer(message, None));
        assert!((&mut answering).now_or_never().is_none(), "it waits");
        assert!(freed.load(Ordering::Relaxed), "with {space} bytes of white space");
    }
    assert_eq!(calls.0.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_message_of_some_kilobytes_is_read_in_its_turn_and_a_short_one_at_once() {
    let (gate, calls, _running) = silent();
    let begun = || calls.0.load(Ordering::Relaxed);
    let reading = gate
        .rules
        .reading
        .acquire_unread(Caller::NODE, &gate.seated)
        .await
        .unwrap();
    let message = call_with(READ_AT_ONCE_BYTES_MAX);
    let mut first = Box::pin(gate.answer(message.clone().into(), None));
    let mut second = Box::pin(gate.answer(message.into(), None));
    let mut short = Box::pin(gate.answer(call_with(0).into(), None));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    assert_eq!(begun(), 0, "another message is being read");
    assert!((&mut short).now_or_never().is_none());
    assert_eq!(begun(), 1, "the short one");
    drop(reading);
    assert!((&mut first).now_or_never().is_none());
    // The first is read and waits; it keeps no turn.
    assert!((&mut second).now_or_never().is_none());
    assert_eq!(begun(), 3);
}

#[tokio::test]
async fn a_connection_whose_message_waits_to_be_read_is_evicted_before_one_that_waits_for_a_block() {
    let (stop, _running) = jsonrpsee::server::stop_channel();
    let config = Config {
        connections_max: 2,
        ..Config::default()
    };
    let rules = Arc::new(Rules::new(Arc::new(config), false, stop));
    let take = |id: u32, last: u8| {
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        rules.seats.take(id, peer, Instant::now())
    };
    let waits = Arc::new(take(1, 1).unwrap());
    let _waiting = waits.wait().unwrap();
    let seated = Arc::new(take(2, 2).unwrap());
    seated.enter(Phase::Work);
    let gate = Gate {
        rules: Arc::clone(&rules),
        seated: Arc::clone(&seated),
        calls: Silent::default(),
    };
    let _reading = rules.reading.acquire_unread(Caller::NODE, &waits).await.unwrap();
    let mut unread = Box::pin(gate.answer(call_with(READ_AT_ONCE_BYTES_MAX).into(), None));
    assert!((&mut unread).now_or_never().is_none());
    assert!(take(3, 3).is_some());
    assert!(
        seated.closing().now_or_never().is_some(),
        "its place is another's"
    );
    assert!(waits.closing().now_or_never().is_none(), "the wait goes on");
}
