//! The network room: what nodes say to each other, in bytes.
//!
//! [`wire`] is pure: an envelope around every message, with a limit for each kind, checked before
//! anything is decoded. The simulator sends its messages through it, so what it proves holds for the
//! bytes too. The libp2p service that carries the envelopes comes with the first network of several
//! validators (`docs/gaps.md`).

pub mod wire;

pub use wire::{Envelope, WireError};
