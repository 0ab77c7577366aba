//! A network's files while they are written: all of them exist in the end, or none.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Class, Error};
use crate::files;
use crate::home::make_private;
use crate::wait::{self, Reporter};

/// The genesis file beside the homes, for nodes that join separately.
pub const GENESIS_FILE: &str = "genesis.toml";
/// The folder of the operator's keys.
pub(crate) const OPERATOR: &str = "operator";
/// The compose file.
pub(crate) const COMPOSE_FILE: &str = "compose.yaml";

/// The unit file of a node.
pub(crate) fn unit_file(node: &str) -> String {
    format!("{node}.service")
}

/// The summary of a whole network.
const FINISHED: &str = "network.json";
/// The same before the other files are complete.
const UNFINISHED: &str = "network.json.unfinished";
/// Maximum number of its bytes that are read.
const BYTES_MAX: usize = 1024 * 1024;

/// Files that are being written. The one that lists them is locked.
pub struct Unfinished {
    out: PathBuf,
    names: Vec<String>,
    _lock: File,
    /// True if the folder was created for them.
    new_folder: bool,
}

/// The part of the summary that lists the created files.
#[derive(Deserialize)]
struct Summary {
    nodes: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Unfinished {
    /// Begins a network in a folder that holds none. Removes the remains of an interrupted command.
    ///
    /// # Errors
    /// The fault `exists` for a folder that holds one, or the error of a file.
    pub fn begin(out: &Path, summary: &Value, reporter: Reporter) -> Result<Self, Error> {
        let new_folder = !out.exists();
        make_private(out)?;
        let begun = Self::begin_in(out, summary, new_folder, reporter);
        if begun.is_err() && new_folder {
            let _holds_something = std::fs::remove_dir(out);
        }
        begun
    }

    fn begin_in(out: &Path, summary: &Value, new_folder: bool, reporter: Reporter) -> Result<Self, Error> {
        let path = out.join(UNFINISHED);
        loop {
            refuse(&out.join(FINISHED))?;
            if path.symlink_metadata().is_ok() {
                remove_interrupted(out, reporter)?;
            }
            let text = serde_json::to_string_pretty(summary).unwrap_or_default() + "\n";
            let names = names(&text)?;
            // Any file that exists now is not ours, and stays.
            for name in made(&names) {
                refuse(&out.join(name))?;
            }
            match files::write(&path, &text, false) {
                // Another command created it first.
                Err(error) if error.is("exists") => continue,
                written => written?,
            }
            let lock = File::open(&path).map_err(Error::file("open", &path))?;
            wait::lock(
                &lock,
                &path,
                "another command that looks at this folder",
                reporter,
            )?;
            if !wait::is_at(&lock, &path) {
                // That command took this one for an interrupted one.
                continue;
            }
            return Ok(Self {
                out: out.to_owned(),
                names,
                _lock: lock,
                new_folder,
            });
        }
    }

    /// Marks the files as complete.
    ///
    /// # Errors
    /// The error of the summary.
    pub fn finish(self) -> Result<(), Error> {
        let path = self.out.join(FINISHED);
        let done = std::fs::rename(self.out.join(UNFINISHED), &path)
            .and_then(|()| File::open(&self.out)?.sync_all());
        done.map_err(Error::file("write", &path))
    }

    /// Removes all of them.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn undo(self) -> Result<(), Error> {
        remove_all(&self.out, &self.names)?;
        if self.new_folder {
            let _holds_something = std::fs::remove_dir(&self.out);
        }
        Ok(())
    }
}

fn refuse(path: &Path) -> Result<(), Error> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("{} exists already", path.display());
    Err(Error::new(Class::Failure, message)
        .reason("exists")
        .hint("name another folder with --out DIR; keys are never overwritten"))
}

/// Removes the remains of a command that does not run any more.
fn remove_interrupted(out: &Path, reporter: Reporter) -> Result<(), Error> {
    let path = out.join(UNFINISHED);
    let file = match File::open(&path) {
        // The command that wrote it has ended meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(Error::file("open", &path))?,
    };
    wait::lock(
        &file,
        &path,
        "another command that writes a network here",
        reporter,
    )?;
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let names = names(&files::read_text(&path, BYTES_MAX)?)?;
    reporter.note(&format!(
        "a command was interrupted here: removing what it left in {}",
        out.display()
    ));
    remove_all(out, &names)
}

fn names(text: &str) -> Result<Vec<String>, Error> {
    let refused = |detail: String| {
        Error::new(Class::InvalidFile, format!("{UNFINISHED}: {detail}"))
            .hint("an interrupted command wrote it; choose another folder, or remove what it left")
    };
    let summary: Summary = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    let names: Vec<String> = summary.nodes.into_iter().map(|node| node.name).collect();
    let plain = |name: &String| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        !name.is_empty() && name.chars().all(letters)
    };
    match names.iter().find(|name| !plain(name)) {
        Some(name) => Err(refused(format!("{name:?} is not a node's name"))),
        None => Ok(names),
    }
}

/// Entries of a network in its folder, beside its summary.
fn made(names: &[String]) -> Vec<String> {
    let mut made = vec![
        GENESIS_FILE.to_owned(),
        OPERATOR.to_owned(),
        COMPOSE_FILE.to_owned(),
    ];
    for name in names {
        made.extend([name.clone(), unit_file(name)]);
    }
    made
}

/// Removes a network's files; the one that lists them is the last.
fn remove_all(out: &Path, names: &[String]) -> Result<(), Error> {
    let mut made = made(names);
    made.push(UNFINISHED.to_owned());
    for name in made {
        let path = out.join(name);
        let done = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        match done {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("delete", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
