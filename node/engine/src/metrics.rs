//! Metrics of the node. The driver and the committing thread update them; values that can be read on demand
//! are collected at each scrape (`scrape`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vibecoin_consensus::{Counters, LogRecord, TimeoutStep};
use vibecoin_execution::InvalidTransaction;
use vibecoin_mempool::{Inserted, MempoolError, Reason};
use vibecoin_metrics::{
    Counter, FloatCounter, FloatGauge, Gauge, Labelled, Registry, Seconds, label, metrics,
};
use vibecoin_primitives::VoteKind;

use crate::rounds::Steps;

label! {
    /// Kind of a vote.
    pub enum Votes as "kind" {
        /// First vote of a round.
        Prevote = "prevote",
        /// Second vote of a round.
        Precommit = "precommit",
    }
}

label! {
    /// A timeout of a round.
    pub enum Waits as "step" {
        /// Waiting for a proposal.
        Propose = "propose",
        /// Waiting for prevotes.
        Prevote = "prevote",
        /// Waiting for precommits.
        Precommit = "precommit",
    }
}

label! {
    /// A protocol of the network.
    pub enum Protocols as "protocol" {
        /// Votes, proposals, certificates, evidence.
        Consensus = "consensus",
        /// Batches of transactions.
        Transactions = "transactions",
        /// Requests and responses between two peers.
        Direct = "direct",
        /// Parts of blocks in production.
        Parts = "parts",
    }
}

label! {
    /// The rule that a refused message of a peer broke.
    pub enum Offences as "reason" {
        /// Larger than the chain or the request allows.
        Oversized = "oversized",
        /// More messages than an honest peer sends.
        Flood = "flood",
        /// A response without a request.
        Unasked = "unasked",
        /// A second response to one request.
        Repeated = "repeated",
        /// A part of a block by a validator whose turn it is not.
        OutOfTurn = "out_of_turn",
        /// The content does not match its hash.
        Mismatch = "mismatch",
        /// The message's signature is invalid.
        Signature = "signature",
        /// The certificate is invalid.
        Certificate = "certificate",
        /// A transaction in it has a bad form or signature.
        Transactions = "transactions",
    }
}

label! {
    /// Reason for which the pool refused a transaction.
    pub enum Refusals as "reason" {
        /// It can never be in a block.
        Invalid = "invalid",
        /// Its nonce is used.
        Nonce = "nonce",
        /// Its nonce is too far ahead.
        Gap = "nonce_gap",
        /// The sender cannot pay.
        Funds = "funds",
        /// It pays too little.
        Fee = "fee",
        /// It is already in the pool.
        Known = "known",
        /// The pool is full.
        Full = "full",
        /// The sender has too many transactions.
        Sender = "sender_limit",
    }
}

label! {
    /// Reason for which a transaction left the pool.
    pub enum Departures as "reason" {
        /// It is in a block.
        Included = "included",
        /// A different transaction replaced it.
        Replaced = "replaced",
        /// The pool was full.
        Evicted = "evicted",
        /// Its last valid height passed.
        Expired = "expired",
        /// It waited too long.
        TooOld = "too_old",
        /// It can no longer be in a block.
        Invalid = "invalid",
        /// The sender can no longer pay.
        Unaffordable = "unaffordable",
        /// The operator cleared the pool.
        Cleared = "cleared",
    }
}

label! {
    /// A file that is synced.
    pub enum Files as "file" {
        /// The consensus log.
        Log = "log",
        /// The double-sign guard.
        Guard = "guard",
        /// The database, once per block.
        Commit = "commit",
    }
}

metrics! {
    /// Voting.
    pub struct ConsensusMetrics in "consensus" {
        /// The height being decided.
        height: Gauge = "height",
        /// Its round.
        round: Gauge = "round",
        /// The newest block that is final and durable here.
        committed: Gauge = "committed_height",
        /// 1 when this node votes.
        validator: Gauge = "validator",
        /// 1 when the double-sign guard keeps this node from voting at this height.
        abstaining: Gauge = "abstaining",
        /// Rounds that began here.
        rounds: Counter = "rounds_total",
        /// Rounds beyond the first that decided heights took.
        extra_rounds: Counter = "extra_rounds_total",
        /// Proposals taken, ours and those of others.
        proposals: Counter = "proposals_total",
        /// Proposals that came at another time than they name.
        untimely: Counter = "untimely_proposals_total",
        /// Votes taken, ours and those of others, by kind.
        votes: Labelled<Votes, Counter> = "votes_total",
        /// Waits that ran out, by step.
        timeouts: Labelled<Waits, Counter> = "timeouts_total",
        /// Signatures made.
        signed: Counter = "signatures_made_total",
        /// Signatures of votes and proposals checked.
        verified: Counter = "signatures_checked_total",
        /// Checks of signatures that were answered from memory.
        verified_before: Counter = "signatures_known_total",
        /// Times the double-sign guard refused to sign.
        refused: Counter = "guard_refusals_total",
        /// Messages that no honest node sends.
        rejected: Counter = "messages_rejected_total",
        /// Messages for another height, or for which there was no room.
        ignored: Counter = "messages_ignored_total",
        /// Inputs that the core answered with an error.
        core_errors: Counter = "core_errors_total",
        /// Double signatures that wait for a block.
        evidence: Gauge = "evidence_waiting",
        /// From the start of the deciding round to its proposal.
        proposal: Seconds = "proposal_seconds",
        /// From the start of the deciding round to the verdict on the block.
        body: Seconds = "body_seconds",
        /// From the start of the deciding round to a quorum of prevotes.
        prevotes: Seconds = "prevotes_seconds",
        /// From the start of the deciding round to the decision.
        decision: Seconds = "decision_seconds",
        /// Between two decisions.
        interval: Seconds = "block_interval_seconds",
    }
}

metrics! {
    /// Peers and messages.
    pub struct NetworkMetrics in "network" {
        /// Connected peers.
        peers: Gauge = "peers",
        /// Connected peers that have proven a validator's key.
        validators: Gauge = "validator_peers",
        /// Peers that are kept out at the moment.
        banned: Gauge = "banned_peers",
        /// Messages received, by protocol.
        messages_in: Labelled<Protocols, Counter> = "received_messages_total",
        /// Bytes received, by protocol.
        bytes_in: Labelled<Protocols, Counter> = "received_bytes_total",
        /// Messages that came and did not fit into a queue, by protocol.
        dropped_in: Labelled<Protocols, Counter> = "received_dropped_total",
        /// Messages sent, by protocol.
        messages_out: Labelled<Protocols, Counter> = "sent_messages_total",
        /// Bytes sent, by protocol.
        bytes_out: Labelled<Protocols, Counter> = "sent_bytes_total",
        /// Messages that were to be sent and did not fit into a queue, by protocol.
        dropped_out: Labelled<Protocols, Counter> = "sent_dropped_total",
        /// Messages refused because they broke a rule.
        rejected: Counter = "rejected_messages_total",
        /// Parts, bodies, blocks and heads refused before they came to the replica, by reason.
        refused: Labelled<Offences, Counter> = "refused_messages_total",
        /// Signature checks spent on them, by reason: at most one each.
        refused_checks: Labelled<Offences, Counter> = "refused_signature_checks_total",
        /// Connections that this node tried to open.
        dials: Counter = "dials_total",
        /// Of these, failed.
        dials_failed: Counter = "dials_failed_total",
        /// Peers refused because they belong to another chain.
        wrong_chain: Counter = "wrong_chain_total",
        /// Peers met anew because they had been started again before their old connection ended.
        restarted: Counter = "peers_restarted_total",
        /// Peers that were banned.
        bans: Counter = "bans_total",
    }
}

metrics! {
    /// Catching up.
    pub struct SyncMetrics in "sync" {
        /// 1 when the node is at the head as far as it knows.
        synced: Gauge = "synced",
        /// The height that is known to exist.
        target: Gauge = "target_height",
        /// Blocks per second over the last half minute.
        rate: FloatGauge = "blocks_per_second",
    }
}

metrics! {
    /// Transactions that wait.
    pub struct PoolMetrics in "pool" {
        /// Transactions.
        transactions: Gauge = "transactions",
        /// Bytes of memory that they are charged with.
        bytes: Gauge = "bytes",
        /// Transactions that could be in the next blocks.
        pending: Gauge = "pending_transactions",
        /// Transactions behind a gap of nonces.
        queued: Gauge = "queued_transactions",
        /// Least fee of a transfer that would get in, in base units.
        fee_min: Gauge = "fee_min_units",
        /// Transactions taken.
        admitted: Counter = "admitted_total",
        /// Transactions not taken, by reason.
        refused: Labelled<Refusals, Counter> = "refused_total",
        /// Transactions that left, by reason.
        departed: Labelled<Departures, Counter> = "departed_total",
    }
}

metrics! {
    /// Making and checking blocks.
    pub struct ExecutionMetrics in "execution" {
        /// Transactions in committed blocks.
        transactions: Counter = "transactions_total",
        /// Time that the thread of the replica worked for each committed block: voting, execution, roots.
        block: Seconds = "block_seconds",
    }
}

metrics! {
    /// The disk.
    pub struct StorageMetrics in "storage" {
        /// One commit: the synced write of a block with everything that belongs to it.
        commit: Seconds = "commit_seconds",
        /// Times a file was made durable, by file.
        syncs: Labelled<Files, Counter> = "syncs_total",
        /// Changed rows that are committed and not yet materialised.
        backlog: Gauge = "backlog_updates",
        /// Height of the materialised state.
        materialised: Gauge = "materialised_height",
        /// Nodes of tries in memory.
        trie_nodes: Gauge = "trie_nodes",
    }
}

metrics! {
    /// The Proof of History.
    pub struct PohMetrics in "poh" {
        /// Hashes per second of one lane, measured on this machine after the start.
        rate: Gauge = "hashes_per_second",
        /// How late the newest tick of a block of this node's own ended.
        drift: FloatGauge = "drift_seconds",
    }
}

metrics! {
    /// The process.
    pub struct ProcessMetrics in "process" {
        /// Memory in RAM.
        resident: Gauge = "resident_bytes",
        /// Open files and sockets.
        open_files: Gauge = "open_files",
        /// Threads.
        threads: Gauge = "threads",
        /// Since the start.
        uptime: FloatGauge = "uptime_seconds",
        /// Processor time used, by all threads together.
        cpu: FloatCounter = "cpu_seconds_total",
    }
}

/// All metrics of the node.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Metrics of consensus.
    pub consensus: ConsensusMetrics,
    /// Metrics of peers and messages.
    pub network: NetworkMetrics,
    /// Metrics of sync.
    pub sync: SyncMetrics,
    /// Metrics of the transaction pool.
    pub pool: PoolMetrics,
    /// Metrics of making and checking blocks.
    pub execution: ExecutionMetrics,
    /// Metrics of storage.
    pub storage: StorageMetrics,
    /// Metrics of the Proof of History.
    pub poh: PohMetrics,
    /// Metrics of the process.
    pub process: ProcessMetrics,
    /// Work of the replica's thread since the last commit, in microseconds.
    busy: AtomicU64,
    /// Time of the last decision, in microseconds after the start; 0 before the first.
    decided: AtomicU64,
}

impl Metrics {
    /// Registers all metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.consensus.register(registry);
        self.network.register(registry);
        self.sync.register(registry);
        self.pool.register(registry);
        self.execution.register(registry);
        self.storage.register(registry);
        self.poh.register(registry);
        self.process.register(registry);
    }

    /// Counts a record appended to the consensus log.
    pub fn recorded(&self, record: &LogRecord) {
        let consensus = &self.consensus;
        match record {
            LogRecord::Vote(vote) => {
                let kind = match vote.vote.kind {
                    VoteKind::Prevote => Votes::Prevote,
                    VoteKind::Precommit => Votes::Precommit,
                };
                consensus.votes.at(kind).inc();
            }
            LogRecord::Proposal(_) => {
                consensus.proposals.inc();
            }
            LogRecord::Timeout { step, .. } => {
                let step = match step {
                    TimeoutStep::Propose => Waits::Propose,
                    TimeoutStep::Prevote => Waits::Prevote,
                    TimeoutStep::Precommit => Waits::Precommit,
                };
                consensus.timeouts.at(step).inc();
            }
            LogRecord::Value { .. } | LogRecord::Polka(_) | LogRecord::Block(_) => {}
        }
    }

    /// Records a height decided at `now_micros` after the start, in the last of `rounds` rounds.
    pub fn decided(&self, steps: Steps, rounds: u32, transactions: usize, now_micros: u64) {
        let consensus = &self.consensus;
        consensus.extra_rounds.inc_by(u64::from(rounds.saturating_sub(1)));
        for (took, histogram) in [
            (steps.proposal, &consensus.proposal),
            (steps.body, &consensus.body),
            (steps.prevotes, &consensus.prevotes),
            (steps.precommits, &consensus.decision),
        ] {
            if let Some(micros) = took {
                histogram.observe_micros(micros);
            }
        }
        let before = self.decided.swap(now_micros, Ordering::Relaxed);
        if before > 0 {
            consensus
                .interval
                .observe_micros(now_micros.saturating_sub(before));
        }
        let execution = &self.execution;
        execution
            .transactions
            .inc_by(u64::try_from(transactions).unwrap_or(u64::MAX));
        execution
            .block
            .observe_micros(self.busy.swap(0, Ordering::Relaxed));
    }

    /// Adds time that the replica worked.
    pub fn worked(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy.fetch_add(micros, Ordering::Relaxed);
    }

    /// Copies the orderer's counters.
    pub fn counted(&self, counters: &Counters) {
        let consensus = &self.consensus;
        for (counter, value) in [
            (&consensus.signed, counters.signed),
            (&consensus.verified, counters.verified),
            (&consensus.verified_before, counters.verified_before),
            (&consensus.refused, counters.refused),
            (&consensus.rejected, counters.rejected),
            (&consensus.ignored, counters.ignored),
            (&consensus.core_errors, counters.core_errors),
        ] {
            counter.inner().store(value, Ordering::Relaxed);
        }
    }

    /// Counts the pool's verdicts.
    pub fn offered(&self, results: &[Result<Inserted, MempoolError>]) {
        for result in results {
            match result {
                Ok(_) => self.pool.admitted.inc(),
                Err(error) => self.pool.refused.at(refusal(error)).inc(),
            };
        }
    }

    /// Counts a transaction that left the pool.
    pub fn departed(&self, reason: &Reason) {
        let label = match reason {
            Reason::Included { .. } => Departures::Included,
            Reason::Replaced { .. } => Departures::Replaced,
            Reason::Evicted { .. } => Departures::Evicted,
            Reason::Expired { .. } => Departures::Expired,
            Reason::TooOld { .. } => Departures::TooOld,
            Reason::Invalid(_) => Departures::Invalid,
            Reason::Unaffordable { .. } => Departures::Unaffordable,
            _ => Departures::Cleared,
        };
        self.pool.departed.at(label).inc();
    }
}

fn refusal(error: &MempoolError) -> Refusals {
    match error {
        MempoolError::Invalid(
            InvalidTransaction::NonceTooLow { .. } | InvalidTransaction::NonceTooHigh { .. },
        )
        | MempoolError::InBlock { .. } => Refusals::Nonce,
        MempoolError::Invalid(InvalidTransaction::FeeTooLow { .. })
        | MempoolError::ReplacementUnderpriced { .. } => Refusals::Fee,
        MempoolError::Invalid(InvalidTransaction::FeeUnpayable { .. })
        | MempoolError::InsufficientFunds { .. } => Refusals::Funds,
        MempoolError::Invalid(_) => Refusals::Invalid,
        MempoolError::NonceGap { .. } => Refusals::Gap,
        MempoolError::AlreadyKnown { .. } => Refusals::Known,
        MempoolError::SenderLimit { .. } => Refusals::Sender,
        _ => Refusals::Full,
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
