//! Unauthenticated peers that hold connections: each is closed in time, and honest calls are served
//! meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::hostile::{HTTP2, LARGE, closed, drip, frame, sent};
use super::{Answer, RawSocket, Served, expect_error, serve_with};
use crate::metrics::{Closed, RpcMetrics};
use crate::mock::MockBackend;
use crate::prometheus::MetricsServer;
use crate::{AdminToken, Config, RpcServer};

const NEVER: Duration = Duration::from_secs(24 * 3600);
const SOON: Duration = Duration::from_millis(40);
const GET: &str = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n";

/// No deadline is ever reached: every close has another reason.
fn patient() -> Config {
    Config {
        first_byte_timeout: NEVER,
        header_timeout: NEVER,
        body_timeout: NEVER,
        idle_timeout: NEVER,
        write_timeout: NEVER,
        call_timeout: NEVER,
        ping_interval: NEVER,
        connections_max: 8,
        websockets_max: 6,
        ..Config::default()
    }
}

/// The three listeners of a node.
struct Listeners {
    public: RpcServer,
    admin: RpcServer,
    metrics: MetricsServer,
    counted: Arc<RpcMetrics>,
}

impl Listeners {
    async fn start(config: Config) -> Self {
        let node = Arc::new(MockBackend::new());
        let port = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (public, admin, metrics) = (port().await, port().await, port().await);
        let token = AdminToken::new([7; 32]);
        Self {
            public: RpcServer::start(public, Arc::clone(&node), config.clone()).unwrap(),
            admin: RpcServer::start_admin(admin, node, config.clone(), token).unwrap(),
            metrics: MetricsServer::start(metrics, &config, Arc::new(|| "# EOF\n".to_owned())).unwrap(),
            counted: config.metrics,
        }
    }

    fn addresses(&self) -> [SocketAddr; 3] {
        [
            self.public.address(),
            self.admin.address(),
            self.metrics.address(),
        ]
    }
}

/// Any answer to a whole request counts: the listeners differ in what they allow.
async fn is_answered(address: SocketAddr) -> bool {
    let request = format!("{GET}connection: close\r\n\r\n");
    let answer = Answer::read(sent(address, request.as_bytes()).await).await;
    matches!(answer.status, 200 | 401 | 404)
}

#[tokio::test]
async fn http2_is_refused_at_once_on_each_listener() {
    let listeners = Listeners::start(patient()).await;
    for address in listeners.addresses() {
        let said = closed(sent(address, HTTP2).await).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{said:?}");
        assert!(is_answered(address).await);
    }
}

#[tokio::test]
async fn hundreds_of_silent_slow_and_foreign_sockets_take_no_seat_from_a_call() {
    const SLOW_BODY: &[u8] = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n{";
    let config = patient();
    let (rounds, seats_max) = (70, config.connections_max as usize);
    let listeners = Listeners::start(config).await;
    let evicted = || listeners.counted.closed.at(Closed::Evicted).get() as usize;
    // The public listener waits for the body of any POST. The others refuse this one by its header and close
    // it, and all close HTTP/2: what remains has to be evicted.
    for (address, staying) in listeners.addresses().into_iter().zip([3, 2, 2]) {
        let (before, mut held) = (evicted(), Vec::new());
        for round in 0..rounds {
            for bytes in [&b""[..], b"P", SLOW_BODY, HTTP2] {
                held.push((round, sent(address, bytes).await));
            }
            assert!(is_answered(address).await, "round {round}");
        }
        let mut open = held.len();
        let mut closing: JoinSet<_> = held
            .into_iter()
            .map(async |(round, stream)| {
                closed(stream).await;
                round
            })
            .collect();
        // All but those with a seat have been closed, though no deadline was reached.
        let mut open_of_round = vec![open / rounds; rounds];
        while open > seats_max {
            open_of_round[closing.join_next().await.unwrap().unwrap()] -= 1;
            open -= 1;
        }
        // The oldest went first: at least two sockets of each of the last rounds fill the seats.
        let old = &open_of_round[..rounds - seats_max / 2];
        assert!(old.iter().all(|open| *open == 0), "{open_of_round:?}");
        assert!(evicted() - before >= staying * rounds - seats_max);
    }
    assert_eq!(listeners.counted.turned_away.get(), 0);
}

#[tokio::test]
async fn a_connection_that_was_answered_keeps_its_seat_against_silent_ones() {
    let served = serve_with(patient()).await;
    let ask = format!("{GET}\r\n");
    let mut honest = served.connect().await;
    for _ in 0..50 {
        honest.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut honest, &mut answer)
            .await
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
        drain(&mut honest, b"nothing here\n").await;
        let silent: Vec<_> = futures_util::future::join_all((0..6).map(|_| served.connect())).await;
        drop(silent);
    }
}

/// Reads to the end of a body that is known.
async fn drain(stream: &mut tokio::net::TcpStream, end: &[u8]) {
    let mut all = Vec::new();
    while !all.ends_with(end) {
        all.push(tokio::io::AsyncReadExt::read_u8(stream).await.unwrap());
    }
}

#[tokio::test]
async fn every_wait_for_a_caller_has_a_deadline_on_each_listener() {
    let whole = format!("{GET}\r\n");
    let cases: [(&str, Config, &[u8], Closed); 3] = [
        (
            "first byte",
            Config {
                first_byte_timeout: SOON,
                ..patient()
            },
            b"",
            Closed::Silent,
        ),
        (
            "header",
            Config {
                header_timeout: SOON,
                ..patient()
            },
            b"GET / HT",
            Closed::SlowRequest,
        ),
        (
            "idle",
            Config {
                idle_timeout: SOON,
                ..patient()
            },
            whole.as_bytes(),
            Closed::Idle,
        ),
    ];
    for (what, config, bytes, why) in cases {
        let listeners = Listeners::start(config).await;
        for address in listeners.addresses() {
            closed(sent(address, bytes).await).await;
        }
        assert_eq!(listeners.counted.closed.at(why).get(), 3, "{what}");
    }
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_extend_a_deadline() {
    let config = Config {
        header_timeout: SOON,
        body_timeout: SOON,
        ..patient()
    };
    let listeners = Listeners::start(config).await;
    for address in listeners.addresses() {
        drip(sent(address, b"GET /a").await, b'a').await;
    }
    assert_eq!(listeners.counted.closed.at(Closed::SlowRequest).get(), 3);
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        content-length: 9999\r\n\r\n";
    drip(sent(listeners.public.address(), head.as_bytes()).await, b' ').await;
}

/// Waits until a count is reached.
async fn reaches(metrics: &RpcMetrics, why: Closed, count: u64) {
    while metrics.closed.at(why).get() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_caller_that_never_reads_its_answer_is_closed_and_its_bytes_are_freed() {
    let config = Config {
        write_timeout: SOON,
        ..patient()
    };
    let metrics = Arc::clone(&config.metrics);
    let served = serve_with(config).await;
    let body = format!("[{}]", [LARGE; 100].join(","));
    let post = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // One after the other, until the buffers of the kernel are full.
    let _stream = sent(served.server.address(), post.repeat(20).as_bytes()).await;
    reaches(&metrics, Closed::SlowReader, 1).await;
    freed(&served).await;
}

/// Waits until nothing is held in memory.
async fn freed(served: &Served) {
    while served.server.seats().held() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_session_that_never_reads_holds_bounded_bytes_until_it_is_closed() {
    let config = Config {
        write_timeout: Duration::from_millis(200),
        websocket_held_bytes_max: 256 * 1024,
        ..patient()
    };
    let metrics = Arc::clone(&config.metrics);
    let served = serve_with(config).await;
    let answer_bytes = served.post(LARGE).await.body.len();
    let mut socket = RawSocket::open(&served).await;
    let ask = frame(0x81, LARGE.as_bytes());
    // Enough answers for hundreds of megabytes; the server stops reading long before.
    let asking = async {
        for _ in 0..10_000 {
            if socket.0.write_all(&ask).await.is_err() {
                return;
            }
        }
    };
    let most = std::cell::Cell::new(0);
    let watching = async {
        while metrics.closed.at(Closed::SlowReader).get() == 0 {
            most.set(most.get().max(served.server.seats().held()));
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(watching, async {
        tokio::select! {
            () = asking => {}
            () = reaches(&metrics, Closed::SlowReader, 1) => {}
        }
    });
    let bound = 256 * 1024 + 2 * answer_bytes + 64 * 1024;
    assert!(
        most.get() > 128 * 1024 && most.get() <= bound,
        "{} of {bound}",
        most.get()
    );
    freed(&served).await;
}

#[tokio::test]
async fn subscriptions_that_are_never_read_hold_a_part_of_what_their_session_may() {
    let config = Config {
        write_timeout: Duration::from_millis(200),
        stall_timeout: NEVER,
        ..patient()
    };
    let (metrics, sessions, all) = (
        Arc::clone(&config.metrics),
        Config::default().websockets_max as usize,
        config.held_bytes_max,
    );
    let served = serve_with(config).await;
    // 24 times a thousand blocks: what the kernel does not buffer is more than a session may hold.
    served.node.produce(1000);
    let mut socket = RawSocket::open(&served).await;
    for id in 0..24 {
        let ask = json!({"jsonrpc": "2.0", "id": id, "method": "sub_subscribe", "params":
            {"topic": "blocks", "fromHeight": "0"}});
        socket.send(&ask.to_string()).await;
    }
    let mut most = 0;
    while metrics.closed.at(Closed::SlowReader).get() == 0 {
        most = most.max(served.server.seats().held());
        tokio::task::yield_now().await;
    }
    assert!(most > 64 * 1024, "{most}");
    assert!(
        most * sessions < all,
        "{most} bytes, and {sessions} sessions there may be"
    );
    freed(&served).await;
}

#[tokio::test]
async fn sessions_that_never_read_are_closed_when_all_hold_too_much_and_others_go_on() {
    let config = Config {
        held_bytes_max: 1024 * 1024,
        websocket_held_bytes_max: 512 * 1024,
        ..patient()
    };
    let metrics = Arc::clone(&config.metrics);
    let served = serve_with(config).await;
    let mut honest = RawSocket::open(&served).await;
    let mut asking = JoinSet::new();
    for _ in 0..5 {
        let mut socket = RawSocket::open(&served).await;
        // It sends requests until it is closed: the number of answers that the kernel buffers before the
        // server holds any differs from machine to machine.
        asking.spawn(async move {
            let ask = frame(0x81, LARGE.as_bytes()).repeat(100);
            while socket.0.write_all(&ask).await.is_ok() {}
        });
    }
    reaches(&metrics, Closed::Memory, 1).await;
    asking.join_next().await.unwrap().unwrap();
    honest
        .send(r#"{"jsonrpc":"2.0","id":1,"method":"chain_getHead"}"#)
        .await;
    assert!(honest.receive().await.contains("\"height\":\"0\""));
    while served.server.seats().held() > 1024 * 1024 {
        tokio::task::yield_now().await;
    }
    // One session alone stays below the bound of all, so the last one is never closed.
    let closed = metrics.closed.at(Closed::Memory).get();
    assert!((1..5).contains(&closed), "{closed} of 5");
}

#[tokio::test]
async fn a_message_that_takes_too_long_and_a_peer_that_answers_no_ping_are_closed() {
    let slow = Config {
        body_timeout: SOON,
        ..patient()
    };
    let dead = Config {
        ping_interval: SOON,
        call_timeout: SOON,
        ..patient()
    };
    for (config, bytes) in [(slow, &b"\x81\xfe\xff"[..]), (dead, &b""[..])] {
        let metrics = Arc::clone(&config.metrics);
        let served = serve_with(config).await;
        let mut socket = RawSocket::open(&served).await;
        socket.0.write_all(bytes).await.unwrap();
        let last = closed(socket.0).await;
        assert!(
            last.ends_with(&[0x88, 2, 0x03, 0xf0]),
            "closed with 1008: {last:?}"
        );
        assert_eq!(metrics.closed.at(Closed::Session).get(), 1);
    }
}

#[tokio::test]
async fn frames_against_the_protocol_end_the_session() {
    let served = serve_with(patient()).await;
    for bad in [
        &[0x81, 0x01, b'x'][..],
        &[0x80, 0x80, 0, 0, 0, 0],
        &[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0],
        &[0x09, 0x80, 0, 0, 0, 0],
        &[0xc1, 0x80, 0, 0, 0, 0],
        &[0x89, 0xfe, 0, 200, 0, 0, 0, 0],
    ] {
        let mut socket = RawSocket::open(&served).await;
        socket.0.write_all(bad).await.unwrap();
        let last = closed(socket.0).await;
        assert_eq!(last, [0x88, 2, 0x03, 0xea], "1002 for {bad:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_to_throw_away_is_answered_and_closed_as_too_big() {
    let config = Config {
        message_bytes_max: 1000,
        ..patient()
    };
    let served = serve_with(config).await;
    let announced = [
        0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ];
    // The first fragment fits, eight are discarded, and the next byte is one too many.
    let mut fragments = frame(0x01, &[b' '; 1000]);
    for _ in 0..8 {
        fragments.extend(frame(0x00, &[b' '; 1000]));
    }
    fragments.extend(frame(0x00, b" "));
    for too_big in [&announced[..], &fragments] {
        let mut socket = RawSocket::open(&served).await;
        socket.0.write_all(too_big).await.unwrap();
        let error: serde_json::Value = serde_json::from_str(&socket.receive().await).unwrap();
        expect_error(&error, -32007, "request_too_large");
        assert_eq!(closed(socket.0).await, [0x88, 2, 0x03, 0xf1], "1009");
    }
}

#[tokio::test]
async fn a_message_in_shreds_and_pings_without_end_close_the_session() {
    let served = serve_with(patient()).await;
    // Empty frames cost their sender nothing, and 1,300 of them arrive in one read.
    let shreds = [frame(0x01, b"7"), frame(0x00, b"").repeat(400), frame(0x80, b"")].concat();
    let pings = frame(0x89, b"").repeat(100);
    for input in [shreds, pings] {
        let mut socket = RawSocket::open(&served).await;
        socket.0.write_all(&input).await.unwrap();
        let end = closed(socket.0).await;
        assert!(end.ends_with(&[0x88, 2, 0x03, 0xea]), "1002: {end:?}");
    }
    // As small as an honest client's fragments are, and as many.
    let mut socket = RawSocket::open(&served).await;
    let text = " ".repeat(100_000) + r#"{"jsonrpc":"2.0","id":7,"method":"chain_getHead"}"#;
    let (first, rest) = text.as_bytes().split_at(128);
    let mut whole = frame(0x01, first);
    rest.chunks(128)
        .for_each(|chunk| whole.extend(frame(0x00, chunk)));
    whole.extend(frame(0x80, b""));
    socket.0.write_all(&whole).await.unwrap();
    assert!(socket.receive().await.contains("\"id\":7"));
}

#[tokio::test]
async fn fragments_are_one_message_and_a_ping_between_them_is_answered() {
    let served = serve_with(patient()).await;
    let mut socket = RawSocket::open(&served).await;
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"chain_getHead"}"#.as_bytes();
    let whole = [
        frame(0x01, &text[..9]),
        frame(0x89, b"are you there"),
        frame(0x00, b""),
        frame(0x80, &text[9..]),
    ]
    .concat();
    for byte in whole {
        socket.0.write_all(&[byte]).await.unwrap();
    }
    let mut pong = [0; 15];
    tokio::io::AsyncReadExt::read_exact(&mut socket.0, &mut pong)
        .await
        .unwrap();
    assert_eq!(&pong, b"\x8a\x0dare you there");
    assert!(socket.receive().await.contains("\"id\":7"));
}

#[tokio::test]
async fn messages_that_ask_for_no_answer_get_none_and_the_next_is_answered() {
    let served = serve_with(patient()).await;
    let mut socket = RawSocket::open(&served).await;
    socket.send(r#"{"jsonrpc":"2.0","method":"chain_getHead"}"#).await;
    socket
        .send(r#"[{"jsonrpc":"2.0","method":"chain_getHead"}]"#)
        .await;
    socket.send("nonsense").await;
    let error: serde_json::Value = serde_json::from_str(&socket.receive().await).unwrap();
    assert_eq!(error["error"]["code"], -32700, "{error}");
    socket.send(r#"{"jsonrpc":"2.0","id":1,"method":5}"#).await;
    let error: serde_json::Value = serde_json::from_str(&socket.receive().await).unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["id"]),
        (&json!(-32600), &json!(1)),
        "{error}"
    );
}

#[tokio::test]
async fn sessions_above_their_bound_are_refused_and_calls_still_find_a_seat() {
    let served = serve_with(patient()).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(RawSocket::open(&served).await);
    }
    let upgrade = b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut refused = sent(served.server.address(), upgrade).await;
    let mut start = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut refused, &mut start)
        .await
        .unwrap();
    assert_eq!(&start, b"HTTP/1.1 429");
    for _ in 0..20 {
        assert!(is_answered(served.server.address()).await);
    }
    drop(open);
}

#[tokio::test]
async fn history_is_read_off_the_threads_that_serve_calls_and_in_bounded_number() {
    let served = serve_with(Config {
        history_readers_max: 2,
        call_timeout: Duration::from_secs(10),
        ..patient()
    })
    .await;
    served.node.produce(50);
    // The whole server runs on the thread of this test: a blocked reader would block all.
    let gate = served.node.close_diffs();
    let address = vibecoin_primitives::hex::encode(&MockBackend::address(5).0);
    let mut sockets = Vec::new();
    for _ in 0..6 {
        let mut socket = RawSocket::open(&served).await;
        for id in 0..32 {
            let ask = json!({"jsonrpc": "2.0", "id": id, "method": "sub_subscribe", "params":
                {"topic": "account", "params": {"address": address}, "fromHeight": "1"}});
            socket.send(&ask.to_string()).await;
            assert!(socket.receive().await.contains("\"result\""));
        }
        sockets.push(socket);
    }
    while gate.inside() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        assert_eq!(
            served.call("chain_getHead", json!([])).await["result"]["height"],
            "50"
        );
    }
    assert_eq!(gate.inside(), 2, "of 192 subscriptions");
    gate.open();
    // All of them complete: 192 times 50 blocks, and the one that follows.
    while gate.passed() < 192 * 50 {
        tokio::task::yield_now().await;
    }
    served.node.produce(1);
    while gate.passed() < 192 * 51 {
        tokio::task::yield_now().await;
    }
    assert!(
        gate.most() <= 2 + 2,
        "history readers and live ones: {}",
        gate.most()
    );
}

/// Found in review: pings alone kept a session for ever.
#[tokio::test]
async fn a_session_without_a_subscription_or_a_call_has_a_deadline_and_one_with_a_subscription_none() {
    let config = Config {
        ping_interval: SOON,
        session_idle_timeout: 10 * SOON,
        ..patient()
    };
    let served = serve_with(config).await;
    let mut subscribed = RawSocket::open(&served).await;
    let subscribe =
        json!({"jsonrpc": "2.0", "id": 1, "method": "sub_subscribe", "params": {"topic": "headers"}});
    subscribed.send(&subscribe.to_string()).await;
    assert!(subscribed.receive().await.contains("result"));
    for _ in 0..2 {
        let idle = RawSocket::open(&served).await;
        let last = closed(idle.0).await;
        assert!(last.ends_with(&[0x88, 2, 0x03, 0xf0]), "1008: {last:?}");
    }
    served.node.produce(1);
    let event = subscribed.receive().await;
    assert!(event.contains("\"height\":\"1\""), "{event}");
}
