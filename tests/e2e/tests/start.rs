//! Node start: signals and kills at any moment, listeners that cannot be opened, and reported waits.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use vibecoin_tests_e2e::{Home, Node, Signal, binary, http, signal};

/// A node whose standard output can be read and whose log is kept.
struct Started {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Started {
    fn new(temporary: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(arguments)
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The ready line; `Null` when the node ended without one.
    fn ready(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }

    fn signal(&self, number: Signal) {
        signal(&self.child, number);
    }

    /// Waits for the end: the exit code and everything on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}

const DEV: [&str; 4] = ["node", "--dev", "--rpc.port", "0"];

#[test]
fn a_signal_in_the_middle_of_the_start_ends_a_dev_node_without_its_home() {
    let temporary = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Started::new(temporary.path(), &DEV);
        // The first item that a careless implementation leaves behind.
        while entries(temporary.path()).is_empty() {
            assert!(node.child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        node.signal(signal);
        let (code, stderr) = node.end();
        assert_eq!(code, Some(0), "{signal:?}: {stderr}");
        assert_eq!(
            entries(temporary.path()),
            Vec::<PathBuf>::new(),
            "{signal:?}: {stderr}"
        );
    }
}

#[test]
fn the_temporary_home_of_a_killed_dev_node_is_removed_by_the_next() {
    let temporary = tempfile::tempdir().unwrap();
    let mut killed = Started::new(temporary.path(), &DEV);
    assert_eq!(killed.ready()["event"], "ready");
    let left = entries(temporary.path());
    let mut running = Started::new(temporary.path(), &DEV);
    assert_eq!(running.ready()["event"], "ready");
    assert_eq!(entries(temporary.path()).len(), 2, "that of a running node stays");
    killed.signal(Signal::KILL);
    assert_eq!(killed.end().0, None);
    assert!(left[0].exists());
    let mut next = Started::new(temporary.path(), &DEV);
    assert_eq!(next.ready()["event"], "ready");
    assert!(!left[0].exists());
    for node in [running, next] {
        node.signal(Signal::TERM);
        assert_eq!(node.end().0, Some(0));
    }
    assert_eq!(entries(temporary.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag_and_the_hint_helps() {
    let temporary = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (socket, multi) = (format!("127.0.0.1:{port}"), format!("/ip4/127.0.0.1/tcp/{port}"));
    for (flag, value) in [
        ("--rpc.port", port.to_string()),
        ("--admin.listen", socket.clone()),
        ("--metrics.listen", socket),
        ("--p2p.listen", multi),
    ] {
        let mut arguments = vec!["node", "--dev"];
        if flag != "--rpc.port" {
            arguments.extend(["--rpc.port", "0"]);
        }
        let refused = Started::new(temporary.path(), &[&arguments[..], &[flag, &value]].concat());
        let (code, stderr) = refused.end();
        assert_eq!(code, Some(1), "{flag}: {stderr}");
        let port = port.to_string();
        let error = stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(
            error.contains(&port) && error.contains("in use"),
            "{flag}: {error}"
        );
        let hint = stderr.lines().find(|line| line.starts_with("hint: ")).unwrap();
        assert!(hint.contains(flag), "{flag}: {hint}");
        assert!(
            !stderr.contains("consensus starts"),
            "{flag}: nothing began: {stderr}"
        );
        assert_eq!(
            entries(temporary.path()),
            Vec::<PathBuf>::new(),
            "{flag}: nothing is left"
        );
        // The remedy in the hint.
        let instead: Vec<&str> = hint.split('`').nth(1).unwrap().split(' ').collect();
        assert_eq!(instead[0], flag);
        let mut node = Started::new(temporary.path(), &[&arguments[..], &instead].concat());
        assert_eq!(node.ready()["event"], "ready", "{flag}");
        node.signal(Signal::TERM);
        assert_eq!(node.end().0, Some(0));
    }
}

#[test]
fn a_place_that_cannot_be_is_no_damage_and_is_named_with_its_flag() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("x");
    for flag in ["--storage.db_dir", "--consensus.log_dir"] {
        let arguments = [&DEV[..], &[flag, inside.to_str().unwrap()]].concat();
        let (code, stderr) = Started::new(temporary.path(), &arguments).end();
        assert_eq!(code, Some(10), "{flag}: {stderr}");
        assert!(stderr.contains(inside.to_str().unwrap()), "{flag}: {stderr}");
        assert!(stderr.contains("hint: a part of the path"), "{flag}: {stderr}");
    }
    assert_eq!(entries(temporary.path()), [file]);
}

#[test]
fn a_home_behind_a_link_is_the_same_home_for_every_command() {
    let home = Home::devnet();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink(home.path(), &link).unwrap();
    for named in [link.clone(), link.join("")] {
        let named = named.to_str().unwrap();
        let run = |arguments: &[&str]| {
            let output = Command::new(binary())
                .args(["-o", "json", "--home", named])
                .args(arguments)
                .output()
                .unwrap();
            let json: Value = serde_json::from_slice(&output.stdout).unwrap();
            (output.status.code(), json)
        };
        let (code, keys) = run(&["keys", "list"]);
        assert_eq!(code, Some(0), "{keys}");
        assert_eq!(run(&["init"]).0, Some(0));
        let arguments = ["--home", named, "node", "--rpc.port", "0", "--allow-unencrypted"];
        let mut node = Started::new(folder.path(), &arguments);
        assert_eq!(node.ready()["event"], "ready", "{named}");
        assert_eq!(run(&["status"]).0, Some(0));
        node.signal(Signal::TERM);
        assert_eq!(node.end().0, Some(0));
    }
    // A folder with keys inside of a home is different, with a slash at its end or without.
    std::fs::rename(home.file("keys"), folder.path().join("keys")).unwrap();
    symlink(folder.path().join("keys"), home.file("keys")).unwrap();
    home.run(&["keys", "list"]).fails(40, "key_or_permissions");
    std::fs::write(home.file("config.toml"), "[node]\nkeystore_dir = \"keys/\"\n").unwrap();
    home.run(&["keys", "list"]).fails(40, "key_or_permissions");
}

#[test]
fn a_validator_without_a_quorum_is_not_ready_and_says_for_whom_it_waits() {
    let home = Home::new();
    let net = home.file("net");
    let net = net.to_str().unwrap();
    let made = Command::new(binary())
        .args(["testnet", "generate", "-v", "4", "-o", net, "--seed", "1"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let validator = home.file("net/validator-0");
    let line = format!(
        "--home {} node --allow-unencrypted --rpc.port 0 --p2p.listen /ip4/127.0.0.1/tcp/0 \
         --metrics.listen 127.0.0.1:0 --admin.listen 127.0.0.1:0",
        validator.display()
    );
    let arguments: Vec<&str> = line.split(' ').collect();
    let mut node = Started::new(home.path(), &arguments);
    let ready = node.ready();
    let url = ready["rpc"].as_str().unwrap();
    let address = url.trim_start_matches("http://");
    // From its first answer on, before any timeout for others has passed.
    let answer = http::get(address, "/readyz?verbose").unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let checks: Value = serde_json::from_str(&answer.body).unwrap();
    let quorum = checks["checks"].as_array().unwrap();
    let quorum = quorum.iter().find(|check| check["name"] == "quorum").unwrap();
    assert_eq!(quorum["ok"], false, "{checks}");
    assert_eq!(http::get(address, "/livez").unwrap().status, 200);
    let health = home.run(&["--url", url, "health"]);
    assert_eq!(
        (health.code, &health.json["ready"]),
        (12, &false.into()),
        "{}",
        health.json
    );
    let status = home.run(&["--url", url, "status"]).ok();
    assert_eq!(status["waiting"]["reason"], "peers", "{status}");
    let detail = status["waiting"]["detail"].as_str().unwrap();
    assert!(detail.contains("block 1") && detail.contains(" s"), "{detail}");
    node.signal(Signal::TERM);
    assert_eq!(node.end().0, Some(0));
    // A node that needs no peers is ready at once.
    let alone = Home::devnet();
    let node = Node::start(&alone, &["--validator", "--allow-unencrypted"]);
    assert_eq!(http::get(node.address(), "/readyz").unwrap().status, 200);
    assert_eq!(node.stop(), 0);
}
