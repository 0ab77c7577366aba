//! One libp2p swarm: gossip for statements and transactions, long-lived streams for everything large.
//!
//! ```text
//!  publish ──▶ gossip ──┬─ consensus      votes, proposals, certificates, evidence
//!                       └─ transactions   batches; passed on by others only after `forward`
//!  send ─────▶ direct lane to one peer    bodies, blocks, requests, status
//!  stream ───▶ parts lane to validators   blocks as they are made
//! ```
//!
//! The swarm runs on a separate thread. Every method of [`Network`] returns at once: queues are bounded in
//! bytes, and messages beyond the bounds are dropped and counted. Received messages go to a [`Sink`].
//!
//! A peer is not admitted until its hello has arrived: the genesis hash, its newest block, and the proof that
//! it holds a validator's key. Read in this order: [`config`], `hello`, `lanes`, `negotiation`, `guarded`,
//! `meter`, `weight`, `opened`, `repeats`, `book`, `arrivals`, `displace`, `gate`, `score`, `task`.

mod addresses;
mod arrivals;
mod behaviour;
mod config;
mod displace;
mod gate;
mod guarded;
mod handle;
mod hello;
mod lanes;
mod meter;
mod negotiation;
mod opened;
mod repeats;
mod score;
mod streams;
mod task;
mod transport;
mod view;
mod weight;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]
mod tests;

pub use addresses::Form;
pub use config::{NetworkConfig, NetworkError, NetworkEvent, Sink};
pub use handle::{Network, NetworkGuard};
pub use hello::{ValidatorProof, peer_id_of};
pub use view::{BanInfo, NetworkCounters, NetworkInfo, PeerInfo, ProtocolCounters, Refusal};
