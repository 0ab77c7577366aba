//! Throughput of the server alone: a node in memory, callers in the same process, over loopback.
//!
//! `cargo run --release -p vibecoin-rpc-server --features mock --example load`
//!
//! Prints calls per second for single calls and for batches of 100, and transactions per second that
//! `tx_submitBatch` decodes and the node refuses at once (they name another chain): the server's share
//! of a submission, without signatures and pool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a measurement that fails should stop"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vibecoin_primitives::{Hash, Transaction, TransactionBody, encode, hex};
use vibecoin_rpc_server::mock::MockBackend;
use vibecoin_rpc_server::{Config, RpcServer};

const RUN: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let node = Arc::new(MockBackend::new());
    node.produce(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = RpcServer::start(listener, Arc::clone(&node), Config::default()).unwrap();
    let address = hex::encode(&MockBackend::address(0).0);
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"account_getBalance","params":{{"address":"{address}"}}}}"#
    );
    let batch = format!("[{}]", vec![call.as_str(); 100].join(","));
    let Transaction::V1(own) = node.transfer(0, 0, MockBackend::address(1), 1);
    let foreign = TransactionBody {
        chain: [0; 4],
        ..own.body
    }
    .sign(&Hash::ZERO, &MockBackend::key(0));
    let raws: Vec<String> = (0..100)
        .map(|_| format!("\"{}\"", hex::encode(&encode(&foreign))))
        .collect();
    let submit = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tx_submitBatch","params":{{"raws":[{}]}}}}"#,
        raws.join(",")
    );
    for (name, body, per_request, connections) in [
        ("account_getBalance, 64 connections", &call, 1, 64),
        (
            "account_getBalance, batches of 100, 4 connections",
            &batch,
            100,
            4,
        ),
        (
            "tx_submitBatch of 100, 4 connections, transactions",
            &submit,
            100,
            4,
        ),
    ] {
        let cpu = process_cpu();
        let start = Instant::now();
        let runs: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(run(server.address(), body.clone())))
            .collect();
        let mut requests = 0u64;
        for run in runs {
            requests += run.await.unwrap();
        }
        let calls = requests * per_request;
        let seconds = start.elapsed().as_secs_f64();
        let cpu = (process_cpu() - cpu) * 1e6;
        println!(
            "{name}: {:.0}/s, {:.2} us of CPU each (caller and server)",
            calls as f64 / seconds,
            cpu / calls as f64
        );
    }
}

async fn run(address: std::net::SocketAddr, body: String) -> u64 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let start = Instant::now();
    let mut buffer = vec![0; 256 * 1024];
    let mut requests = 0;
    while start.elapsed() < RUN {
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut have, mut need) = (0, usize::MAX);
        while have < need {
            have += stream.read(&mut buffer[have..]).await.unwrap();
            if need == usize::MAX
                && let Some(end) = buffer[..have].windows(4).position(|window| window == b"\r\n\r\n")
            {
                let head = std::str::from_utf8(&buffer[..end]).unwrap();
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .unwrap();
                need = end + 4 + length.parse::<usize>().unwrap();
            }
        }
        requests += 1;
    }
    requests
}

/// CPU seconds of this process: user and system, in ticks of 10 ms.
fn process_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
