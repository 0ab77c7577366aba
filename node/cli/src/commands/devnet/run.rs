//! `up`, `down`, `restart`, `status`, `destroy`: the devnet as a whole.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::ask;
use super::process::{self, Ended};
use super::ready::{self, Agreed, ReadyLine};
use super::state::{Devnet, NodeRecord, START_HINT, STATE_FILE};
use super::table::{self, Live};
use super::{
    GraceArgs, RestartArgs, StartOptions, StatusArgs, UpArgs, Words, folder, is_node_name, partition,
    remains, setup, state,
};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Answer, Format};
use crate::program::quoted_path;

/// A devnet is up when its chain advances.
const HEIGHT_LEAST: u64 = 2;
/// Grace time of nodes that are stopped because another one did not start.
const STOP_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Interval between two updates of `status --watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Starts the nodes that are not running.
pub fn up(context: &Context, dir: &Path, args: &UpArgs) -> Result<Answer, CliError> {
    let begun = Instant::now();
    let binary = program(&args.start)?;
    state::refuse_inside(dir)?;
    let mut net = Devnet::change(dir)?;
    net.refuse_adrift()?;
    if let Err(error) = setup::make_or_compare(&mut net, args) {
        // A refusal leaves nothing behind.
        net.abandon()?;
        return Err(error);
    }
    start_all(context, &mut net, &binary, &args.start, begun)
}

/// Stops all nodes and starts them again.
pub fn restart(context: &Context, dir: &Path, args: &RestartArgs) -> Result<Answer, CliError> {
    let binary = program(&args.start)?;
    Devnet::look(dir)?.existing()?;
    let mut net = Devnet::change(dir)?;
    output::note(&stop_all(&mut net, args.grace)?);
    let begun = Instant::now();
    start_all(context, &mut net, &binary, &args.start, begun)
}

fn start_all(
    context: &Context,
    net: &mut Devnet,
    binary: &Path,
    options: &StartOptions,
    begun: Instant,
) -> Result<Answer, CliError> {
    let deadline = deadline(options.timeout);
    let nodes = net.existing()?.nodes.clone();
    let stopped: Vec<usize> = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| net.pid(node).is_none())
        .map(|(number, _)| number)
        .collect();
    let ready = start(net, binary, &stopped, deadline)?;
    let before = ready.iter().map(ReadyLine::height).max().unwrap_or(0);
    let nodes = net.existing()?.nodes.clone();
    let agreed = context.wait_unreported(async {
        partition::apply_to(net, &stopped).await?;
        // The sides of a partition cannot catch up with each other.
        if net.existing()?.partition.is_empty() {
            ready::caught_up(&nodes, HEIGHT_LEAST.max(before), deadline)
                .await
                .map(Some)
        } else {
            Ok(None)
        }
    })?;
    let took = begun.elapsed();
    let live = context.wait_unreported(async { Ok(look(net).await) })?;
    let state = net.existing()?;
    let mut json = table::json(state, &live);
    if let Some(fields) = json.as_object_mut() {
        fields.insert(
            "tookMs".to_owned(),
            json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        );
        fields.insert("startedNodes".to_owned(), json!(stopped.len()));
        fields.insert(
            "commonHeight".to_owned(),
            json!(agreed.map(|agreed| agreed.height.to_string())),
        );
        fields.insert(
            "commonHash".to_owned(),
            json!(agreed.map(|agreed| agreed.hash.to_string())),
        );
    }
    let first = net.node(0)?;
    let text = format!(
        "{}\n{}{}",
        summary(stopped.len(), nodes.len(), took, agreed),
        table::text(state, &live),
        table::next_commands(net, &first)
    );
    Ok(Answer::new(json).text(text))
}

fn summary(started: usize, all: usize, took: Duration, agreed: Option<Agreed>) -> String {
    let head = match agreed {
        Some(agreed) => format!(
            "every node has the block at height {} ({})",
            agreed.height,
            short(&agreed.hash.to_string())
        ),
        None => "the network is cut, so blocks were not compared".to_owned(),
    };
    if started == 0 {
        return format!("the devnet is already running: {all} nodes, {head}\n");
    }
    format!(
        "{started} of {all} nodes started in {:.2} s; {head}\n",
        took.as_secs_f64()
    )
}

/// Prefix of a hash, sufficient for visual comparison.
fn short(hash: &str) -> &str {
    hash.get(..18).unwrap_or(hash)
}

/// Starts some nodes at once and waits for the ready line of each. When one of them does not start, those
/// that were started here are stopped again.
pub fn start(
    net: &mut Devnet,
    binary: &Path,
    numbers: &[usize],
    deadline: Instant,
) -> Result<Vec<ReadyLine>, CliError> {
    if let Some(pid) = net.existing()?.original {
        output::note(&format!(
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
            let take = |slot: &mut Option<String>, said: &Option<String>| {
                if said.is_some() {
                    slot.clone_from(said);
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
) -> Result<Vec<ReadyLine>, CliError> {
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
        lines.push(ready::line(&net.node(*number)?, deadline)?);
    }
    Ok(lines)
}

/// The node's executable.
pub fn program(options: &StartOptions) -> Result<PathBuf, CliError> {
    let given = match &options.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()
            .map_err(|error| CliError::new(Exit::Failure, format!("cannot find this program: {error}")))?,
    };
    let is_program = std::fs::metadata(&given)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if !is_program {
        return Err(
            CliError::new(Exit::NotFound, format!("{} is no program", given.display()))
                .hint("build one with scripts/build.sh, or name another with --binary"),
        );
    }
    std::path::absolute(&given).map_err(CliError::file("find", &given))
}

/// The deadline of a wait that begins now.
pub fn deadline(seconds: u64) -> Instant {
    let now = Instant::now();
    now.checked_add(Duration::from_secs(seconds)).unwrap_or(now)
}

/// Stops all nodes.
pub fn down(dir: &Path, args: &GraceArgs) -> Result<Answer, CliError> {
    // A folder that is not a devnet receives no lock file.
    let net = Devnet::look(dir)?;
    if net.state.is_none() {
        let text = format!("nothing to stop: there is no devnet in {}", net.dir.display());
        return Ok(Answer::new(json!({ "stopped": 0 })).text(text));
    }
    let mut net = Devnet::change(dir)?;
    let running = net.running().len();
    let text = stop_all(&mut net, *args)?;
    Ok(Answer::new(json!({ "stopped": running })).text(text))
}

fn stop_all(net: &mut Devnet, args: GraceArgs) -> Result<String, CliError> {
    let count = net.state.as_ref().map_or(0, |state| state.nodes.len());
    let all: Vec<usize> = (0..count).collect();
    let stopped = stop_some(net, &all, Duration::from_secs(args.grace))?;
    if stopped.is_empty() {
        return Ok("nothing to stop".to_owned());
    }
    let lines: Vec<String> = stopped
        .iter()
        .map(|(node, pid, ended)| match ended {
            Ended::Killed => format!(
                "{} (pid {pid}) did not stop within {} s: SIGKILL",
                node.name, args.grace
            ),
            Ended::Cleanly | Ended::Before => format!("stopped {} (pid {pid})", node.name),
        })
        .collect();
    Ok(lines.join("\n"))
}

/// Stops those of these nodes that run.
pub fn stop_some(
    net: &mut Devnet,
    numbers: &[usize],
    grace: Duration,
) -> Result<Vec<(NodeRecord, u32, Ended)>, CliError> {
    let mut running = Vec::new();
    for number in numbers {
        let node = net.node(*number)?;
        if let Some((pid, started)) = net.pid(&node).zip(node.started) {
            running.push((*number, node, (pid, started)));
        }
    }
    let processes: Vec<(u32, u64)> = running.iter().map(|(_, _, process)| *process).collect();
    let ended = process::stop(&processes, grace)?;
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
        let Ok(client) = ask::client(node.url()) else {
            return Live::default();
        };
        let head = ask::heads(std::slice::from_ref(&client))
            .await
            .into_iter()
            .flatten()
            .next();
        let peers = if head.is_some() {
            ask::peers(&client).await.ok()
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

/// Shows the state of every node.
pub fn status(context: &Context, dir: &Path, args: &StatusArgs, words: &Words) -> Result<Answer, CliError> {
    let format = context.globals.output;
    if args.watch && (format == Format::Json || args.json && format == Format::Text) {
        return Err(
            CliError::usage("a status that is shown again and again is not one JSON value")
                .hint("leave out --watch, or use -o ndjson without --json"),
        );
    }
    loop {
        let net = Devnet::look(dir)?;
        let Some(state) = &net.state else {
            let json = json!({ "version": 1, "nodes": [] });
            let text = format!("there is no devnet in {}", net.dir.display());
            words.note(&format!("hint: {START_HINT}"));
            return Ok(answer(context, args, json, text).exit(Exit::Failure));
        };
        let live = context.wait_unreported(async { Ok(look(&net).await) })?;
        let adrift = net.refuse_adrift().err();
        if let Some(error) = adrift.as_ref().filter(|_| !args.watch) {
            words.note(&error.to_text());
        }
        let all = adrift.is_none() && live.iter().all(|live| live.pid.is_some());
        let text = table::text(state, &live);
        if !args.watch {
            let answer = answer(context, args, table::json(state, &live), text);
            return Ok(if all { answer } else { answer.exit(Exit::Failure) });
        }
        let read = if format != Format::Text {
            output::stream(&format!("{}\n", table::json(state, &live)))?
        } else {
            output::screen(&words.shown(&text))?
        };
        if !read {
            return Ok(Answer::printed());
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn answer(context: &Context, args: &StatusArgs, json: serde_json::Value, text: String) -> Answer {
    let text = if args.json && context.globals.output == Format::Text {
        json.to_string()
    } else {
        text
    };
    Answer::new(json).text(text)
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

/// Stops all nodes and deletes the files of the devnet.
pub fn destroy(dir: &Path, args: &GraceArgs) -> Result<Answer, CliError> {
    let nothing = || {
        let dir = std::path::absolute(dir).map_err(CliError::file("find", dir))?;
        let text = format!("nothing to destroy: there is no devnet in {}", dir.display());
        Ok(Answer::new(json!({ "destroyed": false })).text(text))
    };
    if !dir.exists() {
        return nothing();
    }
    if !dir.join(STATE_FILE).exists() {
        let mut entries = std::fs::read_dir(dir).map_err(CliError::file("read", dir))?;
        if folder::is_abandoned(dir)? {
            // Of a command that was killed before it created anything else.
            Devnet::change(dir)?.delete()?;
        } else if entries.next().is_some() {
            let message = format!("{} holds no devnet.json, so it is not a devnet", dir.display());
            return Err(CliError::new(Exit::Failure, message)
                .reason("no_devnet")
                .hint(foreign_hint(dir)));
        }
        return nothing();
    }
    let mut net = Devnet::change(dir)?;
    let folder = net.dir.clone();
    let state = net.state.clone();
    output::note(&stop_all(&mut net, *args)?);
    let gone = net.delete()?;
    let kept = if gone {
        Vec::new()
    } else {
        remains::kept(&folder, state.as_ref())?
    };
    for path in &kept {
        output::note(&format!("kept {}: it was not made by the devnet", path.display()));
    }
    let kept: Vec<_> = kept.iter().map(|path| path.display().to_string()).collect();
    Ok(Answer::new(json!({ "destroyed": true, "kept": kept })).text("destroyed"))
}
