#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vibecoin_metrics::{BUILD_HELP, Declared, render};
use vibecoin_rpc_backend::BuildFacts;
use vibecoin_rpc_server::metrics::RpcMetrics;
use vibecoin_rpc_server::prometheus::MetricsServer;

use super::*;
use crate::scrape::{refresh_process, registry};

/// Every declared metric of the node, area by area.
fn declared() -> Vec<Declared> {
    let rooms = [
        ConsensusMetrics::DECLARED,
        NetworkMetrics::DECLARED,
        SyncMetrics::DECLARED,
        PoolMetrics::DECLARED,
        ExecutionMetrics::DECLARED,
        StorageMetrics::DECLARED,
        PohMetrics::DECLARED,
        RpcMetrics::DECLARED,
        ProcessMetrics::DECLARED,
    ];
    let build = Declared {
        name: "vibecoin_build_info",
        kind: "info",
        label: None,
        help: &[BUILD_HELP],
    };
    rooms.into_iter().flatten().copied().chain([build]).collect()
}

async fn scrape(metrics: &Metrics) -> String {
    let registry = registry(metrics, &RpcMetrics::default(), &BuildFacts::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = MetricsServer::start(
        listener,
        &vibecoin_rpc_server::Config::default(),
        Arc::new(move || render(&registry)),
    )
    .unwrap();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    text
}

#[tokio::test]
async fn every_declared_figure_is_there_from_the_start_with_its_help() {
    let text = scrape(&Metrics::default()).await;
    for figure in declared() {
        let family = figure.family().trim_end_matches("_info");
        let help = format!("# HELP {family} {}.", figure.help_line());
        assert!(text.contains(&help), "{help}\n{text}");
        let kind = format!("# TYPE {family} {}", figure.kind);
        assert!(text.contains(&kind), "{kind}\n{text}");
        let series = text.lines().any(|line| line.starts_with(figure.name));
        assert!(series, "no series of {}", figure.name);
    }
    assert!(text.contains("# EOF"), "complete");
}

#[test]
fn names_follow_the_one_rule() {
    let units = [
        "total",
        "seconds",
        "bytes",
        "height",
        "info",
        "transactions",
        "peers",
        "second",
        "units",
        "files",
        "updates",
        "waiting",
        "nodes",
        "threads",
        "round",
        "validator",
        "abstaining",
        "synced",
    ];
    let mut names: Vec<&str> = declared().iter().map(|figure| figure.name).collect();
    for figure in declared() {
        assert!(figure.name.starts_with("vibecoin_"), "{}", figure.name);
        let last = figure.name.rsplit('_').next().unwrap();
        assert!(units.contains(&last), "{} ends in no unit", figure.name);
        assert_eq!(figure.kind == "counter", last == "total", "{}", figure.name);
        assert!(!figure.help_line().is_empty(), "{}", figure.name);
    }
    names.sort_unstable();
    assert!(
        names.windows(2).all(|pair| pair.first() != pair.last()),
        "a name twice"
    );
}

#[tokio::test]
async fn what_happens_is_counted() {
    let metrics = Metrics::default();
    metrics.worked(Duration::from_millis(3));
    metrics.worked(Duration::from_millis(4));
    let steps = Steps {
        proposal: Some(1_000),
        body: None,
        prevotes: Some(2_000),
        precommits: Some(3_000),
    };
    metrics.decided(steps, 3, 10, 5_000_000);
    metrics.decided(steps, 1, 5, 5_500_000);
    metrics.departed(&Reason::Cleared);
    metrics.offered(&[Err(MempoolError::SenderLimit { limit: 1 })]);
    metrics.counted(&Counters {
        refused: 2,
        ..Counters::default()
    });
    refresh_process(&metrics.process, 2500);
    let text = scrape(&metrics).await;
    for line in [
        "vibecoin_consensus_extra_rounds_total 2",
        "vibecoin_consensus_proposal_seconds_count 2",
        "vibecoin_consensus_body_seconds_count 0",
        "vibecoin_consensus_block_interval_seconds_sum 0.5",
        "vibecoin_consensus_guard_refusals_total 2",
        "vibecoin_execution_transactions_total 15",
        "vibecoin_execution_block_seconds_sum 0.007",
        "vibecoin_pool_departed_total{reason=\"cleared\"} 1",
        "vibecoin_pool_refused_total{reason=\"sender_limit\"} 1",
        "vibecoin_process_uptime_seconds 2.5",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(metrics.process.resident.get() > 0 && metrics.process.open_files.get() > 0);
}

/// The documentation generated from the declarations.
fn documentation() -> String {
    let mut text = "# Metrics\n\n\
        `metrics.listen` gives them to Prometheus at `GET /metrics`, in the OpenMetrics text format. This file is\n\
        made from the declarations: `UPDATE_METRICS=1 cargo test --release -p vibecoin-engine --lib metrics`.\n\n\
        | name | kind | label | what |\n|---|---|---|---|\n"
        .to_owned();
    for figure in declared() {
        let label = figure
            .label
            .map_or_else(String::new, |label| format!("`{label}`"));
        let row = format!(
            "| `{}` | {} | {label} | {} |\n",
            figure.name,
            figure.kind,
            figure.help_line()
        );
        text.push_str(&row);
    }
    text
}

#[test]
fn the_documentation_is_what_is_declared() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if std::env::var_os("UPDATE_METRICS").is_some() {
        std::fs::write(&path, documentation()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, documentation(), "write it anew with UPDATE_METRICS=1");
}
