//! Every knob: its name with its unit, its default, its range, and the effect at either end.
//!
//! This list is the only source: the typed sections, the known keys, the ranges, the default file and the
//! documentation are derived from it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kind::{Kind, Value};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const BODY_BYTES_MAX: u32 = 5 * 1024 * 1024;
const RESPONSE_BYTES_MAX: u32 = 25 * 1024 * 1024;

/// Namespaces of the JSON-RPC interface that a listener may offer.
const NAMESPACES: &[&str] = &[
    "chain",
    "account",
    "tx",
    "mempool",
    "proof",
    "poh",
    "consensus",
    "net",
    "node",
    "rpc",
    "sub",
    "dev",
];

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

/// One knob of the list.
pub struct Knob {
    /// Its section.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    key: &'static str,
    /// Its documentation, one entry per line.
    pub doc: &'static [&'static str],
    /// Type of its value.
    pub kind: Kind,
    /// Reads its value from a configuration.
    pub get: fn(&Config) -> Value,
}

impl Knob {
    /// `section.name`.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        self.key
    }
}

/// One section of the list.
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// Its documentation, one entry per line.
    pub doc: &'static [&'static str],
}

/// Finds a knob by `section.name`.
#[must_use]
pub fn knob(key: &str) -> Option<&'static Knob> {
    let (section, name) = key.split_once('.')?;
    KNOBS
        .iter()
        .find(|knob| knob.section == section && knob.name == name)
}

/// A type of knobs, converted to a [`Value`].
trait Turns {
    fn value(&self) -> Value;
}

impl Turns for bool {
    fn value(&self) -> Value {
        Value::Switch(*self)
    }
}

macro_rules! counts {
    ($($int:ty),*) => {$(
        impl Turns for $int {
            fn value(&self) -> Value {
                Value::Count(u64::from(*self))
            }
        }
    )*};
}
counts!(u16, u32, u64);

impl Turns for String {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl Turns for PathBuf {
    fn value(&self) -> Value {
        Value::Text(self.to_string_lossy().into_owned())
    }
}

impl Turns for IpAddr {
    fn value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl Turns for LogFormat {
    fn value(&self) -> Value {
        Value::Text(match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        })
    }
}

impl Turns for Vec<String> {
    fn value(&self) -> Value {
        Value::List(self.clone())
    }
}

const fn range(least: u64, most: u64) -> Kind {
    Kind::Count { least, most }
}

macro_rules! knobs {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {
            $( $(#[doc = $doc:literal])* $name:ident: $type:ty = $default:expr, $kind:expr; )*
        }
    )*) => {
        /// Every knob of a node.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Config { $( $(#[doc = $section_doc])* pub $section: $Section, )* }

        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $Section { $( $(#[doc = $doc])* pub $name: $type, )* }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $name: $default, )* }
                }
            }
        )*

        /// Every section, in the order of the file.
        pub const SECTIONS: &[Section] = &[ $( Section {
            name: stringify!($section),
            doc: &[$($section_doc),*],
        }, )* ];

        /// Every knob, in the order of the file.
        pub const KNOBS: &[Knob] = &[ $( $( Knob {
            section: stringify!($section),
            name: stringify!($name),
            key: concat!(stringify!($section), ".", stringify!($name)),
            doc: &[$($doc),*],
            kind: $kind,
            get: |config| config.$section.$name.value(),
        }, )* )* ];
    };
}

knobs! {
    /// The node itself: who it is, and where its files are.
    node: NodeConfig {
        /// A name for people, shown by `vibecoin status` and in the log.
        moniker: String = "vibecoin".to_owned(), Kind::Name;
        /// Whether this node signs blocks and votes, with the key in `validator.key`, whose public half
        /// must be in the validator set. Two nodes that sign with one key are a double signature.
        validator: bool = false, Kind::Switch;
        /// The genesis file.
        genesis_file: PathBuf = "genesis.toml".into(), Kind::Path;
        /// The folder of the account keys.
        keystore_dir: PathBuf = "keys".into(), Kind::Path;
        /// A file that holds the passphrase of the validator key. Empty: ask on the terminal.
        password_file: PathBuf = PathBuf::new(), Kind::Path;
        /// How long a clean stop may take, in milliseconds. Too short and work is thrown away that the
        /// next start repeats; above 10 s a container engine kills the process first.
        stop_timeout_ms: u64 = 8_000, range(100, 60_000);
    }

    /// The files that keep a validator from contradicting itself. They are never rewound or restored.
    consensus: ConsensusConfig {
        /// The folder of the consensus log.
        log_dir: PathBuf = "consensus".into(), Kind::Path;
        /// The file of the double-sign guard. A copy of it on a second machine is a double signature.
        guard_file: PathBuf = "consensus/guard".into(), Kind::Path;
    }

    /// The JSON-RPC interface, over HTTP and WebSocket on one port.
    rpc: RpcConfig {
        /// The address to listen at. Anything but a loopback address lets strangers ask.
        addr: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST), Kind::Ip;
        /// The port to listen at; 0 takes a free one, which the ready line names.
        port: u16 = 8545, range(0, 65_535);
        /// The namespaces that are offered; `rpc`, which describes the interface, always is. `dev` answers only on a
        /// dev chain.
        api: Vec<String> = NAMESPACES.iter().map(|name| (*name).to_owned()).collect(), Kind::Words(NAMESPACES);
        /// Host names that requests may name, against DNS rebinding, without port; empty: `localhost` and loopback
        /// addresses. The address at which a request arrived may always be named; `*` alone allows any.
        hosts: Vec<String> = Vec::new(), Kind::Hosts;
        /// Web origins whose pages may call (CORS), such as `https://app.example`; empty: none. `*` alone allows
        /// any; it is no part of an origin.
        cors_origins: Vec<String> = Vec::new(), Kind::Origins;
        /// Most connections at once, three quarters of them WebSocket sessions, and never more than a quarter
        /// of the file descriptors of the process. A connection without a request in work gives its place
        /// to a newcomer. Too few and callers are turned away while others are served.
        connections_max: u32 = 200, range(1, 65_536);
        /// Most connections of one IP address or IPv6 /64; loopback addresses have no such limit. Raise it
        /// when many callers come through one proxy or container bridge.
        connections_per_ip_max: u32 = 64, range(1, 65_536);
        /// Most subscriptions of one connection.
        subscriptions_per_connection_max: u32 = 32, range(1, 1024);
        /// Events of one subscription that wait for a slow WebSocket reader. Too few and short hiccups end
        /// subscriptions, too many cost memory for each reader.
        subscription_queue_events_max: u32 = 64, range(1, 65_536);
        /// Blocks that a live subscription may fall behind before it is closed with `lagged`.
        subscription_lag_blocks_max: u64 = 1_024, range(1, 1_000_000);
        /// Most entries of a batch request. Large batches let one caller hold a connection for long.
        batch_entries_max: u32 = 100, range(1, 10_000);
        /// Most bytes of a request. A full `tx_submitBatch` of the largest transactions needs 13 MiB.
        body_bytes_max: u32 = BODY_BYTES_MAX, range(KIB, GIB);
        /// Most bytes of an answer, all entries of a batch together.
        response_bytes_max: u32 = RESPONSE_BYTES_MAX, range(KIB, GIB);
        /// How long a call may take, in milliseconds, unless it waits on purpose.
        request_timeout_ms: u64 = 10_000, range(10, 600_000);
        /// Calls that compute (Proof of History, simulation, figures over many blocks) at once. They share the disk
        /// with the commit. Answers that can be large, such as blocks, lists and proofs, have a bound of their own.
        expensive_calls_max: u32 = 4, range(1, 1024);
        /// Cost units that one IP address may spend per second (a cheap read costs 1); 0 means no limit.
        /// Too low and honest load tools are refused; without a limit one caller can starve all others.
        cost_per_s_per_ip: u32 = 5_000, range(0, 10_000_000);
        /// Cost units that one IP address may save up.
        cost_burst_per_ip: u32 = 20_000, range(1, 100_000_000);
        /// Whether callers on this machine have no such limit. Behind a proxy on this machine everybody does.
        cost_exempts_loopback: bool = true, Kind::Switch;
    }

    /// The network between nodes.
    p2p: P2pConfig {
        /// Where to listen, as multiaddresses: `/ip4/0.0.0.0/tcp/27656`, `/ip4/0.0.0.0/udp/27656/quic-v1`.
        /// Empty: nobody can connect to this node; it may still connect to others.
        listen: Vec<String> = Vec::new(), Kind::Texts;
        /// Addresses that others are told, where they differ from those listened at; without `/p2p/ID`.
        external: Vec<String> = Vec::new(), Kind::Texts;
        /// Peers to stay connected with, as multiaddresses that end in `/p2p/ID`.
        peers: Vec<String> = Vec::new(), Kind::Texts;
        /// Peers to ask for more peers when there are too few.
        bootnodes: Vec<String> = Vec::new(), Kind::Texts;
        /// Identities of peers that are never turned away for lack of room.
        reserved: Vec<String> = Vec::new(), Kind::Texts;
        /// Whether peers tell each other of further peers.
        exchange: bool = true, Kind::Switch;
        /// Most connections that others opened; validators and reserved peers are let in beyond it.
        inbound_max: u32 = 64, range(0, 10_000);
        /// Most connections that this node opens.
        outbound_max: u32 = 32, range(0, 10_000);
        /// Most connections from one IP address. Loopback addresses have no such limit.
        per_ip_max: u32 = 8, range(1, 10_000);
        /// Most connections from one /24 (IPv4) or /48 (IPv6). Loopback addresses have no such limit.
        per_subnet_max: u32 = 32, range(1, 10_000);
        /// Bytes per second that one peer may send, over all protocols; more is waited for.
        bytes_per_s_per_peer: u64 = 64 * MIB, range(64 * KIB, 1024 * GIB);
        /// Resident memory of the process at which new connections are refused, in bytes.
        memory_max_bytes: u64 = 4 * GIB, range(128 * MIB, 1024 * GIB);
        /// The file of the key that names this node on the network.
        key_file: PathBuf = "node.key".into(), Kind::Path;
        /// The file in which peers are remembered over a restart.
        peers_file: PathBuf = "peers.json".into(), Kind::Path;
    }

    /// Figures for Prometheus, on a listener of its own.
    metrics: MetricsConfig {
        /// Address and port, such as `127.0.0.1:9464`. Empty: off. Anybody who can connect can read. A Prometheus
        /// that asks by a host name needs that name in `rpc.hosts`.
        listen: String = String::new(), Kind::Listen;
    }

    /// Methods for the operator (`net_addPeer`, `net_banPeer`, …), on a listener of its own.
    admin: AdminConfig {
        /// Address and port, such as `127.0.0.1:9465`; port 0 takes a free one. Empty: off. Callers show
        /// the token of `token_file`.
        listen: String = String::new(), Kind::Listen;
        /// The file of the token, made at the start if it is missing, readable by the owner alone.
        token_file: PathBuf = "admin.token".into(), Kind::Path;
    }

    /// The database.
    storage: StorageConfig {
        /// The folder of the database.
        db_dir: PathBuf = "db".into(), Kind::Path;
        /// Memory for blocks read from the database and for its write buffers, in bytes: the more is being written, the
        /// fewer blocks stay. Too little and cold reads go to disk.
        block_cache_bytes: u64 = 64 * MIB, range(MIB, 1024 * GIB);
        /// Memory of one write buffer, in bytes; all kinds of records together have up to four times as much. Too little
        /// and small files pile up.
        write_buffer_bytes: u64 = 16 * MIB, range(MIB, 64 * GIB);
        /// State updates and transactions that may wait to be materialised behind the commit. A crash replays at most
        /// these; a full queue slows the chain down.
        backlog_updates_max: u64 = 300_000, range(1_000, 100_000_000);
    }

    /// The pool of transactions that wait.
    mempool: MempoolConfig {
        /// Most transactions. Too few and bursts are refused.
        transactions_max: u32 = 50_000, range(1, 10_000_000);
        /// Most bytes of memory that they take, decoded and with the lists that they are in. A transfer takes about 1.6 KiB.
        bytes_max: u64 = 80 * MIB, range(64 * KIB, 64 * GIB);
        /// Most transactions of one sender.
        per_sender_max: u32 = 1_024, range(1, 1_000_000);
        /// How far a nonce may be ahead of the sender's next one, and always less than `per_sender_max`. A gap holds memory
        /// that earns nothing.
        nonce_gap_max: u64 = 1_024, range(0, 1_000_000);
        /// How much more a replacement must pay, in percent. At 0 the pool can be made to churn for free.
        replacement_bump_percent: u32 = 10, range(0, 1_000);
    }

    /// Logs, on stderr.
    log: LogConfig {
        /// `text` or `json`.
        format: LogFormat = LogFormat::Text, Kind::Word(&["text", "json"]);
        /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, `off`, or per target
        /// (`info,node::sync=debug`). `trace` costs more than the work it describes.
        filter: String = "info,libp2p_gossipsub=error".to_owned(), Kind::Filter;
    }
}

impl Config {
    /// Resolves a path of this configuration: a relative one starts at `home`; `None` when empty.
    #[must_use]
    pub fn locate(home: &Path, path: &Path) -> Option<PathBuf> {
        (!path.as_os_str().is_empty()).then(|| home.join(path))
    }
}
