//! Common mistakes: texts in another Unicode form, variables that are empty, homes behind links.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vibecoin_tests_e2e::{Home, Node, binary, secret};

/// Byte order mark, which some editors put in front of a text.
const MARK: &str = "\u{feff}";

/// Puts the mark in front of a file.
fn mark(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, format!("{MARK}{text}")).unwrap();
}

fn with_password(home: &Home, arguments: &[&str], password: &str) -> (i32, Value) {
    let output = home
        .command(arguments)
        .env("VIBECOIN_PASSWORD", password)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    parsed(&output)
}

fn parsed(output: &Output) -> (i32, Value) {
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), json)
}

#[test]
fn a_passphrase_opens_in_whatever_form_the_keyboard_sends_it() {
    let home = Home::new();
    let (code, made) = with_password(&home, &["keys", "new", "a"], "caf\u{e9}");
    assert_eq!(code, 0, "{made}");
    for same in ["caf\u{e9}", "cafe\u{301}"] {
        let (code, seed) = with_password(&home, &["--yes", "keys", "export", "a"], same);
        assert_eq!(code, 0, "{same:?}: {seed}");
    }
    let (code, refused) = with_password(&home, &["--yes", "keys", "export", "a"], "cafe");
    assert_eq!(code, 40, "{refused}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let home = Home::new();
    let _node = Node::dev(&home);
    // Words.
    let made = home.run(&["keys", "new", "a", "--allow-unencrypted"]).ok();
    let words = made["mnemonic"].as_str().unwrap();
    let file = secret(&home, "words", &format!("{MARK}{words}\r\n"));
    let import = ["keys", "import", "b", "--mnemonic", &file, "--allow-unencrypted"];
    assert_eq!(home.run(&import).ok()["address"], made["address"]);
    // A passphrase.
    let file = secret(&home, "password", &format!("{MARK}one\n"));
    let _made = home.run(&["keys", "new", "c", "--password-file", &file]).ok();
    let (code, seed) = with_password(&home, &["--yes", "keys", "export", "c"], "one");
    assert_eq!(code, 0, "{seed}");
    // A transaction, unsigned and signed, and the genesis that it is signed for.
    let (unsigned, signed) = (home.file("unsigned.json"), home.file("signed.hex"));
    let (unsigned_path, signed_path) = (unsigned.to_str().unwrap(), signed.to_str().unwrap());
    let build = format!("tx build --from dev0 --transfer dev1=1 --out {unsigned_path}");
    let _written = home.line(&build).ok();
    mark(&unsigned);
    mark(&home.file("genesis.toml"));
    let sign = ["tx", "sign", unsigned_path, "--key", "dev0", "--out", signed_path];
    let _written = home.run(&sign).ok();
    mark(&signed);
    assert_eq!(home.run(&["tx", "send", signed_path]).ok()["status"], "included");
    // A configuration.
    std::fs::write(
        home.file("config.toml"),
        format!("{MARK}[node]\nmoniker = \"x\"\n"),
    )
    .unwrap();
    assert_eq!(home.run(&["config", "get", "node.moniker"]).ok()["value"], "x");
}

#[test]
fn a_new_passphrase_never_comes_from_where_the_old_one_came_from() {
    let home = Home::new();
    let (code, made) = with_password(&home, &["keys", "new", "a"], "one");
    assert_eq!(code, 0, "{made}");
    let before = std::fs::read(home.file("keys/a.json")).unwrap();
    let (code, refused) = with_password(&home, &["keys", "passwd", "a"], "one");
    assert_eq!(code, 40, "{refused}");
    assert_eq!(std::fs::read(home.file("keys/a.json")).unwrap(), before);
    let file = secret(&home, "password", "two\n");
    let passwd = ["keys", "passwd", "a", "--new-password-file", &file];
    assert_eq!(with_password(&home, &passwd, "one").0, 0);
    assert_eq!(
        with_password(&home, &["--yes", "keys", "export", "a"], "two").0,
        0
    );
}

#[test]
fn a_name_for_people_fits_on_a_line_and_is_shown() {
    let home = Home::new();
    for bad in ["", "a\nb", "a\u{202e}b", &"x".repeat(300)] {
        home.run(&["init", "--moniker", bad]).fails(2, "usage");
        assert!(
            !home.file("node.key").exists() && !home.file("config.toml").exists(),
            "{bad:?}"
        );
    }
    let _made = home.run(&["init", "--moniker", "Z\u{fc}rich 1"]).ok();
    let node = Node::dev(&home);
    assert_eq!(home.run(&["status"]).ok()["moniker"], "Z\u{fc}rich 1");
    assert_eq!(node.stop(), 0);
    let log = std::fs::read_to_string(home.file("node.log")).unwrap();
    assert!(log.contains("Z\u{fc}rich 1"), "{log}");
    home.run(&["node", "--dev", "--node.moniker", "a\nb"])
        .fails(10, "config");
}

#[test]
fn a_home_behind_a_link_is_one_home_for_every_command() {
    let (home, links) = (Home::new(), tempfile::tempdir().unwrap());
    let link = links.path().join("link");
    symlink(home.path(), &link).unwrap();
    let with_slash = format!("{}/", link.display());
    let names = [link.to_str().unwrap(), &with_slash];
    let run = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .args(["-o", "json", "--home", name])
            .args(arguments);
        parsed(&command.stdin(Stdio::null()).output().unwrap())
    };
    let _made = home.run(&["keys", "new", "a", "--allow-unencrypted"]).ok();
    for name in names {
        let (code, keys) = run(name, &["keys", "list"]);
        assert_eq!((code, &keys[0]["name"]), (0, &"a".into()), "{name}");
        let mut node = Command::new(binary())
            .env_clear()
            .args(["--home", name, "node", "--dev", "--rpc.port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(node.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert!(line.contains("ready"), "{name}: {line:?}");
        let (code, status) = run(name, &["status"]);
        assert_eq!(code, 0, "{name}: {status}");
        node.kill().unwrap();
        node.wait().unwrap();
    }
}

#[test]
fn variables_that_are_empty_count_as_not_set() {
    let home = Home::new();
    let data = home.path().to_str().unwrap();
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.env_clear().env("XDG_DATA_HOME", data);
        command.envs(variables.iter().copied()).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let empty = [
        ("VIBECOIN_HOME", ""),
        ("VIBECOIN_URL", ""),
        ("VIBECOIN_OUTPUT", ""),
    ];
    for arguments in [
        &["version"][..],
        &["keys", "new", "a", "--allow-unencrypted"],
        &["-o", "json", "keys", "show", "a"],
    ] {
        let output = run(&empty, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    assert!(home.file("vibecoin/keys/a.json").exists());
    // A set variable still counts, and is still checked.
    let output = run(&[("VIBECOIN_OUTPUT", "json")], &["version"]);
    assert!(parsed(&output).1["version"].is_string());
    assert_eq!(
        run(&[("VIBECOIN_OUTPUT", "xml")], &["version"]).status.code(),
        Some(2)
    );
    let elsewhere = home.path().join("elsewhere");
    let output = run(
        &[("VIBECOIN_HOME", elsewhere.to_str().unwrap())],
        &["keys", "new", "b", "--allow-unencrypted"],
    );
    assert!(
        output.status.success() && elsewhere.join("keys/b.json").exists(),
        "{output:?}"
    );
}

#[test]
fn a_node_that_logs_json_writes_nothing_else_and_a_quiet_one_says_nothing() {
    let home = Home::new();
    assert_eq!(Node::start(&home, &["--dev", "--log.format", "json"]).stop(), 0);
    let log = std::fs::read_to_string(home.file("node.log")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let warned = lines.iter().any(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("keys are public"))
    });
    assert!(warned, "{log}");
    let quiet = Home::new();
    assert_eq!(Node::start(&quiet, &["--dev", "-q"]).stop(), 0);
    assert_eq!(std::fs::read_to_string(quiet.file("node.log")).unwrap(), "");
}

#[test]
fn numbers_are_written_as_the_interface_writes_them() {
    let home = Home::new();
    let _node = Node::dev(&home);
    for amount in ["+5", "007", " 5", "-5", "5.0", ""] {
        home.run(&["transfer", "dev1", amount, "--from", "dev0"])
            .fails(2, "usage");
        let pair = format!("dev1={amount}");
        home.run(&["tx", "build", "--from", "dev0", "--transfer", &pair])
            .fails(2, "usage");
    }
    home.run(&["transfer", "dev1", "5", "--from", "dev0", "--nonce", "+1"])
        .fails(2, "usage");
    let address = home.address("dev1");
    let key = format!("0x{}", "11".repeat(32));
    for power in ["-1", "+1", "01", "1.5"] {
        let refused = home.line(&format!("genesis new --validator {key}={power}={address}"));
        refused.fails(2, "usage");
        let message = refused.message();
        assert!(
            message.contains("voting power") && message.contains(power),
            "{message}"
        );
    }
}
