//! Operations on a devnet as a whole: starting its nodes and waiting for them, stopping them, deleting it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vibecoin_primitives::text::quoted_path;

use crate::client;
use crate::error::{Class, Error};
use crate::folder;
use crate::partition;
use crate::plan::is_node_name;
use crate::process::{self, Ended};
use crate::readiness::{self, Agreed, ReadyLine};
use crate::remains;
use crate::setup::{self, Wanted};
use crate::state::{self, Devnet, NodeRecord, STATE_FILE};
use crate::wait::Reporter;

/// A devnet is up when its chain advances.
const HEIGHT_MIN: u64 = 2;
/// Grace time of nodes that are stopped because another one did not start.
const STOP_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The present state of a node.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Its process.
    pub pid: Option<u32>,
    /// Its head, when it answers.
    pub head: Option<client::Head>,
    /// Number of connected nodes, when it answers.
    pub peers: Option<usize>,
}

/// A node that was stopped: its process, and how that ended.
pub type Stopped = (NodeRecord, u32, Ended);

/// Takes the lock of a devnet, and creates it if there is none. A refusal leaves nothing behind.
///
/// # Errors
/// As [`setup::make_or_compare`]; a devnet whose nodes run in a folder that was removed.
pub fn prepare(dir: &Path, wanted: &Wanted, reporter: Reporter) -> Result<Devnet, Error> {
    state::refuse_inside(dir)?;
    let mut net = Devnet::change(dir, reporter)?;
    net.refuse_adrift()?;
    let is_new = net.state.is_none();
    if let Err(error) = setup::make_or_compare(&mut net, wanted) {
        net.abandon()?;
        return Err(error);
    }
    if let Some(other) = state::above(&net.dir).filter(|_| is_new) {
        reporter.note(&format!(
            "this is a new devnet; there is another one in {}, which --dir names",
            other.display()
        ));
    }
    Ok(net)
}

/// Numbers of the nodes that do not run.
///
/// # Errors
/// There is no devnet.
pub fn stopped(net: &Devnet) -> Result<Vec<usize>, Error> {
    let nodes = net.existing()?.nodes.iter().enumerate();
    Ok(nodes
        .filter(|(_, node)| net.pid(node).is_none())
        .map(|(number, _)| number)
        .collect())
}

/// Waits until all nodes agree on a block, after those with these numbers were started and printed these lines. `None`:
/// the network is partitioned, and its sides cannot catch up with each other.
///
/// # Errors
/// As [`readiness::caught_up`], and a node that does not apply the partition.
pub async fn agree(
    net: &Devnet,
    started: &[usize],
    lines: &[ReadyLine],
    deadline: Instant,
) -> Result<Option<Agreed>, Error> {
    let before = lines.iter().map(ReadyLine::height).max().unwrap_or(0);
    partition::apply_to(net, started).await?;
    let state = net.existing()?;
    if !state.partition.is_empty() {
        return Ok(None);
    }
    let height_min = HEIGHT_MIN.max(before);
    let agreed = readiness::caught_up(&state.nodes, height_min, deadline, net.reporter()).await?;
    Ok(Some(agreed))
}

/// Starts some nodes at once and waits for the ready line of each. When one of them does not start, those
/// that were started here are stopped again.
///
/// # Errors
/// As [`readiness::line`], and the error of a file or of the system.
pub fn start(
    net: &mut Devnet,
    binary: &Path,
    numbers: &[usize],
    deadline: Instant,
) -> Result<Vec<ReadyLine>, Error> {
    if let Some((pid, _)) = net.existing()?.original.first() {
        net.reporter().note(&format!(
            "this folder is a copy of a devnet that runs (its process {pid}), and has the same keys: two blocks of one \
             height will be signed with them, so keep the nodes of the two apart"
        ));
    }
    let lines = match start_and_wait(net, binary, numbers, deadline) {
        Ok(lines) => lines,
        Err(error) => {
            stop_some(net, numbers, STOP_AFTER_FAILURE)?;
            return Err(error);
        }
    };
    if let Ok(program) = std::env::current_exe() {
        net.existing_mut()?.program = program;
    }
    for (number, line) in numbers.iter().zip(&lines) {
        if let Some(node) = net.existing_mut()?.nodes.get_mut(*number) {
            // The node's own report has precedence; without one its configuration applies.
            node.rpc = Some(line.rpc.clone());
            let take = |slot: &mut Option<String>, reported: &Option<String>| {
                if reported.is_some() {
                    slot.clone_from(reported);
                }
            };
            take(&mut node.p2p, &line.p2p);
            take(&mut node.metrics, &line.metrics);
            take(&mut node.admin, &line.admin);
            if let Some(id) = &line.peer_id {
                node.peer_id.clone_from(id);
            }
        }
    }
    net.save()?;
    Ok(lines)
}

fn start_and_wait(
    net: &mut Devnet,
    binary: &Path,
    numbers: &[usize],
    deadline: Instant,
) -> Result<Vec<ReadyLine>, Error> {
    setup::settle(net)?;
    for number in numbers {
        let node = net.node(*number)?;
        // Relative to the folder, so that the node keeps running when the folder is moved.
        let arguments = ["node", "--home", &node.name, "--allow-unencrypted"];
        let waiting = process::spawn(binary, &arguments, &net.dir, &node.log)?;
        net.record(*number, waiting.process())?;
        waiting.go();
    }
    let mut lines = Vec::new();
    for number in numbers {
        lines.push(readiness::line(&net.node(*number)?, deadline, net.reporter())?);
    }
    Ok(lines)
}

/// The path of the program that nodes run: the given one, or this program.
///
/// # Errors
/// It is not a program.
pub fn program(given: Option<&Path>) -> Result<PathBuf, Error> {
    let given = match given {
        Some(binary) => binary.to_owned(),
        None => std::env::current_exe()
            .map_err(|error| Error::new(Class::Failure, format!("cannot find this program: {error}")))?,
    };
    let is_program = std::fs::metadata(&given)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if !is_program {
        return Err(
            Error::new(Class::NotFound, format!("{} is no program", given.display()))
                .hint("build one with scripts/build.sh, or name another with --binary"),
        );
    }
    std::path::absolute(&given).map_err(Error::file("find", &given))
}

/// The deadline of a wait that begins now.
#[must_use]
pub fn deadline(seconds: u64) -> Instant {
    let now = Instant::now();
    now.checked_add(Duration::from_secs(seconds)).unwrap_or(now)
}

/// Stops all nodes that run: SIGTERM, and SIGKILL after the grace time.
///
/// # Errors
/// As [`stop_some`].
pub fn stop_all(net: &mut Devnet, grace: Duration) -> Result<Vec<Stopped>, Error> {
    let count = net.state.as_ref().map_or(0, |state| state.nodes.len());
    let all: Vec<usize> = (0..count).collect();
    stop_some(net, &all, grace)
}

/// Stops those of these nodes that run.
///
/// # Errors
/// A process that does not end, or the error of the file.
pub fn stop_some(net: &mut Devnet, numbers: &[usize], grace: Duration) -> Result<Vec<Stopped>, Error> {
    let mut running = Vec::new();
    for number in numbers {
        let node = net.node(*number)?;
        if let Some((pid, started)) = net.pid(&node).zip(node.started) {
            running.push((*number, node, (pid, started)));
        }
    }
    let processes: Vec<(u32, u64)> = running.iter().map(|(_, _, process)| *process).collect();
    let ended = process::stop(&processes, grace, net.reporter())?;
    // Nodes that had ended before are cleared with the others.
    for number in numbers {
        net.record(*number, None)?;
    }
    Ok(running
        .into_iter()
        .zip(ended)
        .map(|((_, node, (pid, _)), ended)| (node, pid, ended))
        .collect())
}

/// The present state of every node.
pub async fn look(net: &Devnet) -> Vec<Live> {
    let nodes = net.state.iter().flat_map(|state| &state.nodes);
    let looks = nodes.map(|node| async move {
        let Some(pid) = net.pid(node) else {
            return Live::default();
        };
        let Ok(client) = client::client(node.url()) else {
            return Live::default();
        };
        let head = client::heads(std::slice::from_ref(&client))
            .await
            .into_iter()
            .flatten()
            .next();
        let peers = if head.is_some() {
            client::peers(&client).await.ok()
        } else {
            None
        };
        Live {
            pid: Some(pid),
            head,
            peers: peers.map(|peers| peers.len()),
        }
    });
    futures_util::future::join_all(looks).await
}

/// Remedy for a folder without a devnet that holds something. A node that was started with `--home` alone makes
/// a home in it.
fn foreign_hint(dir: &Path) -> String {
    let homes: Vec<String> = remains::entries(dir)
        .unwrap_or_default()
        .iter()
        .filter(|path| path.file_name().is_some_and(is_node_name) && path.is_dir() && !path.is_symlink())
        .map(|path| quoted_path(path))
        .collect();
    let (dir, homes) = (quoted_path(dir), homes.join(" "));
    if homes.is_empty() {
        format!("nothing was deleted; `ls -A {dir}` shows what it holds")
    } else {
        format!(
            "nothing was deleted; `ls -A {dir}` shows what it holds, `rm -r {homes}` removes homes of nodes that no devnet \
             made, with their keys"
        )
    }
}

/// Takes the lock of the devnet in a folder in order to delete it; `None` when there is none. The remains of a command
/// that created nothing but the folder are removed.
///
/// # Errors
/// The fault `no_devnet` for a folder that holds something else.
pub fn to_destroy(dir: &Path, reporter: Reporter) -> Result<Option<Devnet>, Error> {
    if !dir.exists() {
        return Ok(None);
    }
    if dir.join(STATE_FILE).exists() {
        return Devnet::change(dir, reporter).map(Some);
    }
    let mut entries = std::fs::read_dir(dir).map_err(Error::file("read", dir))?;
    if folder::is_abandoned(dir)? {
        // Of a command that was killed before it created anything else.
        Devnet::change(dir, reporter)?.delete()?;
    } else if entries.next().is_some() {
        let message = format!("{} holds no devnet.json, so it is not a devnet", dir.display());
        return Err(Error::new(Class::Failure, message)
            .reason("no_devnet")
            .hint(foreign_hint(dir)));
    }
    Ok(None)
}

/// Deletes the files of a devnet whose nodes are stopped. Returns what was not made by it, and stays.
///
/// # Errors
/// A file that cannot be removed.
pub fn delete(net: Devnet) -> Result<Vec<PathBuf>, Error> {
    let (folder, state) = (net.dir.clone(), net.state.clone());
    if net.delete()? {
        return Ok(Vec::new());
    }
    remains::kept(&folder, state.as_ref())
}
