//! `up`, `down`, `restart`, `status`, `destroy`: the devnet as a whole.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use vibecoin_devnet::process::Ended;
use vibecoin_devnet::readiness::Agreed;
use vibecoin_devnet::setup::Wanted;
use vibecoin_devnet::state::absent_hint;
use vibecoin_devnet::supervisor::{self, look, program};

pub use vibecoin_devnet::supervisor::deadline;

use super::state::Devnet;
use super::table;
use super::{GraceArgs, RestartArgs, StartOptions, StatusArgs, UpArgs, Words};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Answer, Format, REPORTER};

/// Interval between two updates of `status --watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Starts the nodes that are not running.
pub fn up(context: &Context, dir: &Path, args: &UpArgs) -> Result<Answer, CliError> {
    let begun = Instant::now();
    let binary = program(args.start.binary.as_deref())?;
    let mut net = supervisor::prepare(dir, &wanted(args), REPORTER)?;
    start_all(context, &mut net, &binary, &args.start, begun)
}

/// Properties of the devnet that was asked for.
fn wanted(args: &UpArgs) -> Wanted {
    Wanted {
        validators: args.validators,
        full: args.full,
        seed: args.seed.clone(),
        fault_model: args.fault_model.map(Into::into),
        profile: args.profile.map(Into::into),
        base_port: args.base_port,
    }
}

/// Stops all nodes and starts them again.
pub fn restart(context: &Context, dir: &Path, args: &RestartArgs) -> Result<Answer, CliError> {
    let binary = program(args.start.binary.as_deref())?;
    Devnet::look(dir)?.existing()?;
    let mut net = Devnet::change(dir, REPORTER)?;
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
    let stopped = supervisor::stopped(net)?;
    let lines = supervisor::start(net, binary, &stopped, deadline)?;
    let agreed = context.wait_unreported(async {
        let agreed = supervisor::agree(net, &stopped, &lines, deadline).await?;
        Ok(agreed)
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
        summary(stopped.len(), state.nodes.len(), took, agreed),
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

/// Stops all nodes.
pub fn down(dir: &Path, args: &GraceArgs) -> Result<Answer, CliError> {
    // A folder that is not a devnet receives no lock file.
    let net = Devnet::look(dir)?;
    if net.state.is_none() {
        let text = format!("nothing to stop: there is no devnet in {}", net.dir.display());
        return Ok(Answer::new(json!({ "stopped": 0 })).text(text));
    }
    let mut net = Devnet::change(dir, REPORTER)?;
    let running = net.running().len();
    let text = stop_all(&mut net, *args)?;
    Ok(Answer::new(json!({ "stopped": running })).text(text))
}

fn stop_all(net: &mut Devnet, args: GraceArgs) -> Result<String, CliError> {
    let stopped = supervisor::stop_all(net, Duration::from_secs(args.grace))?;
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
            words.note(&format!("hint: {}", absent_hint(&net.dir)));
            return Ok(answer(context, args, json, text).exit(Exit::Failure));
        };
        let live = context.wait_unreported(async { Ok(look(&net).await) })?;
        let adrift = net.refuse_adrift().err().map(CliError::from);
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

/// Stops all nodes and deletes the files of the devnet.
pub fn destroy(dir: &Path, args: &GraceArgs) -> Result<Answer, CliError> {
    let Some(mut net) = supervisor::to_destroy(dir, REPORTER)? else {
        let dir = std::path::absolute(dir).map_err(CliError::file("find", dir))?;
        let text = format!("nothing to destroy: there is no devnet in {}", dir.display());
        return Ok(Answer::new(json!({ "destroyed": false })).text(text));
    };
    output::note(&stop_all(&mut net, *args)?);
    let kept = supervisor::delete(net)?;
    for path in &kept {
        output::note(&format!("kept {}: it was not made by the devnet", path.display()));
    }
    let kept: Vec<_> = kept.iter().map(|path| path.display().to_string()).collect();
    Ok(Answer::new(json!({ "destroyed": true, "kept": kept })).text("destroyed"))
}
