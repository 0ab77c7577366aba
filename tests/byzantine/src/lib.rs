//! A hostile peer and a hostile RPC client.
//!
//! No engine and no swarm behaviours: a raw client over TCP, Noise and Yamux that implements the node's
//! protocols well enough to be admitted, and then attacks at full speed. [`Attack`] lists the attacks.
//!
//! # Running one attack
//!
//! Against a node that runs on this machine (`vibecoin node`, listener in the ready line):
//!
//! ```text
//! cargo build --release -p vibecoin-byzantine
//! vibecoin-stranger --help
//! echo go | vibecoin-stranger status --genesis HASH --target 127.0.0.1:27656 --strangers 4 --seconds 10
//! ```
//!
//! Against four validators and a follower in network namespaces, with block rate, memory and verdicts:
//!
//! ```text
//! scripts/reliability/strangers.sh status          one attack, about a minute
//! scripts/reliability/strangers.sh                 all of them; exit code 1 when a target is missed
//! ```
//!
//! # Reading order
//!
//! [`wire`] (bytes), [`hello`], [`link`] (a connection), [`session`] (a connection to a node that admitted
//! the peer), [`attack`] (names, counters, the loop of attacking clients), then one module per kind:
//! `blocks`, `parts`, `frames`, `gossip`, `votes`, `ghosts`, `certificates`, `evidence`, `book`, `streams`,
//! `silent`, `fetch`, `liar`, `rpc`; and `service`, the node's own network service.
//!
//! Load is bounded: by the time of an attack, by the clients on each target, and by the nodes, which read at
//! the rate that they permit. The program refuses to attack anything but loopback and private addresses.

pub mod attack;
pub mod hello;
pub mod link;
pub mod session;
pub mod wire;

mod blocks;
mod book;
mod certificates;
mod evidence;
mod fetch;
mod frames;
mod ghosts;
mod gossip;
mod liar;
mod material;
mod parts;
mod rpc;
mod service;
mod silent;
mod streams;
mod votes;

pub use attack::{Attack, Report, Setting, Stage};
pub use book::MARK_PORT;
pub use service::open_config;
