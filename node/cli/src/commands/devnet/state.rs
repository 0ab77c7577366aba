//! `devnet.json`: which nodes there are, and which process each of them is.
//!
//! One command at a time changes a devnet: it holds the lock of the folder. A recorded process counts only
//! together with its start time and the machine's boot id, so a number that the system gave to somebody
//! else since is never taken for a node.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process;
use crate::commands::testnet::plan::Role;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;

/// The file's name in the folder.
const STATE_FILE: &str = "devnet.json";
/// The lock's name in the folder.
const LOCK_FILE: &str = "lock";
/// Most bytes of the file that are read; a hundred nodes have 60 kB.
const STATE_BYTES_MAX: usize = 1024 * 1024;
/// The version of the file.
const VERSION: u32 = 1;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Of the file.
    pub version: u32,
    /// The boot that the processes belong to.
    pub boot: String,
    /// Where the keys come from; empty when an older version made the devnet.
    #[serde(default)]
    pub seed: String,
    /// `byzantine` or `crash`.
    #[serde(default)]
    pub fault_model: String,
    /// The parameters' name.
    #[serde(default)]
    pub profile: String,
    /// The program that last started nodes, for scripts that want the same one.
    #[serde(default)]
    pub program: PathBuf,
    /// RPC of the first node; the others follow ten apart.
    #[serde(default)]
    pub base_port: u16,
    /// Names of the nodes that are cut off from each other, group by group; empty when nobody is.
    #[serde(default)]
    pub partition: Vec<Vec<String>>,
    /// Validators first.
    pub nodes: Vec<NodeRecord>,
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
    /// Where it answers.
    pub rpc: Option<String>,
    /// Where its peers find it.
    pub p2p: Option<String>,
    /// Address of its figures.
    pub metrics: Option<String>,
    /// Address of its operator's methods.
    #[serde(default)]
    pub admin: Option<String>,
    /// Its directory.
    pub home: PathBuf,
    /// What it printed.
    pub log: PathBuf,
    /// When its process started, in clock ticks since boot.
    pub started: Option<u64>,
    /// Its name on the network.
    #[serde(default)]
    pub peer_id: String,
}

impl NodeRecord {
    /// Where it answers, which every node that was started here has.
    pub fn url(&self) -> &str {
        self.rpc.as_deref().unwrap_or_default()
    }

    /// Whether it signs.
    pub fn is_validator(&self) -> bool {
        self.role == Role::Validator.name()
    }

    /// Forgets the process.
    pub fn forget(&mut self) {
        (self.pid, self.started) = (None, None);
    }
}

/// A folder with a devnet, or one that may become one.
pub struct Devnet {
    /// The folder, absolute.
    pub dir: PathBuf,
    /// What the file says; `None` when there is none.
    pub state: Option<State>,
    boot: String,
    _lock: Option<File>,
}

impl Devnet {
    /// Takes the lock, waiting for whoever has it, and reads the file. Makes the folder.
    pub fn change(dir: &Path) -> Result<Self, CliError> {
        crate::dev::make_private(dir)?;
        let path = dir.join(LOCK_FILE);
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(CliError::file("open", &path))?;
        lock.lock().map_err(CliError::file("lock", &path))?;
        Self::read(dir, Some(lock))
    }

    /// Reads the file and changes nothing; waits for nobody.
    pub fn look(dir: &Path) -> Result<Self, CliError> {
        Self::read(dir, None)
    }

    fn read(dir: &Path, lock: Option<File>) -> Result<Self, CliError> {
        let dir = std::path::absolute(dir).map_err(CliError::file("find", dir))?;
        // The true path, without `..`, once it is there.
        let dir = dir.canonicalize().unwrap_or(dir);
        let path = dir.join(STATE_FILE);
        let state = if path.exists() {
            let text = files::read_text(&path, STATE_BYTES_MAX)?;
            let state: State = serde_json::from_str(&text).map_err(|error| {
                CliError::new(Exit::InvalidFile, format!("{}: {error}", path.display()))
                    .hint("a devnet wrote it; if no node of it runs, delete the folder")
            })?;
            if state.version != VERSION {
                let message = format!(
                    "{} has version {}, this program writes {VERSION}",
                    path.display(),
                    state.version
                );
                return Err(CliError::new(Exit::InvalidFile, message)
                    .hint("use the program that started this devnet to stop it"));
            }
            Some(state)
        } else {
            None
        };
        Ok(Self {
            dir,
            state,
            boot: process::boot_id()?,
            _lock: lock,
        })
    }

    /// The boot id of this machine.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// The devnet, which must be there.
    pub fn existing(&self) -> Result<&State, CliError> {
        self.state.as_ref().ok_or_else(|| nothing(&self.dir))
    }

    /// The devnet, which must be there, to change it.
    pub fn existing_mut(&mut self) -> Result<&mut State, CliError> {
        let dir = &self.dir;
        self.state.as_mut().ok_or_else(|| nothing(dir))
    }

    /// Writes the file: the old one or the new one is there, never a part.
    pub fn save(&mut self) -> Result<(), CliError> {
        let Some(state) = &mut self.state else {
            return Ok(());
        };
        if state.boot != self.boot {
            // What ran before the machine started again does not run now.
            state.nodes.iter_mut().for_each(NodeRecord::forget);
            state.boot.clone_from(&self.boot);
        }
        let text = serde_json::to_string_pretty(state)
            .map_err(|error| CliError::new(Exit::Failure, format!("cannot write {STATE_FILE}: {error}")))?;
        let (path, new) = (self.dir.join(STATE_FILE), self.dir.join("devnet.json.new"));
        files::write(&new, &(text + "\n"), true)?;
        std::fs::rename(&new, &path).map_err(CliError::file("write", &path))
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

    /// Finds a node by its number or its name.
    pub fn position(&self, node: &str) -> Result<usize, CliError> {
        let state = self.existing()?;
        let found = match node.parse::<usize>() {
            Ok(number) => (number < state.nodes.len()).then_some(number),
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

    /// Notes which process a node is.
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

    /// Deletes what the devnet made, and the folder when nothing else is in it.
    pub fn delete(self) -> Result<bool, CliError> {
        let mut made = vec![self.dir.join(STATE_FILE), self.dir.join("devnet.json.new")];
        for node in self.state.iter().flat_map(|state| &state.nodes) {
            // Only what is in our folder, whatever the file says.
            for path in [&node.home, &node.log, &log_before(&node.log)] {
                if path.parent() == Some(self.dir.as_path()) {
                    made.insert(0, path.clone());
                }
            }
        }
        made.push(self.dir.join(LOCK_FILE));
        for path in made {
            let done = if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            match done {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(CliError::file("delete", &path)(error));
                }
                _ => {}
            }
        }
        Ok(std::fs::remove_dir(&self.dir).is_ok())
    }

    /// Commands on a node of the devnet see it as their own.
    pub fn context_of(context: &Context, node: &NodeRecord) -> Context {
        context.at(node.url(), &node.home)
    }
}

/// Where a log goes when the next one starts.
pub fn log_before(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

fn nothing(dir: &Path) -> CliError {
    CliError::new(Exit::NotFound, format!("there is no devnet in {}", dir.display()))
        .hint("start one with `vibecoin devnet up`, or name its folder with --dir or DEVNET_DIR")
}
