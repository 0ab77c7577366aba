//! `devnet.json`: the records of a devnet and of its nodes.
//!
//! - A recorded process is valid only together with its start time, the machine's boot id and the identity of
//!   the folder: neither a process that reused its number nor a node of the folder that this one was copied
//!   from is taken for a node.
//! - A move to another file system is a copy whose original is deleted. Its nodes belong to the copy: they
//!   can be stopped, and until they are, no others are started in their place.
//! - Homes and logs are in the folder under their names: the file contains no path outside of it, so a devnet
//!   can be moved.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use vibecoin_primitives::text::quoted_path;

use crate::error::{Class, Error};
use crate::files;
use crate::folder::{self, LOCK_FILE};
use crate::plan::Role;
use crate::process;

/// The file's name in the folder.
pub const STATE_FILE: &str = "devnet.json";
/// Maximum number of bytes of the file that are read; a hundred nodes have 60 kB.
const STATE_BYTES_MAX: usize = 1024 * 1024;
/// The version of the file.
const VERSION: u32 = 1;
/// Contents of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the format.
    pub version: u32,
    /// The boot that the processes belong to.
    pub boot: String,
    /// The identity of the folder that the processes belong to; empty in a file of an older version.
    #[serde(default)]
    pub folder: String,
    /// Seed of the keys; empty when an older version created the devnet.
    #[serde(default)]
    pub seed: String,
    /// `byzantine` or `crash`.
    #[serde(default)]
    pub fault_model: String,
    /// Name of the parameter profile.
    #[serde(default)]
    pub profile: String,
    /// The program that last started nodes, for scripts that want the same one.
    #[serde(default)]
    pub program: PathBuf,
    /// RPC of the first node; the others follow ten apart, except those with an `ownPort`.
    #[serde(default)]
    pub base_port: u16,
    /// Names of the nodes that are separated from each other, group by group; empty without a partition.
    #[serde(default)]
    pub partition: Vec<Vec<String>>,
    /// The configurations are being rewritten for other ports.
    #[serde(default, skip_serializing_if = "is_false")]
    pub moving: bool,
    /// Validators first.
    pub nodes: Vec<NodeRecord>,
    /// Processes of the devnet that this folder was copied from, as pid and start time, while they run. They are
    /// recorded before the copy's own processes take their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub original: Vec<(u32, u64)>,
}

const fn is_false(value: &bool) -> bool {
    !*value
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// `validator-0`, `full-0`, …
    pub name: String,
    /// `validator` or `full`.
    pub role: String,
    /// Its process; `null` when it was stopped.
    pub pid: Option<u32>,
    /// Address of its RPC.
    pub rpc: Option<String>,
    /// Address for its peers.
    pub p2p: Option<String>,
    /// Address of its metrics.
    pub metrics: Option<String>,
    /// Address of its admin methods.
    #[serde(default)]
    pub admin: Option<String>,
    /// Its directory: in the file relative to the folder, here absolute.
    #[serde(default)]
    pub home: PathBuf,
    /// Its log; path as `home`.
    #[serde(default)]
    pub log: PathBuf,
    /// Start time of its process, in clock ticks since boot.
    pub started: Option<u64>,
    /// Its identity on the network.
    #[serde(default)]
    pub peer_id: String,
    /// The first of its ports, if they differ from those of its number and `basePort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_port: Option<u16>,
    /// Its home is being created or deleted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unfinished: bool,
}

impl NodeRecord {
    /// Resolves home and log against a folder; an empty one makes them relative to it.
    pub(crate) fn place(&mut self, dir: &Path) {
        self.home = dir.join(&self.name);
        self.log = dir.join(format!("{}.log", self.name));
    }

    /// Its RPC address, which every started node has.
    #[must_use]
    pub fn url(&self) -> &str {
        self.rpc.as_deref().unwrap_or_default()
    }

    /// Returns true if it signs.
    #[must_use]
    pub fn is_validator(&self) -> bool {
        self.role == Role::Validator.name()
    }

    /// Its recorded process with its start time, if that still runs.
    fn running(&self) -> Option<(u32, u64)> {
        self.pid.zip(self.started).filter(runs)
    }

    /// Returns true if its recorded process still runs, in a folder that was removed.
    pub(crate) fn runs_adrift(&self) -> bool {
        self.running().is_some_and(|(pid, _)| process::is_adrift(pid))
    }

    /// Clears the process.
    pub fn forget(&mut self) {
        (self.pid, self.started) = (None, None);
    }
}

/// Returns true for a process that still runs, by pid and start time.
fn runs((pid, started): &(u32, u64)) -> bool {
    process::started_at(*pid) == Some(*started)
}

/// Remedy for a file that cannot be read. The folder may hold what is not of the devnet.
fn damaged_hint(dir: &Path) -> String {
    let mut aside = dir.as_os_str().to_owned();
    aside.push("-damaged");
    format!(
        "a devnet wrote it; if no node of it runs, `mv {} {}` moves the folder out of the way",
        quoted_path(dir),
        quoted_path(Path::new(&aside))
    )
}

impl State {
    /// Returns true if the devnet as a whole is unfinished: its first node is.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.nodes.first().is_some_and(|node| node.unfinished)
    }

    /// Reads the file of a folder.
    pub(crate) fn read(path: &Path, dir: &Path) -> Result<Self, Error> {
        let text = files::read_text(path, STATE_BYTES_MAX)?;
        let refused = |detail: String| {
            Error::new(Class::InvalidFile, format!("{}: {detail}", path.display())).hint(damaged_hint(dir))
        };
        let mut state: Self = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        if state.version != VERSION {
            let message = format!(
                "{} has version {}, this program writes {VERSION}",
                path.display(),
                state.version
            );
            return Err(Error::new(Class::InvalidFile, message)
                .hint("use the program that started this devnet to stop it"));
        }
        if let Some(node) = state.nodes.iter().find(|node| !is_node_name(&node.name)) {
            return Err(refused(format!("{:?} is not a node's name", node.name)));
        }
        // A copy has the records of the original, whose processes do not belong to it.
        let own = match state.folder.as_str() {
            "" => state.nodes.iter().all(|node| node.home.parent() == Some(dir)),
            recorded => recorded == folder::identity(dir)?,
        };
        let this_boot = state.boot == process::boot_id()?;
        state.original.retain(|process| this_boot && runs(process));
        for node in &mut state.nodes {
            if !own && !node.runs_adrift() {
                state.original.extend(node.running().filter(|_| this_boot));
                node.forget();
            }
            node.place(dir);
        }
        Ok(state)
    }
}

/// Returns true if a name is one part of a path and does not conflict with the folder's own files.
fn is_node_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!(parts.next(), Some(Component::Normal(part)) if part == name) && parts.next().is_none();
    one && ![STATE_FILE, LOCK_FILE].contains(&name)
}
