//! Record of a connected peer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, Stream};
use tokio::task::AbortHandle;
use vibecoin_messages::PeerId;
use vibecoin_primitives::PublicKey;

use super::gossip::{USELESS_BURST, USELESS_EACH};
use crate::bucket::Bucket;
use crate::lanes::{Lane, Owed, Rank, Traffic};

/// A connected peer.
pub(super) struct Peer {
    pub(super) number: PeerId,
    /// Distinguishes successive connections of the same peer.
    pub(super) session: u64,
    pub(super) address: Multiaddr,
    pub(super) outbound: bool,
    pub(super) since: Instant,
    /// Time at which its newest connection was made.
    pub(super) newest: Instant,
    /// Set when its hello was accepted.
    pub(super) admitted: Option<Admitted>,
    /// Tasks that send this node's hello, for as long as the round trips take. They end with the peer, whose
    /// streams would never open.
    pub(super) hello_senders: Vec<AbortOnDrop>,
    /// Number of hellos received.
    pub(super) hellos: u32,
    /// Held by each task that reads one.
    pub(super) hello_readers: Arc<()>,
    /// Bytes received on its lanes at the last check, and the time since when there have been no more.
    pub(super) bytes_seen: u64,
    pub(super) quiet_since: Instant,
    /// Streams that arrived before the hello.
    pub(super) early_streams: Vec<(Lane, Stream)>,
    /// Number of its streams that are read on the direct lane and on the parts lane.
    pub(super) streams_read: [usize; 2],
    pub(super) rtt: Duration,
    pub(super) pings_lost: u32,
    /// Rate limit of its useless statements.
    pub(super) useless: Bucket,
}

/// Facts that a peer's hello established.
pub(super) struct Admitted {
    pub(super) agent: String,
    /// The run of its program.
    pub(super) run: u64,
    /// The validator key that it proved.
    pub(super) validator: Option<PublicKey>,
    pub(super) rank: Rank,
    pub(super) traffic: Arc<Traffic>,
    pub(super) owed: Arc<Owed>,
}

impl Peer {
    /// A peer whose first connection was made just now.
    pub(super) fn new(number: PeerId, session: u64, address: Multiaddr, outbound: bool) -> Self {
        let now = Instant::now();
        Self {
            number,
            session,
            address,
            outbound,
            since: now,
            newest: now,
            admitted: None,
            hello_senders: Vec::new(),
            hellos: 0,
            hello_readers: Arc::new(()),
            bytes_seen: 0,
            quiet_since: now,
            early_streams: Vec::new(),
            streams_read: [0; 2],
            rtt: Duration::ZERO,
            pings_lost: 0,
            useless: Bucket::new(USELESS_EACH, USELESS_BURST, now.into()),
        }
    }

    /// Rank of the peer, once its hello was accepted.
    pub(super) fn rank(&self) -> Option<Rank> {
        self.admitted.as_ref().map(|admitted| admitted.rank)
    }

    /// The count of streams that are read on a lane.
    pub(super) const fn streams_read_on(&mut self, lane: Lane) -> &mut usize {
        let [direct, parts] = &mut self.streams_read;
        match lane {
            Lane::Direct => direct,
            Lane::Parts => parts,
        }
    }
}

/// A task that ends when this is dropped.
pub(super) struct AbortOnDrop(pub(super) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
