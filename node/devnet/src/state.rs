//! A devnet in its folder, as one command sees it or changes it.
//!
//! - One command at a time changes a devnet: it holds the lock of the folder.
//! - A node is recorded as unfinished before its home is created, and again before it is deleted. A command
//!   that finds such a node follows an interrupted one, and removes its remains.

use std::path::{Path, PathBuf};

use vibecoin_primitives::text::quoted_path;

use crate::error::{Class, Error};
use crate::files::{self, remove};
use crate::folder::{self, Locked};
use crate::plan::number;
use crate::process;
use crate::remains::{Accounts, remove_node};
use crate::wait::Reporter;

pub use crate::record::{NodeRecord, STATE_FILE, State};

/// Temporary name of the file in an older version.
const OLD_NEW_FILE: &str = "devnet.json.new";
/// Hint for a directory without a devnet.
const START_HINT: &str = "start one with `vibecoin devnet up`, or name its folder with --dir or DEVNET_DIR";

/// A folder with a devnet, or one that may become one.
pub struct Devnet {
    /// The folder, absolute.
    pub dir: PathBuf,
    /// Contents of the file; `None` when there is none.
    pub state: Option<State>,
    boot: String,
    lock: Option<Locked>,
    reporter: Reporter,
}

impl Devnet {
    /// Takes the lock, waiting for the command that holds it, and reads the file. Creates the folder. Removes
    /// the remains of an interrupted command. `reporter` receives what is done to it meanwhile.
    ///
    /// # Errors
    /// The error of a file; a file that this program did not write.
    pub fn change(dir: &Path, reporter: Reporter) -> Result<Self, Error> {
        let lock = Locked::take(dir, reporter)?;
        let mut net = Self::read(dir)?;
        (net.lock, net.reporter) = (Some(lock), reporter);
        net.discard_unfinished()?;
        Ok(net)
    }

    /// Reads the file and changes nothing; does not wait for the lock.
    ///
    /// # Errors
    /// As [`Devnet::change`].
    pub fn look(dir: &Path) -> Result<Self, Error> {
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

    fn read(dir: &Path) -> Result<Self, Error> {
        let dir = resolved(dir)?;
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
            reporter: Reporter::SILENT,
        })
    }

    /// Removes nodes whose creation or deletion was interrupted; without its first node there is no devnet.
    fn discard_unfinished(&mut self) -> Result<(), Error> {
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
        self.reporter.note(&format!(
            "a command was interrupted here: removing what it left of {}",
            names.join(", ")
        ));
        for node in &left {
            for path in remove_node(node, &accounts)? {
                self.reporter
                    .note(&format!("kept {}: it was not made by the devnet", path.display()));
            }
        }
        if whole {
            return self.save();
        }
        self.state = None;
        remove(&self.dir.join(STATE_FILE))
    }

    /// Undoes the work of this command: unfinished nodes, and a folder without a devnet.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn abandon(mut self) -> Result<(), Error> {
        self.discard_unfinished()?;
        match self.lock {
            Some(lock) if self.state.is_none() => lock.undo(),
            _ => Ok(()),
        }
    }

    /// The boot id of this machine.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Receiver of the lines that are written while it is changed.
    #[must_use]
    pub const fn reporter(&self) -> Reporter {
        self.reporter
    }

    /// The devnet, which must exist.
    ///
    /// # Errors
    /// There is none in the folder.
    pub fn existing(&self) -> Result<&State, Error> {
        self.state.as_ref().ok_or_else(|| nothing(&self.dir))
    }

    /// The devnet, which must exist, for changes.
    ///
    /// # Errors
    /// There is none in the folder.
    pub fn existing_mut(&mut self) -> Result<&mut State, Error> {
        let dir = &self.dir;
        self.state.as_mut().ok_or_else(|| nothing(dir))
    }

    /// Writes the file atomically: the old one or the new one, never a part.
    ///
    /// # Errors
    /// The error of the file.
    pub fn save(&mut self) -> Result<(), Error> {
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
            .map_err(|error| Error::new(Class::Failure, format!("cannot write {STATE_FILE}: {error}")))?;
        files::write_locked(&self.dir.join(STATE_FILE), &(text + "\n"))
    }

    /// The process of a node, if it is still that process.
    #[must_use]
    pub fn pid(&self, node: &NodeRecord) -> Option<u32> {
        let state = self.state.as_ref().filter(|state| state.boot == self.boot)?;
        let pid = node.pid?;
        let same = process::started_at(pid)? == node.started?;
        (same && !state.nodes.is_empty()).then_some(pid)
    }

    /// The nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<NodeRecord> {
        let nodes = self.state.iter().flat_map(|state| &state.nodes);
        nodes.filter(|node| self.pid(node).is_some()).cloned().collect()
    }

    /// Refuses a devnet whose nodes run in a folder that was removed.
    ///
    /// # Errors
    /// The fault `moved`, with these nodes.
    pub fn refuse_adrift(&self) -> Result<(), Error> {
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
        Err(Error::new(Class::Failure, message)
            .reason("moved")
            .hint("`vibecoin devnet down` stops them, `vibecoin devnet up` then goes on with what is here"))
    }

    /// Finds a node by its number or its name.
    ///
    /// # Errors
    /// There is no such node, or no devnet.
    pub fn position(&self, node: &str) -> Result<usize, Error> {
        let state = self.existing()?;
        let found = match number(node) {
            Some(number) => usize::try_from(number)
                .ok()
                .filter(|number| *number < state.nodes.len()),
            None => state.nodes.iter().position(|known| known.name == node),
        };
        found.ok_or_else(|| {
            let names: Vec<_> = state.nodes.iter().map(|node| node.name.as_str()).collect();
            Error::new(Class::NotFound, format!("there is no node {node}"))
                .hint(format!("nodes are numbered from 0: {}", names.join(", ")))
        })
    }

    /// A copy of the node with this number.
    ///
    /// # Errors
    /// There is no such node, or no devnet.
    pub fn node(&self, number: usize) -> Result<NodeRecord, Error> {
        let node = self.existing()?.nodes.get(number).cloned();
        node.ok_or_else(|| Error::new(Class::NotFound, format!("there is no node {number}")))
    }

    /// Records the process of a node.
    ///
    /// # Errors
    /// As [`Devnet::save`].
    pub fn record(&mut self, number: usize, process: Option<(u32, u64)>) -> Result<(), Error> {
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
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn delete(mut self) -> Result<bool, Error> {
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
}

/// The absolute path of a folder, and without `..` and links if it exists.
fn resolved(dir: &Path) -> Result<PathBuf, Error> {
    let dir = std::path::absolute(dir).map_err(Error::file("find", dir))?;
    Ok(dir.canonicalize().unwrap_or(dir))
}

fn nothing(dir: &Path) -> Error {
    let error = Error::new(
        Class::NotFound,
        format!("there is no devnet in {}", dir.display()),
    );
    error.hint(absent_hint(dir))
}

/// Remedy for a folder without a devnet.
#[must_use]
pub fn absent_hint(dir: &Path) -> String {
    if let Some(net) = around(dir) {
        return inside_hint(&net);
    }
    match above(dir) {
        Some(net) => format!(
            "there is one in a folder around this one: name it with --dir {}, or start another one with `vibecoin devnet up`",
            quoted_path(&net)
        ),
        None => START_HINT.to_owned(),
    }
}

/// The devnet of the same name in a folder around that of `dir`, which a command that was typed in a subfolder does
/// not find.
pub(crate) fn above(dir: &Path) -> Option<PathBuf> {
    let name = dir.file_name()?;
    let folders = dir.ancestors().skip(2);
    folders
        .map(|folder| folder.join(name))
        .find(|net| net.join(STATE_FILE).is_file())
}

/// Refuses a folder or a file inside the folder of a devnet: no other devnet is made there.
///
/// # Errors
/// It is one, or its path cannot be found.
pub fn refuse_inside(dir: &Path) -> Result<(), Error> {
    let dir = resolved(dir)?;
    match around(&dir).filter(|_| !dir.join(STATE_FILE).exists()) {
        None => Ok(()),
        Some(net) => Err(Error::usage(format!(
            "{} is part of the devnet in {}",
            dir.display(),
            net.display()
        ))
        .hint(inside_hint(&net))),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_devnet_in_a_folder_around_this_one_is_found() {
        let root = tempfile::tempdir().unwrap();
        let (here, net) = (root.path().join("a/b"), root.path().join("net"));
        std::fs::create_dir_all(&here).unwrap();
        std::fs::create_dir(&net).unwrap();
        assert_eq!(above(&here.join("net")), None);
        std::fs::write(net.join(STATE_FILE), "").unwrap();
        assert_eq!(above(&here.join("net")), Some(net.clone()));
        assert_eq!(above(&here.join("other")), None, "one of another name");
        assert_eq!(above(&net), None, "not itself");
        assert!(absent_hint(&here.join("net")).contains(&format!("--dir {}", quoted_path(&net))));
    }
}
