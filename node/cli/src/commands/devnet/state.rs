//! `devnet.json`: the nodes of a devnet, and their processes.
//!
//! - One command at a time changes a devnet: it holds the lock of the folder.
//! - A recorded process is valid only together with its start time, the machine's boot id and the identity of
//!   the folder: neither a process that reused its number nor a node of the folder that this one was copied
//!   from is taken for a node.
//! - A move to another file system is a copy whose original is deleted. Its nodes belong to the copy: they
//!   can be stopped, and until they are, no others are started in their place.
//! - Homes and logs are in the folder under their names: the file contains no path outside of it, so a devnet
//!   can be moved.
//! - A node is recorded as unfinished before its home is created, and again before it is deleted. A command
//!   that finds such a node follows an interrupted one, and removes its remains.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{self, LOCK_FILE, Locked};
use super::process;
use super::remains::{Accounts, remove_node};
use crate::commands::testnet::plan::Role;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::program::quoted_path;
use crate::sending::number;
use crate::{files, output};

/// The file's name in the folder.
pub const STATE_FILE: &str = "devnet.json";
/// Temporary name of the file in an older version.
const OLD_NEW_FILE: &str = "devnet.json.new";
/// Maximum number of bytes of the file that are read; a hundred nodes have 60 kB.
const STATE_BYTES_MAX: usize = 1024 * 1024;
/// The version of the file.
const VERSION: u32 = 1;
/// Hint for a directory without a devnet.
pub const START_HINT: &str =
    "start one with `vibecoin devnet up`, or name its folder with --dir or DEVNET_DIR";

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
    /// A process of the devnet that this folder was copied from, if one of them still runs.
    #[serde(skip)]
    pub original: Option<u32>,
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
    fn place(&mut self, dir: &Path) {
        self.home = dir.join(&self.name);
        self.log = dir.join(format!("{}.log", self.name));
    }

    /// Its RPC address, which every started node has.
    pub fn url(&self) -> &str {
        self.rpc.as_deref().unwrap_or_default()
    }

    /// Returns true if it signs.
    pub fn is_validator(&self) -> bool {
        self.role == Role::Validator.name()
    }

    /// Its recorded process, if that still runs.
    fn running_pid(&self) -> Option<u32> {
        let runs = |pid: &u32| self.started.is_some() && process::started_at(*pid) == self.started;
        self.pid.filter(runs)
    }

    /// Returns true if its recorded process still runs, in a folder that was removed.
    fn runs_adrift(&self) -> bool {
        self.running_pid().is_some_and(process::is_adrift)
    }

    /// Clears the process.
    pub fn forget(&mut self) {
        (self.pid, self.started) = (None, None);
    }
}

/// A folder with a devnet, or one that may become one.
pub struct Devnet {
    /// The folder, absolute.
    pub dir: PathBuf,
    /// Contents of the file; `None` when there is none.
    pub state: Option<State>,
    boot: String,
    lock: Option<Locked>,
}

impl Devnet {
    /// Takes the lock, waiting for the command that holds it, and reads the file. Creates the folder. Removes
    /// the remains of an interrupted command.
    pub fn change(dir: &Path) -> Result<Self, CliError> {
        let lock = Locked::take(dir)?;
        let mut net = Self::read(dir)?;
        net.lock = Some(lock);
        net.discard_unfinished()?;
        Ok(net)
    }

    /// Reads the file and changes nothing; does not wait for the lock.
    pub fn look(dir: &Path) -> Result<Self, CliError> {
        let mut net = Self::read(dir)?;
        if let Some(state) = &mut net.state {
            if state.is_unfinished() {
                net.state = None;
            } else {
                state.nodes.retain(|node| !node.unfinished);
            }
        }
        Ok(net)
    }

    fn read(dir: &Path) -> Result<Self, CliError> {
        let dir = std::path::absolute(dir).map_err(CliError::file("find", dir))?;
        // The resolved path, without `..` and links, if it exists.
        let dir = dir.canonicalize().unwrap_or(dir);
        let path = dir.join(STATE_FILE);
        let state = if path.exists() {
            Some(State::read(&path, &dir)?)
        } else {
            None
        };
        Ok(Self {
            dir,
            state,
            boot: process::boot_id()?,
            lock: None,
        })
    }

    /// Removes nodes whose creation or deletion was interrupted; without its first node there is no devnet.
    fn discard_unfinished(&mut self) -> Result<(), CliError> {
        let Some(state) = &mut self.state else {
            return Ok(());
        };
        if !state.nodes.iter().any(|node| node.unfinished) {
            return Ok(());
        }
        let whole = !state.is_unfinished();
        let accounts = Accounts::of(state)?;
        let (left, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.nodes)
            .into_iter()
            .partition(|node| node.unfinished);
        state.nodes = kept;
        let names: Vec<_> = left.iter().map(|node| node.name.as_str()).collect();
        output::note(&format!(
            "a command was interrupted here: removing what it left of {}",
            names.join(", ")
        ));
        for node in &left {
            for path in remove_node(node, &accounts)? {
                output::note(&format!("kept {}: it was not made by the devnet", path.display()));
            }
        }
        if whole {
            return self.save();
        }
        self.state = None;
        remove(&self.dir.join(STATE_FILE))
    }

    /// Undoes the work of this command: unfinished nodes, and a folder without a devnet.
    pub fn abandon(mut self) -> Result<(), CliError> {
        self.discard_unfinished()?;
        match self.lock {
            Some(lock) if self.state.is_none() => lock.undo(),
            _ => Ok(()),
        }
    }

    /// The boot id of this machine.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// The devnet, which must exist.
    pub fn existing(&self) -> Result<&State, CliError> {
        self.state.as_ref().ok_or_else(|| nothing(&self.dir))
    }

    /// The devnet, which must exist, for changes.
    pub fn existing_mut(&mut self) -> Result<&mut State, CliError> {
        let dir = &self.dir;
        self.state.as_mut().ok_or_else(|| nothing(dir))
    }

    /// Writes the file atomically: the old one or the new one, never a part.
    pub fn save(&mut self) -> Result<(), CliError> {
        let Some(state) = &mut self.state else {
            return Ok(());
        };
        if state.boot != self.boot {
            // Processes of an earlier boot do not run now.
            state.nodes.iter_mut().for_each(NodeRecord::forget);
            state.boot.clone_from(&self.boot);
        }
        state.folder = folder::identity(&self.dir)?;
        let mut written = state.clone();
        written
            .nodes
            .iter_mut()
            .for_each(|node| node.place(Path::new("")));
        let text = serde_json::to_string_pretty(&written)
            .map_err(|error| CliError::new(Exit::Failure, format!("cannot write {STATE_FILE}: {error}")))?;
        files::write_locked(&self.dir.join(STATE_FILE), &(text + "\n"))
    }

    /// The process of a node, if it is still that process.
    pub fn pid(&self, node: &NodeRecord) -> Option<u32> {
        let state = self.state.as_ref().filter(|state| state.boot == self.boot)?;
        let pid = node.pid?;
        let same = process::started_at(pid)? == node.started?;
        (same && !state.nodes.is_empty()).then_some(pid)
    }

    /// The nodes that run.
    pub fn running(&self) -> Vec<NodeRecord> {
        let nodes = self.state.iter().flat_map(|state| &state.nodes);
        nodes.filter(|node| self.pid(node).is_some()).cloned().collect()
    }

    /// Refuses a devnet whose nodes run in a folder that was removed.
    pub fn refuse_adrift(&self) -> Result<(), CliError> {
        let running = self.running();
        let adrift: Vec<String> = running
            .iter()
            .filter(|node| node.runs_adrift())
            .map(|node| format!("{} (pid {})", node.name, node.pid.unwrap_or_default()))
            .collect();
        if adrift.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the folder in which {} run is gone: it was moved to another file system, or deleted; {} holds what they \
             had written by then, and nothing since",
            adrift.join(", "),
            self.dir.display()
        );
        Err(CliError::new(Exit::Failure, message)
            .reason("moved")
            .hint("`vibecoin devnet down` stops them, `vibecoin devnet up` then goes on with what is here"))
    }

    /// Finds a node by its number or its name.
    pub fn position(&self, node: &str) -> Result<usize, CliError> {
        let state = self.existing()?;
        let found = match number(node) {
            Ok(number) => usize::try_from(number)
                .ok()
                .filter(|number| *number < state.nodes.len()),
            Err(_) => state.nodes.iter().position(|known| known.name == node),
        };
        found.ok_or_else(|| {
            let names: Vec<_> = state.nodes.iter().map(|node| node.name.as_str()).collect();
            CliError::new(Exit::NotFound, format!("there is no node {node}"))
                .hint(format!("nodes are numbered from 0: {}", names.join(", ")))
        })
    }

    /// A copy of the node with this number.
    pub fn node(&self, number: usize) -> Result<NodeRecord, CliError> {
        let node = self.existing()?.nodes.get(number).cloned();
        node.ok_or_else(|| CliError::new(Exit::NotFound, format!("there is no node {number}")))
    }

    /// Records the process of a node.
    pub fn record(&mut self, number: usize, process: Option<(u32, u64)>) -> Result<(), CliError> {
        let boot = self.boot.clone();
        let state = self.existing_mut()?;
        if state.boot != boot {
            state.nodes.iter_mut().for_each(NodeRecord::forget);
            state.boot = boot;
        }
        if let Some(node) = state.nodes.get_mut(number) {
            (node.pid, node.started) = process.unzip();
        }
        self.save()
    }

    /// Deletes the files of the devnet, and the folder when it was created for it and holds nothing else.
    /// Returns true if the folder is gone.
    pub fn delete(mut self) -> Result<bool, CliError> {
        if let Some(state) = &mut self.state {
            state.nodes.iter_mut().for_each(|node| node.unfinished = true);
            // From here on the next command continues the deletion, if this one is interrupted.
            self.save()?;
        }
        if let Some(state) = &self.state {
            let accounts = Accounts::of(state)?;
            for node in &state.nodes {
                remove_node(node, &accounts)?;
            }
        }
        for name in [OLD_NEW_FILE, &files::locked_name(STATE_FILE), STATE_FILE] {
            remove(&self.dir.join(name))?;
        }
        match self.lock {
            Some(lock) => lock.remove(),
            None => Ok(false),
        }
    }

    /// A context in which commands act on this node and its home.
    pub fn context_of(context: &Context, node: &NodeRecord) -> Context {
        context.at(node.url(), &node.home)
    }
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
    fn is_unfinished(&self) -> bool {
        self.nodes.first().is_some_and(|node| node.unfinished)
    }

    /// Reads the file of a folder.
    fn read(path: &Path, dir: &Path) -> Result<Self, CliError> {
        let text = files::read_text(path, STATE_BYTES_MAX)?;
        let refused = |detail: String| {
            CliError::new(Exit::InvalidFile, format!("{}: {detail}", path.display())).hint(damaged_hint(dir))
        };
        let mut state: Self = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        if state.version != VERSION {
            let message = format!(
                "{} has version {}, this program writes {VERSION}",
                path.display(),
                state.version
            );
            return Err(CliError::new(Exit::InvalidFile, message)
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
        for node in &mut state.nodes {
            if !own && !node.runs_adrift() {
                if this_boot && state.original.is_none() {
                    state.original = node.running_pid();
                }
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

/// Deletes a folder or a file, or a link without its target.
pub fn remove(path: &Path) -> Result<(), CliError> {
    let done = if path.is_dir() && !path.is_symlink() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CliError::file("delete", path)(error))
        }
        _ => Ok(()),
    }
}

/// Path of the previous run's log.
pub fn log_before(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

fn nothing(dir: &Path) -> CliError {
    let error = CliError::new(Exit::NotFound, format!("there is no devnet in {}", dir.display()));
    match around(dir) {
        Some(net) => error.hint(inside_hint(&net)),
        None => error.hint(START_HINT),
    }
}

/// Refuses a folder or a file inside the folder of a devnet: no other devnet is made there.
pub fn refuse_inside(dir: &Path) -> Result<(), CliError> {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    match around(&dir).filter(|_| !dir.join(STATE_FILE).exists()) {
        None => Ok(()),
        Some(net) => Err(
            CliError::usage(format!("{} is part of the devnet in {}", dir.display(), net.display()))
                .hint(inside_hint(&net)),
        ),
    }
}

/// The folder of a devnet that this path is directly in.
fn around(dir: &Path) -> Option<PathBuf> {
    let net = dir.parent()?;
    net.join(STATE_FILE).is_file().then(|| net.to_owned())
}

fn inside_hint(net: &Path) -> String {
    format!("the devnet is the folder around it: --dir {}", quoted_path(net))
}
