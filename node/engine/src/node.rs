//! Start and stop of a node: files are opened and checked, threads start, and everything ends in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, never};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::{info, warn};
use vibecoin_config::{Config, Paths};
use vibecoin_consensus::{BftOrderer, OrdererConfig};
use vibecoin_keystore::HomeLock;
use vibecoin_mempool::{Mempool, MempoolConfig};
use vibecoin_network::service::NetworkGuard;
use vibecoin_primitives::{Hash, Height, SecretKey};
use vibecoin_replica::{Chain, Intake, Replica};
use vibecoin_rpc_server::backend::{BuildFacts, ChainFacts, PeersView};
use vibecoin_rpc_server::{Config as ServerConfig, Rate, RpcServer};
use vibecoin_storage::Store;

use crate::again::Again;
use crate::backend::{Handles, NodeBackend};
use crate::clock::{Clock, wall};
use crate::driver::{Driver, INBOX_MAX, Input, URGENT_MAX, announce};
use crate::error::{Listener, NodeError};
use crate::faucet::Faucet;
use crate::inspect::{ANSWERS, CHECKED_MAX, Inspector, LIVE, reporter};
use crate::listeners::{Listeners, Running};
use crate::mail::Mailbox;
use crate::network::{GOSSIPED, Inlet, KnownPeers, Outlet};
use crate::open::{Opened, Role, head_of, open, read_genesis, storage};
use crate::peers::Peers;
use crate::persist::Persist;
use crate::queue::FairQueue;
use crate::rounds::RoundBook;
use crate::scrape::{Scrape, renderer};
use crate::serve::{Answer, Paces, Server};
use crate::shared::Shared;
use crate::signals::Signals;
use crate::submissions::submissions;
use crate::verify::{Queues, Stage, Tickets};

/// Threads that serve RPC. More than the cores of a small machine only compete with the driver.
const RPC_THREADS: usize = 2;
/// Scheduling priority of threads that accept new work; consensus threads have 0, which has precedence.
const LATER_PRIORITY: i32 = 10;
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
    urgent: Sender<Input>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    ended: oneshot::Receiver<Result<(), NodeError>>,
    clock: Clock,
    network: Option<NetworkGuard>,
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
        // Before anything runs: an address in use fails the start with no side effects.
        let address = rpc_address(&config);
        let listener = crate::listeners::listen(address)
            .await
            .map_err(Listener::Rpc.refused(address.to_string()))?;
        let listeners = Listeners::bind(&config, &paths).await?;
        let chain = Chain::new(genesis.hash, genesis.params.clone(), genesis.validators.clone());
        let validator_key = check_key(&chain, validator_key);
        let role = Role {
            key: validator_key.as_ref().map(SecretKey::public_key),
            validators: &chain.validators,
            fault_model: chain.fault_model(),
            has_network: crate::network::is_wanted(&config),
        };
        let Opened {
            store,
            log,
            records,
            guard,
            newest_guard,
            guard_torn,
            witness,
            recovery,
        } = open(&paths, &config, &genesis, &role)?;
        let (head, rpc_head) = head_of(&store)?;
        let height = head.parent.header.height;

        let rounds = RoundBook::new(chain.validators.clone(), chain.fault_model());
        let shared = Arc::new(Shared::new(rpc_head, head.parent.state.clone(), rounds));
        let tickets = Arc::new(Tickets::default());
        let (inbox, inputs) = bounded::<Input>(INBOX_MAX);
        // One commit, one stop and one failure at a time.
        let (urgent, urgent_inputs) = bounded::<Input>(URGENT_MAX);
        // The replica requests one commit at a time.
        let (commits, to_commit) = bounded(1);
        let (submissions, submitted) = submissions();
        let mail = Arc::new(Mailbox::default());
        let blocks = Arc::new(FairQueue::new([LIVE, ANSWERS]));
        let gossiped = Arc::new(FairQueue::new(GOSSIPED));
        let (checked, from_inspector) = bounded::<Input>(CHECKED_MAX);
        let (alive, network_alive) = bounded(0);
        let (ended_tx, ended) = oneshot::channel();

        let server = Arc::new(OnceLock::new());
        let intake = Arc::new(Mutex::new(Intake::new(&chain.params)));
        let known_peers = KnownPeers::default();
        let to_blame = Arc::new(OnceLock::new());
        let report = reporter(shared.clone(), to_blame.clone());
        let inlet = Inlet {
            mail: mail.clone(),
            blocks: blocks.clone(),
            gossiped: gossiped.clone(),
            alive,
            server: server.clone(),
            known: known_peers.clone(),
            intake: intake.clone(),
            report: report.clone(),
            clock,
        };
        let (network, network_guard) = crate::network::start(
            &config,
            &paths,
            &chain,
            validator_key.as_ref(),
            height,
            format!("vibecoin/{}", build.version),
            inlet,
        )?
        .unzip();
        // Only now: a p2p port in use fails a start of which nothing was reported yet.
        announce(height, records.len(), newest_guard.as_ref());
        recovery.announce();
        if let Some(network) = &network {
            let _first_and_only = to_blame.set(network.clone());
            let (network, store) = (network.clone(), store.clone());
            let paces = if validator_key.is_some() {
                Paces::VALIDATOR
            } else {
                Paces::FULL_NODE
            };
            let started = Server::start(store, paces, move |to, answer| match answer {
                Answer::Blocks(message) => network.send(to, &message),
                Answer::Body(frame) => network.send_frame(to, &frame),
            })?;
            let _first_and_only = server.set(started);
        }

        let public = validator_key.as_ref().map(SecretKey::public_key);
        #[cfg(feature = "byzantine")]
        let liar =
            crate::byzantine::Liar::from_environment(chain.genesis, validator_key.as_ref(), &chain.params)
                .map_err(|detail| NodeError::Config {
                    what: crate::byzantine::VARIABLE.to_owned(),
                    detail,
                })?;
        let mut orderer = BftOrderer::new(OrdererConfig {
            genesis: chain.genesis,
            key: validator_key,
        });
        if let Some(through) = recovery.silent_through {
            orderer.abstain_through(through);
        }
        if guard_torn {
            orderer.doubt_newest();
        }
        #[cfg(feature = "byzantine")]
        let orderer = match &liar {
            Some(_) => orderer.with_unwatched_key(),
            None => orderer,
        };
        let pool = Mempool::new(pool_config(&config), chain.params.clone());
        let replica = Replica::new(chain.clone(), public, orderer, pool, head);
        let driver = Driver {
            replica,
            log,
            guard,
            inbox: inputs,
            urgent: urgent_inputs,
            mail,
            // Without a network this channel has no sender.
            checked: if network.is_some() {
                from_inspector
            } else {
                never()
            },
            was_checked: false,
            position: None,
            outlet: Outlet::new(network.clone(), intake, known_peers),
            server,
            in_a_row: 0,
            #[cfg(feature = "byzantine")]
            liar,
            commits,
            tickets: tickets.clone(),
            shared: shared.clone(),
            clock,
            departures_seen: 0,
            promotions_seen: 0,
            again: Again::default(),
        };
        let persist = Persist {
            store: store.clone(),
            witness,
            shared: shared.clone(),
            commits: to_commit,
            driver: urgent.clone(),
        };

        let driver_tickets = tickets.clone();
        let mut threads = Vec::new();
        threads.push(thread("driver", move || {
            let result = driver.run(records, newest_guard);
            driver_tickets.close_all();
            let _nobody_waits = ended_tx.send(result);
        })?);
        threads.push(thread("persist", move || persist.run())?);
        let (for_rpc, to_driver) = (inbox.clone(), inbox);
        let to_tell = network.clone();
        let for_stage = shared.clone();
        let signatures = Stage {
            genesis: chain.genesis,
            queues: Queues {
                submissions: submitted,
                gossiped,
            },
            tickets,
            pool: Box::new(move |id| Some(for_stage.pool.get(id)?.transaction)),
            report: report.clone(),
            forward: Box::new(move |gossip, verdict| {
                if let Some(network) = &to_tell {
                    network.forward(gossip, verdict);
                }
            }),
        };
        threads.push(thread("verify", move || {
            give_way();
            signatures.run(&to_driver);
        })?);
        let (known, genesis) = (shared.clone(), chain.genesis);
        let inspector = Inspector {
            chain: chain.clone(),
            known: Box::new(move |transaction| {
                let waiting = known.pool.get(&transaction.id(&genesis));
                waiting.is_some_and(|waiting| waiting.transaction.transaction() == transaction)
            }),
            queue: blocks,
            alive: network_alive,
            checked,
            report,
        };
        threads.push(thread("inspect", move || inspector.run())?);

        let facts = ChainFacts {
            chain_id: chain.params.network.clone(),
            genesis: chain.genesis,
            prefix: chain.params.prefix().map_err(|error| NodeError::Config {
                what: "genesis.toml".to_owned(),
                detail: error.to_string(),
            })?,
            params: (*chain.params).clone(),
            validators: (*chain.validators).clone(),
            build,
        };
        let handles = Handles {
            network: network.clone().map(|network| {
                let external = config.p2p.external.clone();
                Arc::new(Peers { network, external }) as Arc<dyn PeersView>
            }),
            driver: Some(for_rpc),
            faucet: Faucet::of(&chain.params).map_err(|error| NodeError::Key(error.to_string()))?,
            recovery,
        };
        let scrape = Scrape {
            shared: shared.clone(),
            store: store.clone(),
            network: network.clone(),
            clock,
            validates: public.is_some(),
        };
        let render = renderer(scrape, &rpc_config.metrics, &facts.build);
        let backend = Arc::new(NodeBackend::new(
            facts,
            store.clone(),
            shared.clone(),
            submissions,
            clock,
            public,
            home,
            &config,
            handles,
        ));
        let listeners = listeners.start(&backend, &rpc_config, render)?;
        let server = RpcServer::start(listener, backend.clone(), rpc_config)
            .map_err(Listener::Rpc.refused(address.to_string()))?;
        let ready = Ready {
            rpc: server.endpoint(),
            chain_id: chain.params.network.clone(),
            genesis_hash: chain.genesis,
            height,
            p2p: network
                .as_ref()
                .and_then(|network| network.info().addresses.first().cloned()),
            peer_id: network.as_ref().map(|network| network.info().peer_id),
            metrics: listeners.metrics(),
            admin: listeners.admin(),
        };
        info!(target: "node", rpc = %server.address(), chain = ready.chain_id, genesis = %ready.genesis_hash, %height,
              ready_ms = clock.uptime_ms(), "ready");
        on_ready(ready);
        // It ends with the backend, which the servers own.
        let _runs_by_itself = tokio::spawn(crate::waits::report(Arc::downgrade(&backend)));
        threads.push(calibrate(shared.clone(), clock)?);
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
            network: network_guard,
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
            ..
        } = self;
        let clean = async move {
            let grace = limit.checked_div(2).unwrap_or(limit);
            tokio::join!(server.stop(grace), listeners.stop(grace));
            let joined = tokio::task::spawn_blocking(move || {
                let _already_ended = urgent.send(Input::Stop);
                if let Some(network) = network {
                    network.stop();
                }
                for (name, thread) in threads {
                    if thread.join().is_err() {
                        warn!(target: "node", name, "thread ended by a panic");
                    }
                }
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

/// Gives the consensus threads precedence when cores are scarce: new work is then accepted more slowly, and
/// blocks stay on time. A system that does not allow it loses only that.
fn give_way() {
    let _not_allowed = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LATER_PRIORITY);
}

fn thread(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<(&'static str, JoinHandle<()>), NodeError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(|handle| (name, handle))
        .map_err(|error| NodeError::System {
            what: "start a thread",
            detail: error.to_string(),
        })
}

/// A key that is not in any validator set signs nothing: the node follows.
fn check_key(chain: &Chain, key: Option<SecretKey>) -> Option<SecretKey> {
    let key = key?;
    if chain.validators.find(&key.public_key()).is_none() {
        warn!(target: "node", key = %key.public_key(), "the validator key is not in the validator set; following only");
        return None;
    }
    Some(key)
}

/// Maximum duration of a stop.
pub(crate) const fn stop_timeout(config: &Config) -> Duration {
    Duration::from_millis(config.node.stop_timeout_ms)
}

/// Listening address of RPC.
pub(crate) const fn rpc_address(config: &Config) -> SocketAddr {
    SocketAddr::new(config.rpc.addr, config.rpc.port)
}

pub(crate) fn pool_config(config: &Config) -> MempoolConfig {
    MempoolConfig {
        count_max: config.mempool.transactions_max as usize,
        bytes_max: usize::try_from(config.mempool.bytes_max).unwrap_or(usize::MAX),
        sender_count_max: config.mempool.per_sender_max as usize,
        nonce_gap_max: config.mempool.nonce_gap_max,
        replacement_percent: u64::from(config.mempool.replacement_bump_percent),
        ..MempoolConfig::default()
    }
}

pub(crate) fn server_config(config: &Config) -> Result<ServerConfig, NodeError> {
    let rpc = &config.rpc;
    let defaults = ServerConfig::default();
    let rate = (rpc.cost_per_s_per_ip > 0).then_some(Rate {
        per_second: rpc.cost_per_s_per_ip,
        burst: rpc.cost_burst_per_ip,
    });
    // The server itself accepts the address that a connection was made to.
    let hosts = match rpc.hosts.as_slice() {
        [] => defaults.hosts.clone(),
        named => named.to_vec(),
    };
    let connections_max = rpc.connections_max.min(descriptors_for_rpc());
    // A call of the maximum size must fit.
    let one_call = u64::from(rpc.body_bytes_max).saturating_add(rpc.response_bytes_max.into());
    let one_call = usize::try_from(one_call).unwrap_or(usize::MAX);
    let server = ServerConfig {
        request_bytes_max: rpc.body_bytes_max,
        response_bytes_max: rpc.response_bytes_max,
        batch_entries_max: rpc.batch_entries_max,
        connections_max,
        connections_per_address_max: rpc.connections_per_ip_max,
        websockets_max: connections_max.saturating_sub(connections_max / 4),
        websockets_per_address_max: rpc.connections_per_ip_max.div_ceil(2),
        held_bytes_max: defaults.held_bytes_max.max(one_call),
        subscriptions_per_connection_max: rpc.subscriptions_per_connection_max,
        message_buffer: rpc.subscription_queue_events_max,
        call_timeout: Duration::from_millis(rpc.request_timeout_ms),
        expensive_calls_max: rpc.expensive_calls_max as usize,
        hosts,
        origins: rpc.cors_origins.clone(),
        rate,
        rate_exempts_loopback: rpc.cost_exempts_loopback,
        lag_blocks_max: rpc.subscription_lag_blocks_max,
        namespaces: rpc.api.clone(),
        ..defaults
    };
    if let Some((list, entry, form)) = server.unreadable() {
        let key = if list == "hosts" { "hosts" } else { "cors_origins" };
        return Err(NodeError::Config {
            what: format!("rpc.{key}"),
            detail: format!("found {entry:?}, which would match no request; an entry is {form}, or \"*\""),
        });
    }
    Ok(server)
}

/// Maximum number of RPC connections, which leaves three quarters of the file descriptors to peers and the
/// database.
fn descriptors_for_rpc() -> u32 {
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    all.map_or(u32::MAX, |all| u32::try_from(all / 4).unwrap_or(u32::MAX))
        .max(1)
}

/// Measures this machine's hash rate, off the path to readiness.
fn calibrate(shared: Arc<Shared>, clock: Clock) -> Result<(&'static str, JoinHandle<()>), NodeError> {
    thread("calibrate", move || {
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
    })
}
