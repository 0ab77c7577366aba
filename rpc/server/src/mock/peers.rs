//! A network of names: peers are added, removed and banned, and nothing is sent.

use parking_lot::Mutex;
use vibecoin_primitives::Height;
use vibecoin_rpc_backend::{Ban, NetworkFacts, Peer, PeersView};

/// The network of a mock. Starts with two peers, `peer-a` and `peer-b`.
#[derive(Debug)]
pub struct MockPeers {
    inner: Mutex<(Vec<Peer>, Vec<Ban>)>,
}

fn peer(id: &str, inbound: bool) -> Peer {
    Peer {
        id: id.to_owned(),
        address: format!("/ip4/127.0.0.1/tcp/1/p2p/{id}"),
        inbound,
        agent: "mock/1".to_owned(),
        validator: None,
        head: Height(7),
        score: -3,
        rtt_ms: Some(5),
        bytes_in: 100,
        bytes_out: 200,
        connected_ms: 1000,
    }
}

impl Default for MockPeers {
    fn default() -> Self {
        Self {
            inner: Mutex::new((vec![peer("peer-a", true), peer("peer-b", false)], Vec::new())),
        }
    }
}

impl PeersView for MockPeers {
    fn info(&self) -> NetworkFacts {
        NetworkFacts {
            peer_id: "peer-me".to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/9/p2p/peer-me".to_owned()],
            external: Vec::new(),
            protocols: vec!["/vibecoin/1".to_owned()],
        }
    }

    fn peers(&self) -> Vec<Peer> {
        self.inner.lock().0.clone()
    }

    fn add(&self, address: &str) -> Result<(), String> {
        let (_, id) = address
            .rsplit_once("/p2p/")
            .ok_or_else(|| format!("{address} does not end in /p2p/ID"))?;
        self.inner.lock().0.push(peer(id, false));
        Ok(())
    }

    fn remove(&self, id: &str) -> Result<(), String> {
        let peers = &mut self.inner.lock().0;
        let before = peers.len();
        peers.retain(|peer| peer.id != id);
        if peers.len() == before {
            return Err(format!("{id} is not a peer"));
        }
        Ok(())
    }

    fn ban(&self, id: &str, reason: &str, seconds: Option<u64>) -> Result<(), String> {
        let (peers, bans) = &mut *self.inner.lock();
        peers.retain(|peer| peer.id != id);
        bans.retain(|ban| ban.id != id);
        bans.push(Ban {
            id: id.to_owned(),
            reason: reason.to_owned(),
            seconds_left: seconds,
        });
        Ok(())
    }

    fn unban(&self, id: &str) -> Result<(), String> {
        let bans = &mut self.inner.lock().1;
        let before = bans.len();
        bans.retain(|ban| ban.id != id);
        if bans.len() == before {
            return Err(format!("{id} is not banned"));
        }
        Ok(())
    }

    fn bans(&self) -> Vec<Ban> {
        self.inner.lock().1.clone()
    }
}
