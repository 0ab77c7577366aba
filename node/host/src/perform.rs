//! Performing the actions of a replica.

use vibecoin_consensus::{LogRecord, Verdict};
use vibecoin_execution::DecidedBlock;
use vibecoin_mempool::{Inserted, MempoolError};
use vibecoin_primitives::{Hash, Height, PublicKey, Round, TimeMs};
use vibecoin_replica::{Action, Fault, GossipId, Message, PeerId, Ticket};
use vibecoin_storage::StateView;

use crate::files::{ConsensusFiles, HostError};

/// The surroundings of a replica: its files, the thread that commits, its peers and its clients.
pub trait Host {
    /// Reason why the replica does not continue.
    type Error: From<HostError>;

    /// The files that the replica writes.
    fn files(&mut self) -> &mut ConsensusFiles;

    /// A record was appended to the log; it is not durable yet.
    ///
    /// # Errors
    /// A reason to stop.
    fn appended(&mut self, record: LogRecord) -> Result<(), Self::Error>;

    /// The log was synced.
    fn log_synced(&mut self) {}

    /// A guard entry was made durable.
    fn guarded(&mut self) {}

    /// The log was emptied for this height.
    fn log_reset(&mut self, _height: Height) {}

    /// Hands a decided block over to be committed with [`commit`](crate::commit). Later actions do not wait for it;
    /// [`vibecoin_replica::Event::Committed`] reports that it is durable.
    ///
    /// # Errors
    /// A reason to stop.
    fn commit(&mut self, commit: Box<DecidedBlock<StateView>>) -> Result<(), Self::Error>;

    /// Sends to all: parts of a block to every validator, statements by gossip, a status to every peer.
    ///
    /// # Errors
    /// A reason to stop.
    fn broadcast(&mut self, message: Message) -> Result<(), Self::Error>;

    /// Sends to one peer.
    ///
    /// # Errors
    /// A reason to stop.
    fn send(&mut self, to: PeerId, message: Message) -> Result<(), Self::Error>;

    /// Sends to one peer the body that [`vibecoin_replica::Replica::body`] returns.
    ///
    /// # Errors
    /// A reason to stop.
    fn send_body(&mut self, to: PeerId, block: Hash) -> Result<(), Self::Error>;

    /// Reports the verdict on a gossiped message to the gossip layer.
    fn forward(&mut self, gossip: GossipId, verdict: Verdict);

    /// A peer sent a message that an honest node never sends.
    ///
    /// # Errors
    /// A reason to stop.
    fn blame(&mut self, peer: PeerId, reason: String) -> Result<(), Self::Error>;

    /// The answer to submitted transactions, one result each.
    fn admitted(&mut self, ticket: Ticket, results: Vec<Result<Inserted, MempoolError>>);

    /// A round began.
    fn round_started(&mut self, height: Height, round: Round, proposer: PublicKey);

    /// A proposal arrived at another time than it names.
    fn untimely(&mut self, height: Height, round: Round, time: TimeMs, clock: TimeMs);

    /// The replica stops for good.
    fn halt(&mut self, fault: Fault) -> Self::Error;
}

/// Performs one action. A write is complete when this returns, so a caller that performs the actions in the order
/// of [`vibecoin_replica::Replica::poll`] keeps the order of durability.
///
/// # Errors
/// The first error is the last: no action may follow.
pub fn perform<H: Host>(action: Action<StateView>, host: &mut H) -> Result<(), H::Error> {
    match action {
        Action::Append(record) => {
            host.files().append(&record)?;
            host.appended(record)?;
        }
        Action::SyncLog => {
            host.files().sync_log()?;
            host.log_synced();
        }
        Action::Guard(entry) => {
            host.files().store_guard(&entry)?;
            host.guarded();
        }
        Action::Commit(commit) => host.commit(commit)?,
        Action::ResetLog { height } => {
            host.files().reset_log(height)?;
            host.log_reset(height);
        }
        Action::Broadcast(message) => host.broadcast(message)?,
        Action::Send { to, message } => host.send(to, message)?,
        Action::GiveBody { to, block } => host.send_body(to, block)?,
        Action::Forward { gossip, verdict } => host.forward(gossip, verdict),
        Action::Blame { peer, reason } => host.blame(peer, reason)?,
        Action::Admitted { ticket, results } => host.admitted(ticket, results),
        Action::RoundStarted {
            height,
            round,
            proposer,
        } => host.round_started(height, round, proposer),
        Action::Untimely {
            height,
            round,
            time,
            clock,
        } => host.untimely(height, round, time, clock),
        Action::Halt(fault) => return Err(host.halt(fault)),
    }
    Ok(())
}
