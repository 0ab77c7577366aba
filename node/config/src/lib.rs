//! The settings of one node, and the origin of each value.
//!
//! Four layers, the later over the earlier: defaults, `config.toml` in the home directory, the environment
//! (`VIBECOIN__RPC__PORT`), flags (`--rpc.port`). Settings that all nodes must share are not here: they are
//! in genesis. Secrets are never here either, only paths to them.
//!
//! Pure: takes text and pairs, returns values. The caller reads the file and the environment.
//!
//! ```
//! use vibecoin_config::{Origin, Sources};
//! let loaded = Sources::new()
//!     .file("[rpc]\nport = 9000\n")
//!     .env([("VIBECOIN__MEMPOOL__PER_SENDER_MAX".into(), "10".into())])
//!     .flag("rpc.port", "9001")
//!     .load()?;
//! assert_eq!(loaded.config.rpc.port, 9001);
//! assert_eq!(loaded.config.mempool.per_sender_max, 10);
//! assert_eq!(loaded.origin("rpc.port"), Origin::Flag);
//!
//! let error = vibecoin_config::parse("[rpc]\nprot = 9000\n").unwrap_err();
//! assert_eq!(error.to_string(), "line 2, column 1: rpc.prot: unknown key; did you mean \"port\"?");
//! # Ok::<(), vibecoin_config::ConfigError>(())
//! ```
//!
//! Read in this order: `knobs` (every knob with its default, its range and its cost), `load` (layers, unknown
//! keys, origins), `variables` (names in the environment), `kind` (types of values), `text` (the default
//! file), `paths` (the paths of a home's files).

mod entry;
mod error;
mod kind;
mod knobs;
mod load;
mod paths;
mod suggest;
mod text;
mod variables;

pub use error::{ConfigError, Place, Problem};
pub use kind::{Kind, Value};
pub use knobs::{
    Config, ConsensusConfig, KNOBS, Knob, LogConfig, LogFormat, MempoolConfig, NodeConfig, RpcConfig,
    SECTIONS, Section, StorageConfig, knob,
};
pub use load::{CONFIG_BYTES_MAX, ENV_PREFIX, Loaded, Origin, Sources, parse};
pub use paths::Paths;
pub use text::{default_text, environment_name};
