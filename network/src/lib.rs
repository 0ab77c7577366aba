//! The wire format of messages between nodes, and their transport.
//!
//! [`wire`] is pure: an envelope around every message, with a limit for each kind, checked before anything is
//! decoded. The simulator sends its messages through it, so its results hold for the bytes too. The other
//! modules are one libp2p swarm that carries the envelopes: gossip for statements and transactions, long-lived
//! streams for everything large.
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
//! it holds a validator's key.
//!
//! Read in this order: `config`, `handle` and `shared` (the caller's side), `task` (the swarm's thread); then
//!
//! - which peers may connect: `handshake`, `address`, `scopes`, `address_book`, `arrivals`, `displace`, `admission`,
//!   `score`, `numbers`;
//! - what is carried: `lanes`, `streams`, `copies`, `repeats`;
//! - what it may cost: `bucket`, `transport`, `negotiation`, `guarded`, `stream_rate`, `meter`, `gossip_cost`.
//!
//! Every queue and buffer of the swarm has a bound, for one peer and for all of them. "Known" peers proved to
//! be validators or were configured by the operator; all others are "unknown" (`Stranger` in the code).
//!
//! | queue or buffer | of one peer | of all | when full |
//! |---|---|---|---|
//! | frames to send, direct lane | 32 MiB | unknown 96 MiB, known 512 MiB with parts | the new frame is dropped |
//! | frames to send, parts lane | 16 MiB, validators only | in the same 512 MiB | the new frame is dropped |
//! | frames being received | 2 a lane; 134 bytes each without a request | unknown 64 MiB, known 256 MiB | the reader waits |
//! | responses that a peer owes | 128, for 120 s | | the oldest is removed |
//! | unread bytes of streams | TCP 32 × 256 KiB, growing as they are read; QUIC 2 MiB | | the sender waits |
//! | negotiation of a protocol | 16 lines, 2 KiB; Noise 4 KiB | | the stream or connection ends |
//! | bytes per second | as configured; unknown a share | unknown 16 MiB, or 256 KiB each | the sender waits |
//! | streams opened by peers | unknown 64 and 8 a second, known 512 and 100 a second | | the connection ends, its peer is at fault |
//! | streams to be negotiated | 16 of a connection | | reset |
//! | open streams before the hello | 8 of a connection | | reset |
//! | gossip to send | 512 messages of up to 129 KiB | | dropped; an unknown peer is disconnected |
//! | gossip without a verdict | | 8,192 | the oldest is ignored |
//! | duplicate gossip, for 15 s | known: as its bytes per second allow | unknown 8,192 messages a second of 256 bytes, 32 MiB | the sender waits |
//! | useless statements | unknown 8,192 and 2,000 a second | | its peer is at fault |
//! | copies that are counted | | 8,192 names a topic, 1,024 peers | the oldest is removed |
//! | hellos being read | 4 of 18 KiB, 32 in all | | dropped; beyond 32 the peer is at fault |
//! | connections being negotiated | 8 a machine, 24 a subnet | unknown 64, as many that end, known 64 | the oldest of the largest group is closed, or the new one denied |
//! | connections without a hello | 8 a machine, 1 of a banned one | 64 | the oldest of the largest group is closed, or the new one |
//! | slots of unknown peers | `per_ip_max`, `per_subnet_max` | `inbound_max`, `outbound_max` | refused; a quiet one is closed |
//! | address book | 32 an announcer, 64 its machine, 8 an address | 512 peers of 8 addresses | refused |
//! | bans, points, banned machines | | 4,096 each | the first to expire is removed |
//! | numbers of disconnected peers | | unknown 1,024, known 1,024 | the oldest is removed |
//! | results of peers' tasks, commands | | 1,024; 8,192 | the sender waits; the command is dropped |

pub mod wire;

mod address;
mod address_book;
mod admission;
mod arrivals;
mod behaviour;
mod bucket;
mod command;
mod config;
mod copies;
mod counters;
mod displace;
mod error;
mod event;
mod form;
mod gossip_cost;
mod guarded;
mod handle;
mod handshake;
mod lanes;
mod meter;
mod negotiation;
mod numbers;
mod repeats;
mod scopes;
mod score;
mod shared;
mod snapshot;
mod stream_rate;
mod streams;
mod task;
mod transport;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]
mod tests;

pub use config::NetworkConfig;
pub use counters::{NetworkCounters, ProtocolCounters, Refusal};
pub use error::NetworkError;
pub use event::{NetworkEvent, Sink};
pub use form::Form;
pub use handle::{Network, NetworkGuard};
pub use handshake::{ValidatorProof, peer_id_of};
pub use snapshot::{BanInfo, NetworkInfo, PeerInfo};
pub use wire::{Envelope, WireError};
