//! The devnet against a stand-in for the node: real processes, real signals and real ports, no consensus.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use vibecoin_devnet::state::{Devnet, State};
use vibecoin_devnet::wait::Reporter;
use vibecoin_devnet::{ports, process};

use super::*;
use crate::devnet_hints::{gone_hint, restart_hint};
use crate::exit::Exit;
use crate::output::Format;

/// The variable that makes this test program a stand-in.
const STAND_IN: &str = "VIBECOIN_TEST_STAND_IN_HOME";

/// The admin token of the stand-ins.
const TOKEN: &str = "0123456789abcdef";

/// A devnet with records only.
pub fn devnet_of(dir: &Path, validators: u32, full: u32) -> Devnet {
    use vibecoin_devnet::plan::{Hosts, Network, Spec};
    use vibecoin_devnet::profile::Profile;
    use vibecoin_primitives::{FaultModel, TimeMs};
    let network = Network::plan(&Spec {
        validators,
        full,
        seed: "7".to_owned(),
        params: Profile::Devnet.params(FaultModel::Byzantine),
        time: TimeMs(1_700_000_000_000),
        hosts: Hosts::One("127.0.0.1".to_owned()),
        starting_port: 27_100,
        dev_accounts: 2,
    })
    .unwrap();
    let mut net = Devnet::change(dir, Reporter::SILENT).unwrap();
    net.state = Some(vibecoin_devnet::setup::state_of(
        &net,
        &network,
        "7",
        Profile::Devnet,
        27_100,
    ));
    net
}

/// Not a separate test: the nodes of the tests below are this function, in separate processes.
#[test]
fn stand_in() {
    let Some(home) = std::env::var_os(STAND_IN).map(PathBuf::from) else {
        return;
    };
    let config =
        vibecoin_config::parse(&fs::read_to_string(vibecoin_config::Paths::config_in(&home)).unwrap())
            .unwrap();
    let listener = TcpListener::bind(("127.0.0.1", config.rpc.port)).unwrap();
    // The data folder of a node: other files in a home are the user's.
    fs::create_dir_all(home.join("db")).unwrap();
    let mut data = File::options()
        .create(true)
        .append(true)
        .open(home.join("db/data"))
        .unwrap();
    writeln!(data, "started").unwrap();
    // With a file `other-chain`, the node has different blocks.
    let hash = if home.join("other-chain").exists() {
        "2"
    } else {
        "1"
    };
    // As in a node, which reads the file once.
    let genesis = home.join("genesis.toml");
    let info = info(&crate::files::build(&genesis, &crate::files::genesis(&genesis).unwrap()).unwrap());
    fs::write(home.join("admin.token"), TOKEN).unwrap();
    fs::set_permissions(home.join("admin.token"), fs::Permissions::from_mode(0o600)).unwrap();
    let admin = TcpListener::bind(&config.admin.listen).unwrap();
    let operated = home.clone();
    std::thread::spawn(move || {
        for stream in admin.incoming() {
            operate(&stream.unwrap(), &operated);
        }
    });
    // The harness has started a line.
    println!(
        "\n{}",
        json!({ "event": "ready", "rpc": format!("http://127.0.0.1:{}", config.rpc.port), "height": "3" })
    );
    for stream in listener.incoming() {
        let (hash, home, info) = (hash.repeat(64), home.clone(), info.clone());
        std::thread::spawn(move || answer(&stream.unwrap(), &hash, &home, &info));
    }
}

/// Response of a node to `chain_getInfo`.
fn info(genesis: &vibecoin_genesis::BuiltGenesis) -> Value {
    use vibecoin_primitives::{Hash, PublicKey, TimeMs};
    use vibecoin_rpc_api::views::{ChainInfo, HeadView, ParamsView};
    use vibecoin_rpc_api::{Shown, U64};
    let params = &genesis.params;
    let head = HeadView {
        height: U64(3),
        hash: Shown(Hash::ZERO),
        state_root: Shown(Hash::ZERO),
        timestamp_ms: TimeMs(0).into(),
        proposer: Shown(PublicKey([0; 32])),
        tx_count: 0,
    };
    serde_json::to_value(ChainInfo {
        chain_id: params.network.clone(),
        network: params.network.clone(),
        genesis_hash: Shown(genesis.hash),
        address_prefix: params.address_prefix.clone(),
        symbol: params.symbol.clone(),
        decimals: params.decimals,
        protocol_version: 1,
        api_version: "1.0.0".to_owned(),
        dev: false,
        params: ParamsView::from(params),
        head,
        earliest: U64(0),
    })
    .unwrap()
}

/// Reads one request: its headers in lower case, and the JSON.
fn request(reader: &mut impl std::io::BufRead) -> Option<(String, Value)> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line.to_ascii_lowercase());
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, serde_json::from_slice(&body).ok()?))
}

fn respond(mut stream: &TcpStream, request: &Value, result: &Value) -> Option<()> {
    let text = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
    write!(stream, "{head} {}\r\n\r\n{text}", text.len()).ok()
}

/// The admin side of one connection: records the banned peers in the home.
fn operate(stream: &TcpStream, home: &Path) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (head, request) = request(&mut reader)?;
        assert!(head.contains(&format!("authorization: bearer {TOKEN}")), "{head}");
        let bans = home.join("db/bans");
        let mut lines: Vec<String> = fs::read_to_string(&bans)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect();
        let id = request["params"]["id"].as_str().unwrap_or_default().to_owned();
        match request["method"].as_str()? {
            "net_getBans" => {
                let ban = |id: &String| json!({ "id": id, "reason": "partition" });
                let listed: Vec<Value> = lines.iter().map(ban).collect();
                respond(stream, &request, &json!(listed))?;
                continue;
            }
            "net_banPeer" => {
                assert_eq!(request["params"]["reason"], "partition");
                // Banning twice is the same as banning once.
                lines.retain(|line| *line != id);
                lines.push(id);
            }
            "net_unbanPeer" => {
                assert!(lines.contains(&id), "{id} is not banned");
                lines.retain(|line| *line != id);
            }
            other => panic!("nobody told the stand-in of {other}"),
        }
        fs::write(&bans, lines.join("\n")).unwrap();
        respond(stream, &request, &json!(true))?;
    }
}

/// Answers the requests of one connection: a chain of three blocks, of which a node with a file `behind` has
/// two.
fn answer(stream: &TcpStream, hash: &str, home: &Path, info: &Value) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (_, request) = request(&mut reader)?;
        let (hash, zeros) = (format!("0x{hash}"), format!("0x{}", "0".repeat(64)));
        let result = match request["method"].as_str()? {
            "chain_getInfo" => info.clone(),
            "chain_getHead" => json!({
                "height": if home.join("behind").exists() { "2" } else { "3" }, "hash": hash, "stateRoot": zeros, "timestampMs": "1", "proposer": zeros,
                "txCount": 0,
            }),
            "chain_getHeader" => json!({
                "hash": hash, "version": 1, "height": "3", "round": 0, "proposer": zeros, "parentHash": zeros,
                "timestampMs": "1", "ticks": 1, "pohSequence": "1", "pohHash": zeros, "bodyHash": zeros,
                "transactionRoot": zeros, "receiptRoot": zeros, "evidenceRoot": zeros, "stateRoot": zeros,
                "validatorsHash": zeros, "nextValidatorsHash": zeros, "paramsHash": zeros,
                "lastCommitHash": zeros,
            }),
            "net_getPeers" => json!([]),
            other => panic!("nobody told the stand-in of {other}"),
        };
        respond(stream, &request, &result)?;
    }
}

/// Behaviour of a stand-in.
#[derive(Clone, Copy)]
enum Mode {
    Good,
    /// Ends at once, with an error message.
    Dies,
    /// Never prints the ready line.
    Mute,
    /// Ignores SIGTERM.
    Stubborn,
}

/// A folder for a devnet, and a program for its nodes. Stopped when dropped.
struct Bench {
    scratch: TempDir,
    /// Only one test at a time searches for free ports, also among the processes of a test runner.
    _ports: File,
}

impl Bench {
    fn new() -> Self {
        let path = std::env::temp_dir().join("vibecoin-devnet-tests.lock");
        let ports = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .unwrap();
        ports.lock().unwrap();
        let bench = Self {
            scratch: tempfile::tempdir().unwrap(),
            _ports: ports,
        };
        bench.behave(Mode::Good);
        bench
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path().join("net")
    }

    fn binary(&self) -> PathBuf {
        self.scratch.path().join("node")
    }

    /// Sets the behaviour of nodes that are started from now on.
    fn behave(&self, mode: Mode) {
        let this = std::env::current_exe().unwrap();
        let body = match mode {
            Mode::Good => "",
            Mode::Dies => "echo 'error: the disk is made of cheese' >&2; exit 21",
            Mode::Mute => "exec sleep 1000",
            Mode::Stubborn => "trap '' TERM",
        };
        let script = format!(
            "#!/bin/sh\n{body}\n{STAND_IN}=$3 exec '{}' --exact --nocapture {}::stand_in\n",
            this.display(),
            module_path!().split_once("::").unwrap().1,
        );
        // A new file each time: a running program cannot be written to.
        let new = self.scratch.path().join("new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.binary()).unwrap();
    }

    fn run(&self, line: &str) -> Result<Answer, CliError> {
        Self::run_in(&self.dir(), line)
    }

    fn run_in(dir: &Path, line: &str) -> Result<Answer, CliError> {
        let line = format!("vibecoin devnet --dir {} {line}", dir.display());
        let arguments = crate::commands::Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let context = Context::new(arguments.globals);
        arguments.command.run(&context)
    }

    /// Runs a command that starts nodes.
    fn start(&self, line: &str) -> Result<Answer, CliError> {
        self.run(&format!("{line} --binary {}", self.binary().display()))
    }

    fn ok(&self, line: &str) -> Value {
        json_of(&self.run(line).unwrap())
    }

    fn up(&self, line: &str) -> Value {
        json_of(&self.start(&format!("up {line}")).unwrap())
    }

    fn pids(&self) -> Vec<Option<u32>> {
        Self::pids_in(&self.dir())
    }

    fn pids_in(dir: &Path) -> Vec<Option<u32>> {
        let net = Devnet::look(dir).unwrap();
        let state = net.existing().unwrap();
        state.nodes.iter().map(|node| net.pid(node)).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _done = self.run("down --grace 0");
    }
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.render(Format::Json)).unwrap()
}

fn text_of(answer: &Answer) -> String {
    answer.render(Format::Text)
}

fn alive(pid: u32) -> bool {
    process::started_at(pid).is_some()
}

#[test]
fn up_and_down_work_twice_and_the_data_stays() {
    let bench = Bench::new();
    for (command, nothing) in [("down", "stop"), ("destroy", "destroy")] {
        assert_eq!(
            text_of(&bench.run(command).unwrap()),
            format!(
                "nothing to {nothing}: there is no devnet in {}",
                bench.dir().display()
            )
        );
    }
    assert!(!bench.dir().exists());

    let up = bench.up("-v 2 -n 1");
    assert_eq!(
        (up["startedNodes"].as_u64(), up["commonHeight"].as_str()),
        (Some(3), Some("3"))
    );
    let names: Vec<_> = up["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["name"].clone())
        .collect();
    assert_eq!(names, ["validator-0", "validator-1", "full-0"]);
    let first = bench.pids();
    assert!(first.iter().all(Option::is_some));

    let again = bench.start("up").unwrap();
    assert!(text_of(&again).contains("already running"));
    assert_eq!(bench.pids(), first);

    let down = bench.ok("down");
    assert_eq!(down["stopped"], 3);
    assert!(first.iter().flatten().all(|pid| !alive(*pid)));
    assert_eq!(text_of(&bench.run("down").unwrap()), "nothing to stop");

    bench.up("");
    let data = fs::read_to_string(bench.dir().join("validator-0/db/data")).unwrap();
    assert_eq!(data.lines().count(), 2);
    bench.start("restart").unwrap();
    assert_ne!(bench.pids(), first);
}

#[test]
fn status_tells_what_runs_and_ends_with_exit_1_unless_all_do() {
    let bench = Bench::new();
    assert_eq!(crate::output::finish(&bench.run("status"), Format::Text, true), 1);
    bench.up("-v 2 -n 0");
    assert_eq!(crate::output::finish(&bench.run("status"), Format::Json, true), 0);
    assert!(text_of(&bench.run("status --json").unwrap()).starts_with('{'));
    let killed = bench.ok("kill-node 1");
    assert_eq!(killed["killed"], true);
    let status = bench.run("status");
    let nodes = json_of(status.as_ref().unwrap())["nodes"].clone();
    assert_eq!(nodes[1]["pid"], Value::Null);
    assert_eq!(nodes[0]["height"], "3");
    assert!(text_of(status.as_ref().unwrap()).contains("stopped"));
    assert_eq!(crate::output::finish(&status, Format::Text, true), 1);
}

#[test]
fn a_node_that_was_killed_starts_again_on_its_ports() {
    let bench = Bench::new();
    let rpc = bench.up("-v 2 -n 0")["nodes"][1]["rpc"].clone();
    let before = bench.pids();
    assert_eq!(bench.ok("kill-node validator-1")["pid"], json!(before[1]));
    assert_eq!(bench.ok("kill-node 1")["wasRunning"], false);
    let started = json_of(&bench.start("start-node 1").unwrap());
    assert_eq!(
        (started["rpc"].clone(), started["height"].as_str()),
        (rpc, Some("3"))
    );
    assert_eq!(json_of(&bench.start("start-node 1").unwrap())["wasRunning"], true);
    assert_eq!(bench.ok("stop-node 0")["killed"], false);
    let after = bench.pids();
    assert!(after[0].is_none() && after[1].is_some() && after[1] != before[1]);
    assert_eq!(bench.run("kill-node 2").unwrap_err().exit, Exit::NotFound);
}

#[test]
fn a_node_that_is_added_is_of_the_same_chain_and_has_ports_of_its_own() {
    let bench = Bench::new();
    bench.up("-v 1 -n 1");
    let added = json_of(&bench.start("add-node").unwrap());
    assert_eq!(
        (added["node"].as_str(), added["number"].as_u64()),
        (Some("full-1"), Some(2))
    );
    let genesis = |node: &str| fs::read(bench.dir().join(node).join("genesis.toml")).unwrap();
    assert!(genesis("full-1") == genesis("validator-0"));
    let net = Devnet::look(&bench.dir()).unwrap();
    let mut addresses: Vec<_> = net
        .existing()
        .unwrap()
        .nodes
        .iter()
        .map(|node| node.p2p.clone())
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 3);
    let refused = bench.start("add-node --validator").unwrap_err();
    assert!(refused.hint.unwrap().contains("validator set does not change"));
}

#[test]
fn a_node_is_added_only_to_a_chain_that_runs_and_is_the_planned_one() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    // The first node's file, edited while it runs: the plan would be of a different chain.
    let path = bench.dir().join("validator-0/genesis.toml");
    let text = fs::read_to_string(&path).unwrap();
    let mut genesis = crate::files::genesis(&path).unwrap();
    genesis.params.fee_min.0 += 1;
    fs::write(&path, genesis.to_toml()).unwrap();
    let error = bench.start("add-node").unwrap_err();
    assert_eq!(error.exit, Exit::GenesisMismatch, "{}", error.message);
    fs::write(&path, text).unwrap();

    bench.run("down --grace 0").unwrap();
    let error = bench.start("add-node").unwrap_err();
    assert_eq!(error.exit, Exit::CannotConnect, "{}", error.message);
    assert!(error.hint.unwrap().contains("devnet --dir"), "names the folder");
    assert_eq!(bench.pids().len(), 2);
    assert!(!bench.dir().join("full-0").exists());

    // With only one node answering, no head is reported as reached.
    let alone = bench.start("start-node 1").unwrap();
    assert!(
        text_of(&alone).contains("compared with no other node"),
        "{}",
        text_of(&alone)
    );
    assert_eq!(json_of(&alone)["atHeadAfterMs"], Value::Null);
    let second = json_of(&bench.start("start-node 0").unwrap());
    assert!(second["atHeadAfterMs"].is_u64(), "{second}");
    bench.start("add-node").unwrap();
}

#[test]
fn a_devnet_is_not_up_while_one_of_its_nodes_is_behind() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    let behind = bench.dir().join("validator-1/behind");
    fs::write(&behind, "").unwrap();
    let error = bench.start("up --timeout 1").unwrap_err();
    assert_eq!(error.exit, Exit::Timeout);
    assert!(
        error.message.contains("validator-0 3, validator-1 2"),
        "{}",
        error.message
    );
    fs::remove_file(&behind).unwrap();
    assert_eq!(bench.up("")["commonHeight"], "3");
}

#[test]
fn a_pid_that_belongs_to_somebody_else_now_is_never_signalled() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    let node = bench.pids()[0].unwrap();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut net = Devnet::change(&bench.dir(), Reporter::SILENT).unwrap();
    net.existing_mut().unwrap().nodes[0].pid = Some(stranger.id());
    net.save().unwrap();
    drop(net);
    assert_eq!(text_of(&bench.run("down --grace 0").unwrap()), "nothing to stop");
    assert!(stranger.try_wait().unwrap().is_none(), "down ended a stranger");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let started = process::started_at(node).unwrap();
    process::kill(node, started, Reporter::SILENT).unwrap();
}

#[test]
fn processes_of_another_boot_do_not_count() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    let node = bench.pids()[0].unwrap();
    let mut net = Devnet::change(&bench.dir(), Reporter::SILENT).unwrap();
    net.existing_mut().unwrap().boot = "another".to_owned();
    assert_eq!(net.running().len(), 0);
    net.save().unwrap();
    assert_eq!(net.existing().unwrap().nodes[0].pid, None);
    process::kill(node, process::started_at(node).unwrap(), Reporter::SILENT).unwrap();
}

#[test]
fn a_node_that_does_not_hear_sigterm_is_killed_after_the_grace_time() {
    let bench = Bench::new();
    bench.behave(Mode::Stubborn);
    bench.up("-v 1 -n 0");
    let pid = bench.pids()[0].unwrap();
    assert!(process::signal(
        pid,
        process::started_at(pid).unwrap(),
        rustix::process::Signal::TERM
    ));
    let down = text_of(&bench.run("down --grace 0").unwrap());
    assert!(down.contains("SIGKILL"), "{down}");
    assert!(!alive(pid));
}

#[test]
fn hints_name_what_the_caller_typed() {
    let bench = Bench::new();
    let hint = |line: &str| bench.run(line).unwrap_err().to_text();
    let dir = bench.dir().display().to_string();
    let own = hint("kill-node 0");
    assert!(
        own.contains(&format!("`vibecoin devnet --dir {dir} up`")),
        "{own}"
    );
    let over_a_script = hint("--typed scripts/devnet.sh kill-node 0");
    let expected = format!("`scripts/devnet.sh --dir {dir} up`");
    assert!(over_a_script.contains(&expected), "{over_a_script}");
    assert!(!over_a_script.contains("vibecoin devnet"), "{over_a_script}");
}

#[test]
fn a_usage_error_behind_a_script_names_the_script() {
    let error = || CliError::usage("x").hint("see `vibecoin devnet up --help`");
    let hint = |typed: Option<&str>| typed_as(error(), typed.map(str::to_owned)).hint.unwrap();
    assert_eq!(hint(Some("./d.sh")), "see `./d.sh up --help`");
    assert_eq!(hint(None), "see `vibecoin devnet up --help`");
    // A command of another group keeps its name.
    let other = CliError::usage("x").hint("see `vibecoin transfer --help`");
    let other = typed_as(other, Some("./d.sh".to_owned()));
    assert_eq!(other.hint.as_deref(), Some("see `vibecoin transfer --help`"));
}

/// The command of a hint that begins with these words, run as a shell does.
fn follow(error: &CliError, words: &str) {
    let hint = error.hint.as_deref().unwrap();
    let command = hint
        .split('`')
        .skip(1)
        .step_by(2)
        .find(|line| line.starts_with(words));
    let command = command.unwrap_or_else(|| panic!("no {words}: {hint}"));
    let done = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
}

#[test]
fn the_home_of_a_devnet_that_is_gone_leads_to_up_and_a_home_in_its_place_can_be_removed() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    bench.run("destroy --grace 0").unwrap();
    let home = bench.dir().join("validator-0");
    let on_home = |words: &[&str]| {
        let line = [
            &["vibecoin", "--url", "local", "--home", home.to_str().unwrap()],
            words,
        ]
        .concat();
        let arguments = crate::commands::Arguments::try_parse_from(line).unwrap();
        let context = Context::new(arguments.globals);
        (context.home_hint(), arguments.command.run(&context))
    };
    let (hint, key) = on_home(&["keys", "show", "dev1"]);
    let up = format!("`vibecoin devnet --dir {} up`", bench.dir().display());
    assert!(hint.contains(&up), "{hint}");
    let key = key.unwrap_err();
    assert_eq!(key.hint, Some(hint));
    assert!(key.message.contains("does not exist"), "{}", key.message);
    bench.up("-v 1 -n 0");
    assert!(on_home(&["keys", "show", "dev1"]).1.is_ok());
    bench.run("destroy --grace 0").unwrap();

    // A home that a node makes in the place of the old one, twice.
    let make = || {
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("genesis.toml"), "").unwrap();
    };
    for aside in ["net-validator-0", "net-validator-0-2"] {
        make();
        let refused = bench.start("up -v 1 -n 0").unwrap_err();
        follow(&refused, "ls -A ");
        follow(&refused, "mv ");
        assert!(bench.scratch.path().join(aside).join("genesis.toml").exists());
        bench.up("-v 1 -n 0");
        bench.run("destroy --grace 0").unwrap();
    }
    make();
    let refused = bench.run("destroy").unwrap_err();
    assert!(
        refused
            .hint
            .as_deref()
            .unwrap()
            .starts_with("nothing was deleted; ")
    );
    follow(&refused, "ls -A ");
    follow(&refused, "rm -r ");
    assert_eq!(json_of(&bench.run("destroy").unwrap())["destroyed"], false);
    // Of what is not a node's home no command removes anything.
    fs::write(bench.dir().join("mine"), "precious").unwrap();
    let refused = bench.run("destroy").unwrap_err();
    assert!(!refused.hint.as_deref().unwrap().contains("rm "), "{refused:?}");
    follow(&refused, "ls -A ");
    // And beside it no home is taken for one of a devnet.
    assert_eq!(gone_hint(&home), None);
}

#[test]
fn a_damaged_record_can_be_moved_out_of_the_way() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    bench.run("down --grace 0").unwrap();
    fs::write(bench.dir().join("devnet.json"), "nonsense").unwrap();
    let refused = bench.start("up -v 1 -n 0").unwrap_err();
    follow(&refused, "mv ");
    bench.up("-v 1 -n 0");
    assert!(bench.scratch.path().join("net-damaged/devnet.json").exists());
}

#[test]
fn the_hint_of_nodes_that_agree_too_late_is_followed() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    let behind = bench.dir().join("validator-1/behind");
    fs::write(&behind, "").unwrap();
    let late = bench.start("up --timeout 1").unwrap_err();
    let hint = late.hint.as_deref().unwrap();
    let commands: Vec<_> = hint.split('`').skip(1).step_by(2).collect();
    assert_eq!(commands.len(), 2, "{hint}");
    for command in commands {
        let arguments = crate::commands::Arguments::try_parse_from(command.split(' ')).unwrap();
        let context = Context::new(arguments.globals);
        assert!(arguments.command.run(&context).is_ok(), "{command}");
    }
    fs::remove_file(&behind).unwrap();
    assert_eq!(bench.up("")["commonHeight"], "3");
}

#[test]
fn a_status_without_end_is_not_one_json_value() {
    let bench = Bench::new();
    let status = |options: &str| {
        let line = format!(
            "vibecoin devnet --dir {} status --watch {options}",
            bench.dir().display()
        );
        let arguments = crate::commands::Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let context = Context::new(arguments.globals);
        arguments.command.run(&context)
    };
    for options in ["-o json", "--json"] {
        let refused = status(options).unwrap_err();
        assert_eq!((refused.exit, refused.reason.as_str()), (Exit::Usage, "usage"));
        assert!(refused.hint.unwrap().contains("-o ndjson"), "{options}");
    }
    // There is no devnet, so the stream ends at once.
    assert!(status("-o ndjson").is_ok());
}

#[test]
fn hints_name_the_folder_unless_every_command_finds_it_without() {
    let shown = |dir: &str, set: Option<&str>, usual: Option<&str>| {
        named(Path::new(dir), set.map(OsStr::new), usual.map(OsStr::new))
    };
    assert_eq!(shown(".devnet", None, None), "");
    assert_eq!(shown("x y", None, None), " --dir 'x y'");
    // The variable may be set for this command alone.
    assert_eq!(shown("other", Some("other"), None), " --dir other");
    assert_eq!(shown(".devnet", Some("other"), None), " --dir .devnet");
    // The scripts always set it.
    assert_eq!(shown("/c/.devnet", Some("/c/.devnet"), Some("/c/.devnet")), "");
    assert_eq!(shown("/d", Some("/d"), Some("/c/.devnet")), " --dir /d");
    let words = Words {
        typed: "./d.sh".to_owned(),
        named: " --dir /d".to_owned(),
    };
    assert_eq!(
        words.shown("`vibecoin devnet up`, `vibecoin devnet --dir /e up`"),
        "`./d.sh --dir /d up`, `./d.sh --dir /e up`"
    );
}

#[test]
fn the_devnet_of_a_home_is_known_by_its_file() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    let home = bench.dir().join("validator-0");
    let dir = bench.dir().canonicalize().unwrap();
    let hint = restart_hint(&home, None).unwrap();
    assert!(hint.contains(&format!("--dir {} up`", dir.display())), "{hint}");
    let node = Devnet::look(&bench.dir()).unwrap().node(0).unwrap();
    assert_eq!(restart_hint(&home, Some(node.url())), Some(hint));
    assert_eq!(restart_hint(&home, Some("http://127.0.0.1:1")), None);
    assert_eq!(restart_hint(&bench.dir(), None), None);
    assert_eq!(restart_hint(Path::new("/nowhere/at/all"), None), None);
}

#[test]
fn a_node_that_ends_at_its_start_is_reported_with_its_log_and_the_others_are_stopped() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    bench.run("stop-node 1").unwrap();
    let running = bench.pids()[0];
    bench.behave(Mode::Dies);
    let error = bench.start("up").unwrap_err();
    assert_eq!((error.exit, error.reason.as_str()), (Exit::Failure, "node_ended"));
    assert!(error.message.contains("made of cheese"), "{}", error.message);
    // The running node is unaffected.
    assert_eq!(bench.pids(), [running, None]);
}

#[test]
fn a_node_that_never_answers_is_stopped_when_the_time_is_up() {
    let bench = Bench::new();
    bench.behave(Mode::Mute);
    let error = bench.start("up -v 1 -n 0 --timeout 1").unwrap_err();
    assert_eq!(error.exit, Exit::Timeout);
    assert!(
        error.message.contains("was not ready within"),
        "{}",
        error.message
    );
    assert_eq!(bench.pids(), [None]);
}

#[test]
fn two_blocks_at_one_height_are_called_a_fork() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    bench.run("down --grace 0").unwrap();
    fs::write(bench.dir().join("validator-1/other-chain"), "").unwrap();
    let error = bench.start("up").unwrap_err();
    assert_eq!((error.exit, error.reason.as_str()), (Exit::SafetyHalt, "fork"));
    for part in ["validator-0 has 0x1111", "validator-1 has 0x2222"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
}

#[test]
fn one_devnet_is_not_taken_for_another() {
    let bench = Bench::new();
    bench.up("-v 2 -n 1 --seed a");
    for (options, words) in [
        ("-v 3", "validators 2, asked for 3"),
        ("-n 0", "full nodes 1, asked for 0"),
        ("--seed b", "seed a, asked for b"),
        ("--fault-model crash", "fault model byzantine, asked for crash"),
        ("--profile bench", "profile devnet, asked for bench"),
        ("--base-port 28000", "runs on ports from"),
    ] {
        let error = bench.start(&format!("up {options}")).unwrap_err();
        assert!(error.message.contains(words), "{options}: {}", error.message);
    }
    bench.up("-v 2 -n 1 --seed a --fault-model byzantine");
}

#[test]
fn another_base_port_moves_a_devnet_that_is_down_and_a_taken_port_names_its_owner() {
    let bench = Bench::new();
    let before = bench.up("-v 2 -n 0")["basePort"].as_u64().unwrap();
    bench.run("down --grace 0").unwrap();
    let genesis = fs::read(bench.dir().join("validator-0/genesis.toml")).unwrap();
    let base = ports::Listening::now().free_base(20, None).unwrap() + 100;
    assert_ne!(u64::from(base), before);
    // The address book: in a copy, it has the addresses of the original's nodes.
    let learned = bench.dir().join("validator-1/peers.json");
    fs::write(&learned, "{}").unwrap();
    let up = bench.up(&format!("--base-port {base}"));
    assert!(!learned.exists());
    assert_eq!(up["nodes"][1]["rpc"], format!("http://127.0.0.1:{}", base + 10));
    let config = fs::read_to_string(bench.dir().join("validator-0/config.toml")).unwrap();
    let config = vibecoin_config::parse(&config).unwrap();
    assert!(config.p2p.peers[0].starts_with(&format!("/ip4/127.0.0.1/tcp/{}/p2p/", base + 11)));
    assert!(fs::read(bench.dir().join("validator-0/genesis.toml")).unwrap() == genesis);
    bench.run("down --grace 0").unwrap();

    let taken = TcpListener::bind(("127.0.0.1", base + 12)).unwrap();
    let error = bench.start(&format!("up --base-port {base}")).unwrap_err();
    assert_eq!(error.reason, "port_taken");
    assert!(error.message.contains(&format!("(pid {})", std::process::id())));
    // Without a port argument it uses free ports.
    assert_ne!(bench.up("")["basePort"], base);
    drop(taken);
}

#[test]
fn destroy_removes_what_was_made_and_nothing_else() {
    let bench = Bench::new();
    bench.up("-v 1 -n 1");
    fs::write(bench.dir().join("mine"), "precious").unwrap();
    let inside = bench.dir().canonicalize().unwrap().join("validator-0/mine");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("f"), "precious").unwrap();
    let pids = bench.pids();
    let destroyed = bench.ok("destroy --grace 5");
    assert_eq!(destroyed["destroyed"], true);
    let mine = bench.dir().canonicalize().unwrap().join("mine");
    assert_eq!(destroyed["kept"], json!([mine, inside]));
    assert!(pids.iter().flatten().all(|pid| !alive(*pid)));
    let left: Vec<_> = fs::read_dir(bench.dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left.len(), 2, "mine and validator-0: {left:?}");
    let home: Vec<_> = fs::read_dir(inside.parent().unwrap())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(home.len(), 1, "{home:?}");
    assert!(inside.join("f").exists());
    let refused = bench.run("destroy").unwrap_err();
    assert!(refused.message.contains("not a devnet"));
    assert!(bench.dir().join("mine").exists());
}

#[path = "added_tests.rs"]
mod added;
#[path = "cut_tests.rs"]
mod cut;
#[path = "interrupted_tests.rs"]
mod interrupted;
#[path = "moved_tests.rs"]
mod moved;

#[test]
fn logs_are_those_of_the_nodes_that_were_asked_for() {
    let bench = Bench::new();
    bench.up("-v 1 -n 1");
    assert!(bench.run("logs").is_ok());
    assert!(bench.run("logs full-0 --grep ready").is_ok());
    for node in ["7", "+0", "00"] {
        let refused = bench.run(&format!("logs {node}")).unwrap_err();
        assert_eq!(refused.exit, Exit::NotFound, "{node}");
    }
}

#[test]
fn one_command_at_a_time_changes_a_devnet() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    let held = Devnet::change(&bench.dir(), Reporter::SILENT).unwrap();
    let (told, done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            bench.run("kill-node 0").unwrap();
            told.send(()).unwrap();
        });
        // Reading does not wait; changing does.
        assert!(bench.run("status").is_ok());
        assert!(done.recv_timeout(Duration::from_millis(50)).is_err());
        assert!(held.pid(&held.node(0).unwrap()).is_some());
        drop(held);
        done.recv().unwrap();
    });
    assert_eq!(bench.pids(), [None]);
}
