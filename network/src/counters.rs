//! Counters of the network since its start, and the reasons for refusals.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one protocol since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolCounters {
    /// Messages received.
    pub messages_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Messages sent, one for each receiver on lanes.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Outgoing messages that did not fit into a queue.
    pub dropped_out: u64,
    /// Received messages that did not fit into a queue.
    pub dropped_in: u64,
}

/// Counters since the start.
#[derive(Clone, Debug, Default)]
pub struct NetworkCounters {
    /// By protocol: `consensus`, `transactions`, `direct`, `parts`.
    pub protocols: BTreeMap<&'static str, ProtocolCounters>,
    /// Messages refused because they broke a rule.
    pub rejected: u64,
    /// Connections that this node tried to open.
    pub dials: u64,
    /// Number of these that failed.
    pub dials_failed: u64,
    /// Peers that were refused because they belong to a different chain.
    pub wrong_chain: u64,
    /// Peers that reconnected after a restart, before their old connection ended.
    pub restarted: u64,
    /// Peers that were banned.
    pub bans: u64,
    /// Machines whose unknown peers were banned.
    pub places_banned: u64,
    /// Refusals by reason; every reason is present, see [`Refusal`].
    pub refused: BTreeMap<&'static str, u64>,
}

impl NetworkCounters {
    /// Number of refusals for this reason.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused.get(reason.name()).copied().unwrap_or(0)
    }
}

/// Reasons for which a message, stream or connection of a peer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A frame over the limit of its lane or kind.
    Oversize,
    /// Bytes that are not a message of this chain and version.
    Undecodable,
    /// A message on the wrong lane.
    WrongLane,
    /// A body or blocks that this node did not request from the peer.
    Unasked,
    /// A frame that arrived below the minimum rate.
    SlowFrame,
    /// A peer that took too long to read its frames.
    SlowReader,
    /// A stream beyond the bound of its lane.
    Streams,
    /// A connection on which streams were opened without end.
    Opened,
    /// A status that arrived sooner after the previous one than statuses are forwarded.
    Status,
    /// A further copy of a gossiped message that was forwarded often enough.
    Copy,
    /// A useless statement, from an unknown peer that sends too many of them.
    Useless,
    /// A connection that did not complete its hello in time.
    Silent,
    /// A hello that does not decode, is over its bounds, or is one of too many.
    Hello,
    /// A connection beyond the slots for connections awaiting a hello.
    Guest,
    /// An unknown peer beyond the slots for them.
    Seat,
    /// An unknown peer beyond the slots of its address or subnet.
    Place,
    /// An unknown peer from a banned address.
    BannedPlace,
    /// A connection of a banned identity, or of one beyond its maximum number of connections.
    Connection,
    /// A connection whose negotiation exceeded the bounds of its address or of all, or was displaced by one
    /// from elsewhere.
    Pending,
    /// An announced address that is not dialled without verification.
    Address,
    /// An announced peer beyond the bounds of its announcer.
    Source,
}

impl Refusal {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 21] = [
        Self::Oversize,
        Self::Undecodable,
        Self::WrongLane,
        Self::Unasked,
        Self::SlowFrame,
        Self::SlowReader,
        Self::Streams,
        Self::Opened,
        Self::Status,
        Self::Copy,
        Self::Useless,
        Self::Silent,
        Self::Hello,
        Self::Guest,
        Self::Seat,
        Self::Place,
        Self::BannedPlace,
        Self::Connection,
        Self::Pending,
        Self::Address,
        Self::Source,
    ];

    /// Name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversize => "oversize",
            Self::Undecodable => "undecodable",
            Self::WrongLane => "wrong_lane",
            Self::Unasked => "unasked",
            Self::SlowFrame => "slow_frame",
            Self::SlowReader => "slow_reader",
            Self::Streams => "streams",
            Self::Opened => "opened",
            Self::Status => "status",
            Self::Copy => "copy",
            Self::Useless => "useless",
            Self::Silent => "silent",
            Self::Hello => "hello",
            Self::Guest => "guest",
            Self::Seat => "seat",
            Self::Place => "place",
            Self::BannedPlace => "banned_place",
            Self::Connection => "connection",
            Self::Pending => "pending",
            Self::Address => "address",
            Self::Source => "source",
        }
    }
}

/// The protocols that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Consensus,
    Transactions,
    Direct,
    Parts,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Consensus, Self::Transactions, Self::Direct, Self::Parts];

    const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Transactions => "transactions",
            Self::Direct => "direct",
            Self::Parts => "parts",
        }
    }
}

#[derive(Default)]
struct Cells {
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_out: AtomicU64,
    dropped_out: AtomicU64,
    dropped_in: AtomicU64,
}

/// Counters that any thread may increment.
#[derive(Default)]
pub struct Tally {
    consensus: Cells,
    transactions: Cells,
    direct: Cells,
    parts: Cells,
    pub rejected: AtomicU64,
    pub dials: AtomicU64,
    pub dials_failed: AtomicU64,
    pub wrong_chain: AtomicU64,
    pub restarted: AtomicU64,
    pub bans: AtomicU64,
    pub places_banned: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// Increments a counter.
pub fn count(cell: &AtomicU64) {
    cell.fetch_add(1, Ordering::Relaxed);
}

fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Tally {
    const fn cells(&self, protocol: Protocol) -> &Cells {
        match protocol {
            Protocol::Consensus => &self.consensus,
            Protocol::Transactions => &self.transactions,
            Protocol::Direct => &self.direct,
            Protocol::Parts => &self.parts,
        }
    }

    pub fn received(&self, protocol: Protocol, len: usize) {
        let cells = self.cells(protocol);
        count(&cells.messages_in);
        cells.bytes_in.fetch_add(bytes(len), Ordering::Relaxed);
    }

    pub fn sent(&self, protocol: Protocol, len: usize) {
        let cells = self.cells(protocol);
        count(&cells.messages_out);
        cells.bytes_out.fetch_add(bytes(len), Ordering::Relaxed);
    }

    pub fn dropped_out(&self, protocol: Protocol) {
        count(&self.cells(protocol).dropped_out);
    }

    pub fn dropped_in(&self, protocol: Protocol) {
        count(&self.cells(protocol).dropped_in);
    }

    pub fn refuse(&self, reason: Refusal) {
        self.refuse_many(reason, 1);
    }

    pub fn refuse_many(&self, reason: Refusal, count: u64) {
        // The order of the enum is that of the cells.
        if let Some(cell) = self.refused.get(reason as usize) {
            cell.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub fn read(&self) -> NetworkCounters {
        let get = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let refused = Refusal::ALL.iter().zip(&self.refused);
        let protocols = Protocol::ALL.into_iter().map(|protocol| {
            let cells = self.cells(protocol);
            let counters = ProtocolCounters {
                messages_in: get(&cells.messages_in),
                bytes_in: get(&cells.bytes_in),
                messages_out: get(&cells.messages_out),
                bytes_out: get(&cells.bytes_out),
                dropped_out: get(&cells.dropped_out),
                dropped_in: get(&cells.dropped_in),
            };
            (protocol.name(), counters)
        });
        NetworkCounters {
            protocols: protocols.collect(),
            rejected: get(&self.rejected),
            dials: get(&self.dials),
            dials_failed: get(&self.dials_failed),
            wrong_chain: get(&self.wrong_chain),
            restarted: get(&self.restarted),
            bans: get(&self.bans),
            places_banned: get(&self.places_banned),
            refused: refused.map(|(reason, cell)| (reason.name(), get(cell))).collect(),
        }
    }
}
