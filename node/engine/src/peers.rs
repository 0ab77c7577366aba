//! The network as RPC sees it.

use vibecoin_network::Network;
use vibecoin_rpc_backend::{Ban, NetworkFacts, Peer, PeersView};

/// The network's handle, with values that only the configuration has.
pub struct Peers {
    /// The handle.
    pub network: Network,
    /// Addresses announced to peers.
    pub external: Vec<String>,
}

impl PeersView for Peers {
    fn info(&self) -> NetworkFacts {
        let info = self.network.info();
        NetworkFacts {
            peer_id: info.peer_id,
            listen: info.addresses,
            external: self.external.clone(),
            protocols: info.protocols,
        }
    }

    fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self
            .network
            .peers()
            .into_iter()
            .map(|peer| Peer {
                id: peer.id,
                address: peer.address,
                inbound: !peer.outbound,
                agent: peer.agent,
                validator: peer.validator,
                head: peer.head,
                // Blame counts up to a ban; a score counts down.
                score: i64::from(peer.blame).saturating_neg(),
                rtt_ms: (peer.rtt_micros > 0).then(|| peer.rtt_micros.div_ceil(1000)),
                bytes_in: peer.bytes_in,
                bytes_out: peer.bytes_out,
                connected_ms: peer.connected_ms,
            })
            .collect();
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.connected_ms));
        peers
    }

    fn add(&self, address: &str) -> Result<(), String> {
        self.network.add_peer(address).map_err(|error| error.to_string())
    }

    fn remove(&self, id: &str) -> Result<(), String> {
        self.network.remove_peer(id).map_err(|error| error.to_string())
    }

    fn ban(&self, id: &str, reason: &str, seconds: Option<u64>) -> Result<(), String> {
        self.network
            .ban(id, reason, seconds)
            .map_err(|error| error.to_string())
    }

    fn unban(&self, id: &str) -> Result<(), String> {
        if !self.network.bans().iter().any(|ban| ban.id == id) {
            return Err(format!("{id} is not banned"));
        }
        self.network.unban(id).map_err(|error| error.to_string())
    }

    fn bans(&self) -> Vec<Ban> {
        let bans = self.network.bans().into_iter();
        bans.map(|ban| Ban {
            id: ban.id,
            reason: ban.reason,
            seconds_left: ban.left_ms.map(|ms| ms.div_ceil(1000)),
        })
        .collect()
    }
}
