//! The start of a node in stages: the home is opened, the threads are connected by queues, then they run.

use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded, never};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::warn;
use vibecoin_config::{Config, Paths};
use vibecoin_consensus::{BftOrderer, GuardEntry, LogRecord, OrdererConfig};
use vibecoin_execution::DecidedBlock;
use vibecoin_genesis::BuiltGenesis;
use vibecoin_host::{Recovered, Role};
use vibecoin_mempool::Mempool;
use vibecoin_network::{Network, NetworkGuard};
use vibecoin_primitives::{Height, PublicKey, SecretKey};
use vibecoin_replica::{Chain, Head, Intake, Replica};
use vibecoin_rpc_backend::Head as RpcHead;
use vibecoin_storage::files::HeadWitness;
use vibecoin_storage::{StateView, Store};

use crate::clock::Clock;
use crate::driver::{Driver, INBOX_MAX, NodeEvent, Ports, URGENT_MAX, Urgent, announce};
use crate::error::NodeError;
use crate::inspect::{ANSWERS, CHECKED_MAX, Inspector, LIVE, Report, Unverified, reporter};
use crate::mail::Mailbox;
use crate::network::{GOSSIPED, Inbound, KnownPeers, Outbound};
use crate::open::{head, open};
use crate::persist::Persist;
use crate::queue::FairQueue;
use crate::rounds::RoundBook;
use crate::serve::{Answer, Paces, Server};
use crate::settings::pool_config;
use crate::shared::Shared;
use crate::submissions::{SubmissionReceiver, SubmissionSender, submissions};
use crate::threads::{Threads, give_way};
use crate::verify::{Gossiped, Queues, Stage, Tickets};

mod client;

use client::Client;

/// Stage 1: an opened and checked home. Nothing runs.
pub struct Opened {
    /// The constants of the chain.
    pub chain: Chain,
    /// The signing key; `None` on a node that only follows.
    key: Option<SecretKey>,
    /// The database.
    pub store: Arc<Store>,
    /// The files beside it.
    recovered: Recovered,
    /// The newest block, for the replica.
    head: Head<StateView>,
    /// The same for RPC.
    rpc_head: RpcHead,
}

impl Opened {
    /// Opens the home of a genesis file.
    ///
    /// # Errors
    /// [`NodeError`] with the reason why the home does not start.
    pub fn open(
        paths: &Paths,
        config: &Config,
        genesis: &BuiltGenesis,
        key: Option<SecretKey>,
    ) -> Result<Self, NodeError> {
        let chain = Chain::new(genesis.hash, genesis.params.clone(), genesis.validators.clone());
        let key = check_key(&chain, key);
        let role = Role {
            key: key.as_ref().map(SecretKey::public_key),
            validators: &chain.validators,
            fault_model: chain.fault_model(),
            dev: chain.params.dev,
            has_network: crate::network::is_wanted(config),
        };
        let (store, recovered) = open(paths, config, genesis, &role)?;
        let (head, rpc_head) = head(&store)?;
        Ok(Self {
            chain,
            key,
            store,
            recovered,
            head,
            rpc_head,
        })
    }

    /// The height of the newest block.
    pub const fn height(&self) -> Height {
        self.rpc_head.header.height
    }

    fn public_key(&self) -> Option<PublicKey> {
        self.key.as_ref().map(SecretKey::public_key)
    }

    /// The driver of this home's replica.
    fn driver(self, ports: Ports, clock: Clock, config: &Config) -> Result<Start, NodeError> {
        let public = self.public_key();
        let Self {
            chain,
            key,
            recovered,
            head,
            ..
        } = self;
        #[cfg(feature = "byzantine")]
        let liar = crate::byzantine::Liar::from_environment(chain.genesis, key.as_ref(), &chain.params)
            .map_err(|detail| NodeError::Config {
                what: crate::byzantine::VARIABLE.to_owned(),
                detail,
            })?;
        let genesis = chain.genesis;
        let mut orderer = BftOrderer::new(OrdererConfig { genesis, key });
        recovered.silence(&mut orderer);
        #[cfg(feature = "byzantine")]
        let orderer = match &liar {
            Some(_) => orderer.with_unwatched_key(),
            None => orderer,
        };
        let pool = Mempool::new(pool_config(config), chain.params.clone());
        let replica = Replica::new(chain, public, orderer, pool, head);
        let driver = Driver::new(replica, recovered.files, clock, ports);
        #[cfg(feature = "byzantine")]
        let driver = driver.distorted(liar);
        Ok(Start {
            driver,
            records: recovered.records,
            guard: recovered.newest_guard,
            witness: recovered.witness,
        })
    }
}

/// A driver with the contents of the files that it starts from, and the witness for the thread that commits.
struct Start {
    driver: Driver,
    records: Vec<LogRecord>,
    guard: Option<GuardEntry>,
    witness: HeadWitness,
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

/// Both ends of a channel between two threads.
type Channel<T> = (Sender<T>, Receiver<T>);

/// Stage 2: the queues between the threads. The network runs and fills its queues; no thread empties them yet.
///
/// The end of each sender ends the thread behind its receiver, so none of them is cloned without need.
pub struct Wires {
    clock: Clock,
    /// State published to readers.
    pub shared: Arc<Shared>,
    tickets: Arc<Tickets>,
    inbox: Channel<NodeEvent>,
    urgent: Channel<Urgent>,
    commits: Channel<Box<DecidedBlock<StateView>>>,
    submissions: (SubmissionSender, SubmissionReceiver),
    mail: Arc<Mailbox>,
    blocks: Arc<FairQueue<Unverified>>,
    gossiped: Arc<FairQueue<Gossiped>>,
    checked: Channel<NodeEvent>,
    /// Disconnected when the network delivers nothing more.
    alive: Receiver<()>,
    server: Arc<OnceLock<Server>>,
    intake: Arc<Mutex<Intake>>,
    known_peers: KnownPeers,
    report: Report,
    network: Option<Network>,
}

impl Wires {
    /// Makes the queues and starts the network, if the configuration has one. `agent` names the program to peers.
    ///
    /// # Errors
    /// [`NodeError`] when the network does not start, as for a port in use.
    pub fn connect(
        paths: &Paths,
        config: &Config,
        opened: &Opened,
        agent: String,
        clock: Clock,
    ) -> Result<(Self, Option<NetworkGuard>), NodeError> {
        let chain = &opened.chain;
        let rounds = RoundBook::new(chain.validators.clone(), chain.fault_model());
        let state = opened.head.parent.state.clone();
        let shared = Arc::new(Shared::new(opened.rpc_head.clone(), state, rounds));
        let to_blame = Arc::new(OnceLock::new());
        let (alive_while, alive) = bounded(0);
        let mut wires = Self {
            clock,
            tickets: Arc::default(),
            inbox: bounded(INBOX_MAX),
            // One commit, one stop and one failure at a time.
            urgent: bounded(URGENT_MAX),
            // The replica requests one commit at a time.
            commits: bounded(1),
            submissions: submissions(),
            mail: Arc::default(),
            blocks: Arc::new(FairQueue::new([LIVE, ANSWERS])),
            gossiped: Arc::new(FairQueue::new(GOSSIPED)),
            checked: bounded(CHECKED_MAX),
            alive,
            server: Arc::default(),
            intake: Arc::new(Mutex::new(Intake::new(&chain.params))),
            known_peers: KnownPeers::default(),
            report: reporter(shared.clone(), to_blame.clone()),
            network: None,
            shared,
        };
        let inbound = Inbound {
            mail: wires.mail.clone(),
            blocks: wires.blocks.clone(),
            gossiped: wires.gossiped.clone(),
            alive: alive_while,
            server: wires.server.clone(),
            known: wires.known_peers.clone(),
            intake: wires.intake.clone(),
            report: wires.report.clone(),
            clock,
        };
        let (key, height) = (opened.key.as_ref(), opened.height());
        let started = crate::network::start(config, paths, chain, key, height, agent, inbound)?;
        let Some((network, guard)) = started else {
            return Ok((wires, None));
        };
        let _first_and_only = to_blame.set(network.clone());
        wires.network = Some(network);
        Ok((wires, Some(guard)))
    }

    /// Stage 3: starts the threads.
    ///
    /// # Errors
    /// [`NodeError`] when the system cannot create one.
    pub fn run(self, opened: Opened, config: &Config) -> Result<RunningThreads, NodeError> {
        // Only now: a p2p port in use fails a start of which nothing was reported yet.
        let recovered = &opened.recovered;
        announce(
            opened.height(),
            recovered.records.len(),
            recovered.newest_guard.as_ref(),
        );
        crate::recovery::announce(&recovered.recovery);
        self.serve_blocks(&opened)?;
        let (loops, client) = self.distribute(opened, config)?;
        let urgent = loops.persist.driver.clone();
        let (threads, ended) = loops.spawn()?;
        Ok(RunningThreads {
            threads,
            urgent,
            ended,
            client,
        })
    }

    /// Distributes the ends of the queues to the loops of the threads and to the interfaces.
    fn distribute(self, opened: Opened, config: &Config) -> Result<(Loops, Client), NodeError> {
        let (inbox, inputs) = self.inbox;
        let (submissions, submitted) = self.submissions;
        let (checked, from_inspector) = self.checked;
        let client = Client {
            chain: opened.chain.clone(),
            public: opened.public_key(),
            store: opened.store.clone(),
            shared: self.shared.clone(),
            submissions,
            inbox: inbox.clone(),
            network: self.network.clone(),
            recovery: opened.recovered.recovery,
            clock: self.clock,
        };
        let ports = Ports {
            inbox: inputs,
            mail: self.mail,
            // Without a network this channel has no sender.
            checked: if self.network.is_some() {
                from_inspector
            } else {
                never()
            },
            urgent: self.urgent.1,
            outbound: Outbound::new(self.network.clone(), self.intake, self.known_peers),
            server: self.server,
            commits: self.commits.0,
            tickets: self.tickets.clone(),
            shared: self.shared.clone(),
        };
        let Start {
            driver,
            records,
            guard,
            witness,
        } = opened.driver(ports, self.clock, config)?;
        let persist = Persist {
            store: client.store.clone(),
            witness,
            shared: self.shared.clone(),
            commits: self.commits.1,
            driver: self.urgent.0,
        };
        let queues = Queues {
            submissions: submitted,
            gossiped: self.gossiped,
        };
        let (chain, shared, report) = (&client.chain, &self.shared, self.report);
        let tickets = self.tickets.clone();
        let stage = stage(chain, shared, queues, tickets, report.clone(), self.network);
        let inspector = inspector(chain, shared, self.blocks, self.alive, checked, report);
        let loops = Loops {
            driver,
            records,
            guard,
            persist,
            stage,
            inspector,
            tickets: self.tickets,
            inbox,
        };
        Ok((loops, client))
    }

    /// Starts the thread that answers peers with stored blocks.
    fn serve_blocks(&self, opened: &Opened) -> Result<(), NodeError> {
        let Some(network) = self.network.clone() else {
            return Ok(());
        };
        let paces = if opened.key.is_some() {
            Paces::VALIDATOR
        } else {
            Paces::FULL_NODE
        };
        let started = Server::start(opened.store.clone(), paces, move |to, answer| match answer {
            Answer::Blocks(message) => network.send(to, &message),
            Answer::Body(frame) => network.send_frame(to, &frame),
        })?;
        let _first_and_only = self.server.set(started);
        Ok(())
    }
}

/// The loops of the threads, each with its ends of the queues.
struct Loops {
    driver: Driver,
    records: Vec<LogRecord>,
    guard: Option<GuardEntry>,
    persist: Persist,
    stage: Stage,
    inspector: Inspector,
    /// Closed when the driver ends, so that no client waits for it.
    tickets: Arc<Tickets>,
    /// To the driver, for the thread `verify`.
    inbox: Sender<NodeEvent>,
}

impl Loops {
    /// Starts a thread for each; returns them and the result of the driver.
    fn spawn(self) -> Result<(Threads, oneshot::Receiver<Result<(), NodeError>>), NodeError> {
        let mut threads = Threads::default();
        let (ended_tx, ended) = oneshot::channel();
        let (driver, records, guard, tickets) = (self.driver, self.records, self.guard, self.tickets);
        threads.spawn("driver", move || {
            let result = driver.run(records, guard);
            tickets.close_all();
            let _nobody_waits = ended_tx.send(result);
        })?;
        let (persist, stage, inspector, inbox) = (self.persist, self.stage, self.inspector, self.inbox);
        threads.spawn("persist", move || persist.run())?;
        threads.spawn("verify", move || {
            give_way();
            stage.run(&inbox);
        })?;
        threads.spawn("inspect", move || inspector.run())?;
        Ok((threads, ended))
    }
}

/// The stage that checks the signatures of transactions.
fn stage(
    chain: &Chain,
    shared: &Arc<Shared>,
    queues: Queues,
    tickets: Arc<Tickets>,
    report: Report,
    network: Option<Network>,
) -> Stage {
    let known = shared.clone();
    Stage {
        genesis: chain.genesis,
        queues,
        tickets,
        pool: Box::new(move |id| Some(known.pool.get(id)?.transaction)),
        report,
        forward: Box::new(move |gossip, verdict| {
            if let Some(network) = &network {
                network.forward(gossip, verdict);
            }
        }),
    }
}

/// The stage that checks parts, bodies and blocks of peers.
fn inspector(
    chain: &Chain,
    shared: &Arc<Shared>,
    queue: Arc<FairQueue<Unverified>>,
    alive: Receiver<()>,
    checked: Sender<NodeEvent>,
    report: Report,
) -> Inspector {
    let (known, genesis) = (shared.clone(), chain.genesis);
    Inspector {
        chain: chain.clone(),
        known: Box::new(move |transaction| {
            let waiting = known.pool.get(&transaction.id(&genesis));
            waiting.is_some_and(|waiting| waiting.transaction.transaction() == transaction)
        }),
        queue,
        alive,
        checked,
        report,
    }
}

/// The threads of a node, and what its interfaces need of them.
pub struct RunningThreads {
    /// All that were started.
    pub threads: Threads,
    /// To stop the driver.
    pub urgent: Sender<Urgent>,
    /// The result of the driver.
    pub ended: oneshot::Receiver<Result<(), NodeError>>,
    /// For the interfaces.
    pub client: Client,
}
