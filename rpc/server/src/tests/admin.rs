//! The operator's listener, and the one for Prometheus.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use vibecoin_metrics::{Registry, render};
use vibecoin_rpc_api::registry;
use vibecoin_rpc_backend::Backend as _;

use super::{Answer, Served, expect_error, serve};
use crate::gate::Rules;
use crate::methods::{self, Rpc};
use crate::metrics::RpcMetrics;
use crate::mock::MockBackend;
use crate::prometheus::{MetricsServer, Render};
use crate::{AdminToken, Config, RpcServer};

const TOKEN: [u8; 32] = [7; 32];

async fn serve_admin() -> Served {
    let node = Arc::new(MockBackend::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let token = AdminToken::new(TOKEN);
    let server = RpcServer::start_admin(listener, Arc::clone(&node), Config::default(), token).unwrap();
    Served { node, server }
}

async fn send(served: &Served, headers: &str, method: &str, params: Value) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    served.raw(&[head.as_bytes(), body.as_bytes()].concat()).await
}

async fn call(served: &Served, method: &str, params: Value) -> Value {
    let header = format!("authorization: Bearer {}\r\n", AdminToken::new(TOKEN).to_text());
    send(served, &header, method, params).await.json()
}

#[test]
fn every_method_of_the_admin_listener_is_in_its_table_and_the_other_way_round() {
    let rules = Arc::new(Rules::admin(Arc::new(Config::default()), super::never()));
    let methods = methods::admin(&Rpc::new(Arc::new(MockBackend::new()), rules)).unwrap();
    let mut registered: Vec<&str> = methods.method_names().collect();
    registered.sort_unstable();
    let table: Vec<&str> = registry::ADMIN_METHODS.iter().map(|method| method.name).collect();
    assert_eq!(registered, table);
}

#[tokio::test]
async fn the_operator_adds_removes_bans_and_lets_in_again() {
    let served = serve_admin().await;
    let network = served.node.network().unwrap();
    let address = "/ip4/127.0.0.1/tcp/5/p2p/peer-c";
    assert_eq!(
        call(&served, "net_addPeer", json!({"address": address})).await["result"],
        true
    );
    assert_eq!(network.peers().len(), 3);
    let ban = json!({"id": "peer-c", "reason": "partition", "seconds": 9});
    assert_eq!(call(&served, "net_banPeer", ban).await["result"], true);
    assert_eq!(
        call(&served, "net_banPeer", json!(["peer-x"])).await["result"],
        true
    );
    assert_eq!(
        call(&served, "net_removePeer", json!(["peer-a"])).await["result"],
        true
    );
    assert_eq!(network.peers().len(), 1);
    let bans = call(&served, "net_getBans", json!([])).await;
    let expected = json!([
        {"id": "peer-c", "reason": "partition", "secondsLeft": "9"},
        {"id": "peer-x", "reason": "by the operator"},
    ]);
    assert_eq!(bans["result"], expected);
    assert_eq!(
        call(&served, "net_unbanPeer", json!(["peer-c"])).await["result"],
        true
    );
    expect_error(
        &call(&served, "net_unbanPeer", json!(["peer-c"])).await,
        1701,
        "admin_refused",
    );
    expect_error(
        &call(&served, "net_removePeer", json!(["nobody"])).await,
        1701,
        "admin_refused",
    );
    expect_error(
        &call(&served, "net_addPeer", json!({"address": "nonsense"})).await,
        1701,
        "admin_refused",
    );
    let unknown = call(&served, "net_addPeer", json!({"adress": address})).await;
    expect_error(&unknown, -32602, "unknown_parameter");
}

#[tokio::test]
async fn the_operator_has_a_snapshot_made_one_at_a_time() {
    let served = serve_admin().await;
    assert_eq!(
        call(&served, "snapshot_getJob", json!([])).await["result"],
        Value::Null
    );
    let relative = call(&served, "snapshot_create", json!({"dir": "snapshots"})).await;
    expect_error(&relative, 1701, "admin_refused");
    let running = json!({"height": "7", "state": "running", "done": "1", "all": "4", "bytes": "100"});
    let begun = call(&served, "snapshot_create", json!({"dir": "/disk"})).await;
    assert_eq!(begun["result"], running);
    let second = call(&served, "snapshot_create", json!([])).await;
    expect_error(&second, 1701, "admin_refused");
    assert_eq!(
        call(&served, "snapshot_getJob", json!([])).await["result"],
        running
    );
    let done = call(&served, "snapshot_getJob", json!([])).await["result"].clone();
    assert_eq!(done["state"], "done");
    let hash = |digit: &str| format!("0x{}", format!("0{digit}").repeat(32));
    let expected = json!({
        "id": hash("1"), "height": "7", "hash": hash("2"), "stateRoot": hash("3"),
        "chunks": 2, "bytes": "100", "path": "/disk/7-01",
    });
    assert_eq!(done["snapshot"], expected);
    let _begun = call(&served, "snapshot_create", json!({"dir": "/full"})).await;
    let _running = call(&served, "snapshot_getJob", json!([])).await;
    let failed = call(&served, "snapshot_getJob", json!([])).await["result"].clone();
    assert_eq!(
        (&failed["state"], &failed["error"]),
        (&json!("failed"), &json!("disk full"))
    );
    let unknown = call(&served, "snapshot_create", json!({"folder": "/disk"})).await;
    expect_error(&unknown, -32602, "unknown_parameter");
}

#[tokio::test]
async fn without_the_token_nothing_is_done_and_the_status_says_so() {
    let served = serve_admin().await;
    let wrong = format!("authorization: Bearer {}\r\n", AdminToken::new([8; 32]).to_text());
    let right = format!("authorization: Bearer {}\r\n", AdminToken::new(TOKEN).to_text());
    let twice = format!("{right}{right}");
    for headers in ["", wrong.as_str(), "authorization: Bearer\r\n", twice.as_str()] {
        let answer = send(&served, headers, "net_banPeer", json!(["peer-a"])).await;
        assert_eq!(answer.status, 401, "{headers}");
        expect_error(&answer.json(), 1501, "unauthenticated");
    }
    let page = format!("{right}origin: http://localhost\r\n");
    let answer = send(&served, &page, "net_banPeer", json!(["peer-a"])).await;
    assert_eq!(answer.status, 403);
    expect_error(&answer.json(), 1502, "forbidden");
    let rebound = served
        .raw(format!("POST / HTTP/1.1\r\nhost: evil.example\r\n{right}connection: close\r\n\r\n").as_bytes())
        .await;
    assert_eq!(rebound.status, 403);
    assert_eq!(
        served.get("/readyz").await.status,
        401,
        "nothing is shown without the token"
    );
    assert_eq!(served.node.network().unwrap().peers().len(), 2);
}

#[tokio::test]
async fn the_listeners_know_nothing_of_each_others_methods() {
    let public = serve().await;
    for method in registry::ADMIN_METHODS {
        let answer = public.call(method.name, json!([])).await;
        expect_error(&answer, -32601, "method_not_found");
    }
    let admin = serve_admin().await;
    for name in ["chain_getHead", "net_getPeers", "rpc_getMethods"] {
        expect_error(&call(&admin, name, json!([])).await, -32601, "method_not_found");
    }
}

async fn scrape(server: &MetricsServer, request: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    Answer::read(stream).await
}

#[tokio::test]
async fn calls_are_counted_and_shown_with_their_help_from_the_start() {
    let metrics = Arc::new(RpcMetrics::default());
    let config = Config {
        metrics: Arc::clone(&metrics),
        ..Config::default()
    };
    let served = super::serve_with(config).await;
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let render: Render = Arc::new(move || render(&registry));
    // A page is cached for a moment: each scrape has its own server.
    let start = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        MetricsServer::start(listener, &Config::default(), Arc::clone(&render)).unwrap()
    };

    let server = start().await;
    let text = scrape(&server, "GET /metrics").await.body;
    for declared in RpcMetrics::DECLARED {
        let help = format!("# HELP {} {}.", declared.family(), declared.help_line());
        assert!(text.contains(&help), "{help}\n{text}");
        assert!(text.contains(declared.name), "{}\n{text}", declared.name);
    }
    assert!(
        text.contains("vibecoin_rpc_calls_total{method=\"net_banPeer\"} 0"),
        "{text}"
    );

    served.call("chain_getHead", json!([])).await;
    served.call("chain_getBlock", json!(["nonsense"])).await;
    served.call("made_up", json!([])).await;
    let server = start().await;
    let answer = scrape(&server, "GET /metrics").await;
    assert!(
        answer.head.contains(crate::prometheus::CONTENT_TYPE),
        "{}",
        answer.head
    );
    for line in [
        "vibecoin_rpc_calls_total{method=\"chain_getHead\"} 1",
        "vibecoin_rpc_calls_total{method=\"unknown\"} 1",
        "vibecoin_rpc_errors_total{reason=\"bad_block_reference\"} 1",
        "vibecoin_rpc_errors_total{reason=\"method_not_found\"} 1",
        "vibecoin_rpc_call_seconds_count 3",
    ] {
        assert!(answer.body.contains(line), "{line}\n{}", answer.body);
    }
    assert_eq!(scrape(&server, "GET /").await.status, 404);
    assert_eq!(scrape(&server, "POST /metrics").await.status, 405);
}

/// Requests on one connection, one after the other, until the server closes it; returns the statuses.
async fn asks_without_a_pause(address: SocketAddr, request: &str, most: usize) -> Vec<u16> {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut statuses = Vec::new();
    while statuses.len() < most {
        stream.get_mut().write_all(request.as_bytes()).await.unwrap();
        let (mut head, mut line) = (String::new(), String::new());
        while stream.read_line(&mut line).await.unwrap() > 2 {
            head.push_str(&std::mem::take(&mut line).to_lowercase());
        }
        let after = |name: &str| {
            head.split_once(name)
                .map(|(_, rest)| rest.split_whitespace().next().unwrap())
        };
        statuses.push(after("http/1.1 ").unwrap().parse().unwrap());
        let mut body = vec![0; after("content-length: ").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        if head.contains("connection: close") {
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
            break;
        }
    }
    statuses
}

/// Found in review: such requests cost nothing.
#[tokio::test]
async fn without_the_token_a_caller_loses_its_connection_when_its_budget_is_used_up_and_the_operator_does_not()
 {
    let node = Arc::new(MockBackend::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        rate: None,
        rate_exempts_loopback: false,
        ..Config::default()
    };
    let token = AdminToken::new(TOKEN);
    let server = RpcServer::start_admin(listener, Arc::clone(&node), config, token).unwrap();
    let served = Served { node, server };
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let statuses = asks_without_a_pause(served.server.address(), request, 5_000).await;
    assert!(statuses.iter().all(|status| *status == 401));
    assert!(
        (101..5_000).contains(&statuses.len()),
        "{} answers",
        statuses.len()
    );
    let bans = call(&served, "net_getBans", json!([])).await;
    assert!(bans["result"].is_array(), "{bans}");
}

/// Found in review: pages that do not exist cost nothing.
#[tokio::test]
async fn pages_of_the_metrics_listener_cost_units_of_a_budget() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        rate: Some(crate::Rate {
            per_second: 1,
            burst: 10,
        }),
        rate_exempts_loopback: false,
        ..Config::default()
    };
    let page: Render = Arc::new(|| "# EOF\n".to_owned());
    let server = MetricsServer::start(listener, &config, page).unwrap();
    let request = "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let statuses = asks_without_a_pause(server.address(), request, 5_000).await;
    assert!(statuses.iter().all(|status| *status == 404));
    assert!(
        (50..1_000).contains(&statuses.len()),
        "{} answers",
        statuses.len()
    );
    // While it owes, a new connection is answered before anything is read.
    let refused = Answer::read(TcpStream::connect(server.address()).await.unwrap()).await;
    assert_eq!(refused.status, 429, "{}", refused.head);
}
