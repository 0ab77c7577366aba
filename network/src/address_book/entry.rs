//! An entry of the address book: the addresses of a peer, their source, and the schedule of its dials.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId as LibPeer};

use super::ADDRESSES_PER_PEER_MAX;
use crate::address::provider;

/// Minimum delay before a peer is dialled again.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Maximum delay for a peer to stay connected with.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Maximum delay for any other peer.
const BACKOFF_MAX_OTHERS: Duration = Duration::from_secs(60);
/// Failed dials after which a peer may be evicted in favour of another.
pub(super) const FAILED_DIALS_BEFORE_EVICTION: u32 = 3;
/// Failed dials after which an address is no longer verified.
const VERIFIED_DIALS: u32 = 12;

/// Half to the whole of a delay, so that nodes that lost each other do not dial in step.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    let half = wait.checked_div(2).unwrap_or(wait);
    let extra = (random % 1_000)
        .saturating_mul(u64::try_from(half.as_micros()).unwrap_or(0))
        .checked_div(1_000)
        .unwrap_or(0);
    half.saturating_add(Duration::from_micros(extra))
}

/// A peer that announces addresses, and the machine it is connected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcer {
    pub peer: LibPeer,
    pub ip: Option<IpAddr>,
}

impl Announcer {
    /// Network of the provider of its machine.
    pub(super) fn origin(&self) -> Option<IpAddr> {
        self.ip.map(provider)
    }
}

/// Source of a peer's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The operator configured the peer, to stay connected with.
    Configured,
    /// The operator configured the peer as a bootnode.
    Bootstrap,
    /// The peer announced itself, or completed a hello at an address that was dialled.
    Own,
    /// Only others announced the peer. They may have invented it.
    Unverified,
}

/// A peer that may be dialled.
pub(super) struct Entry {
    /// Addresses configured by the operator, or announced by the peer itself; for a peer never connected, the
    /// first that others announced.
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) source: Source,
    /// The one of `addresses` at which the peer completed a hello when it was dialled.
    pub(super) verified: Option<Multiaddr>,
    /// The peer that announced it; not set for configured addresses and those from the file.
    pub(super) announcer: Option<Announcer>,
    /// Addresses announced by others since a dial of the peer failed. Unverified, so they are tried beside the
    /// rest.
    pub(super) unverified: Vec<Multiaddr>,
    /// Time of the next dial, and the delay after it.
    next: Instant,
    backoff: Duration,
    /// Dials since its last long connection ended: selects the next of its addresses.
    dials: u32,
    /// Dials since its last hello.
    failed_dials: u32,
}

impl Entry {
    /// A peer that is dialled from `next` on.
    pub(super) fn new(address: Multiaddr, source: Source, next: Instant) -> Self {
        Self {
            addresses: vec![address],
            source,
            verified: None,
            announcer: None,
            unverified: Vec::new(),
            next,
            backoff: BACKOFF_MIN,
            dials: 0,
            failed_dials: 0,
        }
    }

    /// Adds another address of the peer; the oldest is removed if necessary.
    pub(super) fn add_address(&mut self, address: Multiaddr) {
        if self.addresses.contains(&address) {
            return;
        }
        if self.addresses.len() >= ADDRESSES_PER_PEER_MAX {
            self.addresses.remove(0);
        }
        self.addresses.push(address);
    }

    /// Returns true if this node stays connected with the peer.
    pub(super) fn is_persistent(&self) -> bool {
        self.source == Source::Configured
    }

    /// Returns true if the operator configured the peer.
    pub(super) const fn is_from_operator(&self) -> bool {
        matches!(self.source, Source::Configured | Source::Bootstrap)
    }

    /// Returns true if the operator configured the peer, or it was reached by a dial.
    pub(super) const fn is_reliable(&self) -> bool {
        self.is_from_operator() || self.verified.is_some()
    }

    /// Returns true if dials failed often enough for the peer to be evicted.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed_dials >= FAILED_DIALS_BEFORE_EVICTION
    }

    /// Number of dials since the peer's last hello.
    pub(super) const fn failed_dials(&self) -> u32 {
        self.failed_dials
    }

    /// Returns true if the peer may be dialled at this time.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Begins a dial: returns the next of the addresses, and schedules the dial after it.
    pub(super) fn start_dial(&mut self, now: Instant) -> Option<Multiaddr> {
        let count = self.addresses.len().saturating_add(self.unverified.len());
        let turn = usize::try_from(self.dials).ok()?.checked_rem(count)?;
        let address = self.addresses.iter().chain(&self.unverified).nth(turn)?.clone();
        self.next = now.checked_add(jittered(self.backoff)).unwrap_or(now);
        self.dials = self.dials.saturating_add(1);
        self.failed_dials = self.failed_dials.saturating_add(1);
        if self.failed_dials >= VERIFIED_DIALS {
            self.verified = None;
        }
        let backoff_max = if self.is_persistent() {
            BACKOFF_MAX
        } else {
            BACKOFF_MAX_OTHERS
        };
        self.backoff = self.backoff.saturating_mul(2).min(backoff_max);
        Some(address)
    }

    /// The dial that began did not start.
    pub(super) const fn cancel_dial(&mut self) {
        self.dials = self.dials.saturating_sub(1);
        self.failed_dials = self.failed_dials.saturating_sub(1);
    }

    /// The peer completed a hello.
    pub(super) const fn on_hello(&mut self) {
        self.failed_dials = 0;
    }

    /// Begins the schedule again, with a dial at `next`.
    pub(super) const fn reset(&mut self, next: Instant) {
        self.backoff = BACKOFF_MIN;
        self.next = next;
        self.dials = 0;
        self.failed_dials = 0;
    }
}
