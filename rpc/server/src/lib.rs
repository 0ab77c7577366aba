//! The JSON-RPC server over a [`vibecoin_rpc_backend::Backend`]: HTTP and WebSocket on one port, health beside it.
//!
//! It knows the chain's types and rules of form, and no engine, database or network. `rpc/backend` is
//! the interface to the node; [`Config`] bounds what a caller may do.
//!
//! ```no_run
//! # async fn example<B: vibecoin_rpc_backend::Backend>(backend: std::sync::Arc<B>) -> std::io::Result<()> {
//! use vibecoin_rpc_server::{Config, RpcServer};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8645").await?;
//! let server = RpcServer::start(listener, backend, Config::default())?;
//! println!("http://{}", server.address());
//! server.stop(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! A call passes, in this order: the seats for connections, `Host` and `Origin` (`host`), the size, time and
//! type of the body (`server`, `http`, `request`) or of the WebSocket message (`websocket`). From there on every
//! transport takes the same path: the number of batch entries, ids and the rest of the envelope (`envelope`);
//! then, for each entry separately, the method's name, the caller's budget, depth, names and values of the
//! parameters, the time limit, and the form of errors (`gate`, `params`, `values`, `rate`); then its method
//! (`dispatch`, `methods`), where expensive ones wait for a permit (`work`), as do those whose answers can be
//! large (`building`).
//!
//! The operator has a separate listener with separate methods ([`RpcServer::start_admin`], `access`);
//! metrics for Prometheus (`rpc/metrics`) have a third one ([`prometheus`]).

mod access;
mod building;
mod config;
mod dispatch;
mod envelope;
mod errors;
mod gate;
mod host;
mod http;
mod listener;
mod methods;
pub mod metrics;
#[cfg(any(test, feature = "mock"))]
pub mod mock;
mod pages;
mod params;
pub mod prometheus;
mod rate;
mod request;
mod seats;
mod server;
mod settling;
mod socket;
mod subscriptions;
#[cfg(test)]
mod tests;
mod values;
mod watched;
mod websocket;
mod work;

pub use access::AdminToken;
pub use building::BUILDING_BYTES_MAX;
pub use config::{Config, Rate};
pub use listener::reachable;
pub use server::RpcServer;
