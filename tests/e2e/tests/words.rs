//! Contents of messages: errors of arguments, hints that can be typed, waits, and the port that is in
//! use.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use vibecoin_tests_e2e::{Home, Node, binary};

/// Starts a command that waits: the process, the first line on its stderr, and the rest of it.
fn waiting(mut command: Command) -> (Child, String, BufReader<ChildStderr>) {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    (child, line, stderr)
}

#[test]
fn a_wrong_argument_is_answered_like_every_other_error() {
    let home = Home::new();
    let output = Command::new(binary())
        .args(["block", "list", "--limit", "1001"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "error: --limit is \"1001\": it is a whole number, 1 to 1000, without sign and leading zeros (usage)\n\
         hint: see `{} block list --help`\n",
        binary().display()
    );
    assert_eq!(stderr, expected);
    for line in [
        "account list --limit 0",
        "mempool list --limit -1",
        "peers list --limit x",
        "validator show 0x00 --window 1001",
        "validator schedule --count 0",
        "keys import a --mnemonic f --account 2147483648",
        "devnet load --tps 1000001",
        "subscribe headers --count 0",
    ] {
        let ran = home.run(&line.split_whitespace().collect::<Vec<_>>());
        ran.fails(2, "usage");
        let message = ran.message();
        assert!(message.contains("it is a whole number, "), "{line}: {message}");
        let hint = ran.hint();
        let help: Vec<&str> = hint.split('`').nth(1).unwrap().split(' ').collect();
        let help = Command::new(help[0]).args(&help[1..]).output().unwrap();
        assert!(help.status.success(), "{hint}: {help:?}");
    }
}

#[test]
fn a_hint_names_the_program_as_it_was_called_and_the_home_that_was_given() {
    let home = Home::new();
    let ran = home.run(&["keys", "show", "nobody"]);
    ran.fails(5, "not_found");
    let hint = ran.hint();
    let listing = format!(
        "`{} --home {} keys list`",
        binary().display(),
        home.path().display()
    );
    assert!(hint.contains(&listing), "{hint}");
    let _made = home.run(&["keys", "new", "alice", "--allow-unencrypted"]).ok();
    // Followed to the letter, from anywhere.
    let words: Vec<&str> = hint.split('`').nth(1).unwrap().split(' ').collect();
    let shown = Command::new(words[0])
        .args(&words[1..])
        .current_dir("/")
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&shown.stdout).contains("alice"),
        "{shown:?}"
    );
}

#[test]
fn the_hint_of_a_refused_genesis_is_followed_to_a_valid_one() {
    let home = Home::devnet();
    let (file, rich) = (home.file("given.toml"), home.address("rich"));
    let path = file.to_str().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once("[accounts]").unwrap();
    std::fs::write(&file, before).unwrap();
    let ran = home.run(&["genesis", "validate", path]);
    ran.fails(7, "input_file_invalid");
    let hint = ran.hint();
    let line = hint.split('`').nth(1).unwrap();
    let line = line.replace("ADDRESS", &rich).replace("AMOUNT", "5");
    let words: Vec<&str> = line.split(' ').collect();
    let added = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(added.status.success(), "{line}: {added:?}");
    let _valid = home.run(&["genesis", "validate", path]).ok();
}

#[test]
fn a_wait_for_the_keystore_says_for_whom_and_how_long() {
    let home = Home::new();
    let _made = home.run(&["keys", "new", "first", "--allow-unencrypted"]).ok();
    let keys = File::open(home.file("keys")).unwrap();
    keys.lock().unwrap();
    let command = home.command(&["keys", "new", "second", "--allow-unencrypted"]);
    let (mut waiting, line, _stderr) = waiting(command);
    let holder = format!(
        "waiting for another command that changes these keys (pid {})",
        std::process::id()
    );
    assert!(
        line.starts_with(&holder) && line.contains(" s; it has the lock "),
        "{line}"
    );
    keys.unlock().unwrap();
    assert!(waiting.wait().unwrap().success());
    assert!(home.address("second").starts_with("vibet1"));
}

#[test]
fn the_port_that_the_running_node_has_is_shown_beside_the_one_of_the_configuration() {
    let home = Home::new();
    let node = Node::dev(&home);
    let port: u64 = node.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let shown = home.run(&["config", "show", "--origin"]).ok();
    assert_eq!(shown["rpc.port"]["inUse"], port, "{shown}");
    assert_eq!(shown["rpc.port"]["value"], 8545, "{shown}");
    assert_eq!(home.run(&["config", "get", "rpc.port"]).ok()["inUse"], port);
    let output = Command::new(binary())
        .args(["config", "show", "--home"])
        .arg(home.path())
        .output()
        .unwrap();
    let line = format!(
        "rpc.port = 8545  # the node that runs here (pid {}) has {port}\n",
        node.pid()
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains(&line),
        "{output:?}"
    );
    assert_eq!(node.stop(), 0);
    assert!(home.run(&["config", "show", "--origin"]).ok()["rpc.port"]["inUse"].is_null());
}

#[test]
fn a_wait_for_a_node_says_for_what_and_how_long() {
    let home = Home::new();
    let node = Node::dev(&home);
    let read = node.call(
        "account_getNonce",
        serde_json::json!({ "address": home.address("dev0") }),
    );
    let next: u64 = read["value"]["pendingNext"].as_str().unwrap().parse().unwrap();
    let pay = |nonce: u64| {
        let nonce = nonce.to_string();
        home.command(&["transfer", "dev1", "1", "--from", "dev0", "--nonce", &nonce])
    };
    // Behind a gap no block can include it.
    let (mut behind, line, _stderr) = waiting(pay(next + 1));
    let begins = format!("waiting until the node at {} has 0x", node.url());
    assert!(
        line.starts_with(&begins) && line.ends_with(" in a block, for 1 s\n"),
        "{line}"
    );
    assert!(pay(next).output().unwrap().status.success());
    assert!(behind.wait().unwrap().success());

    // A node that accepts the call and does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (mut asking, line, _stderr) = waiting(home.command(&["--url", &url, "status"]));
    assert_eq!(line, format!("waiting for the node at {url}, for 1 s\n"));
    asking.kill().unwrap();
    asking.wait().unwrap();

    // Streams, of a chain that makes blocks on demand.
    for (words, awaited) in [
        (&["subscribe", "headers"][..], "the next block"),
        (&["block", "watch"], "the next block"),
        (
            &["subscribe", "account", "--account", "dev9"],
            "a change of this account",
        ),
        (&["subscribe", "transactions"], "the next transaction"),
    ] {
        let command = home.command(&[words, &["--count", "1"]].concat());
        let (mut following, line, _stderr) = waiting(command);
        let url = node.url();
        assert_eq!(
            line,
            format!("waiting until the node at {url} has {awaited}, for 1 s\n"),
            "{words:?}"
        );
        following.kill().unwrap();
        following.wait().unwrap();
    }
}

#[test]
fn a_variable_of_the_devnet_that_is_empty_counts_as_not_set() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(["-o", "json", "devnet"])
            .args(arguments)
            .current_dir(folder.path())
            .envs(["NODES", "DEVNET_DIR", "DEVNET_DIR_DEFAULT", "DEVNET_TYPED"].map(|name| (name, "")))
            .output()
            .unwrap();
        vibecoin_tests_e2e::Ran::new(arguments, &output)
    };
    run(&["up", "--binary", "/dev/null"]).fails(5, "not_found");
    let none = run(&["stop-node", "0"]);
    none.fails(5, "not_found");
    let hint = none.hint();
    assert!(hint.contains("devnet up`"), "{hint}");
}
