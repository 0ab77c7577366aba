//! One path for every transport: the same message has the same answer over HTTP and over WebSocket.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::hostile::{closed, frame};
use super::{RawSocket, Served, expect_error, serve, serve_with};
use crate::Config;

const LAST: &str = r#"{"jsonrpc":"2.0","id":"the last one","method":"chain_getHead"}"#;

/// A server and a session with it.
struct Both {
    served: Served,
    socket: RawSocket,
}

impl Both {
    async fn start() -> Self {
        let served = serve().await;
        let socket = RawSocket::open(&served).await;
        Self { served, socket }
    }

    /// Sends a message both ways and returns the common answer: one value, or `None` for no byte.
    async fn answer(&mut self, message: impl AsRef<[u8]>) -> Option<Value> {
        let message = message.as_ref();
        let shown = String::from_utf8_lossy(message).into_owned();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            message.len()
        );
        let http = self.served.raw(&[head.as_bytes(), message].concat()).await;
        assert_eq!(http.status, 200, "{shown}: {}", http.body);
        let http = (!http.body.is_empty()).then(|| http.json());

        // Everything in front of the answer to a second message is the answer to the first.
        self.socket.0.write_all(&frame(0x81, message)).await.unwrap();
        self.socket.send(LAST).await;
        let mut answers = Vec::new();
        loop {
            let answer: Value = serde_json::from_str(&self.socket.receive().await).unwrap();
            if answer["id"] == "the last one" {
                break;
            }
            answers.push(answer);
        }
        assert!(answers.len() <= 1, "{shown}: {answers:?}");
        assert_eq!(http, answers.pop(), "{shown}");
        http
    }

    /// Checks both answers: for each request its id, and the code of an error or 0.
    async fn check(&mut self, message: impl AsRef<[u8]>, expected: Value) {
        let shown = String::from_utf8_lossy(message.as_ref()).into_owned();
        let one = |answer: &Value| {
            assert_eq!(answer["jsonrpc"], "2.0", "{shown}: {answer}");
            let code = answer["error"]["code"].as_i64().unwrap_or(0);
            if code != 0 {
                let data = &answer["error"]["data"];
                assert!(
                    data["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
                    "{answer}"
                );
                assert!(data["retryable"].is_boolean(), "{answer}");
            }
            json!([answer["id"], code])
        };
        let answer = self.answer(message).await;
        let got = match &answer {
            None => Value::Null,
            Some(Value::Array(answers)) => answers.iter().map(one).collect(),
            Some(answer) => json!({ "one": one(answer) }),
        };
        assert_eq!(got, expected, "{shown}: {answer:?}");
    }
}

/// The examples of the specification (jsonrpc.org/specification, section 7), with methods of this
/// interface.
#[tokio::test]
async fn the_examples_of_the_specification_are_answered_as_it_says() {
    let mut both = Both::start().await;
    let one = |id: Value, code: i64| json!({ "one": [id, code] });
    // Positional and named parameters, in any order.
    for (params, id) in [
        (json!(["genesis"]), 1),
        (json!(["latest"]), 2),
        (json!({"block": "genesis"}), 3),
        (json!({"transactions": "none", "block": "genesis"}), 4),
    ] {
        let call = json!({"jsonrpc": "2.0", "method": "chain_getBlock", "params": params, "id": id});
        both.check(call.to_string(), one(json!(id), 0)).await;
    }
    // Notifications.
    for silent in [
        r#"{"jsonrpc": "2.0", "method": "chain_getHead", "params": [1,2,3,4,5]}"#,
        r#"{"jsonrpc": "2.0", "method": "foobar"}"#,
        r#"[{"jsonrpc": "2.0", "method": "chain_getHead"},{"jsonrpc": "2.0", "method": "foobar"}]"#,
    ] {
        both.check(silent, Value::Null).await;
    }
    both.check(
        r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
        one(json!("1"), -32601),
    )
    .await;
    both.check(
        r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
        one(Value::Null, -32700),
    )
    .await;
    both.check(
        r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
        one(Value::Null, -32600),
    )
    .await;
    both.check(
        r#"[{"jsonrpc": "2.0", "method": "chain_getHead", "id": "1"}, {"jsonrpc": "2.0", "method""#,
        one(Value::Null, -32700),
    )
    .await;
    both.check("[]", one(Value::Null, -32600)).await;
    both.check("[1]", json!([[null, -32600]])).await;
    both.check("[1,2,3]", json!([[null, -32600], [null, -32600], [null, -32600]]))
        .await;
    both.check(
        r#"[
        {"jsonrpc": "2.0", "method": "chain_getHeader", "params": ["genesis"], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "chain_getHeader", "params": ["latest"], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "chain_getHead", "id": "9"}
        ]"#,
        json!([["1", 0], ["2", 0], [null, -32600], ["5", -32601], ["9", 0]]),
    )
    .await;
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_same_words_everywhere() {
    let mut both = Both::start().await;
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let call = |members: &str| format!(r#"{{"jsonrpc":"2.0","method":"chain_getHead",{members}}}"#);
    for (message, reason) in [
        (String::new(), "parse_error"),
        ("not json".to_owned(), "parse_error"),
        ("7".to_owned(), "invalid_request"),
        (call(r#""id":-1"#), "invalid_request"),
        (call(r#""id":1.5"#), "invalid_request"),
        (call(r#""id":[]"#), "invalid_request"),
        (call(&format!(r#""id":"{}""#, "a".repeat(129))), "invalid_request"),
        (call(r#""id":1,"id":2"#), "invalid_request"),
        (call(&format!(r#""id":1,"more":{}"#, deep(65))), "too_deep"),
        (call(&format!(r#""id":1,"params":{}"#, deep(65))), "too_deep"),
        (call(r#""id":1,"params":{"x":1}"#), "unknown_parameter"),
        (call(r#""id":1,"params":[1]"#), "too_many_params"),
        (call(r#""id":1,"params":"x""#), "invalid_params"),
        (
            r#"{"jsonrpc":"2.0","method":"account_get","id":1}"#.to_owned(),
            "invalid_params",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"account_get","id":1,"params":[7]}"#.to_owned(),
            "invalid_params",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"nothing","id":1}"#.to_owned(),
            "method_not_found",
        ),
        (format!("[{}]", vec!["1"; 101].join(",")), "batch_too_large"),
    ] {
        let answer = both.answer(&message).await.expect(&message);
        assert_eq!(answer["error"]["data"]["reason"], reason, "{message}: {answer}");
        if reason == "invalid_request" {
            assert_eq!(answer["error"]["code"], -32600, "{message}: {answer}");
            assert_eq!(answer.get("id"), Some(&Value::Null), "{message}: {answer}");
        }
    }
    let bytes = both
        .answer(b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\"}")
        .await
        .unwrap();
    expect_error(&bytes, -32700, "parse_error");
}

/// Errors of the library have the form of the interface, too.
#[tokio::test]
async fn an_answer_that_is_too_large_says_so_in_one_form() {
    let served = serve_with(Config {
        response_bytes_max: 2000,
        ..Config::default()
    })
    .await;
    let socket = RawSocket::open(&served).await;
    let mut both = Both { served, socket };
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#;
    let single = both.answer(discover).await.unwrap();
    expect_error(&single, -32008, "response_too_large");
    let batch = format!("[{}]", [LAST.replace("the last one", "x").as_str(); 50].join(","));
    let batch = both.answer(batch).await.unwrap();
    expect_error(&batch, -32011, "batch_response_too_large");
}

#[tokio::test]
async fn a_subscription_has_one_answer_and_it_comes_first() {
    let served = serve().await;
    served.node.produce(3);
    let mut socket = RawSocket::open(&served).await;
    let (mut subscriptions, mut followed) = (Vec::new(), Vec::new());
    let mut ask = async |message: Value| -> Value {
        socket.send(&message.to_string()).await;
        socket.send(LAST).await;
        let mut answers = Vec::new();
        loop {
            let answer: Value = serde_json::from_str(&socket.receive().await).unwrap();
            match answer["id"].as_str() {
                Some("the last one") => break,
                // Events follow the answer that names their subscription.
                None if answer["method"] == "sub_event" => {
                    let subscription = answer["params"]["subscription"].clone();
                    assert!(subscriptions.contains(&subscription), "{answer}");
                    followed.push(subscription);
                }
                _ => {
                    let batch = answer.as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
                    subscriptions.extend(batch.iter().map(|answer| answer["result"].clone()));
                    answers.push(answer);
                }
            }
        }
        assert_eq!(answers.len(), 1, "{message}: {answers:?}");
        answers.remove(0)
    };
    let call =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    for bad in [
        json!([1]),
        json!(["nothing"]),
        json!([]),
        json!(["blocks", 7]),
        json!(["blocks", null, -1]),
    ] {
        expect_error(&ask(call("sub_subscribe", bad)).await, -32602, "invalid_params");
    }
    let future = ask(call("sub_subscribe", json!(["blocks", null, 5]))).await;
    expect_error(&future, 1101, "height_in_future");
    assert_eq!(future["error"]["data"]["head"], "3");
    for good in [json!(["blocks", null, 0]), json!(["blocks", null, 4])] {
        let answer = ask(call("sub_subscribe", good)).await;
        assert!(answer["result"].is_u64(), "{answer}");
        let ended = ask(call("sub_unsubscribe", json!([answer["result"]]))).await;
        assert_eq!(ended["result"], true, "{ended}");
    }
    for bad in [json!([{}]), json!([[1]]), json!([-1]), json!([])] {
        expect_error(&ask(call("sub_unsubscribe", bad)).await, -32602, "invalid_params");
    }
    // Entries of a batch are answered in the batch alone.
    let batch = json!([
        call("sub_subscribe", json!([1])),
        call("sub_subscribe", json!(["headers", null, 0])),
        call("chain_getHead", json!([])),
    ]);
    let batch = ask(batch).await;
    expect_error(&batch[0], -32602, "invalid_params");
    assert!(
        batch[1]["result"].is_u64() && batch[2]["result"].is_object(),
        "{batch}"
    );
    while followed.last() != Some(&batch[1]["result"]) {
        let event: Value = serde_json::from_str(&socket.receive().await).unwrap();
        followed.push(event["params"]["subscription"].clone());
    }
}

#[tokio::test]
async fn http_says_that_subscriptions_need_a_websocket() {
    let served = serve().await;
    for (method, params) in [
        ("sub_subscribe", json!({"topic": "blocks"})),
        ("sub_unsubscribe", json!([7])),
    ] {
        expect_error(&served.call(method, params).await, -32601, "websocket_only");
    }
}

/// Reads a session to its end: the texts, and the code that it was closed with.
async fn to_the_end(socket: RawSocket) -> (Vec<Value>, Option<u16>) {
    let bytes = closed(socket.0).await;
    let (mut rest, mut texts, mut code) = (bytes.as_slice(), Vec::new(), None);
    while let [kind, length, after @ ..] = rest {
        let (length, after) = match length {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            127 => panic!("no message is that long"),
            length => (usize::from(*length), after),
        };
        let (payload, after) = after.split_at(length);
        match kind {
            0x81 => texts.push(serde_json::from_slice(payload).unwrap()),
            0x88 => code = Some(u16::from_be_bytes([payload[0], payload[1]])),
            _ => {}
        }
        rest = after;
    }
    (texts, code)
}

#[tokio::test]
async fn a_server_that_stops_ends_each_subscription_with_a_last_event_and_closes_with_1001() {
    let served = serve().await;
    served.node.produce(2);
    let mut socket = RawSocket::open(&served).await;
    for from in [0, 3] {
        let ask = json!({"jsonrpc": "2.0", "id": from, "method": "sub_subscribe", "params":
            {"topic": "headers", "fromHeight": from}});
        socket.send(&ask.to_string()).await;
    }
    // A call that waits for a block ends, too.
    let wait = json!({"jsonrpc": "2.0", "id": "wait", "method": "tx_wait", "params":
        [format!("0x{}", "11".repeat(32)), {"timeoutMs": 30_000}]});
    socket.send(&wait.to_string()).await;
    let mut seen = Vec::new();
    // Two answers and three events; then nothing more is sent.
    while seen.len() < 5 {
        let text: Value = serde_json::from_str(&socket.receive().await).unwrap();
        seen.push(text);
    }
    let idle = RawSocket::open(&served).await;
    let stopping = served.server.stop(Duration::from_secs(20));
    let ((), (texts, code), (no_texts, idle_code)) =
        tokio::join!(stopping, to_the_end(socket), to_the_end(idle));
    assert_eq!((code, idle_code, no_texts), (Some(1001), Some(1001), Vec::new()));
    let (events, answers): (Vec<_>, Vec<_>) = texts.iter().partition(|text| text["id"].is_null());
    assert_eq!(answers.len(), 1, "{texts:?}");
    expect_error(answers[0], 1204, "shutting_down");
    assert_eq!(events.len(), 2, "{texts:?}");
    for event in events {
        let event = &event["params"]["result"];
        assert_eq!(event["closed"], "shutdown", "{event}");
        assert_eq!(event["resumeFrom"], "3", "{event}");
    }
}
