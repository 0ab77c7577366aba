//! Callers that cannot pay: refused before their messages are read, and answered less the longer they
//! continue.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::hostile::{LARGE, closed, frame, sent};
use super::{Answer, RawSocket, Served, expect_error, serve_with};
use crate::listener::DISCARDED_BYTES_MAX;
use crate::mock::MockBackend;
use crate::{AdminToken, Config, Rate, RpcServer};

const HEAD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"chain_getHead"}"#;
/// Bytes that the protocol reads ahead: some of its buffers.
const READ_AHEAD: u64 = 4 * 64 * 1024;
const MIB: usize = 1024 * 1024;

/// A budget that is not refilled while a test runs.
fn limited(burst: u32) -> Config {
    Config {
        rate: Some(Rate { per_second: 1, burst }),
        rate_exempts_loopback: false,
        ..Config::default()
    }
}

/// A server whose caller has used up exactly its `burst`.
async fn spent(burst: u32) -> Served {
    let served = serve_with(limited(burst)).await;
    // It is paid for, and is not JSON.
    let all = "x".repeat(burst as usize * 4096);
    expect_error(&served.post(&all).await.json(), -32700, "parse_error");
    served
}

fn received(served: &Served) -> u64 {
    served.server.seats().metrics().received_bytes.get()
}

/// Sends a request with a body of `bytes` until the server closes, and reads the answer meanwhile. Returns it with the
/// number of bytes that the server read.
async fn flood(served: &Served, headers: &str, bytes: usize) -> (Answer, u64) {
    let before = received(served);
    let head =
        format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\r\n\r\n");
    let (mut reader, mut writer) = served.connect().await.into_split();
    let writing = async {
        let chunk = "x".repeat(16 * 1024);
        let chunked = headers.contains("chunked");
        let chunk = if chunked {
            format!("4000\r\n{chunk}\r\n")
        } else {
            chunk
        };
        let mut whole = writer.write_all(head.as_bytes()).await.is_ok();
        for _ in 0..bytes / (16 * 1024) {
            whole = whole && writer.write_all(chunk.as_bytes()).await.is_ok();
        }
        if chunked && whole {
            let _ = writer.write_all(b"0\r\n\r\n").await;
        }
    };
    let reading = async {
        let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
        // A reset is a close, too.
        while let Ok(read @ 1..) = reader.read(&mut chunk).await {
            all.extend_from_slice(&chunk[..read]);
        }
        all
    };
    let ((), answer) = tokio::join!(writing, reading);
    (Answer::of(answer), received(served) - before)
}

/// The answer to a caller without a budget, behind which the connection is closed.
#[track_caller]
fn expect_refusal(answer: &Answer) {
    assert_eq!(answer.status, 429, "{}", answer.head);
    assert!(answer.head.contains("\r\nretry-after: "), "{}", answer.head);
    assert!(answer.head.contains("\r\nconnection: close"), "{}", answer.head);
    let error = answer.json();
    expect_error(&error, 1401, "rate_limited");
    assert_eq!(error["id"], Value::Null);
    assert!(error["error"]["data"]["retryAfterMs"].is_string(), "{error}");
}

#[tokio::test]
async fn a_debtor_is_answered_before_its_body_is_read() {
    let served = spent(100).await;
    let announced = format!("content-length: {}", 4 * MIB);
    let (answer, read) = flood(&served, &announced, 4 * MIB).await;
    expect_refusal(&answer);
    assert!(read <= DISCARDED_BYTES_MAX as u64 + READ_AHEAD, "{read} bytes");
    // A small call is read and refused by its id, on a connection that stays.
    let two = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{HEAD}",
        HEAD.len()
    )
    .repeat(2);
    let mut stream = sent(served.server.address(), two.as_bytes()).await;
    let mut answers = Vec::new();
    while String::from_utf8_lossy(&answers).matches("\"id\":1").count() < 2 {
        answers.push(stream.read_u8().await.unwrap());
    }
    assert!(answers.starts_with(b"HTTP/1.1 429"));
}

#[tokio::test]
async fn a_body_that_hides_its_length_is_read_as_far_as_it_is_paid_for() {
    let served = serve_with(limited(50)).await;
    let (answer, read) = flood(&served, "transfer-encoding: chunked", 4 * MIB).await;
    expect_refusal(&answer);
    let paid = 50 * 4096;
    assert!(read >= paid, "{read} bytes");
    assert!(
        read <= paid + DISCARDED_BYTES_MAX as u64 + READ_AHEAD,
        "{read} bytes"
    );
}

#[tokio::test]
async fn a_body_above_the_limit_is_thrown_away_as_far_as_it_is_paid_for() {
    let config = |burst| Config {
        request_bytes_max: 512 * 1024,
        ..limited(burst)
    };
    let announced = format!("content-length: {}", 2 * MIB);
    // Two MiB are 512 units.
    let served = serve_with(config(600)).await;
    let (answer, read) = flood(&served, &format!("{announced}\r\nconnection: close"), 2 * MIB).await;
    assert_eq!(answer.status, 413);
    assert!(read >= 2 * MIB as u64, "{read} bytes");
    let large = "x".repeat(100 * 4096);
    expect_error(&served.post(&large).await.json(), 1401, "rate_limited");

    let served = serve_with(config(50)).await;
    let (answer, read) = flood(&served, &announced, 2 * MIB).await;
    assert_eq!(answer.status, 413);
    assert!(answer.head.contains("\r\nconnection: close"), "{}", answer.head);
    expect_error(&answer.json(), -32007, "request_too_large");
    let paid = 50 * 4096;
    assert!(
        read <= paid + DISCARDED_BYTES_MAX as u64 + READ_AHEAD,
        "{read} bytes"
    );
}

#[tokio::test]
async fn a_body_far_above_the_limit_is_not_read_at_all() {
    let config = Config {
        request_bytes_max: 1000,
        ..Config::default()
    };
    let served = serve_with(config).await;
    let announced = format!("content-length: {}", 4 * MIB);
    let (answer, read) = flood(&served, &announced, 4 * MIB).await;
    assert_eq!(answer.status, 413);
    assert!(read <= DISCARDED_BYTES_MAX as u64 + READ_AHEAD, "{read} bytes");
}

#[tokio::test]
async fn a_debtor_that_goes_on_is_turned_away_before_it_has_a_seat() {
    let served = spent(20).await;
    let turned_away = || served.server.seats().metrics().debtors.get();
    let announced = format!("content-length: {MIB}");
    while turned_away() == 0 {
        expect_refusal(&flood(&served, &announced, MIB).await.0);
    }
    let before = received(&served);
    let answer = Answer::of(closed(served.connect().await).await);
    expect_refusal(&answer);
    assert_eq!(received(&served), before);
    assert!(turned_away() >= 2);
}

#[tokio::test]
async fn the_answer_to_a_caller_that_repeats_a_refused_call_is_held_back_and_its_seat_is_free() {
    let served = serve_with(Config {
        connections_max: 1,
        refused_pause: Duration::from_secs(3600),
        rate: Some(Rate {
            per_second: 0,
            burst: 20,
        }),
        ..limited(20)
    })
    .await;
    let call = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{HEAD}",
        HEAD.len()
    );
    let mut caller = served.connect().await;
    for status in [[200; 20].as_slice(), &[429; 9]].concat() {
        caller.write_all(call.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let is_whole = |answer: &str| {
            let parts = answer.split_once("\r\n\r\n");
            parts.is_some_and(|(head, body)| {
                head.lines()
                    .any(|line| line == format!("content-length: {}", body.len()))
            })
        };
        while !is_whole(&answer) {
            answer.push(char::from(caller.read_u8().await.unwrap()));
        }
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    // Its answer does not come before the end of the pause: a newcomer takes the seat instead.
    caller.write_all(call.as_bytes()).await.unwrap();
    let held_back = tokio::spawn(closed(caller));
    let mut newcomer = b"HTTP/1.1 429".to_vec();
    while newcomer.starts_with(b"HTTP/1.1 429") {
        let ask = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        newcomer = closed(sent(served.server.address(), ask).await).await;
    }
    assert!(
        newcomer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&newcomer)
    );
    let held_back = held_back.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&held_back), "");
}

#[tokio::test]
async fn the_operator_is_never_turned_away() {
    let token = AdminToken::new([7; 32]);
    let authorised = format!("authorization: Bearer {}", token.to_text());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = limited(1);
    let metrics = Arc::clone(&config.metrics);
    let node = Arc::new(MockBackend::new());
    let server = RpcServer::start_admin(listener, node, config, token).unwrap();
    let body = "x".repeat(8192);
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{authorised}\r\n\
         connection: close\r\ncontent-length: 8192\r\n\r\n{body}"
    );
    let mut last = 0;
    for _ in 0..40 {
        let answer = Answer::of(closed(sent(server.address(), request.as_bytes()).await).await);
        assert!(matches!(answer.status, 200 | 429), "{}", answer.head);
        last = answer.status;
    }
    assert_eq!(last, 429, "it is deep in debt");
    assert_eq!(metrics.debtors.get(), 0);
}

#[tokio::test]
async fn a_message_of_a_session_is_paid_for_by_its_header_and_a_large_one_ends_a_debtors_session() {
    let served = spent(1000).await;
    let mut socket = RawSocket::open(&served).await;
    // No byte of its text follows.
    let announced = [0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 0, 0, 0, 0];
    socket.0.write_all(&announced).await.unwrap();
    let error: Value = serde_json::from_str(&socket.receive().await).unwrap();
    expect_error(&error, 1401, "rate_limited");
    assert_eq!(error["id"], Value::Null);
    assert_eq!(closed(socket.0).await, [0x88, 2, 0x03, 0xf5], "1013");
}

#[tokio::test]
async fn a_small_message_of_a_debtor_is_thrown_away_and_its_session_goes_on() {
    let served = spent(1000).await;
    let mut socket = RawSocket::open(&served).await;
    let half = "x".repeat(5000);
    let unpaid = [
        frame(0x81, "x".repeat(40_000).as_bytes()),
        // In two fragments, of which the first already costs too much.
        frame(0x01, half.as_bytes()),
        frame(0x80, half.as_bytes()),
    ];
    socket.0.write_all(&unpaid.concat()).await.unwrap();
    socket.0.write_all(&frame(0x81, b"x")).await.unwrap();
    for _ in 0..3 {
        let error: Value = serde_json::from_str(&socket.receive().await).unwrap();
        expect_error(&error, 1401, "rate_limited");
    }
    // The start of the session is charged, and the discarded bytes: 1, 10 and 3 units.
    let wait = served.post(HEAD).await.json()["error"]["data"]["retryAfterMs"].clone();
    let wait: u64 = wait.as_str().unwrap().parse().unwrap();
    assert!((12_000..=16_001).contains(&wait), "{wait} ms");
}

#[tokio::test]
async fn a_session_throws_away_of_a_message_above_the_limit_what_is_paid_for() {
    let config = Config {
        message_bytes_max: 8192,
        ..limited(4)
    };
    let served = serve_with(config).await;
    let mut socket = RawSocket::open(&served).await;
    let large = frame(0x81, "x".repeat(60_000).as_bytes());
    socket.0.write_all(&large).await.unwrap();
    socket.0.write_all(&frame(0x88, &[])).await.unwrap();
    let error: Value = serde_json::from_str(&socket.receive().await).unwrap();
    expect_error(&error, -32007, "request_too_large");
    assert_eq!(closed(socket.0).await, [0x88, 2, 0x03, 0xf1], "1009");
}

#[tokio::test]
async fn others_are_answered_while_a_debtor_is_refused() {
    let served = spent(100).await;
    let announced = format!("content-length: {}", MIB);
    let flooding = async {
        for _ in 0..3 {
            expect_refusal(&flood(&served, &announced, MIB).await.0);
        }
    };
    let honest = async {
        for _ in 0..20 {
            // Health is free, and is requested from the debtor's address.
            assert_eq!(served.get("/livez").await.status, 200);
        }
    };
    tokio::join!(flooding, honest);
    assert!(served.post(LARGE).await.status == 429);
}

#[tokio::test]
async fn what_is_no_call_costs_a_unit_all_the_same() {
    for message in [
        "[1,1,1,1]",
        r#"[{"jsonrpc":"2.0","id":1,"method":"no_such"}]"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"no_such"}"#,
        r#"{"jsonrpc":"2.0","method":"chain_getHead"}"#,
        "{",
        "1",
    ] {
        let served = serve_with(limited(20)).await;
        let mut sent = 0;
        // Debts of notifications show at the next call.
        while served.post(HEAD).await.status == 200 {
            let _answered = served.post(message).await;
            sent += 1;
            assert!(sent <= 20, "{message} is free");
        }
    }
}

#[tokio::test]
async fn one_that_asks_for_health_without_a_pause_is_answered_and_then_kept_out() {
    let served = serve_with(Config {
        rate: Some(Rate {
            per_second: 0,
            burst: 10,
        }),
        ..limited(10)
    })
    .await;
    let ask = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let (mut stream, mut answered) = (served.connect().await, 0);
    loop {
        stream.write_all(ask).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        answered += 1;
        if String::from_utf8_lossy(&answer).contains("\r\nconnection: close") {
            break;
        }
        assert!(answered < 500, "no end");
    }
    assert!(answered > 60, "the budget and five times as much: {answered}");
    drop(stream);
    // Nothing of the next connection is read.
    let refused = closed(served.connect().await).await;
    assert!(refused.starts_with(b"HTTP/1.1 429"), "{refused:?}");
}

#[tokio::test]
async fn the_start_of_a_session_and_what_is_no_call_cost_a_unit() {
    let upgrade = "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let requests = [
        (101, upgrade),
        (200, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (404, "GET /none HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (405, "PUT / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (403, "GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n"),
        (
            415,
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
        ),
    ];
    // 15 of 20 units: the refill of a second is less than what a test may take.
    let body = "x".repeat(15 * 4096);
    for (status, request) in requests {
        let served = serve_with(limited(20)).await;
        for _ in 0..10 {
            let mut stream = sent(served.server.address(), request.as_bytes()).await;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            let expected = format!("HTTP/1.1 {status}");
            assert_eq!(String::from_utf8_lossy(&head), expected, "{request}");
        }
        let refused = served.post(&body).await;
        assert_eq!(refused.status, 429, "{request}");
    }
}

#[tokio::test]
async fn refused_entries_go_deeper_into_debt_and_end_a_session() {
    let served = spent(20).await;
    let mut socket = RawSocket::open(&served).await;
    // Below 4 KiB, so that its bytes cost nothing.
    let batch = format!("[{}]", [HEAD; 60].join(","));
    assert!(batch.len() < 4096);
    // Five full budgets are 100 units.
    for _ in 0..2 {
        socket.0.write_all(&frame(0x81, batch.as_bytes())).await.unwrap();
        let answers: Value = serde_json::from_str(&socket.receive().await).unwrap();
        expect_error(&answers[59], 1401, "rate_limited");
    }
    socket.0.write_all(&frame(0x81, batch.as_bytes())).await.unwrap();
    assert_eq!(closed(socket.0).await, [0x88, 2, 0x03, 0xf5], "1013");
}

/// Found in review: each chunk costs work, however small it is.
#[tokio::test]
async fn a_body_in_chunks_of_a_byte_is_refused_however_long_it_goes_on() {
    let served = serve_with(limited(1_000)).await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let before = received(&served);
    let (mut reader, mut writer) = served.connect().await.into_split();
    let writing = async {
        let mut whole = writer.write_all(head.as_bytes()).await.is_ok();
        for _ in 0..1_000 {
            whole = whole
                && writer
                    .write_all("1\r\n \r\n".repeat(1_000).as_bytes())
                    .await
                    .is_ok();
        }
    };
    let reading = async {
        let mut all = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut chunk).await {
            all.extend_from_slice(&chunk[..read]);
        }
        all
    };
    let ((), answer) = tokio::join!(writing, reading);
    let answer = Answer::of(answer);
    assert_eq!(answer.status, 400, "{}", answer.head);
    assert!(answer.body.contains("too small pieces"), "{}", answer.body);
    let read = received(&served) - before;
    assert!(read <= DISCARDED_BYTES_MAX as u64 + READ_AHEAD, "{read} bytes");
    // A body in chunks of a reasonable size is read, and so is a small one in any.
    for (chunk, count) in [(" ".repeat(64), 2_000), (" ".to_owned(), 200)] {
        let chunks = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(count);
        let call = format!("{:x}\r\n{HEAD}\r\n0\r\n\r\n", HEAD.len());
        let head = head.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let answer = served.raw(format!("{head}{chunks}{call}").as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert_eq!(answer.json()["result"]["height"], "0");
    }
}
