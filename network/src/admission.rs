//! Admission of connections before their handshake: only the address book decides which peers this node dials,
//! and no group of addresses fills every slot for connections being negotiated. When all are taken, the largest
//! group loses one to others (`displace`).
//!
//! Parts of the swarm dial without a request: opening a stream to a peer that has just been disconnected
//! dials it again, and it would count as an outbound peer of our choice, past every bound for unknown peers.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::AbortHandle;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId as LibPeer};

use crate::address::{ip_of, machine};
use crate::arrivals::Arrivals;
use crate::bucket::Bucket;
use crate::counters::{Refusal, Tally};
use crate::displace::{Holder, Origin, displaced};

#[derive(Debug, thiserror::Error)]
#[error("the address book has not asked for this dial")]
struct UnannouncedDial;

#[derive(Debug, thiserror::Error)]
#[error("{0} connections are being negotiated already")]
struct TooManyPending(usize);

/// Maximum number of connections from one address being negotiated, over QUIC and over TCP; loopback is
/// exempt.
const PENDING_PER_MACHINE_MAX: usize = 8;
/// The same for all addresses of a subnet.
const PENDING_PER_SUBNET_MAX: usize = 24;
/// Age at which a negotiation may be displaced by a connection whose address has as many. A handshake takes
/// two round trips.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Maximum number of connections being negotiated from machines of validators and configured peers, over QUIC
/// and over TCP.
const PENDING_KNOWN_MAX: usize = 64;
/// Maximum number of such machines kept.
const KNOWN_MACHINES_MAX: usize = 1_024;

/// Rate limit of negotiations from one machine, over QUIC and over TCP: burst and interval. A handshake costs
/// this node more than its sender, and is short; loopback is exempt.
const NEGOTIATIONS_BURST: u32 = 16;
const NEGOTIATIONS_EACH: Duration = Duration::from_millis(500);
/// Maximum number of machines with a rate limit; beyond it all limits are reset.
const RATES_MAX: usize = 8_192;

/// Denies every dial that was not announced to it, and negotiations beyond the bounds.
pub struct Admission {
    /// The dial that the address book announced.
    permitted: Option<ConnectionId>,
    pending: HashMap<ConnectionId, Pending>,
    /// Displaced connections that have not ended yet.
    ending: HashSet<ConnectionId>,
    pending_max: usize,
    /// Machines of validators and configured peers, which have separate slots.
    known_machines: HashSet<IpAddr>,
    arrivals: Arrivals,
    /// Rate limits of machines with recent connections, over QUIC and over TCP.
    rates: HashMap<(IpAddr, bool), Bucket>,
    tally: Arc<Tally>,
}

/// Returns true if two connections count together.
type SameGroup = fn(Origin, Origin) -> bool;

#[derive(Debug)]
struct Pending {
    origin: Origin,
    is_known: bool,
    since: Instant,
    /// Aborts the negotiation. One without it is never displaced.
    end: Option<AbortHandle>,
}

impl Admission {
    /// Bounds for up to `pending_max` concurrent negotiations of unknown peers.
    pub fn new(pending_max: u32, arrivals: Arrivals, tally: Arc<Tally>) -> Self {
        Self {
            permitted: None,
            pending: HashMap::new(),
            ending: HashSet::new(),
            pending_max: usize::try_from(pending_max).unwrap_or(usize::MAX),
            known_machines: HashSet::new(),
            arrivals,
            rates: HashMap::new(),
            tally,
        }
    }

    /// Permits the dial with this connection id.
    pub const fn permit_dial(&mut self, dial: ConnectionId) {
        self.permitted = Some(dial);
    }

    /// Records that a validator or a configured peer is at this address. Loopback is ignored, since any local
    /// program shares it.
    pub fn add_known_machine(&mut self, address: &Multiaddr) {
        let ip = ip_of(address).map(machine).filter(|ip| !ip.is_loopback());
        if let Some(ip) = ip
            && self.known_machines.len() < KNOWN_MACHINES_MAX
        {
            self.known_machines.insert(ip);
        }
    }

    /// Returns true if a slot for known machines is free at this address: those for QUIC, whose source
    /// addresses can be spoofed, are separate from those for TCP. Beyond them the machine counts as unknown.
    fn has_known_slot(&self, origin: Origin) -> bool {
        let known = || self.pending.values().filter(|other| other.is_known);
        let all = known().filter(|other| other.origin.is_quic() == origin.is_quic());
        let own = known().filter(|other| other.origin == origin);
        self.known_machines.contains(&origin.machine())
            && all.count() < PENDING_KNOWN_MAX
            && own.count() < PENDING_PER_MACHINE_MAX
    }

    fn on_incoming(
        &mut self,
        connection: ConnectionId,
        from: &Multiaddr,
        now: Instant,
    ) -> Result<(), TooManyPending> {
        let end = self.arrivals.take(from);
        let Some(origin) = Origin::of(from) else {
            return Ok(());
        };
        let is_known = self.has_known_slot(origin);
        if !is_known {
            if !self.is_within_rate(origin, now) {
                return Err(TooManyPending(self.pending.len()));
            }
            self.free_slot(origin, now)?;
        }
        self.pending.insert(
            connection,
            Pending {
                origin,
                is_known,
                since: now,
                end,
            },
        );
        Ok(())
    }

    /// Takes one negotiation from the rate limit of a machine; false when it is used up.
    fn is_within_rate(&mut self, from: Origin, now: Instant) -> bool {
        if from.machine().is_loopback() {
            return true;
        }
        let now = tokio::time::Instant::from_std(now);
        if self.rates.len() >= RATES_MAX {
            self.rates.retain(|_, rate| !rate.is_full(now));
            if self.rates.len() >= RATES_MAX {
                self.rates.clear();
            }
        }
        let fresh = || Bucket::new(NEGOTIATIONS_EACH, NEGOTIATIONS_BURST, now);
        let rate = self.rates.entry((from.machine(), from.is_quic()));
        rate.or_insert_with(fresh).take(now)
    }

    /// Finds a slot for an unknown peer's connection, by displacing another if necessary.
    fn free_slot(&mut self, newcomer: Origin, now: Instant) -> Result<(), TooManyPending> {
        let strangers = || self.pending.iter().filter(|(_, other)| !other.is_known);
        let is_exempt = newcomer.machine().is_loopback();
        let bounds: [(SameGroup, usize); 3] = [
            (|own, other| own == other, PENDING_PER_MACHINE_MAX),
            (Origin::is_near, PENDING_PER_SUBNET_MAX),
            (|_, _| true, self.pending_max),
        ];
        // The narrowest of the bounds that are reached: a slot freed within it is free within the others,
        // too.
        let mut bounds = bounds.into_iter().skip(if is_exempt { 2 } else { 0 });
        let reached = bounds.find(|(same, max)| {
            let others = strangers().filter(|(_, other)| same(newcomer, other.origin));
            others.count() >= *max
        });
        let Some((same, max)) = reached else {
            return Ok(());
        };
        // Displaced connections hold their sockets until their tasks have run.
        if self.ending.len() >= self.pending_max {
            return Err(TooManyPending(max));
        }
        let holders: Vec<Holder<ConnectionId>> = strangers()
            .filter(|(_, other)| other.end.is_some() && same(newcomer, other.origin))
            .map(|(id, other)| Holder {
                key: *id,
                origin: other.origin,
                age: now.saturating_duration_since(other.since),
            })
            .collect();
        let out = displaced(newcomer, &holders, SETTLED_AFTER).ok_or(TooManyPending(max))?;
        if let Some(end) = self.pending.remove(&out).and_then(|pending| pending.end) {
            end.abort();
        }
        self.ending.insert(out);
        self.tally.refuse(Refusal::Pending);
        Ok(())
    }

    fn on_end(&mut self, connection: ConnectionId) {
        self.pending.remove(&connection);
        self.ending.remove(&connection);
    }
}

impl NetworkBehaviour for Admission {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        dial: ConnectionId,
        _: Option<LibPeer>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.permitted != Some(dial) {
            return Err(ConnectionDenied::new(UnannouncedDial));
        }
        self.permitted = None;
        Ok(Vec::new())
    }

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.on_incoming(connection, from, Instant::now())
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: LibPeer,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.on_end(established.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.on_end(failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: LibPeer, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests;
