//! Start and stop of a node: files are opened and checked, threads start, and everything ends in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::oneshot;
use tracing::{info, warn};
use vibecoin_config::{Config, Paths};
use vibecoin_keystore::HomeLock;
use vibecoin_network::NetworkGuard;
use vibecoin_primitives::{Hash, Height, SecretKey};
use vibecoin_replica::Chain;
use vibecoin_rpc_backend::{BuildFacts, ChainFacts};
use vibecoin_rpc_server::RpcServer;
use vibecoin_storage::Store;

use crate::clock::{Clock, wall};
use crate::driver::Urgent;
use crate::error::NodeError;
use crate::listeners::{Running, Sockets};
use crate::open::{read_genesis, storage};
use crate::scrape::renderer;
use crate::settings::{server_config, stop_timeout};
use crate::shared::Shared;
use crate::signals::Signals;
use crate::snapshots::{Snapshots, clean};
use crate::start::{Opened, RunningThreads, Wires};
use crate::threads::{Threads, give_way};

/// Threads that serve RPC. More than the cores of a small machine only compete with the driver.
const RPC_THREADS: usize = 2;
/// Hashes burned to measure this machine's Proof of History rate after the start.
const CALIBRATION_HASHES: u64 = 2_000_000;

/// Start parameters of a node.
pub struct NodeOptions {
    /// The home directory: holds `genesis.toml`, the database and the consensus files.
    pub home: PathBuf,
    /// The operator's settings.
    pub config: Config,
    /// The validator's key; without one the node only follows the chain.
    pub validator_key: Option<SecretKey>,
    /// Facts about the program.
    pub build: BuildFacts,
    /// Called once, when RPC is serving.
    pub on_ready: Box<dyn FnOnce(Ready) + Send>,
}

/// A node that serves RPC.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Local address of RPC.
    pub rpc: SocketAddr,
    /// The chain's name.
    pub chain_id: String,
    /// The hash of block 0.
    pub genesis_hash: Hash,
    /// The head.
    pub height: Height,
    /// Address at which peers can connect, with the identity; `None` when no peer can.
    pub p2p: Option<String>,
    /// This node's identity on the network, if it has one.
    pub peer_id: Option<String>,
    /// Local address of the metrics, if they are served.
    pub metrics: Option<SocketAddr>,
    /// Local address of the admin methods, if they are served.
    pub admin: Option<SocketAddr>,
}

/// Runs a node until SIGTERM or SIGINT, or until it stops with an error.
///
/// # Errors
/// [`NodeError`] with the exit code of the process.
pub fn run(options: NodeOptions) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RPC_THREADS)
        // Sockets are looked at after so many polls: the default of 61 is seconds where each poll serves many calls.
        .event_interval(8)
        .thread_name("rpc")
        .on_thread_start(give_way)
        .enable_all()
        .build()
        .map_err(|error| NodeError::System {
            what: "start the RPC threads",
            detail: error.to_string(),
        })?;
    let result = runtime.block_on(async {
        let stop_timeout = stop_timeout(&options.config);
        let mut signals = Signals::caught()?;
        let mut node = Node::start(options).await?;
        let reason = node.wait(&mut signals).await;
        let ended_by_itself = reason.is_err();
        let stopped = node.stop(stop_timeout, ended_by_itself).await;
        reason.and(stopped)
    });
    // Never waits for work that an interrupted stop left running: the process ends now.
    runtime.shutdown_background();
    result
}

/// A running node.
pub struct Node {
    lock: HomeLock,
    store: Arc<Store>,
    shared: Arc<Shared>,
    server: RpcServer,
    listeners: Running,
    urgent: Sender<Urgent>,
    threads: Threads,
    ended: oneshot::Receiver<Result<(), NodeError>>,
    clock: Clock,
    network: Option<NetworkGuard>,
    snapshots: Arc<Snapshots>,
}

impl Node {
    /// Opens the home, checks it, starts the threads and the server.
    ///
    /// # Errors
    /// [`NodeError`]; nothing is running in that case.
    pub async fn start(options: NodeOptions) -> Result<Self, NodeError> {
        let NodeOptions {
            home,
            config,
            validator_key,
            build,
            on_ready,
        } = options;
        let clock = Clock::start();
        info!(target: "node", moniker = config.node.moniker, home = %home.display(), "starting");
        let paths = Paths::new(&home, &config);
        let lock = HomeLock::acquire(&home)?;
        let genesis = read_genesis(&paths.genesis)?;
        let rpc_config = server_config(&config)?;
        let sockets = Sockets::bind(&config, &paths).await?;
        let opened = Opened::open(&paths, &config, &genesis, validator_key)?;
        clean(&paths);
        let (store, height) = (opened.store.clone(), opened.height());
        let agent = format!("vibecoin/{}", build.version);
        let (wires, network) = Wires::connect(&paths, &config, &opened, agent, clock)?;
        let shared = wires.shared.clone();
        let RunningThreads {
            mut threads,
            urgent,
            ended,
            client,
        } = wires.run(opened, &config)?;

        let facts = facts(&client.chain, build)?;
        let render = renderer(client.scrape(), &rpc_config.metrics, &facts.build);
        let (chain_id, genesis_hash) = (facts.chain_id.clone(), facts.genesis);
        let peers = client.network.clone();
        let snapshots = Snapshots::new(store.clone(), shared.clone(), paths.snapshots.clone());
        let snapshots = Arc::new(snapshots);
        let backend = Arc::new(client.backend(facts, home, &config, snapshots.clone())?);
        let (server, listeners) = sockets.serve(&backend, rpc_config, render)?;
        let ready = Ready {
            rpc: server.endpoint(),
            chain_id,
            genesis_hash,
            height,
            p2p: peers
                .as_ref()
                .and_then(|network| network.info().addresses.first().cloned()),
            peer_id: peers.as_ref().map(|network| network.info().peer_id),
            metrics: listeners.metrics(),
            admin: listeners.admin(),
        };
        info!(target: "node", rpc = %server.address(), chain = ready.chain_id, genesis = %ready.genesis_hash, %height,
              ready_ms = clock.uptime_ms(), "ready");
        on_ready(ready);
        // It ends with the backend, which the servers own.
        let _runs_by_itself = tokio::spawn(crate::waits::report(Arc::downgrade(&backend)));
        let calibrated = shared.clone();
        threads.spawn("calibrate", move || calibrate(&calibrated, clock))?;
        Ok(Self {
            lock,
            store,
            shared,
            server,
            listeners,
            urgent,
            threads,
            ended,
            clock,
            network,
            snapshots,
        })
    }

    /// Waits for a signal (`Ok`) or for the node to stop with an error (`Err`).
    ///
    /// # Errors
    /// [`NodeError`] that ended the node.
    async fn wait(&mut self, signals: &mut Signals) -> Result<(), NodeError> {
        tokio::select! {
            _ = signals.term.recv() => Ok(()),
            _ = signals.int.recv() => Ok(()),
            ended = &mut self.ended => match ended {
                Ok(Ok(())) | Err(_) => Err(NodeError::ThreadLost { name: "driver" }),
                Ok(Err(error)) => Err(error),
            },
        }
    }

    /// Stops in order: no new work, finish the commit in progress, close the database.
    ///
    /// The home stays locked until the process ends unless everything has ended before `limit`.
    ///
    /// # Errors
    /// [`NodeError`] of a write that failed during the stop, or [`NodeError::SecondSignal`] when a signal
    /// interrupted it; the next start recovers without intervention.
    async fn stop(self, limit: Duration, ended_by_itself: bool) -> Result<(), NodeError> {
        let begun = self.clock.uptime_ms();
        self.shared.stopping.store(true, Ordering::Relaxed);
        info!(target: "node", "stopping");
        // Only signals that arrive from now on interrupt the stop.
        let Signals { mut term, mut int } = Signals::new()?;
        let Self {
            lock,
            store,
            server,
            listeners,
            urgent,
            threads,
            ended,
            clock,
            network,
            snapshots,
            ..
        } = self;
        let clean = async move {
            let grace = limit.checked_div(2).unwrap_or(limit);
            tokio::join!(server.stop(grace), listeners.stop(grace));
            let joined = tokio::task::spawn_blocking(move || {
                let _already_ended = urgent.send(Urgent::Stop);
                if let Some(network) = network {
                    network.stop();
                }
                snapshots.join();
                threads.join();
                store.close()
            });
            let closed = joined.await.map_err(|_| NodeError::ThreadLost { name: "stop" })?;
            closed.map_err(storage("close the database"))?;
            // The very last commit may have failed; `wait` has not reported that.
            if !ended_by_itself && let Ok(Err(error)) = ended.await {
                return Err(error);
            }
            Ok(())
        };
        let stopped = tokio::select! {
            closed = clean => Some(closed),
            () = tokio::time::sleep(limit) => {
                warn!(target: "node", "the stop took too long; the next start recovers");
                None
            }
            _ = term.recv() => Some(Err(NodeError::SecondSignal { signal: 15 })),
            _ = int.recv() => Some(Err(NodeError::SecondSignal { signal: 2 })),
        };
        match stopped {
            Some(Ok(())) => {
                drop(lock);
                info!(target: "node", ms = clock.uptime_ms().saturating_sub(begun), "clean shutdown");
                Ok(())
            }
            unclean => {
                // Threads may still write: no other process may open this home before this one ends.
                std::mem::forget(lock);
                unclean.unwrap_or(Ok(()))
            }
        }
    }
}

/// The constants of the chain and the build, for RPC.
fn facts(chain: &Chain, build: BuildFacts) -> Result<ChainFacts, NodeError> {
    Ok(ChainFacts {
        chain_id: chain.params.network.clone(),
        genesis: chain.genesis,
        prefix: chain.params.prefix().map_err(|error| NodeError::Config {
            what: "genesis.toml".to_owned(),
            detail: error.to_string(),
        })?,
        params: (*chain.params).clone(),
        validators: (*chain.validators).clone(),
        build,
    })
}

/// Measures this machine's hash rate, off the path to readiness.
fn calibrate(shared: &Shared, clock: Clock) {
    let begun = clock.now().mono.0;
    std::hint::black_box(vibecoin_poh::burn(Hash::ZERO, CALIBRATION_HASHES));
    let micros = clock.now().mono.0.saturating_sub(begun).max(1);
    let rate = CALIBRATION_HASHES
        .saturating_mul(1_000_000)
        .checked_div(micros)
        .unwrap_or(0);
    shared.hash_rate.store(rate, Ordering::Relaxed);
    shared.poh.lock().measured_hash_rate = rate;
    info!(target: "node::poh", hashes_per_s = rate, at = %wall(), "measured");
}
