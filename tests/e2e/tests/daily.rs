//! Common mistakes: inputs of daily use, each with the answer that a user expects.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vibecoin_tests_e2e::{Devnet, Home, Node, balance, binary, copy, without_genesis};

/// Number of concurrent payments.
const PAYMENTS: u64 = 20;

#[test]
fn equal_payments_at_the_same_time_are_as_many_as_were_asked_for() {
    let home = Home::new();
    let _node = Node::dev(&home);
    let before = balance(&home, "dev1");
    let transfer = ["transfer", "dev1", "7", "--from", "dev4", "--allow-unencrypted"];
    let running: Vec<_> = (0..PAYMENTS)
        .map(|_| {
            home.command(&transfer)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut hashes: Vec<_> = running
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let sent: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(sent["status"], "included", "{sent}");
            sent["hash"].as_str().unwrap().to_owned()
        })
        .collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len() as u64, PAYMENTS, "each is a transaction of its own");
    assert_eq!(balance(&home, "dev1") - before, 7 * PAYMENTS);
}

#[test]
fn a_payment_from_another_home_with_the_same_key_is_another_payment() {
    let home = Home::new();
    let node = Node::dev(&home);
    // A second home with the same keys: its programs cannot take turns with those of the first.
    let other = without_genesis(&home);
    copy(&home.file("genesis.toml"), other.path());
    let before = balance(&home, "dev1");
    let transfer = |home: &Home| {
        let pay = ["transfer", "dev1", "5", "--from", "dev4", "--allow-unencrypted"];
        let mut command = home.command(&[&["--url", node.url()], &pay[..]].concat());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let running = [
        transfer(&home),
        transfer(&other),
        transfer(&home),
        transfer(&other),
    ];
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(balance(&home, "dev1") - before, 20);
}

#[test]
fn a_writer_of_a_genesis_refuses_what_the_check_refuses_and_leaves_the_file() {
    let home = Home::devnet();
    let (file, rich) = (home.file("given.toml"), home.address("rich"));
    let text = std::fs::read_to_string(&file).unwrap();
    let path = file.to_str().unwrap();
    let key = home.run(&["genesis", "show", path]).ok()["validators"][0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    // The same validator or account again, and funds that do not fit: the code of the check.
    home.run(&["genesis", "add-validator", path, &key, "1", &rich])
        .fails(7, "input_file_invalid");
    home.run(&["genesis", "add-account", path, &rich, "5"])
        .fails(7, "input_file_invalid");
    let other = home.new_key("other");
    home.run(&["genesis", "add-account", path, &other, &u64::MAX.to_string()])
        .fails(7, "input_file_invalid");
    // Zero funds are invalid in any file.
    home.run(&["genesis", "add-account", path, &other, "0"])
        .fails(2, "usage");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        text,
        "the file is untouched"
    );
    let _valid = home.run(&["genesis", "validate", path]).ok();
    // `new` runs the same check.
    let twice = format!("{key}=1={rich}");
    let out = home.file("new.toml");
    let new = format!("genesis new --out {}", out.display());
    home.line(&format!("{new} --validator {twice} --validator {twice}"))
        .fails(2, "usage");
    assert!(!out.exists());
    // A file that is not complete yet is still written.
    let _draft = home.line(&new).ok();
    let _draft = home
        .line(&format!("genesis add-account {} {rich} 5", out.display()))
        .ok();
    home.line(&new).fails(1, "exists");
    let _forced = home.line(&format!("{new} --force")).ok();
}

#[test]
fn a_result_file_that_is_there_is_replaced_only_when_asked() {
    let home = Home::new();
    let _node = Node::dev(&home);
    let (out, unsigned) = (home.file("out"), home.file("unsigned"));
    let (out, unsigned) = (out.to_str().unwrap(), unsigned.to_str().unwrap());
    let build = "tx build --from dev0 --transfer dev1=1 --out";
    let _unsigned = home.line(&format!("{build} {unsigned}")).ok();
    let sign = format!("tx sign {unsigned} --key dev0 --allow-unencrypted --out");
    for command in [build, "account proof dev0 --out", &sign] {
        let command = format!("{command} {out}");
        std::fs::write(out, "precious").unwrap();
        let refused = home.line(&command);
        refused.fails(1, "exists");
        assert!(refused.hint().contains("--force"), "{}", refused.json);
        assert_eq!(std::fs::read_to_string(out).unwrap(), "precious");
        let _written = home.line(&format!("{command} --force")).ok();
        assert_ne!(std::fs::read_to_string(out).unwrap(), "precious");
    }
}

#[test]
fn without_a_home_directory_only_what_needs_one_is_refused() {
    let home = Home::devnet();
    let genesis = home.file("genesis.toml");
    let folder = tempfile::tempdir().unwrap();
    let bare = |variables: &[(&str, &str)], arguments: &[&str]| {
        let output = Command::new(binary())
            .env_clear()
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .args(["-o", "json"])
            .args(arguments)
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), json)
    };
    for variables in [
        &[][..],
        &[("HOME", "")],
        &[("HOME", "relative")],
        &[("XDG_DATA_HOME", "")],
    ] {
        let (code, json) = bare(variables, &["keys", "new", "a", "--allow-unencrypted"]);
        assert_eq!((code, &json["error"]["reason"]), (2, &"no_home".into()), "{json}");
        for command in [
            &["version"][..],
            &["genesis", "validate", genesis.to_str().unwrap()],
        ] {
            let (code, json) = bare(variables, command);
            assert_eq!(code, 0, "{command:?}: {json}");
        }
        // The answer about a folder without a devnet: nothing runs, so the exit is 1.
        assert_eq!(
            bare(variables, &["devnet", "status", "--dir", "devnet"]),
            (1, json!({ "version": 1, "nodes": [] })),
            "{variables:?}"
        );
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was made in the current folder"
    );
}

#[test]
fn a_stream_ends_when_its_reader_is_gone() {
    let home = Home::new();
    let _node = Node::dev(&home);
    let (follower, stdout) = home.follow_headers();
    drop(stdout);
    // The next event finds no reader.
    let transfer = ["transfer", "dev1", "7", "--from", "dev4", "--allow-unencrypted"];
    let _block = home.run(&transfer).ok();
    let ended = follower.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn words_that_nobody_could_read_are_a_failure_and_say_so() {
    let home = Home::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = home
        .command(&["keys", "new", "a", "--allow-unencrypted"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(21), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("could not be written to stdout"), "{stderr}");
}

#[test]
fn a_node_whose_log_cannot_be_written_goes_on() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for log in [full, File::from(OwnedFd::from(closed))] {
        let home = Home::new();
        let node = Node::start_with_log(&home, &["--dev", "--log.filter", "debug"], log);
        let transfer = ["transfer", "dev1", "7", "--from", "dev4", "--allow-unencrypted"];
        let sent = home.run(&transfer).ok();
        assert_eq!(sent["status"], "included", "{sent}");
        assert_eq!(node.stop(), 0);
    }
}

#[test]
fn a_refused_second_node_touches_nothing_of_the_first() {
    let home = Home::new();
    let node = Node::dev(&home);
    let endpoint = std::fs::read_to_string(home.file("endpoint")).unwrap();
    home.run(&["node", "--dev", "--rpc.port", "0"]).fails(9, "locked");
    assert_eq!(std::fs::read_to_string(home.file("endpoint")).unwrap(), endpoint);
    let _answers = home.run(&["status"]).ok();
    assert_eq!(node.stop(), 0);
    assert!(!home.file("endpoint").exists(), "the first takes its file along");
}

#[test]
fn a_load_runs_at_once_on_a_devnet_that_has_just_started() {
    let net = Devnet::new();
    // Its blocks follow each other so closely that the state of one is pruned soon after it was
    // named.
    let up = net.run("up -v 4 -n 0 --profile bench").ok();
    assert_eq!(up["startedNodes"], 4, "{up}");
    let load = net.run("load --secs 1 --tps 20 --accounts 8").ok();
    assert!(load["sent"].as_u64().unwrap() > 0, "{load}");
    assert_eq!(load["included"], load["sent"], "{load}");
    assert_eq!(load["allFinal"], true, "{load}");
}
