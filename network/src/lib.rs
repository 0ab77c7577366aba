//! The network room: what nodes say to each other, in bytes, and how the bytes get there.
//!
//! [`wire`] is pure: an envelope around every message, with a limit for each kind, checked before
//! anything is decoded. The simulator sends its messages through it, so what it proves holds for the
//! bytes too. [`service`] is the libp2p swarm that carries the envelopes.
//!
//! Every queue and buffer of the swarm has a bound, for one peer and for all of them. "Known" peers proved to be
//! validators or were named by the operator; the others are strangers.
//!
//! | queue or buffer | of one peer | of all | when it is full |
//! |---|---|---|---|
//! | frames to send, direct lane | 32 MiB | strangers 96 MiB, known 512 MiB with parts | the new frame is dropped |
//! | frames to send, parts lane | 16 MiB, validators only | in the same 512 MiB | the new frame is dropped |
//! | frames being received | 2 a lane; 134 bytes each where nothing was asked for | strangers 64 MiB, known 256 MiB | the reader waits |
//! | answers that a peer owes | 128, for 120 s | | the oldest is forgotten |
//! | unread bytes of streams | TCP 32 × 256 KiB, growing as they are read; QUIC 2 MiB | | the sender waits |
//! | bytes per second | as configured; strangers a part | strangers 16 MiB, or 256 KiB each | the sender waits |
//! | streams that are opened | strangers 64 and 8 a second, known 512 and 100 a second | | the connection ends, its peer is at fault |
//! | streams to be negotiated | 16 of a connection, 32 that wait | | reset |
//! | gossip to send | 512 messages of up to 129 KiB | | dropped; a stranger is disconnected |
//! | gossip without a verdict | | 8,192 | the oldest is ignored |
//! | gossip that is known, for 15 s | known: as its bytes per second allow | strangers 8,192 messages a second of 256 bytes, 32 MiB | the sender waits |
//! | statements of no use | strangers 8,192 and 2,000 a second | | its peer is at fault |
//! | copies that are counted | | 8,192 names a topic, 1,024 peers | the oldest is forgotten |
//! | hellos being read | 4 of 18 KiB, 32 in all | | dropped; beyond 32 the peer is at fault |
//! | connections being negotiated | 8 a machine, 24 a subnet | strangers 64, as many that end, known 64 | the oldest of the largest group is closed, or the new one denied |
//! | connections without a hello | 8 a machine, 1 of a banned one | 64 | the oldest of the largest group is closed, or the new one |
//! | seats of strangers | `per_ip_max`, `per_subnet_max` | `inbound_max`, `outbound_max` | refused; a quiet one is closed |
//! | address book | 32 an announcer, 64 its machine, 8 an address | 512 peers of 8 addresses | refused |
//! | bans, points, banned machines | | 4,096 each | the first to end is forgotten |
//! | numbers of peers that are gone | | strangers 1,024, known 1,024 | the oldest is forgotten |
//! | findings, orders | | 1,024; 8,192 | the finder waits; the order is dropped |

pub mod service;
pub mod wire;

pub use wire::{Envelope, WireError};
