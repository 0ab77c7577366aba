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

use super::{Peer, Task};
use crate::admission::{ip_of, machine, subnet};
use crate::counters::Refusal;
use crate::displace::{Holder, Origin, displaced};
use crate::lanes::Rank;
use crate::meter::part_of_strangers;

/// Maximum number of connections from one machine awaiting a hello; loopback is exempt.
const GUESTS_PER_MACHINE_MAX: usize = 8;
/// The same for a machine that is banned.
const GUESTS_BANNED_MAX: usize = 1;
/// Age at which such a connection may be displaced by one whose address has as many. A hello takes two round
/// trips.
const GUEST_KEEPS: Duration = Duration::from_secs(1);
/// Time without received bytes after which an unknown peer's slot may be taken.
const QUIET_KEEPS: Duration = Duration::from_secs(60);
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
    const fn is_guest(&self) -> bool {
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
        self.validators_met.values().any(|nodes| nodes.contains(peer))
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
    pub(super) fn meet_validator(&mut self, id: LibPeer, key: PublicKey) -> bool {
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
        let nodes = self.validators_met.entry(key).or_default();
        if !nodes.contains(&id) {
            if nodes.len() >= NODES_PER_VALIDATOR_MAX {
                nodes.remove(0);
            }
            nodes.push(id);
        }
        true
    }

    /// Returns true if one more connection from this address may send its hello.
    pub(super) fn has_room(&mut self, peer: &LibPeer, address: &Multiaddr) -> bool {
        if self.is_privileged(peer) || self.was_validator(peer) {
            return true;
        }
        let now = Instant::now();
        let guests = || self.peers.iter().filter(|(_, peer)| peer.is_guest());
        if let Some(machine) = machine_of(address) {
            let same = guests()
                .filter(|(_, peer)| machine_of(&peer.address) == Some(machine))
                .count();
            let is_banned = self.scores.is_place_banned(&machine, now);
            if is_banned && same >= GUESTS_BANNED_MAX {
                self.shared.tally.refuse(Refusal::BannedPlace);
                return false;
            }
            if same >= GUESTS_PER_MACHINE_MAX {
                self.shared.tally.refuse(Refusal::Guest);
                return false;
            }
        }
        if guests().count() < usize::try_from(self.seats.guests).unwrap_or(usize::MAX) {
            return true;
        }
        self.shared.tally.refuse(Refusal::Guest);
        let unproven = guests().filter(|(id, _)| !self.is_privileged(id) && !self.was_validator(id));
        let holders = holders(unproven, now);
        let newcomer = Origin::proven(address);
        let Some(out) = newcomer.and_then(|newcomer| displaced(newcomer, &holders, GUEST_KEEPS)) else {
            return false;
        };
        self.send_away(out);
        true
    }

    /// Decides whether an inbound unknown peer that completed its hello may stay, or returns the reason for
    /// its refusal. A peer that has been quiet for long is displaced.
    pub(super) fn take_seat(&mut self, id: &LibPeer) -> Result<(), Refusal> {
        let Some(peer) = self.peers.get(id) else {
            return Err(Refusal::Seat);
        };
        if peer.outbound || self.is_privileged(id) {
            return Ok(());
        }
        let ip = ip_of(&peer.address)
            .map(|ip| ip.to_canonical())
            .filter(|ip| !ip.is_loopback());
        let seated = || {
            self.peers.iter().filter(|(other, peer)| {
                let admitted = peer.admitted.as_ref();
                !peer.outbound
                    && admitted.is_some_and(|admitted| admitted.validator.is_none())
                    && !self.is_privileged(other)
            })
        };
        if let Some(ip) = ip {
            if self.scores.is_place_banned(&machine(ip), Instant::now()) {
                return Err(Refusal::BannedPlace);
            }
            let (mut same, mut near) = (0u32, 0u32);
            for other in seated().filter_map(|(_, peer)| ip_of(&peer.address)) {
                let other = other.to_canonical();
                same = same.saturating_add(u32::from(machine(other) == machine(ip)));
                near = near.saturating_add(u32::from(subnet(other) == subnet(ip)));
            }
            if same >= self.config.per_ip_max || near >= self.config.per_subnet_max {
                return Err(Refusal::Place);
            }
        }
        if seated().count() < usize::try_from(self.seats.inbound).unwrap_or(usize::MAX) {
            return Ok(());
        }
        let quietest = seated()
            .filter(|(_, peer)| peer.quiet_since.elapsed() > QUIET_KEEPS)
            .max_by_key(|(_, peer)| peer.quiet_since.elapsed());
        // Otherwise the largest group loses one, where that makes the shares more even: a few machines cannot
        // keep all slots.
        let crowded = || {
            let holders = holders(seated(), Instant::now());
            displaced(Origin::proven(&peer.address)?, &holders, Duration::MAX)
        };
        let Some(out) = quietest.map(|(id, _)| *id).or_else(crowded) else {
            return Err(Refusal::Seat);
        };
        self.send_away(out);
        Ok(())
    }

    fn send_away(&mut self, id: LibPeer) {
        debug!(target: "node::network", peer = %id, "its seat is taken");
        let _closing = self.swarm.disconnect_peer_id(id);
        // Its share is released now: its connection may take a moment to end.
        self.on_gone(id);
    }

    /// Sets each peer's rate for the number of connected ones, and records which are quiet.
    pub(super) fn share_out(&mut self) {
        let ranks: Vec<(LibPeer, Option<Rank>)> = self
            .peers
            .iter()
            .map(|(id, peer)| {
                let admitted = peer.admitted.as_ref();
                (*id, admitted.map(|admitted| self.rank(id, admitted.validator)))
            })
            .collect();
        let per_peer = self.config.bytes_per_s_per_peer;
        let strangers = ranks.iter().filter(|(_, rank)| *rank == Some(Rank::Stranger));
        let part = part_of_strangers(strangers.count(), per_peer);
        for (id, rank) in ranks {
            match rank {
                Some(Rank::Known) => self.meters.set(&id, per_peer, true),
                Some(Rank::Stranger) => self.meters.set(&id, part, false),
                None => {}
            }
        }
        for peer in self.peers.values_mut() {
            let Some(admitted) = &peer.admitted else { continue };
            let bytes = admitted
                .traffic
                .bytes_in
                .load(std::sync::atomic::Ordering::Relaxed);
            if bytes != peer.bytes_seen {
                peer.bytes_seen = bytes;
                peer.quiet_since = Instant::now();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests;
