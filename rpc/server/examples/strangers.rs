//! Hostile unauthenticated peers against the three listeners of a running node, and honest callers
//! beside them.
//!
//! `cargo run --release -p vibecoin-rpc-server --example strangers -- RPC ADMIN METRICS [SECONDS]`
//!
//! On each listener 1,000 sockets stay silent, 1,000 send a byte a second and 200 speak HTTP/2; a socket
//! that is closed is opened again after a second. Meanwhile an honest caller sends each request on a new
//! connection. Prints a line per listener and fails when an honest p99 is above 100 ms, or a socket
//! outlived its deadline. `scripts/reliability/rpc-strangers.sh` starts a node for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a measurement that fails should stop"
)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const SILENT: usize = 1_000;
const SLOW: usize = 1_000;
const HTTP2: usize = 200;
/// The defaults of `vibecoin_rpc_server::Config`, plus a second for a machine that is busy.
const SILENT_DEADLINE: Duration = Duration::from_secs(5 + 1);
const SLOW_DEADLINE: Duration = Duration::from_secs(10 + 1);
const AT_ONCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(1);
const HONEST_EVERY: Duration = Duration::from_millis(20);
const HONEST_P99_MAX: Duration = Duration::from_millis(100);

#[derive(Clone, Copy)]
enum Stranger {
    Silent,
    Slow,
    Http2,
}

#[derive(Default)]
struct Counted {
    in_time: AtomicUsize,
    late: AtomicUsize,
    not_taken: AtomicUsize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.get(3).map_or(60, |text| text.parse().expect("seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut runs = Vec::new();
    for (name, request, address) in [
        ("rpc", RPC, &arguments[0]),
        ("admin", RPC, &arguments[1]),
        ("metrics", METRICS, &arguments[2]),
    ] {
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        runs.push(tokio::spawn(listener(
            name,
            address.parse().expect("an address"),
            request,
            until,
        )));
    }
    let mut good = true;
    for run in runs {
        good &= run.await.unwrap();
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

const RPC: &str = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
    content-length: 49\r\nconnection: close\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"chain_getHead\"}";
const METRICS: &str = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

async fn listener(name: &str, address: SocketAddr, request: &'static str, until: Instant) -> bool {
    let counted = Arc::new(Counted::default());
    let mut strangers = Vec::new();
    for (kind, count) in [
        (Stranger::Silent, SILENT),
        (Stranger::Slow, SLOW),
        (Stranger::Http2, HTTP2),
    ] {
        for _ in 0..count {
            let counted = Arc::clone(&counted);
            strangers.push(tokio::spawn(async move {
                while Instant::now() < until {
                    stranger(kind, address, &counted).await;
                    sleep(AGAIN).await;
                }
            }));
        }
    }
    let (mut took, mut failed) = (Vec::new(), 0usize);
    while Instant::now() < until {
        let begun = Instant::now();
        match timeout(Duration::from_secs(5), honest(address, request)).await {
            Ok(Ok(true)) => took.push(begun.elapsed()),
            _ => {
                failed += 1;
                took.push(Duration::from_secs(5));
            }
        }
        sleep(HONEST_EVERY).await;
    }
    for stranger in strangers {
        stranger.await.unwrap();
    }
    took.sort_unstable();
    let at = |permille: usize| took[(took.len() - 1) * permille / 1000];
    let (in_time, late) = (
        counted.in_time.load(Ordering::Relaxed),
        counted.late.load(Ordering::Relaxed),
    );
    println!(
        "{name:<8} honest {} calls, {failed} failed, p50 {:?}, p99 {:?}, max {:?}; \
         strangers {in_time} closed in time, {late} late, {} not taken",
        took.len(),
        at(500),
        at(990),
        at(1000),
        counted.not_taken.load(Ordering::Relaxed),
    );
    at(990) <= HONEST_P99_MAX && late == 0 && in_time > 0
}

/// One call; an answer of any status counts.
async fn honest(address: SocketAddr, request: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.1 401"))
}

async fn stranger(kind: Stranger, address: SocketAddr, counted: &Counted) {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        counted.not_taken.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let begun = Instant::now();
    let deadline = match kind {
        Stranger::Silent => SILENT_DEADLINE,
        Stranger::Slow => SLOW_DEADLINE,
        Stranger::Http2 => AT_ONCE,
    };
    if matches!(kind, Stranger::Http2) {
        let _ = stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await;
    }
    let mut chunk = [0; 512];
    // Well past the deadline the count is of late closes.
    while begun.elapsed() < deadline * 2 {
        if matches!(kind, Stranger::Slow) && stream.write_all(b"P").await.is_err() {
            break;
        }
        match timeout(Duration::from_secs(1), stream.read(&mut chunk)).await {
            Ok(Ok(1..)) | Err(_) => {}
            Ok(_) => break,
        }
    }
    let count = if begun.elapsed() <= deadline {
        &counted.in_time
    } else {
        &counted.late
    };
    count.fetch_add(1, Ordering::Relaxed);
}
