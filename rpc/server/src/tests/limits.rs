//! Every bound is reached over a real socket, and the server continues to serve.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Answer, RawSocket, expect_error, serve, serve_with};
use crate::{Config, Rate};

const HEAD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"chain_getHead"}"#;

#[tokio::test]
async fn a_10_mb_body_is_refused_with_413_and_the_server_goes_on() {
    let served = serve().await;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tx_submit","params":["0x{}"]}}"#,
        "0".repeat(10_000_000)
    );
    let answer = served.post(&body).await;
    assert_eq!(answer.status, 413);
    expect_error(&answer.json(), -32007, "request_too_large");
    assert_eq!(served.post(HEAD).await.status, 200);
}

#[tokio::test]
async fn a_body_that_hides_its_length_is_bounded_all_the_same() {
    let served = serve_with(Config {
        request_bytes_max: 1000,
        ..Config::default()
    })
    .await;
    let mut request = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        .to_owned();
    for _ in 0..20 {
        request.push_str(&format!("64\r\n{}\r\n", " ".repeat(100)));
    }
    request.push_str("0\r\n\r\n");
    assert_eq!(served.raw(request.as_bytes()).await.status, 413);
}

#[tokio::test]
async fn a_batch_of_1000_is_refused_and_one_of_100_is_answered_entry_by_entry() {
    let served = serve().await;
    let batch = |n: usize| format!("[{}]", vec![HEAD; n].join(","));
    let refused = served.post(&batch(1000)).await.json();
    expect_error(&refused, -32010, "batch_too_large");
    assert_eq!(served.post(&batch(101)).await.json()["error"]["code"], -32010);
    let answered = served.post(&batch(100)).await.json();
    let entries = answered.as_array().unwrap();
    assert_eq!(entries.len(), 100);
    assert!(
        entries.iter().all(|entry| entry["result"]["height"] == "0"),
        "{answered}"
    );
}

#[tokio::test]
async fn entries_of_a_batch_are_checked_each_by_itself() {
    let served = serve().await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "chain_getHead"},
        {"jsonrpc": "2.0", "id": 2, "method": "chain_getHead", "params": {"x": 1}},
        {"jsonrpc": "2.0", "id": 3, "method": "chain_gethead"},
        {"jsonrpc": "2.0", "method": "chain_getHead"},
        7,
    ]);
    let answer = served.post(&batch.to_string()).await.json();
    let entries = answer.as_array().unwrap();
    assert_eq!(entries.len(), 4, "a notification has no answer: {answer}");
    assert_eq!(entries[0]["result"]["height"], "0");
    expect_error(&entries[1], -32602, "unknown_parameter");
    expect_error(&entries[2], -32601, "method_not_found");
    expect_error(&entries[3], -32600, "invalid_request");
    expect_error(&served.post("[]").await.json(), -32600, "invalid_request");
}

#[tokio::test]
async fn deep_json_is_refused_wherever_it_stands() {
    let served = serve().await;
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let request =
        |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tx_getStatuses","params":{params}}}"#);
    expect_error(&served.post(&request(&deep(65))).await.json(), -32602, "too_deep");
    expect_error(
        &served.post(&request(&deep(200_000))).await.json(),
        -32602,
        "too_deep",
    );
    assert!(
        served
            .post(&deep(1_000_000))
            .await
            .json()
            .to_string()
            .contains("-32600")
    );
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    expect_error(&served.post(&request(&objects)).await.json(), -32602, "too_deep");
    assert_eq!(served.post(HEAD).await.status, 200);
}

fn head_with_id(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"chain_getHead"}}"#)
}

#[tokio::test]
async fn an_id_that_may_not_be_sent_back_is_refused_over_http() {
    let served = serve().await;
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let bad_ids = [
        format!("\"{}\"", "a".repeat(129)),
        format!("\"{}\"", "a".repeat(4_900_000)),
        deep(1),
        deep(200_000),
        "{}".to_owned(),
        "true".to_owned(),
        "-1".to_owned(),
        "1,\"id\":1".to_owned(),
    ];
    for id in &bad_ids {
        let answer = served.post(&head_with_id(id)).await;
        assert!(answer.body.len() < 300, "{}", answer.body);
        expect_error(&answer.json(), -32600, "invalid_request");
        assert!(answer.json()["id"].is_null());
        let batch = format!("[{HEAD},{}]", head_with_id(id));
        let answer = served.post(&batch).await.json();
        assert_eq!(answer[0]["result"]["height"], "0");
        expect_error(&answer[1], -32600, "invalid_request");
        assert!(answer[1]["id"].is_null());
    }
    for id in [json!("a".repeat(128)), json!(u64::MAX), json!(null)] {
        let answer = served.post(&head_with_id(&id.to_string())).await.json();
        assert_eq!((&answer["id"], &answer["result"]["height"]), (&id, &json!("0")));
    }
}

#[tokio::test]
async fn what_is_no_request_and_what_is_deep_beside_the_parameters_is_refused_with_a_reason() {
    let served = serve().await;
    let deep = "[".repeat(65) + &"]".repeat(65);
    for members in [
        r#""id":1"#.to_owned(),
        r#""id":1,"jsonrpc":"1.0","method":"chain_getHead""#.to_owned(),
        r#""id":1,"jsonrpc":"2.0","method":7"#.to_owned(),
        r#""id":1,"jsonrpc":"2.0","method":"chain_getHead","method":"chain_getHead""#.to_owned(),
    ] {
        let answer = served.post(&format!("{{{members}}}")).await.json();
        expect_error(&answer, -32600, "invalid_request");
    }
    let beside = format!(r#"{{"id":1,"jsonrpc":"2.0","method":"chain_getHead","more":{deep}}}"#);
    let answer = served.post(&beside).await.json();
    expect_error(&answer, -32602, "too_deep");
    assert_eq!(answer["id"], 1, "{answer}");
    let notification = served.post(r#"{"jsonrpc":"2.0","method":"chain_getHead"}"#).await;
    assert_eq!(notification.status, 200);
}

#[tokio::test]
async fn a_long_id_is_not_sent_back_over_websocket_and_a_long_message_is_refused() {
    let served = serve().await;
    let mut socket = RawSocket::open(&served).await;
    let long = head_with_id(&format!("\"{}\"", "a".repeat(1_000_000)));
    for _ in 0..120 {
        socket.send(&long).await;
    }
    for _ in 0..120 {
        let answer = socket.receive().await;
        assert!(answer.len() < 300, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        expect_error(&answer, -32600, "invalid_request");
        assert!(answer["id"].is_null());
    }
    socket.send(&format!("[{HEAD},{long}]")).await;
    let answer: Value = serde_json::from_str(&socket.receive().await).unwrap();
    assert_eq!(answer[0]["result"]["height"], "0");
    expect_error(&answer[1], -32600, "invalid_request");
    socket.send(&" ".repeat(1024 * 1024 + 1)).await;
    let answer: Value = serde_json::from_str(&socket.receive().await).unwrap();
    assert_eq!(answer["error"]["code"], -32007);
    assert_eq!(answer["error"]["data"]["requestBytesMax"], "1048576", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("WebSocket message"), "{message}");
}

#[tokio::test]
async fn what_is_no_json_is_a_parse_error() {
    let served = serve().await;
    for bad in ["", "x", "[1,", "\u{0}"] {
        let answer = served.post(bad).await;
        assert_eq!(answer.json()["error"]["code"], -32700, "{bad:?}");
    }
}

#[tokio::test]
async fn unknown_methods_and_parameters_are_named() {
    let served = serve().await;
    let unknown = served.call("chain_getBlok", json!([])).await;
    expect_error(&unknown, -32601, "method_not_found");
    assert!(
        unknown["error"]["message"]
            .as_str()
            .unwrap()
            .contains("chain_getBlok")
    );
    let typo = served.call("account_getBalance", json!({"adress": "x"})).await;
    expect_error(&typo, -32602, "unknown_parameter");
    assert_eq!(typo["error"]["data"]["parameter"], "adress");
    for options in [json!({"option": 1}), json!({"at": 1, "hight": 2})] {
        let inside = served.call("account_getBalance", json!(["x", options])).await;
        expect_error(&inside, -32602, "unknown_parameter");
        let named = inside["error"]["data"]["parameter"].as_str();
        assert!(matches!(named, Some("option" | "hight")), "{inside}");
    }
    expect_error(
        &served.call("account_getBalance", json!({})).await,
        -32602,
        "invalid_params",
    );
    expect_error(
        &served.call("account_getBalance", json!([7])).await,
        -32602,
        "invalid_params",
    );
    expect_error(
        &served.call("chain_getHead", json!([1])).await,
        -32602,
        "too_many_params",
    );
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"account_get","params":{"address":"a","address":"b"}}"#;
    expect_error(&served.post(twice).await.json(), -32602, "repeated_parameter");
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused() {
    let served = serve().await;
    for (host, status) in [("evil.example", 403), ("localhost:1", 200), ("127.0.0.1", 200)] {
        let request = format!("GET /livez HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(served.raw(request.as_bytes()).await.status, status, "{host}");
    }
    let missing = "POST / HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(served.raw(missing.as_bytes()).await.status, 403);
    let named = serve_with(Config {
        hosts: vec!["node.example".to_owned()],
        ..Config::default()
    })
    .await;
    let request = "GET /livez HTTP/1.1\r\nhost: node.example:8645\r\nconnection: close\r\n\r\n";
    assert_eq!(named.raw(request.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn pages_of_strangers_can_neither_call_nor_connect() {
    let served = serve().await;
    let post = |origin: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{HEAD}",
            HEAD.len()
        )
    };
    assert_eq!(
        served.raw(post("http://evil.example").as_bytes()).await.status,
        403
    );
    let own = served.raw(post("http://localhost").as_bytes()).await;
    assert_eq!(own.status, 200);
    let upgrade = "GET / HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\nupgrade: websocket\r\n\
        connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut stream = served.connect().await;
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 403");
    let preflight =
        "OPTIONS / HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n";
    let answer = served.raw(preflight.as_bytes()).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.head.contains("access-control"), "{}", answer.head);
    let listed = serve_with(Config {
        origins: vec!["http://good.example".to_owned()],
        ..Config::default()
    })
    .await;
    let answer = listed.raw(post("http://good.example").as_bytes()).await;
    assert!(
        answer
            .head
            .contains("access-control-allow-origin: http://good.example"),
        "{}",
        answer.head
    );
}

#[tokio::test]
async fn connections_above_the_limit_are_turned_away_and_a_free_seat_is_taken_again() {
    let served = serve_with(Config {
        connections_max: 2,
        ..Config::default()
    })
    .await;
    let first = served.ws().await;
    let second = served.ws().await;
    assert_eq!(Answer::read(served.connect().await).await.status, 429);
    assert_eq!(Answer::read(served.connect().await).await.status, 429);
    drop(first);
    // The seat is free when the server has noticed: retried until then.
    let mut status = 429;
    for _ in 0..1000 {
        let mut stream = served.connect().await;
        let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        if stream.write_all(request).await.is_ok() {
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).await.is_ok() && bytes.starts_with(b"HTTP/1.1 200") {
                status = 200;
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(status, 200);
    drop(second);
}

#[tokio::test]
async fn every_entry_of_a_batch_is_paid_for_and_an_empty_budget_answers_429() {
    let rate = Some(Rate {
        per_second: 1,
        burst: 5,
    });
    let served = serve_with(Config {
        rate,
        rate_exempts_loopback: false,
        ..Config::default()
    })
    .await;
    let batch = format!("[{}]", [HEAD; 8].join(","));
    let answer = served.post(&batch).await;
    assert_eq!(answer.status, 200, "some were answered");
    let json = answer.json();
    let entries = json.as_array().unwrap();
    assert!(
        entries[..5].iter().all(|entry| entry["result"].is_object()),
        "{json}"
    );
    for entry in &entries[5..] {
        expect_error(entry, 1401, "rate_limited");
        assert_eq!(entry["error"]["data"]["retryable"], true);
    }
    let single = served.post(HEAD).await;
    assert_eq!(single.status, 429);
    assert!(single.head.contains("retry-after: "), "{}", single.head);
    expect_error(&single.json(), 1401, "rate_limited");
    assert_eq!(served.post(&batch).await.status, 429, "none was answered");
    assert_eq!(served.get("/livez").await.status, 200, "health costs nothing");
}

#[tokio::test]
async fn an_answer_above_the_limit_becomes_an_error() {
    let served = serve_with(Config {
        response_bytes_max: 2000,
        ..Config::default()
    })
    .await;
    let single = served.call("rpc.discover", json!([])).await;
    assert_eq!(single["error"]["code"], -32008, "{single}");
    let batch = format!("[{}]", [HEAD; 50].join(","));
    assert_eq!(served.post(&batch).await.json()["error"]["code"], -32011);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let served = serve_with(Config {
        call_timeout: Duration::from_millis(50),
        ..Config::default()
    })
    .await;
    let half_head = served.raw(b"POST / HTTP/1.1\r\nhost: localhost\r\n").await;
    assert!([0, 408].contains(&half_head.status), "{}", half_head.head);
    let half_body = served
        .raw(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        .await;
    assert_eq!(half_body.status, 408);
}

#[tokio::test]
async fn health_is_told_over_plain_http() {
    let served = serve().await;
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(served.get(path).await.status, 200, "{path}");
    }
    served.node.set_ready(false);
    assert_eq!(served.get("/livez").await.status, 200, "alive, though not ready");
    for path in ["/readyz", "/health"] {
        assert_eq!(served.get(path).await.status, 503, "{path}");
    }
    let verbose: Value = served.get("/readyz?verbose").await.json();
    assert_eq!(verbose["checks"][0]["name"], "database");
    assert_eq!(served.get("/nothing").await.status, 404);
    assert_eq!(served.get("/").await.status, 405);
}

#[tokio::test]
async fn a_namespace_that_is_off_does_not_exist() {
    let config = Config {
        namespaces: vec!["chain".to_owned()],
        ..Config::default()
    };
    let served = serve_with(config).await;
    assert!(served.call("chain_getHead", json!([])).await["result"].is_object());
    expect_error(
        &served.call("node_getStatus", json!([])).await,
        -32601,
        "method_not_found",
    );
    let methods = served.call("rpc_getMethods", json!([])).await;
    let names: Vec<&str> = methods["result"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("chain_") || name.starts_with("rpc")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_stopped_server_takes_no_connection() {
    let served = serve().await;
    let address = served.server.address();
    assert_eq!(served.post(HEAD).await.status, 200);
    served.server.stop(Duration::from_secs(5)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
