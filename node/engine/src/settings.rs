//! The operator's settings in the terms of the parts that they configure.

use std::net::SocketAddr;
use std::time::Duration;

use vibecoin_config::Config;
use vibecoin_mempool::MempoolConfig;
use vibecoin_rpc_server::{Config as ServerConfig, Rate};

use crate::error::NodeError;

/// Maximum duration of a stop.
pub const fn stop_timeout(config: &Config) -> Duration {
    Duration::from_millis(config.node.stop_timeout_ms)
}

/// Listening address of RPC.
pub const fn rpc_address(config: &Config) -> SocketAddr {
    SocketAddr::new(config.rpc.addr, config.rpc.port)
}

pub fn pool_config(config: &Config) -> MempoolConfig {
    MempoolConfig {
        count_max: config.mempool.transactions_max as usize,
        bytes_max: usize::try_from(config.mempool.bytes_max).unwrap_or(usize::MAX),
        sender_count_max: config.mempool.per_sender_max as usize,
        nonce_gap_max: config.mempool.nonce_gap_max,
        replacement_percent: u64::from(config.mempool.replacement_bump_percent),
        ..MempoolConfig::default()
    }
}

pub fn server_config(config: &Config) -> Result<ServerConfig, NodeError> {
    let rpc = &config.rpc;
    let defaults = ServerConfig::default();
    let rate = (rpc.cost_per_s_per_ip > 0).then_some(Rate {
        per_second: rpc.cost_per_s_per_ip,
        burst: rpc.cost_burst_per_ip,
    });
    // The server itself accepts the address that a connection was made to.
    let hosts = match rpc.hosts.as_slice() {
        [] => defaults.hosts.clone(),
        named => named.to_vec(),
    };
    let connections_max = rpc.connections_max.min(descriptors_for_rpc());
    // A call of the maximum size must fit.
    let one_call = u64::from(rpc.body_bytes_max).saturating_add(rpc.response_bytes_max.into());
    let one_call = usize::try_from(one_call).unwrap_or(usize::MAX);
    let server = ServerConfig {
        request_bytes_max: rpc.body_bytes_max,
        response_bytes_max: rpc.response_bytes_max,
        batch_entries_max: rpc.batch_entries_max,
        connections_max,
        connections_per_address_max: rpc.connections_per_ip_max,
        websockets_max: connections_max.saturating_sub(connections_max / 4),
        websockets_per_address_max: rpc.connections_per_ip_max.div_ceil(2),
        held_bytes_max: defaults.held_bytes_max.max(one_call),
        subscriptions_per_connection_max: rpc.subscriptions_per_connection_max,
        message_buffer: rpc.subscription_queue_events_max,
        call_timeout: Duration::from_millis(rpc.request_timeout_ms),
        expensive_calls_max: rpc.expensive_calls_max as usize,
        hosts,
        origins: rpc.cors_origins.clone(),
        rate,
        rate_exempts_loopback: rpc.cost_exempts_loopback,
        lag_blocks_max: rpc.subscription_lag_blocks_max,
        namespaces: rpc.api.clone(),
        ..defaults
    };
    if let Some((list, entry, form)) = server.unreadable() {
        let key = if list == "hosts" { "hosts" } else { "cors_origins" };
        return Err(NodeError::Config {
            what: format!("rpc.{key}"),
            detail: format!("found {entry:?}, which would match no request; an entry is {form}, or \"*\""),
        });
    }
    Ok(server)
}

/// Maximum number of RPC connections, which leaves three quarters of the file descriptors to peers and the
/// database.
fn descriptors_for_rpc() -> u32 {
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    all.map_or(u32::MAX, |all| u32::try_from(all / 4).unwrap_or(u32::MAX))
        .max(1)
}
