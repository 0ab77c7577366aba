//! The attacks by name, their settings, and their reports.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use libp2p::identity::Keypair;
use serde::{Deserialize, Serialize};
use vibecoin_network::Envelope;
use vibecoin_primitives::{Hash, PublicKey, SecretKey};

use crate::hello::Hello;
use crate::material::Material;
use crate::session::{DROPPED_WITHIN, Session};
use crate::{
    blocks, book, certificates, evidence, fetch, frames, ghosts, gossip, liar, parts, rpc, silent, streams,
    votes,
};

/// Pause of an attacking client that was refused.
const REFUSED_REST: Duration = Duration::from_millis(200);
/// Pause between two connections.
const REST: Duration = Duration::from_millis(20);
/// Connections under one identity before the next one is taken.
const LIVES: u32 = 2;

macro_rules! attacks {
    ($($variant:ident $name:literal $about:literal,)*) => {
        /// An attack.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Attack {
            $(#[doc = $about] $variant,)*
        }

        impl Attack {
            /// All attacks.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Description in one line.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about),* }
            }
        }
    };
}

attacks! {
    Blocks "blocks" "a great head, then 12 MB answers to each sync request, again and again (fault 1)",
    Bodies "bodies" "4 MB bodies under the headers of current proposals (fault 1)",
    Parts "parts" "a validator's 4.1 MB parts out of its turn (fault 2)",
    Status "status" "status messages without pause (fault 6)",
    SlowFrames "slow-frames" "frames that begin and go on with a byte a second (fault 7)",
    Copies "copies" "known gossip published again under every copy number (fault 11)",
    Book "book" "greetings of many identities full of addresses that nobody listens at (fault 15)",
    Frames "frames" "oversized, truncated, undecodable and misplaced frames and greetings (B6)",
    Grafts "grafts" "unknown topics grafted by the hundred thousand, prunes of 2^63 s, broken protobuf (B6)",
    Unwanted "unwanted" "ids of messages that are not wanted, a known message and messages that name an author, without pause (53)",
    Streams "streams" "ten thousand yamux streams, half-open dials and handshakes (B6)",
    StreamChurn "stream-churn" "streams that are opened, get a proposal and are dropped, without pause (37)",
    Fetch "fetch" "old blocks asked for as fast as answers come, from the first to the last and again (37)",
    Votes "votes" "10,000 validly signed votes a second of one validator, for heights to come (B7)",
    Ghosts "ghosts" "proposals, votes and parts, each rightly signed under a key that is no validator's (41)",
    Certificates "certificates" "certificates in the validators' names that none of them signed (41)",
    CertificatesValid "certificates-valid" "valid certificates without end: another validator's vote and contradicting ones of one's own (41)",
    Evidence "evidence" "known, repeated and badly signed double votes by gossip (41)",
    Transactions "transactions" "badly signed transactions by gossip (B7, fault 19)",
    Unfunded "unfunded" "20,000 gossiped messages a second, each a rightly signed transaction of an account that does not exist (M2)",
    LiarHead "liar-head" "sync: claims a head of 2^63 and stays silent (B9)",
    LiarGaps "liar-gaps" "sync: answers with every second block (B9)",
    LiarCertificate "liar-certificate" "sync: right blocks under wrong certificates (B9)",
    LiarStall "liar-stall" "sync: honest for half of the way, then silent (B9)",
    LiarShrinks "liar-shrinks" "sync: claims a great head, later a small one (B9)",
    P2pSilent "p2p-silent" "sockets on the network listener that send nothing, or a byte a second before and in the hello (fault 4)",
    RpcSilent "rpc-silent" "sockets that send nothing (fault 4)",
    RpcSlow "rpc-slow" "requests at a byte a second (fault 4)",
    RpcPrefaces "rpc-prefaces" "HTTP/2 prefaces with open streams and closed windows (fault 4)",
    RpcUnread "rpc-unread" "WebSocket clients that subscribe and never read (M5)",
    RpcFlood "rpc-flood" "badly signed transactions by RPC, in full batches (B7)",
    RpcBatches "rpc-batches" "slow sockets, and every hundredth a batch of 10,000 calls, again and again (M4)",
    RpcEvidence "rpc-evidence" "one double vote handed in by RPC again and again, and badly signed ones (41)",
    RpcPoh "rpc-poh" "poh_verify of 100 blocks, again and again (41)",
    RpcWaits "rpc-waits" "waits for transactions that stay in the pool, 100 to a call (41)",
    RpcLists "rpc-lists" "5 MiB of list entries that are none (41)",
    RpcUnmatched "rpc-unmatched" "subscriptions over all blocks that match nothing (fault 9)",
}

impl Attack {
    /// The attack of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|attack| attack.name() == name)
    }
}

/// Settings of an attack.
#[derive(Clone)]
pub struct Setting {
    /// The chain.
    pub genesis: Hash,
    /// Listeners of the nodes: TCP for the network, or RPC for the attacks on it.
    pub targets: Vec<SocketAddr>,
    /// Source addresses; empty: chosen by the system.
    pub sources: Vec<IpAddr>,
    /// Number of concurrent identities on each node.
    pub strangers: usize,
    /// Duration.
    pub time: Duration,
    /// A validator's key, for the attacks of a validator and with its signatures; an account's, for
    /// [`Attack::RpcWaits`].
    pub key: Option<SecretKey>,
    /// The validators, under whose names certificates are forged.
    pub validators: Vec<PublicKey>,
}

/// An identity of an attacking client.
pub struct Identity {
    /// Seed of the key.
    pub seed: [u8; 32],
    /// The key.
    pub keypair: Keypair,
    /// Source address of its connections.
    pub source: Option<IpAddr>,
}

/// Names that depend on the chain.
pub struct Names {
    /// Protocol of requests and answers.
    pub direct: String,
    /// Protocol of parts.
    pub parts: String,
    /// Topic of votes.
    pub consensus: String,
    /// Topic of transactions.
    pub transactions: String,
}

impl Names {
    fn new(genesis: &Hash) -> Self {
        let chain: String = genesis
            .prefix()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            direct: format!("/vibecoin/{chain}/direct/1"),
            parts: format!("/vibecoin/{chain}/parts/1"),
            consensus: format!("vibecoin/{chain}/consensus/1"),
            transactions: format!("vibecoin/{chain}/transactions/1"),
        }
    }
}

/// Actions of the attack, and reactions of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Number of connections made.
    pub connections: u64,
    /// Number of connections after which the node opened its lane.
    pub admitted: u64,
    /// Number of connections that were refused, or ended before that.
    pub refused: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of bodies received from nodes.
    #[serde(default)]
    pub fetched_bytes: u64,
    /// Number of blocks received from nodes.
    #[serde(default)]
    pub fetched_blocks: u64,
    /// Connections on which a rule was broken, and the node had its time to act.
    pub offences: u64,
    /// Those that the node closed within the time limit.
    pub dropped: u64,
    /// Milliseconds of the longest connection time after an offence.
    pub longest_ms: u64,
    /// Reason of the last refusal.
    pub reason: String,
    /// Broken rules after which the node did not disconnect in time, with the number of
    /// connections.
    pub kept: BTreeMap<String, u64>,
    /// Answers of RPC calls: `result`, or the reason of the error, with their number.
    #[serde(default)]
    pub answers: BTreeMap<String, u64>,
}

/// Counters of a running attack.
#[derive(Default)]
pub struct Tally(Mutex<Report>);

impl Tally {
    fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn connected(&self) {
        self.count(|report| report.connections += 1);
    }

    pub(crate) fn admitted(&self) {
        self.count(|report| report.admitted += 1);
    }

    pub(crate) fn refused(&self, error: &io::Error) {
        self.count(|report| {
            report.refused += 1;
            report.reason = error.to_string();
        });
    }

    pub(crate) fn sent(&self, bytes: u64, messages: u64) {
        self.count(|report| {
            report.bytes += bytes;
            report.messages += messages;
        });
    }

    pub(crate) fn fetched(&self, bytes: u64, blocks: u64) {
        self.count(|report| {
            report.fetched_bytes += bytes;
            report.fetched_blocks += blocks;
        });
    }

    /// An RPC call was answered.
    pub(crate) fn answered(&self, kind: String) {
        self.count(|report| *report.answers.entry(kind).or_default() += 1);
    }

    /// A connection with an offence has ended: closed by the node or, without `closed`, by the
    /// attacker.
    pub(crate) fn offended(&self, at: Instant, closed: Option<Instant>, rule: Option<&str>) {
        let stayed = closed.unwrap_or_else(Instant::now).saturating_duration_since(at);
        let in_time = closed.is_some() && stayed <= DROPPED_WITHIN;
        // A connection that the attacker ends before the time limit proves nothing about the node.
        if closed.is_none() && stayed < DROPPED_WITHIN {
            return;
        }
        self.count(|report| {
            report.offences += 1;
            report.dropped += u64::from(in_time);
            report.longest_ms = report.longest_ms.max(stayed.as_millis() as u64);
            if let Some(rule) = rule.filter(|_| !in_time) {
                *report.kept.entry(rule.to_owned()).or_default() += 1;
            }
        });
    }

    fn report(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A prepared attack.
pub struct Stage {
    /// The attack.
    pub attack: Attack,
    /// Its settings.
    pub setting: Setting,
    /// Names of the chain.
    pub names: Names,
    /// Envelopes of the chain.
    pub envelope: Envelope,
    /// Counters.
    pub tally: Tally,
    /// Inputs that are expensive to make, made before the time begins.
    pub material: Material,
    heads: Vec<AtomicU64>,
    identities: AtomicU64,
    messages: AtomicUsize,
}

/// Actions of an attacking client on a connection, until it ends.
type Act = for<'a> fn(&'a Arc<Stage>, &'a mut Session) -> BoxFuture<'a, io::Result<()>>;

impl Stage {
    /// Prepares an attack; nothing is connected yet.
    #[must_use]
    pub fn new(attack: Attack, setting: Setting) -> Arc<Self> {
        let material = Material::new(attack, &setting);
        Arc::new(Self {
            attack,
            names: Names::new(&setting.genesis),
            envelope: Envelope::new(&setting.genesis),
            tally: Tally::default(),
            material,
            heads: setting.targets.iter().map(|_| AtomicU64::new(0)).collect(),
            identities: AtomicU64::new(u64::from(std::process::id()) << 32),
            messages: AtomicUsize::new(0),
            setting,
        })
    }

    /// The index of the first of so many prepared messages that were not sent yet.
    #[must_use]
    pub fn next_message(&self, count: usize) -> usize {
        self.messages.fetch_add(count, Ordering::Relaxed)
    }

    /// Records the head that a node announced.
    pub fn saw_head(&self, node: usize, height: u64) {
        self.heads[node].fetch_max(height, Ordering::Relaxed);
    }

    /// The highest head that any node announced.
    #[must_use]
    pub fn head(&self) -> u64 {
        let heads = self.heads.iter().map(|head| head.load(Ordering::Relaxed));
        heads.max().unwrap_or(0)
    }

    /// The source address of this index; `None`: chosen by the system.
    #[must_use]
    pub fn source(&self, index: usize) -> Option<IpAddr> {
        let sources = &self.setting.sources;
        index
            .checked_rem(sources.len())
            .and_then(|at| sources.get(at).copied())
    }

    /// A new identity, at the source address of this index.
    #[must_use]
    pub fn identity(&self, source: usize) -> Identity {
        let number = self.identities.fetch_add(1, Ordering::Relaxed);
        let mut seed = [0x5a; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let mut copy = seed;
        Identity {
            seed,
            keypair: Keypair::ed25519_from_bytes(&mut copy).expect("a seed of 32 bytes"),
            source: self.source(source),
        }
    }

    /// The key that attacking clients prove to have: evidence against a validator needs its signatures,
    /// not its identity.
    #[must_use]
    pub fn proven_key(&self) -> Option<&SecretKey> {
        let key = self.setting.key.as_ref();
        key.filter(|_| self.attack != Attack::Evidence)
    }

    /// The initial hello of the attack.
    #[must_use]
    pub fn hello(&self) -> Hello {
        let head = match self.attack {
            Attack::Blocks | Attack::LiarShrinks => 1 << 20,
            Attack::LiarHead => 1 << 63,
            _ => 0,
        };
        Hello::new(self.setting.genesis, head)
    }

    /// Runs the attack for its time.
    pub async fn run(self: &Arc<Self>) -> Report {
        let act: Option<Act> = match self.attack {
            Attack::Blocks => Some(blocks::answer_again),
            Attack::Bodies => Some(blocks::bodies),
            Attack::Parts => Some(parts::out_of_turn),
            Attack::Status => Some(frames::status),
            Attack::StreamChurn => Some(streams::churn),
            Attack::Fetch => Some(fetch::at_full_speed),
            Attack::SlowFrames => Some(frames::never_finished),
            Attack::Copies => Some(gossip::copies),
            Attack::Grafts => Some(gossip::control),
            Attack::Unwanted => Some(gossip::unwanted),
            Attack::Votes => Some(votes::flood),
            Attack::Ghosts => Some(ghosts::flood),
            Attack::Certificates => Some(certificates::forged),
            Attack::CertificatesValid => Some(certificates::valid),
            Attack::Evidence => Some(evidence::flood),
            Attack::Transactions => Some(gossip::bad_transactions),
            Attack::Unfunded => Some(gossip::unfunded),
            Attack::LiarHead
            | Attack::LiarGaps
            | Attack::LiarCertificate
            | Attack::LiarStall
            | Attack::LiarShrinks => Some(liar::answer),
            _ => None,
        };
        let whole = async {
            match (self.attack, act) {
                (_, Some(act)) => self.assault(act).await,
                (Attack::Book, _) => book::fill(self).await,
                (Attack::Frames, _) => frames::broken(self).await,
                (Attack::Streams, _) => streams::flood(self).await,
                (Attack::P2pSilent, _) => silent::run(self).await,
                _ => rpc::run(self).await,
            }
        };
        let _time_is_over = tokio::time::timeout(self.setting.time, whole).await;
        // Tasks that were aborted drop their sessions, which count their offences.
        tokio::time::sleep(REST).await;
        self.tally.report()
    }

    /// So many clients on every node: each connects, acts, and reconnects when it is disconnected.
    async fn assault(self: &Arc<Self>, act: Act) {
        let nodes = self.setting.targets.len();
        // The last target of Byzantine sync peers is the honest source of blocks, never a victim.
        let victims = if liar::is_liar(self.attack) {
            nodes.saturating_sub(1)
        } else {
            nodes
        };
        self.crowd(victims, move |stage, node, stranger| async move {
            loop {
                let identity = stage.identity(stranger);
                for _ in 0..LIVES {
                    stage.visit(node, &identity, act).await;
                }
            }
        })
        .await;
    }

    /// Runs as many clients as there are identities on each of the first so many nodes, side by side, until all have
    /// ended. A client is a function of the node and of its own number there.
    pub(crate) async fn crowd<F, R>(self: &Arc<Self>, nodes: usize, client: F)
    where
        F: Fn(Arc<Self>, usize, usize) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = tokio::task::JoinSet::new();
        for node in 0..nodes {
            for stranger in 0..self.setting.strangers {
                tasks.spawn(client(self.clone(), node, stranger));
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn visit(self: &Arc<Self>, node: usize, identity: &Identity, act: Act) {
        match Session::join(self, node, identity, self.hello()).await {
            Ok(mut session) => {
                let _thrown_out = act(self, &mut session).await;
                session.linger().await;
                tokio::time::sleep(REST).await;
            }
            Err(error) => {
                self.tally.refused(&error);
                tokio::time::sleep(REFUSED_REST).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_is_found_by_its_name() {
        for attack in Attack::ALL {
            assert_eq!(Attack::named(attack.name()), Some(*attack));
        }
        assert_eq!(Attack::named("none"), None);
    }

    #[test]
    fn an_offence_counts_when_the_node_acted_or_had_its_time() {
        let tally = Tally::default();
        let at = Instant::now();
        tally.offended(at, None, None);
        assert_eq!(tally.report().offences, 0, "its time is not over");
        tally.offended(at, Some(at + Duration::from_secs(1)), Some("one"));
        tally.offended(at, Some(at + Duration::from_secs(9)), Some("other"));
        let report = tally.report();
        assert_eq!(
            (report.offences, report.dropped, report.longest_ms),
            (2, 1, 9_000)
        );
        assert_eq!(report.kept, BTreeMap::from([("other".to_owned(), 1)]));
    }
}
