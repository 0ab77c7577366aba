//! The network room: what nodes say to each other, in bytes, and how the bytes get there.
//!
//! [`wire`] is pure: an envelope around every message, with a limit for each kind, checked before
//! anything is decoded. The simulator sends its messages through it, so what it proves holds for the
//! bytes too. [`service`] is the libp2p swarm that carries the envelopes.

pub mod service;
pub mod wire;

pub use wire::{Envelope, WireError};
