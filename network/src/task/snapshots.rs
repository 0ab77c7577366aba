//! Publication of the state that callers read.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libp2p::PeerId as LibPeer;
use vibecoin_primitives::Height;

use super::Task;
use crate::handshake::HELLO_PROTOCOL;
use crate::snapshot::{BanInfo, NetworkInfo, PeerInfo};

impl Task {
    pub(super) fn publish_info(&self) {
        *self.shared.snapshots.info.lock() = NetworkInfo {
            peer_id: self.swarm.local_peer_id().to_string(),
            addresses: self.own_addresses(None),
            protocols: vec![
                HELLO_PROTOCOL.to_owned(),
                self.names.direct.to_string(),
                self.names.parts.to_string(),
            ],
        };
    }

    pub(super) fn publish_peer(&self, id: LibPeer) {
        let Some((peer, admitted)) = self.peers.get(&id).and_then(|p| Some((p, p.admitted.as_ref()?))) else {
            return;
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let info = PeerInfo {
            id: id.to_string(),
            peer: peer.number,
            address: peer.address.to_string(),
            outbound: peer.outbound,
            agent: admitted.agent.clone(),
            validator: admitted.validator,
            head: Height(admitted.traffic.head.load(Ordering::Relaxed)),
            blame: self.scores.of(&id, Instant::now()),
            rtt_micros: u64::try_from(peer.rtt.as_micros()).unwrap_or(u64::MAX),
            bytes_in: admitted.traffic.bytes_in.load(Ordering::Relaxed),
            bytes_out: admitted.traffic.bytes_out.load(Ordering::Relaxed),
            connected_ms: millis(peer.since.elapsed()),
        };
        self.shared.snapshots.peers.lock().insert(peer.number, info);
    }

    pub(super) fn publish_bans(&self) {
        let now = Instant::now();
        let left = |until: Instant| until.saturating_duration_since(now).as_millis();
        let bans = self.scores.bans().map(|(peer, ban)| BanInfo {
            id: peer.to_string(),
            reason: ban.reason.clone(),
            left_ms: ban
                .until
                .map(|until| u64::try_from(left(until)).unwrap_or(u64::MAX)),
        });
        *self.shared.snapshots.bans.lock() = bans.collect();
    }
}
