//! Slots of unknown peers, from connection and hello to the slot. The swarm has no sockets: addresses are
//! given.

use std::sync::Arc;

use libp2p::core::ConnectedPoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::ConnectionId;
use tokio::sync::mpsc;
use vibecoin_primitives::{Address, Hash, Height, Power, SecretKey, Validator, ValidatorSet};

use super::*;
use crate::command::Command;
use crate::config::NetworkConfig;
use crate::event::{NetworkEvent, Sink};
use crate::handshake::Hello;
use crate::shared::Shared;

const GENESIS: Hash = Hash([7; 32]);
const SEATS: usize = 64;
const PER_MACHINE: usize = 8;

struct Discard;

impl Sink for Discard {
    fn deliver(&self, _: NetworkEvent) -> bool {
        true
    }
}

struct Room {
    task: Task,
    arrived: usize,
    _commands: mpsc::Sender<Command>,
}

impl Room {
    async fn new() -> Self {
        let validator = Validator {
            key: SecretKey::from_seed(&[1; 32]).public_key(),
            power: Power(1),
            payout: Address([1; 32]),
        };
        let config = NetworkConfig {
            inbound_max: 64,
            per_subnet_max: 32,
            bytes_per_s_per_peer: 1 << 20,
            head: Height(1),
            ..NetworkConfig::unconnected(GENESIS, [1; 32], ValidatorSet::new(vec![validator]).unwrap())
        };
        let (commands, received) = mpsc::channel(1);
        let shared = Arc::new(Shared::new(&config, commands.clone()));
        let mut task = Task::new(config, Arc::new(Discard), shared, received)
            .await
            .unwrap();
        // Independent of the file limit of the machine that runs the test.
        task.slots.inbound = u32::try_from(SEATS).unwrap();
        task.slots.unauthenticated = u32::try_from(SEATS).unwrap();
        Self {
            task,
            arrived: 0,
            _commands: commands,
        }
    }

    /// Connects an unknown peer from this address and completes its hello. `None` if it is refused a slot.
    fn arrive(&mut self, ip: &str) -> Option<LibPeer> {
        let id = LibPeer::random();
        self.arrived += 1;
        let endpoint = ConnectedPoint::Listener {
            local_addr: "/ip4/192.0.2.1/tcp/1".parse().unwrap(),
            send_back_addr: format!("/ip4/{ip}/tcp/{}", 1_024 + self.arrived).parse().unwrap(),
        };
        let connection = ConnectionId::new_unchecked(self.arrived);
        self.task.on_connection(id, connection, &endpoint, 1);
        self.task.on_hello(id, Hello::of_stranger(GENESIS));
        if self.has(id) {
            return Some(id);
        }
        // The swarm would report the end of the connection that it was instructed to close.
        self.task.on_disconnected(id);
        None
    }

    fn has(&self, id: LibPeer) -> bool {
        let peer = self.task.peers.get(&id);
        peer.is_some_and(|peer| peer.admitted.is_some())
    }

    fn seated(&self) -> usize {
        let peers = self.task.peers.values();
        peers.filter(|peer| peer.admitted.is_some()).count()
    }

    fn refused(&self, reason: Refusal) -> u64 {
        self.task.shared.tally.read().refused(reason)
    }

    fn make_quiet(&mut self, id: LibPeer, time: Duration) {
        let peer = self.task.peers.get_mut(&id).unwrap();
        peer.quiet_since = peer.quiet_since.checked_sub(time).unwrap();
    }
}

/// Address of one of eight machines, each in a separate provider's network.
fn eight(number: usize) -> String {
    format!("198.{}.0.1", 10 + number % 8)
}

/// Address of an honest unknown peer in a separate provider's network.
fn honest(number: usize) -> String {
    format!("203.{number}.113.1")
}

#[tokio::test]
async fn newcomers_from_other_networks_get_the_seats_of_eight_addresses_that_hold_all_and_keep_them() {
    let mut room = Room::new().await;
    let crowd: Vec<LibPeer> = (0..SEATS)
        .filter_map(|number| room.arrive(&eight(number)))
        .collect();
    assert_eq!(crowd.len(), SEATS, "the eight addresses hold every seat");
    let mut guests = Vec::new();
    for number in 0..SEATS - 8 {
        let came = room.arrive(&honest(number));
        guests.push(came.expect("a seat for a newcomer from another network"));
        for attempt in 0..16 {
            let _refused = room.arrive(&eight(attempt));
        }
        assert!(
            guests.iter().all(|id| room.has(*id)),
            "{number} displaced another"
        );
        assert_eq!(room.seated(), SEATS);
    }
    let left = crowd.iter().filter(|id| room.has(**id)).count();
    assert_eq!(left, 8, "one seat of each address");
    let seats_refused = room.refused(Refusal::Seat);
    assert_eq!(room.arrive("100.64.0.1"), None, "the shares are even");
    assert_eq!(room.refused(Refusal::Seat), seats_refused + 1);
}

#[tokio::test]
async fn one_address_takes_no_more_seats_than_the_bound_of_an_address() {
    let mut room = Room::new().await;
    let own = (0..SEATS).filter(|_| room.arrive("198.10.0.1").is_some()).count();
    assert_eq!(own, PER_MACHINE);
    let near = (0..SEATS).filter(|number| room.arrive(&format!("198.10.0.{}", 2 + number)).is_some());
    assert_eq!(near.count(), 32 - PER_MACHINE, "one subnet");
    assert_eq!(room.refused(Refusal::Place), 2 * 64 - 32);
}

#[tokio::test]
async fn the_stranger_that_was_quiet_for_longest_makes_way_first() {
    let mut room = Room::new().await;
    let seated: Vec<LibPeer> = (0..SEATS)
        .filter_map(|number| room.arrive(&honest(number)))
        .collect();
    assert_eq!(room.arrive("100.64.0.1"), None, "none is quiet");
    let [quiet, quietest] = [seated[3], seated[9]];
    room.make_quiet(quiet, QUIET_SLOT_KEPT);
    room.make_quiet(quietest, 2 * QUIET_SLOT_KEPT);
    assert!(room.arrive("100.64.0.1").is_some());
    assert!(room.has(quiet) && !room.has(quietest));
}

#[tokio::test]
async fn a_peer_that_this_node_dialled_takes_no_seat_of_those_that_came() {
    let mut room = Room::new().await;
    let dialled = LibPeer::random();
    let endpoint = ConnectedPoint::Dialer {
        address: "/ip4/198.10.0.1/tcp/1".parse().unwrap(),
        role_override: libp2p::core::Endpoint::Dialer,
        port_use: PortUse::Reuse,
    };
    room.task
        .on_connection(dialled, ConnectionId::new_unchecked(9_999), &endpoint, 1);
    assert_eq!(room.task.take_slot(&dialled), Ok(()));
    let own = (0..SEATS).filter(|_| room.arrive("198.10.0.1").is_some()).count();
    assert_eq!(own, PER_MACHINE);
    assert!(room.task.peers.contains_key(&dialled));
}
