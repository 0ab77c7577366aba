//! The caller's handle of the network.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use vibecoin_messages::{GossipId, Message, PeerId, Severity, Verdict};
use vibecoin_primitives::Height;

use crate::address::{peer_address, peer_id};
use crate::command::Command;
use crate::config::NetworkConfig;
use crate::counters::{NetworkCounters, Protocol};
use crate::error::NetworkError;
use crate::event::Sink;
use crate::shared::Shared;
use crate::snapshot::{BanInfo, NetworkInfo, PeerInfo};
use crate::task::Task;
use crate::wire::Frame;

/// Maximum number of commands queued for the swarm.
const COMMANDS_MAX: usize = 8_192;
/// The network. Clones share it; every method returns at once.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

/// Stops the network.
pub struct NetworkGuard {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

impl NetworkGuard {
    /// Closes every connection and waits for the thread.
    pub fn stop(self) {
        let mut command = Command::Stop;
        // A full queue drains; a closed one means that the thread has ended.
        while let Err(mpsc::error::TrySendError::Full(back)) = self.commands.try_send(command) {
            command = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        let _panicked = self.thread.join();
    }
}

impl Network {
    /// Starts the network on a separate thread; it is listening on return.
    ///
    /// # Errors
    /// [`NetworkError`] with the address that cannot be used, or another cause.
    pub fn start(config: NetworkConfig, sink: Arc<dyn Sink>) -> Result<(Self, NetworkGuard), NetworkError> {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let shared = Arc::new(Shared::new(&config, commands.clone()));
        let failed = |detail: String| NetworkError::Start { detail };
        let (ready, started) = std::sync::mpsc::channel();
        let for_task = shared.clone();
        let thread = std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(async move {
                        match Task::new(config, sink, for_task, received).await {
                            Ok(task) => {
                                let _gone = ready.send(Ok(()));
                                task.run().await;
                            }
                            Err(error) => {
                                let _gone = ready.send(Err(error));
                            }
                        }
                    }),
                    Err(error) => {
                        let _gone = ready.send(Err(failed(error.to_string())));
                    }
                }
            })
            .map_err(|error| failed(error.to_string()))?;
        started
            .recv()
            .unwrap_or_else(|_| Err(failed("its thread ended".to_owned())))?;
        Ok((Self { shared }, NetworkGuard { commands, thread }))
    }

    fn command(&self, command: Command) -> Result<(), NetworkError> {
        self.shared
            .commands
            .try_send(command)
            .map_err(|_| NetworkError::Busy)
    }

    /// Gossips a message: transactions on their topic, everything else on the consensus topic. The same
    /// message published again has a different id for the duplicate caches, so it is never suppressed.
    pub fn publish(&self, message: &Message) {
        let envelope = self.shared.envelope.pack(message);
        let transactions = matches!(message, Message::Transactions(_));
        let protocol = if transactions {
            Protocol::Transactions
        } else {
            Protocol::Consensus
        };
        let Some(copy) = self.shared.copies.lock().next(&envelope, Instant::now()) else {
            return self.shared.tally.dropped_out(protocol);
        };
        let mut data = copy.to_le_bytes().to_vec();
        data.extend_from_slice(&envelope);
        let len = data.len();
        match self.command(Command::Publish { transactions, data }) {
            Ok(()) => self.shared.tally.sent(protocol, len),
            Err(_) => self.shared.tally.dropped_out(protocol),
        }
    }

    /// Sends to one peer on the direct lane.
    pub fn send(&self, to: PeerId, message: &Message) {
        let frame: Arc<[u8]> = self.shared.envelope.pack(message).into();
        match self.shared.lanes.read().get(&to) {
            Some(lanes) => {
                lanes.owed.asked(message);
                lanes.direct.push(frame, &self.shared.tally);
            }
            None => self.shared.tally.dropped_out(Protocol::Direct),
        }
    }

    /// Encodes a message for [`Network::send_frame`].
    #[must_use]
    pub fn frame(&self, message: &Message) -> Frame {
        self.shared.envelope.frame(message)
    }

    /// Sends a message that is not a request to one peer on the direct lane. Peers with the same frame queued
    /// share its bytes.
    pub fn send_frame(&self, to: PeerId, frame: &Frame) {
        match self.shared.lanes.read().get(&to) {
            Some(lanes) => lanes.direct.push(frame.bytes(), &self.shared.tally),
            None => self.shared.tally.dropped_out(Protocol::Direct),
        }
    }

    /// Sends to every peer on the direct lane.
    pub fn send_all(&self, message: &Message) {
        let frame: Arc<[u8]> = self.shared.envelope.pack(message).into();
        for lanes in self.shared.lanes.read().values() {
            lanes.owed.asked(message);
            lanes.direct.push(frame.clone(), &self.shared.tally);
        }
    }

    /// Sends to every connected validator on the parts lane.
    pub fn stream(&self, message: &Message) {
        let frame: Arc<[u8]> = self.shared.envelope.pack(message).into();
        for lanes in self.shared.lanes.read().values() {
            if let Some(parts) = &lanes.parts {
                parts.push(frame.clone(), &self.shared.tally);
            }
        }
    }

    /// Reports the verdict on forwarding a gossiped message.
    pub fn forward(&self, gossip: GossipId, verdict: Verdict) {
        // If the queue is full it expires, as an ignored one does.
        let _full = self.command(Command::Forward { gossip, verdict });
    }

    /// Records that a peer broke a rule; too many offences, or a serious one, and it is banned.
    pub fn blame(&self, peer: PeerId, severity: Severity, reason: &str) {
        let reason = reason.to_owned();
        let _full = self.command(Command::Blame {
            peer,
            severity,
            reason,
        });
    }

    /// Sets the newest block, for later hellos.
    pub fn set_head(&self, height: Height) {
        self.shared.head.store(height.0, Ordering::Relaxed);
    }

    /// Information on this node.
    #[must_use]
    pub fn info(&self) -> NetworkInfo {
        self.shared.snapshots.info.lock().clone()
    }

    /// The peers that have completed their hello.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.snapshots.peers.lock().values().cloned().collect()
    }

    /// The banned peers.
    #[must_use]
    pub fn bans(&self) -> Vec<BanInfo> {
        self.shared.snapshots.bans.lock().clone()
    }

    /// Counters since the start.
    #[must_use]
    pub fn counters(&self) -> NetworkCounters {
        self.shared.tally.read()
    }

    /// Connects to a peer and stays connected.
    ///
    /// # Errors
    /// [`NetworkError::Address`] when it does not end in `/p2p/ID`; [`NetworkError::Busy`].
    pub fn add_peer(&self, address: &str) -> Result<(), NetworkError> {
        let (peer, address) = peer_address(address)?;
        self.command(Command::Add { peer, address })
    }

    /// Disconnects a peer and does not dial it until it connects again.
    ///
    /// # Errors
    /// [`NetworkError::PeerId`]; [`NetworkError::Busy`].
    pub fn remove_peer(&self, id: &str) -> Result<(), NetworkError> {
        let peer = peer_id(id)?;
        self.command(Command::Remove { peer })
    }

    /// Bans a peer, for `seconds` or until [`Network::unban`].
    ///
    /// # Errors
    /// [`NetworkError::PeerId`]; [`NetworkError::Busy`].
    pub fn ban(&self, id: &str, reason: &str, seconds: Option<u64>) -> Result<(), NetworkError> {
        let peer = peer_id(id)?;
        self.command(Command::Ban {
            peer,
            reason: reason.to_owned(),
            time: seconds.map(Duration::from_secs),
        })
    }

    /// Lifts the ban of a peer, and connects at once to a persistent one.
    ///
    /// # Errors
    /// [`NetworkError::PeerId`]; [`NetworkError::Busy`].
    pub fn unban(&self, id: &str) -> Result<(), NetworkError> {
        let peer = peer_id(id)?;
        self.command(Command::Unban { peer })
    }
}
