//! The files of a home: tools find them where the node does, both report damage alike, and secrets stay with
//! their owner.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::json;
use vibecoin_tests_e2e::{Devnet, Home, Node, copy};

/// A configuration that moves every file.
const MOVED: &str = r#"
[node]
validator = true
genesis_file = "chain.toml"
keystore_dir = "accounts"
[consensus]
log_dir = "state/log"
guard_file = "state/guard"
[p2p]
key_file = "net.key"
listen = ["/ip4/127.0.0.1/tcp/0"]
peers_file = "state/peers.json"
[admin]
token_file = "state/token"
listen = "127.0.0.1:0"
[storage]
db_dir = "state/db"
"#;

const SIGNS: [&str; 1] = ["--allow-unencrypted"];

/// One validator alone, with every file moved.
fn moved() -> Home {
    let home = Home::new();
    fs::write(home.file("config.toml"), MOVED).unwrap();
    home.found();
    home
}

/// Makes a block with a transfer in it.
fn block(home: &Home) {
    let to = home.address("rich");
    let line = format!("transfer {to} 1 --from rich --allow-unencrypted --wait final");
    assert_eq!(home.line(&line).ok()["success"], true);
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn tools_look_where_the_node_looks_and_never_call_clean_what_it_refuses() {
    let home = moved();
    for name in ["chain.toml", "accounts/rich.json", "state/guard", "net.key"] {
        assert!(home.file(name).exists(), "{name}");
    }
    let node = Node::start(&home, &SIGNS);
    block(&home);
    assert_eq!(home.run(&["peers", "bans"]).ok(), json!([]), "the token is found");
    assert_eq!(node.stop(), 0);
    for name in [
        "state/db/CURRENT",
        "state/log/log",
        "state/log/head",
        "state/token",
    ] {
        assert!(home.file(name).exists(), "{name}");
    }
    for name in [
        "genesis.toml",
        "keys",
        "consensus",
        "db",
        "node.key",
        "admin.token",
    ] {
        assert!(
            !home.file(name).exists(),
            "{name} is where the configuration does not have it"
        );
    }
    let clean = home.run(&["db", "check"]).ok();
    assert_eq!(
        (&clean["clean"], &clean["warnings"]),
        (&json!(true), &json!([])),
        "{clean}"
    );

    // The earlier database, under the current guard and witness.
    let (db, kept) = (home.file("state/db"), home.file("kept"));
    copy(&db, &kept);
    let node = Node::start(&home, &SIGNS);
    block(&home);
    block(&home);
    assert_eq!(node.stop(), 0);
    let newer = home.file("newer");
    fs::rename(&db, &newer).unwrap();
    copy(&kept, &db);
    let checked = home.run(&["db", "check", "--quick"]);
    checked.fails(20, "corruption");
    assert!(checked.message().contains("was committed"));
    assert_eq!(checked.json["error"]["data"]["clean"], false, "{}", checked.json);
    let refused = home.run(&["node", "--rpc.port", "0", "--allow-unencrypted"]);
    refused.fails(20, "corruption");
    let message = refused.message();
    assert!(message.contains("decides blocks alone"), "{message}");

    // The promise of the message: a follower's database restores it.
    fs::remove_dir_all(&db).unwrap();
    fs::rename(&newer, &db).unwrap();
    let _clean = home.run(&["db", "check"]).ok();
    let node = Node::start(&home, &SIGNS);
    block(&home);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_damaged_guard_is_named_at_the_start_and_by_the_check() {
    let home = Home::devnet();
    let signs = ["--validator", "--allow-unencrypted"];
    let node = Node::start(&home, &signs);
    block(&home);
    assert_eq!(node.stop(), 0);
    let guard = home.file("consensus/guard");
    let whole = fs::read(&guard).unwrap();
    // Offset 60 is in the first slot's payload; the second slot is one page further on.
    flip(&guard, 60);
    let checked = home.run(&["db", "check", "--quick"]).ok();
    let warning = checked["warnings"][0].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains("one of the two slots"), "{checked}");
    // The log is whole and contains the signed votes, so the validator continues.
    let node = Node::start(&home, &signs);
    block(&home);
    assert_eq!(node.stop(), 0);
    let log = fs::read_to_string(home.file("node.log")).unwrap();
    assert!(
        log.contains("one of the two slots of the double-sign guard is damaged"),
        "{log}"
    );

    // Without the log there is no record: a validator alone must not continue.
    flip(&guard, 60 + 4096);
    fs::rename(home.file("consensus/log"), home.file("log")).unwrap();
    for _start in 0..2 {
        let refused = home.run(&["node", "--rpc.port", "0", "--validator", "--allow-unencrypted"]);
        refused.fails(20, "corruption");
        // An empty log would be whole, and the start after this one would not detect that one was
        // lost.
        assert!(!home.file("consensus/log").exists());
    }
    fs::rename(home.file("log"), home.file("consensus/log")).unwrap();

    let mut both = whole;
    both[60] ^= 1;
    both[60 + 4096] ^= 1;
    fs::write(&guard, &both).unwrap();
    home.run(&["db", "check", "--quick"]).fails(30, "safety_halt");
    home.run(&["node", "--rpc.port", "0", "--validator", "--allow-unencrypted"])
        .fails(30, "safety_halt");
    fs::remove_file(&guard).unwrap();
    home.run(&["db", "check", "--quick"]).fails(30, "safety_halt");
}

#[test]
fn a_secret_in_a_file_must_be_its_owners_alone() {
    let home = Home::new();
    let (password, words) = (home.file("password"), home.file("words"));
    fs::write(&password, "correct horse\n").unwrap();
    let text = "test test test test test test test test test test test junk\n";
    fs::write(&words, text).unwrap();
    let [password_text, words_text] = [&password, &words].map(|path| path.to_str().unwrap());
    let import = [
        "keys",
        "import",
        "bob",
        "--mnemonic",
        words_text,
        "--password-file",
        password_text,
    ];
    let create = ["keys", "new", "alice", "--password-file", password_text];
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o644, 0o640, 0o604] {
        chmod(&password, mode);
        let refused = home.run(&create);
        refused.fails(40, "key_or_permissions");
        let hint = format!("chmod 600 {password_text}");
        assert_eq!(refused.json["error"]["hint"], hint, "{}", refused.json);
    }
    chmod(&password, 0o400);
    let _made = home.run(&create).ok();
    chmod(&words, 0o644);
    home.run(&import).fails(40, "key_or_permissions");
    chmod(&words, 0o600);
    let link = home.file("link");
    symlink(&words, &link).unwrap();
    let mut through = import;
    through[4] = link.to_str().unwrap();
    home.run(&through).fails(40, "key_or_permissions");
    let _made = home.run(&import).ok();
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..=at.saturating_add(1)], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Number of occurrences of these bytes in the writable memory of a process; `None` when its memory may not
/// be read.
fn copies(pid: u32, bytes: &[u8]) -> Option<usize> {
    let memory = match fs::File::open(format!("/proc/{pid}/mem")) {
        Ok(memory) => memory,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            return None;
        }
    };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut found = 0usize;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next().unwrap().split_once('-').unwrap();
        if !fields.next().unwrap().starts_with("rw") {
            continue;
        }
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut part = vec![0; usize::try_from(to.saturating_sub(from)).unwrap()];
        // A region may be unmapped meanwhile; unreadable memory holds no copy.
        let read = memory.read_at(&mut part, from).unwrap_or(0);
        found = found.saturating_add(
            part[..read]
                .windows(bytes.len())
                .filter(|at| *at == bytes)
                .count(),
        );
    }
    Some(found)
}

/// The kernel shows the environment that a process was started with for as long as it lives.
#[test]
fn a_passphrase_does_not_stay_in_the_environment_of_a_node_and_no_core_is_dumped() {
    const PASSPHRASE: &str = "correct-horse-battery";
    let home = Home::devnet();
    let with = |home: &Home, arguments: &[&str]| {
        let mut command = home.command(arguments);
        command.env("VIBECOIN_PASSWORD", PASSPHRASE);
        command
    };
    // The validator's key under the passphrase, in place of the one without.
    let seed = fs::read_to_string(home.file("validator.key")).unwrap();
    let seed: serde_json::Value = serde_json::from_str(&seed).unwrap();
    let hex = home.file("seed");
    fs::write(&hex, seed["seed"].as_str().unwrap()).unwrap();
    fs::set_permissions(&hex, fs::Permissions::from_mode(0o600)).unwrap();
    let import = ["keys", "import", "validator", "--hex-file", hex.to_str().unwrap()];
    let made = with(&home, &import).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    fs::rename(home.file("keys/validator.json"), home.file("validator.key")).unwrap();

    let node = Node::start_with(&home, &["--validator"], &[("VIBECOIN_PASSWORD", PASSPHRASE)]);
    let proc = |file: &str| fs::read(format!("/proc/{}/{file}", node.pid()));
    let proc = |file: &str| String::from_utf8_lossy(&proc(file).unwrap()).into_owned();
    // Users other than root may not even read it, now that the process cannot be dumped.
    let environment = match fs::read(format!("/proc/{}/environ", node.pid())) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            "PATH=".to_owned()
        }
    };
    assert!(!environment.contains(PASSPHRASE), "{environment}");
    assert!(!environment.contains("VIBECOIN_PASSWORD="), "{environment}");
    assert!(environment.contains("PATH="), "the rest is as it was");
    assert_eq!(proc("comm").trim(), "vibecoin");
    let limits = proc("limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().filter(|word| *word == "0").count(),
        2,
        "{core}"
    );
    block(&home);
    let text = seed["seed"].as_str().unwrap().trim_start_matches("0x");
    if let Some(found) = copies(node.pid(), &unhex(text)) {
        assert_eq!(
            found, 1,
            "copies of the validator's seed in the memory of its node"
        );
        assert_eq!(copies(node.pid(), text.as_bytes()), Some(0), "and none as text");
        assert_eq!(
            copies(node.pid(), PASSPHRASE.as_bytes()),
            Some(0),
            "nor of the passphrase"
        );
    }
    assert_eq!(node.stop(), 0);

    // A wrong one is still wrong, and an empty one does not count.
    for (text, code) in [("wrong", 40), ("", 40)] {
        let mut command = home.command(&["node", "--rpc.port", "0", "--validator"]);
        let output = command.env("VIBECOIN_PASSWORD", text).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{text:?}");
    }
}

#[test]
fn a_home_whose_node_does_not_run_is_not_answered_by_another_chain() {
    let (stopped, other) = (Home::devnet(), Home::new());
    let node = Node::dev(&other);
    let port = node.address().rsplit_once(':').unwrap().1.to_owned();
    // The address of the home's node, which another one has taken.
    let config = format!("[rpc]\nport = {port}\n");
    fs::write(stopped.file("config.toml"), &config).unwrap();
    for command in [&["status"][..], &["block", "list"], &["account", "show", "rich"]] {
        stopped.run(command).fails(4, "wrong_chain");
    }
    // A node that listens at every address is asked at loopback, and at the same port.
    let everywhere = format!("[rpc]\naddr = \"0.0.0.0\"\nport = {port}\n");
    fs::write(stopped.file("config.toml"), everywhere).unwrap();
    stopped.run(&["status"]).fails(4, "wrong_chain");
    // Without a configuration the address is not known, and neither is the genesis file.
    let refused = format!("[rpc]\nport = {port}\n[node]\ngenesis = 1\n");
    fs::write(stopped.file("config.toml"), refused).unwrap();
    for left in [false, true] {
        if left {
            fs::write(stopped.file("endpoint"), node.url()).unwrap();
        }
        stopped.run(&["status"]).fails(7, "input_file_invalid");
    }
    fs::remove_file(stopped.file("endpoint")).unwrap();
    fs::write(stopped.file("config.toml"), config).unwrap();
    // Named, it may be asked.
    let _status = stopped.run(&["-u", node.url(), "status"]).ok();
    drop(node);
    let ran = stopped.run(&["status"]);
    ran.fails(3, "cannot_connect");
    assert_eq!(
        ran.json["error"]["data"]["url"],
        format!("http://127.0.0.1:{port}")
    );
}

#[test]
fn a_devnet_is_not_concerned_with_the_node_at_the_address_of_the_home() {
    let (net, other) = (Devnet::new(), Home::new());
    let home = net.scratch();
    // A home whose node does not run, and a node of another chain at the address that it would have.
    fs::copy(Home::devnet().file("genesis.toml"), home.file("genesis.toml")).unwrap();
    let at = |port: &str| fs::write(home.file("config.toml"), format!("[rpc]\nport = {port}\n")).unwrap();
    let node = Node::dev(&other);
    at(node.address().rsplit_once(':').unwrap().1);
    home.run(&["status"]).fails(4, "wrong_chain");
    for line in [
        "up -v 1 -n 1",
        "status",
        "partition 0/1",
        "heal",
        "kill-node 1",
        "start-node 1",
        "add-node",
        "load --secs 1 --tps 10 --accounts 10",
    ] {
        let _done = net.run(line).ok();
    }
    drop(node);
    // One that accepts connections and never answers: a command that queries it waits for half a minute.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let asked = || std::iter::from_fn(|| silent.accept().ok()).count();
    at(&silent.local_addr().unwrap().port().to_string());
    home.run(&["--timeout", "3", "status"])
        .fails(6, "request_timeout");
    assert_ne!(asked(), 0, "connections of `status`");
    for line in ["status", "stop-node 1", "up"] {
        let _done = net.run(line).ok();
    }
    assert_eq!(asked(), 0, "connections of the commands of the devnet");
}

#[test]
fn the_address_that_a_killed_node_left_is_not_answered_by_another_chain() {
    let (killed, other) = (Home::devnet(), Home::new());
    let mut node = Node::start(&killed, &["--validator", "--allow-unencrypted"]);
    let _status = killed.run(&["status"]).ok();
    node.kill_now();
    killed.run(&["status"]).fails(3, "cannot_connect");
    let left = fs::read_to_string(killed.file("endpoint")).unwrap();
    assert_eq!(left.trim(), node.url(), "the file that it left");
    // As if the other node had taken its port.
    let taken = Node::dev(&other);
    fs::write(killed.file("endpoint"), taken.url()).unwrap();
    for command in [&["status"][..], &["block", "list"], &["account", "show", "rich"]] {
        killed.run(command).fails(4, "wrong_chain");
    }
    // Another command may lock the home of a killed node: it is not that node.
    let lock = File::open(killed.file("LOCK")).unwrap();
    lock.lock().unwrap();
    fs::write(killed.file("LOCK"), format!("{}\n", std::process::id())).unwrap();
    killed.run(&["status"]).fails(4, "wrong_chain");
    drop((lock, taken));
    // The next node of the home writes its own address.
    let _node = Node::start(&killed, &["--validator", "--allow-unencrypted"]);
    let _status = killed.run(&["status"]).ok();
}
