//! Connection slots: of connections awaiting a hello, and of unknown peers.
//!
//! Validators and configured peers take none of them. Before its hello a validator that this node does not
//! know is indistinguishable from others, so connections of all kinds are accepted for a few seconds: the
//! largest group loses a slot to others (`displace`), and on a machine whose unknown peers are banned one
//! connection at a time may still prove its identity.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId as LibPeer};
use tracing::debug;
use vibecoin_primitives::PublicKey;

use super::Task;
use super::peer::Peer;
use crate::address::{ip_of, machine, subnet};
use crate::counters::Refusal;
use crate::displace::{Holder, Origin, displaced};
use crate::lanes::Rank;

/// Maximum number of connections from one machine awaiting a hello; loopback is exempt.
const UNAUTHENTICATED_PER_MACHINE_MAX: usize = 8;
/// The same for a machine that is banned.
const UNAUTHENTICATED_PER_BANNED_MACHINE_MAX: usize = 1;
/// Age at which such a connection may be displaced by one whose address has as many. A hello takes two round
/// trips.
const UNAUTHENTICATED_KEPT: Duration = Duration::from_secs(1);
/// Time without received bytes after which an unknown peer's slot may be taken.
const QUIET_SLOT_KEPT: Duration = Duration::from_secs(60);
/// Maximum number of nodes that count as one validator: the running one and the previous one.
const NODES_PER_VALIDATOR_MAX: usize = 2;

/// The machine of an address, other than this one.
pub(super) fn machine_of(address: &Multiaddr) -> Option<IpAddr> {
    ip_of(address).map(machine).filter(|ip| !ip.is_loopback())
}

/// Connections as [`displaced`] compares them; those without an IP address are left out.
fn holders<'a>(peers: impl Iterator<Item = (&'a LibPeer, &'a Peer)>, now: Instant) -> Vec<Holder<LibPeer>> {
    peers
        .filter_map(|(id, peer)| {
            Some(Holder {
                key: *id,
                origin: Origin::proven(&peer.address)?,
                age: now.saturating_duration_since(peer.since),
            })
        })
        .collect()
}

impl Peer {
    const fn is_unauthenticated(&self) -> bool {
        !self.outbound && self.admitted.is_none()
    }
}

impl Task {
    /// Returns true if the operator configured the peer.
    pub(super) fn is_privileged(&self, peer: &LibPeer) -> bool {
        self.reserved.contains(peer) || self.book.is_persistent(peer)
    }

    /// Returns true if the peer proved to be a validator on an earlier connection.
    fn was_validator(&self, peer: &LibPeer) -> bool {
        self.validator_nodes.values().any(|nodes| nodes.contains(peer))
    }

    pub(super) fn rank(&self, id: &LibPeer, validator: Option<PublicKey>) -> Rank {
        if validator.is_some() || self.is_privileged(id) {
            Rank::Known
        } else {
            Rank::Stranger
        }
    }

    /// Records a node of a validator; returns `false` when the validator has the maximum number of connected
    /// nodes.
    pub(super) fn record_validator_node(&mut self, id: LibPeer, key: PublicKey) -> bool {
        let here = |peer: &Peer| {
            peer.admitted
                .as_ref()
                .is_some_and(|one| one.validator == Some(key))
        };
        let others = self
            .peers
            .iter()
            .filter(|(other, peer)| **other != id && here(peer));
        if others.count() >= NODES_PER_VALIDATOR_MAX {
            return false;
        }
        let nodes = self.validator_nodes.entry(key).or_default();
        if !nodes.contains(&id) {
            if nodes.len() >= NODES_PER_VALIDATOR_MAX {
                nodes.remove(0);
            }
            nodes.push(id);
        }
        true
    }

    /// Returns true if one more connection from this address may send its hello.
    pub(super) fn may_send_hello(&mut self, peer: &LibPeer, address: &Multiaddr) -> bool {
        if self.is_privileged(peer) || self.was_validator(peer) {
            return true;
        }
        let now = Instant::now();
        let unauthenticated = || self.peers.iter().filter(|(_, peer)| peer.is_unauthenticated());
        if let Some(machine) = machine_of(address) {
            let same = unauthenticated()
                .filter(|(_, peer)| machine_of(&peer.address) == Some(machine))
                .count();
            let is_banned = self.scores.is_machine_banned(&machine, now);
            if is_banned && same >= UNAUTHENTICATED_PER_BANNED_MACHINE_MAX {
                self.shared.tally.refuse(Refusal::BannedPlace);
                return false;
            }
            if same >= UNAUTHENTICATED_PER_MACHINE_MAX {
                self.shared.tally.refuse(Refusal::Guest);
                return false;
            }
        }
        if unauthenticated().count() < usize::try_from(self.slots.unauthenticated).unwrap_or(usize::MAX) {
            return true;
        }
        self.shared.tally.refuse(Refusal::Guest);
        let unproven = unauthenticated().filter(|(id, _)| !self.is_privileged(id) && !self.was_validator(id));
        let holders = holders(unproven, now);
        let newcomer = Origin::proven(address);
        let Some(out) = newcomer.and_then(|newcomer| displaced(newcomer, &holders, UNAUTHENTICATED_KEPT))
        else {
            return false;
        };
        self.displace(out);
        true
    }

    /// Decides whether an inbound unknown peer that completed its hello may stay, or returns the reason for
    /// its refusal. A peer that has been quiet for long is displaced.
    pub(super) fn take_slot(&mut self, id: &LibPeer) -> Result<(), Refusal> {
        let Some(peer) = self.peers.get(id) else {
            return Err(Refusal::Seat);
        };
        if peer.outbound || self.is_privileged(id) {
            return Ok(());
        }
        let ip = ip_of(&peer.address)
            .map(|ip| ip.to_canonical())
            .filter(|ip| !ip.is_loopback());
        let holding = || {
            self.peers.iter().filter(|(other, peer)| {
                let admitted = peer.admitted.as_ref();
                !peer.outbound
                    && admitted.is_some_and(|admitted| admitted.validator.is_none())
                    && !self.is_privileged(other)
            })
        };
        if let Some(ip) = ip {
            if self.scores.is_machine_banned(&machine(ip), Instant::now()) {
                return Err(Refusal::BannedPlace);
            }
            let (mut same, mut near) = (0u32, 0u32);
            for other in holding().filter_map(|(_, peer)| ip_of(&peer.address)) {
                let other = other.to_canonical();
                same = same.saturating_add(u32::from(machine(other) == machine(ip)));
                near = near.saturating_add(u32::from(subnet(other) == subnet(ip)));
            }
            if same >= self.config.per_ip_max || near >= self.config.per_subnet_max {
                return Err(Refusal::Place);
            }
        }
        if holding().count() < usize::try_from(self.slots.inbound).unwrap_or(usize::MAX) {
            return Ok(());
        }
        let quietest = holding()
            .filter(|(_, peer)| peer.quiet_since.elapsed() > QUIET_SLOT_KEPT)
            .max_by_key(|(_, peer)| peer.quiet_since.elapsed());
        // Otherwise the largest group loses one, where that makes the shares more even: a few machines cannot
        // keep all slots.
        let crowded = || {
            let holders = holders(holding(), Instant::now());
            displaced(Origin::proven(&peer.address)?, &holders, Duration::MAX)
        };
        let Some(out) = quietest.map(|(id, _)| *id).or_else(crowded) else {
            return Err(Refusal::Seat);
        };
        self.displace(out);
        Ok(())
    }

    fn displace(&mut self, id: LibPeer) {
        debug!(target: "node::network", peer = %id, "its seat is taken");
        let _closing = self.swarm.disconnect_peer_id(id);
        // Its share is released now: its connection may take a moment to end.
        self.on_disconnected(id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests;
