//! One node: the replica with a simulated host. Performs actions in order and asserts D1 to D3 meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use vibecoin_consensus::{
    BftOrderer, ConsensusMessage, GuardEntry, GuardStep, MonoTime, OrdererConfig, Position, Statement,
};
use vibecoin_execution::DecidedBlock;
use vibecoin_host::{ConsensusFiles, RecoverError, Recovered, head_of};
use vibecoin_mempool::{Mempool, MempoolConfig};
use vibecoin_primitives::{FaultClass, Hash, Height, PublicKey, Round, SecretKey, TimeMs, decode};
use vibecoin_replica::{Chain, Event, Intake, Message, Now, Replica};
use vibecoin_storage::files::{GuardFile, HeadWitness};
use vibecoin_storage::{StateView, Store, StoreConfig};

use crate::disk::Disk;
use crate::report::Rule;

pub type Fault = (Rule, String);

/// Maximum number of records of one height's log; far more than a run makes.
const LOG_RECORDS_MAX: usize = 4000;

/// A node, running or not.
pub struct Node {
    pub key: SecretKey,
    pub public: PublicKey,
    pub disk: Disk,
    pub running: Option<Running>,
    /// Number of starts: events for an earlier process do not reach a later one.
    pub boot: u64,
    /// Class of the fault, once it stopped permanently.
    pub halted: Option<FaultClass>,
    /// The newest block that was acknowledged as durable. Survives every crash.
    pub acked: (Height, Hash),
    /// Milliseconds that its wall clock is ahead.
    pub wall_ahead: u64,
    /// Rate of its clock: thousandths of its own second in a true one.
    pub pace: u64,
    /// True once its log has begun to fail.
    pub log_failed: bool,
    /// True if it equivocates on purpose.
    pub lies: bool,
    /// The last height at which it must not sign anything new, since its disk lost a signature of that height.
    pub silent: Option<Height>,
    /// Digests of what it signed above such heights.
    pub signed: BTreeSet<Hash>,
}

/// A process.
pub struct Running {
    pub replica: Replica<StateView, BftOrderer>,
    /// The cheap checks in front of the replica.
    pub intake: Intake,
    /// Position of the replica at the last update of the intake.
    pub position: Option<(Height, Round, bool)>,
    pub store: Arc<Store>,
    pub files: ConsensusFiles,
    pub witness: HeadWitness,
    /// The block that is being stored.
    pub committing: Option<Box<DecidedBlock<StateView>>>,
    /// Time of the next wake.
    pub wake_at: Option<u64>,
    /// Number of actions that it still performs before it crashes.
    pub dies_after: Option<u64>,
    /// Number of consecutive wakes at which its deadline did not move.
    pub spins: u32,
    began: u64,
    mono_base: u64,
}

impl Node {
    /// The clocks of the node at a true time.
    pub fn now(&self, micros: u64) -> Now {
        let running = self.running.as_ref();
        let mono = running.map_or(0, |r| r.mono_base + (micros - r.began) * self.pace / 1000);
        let wall = GENESIS_MS + micros * self.pace / 1_000_000 + self.wall_ahead;
        Now {
            mono: MonoTime(mono),
            wall: TimeMs(wall),
        }
    }

    /// The first true time at which the node's clock shows `at`.
    pub fn true_time(&self, at: MonoTime) -> u64 {
        let Some(running) = &self.running else { return 0 };
        running.began + (at.0.saturating_sub(running.mono_base) * 1000).div_ceil(self.pace)
    }

    /// Starts the process from its disk, as the node does.
    pub fn start(
        &mut self,
        chain: &Chain,
        store: StoreConfig,
        micros: u64,
        mono_base: u64,
    ) -> Result<Started, Fault> {
        let recovery = |error: RecoverError| (Rule::Recovery, error.to_string());
        let opened = self.disk.open(chain, self.public, store);
        let (store, recovered) = opened.map_err(recovery)?;
        let lost = recovered.recovery.lost.is_some();
        if lost && !self.disk.tail_lost {
            return Err((Rule::Recovery, "the database lost blocks".to_owned()));
        }
        self.check_head(&store)?;
        let records = recovered.records.len();
        if records > LOG_RECORDS_MAX {
            return Err((Rule::Bounded, format!("the log holds {records} records")));
        }
        let head = head_of(&store).map_err(recovery)?;
        let next = head.parent.header.height.0 + 1;
        if let Some(entry) = &recovered.newest_guard
            && !entry.is_abstention()
            && entry.height.0 > next
            && !lost
        {
            return Err((
                Rule::NoLoss,
                format!("the guard is at {}, the next height is {next}", entry.height),
            ));
        }
        let started = Started {
            head: head.parent.header.height,
            records,
            log_is_older: recovered.log_was_older,
            guard: recovered.newest_guard.as_ref().map(GuardEntry::position),
        };
        let orderer = BftOrderer::new(OrdererConfig {
            genesis: chain.genesis,
            key: Some(self.key.clone()),
        });
        let mut orderer = if self.lies {
            orderer.with_unwatched_key()
        } else {
            orderer
        };
        recovered.silence(&mut orderer);
        let Recovered {
            files,
            witness,
            records,
            newest_guard,
            ..
        } = recovered;
        let pool = Mempool::new(
            MempoolConfig {
                count_max: 100,
                ..MempoolConfig::default()
            },
            chain.params.clone(),
        );
        let replica = Replica::new(chain.clone(), Some(self.public), orderer, pool, head);
        self.boot += 1;
        self.running = Some(Running {
            replica,
            intake: Intake::new(&chain.params),
            position: None,
            store,
            files,
            witness,
            committing: None,
            wake_at: None,
            dies_after: None,
            spins: 0,
            began: micros,
            mono_base,
        });
        let now = self.now(micros);
        let running = self.running.as_mut().expect("just started");
        running.replica.step(
            now,
            Event::Start {
                records,
                guard: newest_guard,
            },
        );
        Ok(started)
    }

    /// Notes what this node signed; not at a height where it must be silent.
    pub fn note_signed(&mut self, genesis: &Hash, message: ConsensusMessage) {
        if let Some((at, Some(entry))) = own_statement(self.public, genesis, &Message::Consensus(message))
            && self.silent.is_none_or(|silent| at.height > silent)
        {
            self.signed.insert(entry.digest);
        }
    }

    /// D1: before one of its messages leaves, the causes are in the log and the guard covers it,
    /// durably.
    pub fn may_leave(&self, genesis: &Hash, message: &Message) -> Result<(), Fault> {
        let Some((at, entry)) = own_statement(self.public, genesis, message) else {
            return Ok(());
        };
        let Some(running) = &self.running else {
            return Ok(());
        };
        // Messages signed before the loss may be sent again, from the log.
        if let Some(entry) = &entry
            && let Some(silent) = self.silent.filter(|silent| at.height <= *silent)
            && !self.signed.contains(&entry.digest)
        {
            let detail = format!("signs at {at}, and its disk lost a signature of height {silent}");
            return Err((Rule::NoEquivocation, detail));
        }
        let order = |detail: String| Err((Rule::DurableOrder, format!("{at} leaves, but {detail}")));
        if entry.is_some() && self.disk.log_is_dirty() {
            return order("the log is not synced".to_owned());
        }
        let Some(newest) = running.files.guard().and_then(GuardFile::latest) else {
            return order("the guard file is empty".to_owned());
        };
        let newest: GuardEntry = decode(&newest.payload).expect("we wrote it");
        if newest.position() < at {
            return order(format!("the guard file is at {}", newest.position()));
        }
        if let Some(entry) = entry
            && newest.position() == at
            && newest.digest != entry.digest
        {
            return order("the guard file says something else".to_owned());
        }
        Ok(())
    }

    /// I3 and I9 across a restart: acknowledged blocks still exist.
    fn check_head(&self, store: &Store) -> Result<(), Fault> {
        let (height, hash) = self.acked;
        let head = store.head();
        if head.height < height {
            return Err((
                Rule::MonotonicHead,
                format!("the head is {}, acknowledged was {height}", head.height),
            ));
        }
        let stored = store
            .reader()
            .header(height)
            .map_err(|error| (Rule::Recovery, error.to_string()))?;
        let stored = stored.map(|header| header.hash());
        if stored != Some(hash) {
            return Err((
                Rule::NoLoss,
                format!("block {height} is {stored:?}, acknowledged was {hash}"),
            ));
        }
        Ok(())
    }
}

/// Result of a start.
pub struct Started {
    pub head: Height,
    pub records: usize,
    pub log_is_older: bool,
    pub guard: Option<Position>,
}

/// Milliseconds since 1970 at virtual time 0; genesis is a second older.
pub const GENESIS_MS: u64 = 1_750_000_000_000;

/// The position of an own message that no peer must see before the guard covers it, and the guard entry
/// of its signed content.
pub fn own_statement(
    me: PublicKey,
    genesis: &Hash,
    message: &Message,
) -> Option<(Position, Option<GuardEntry>)> {
    match message {
        Message::Consensus(ConsensusMessage::Vote(signed)) if signed.vote.validator == me => {
            let entry = Statement::vote(&signed.vote, genesis).entry(signed.signature);
            Some((entry.position(), Some(entry)))
        }
        Message::Consensus(ConsensusMessage::Proposal(signed)) if signed.proposal.proposer == me => {
            let entry = Statement::proposal(&signed.proposal, genesis).entry(signed.signature);
            Some((entry.position(), Some(entry)))
        }
        Message::Body { header, .. } if header.proposer == me => Some((
            Position {
                height: header.height,
                round: header.round,
                step: GuardStep::Building,
            },
            None,
        )),
        Message::Part(part) if part.signed.statement.proposer == me => Some((
            Position {
                height: part.signed.statement.height,
                round: part.signed.statement.round,
                step: GuardStep::Building,
            },
            None,
        )),
        _ => None,
    }
}

/// A short description of a message, for the trace.
pub fn describe(message: &Message) -> String {
    use crate::trace::Short;
    let block = |block: &Option<Hash>| {
        block
            .as_ref()
            .map_or_else(|| "nil".to_owned(), |hash| Short(hash).to_string())
    };
    match message {
        Message::Consensus(ConsensusMessage::Vote(signed)) => {
            let vote = &signed.vote;
            format!(
                "{:?} {}/{} {}",
                vote.kind,
                vote.height,
                vote.round,
                block(&vote.block)
            )
        }
        Message::Consensus(ConsensusMessage::Proposal(signed)) => {
            let p = &signed.proposal;
            format!(
                "Proposal {}/{} {} lock {:?}",
                p.height,
                p.round,
                Short(&p.header.hash()),
                p.lock_round
            )
        }
        Message::Consensus(ConsensusMessage::Polka(polka)) => {
            format!("Polka {}/{} {}", polka.height, polka.round, Short(&polka.block))
        }
        Message::Consensus(ConsensusMessage::Round(round)) => {
            format!(
                "RoundCertificate {}/{} {:?}",
                round.height, round.round, round.kind
            )
        }
        Message::Body { header, body } => {
            format!(
                "Body {}/{} {} {} bytes",
                header.height,
                header.round,
                Short(&header.hash()),
                body.len()
            )
        }
        Message::BodyRequest { height, block } => format!("BodyRequest {height} {}", Short(block)),
        Message::SyncRequest { from, count } => format!("SyncRequest {from}, {count} blocks"),
        Message::SyncResponse { blocks, .. } => {
            let first = blocks.first().map_or(Height(0), |block| block.header.height);
            format!("SyncResponse {first} and on, {} blocks", blocks.len())
        }
        Message::Transactions(transactions) => format!("Transactions {}", transactions.len()),
        Message::Part(part) => {
            let part = &part.signed.statement;
            format!("Part {}/{} {}", part.height, part.round, part.sequence)
        }
        Message::Evidence(evidence) => format!("Evidence against {:?}", evidence.offender()),
        Message::Status { height } => format!("Status {height}"),
    }
}
