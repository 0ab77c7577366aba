//! Collection of the metrics that are not counted continuously, because they can be read on demand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vibecoin_metrics::{Counter, Gauge, Registry, register_build, render};
use vibecoin_network::Network;
use vibecoin_rpc_backend::BuildFacts;
use vibecoin_rpc_server::metrics::RpcMetrics;
use vibecoin_storage::Store;

use crate::clock::Clock;
use crate::metrics::{Metrics, ProcessMetrics, Protocols};
use crate::shared::Shared;

/// The parts of the node that a scrape reads.
pub struct Scrape {
    /// State published to readers.
    pub shared: Arc<Shared>,
    /// The database.
    pub store: Arc<Store>,
    /// The network, if there is one.
    pub network: Option<Network>,
    /// The clocks.
    pub clock: Clock,
    /// True if this node votes.
    pub validates: bool,
}

fn set(gauge: &Gauge, value: impl TryInto<i64>) {
    gauge.set(value.try_into().unwrap_or(i64::MAX));
}

fn put(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people: its first fifteen digits are right"
)]
fn thousandths(value: u64) -> f64 {
    value as f64 / 1000.0
}

/// Registers all metrics and returns the function that renders a scrape.
pub fn renderer(
    scrape: Scrape,
    rpc: &RpcMetrics,
    build: &BuildFacts,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    let registry = registry(&scrape.shared.metrics, rpc, build);
    Arc::new(move || {
        scrape.refresh();
        render(&registry)
    })
}

/// Registry of all declared metrics.
pub fn registry(metrics: &Metrics, rpc: &RpcMetrics, build: &BuildFacts) -> Registry {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    rpc.register(&mut registry);
    let facts = vec![
        ("version", build.version.clone()),
        ("git", build.git.clone()),
        ("rustc", build.rustc.clone()),
    ];
    register_build(&mut registry, facts);
    registry
}

impl Scrape {
    fn refresh(&self) {
        let metrics = &self.shared.metrics;
        let consensus = &metrics.consensus;
        let status = self.shared.consensus.lock().clone();
        set(&consensus.height, status.height.0);
        set(&consensus.round, i64::from(status.round.0));
        set(&consensus.committed, self.shared.head().header.height.0);
        set(&consensus.validator, i64::from(self.validates));
        set(&consensus.abstaining, i64::from(status.abstaining));
        set(&consensus.evidence, self.shared.evidence.lock().len());
        let sync = self.shared.sync.lock().status(self.clock.uptime_ms());
        set(&metrics.sync.synced, i64::from(sync.synced));
        set(&metrics.sync.target, sync.target.0);
        metrics.sync.rate.set(thousandths(sync.blocks_per_1000_s));
        self.pool(metrics);
        self.storage(metrics);
        let poh = self.shared.poh.lock().clone();
        set(&metrics.poh.rate, poh.measured_hash_rate);
        let behind = thousandths(poh.drift_ms.unsigned_abs());
        metrics
            .poh
            .drift
            .set(if poh.drift_ms < 0 { -behind } else { behind });
        if let Some(network) = &self.network {
            refresh_network(network, metrics);
        }
        refresh_process(&metrics.process, self.clock.uptime_ms());
    }

    fn pool(&self, metrics: &Metrics) {
        let totals = self.shared.pool.totals();
        let queued = self.shared.queued.load(Ordering::Relaxed).min(totals.count);
        set(&metrics.pool.transactions, totals.count);
        set(&metrics.pool.bytes, totals.bytes);
        set(&metrics.pool.queued, queued);
        set(&metrics.pool.pending, totals.count.saturating_sub(queued));
        set(&metrics.pool.fee_min, self.shared.fee_min.load(Ordering::Relaxed));
    }

    fn storage(&self, metrics: &Metrics) {
        let stats = self.store.stats();
        set(&metrics.storage.backlog, stats.pending_updates);
        set(&metrics.storage.materialised, stats.materialised.0);
        set(&metrics.storage.trie_nodes, stats.trie_nodes);
    }
}

fn refresh_network(network: &Network, metrics: &Metrics) {
    let (figures, counters) = (&metrics.network, network.counters());
    let peers = network.peers();
    set(&figures.peers, peers.len());
    set(
        &figures.validators,
        peers.iter().filter(|peer| peer.validator.is_some()).count(),
    );
    set(&figures.banned, network.bans().len());
    for (name, counted) in &counters.protocols {
        let protocol = match *name {
            "consensus" => Protocols::Consensus,
            "transactions" => Protocols::Transactions,
            "direct" => Protocols::Direct,
            "parts" => Protocols::Parts,
            _ => continue,
        };
        put(figures.messages_in.at(protocol), counted.messages_in);
        put(figures.bytes_in.at(protocol), counted.bytes_in);
        put(figures.dropped_in.at(protocol), counted.dropped_in);
        put(figures.messages_out.at(protocol), counted.messages_out);
        put(figures.bytes_out.at(protocol), counted.bytes_out);
        put(figures.dropped_out.at(protocol), counted.dropped_out);
    }
    put(&figures.rejected, counters.rejected);
    put(&figures.dials, counters.dials);
    put(&figures.dials_failed, counters.dials_failed);
    put(&figures.wrong_chain, counters.wrong_chain);
    put(&figures.restarted, counters.restarted);
    put(&figures.bans, counters.bans);
}

/// Reads the kernel's figures of this process; a figure that cannot be read stays unchanged.
pub fn refresh_process(process: &ProcessMetrics, uptime_ms: u64) {
    process.uptime.set(thousandths(uptime_ms));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    if let Some(kib) = field("VmRSS:") {
        set(&process.resident, kib.saturating_mul(1024));
    }
    if let Some(threads) = field("Threads:") {
        set(&process.threads, threads);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        set(&process.open_files, files.count().saturating_sub(1));
    }
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let millis = u64::try_from(used.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1000)
        .saturating_add(u64::try_from(used.tv_nsec).unwrap_or(0) / 1_000_000);
    process
        .cpu
        .inner()
        .store(thousandths(millis).to_bits(), Ordering::Relaxed);
}
