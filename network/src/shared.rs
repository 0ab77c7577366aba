//! State shared by the handle and the swarm's thread.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::command::Command;
use crate::config::NetworkConfig;
use crate::copies::Copies;
use crate::counters::Tally;
use crate::lanes::AllLanes;
use crate::snapshot::Snapshots;
use crate::wire::Envelope;

/// State shared by the handle and the swarm's thread.
pub struct Shared {
    pub envelope: Envelope,
    pub commands: mpsc::Sender<Command>,
    pub lanes: AllLanes,
    pub snapshots: Snapshots,
    pub tally: Arc<Tally>,
    /// The newest block of this node.
    pub head: AtomicU64,
    pub copies: Mutex<Copies>,
}

impl Shared {
    pub fn new(config: &NetworkConfig, commands: mpsc::Sender<Command>) -> Self {
        Self {
            envelope: Envelope::new(&config.genesis),
            commands,
            lanes: AllLanes::default(),
            snapshots: Snapshots::default(),
            tally: Arc::new(Tally::default()),
            head: AtomicU64::new(config.head.0),
            copies: Mutex::new(Copies::default()),
        }
    }
}
