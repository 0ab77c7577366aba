//! Hints, followed to the letter: each test causes errors, follows their hints, and checks that the errors
//! are gone. `node/cli/hints.md` names for every hint of the program the test that follows it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use vibecoin_tests_e2e::{Devnet, Home, Liar, Node, Ran, binary, number, secret, without_genesis};

const TABLE: &str = include_str!("../../../node/cli/hints.md");
/// Arguments of a validator's node whose keys are not encrypted.
const SIGNS: [&str; 2] = ["--validator", "--allow-unencrypted"];
const DEV_NODE: [&str; 4] = ["node", "--dev", "--rpc.port", "0"];
/// An address that no machine has.
const ELSEWHERE: &str = "203.0.113.1";

/// The rows of the table that one test follows.
struct Rows {
    waiting: RefCell<BTreeSet<String>>,
    all: Vec<String>,
}

impl Rows {
    fn of(test: &str) -> Self {
        let all: Vec<_> = TABLE
            .lines()
            .filter(|line| line.ends_with(&format!("| `{test}` |")))
            .map(|line| line[2..].split(" | ").next().unwrap().to_owned())
            .collect();
        assert!(!all.is_empty(), "no row names {test}");
        Self {
            waiting: RefCell::new(all.iter().cloned().collect()),
            all,
        }
    }

    /// The hint of a failed command; marks the rows of the table that it is composed of as used.
    fn hint(&self, ran: &Ran) -> Hint {
        assert_ne!(ran.code, 0, "{}", ran.json);
        let error = &ran.json["error"];
        let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
        // Some messages contain the remedy.
        let hint = Hint(format!("{}\n{}", text("message"), text("hint")));
        let found: Vec<_> = self.all.iter().filter(|row| is_made_of(&hint.0, row)).collect();
        assert!(
            !found.is_empty(),
            "the table has no row of this test for {}",
            ran.json
        );
        for row in found {
            self.waiting.borrow_mut().remove(row);
        }
        hint
    }

    /// The command in the text of a success; marks rows as [`Self::hint`] does.
    fn shown(&self, text: &str) -> Hint {
        let found: Vec<_> = self.all.iter().filter(|row| is_made_of(text, row)).collect();
        assert!(!found.is_empty(), "the table has no row of this test for {text}");
        for row in found {
            self.waiting.borrow_mut().remove(row);
        }
        Hint(text.to_owned())
    }

    /// Asserts that every row was used.
    fn end(self) {
        let waiting = self.waiting.into_inner();
        assert!(waiting.is_empty(), "not followed: {waiting:#?}");
    }
}

/// Returns true if a text has the parts of a row in their order: a part in braces matches anything, and
/// commands have the name by which the program was called and its options.
fn is_made_of(text: &str, row: &str) -> bool {
    let row = row
        .replace("`vibecoin devnet ", "`{} devnet{} ")
        .replace("`vibecoin ", "`{} ");
    let mut rest = text;
    for (number, part) in row.split(['{', '}']).enumerate() {
        if number % 2 == 1 {
            continue;
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The remedy that an error suggests.
struct Hint(String);

impl Hint {
    /// Checks that an option is named, and returns it.
    fn option<'a>(&self, option: &'a str) -> &'a str {
        let words = self.0.split(|c: char| c.is_whitespace() || ",;:?`".contains(c));
        assert!(
            words.into_iter().any(|word| word == option),
            "{option}: {}",
            self.0
        );
        option
    }

    /// The word behind an option.
    fn value(&self, option: &str) -> String {
        let (_, rest) = self.0.split_once(&format!("{option} ")).unwrap();
        rest.split([' ', ',', ';', '`', '\n']).next().unwrap().to_owned()
    }

    /// The commands that it contains.
    fn commands(&self) -> Vec<&str> {
        self.0.split('`').skip(1).step_by(2).collect()
    }

    /// Runs the command that has these words, with its placeholders replaced, as a shell does.
    fn follow(&self, words: &str, values: &[(&str, &str)]) -> Output {
        let commands = self.commands();
        let found = commands.iter().find(|command| command.contains(words));
        let line = *found.unwrap_or_else(|| panic!("no command {words}: {}", self.0));
        Self::run(line, values)
    }

    /// Runs one of its commands, with its placeholders replaced, as a shell does.
    fn run(line: &str, values: &[(&str, &str)]) -> Output {
        let line = line.split(' ').map(|word| {
            let value = values.iter().find(|(name, _)| *name == word);
            value.map_or(word, |(_, value)| *value)
        });
        let line = line.collect::<Vec<_>>().join(" ");
        let mut shell = Command::new("sh");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VIBECOIN_") {
                shell.env_remove(name);
            }
        }
        let output = shell.args(["-c", &line]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        output
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn copy(from: &Home) -> Home {
    let home = Home::new();
    let copied = Command::new("cp")
        .args(["-r", "--preserve=mode"])
        .arg(format!("{}/.", from.path().display()))
        .arg(home.path())
        .status()
        .unwrap();
    assert!(copied.success());
    home
}

/// Asserts that a node starts and stops.
fn starts(home: &Home, arguments: &[&str]) {
    assert_eq!(Node::start(home, arguments).stop(), 0);
}

/// Runs the program without the options of the harness.
fn bare(arguments: &[&str]) -> Ran {
    bare_in(Path::new("."), arguments)
}

/// The same in a folder.
fn bare_in(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(binary())
        .env_clear()
        .current_dir(folder)
        .args(["-o", "json"])
        .args(arguments)
        .output()
        .unwrap();
    Ran::new(arguments, &output)
}

#[test]
fn hints_about_homes_and_files() {
    let rows = Rows::of("hints_about_homes_and_files");
    let home = Home::new();
    let path = |name: &str| text(&home.file(name)).to_owned();
    fs::write(home.file("file"), "").unwrap();

    let hint = rows.hint(&bare(&["keys", "list"]));
    let _list = bare(&["keys", "list", hint.option("--home"), &path("new")]).ok();
    let hint = rows.hint(&bare(&["--home", &path("file"), "keys", "list"]));
    let _list = bare(&["keys", "list", hint.option("--home"), &path("new")]).ok();

    let _made = home.run(&["config", "init"]).ok();
    let hint = rows.hint(&home.run(&["config", "init"]));
    let _made = home.run(&["config", "init", hint.option("--overwrite")]).ok();
    let printed = home
        .command(&["config", "init", hint.option("--stdout")])
        .output()
        .unwrap();
    assert!(
        printed.status.success() && !printed.stdout.is_empty(),
        "{printed:?}"
    );

    let genesis = ["genesis", "new", "--out"];
    let hint = rows.hint(&home.run(&[&genesis[..], &[&path("file")]].concat()));
    let _made = home
        .run(&[&genesis[..], &[&path("file"), hint.option("--force")]].concat())
        .ok();
    let _made = home
        .run(&["genesis", "new", hint.option("--out"), &path("another")])
        .ok();
    let _another_place = rows.hint(&home.run(&[&genesis[..], &[&path("file/g.toml")]].concat()));
    let _made = home.run(&[&genesis[..], &[&path("place.toml")]].concat()).ok();

    let devnet = Home::devnet();
    let _a_file = rows.hint(&devnet.run(&["genesis", "validate", text(devnet.path())]));
    let _valid = devnet
        .run(&["genesis", "validate", text(&devnet.file("given.toml"))])
        .ok();

    let hint = rows.hint(&devnet.run(&["db", "stats"]));
    assert_eq!(Node::start(&devnet, &SIGNS).stop(), 0);
    let _stats = bare(&["db", "stats", hint.option("--home"), text(devnet.path())]).ok();

    let linked = Home::new();
    let init = ["init", "--validator", "--allow-unencrypted"];
    symlink("nowhere", linked.file("consensus")).unwrap();
    let make_it = rows.hint(&linked.run(&init));
    let _folder = make_it.follow("mkdir -p", &[]);
    let _made = linked.run(&init).ok();
    let linked = Home::new();
    symlink("nowhere", linked.file("consensus")).unwrap();
    let remove_it = rows.hint(&linked.run(&init));
    let _link = remove_it.follow("rm ", &[]);
    let _made = linked.run(&init).ok();

    let generate = |folder: &str| home.run(&["testnet", "generate", "-v", "1", "--out", &path(folder)]);
    let _network = generate("net").ok();
    rows.hint(&generate("net")).option("--out");
    let _network = generate("net2").ok();
    let _created = fs::create_dir(home.file("net3"));
    fs::write(home.file("net3/network.json.unfinished"), "nonsense").unwrap();
    let _another = rows.hint(&generate("net3"));
    let _network = generate("net4").ok();
    fs::remove_file(home.file("net3/network.json.unfinished")).unwrap();
    let _network = generate("net3").ok();
    rows.end();
}

#[test]
fn hints_about_keys() {
    let rows = Rows::of("hints_about_keys");
    let home = Home::new();
    let (old, new) = (secret(&home, "old", "one\n"), secret(&home, "new", "two\n"));

    let hint = rows.hint(&home.run(&["keys", "new", "a"]));
    let _made = home
        .run(&["keys", "new", "a", hint.option("--password-file"), &old])
        .ok();
    let made = home
        .command(&["keys", "new", "b"])
        .env(hint.option("VIBECOIN_PASSWORD"), "one")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");

    let shown = |output: Output| String::from_utf8(output.stdout).unwrap();
    let hint = rows.hint(&home.run(&["keys", "show", "nobody"]));
    assert!(shown(hint.follow("keys list", &[])).contains("a "));
    let _there = home.run(&["keys", "show", "a"]).ok();
    // Far enough to query a node.
    let build = |from| home.run(&["-u", "http://127.0.0.1:1", "tx", "build", "--from", from]);
    let hint = rows.hint(&build("nobody"));
    assert!(shown(hint.follow("keys list", &[])).contains("a "));
    build("a").fails(3, "cannot_connect");

    // A home that does not exist.
    let show = |home: &str| bare(&["--home", home, "keys", "show", "a"]);
    let hint = rows.hint(&show(text(&home.file("nowhere"))));
    hint.option("--home");
    let _there = show(text(home.path())).ok();

    // A wrong passphrase, and a damaged file under the right one.
    let open = |more: &[&str], variable: Option<&str>| {
        let words = [&["keys", "export", "a", "--yes"], more].concat();
        let mut command = home.command(&words);
        let output = match variable {
            Some(value) => command.env("VIBECOIN_PASSWORD", value).output(),
            None => command.output(),
        };
        Ran::new(&words, &output.unwrap())
    };
    let wrong = open(&["--password-file", &new], None);
    assert!(
        wrong.json["error"]["message"].as_str().unwrap().contains(&new),
        "{}",
        wrong.json
    );
    let hint = rows.hint(&wrong);
    let _seed = open(&[hint.option("--password-file"), &old], None).ok();
    let wrong = open(&[], Some("two"));
    let message = wrong.json["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("it came from VIBECOIN_PASSWORD"), "{message}");
    let hint = rows.hint(&wrong);
    hint.follow("unset VIBECOIN_PASSWORD", &[]);
    let _seed = open(&[hint.option("--password-file"), &old], None).ok();
    let (file, saved) = (home.file("keys/a.json"), home.file("saved"));
    fs::copy(&file, &saved).unwrap();
    let written = fs::read_to_string(&file).unwrap();
    let content: Value = serde_json::from_str(&written).unwrap();
    let sealed = content["cipher"]["ciphertext"].as_str().unwrap();
    fs::write(&file, written.replace(sealed, &format!("0x{}", "00".repeat(48)))).unwrap();
    let hint = rows.hint(&open(&["--password-file", &old], None));
    assert!(
        hint.0.ends_with("put back a copy of the key's file"),
        "{}",
        hint.0
    );
    fs::copy(&saved, &file).unwrap();
    let _seed = open(&["--password-file", &old], None).ok();

    let export = ["keys", "export", "a", "--password-file", &old];
    let hint = rows.hint(&home.run(&export));
    let _seed = home.run(&[&export[..], &[hint.option("--yes")]].concat()).ok();

    let create = ["keys", "new", "c", "--allow-unencrypted"];
    let _made = home.run(&create).ok();
    let _another_name = rows.hint(&home.run(&create));
    let _made = home.run(&["keys", "new", "d", "--allow-unencrypted"]).ok();
    fs::rename(home.file("keys/c.json"), home.file("away")).unwrap();
    let _made = home.run(&create).ok();

    let sign = ["keys", "sign", "c", "--message", "00"];
    let hint = rows.hint(&home.run(&sign));
    let _signed = home
        .run(&[&sign[..], &[hint.option("--allow-unencrypted")]].concat())
        .ok();

    let hint = rows.hint(&home.run(&["keys", "delete", "c"]));
    let _gone = home.run(&["keys", "delete", "c", hint.option("--yes")]).ok();

    let passwd = ["keys", "passwd", "a", "--password-file", &old];
    let hint = rows.hint(&home.run(&passwd));
    let _changed = home
        .run(&[&passwd[..], &[hint.option("--new-password-file"), &new]].concat())
        .ok();
    let _seed = home
        .run(&["keys", "export", "a", "--yes", "--password-file", &new])
        .ok();

    symlink("old", home.file("link")).unwrap();
    let with = |name: &str, file: &str| home.run(&["keys", "new", name, "--password-file", file]);
    let hint = rows.hint(&with("e", text(&home.file("link"))));
    let target = shown(hint.follow("readlink", &[]));
    let _made = with("e", target.trim()).ok();

    fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
    let hint = rows.hint(&with("f", &old));
    let line = hint.0.lines().last().unwrap();
    assert!(
        Command::new("sh").args(["-c", line]).status().unwrap().success(),
        "{line}"
    );
    let _made = with("f", &old).ok();
    rows.end();
}

#[test]
fn hints_about_arguments() {
    let rows = Rows::of("hints_about_arguments");
    let home = Home::new();
    let hint = rows.hint(&home.run(&["config", "list", "--colour", "never"]));
    let _other = rows.hint(&home.run(&["config", "get"]));
    let help = hint.follow("--help", &[]);
    assert!(!help.stdout.is_empty());
    let hint = rows.hint(&home.run(&["config", "show", "--colour", "never"]));
    let _shown = home
        .run(&["config", "show", hint.option("--color"), "never"])
        .ok();

    let hint = rows.hint(&home.run(&["config", "get", "rpc.prot"]));
    let all = String::from_utf8(hint.follow("config show", &[]).stdout).unwrap();
    let key = all.lines().find(|line| line.starts_with("rpc.port")).unwrap();
    let _got = home.run(&["config", "get", key.split(' ').next().unwrap()]).ok();

    fs::write(home.file("config.toml"), "[rpc]\nprot = 1\n").unwrap();
    let hint = rows.hint(&home.run(&["config", "show"]));
    let printed = hint.follow("config init --stdout", &[]).stdout;
    fs::write(home.file("config.toml"), printed).unwrap();
    let _shown = home.run(&["config", "show"]).ok();
    rows.end();
}

#[test]
fn hints_of_a_running_node() {
    let rows = Rows::of("hints_of_a_running_node");
    let home = Home::new();
    let node = Node::dev(&home);
    let file = |name: &str| text(&home.file(name)).to_owned();

    let _stranger = home.run(&["keys", "new", "stranger", "--allow-unencrypted"]).ok();
    let show = ["account", "show", "stranger"];
    let receive = rows.hint(&home.run(&show));
    let stranger = home.address("stranger");
    let _sent = receive.follow(
        "transfer",
        &[("ADDRESS", &stranger), ("AMOUNT", "1000"), ("KEY", "dev0")],
    );
    let _shown = home.run(&show).ok();

    // An address with a typo, and one of another network.
    let listed = |hint: &Hint| String::from_utf8(hint.follow("keys list", &[]).stdout).unwrap();
    let (start, last) = stranger.split_at(stranger.len() - 1);
    let typo = format!("{start}{}", if last == "q" { "p" } else { "q" });
    let hint = rows.hint(&home.run(&["account", "show", &typo]));
    assert!(listed(&hint).contains(&stranger));
    let elsewhere = of_another_network();
    let hint = rows.hint(&home.run(&["transfer", &elsewhere.address("own"), "1", "--from", "dev0"]));
    assert!(listed(&hint).contains(&stranger));
    let _sent = home.run(&["transfer", &stranger, "1", "--from", "dev0"]).ok();

    let hex = home.run(&["keys", "show", "dev1"]).ok()["publicKey"]
        .as_str()
        .unwrap()
        .to_owned();
    let transfer = ["transfer", &hex, "1", "--from", "dev0"];
    let hint = rows.hint(&home.run(&transfer));
    let _sent = home
        .run(&[&transfer[..], &[hint.option("--allow-hex")]].concat())
        .ok();

    let _file = home
        .run(&["account", "proof", "dev0", "--out", &file("proof")])
        .ok();
    // The answer names the check that suits the home.
    let fetch = |home: &Home, name: &str| {
        let mut command = Command::new(binary());
        command.env_clear().arg("--home").arg(home.path());
        command.args(["--url", node.url(), "account", "proof", &stranger, "--out", name]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let hint = rows.shown(&fetch(&home, &file("checked")));
    assert!(!hint.0.contains("--genesis"), "{}", hint.0);
    let _proven = hint.follow("proof verify", &[]);
    let hint = rows.shown(&fetch(&Home::new(), &file("checked elsewhere")));
    let _proven = hint.follow("proof verify", &[("FILE", &file("genesis.toml"))]);
    let proof = fs::read_to_string(home.file("proof")).unwrap();
    fs::write(home.file("proof"), format!(" {proof}")).unwrap();
    let verify = ["proof", "verify", &file("proof")];
    let hint = rows.hint(&home.run(&verify));
    let values = [("ADDRESS", home.address("dev0")), ("FILE", file("proof"))];
    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _fetched = hint.follow("account proof", &values);
    let _proven = home.run(&verify).ok();
    let hint = rows.hint(&Home::new().run(&verify));
    let genesis = file("genesis.toml");
    let trusted = [&verify[..], &[hint.option("--genesis"), &genesis]].concat();
    let _proven = Home::new().run(&trusted).ok();

    let block = ["rpc", "chain_getBlock"];
    let hint = rows.hint(&home.run(&[&block[..], &["{block:latest}"]].concat()));
    let quoted = hint.0.split('\'').nth(1).unwrap();
    let _block = home.run(&[&block[..], &[quoted]].concat()).ok();
    let hint = rows.hint(&home.run(&["block", "show", "1000000"]));
    let newest = String::from_utf8(hint.follow("block list", &[]).stdout).unwrap();
    let newest = newest.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    let _block = home.run(&["block", "show", newest]).ok();
    let hint = rows.hint(&home.run(&["rpc", "chain_getHaed"]));
    let methods = String::from_utf8(hint.follow("rpc_getMethods", &[]).stdout).unwrap();
    assert!(methods.contains("chain_getHead"), "{methods}");
    let _head = home.run(&["rpc", "chain_getHead"]).ok();

    let hint = rows.hint(&home.run(&["subscribe", "headers", "--from-height", "0"]));
    let count = [hint.option("--count"), "1"];
    let _first = home
        .run(&[&["subscribe", "headers", "--from-height", "0"], &count[..]].concat())
        .ok();
    hint.option("-o");
    let lines = Command::new(binary())
        .args([
            "-o",
            "ndjson",
            "--home",
            text(home.path()),
            "subscribe",
            "headers",
            "--from-height",
            "0",
        ])
        .args(count)
        .output()
        .unwrap();
    assert!(lines.status.success(), "{lines:?}");
    let hint = rows.hint(&home.run(&["subscribe", "account"]));
    let named = home.run(&["subscribe", "account", hint.option("--account"), "dev0"]);
    let message = named.json["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("stream without end"),
        "the account is known: {message}"
    );

    let build = ["tx", "build", "--from", "dev0", "--out", &file("unsigned")];
    let hint = rows.hint(&home.run(&build));
    let _built = home
        .run(&[&build[..], &[hint.option("--transfer"), "dev1=1"]].concat())
        .ok();
    let hint = rows.hint(&home.run(&["tx", "send", &file("unsigned")]));
    let values = [
        ("FILE", file("unsigned")),
        ("KEY", "dev0".to_owned()),
        ("SIGNED", file("signed")),
    ];
    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    let other_key = ["tx", "sign", &file("unsigned"), "--key", "dev1"];
    let of_the_sender = rows.hint(&home.run(&other_key));
    of_the_sender.option("--key");
    let listed = String::from_utf8(of_the_sender.follow("keys list", &[]).stdout).unwrap();
    let sender = home.address("dev0");
    let line = listed.lines().find(|line| line.contains(&sender)).unwrap();
    assert_eq!(line.split_whitespace().next(), Some("dev0"));
    let _signed = hint.follow("tx sign", &values);
    let _sent = home.run(&["tx", "send", &file("signed")]).ok();

    let signed = file("signed");
    let simulate = |more: &[&str]| home.run(&[&["tx", "simulate", &signed], more].concat());
    let hint = rows.hint(&simulate(&["--at", "0"]));
    hint.option("--at");
    // It was sent, so a simulation now returns another error.
    assert_ne!(simulate(&[]).json["error"]["reason"], "disabled");
    let hint_of_network = rows.hint(&home.run(&["peers", "list"]));

    let (_, port) = node.address().rsplit_once(':').unwrap();
    for address in [node.address(), port] {
        let hint = rows.hint(&home.run(&["-u", address, "status"]));
        assert_eq!(hint.value("--url"), node.url());
        let _status = home.run(&["status", "--url", &hint.value("--url")]).ok();
    }
    let hint = rows.hint(&home.run(&["-u", "http://127.0.0.1:many", "status"]));
    let form = hint.value("--url").replace("HOST:PORT", node.address());
    let _status = home.run(&["status", "--url", &form]).ok();
    let endpoint = fs::read_dir(home.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let written = format!("{}\n", node.url());
    let mut endpoint = endpoint.filter(|path| fs::read(path).is_ok_and(|text| text == written.as_bytes()));
    let endpoint = endpoint.next().expect("a file with the address of the node");
    fs::write(&endpoint, "nonsense").unwrap();
    let hint = rows.hint(&home.run(&["status"]));
    let _status = home.run(&["status", hint.option("--url"), node.url()]).ok();
    fs::write(&endpoint, &written).unwrap();

    let stop_it = rows.hint(&home.run(&["db", "check"]));
    let also = rows.hint(&home.run(&DEV_NODE));
    assert_eq!(also.commands(), stop_it.commands());
    also.option("--home");
    starts(&Home::new(), &["--dev"]);
    // The operator's methods, before and after the listener is up.
    let hint = rows.hint(&home.run(&["peers", "bans"]));
    let admin = hint.value("--admin.listen");
    let (mut follower, mut rest) = home.follow_headers();
    let _stopped = stop_it.follow("kill", &[]);
    assert_eq!(node.ended(), 0);
    let _checked = home.run(&["db", "check"]).ok();
    let mut last = String::new();
    rest.read_to_string(&mut last).unwrap();
    assert!(!follower.wait().unwrap().success());
    let last = last.lines().last().unwrap();
    let closed = Ran {
        code: 3,
        json: serde_json::from_str(last).unwrap(),
        stderr: String::new(),
    };
    let go_on = rows.hint(&closed).value("--from-height");
    let node = Node::start(
        &home,
        &[
            "--dev",
            "--admin.listen",
            &admin,
            "--metrics.listen",
            "127.0.0.1:0",
            "--p2p.listen",
            "/ip4/127.0.0.1/tcp/0",
        ],
    );
    // The addresses of its other listeners.
    for listener in ["admin", "metrics"] {
        let address = format!("http://{}", node.ready[listener].as_str().unwrap());
        for command in [&["status"][..], &["subscribe", "headers", "--count", "1"]] {
            let hint = rows.hint(&home.run(&[&["-u", &address], command].concat()));
            assert!(hint.0.contains("\"rpc\""), "{}", hint.0);
            let there = node.ready["rpc"].as_str().unwrap();
            let _status = home.run(&["status", hint.option("--url"), there]).ok();
            let _status = bare(&["status", hint.option("--home"), text(home.path())]).ok();
        }
    }
    let _bans = home.run(&["peers", "bans"]).ok();
    assert_eq!(hint_of_network.value("--p2p.listen"), "/ip4/127.0.0.1/tcp/0");
    let _peers = home.run(&["peers", "list"]).ok();
    let _sent = home.run(&["transfer", "dev1", "1", "--from", "dev0"]).ok();
    let next = home
        .run(&["subscribe", "headers", "--from-height", &go_on, "--count", "1"])
        .ok();
    assert_eq!(
        next[0]["header"]["height"]
            .as_str()
            .or(next[0]["height"].as_str()),
        Some(&*go_on),
        "{next}"
    );

    let id = node.ready["peerId"].as_str().map_or_else(
        || {
            home.run(&["peers", "id"]).ok()["peerId"]
                .as_str()
                .unwrap()
                .to_owned()
        },
        str::to_owned,
    );
    let hint = rows.hint(&home.run(&["peers", "unban", &id]));
    let _peers = hint.follow("peers list", &[]);
    let _bans = hint.follow("peers bans", &[]);

    // A home that knows the address of the operator's listener, and not its token.
    let other = Home::new();
    let listen = node.ready["admin"].as_str().unwrap();
    fs::write(
        other.file("config.toml"),
        format!("[admin]\nlisten = \"{listen}\"\n"),
    )
    .unwrap();
    let hint = rows.hint(&other.run(&["peers", "bans"]));
    let _other_token = secret(&other, "admin.token", &format!("{}\n", "0".repeat(64)));
    let of_that_node = rows.hint(&other.run(&["peers", "bans"]));
    let _bans = bare(&["peers", "bans", of_that_node.option("--home"), text(home.path())]).ok();
    fs::remove_file(other.file("admin.token")).unwrap();
    let flag = hint.option("--admin.listen");
    let _node = Node::start(
        &other,
        &[
            "--dev",
            flag,
            "127.0.0.1:0",
            "--p2p.listen",
            "/ip4/127.0.0.1/tcp/0",
        ],
    );
    let _bans = other.run(&["peers", "bans"]).ok();
    rows.end();
}

/// A home whose addresses have another prefix, with the key `own`.
fn of_another_network() -> Home {
    let home = Home::new();
    let made = home.run(&["init", "--validator", "--allow-unencrypted"]).ok();
    let rich = home.run(&["keys", "new", "rich", "--allow-unencrypted"]).ok();
    let (validator, rich) = (
        made["validatorKey"].as_str().unwrap(),
        rich["publicKey"].as_str().unwrap(),
    );
    let genesis = text(&home.file("given.toml")).to_owned();
    let new = [
        "genesis",
        "new",
        "--prefix",
        "other",
        "--out",
        &genesis,
        "--validator",
    ];
    let (validator, account) = (format!("{validator}=1={rich}"), format!("{rich}=1000000000000"));
    let _made = home
        .run(&[&new[..], &[&validator, "--account", &account]].concat())
        .ok();
    let _made = home.run(&["init", "--genesis", &genesis]).ok();
    let _own = home.run(&["keys", "new", "own", "--allow-unencrypted"]).ok();
    home
}

#[test]
fn hints_of_payments() {
    let rows = Rows::of("hints_of_payments");
    let home = Home::new();
    let node = Node::dev(&home);
    let genesis = text(&home.file("genesis.toml")).to_owned();
    let pay = |more: &[&str]| home.run(&[&["transfer", "dev1", "7", "--from", "dev4"], more].concat());
    let _sent = pay(&[]).ok();
    let next = || {
        let read = node.call("account_getNonce", json!({ "address": home.address("dev4") }));
        number(&read["value"]["pendingNext"])
    };

    // Transactions that the node refuses.
    let hint = rows.hint(&pay(&["--nonce", "0"]));
    let _status = hint.follow("tx status", &[]);
    hint.option("--nonce");
    let _sent = pay(&[]).ok();
    let hint = rows.hint(&pay(&["--fee", "0"]));
    hint.option("--fee");
    let _sent = pay(&[]).ok();
    let hint = rows.hint(&pay(&["--valid-for", "0"]));
    let _sent = pay(&[hint.option("--valid-for"), "100"]).ok();
    let all = u64::MAX.to_string();
    let hint = rows.hint(&home.run(&["transfer", "dev1", &all, "--from", "dev4"]));
    let shown = String::from_utf8(hint.follow("account show", &[]).stdout).unwrap();
    assert!(
        shown.contains("balance") && shown.contains(&home.address("dev4")),
        "{shown}"
    );
    let _sent = pay(&[]).ok();
    let other_chain = format!("0x{}", "11".repeat(32));
    let (unsigned, signed) = (
        text(&home.file("unsigned")).to_owned(),
        text(&home.file("signed")).to_owned(),
    );
    let build = [
        "tx",
        "build",
        "--from",
        "dev4",
        "--transfer",
        "dev1=1",
        "--out",
        &unsigned,
    ];
    let sign = [
        "tx", "sign", &unsigned, "--key", "dev4", "--out", &signed, "--force",
    ];
    let _built = home.run(&build).ok();
    let _signed = home
        .run(&[&sign[..], &["--genesis-hash", &other_chain]].concat())
        .ok();
    let again = rows.hint(&home.run(&["tx", "send", &signed]));
    let replaced = format!("{signed} --force");
    let values = [("FILE", &*unsigned), ("KEY", "dev4"), ("SIGNED", &*replaced)];
    let _signed = again.follow("tx sign", &values);
    let _sent = home.run(&["tx", "send", &signed]).ok();

    // Behind a gap: it waits, can be replaced, and is final once the gap is filled.
    let gap = next();
    let behind = (gap + 1).to_string();
    let hint = rows.hint(&pay(&["--nonce", &behind, "--timeout", "1"]));
    let hint_of_another = rows.hint(&home.run(&[
        "transfer", "dev2", "7", "--from", "dev4", "--nonce", &behind, "--wait", "mempool",
    ]));
    let _higher = home
        .run(&[
            "transfer",
            "dev2",
            "7",
            "--from",
            "dev4",
            "--nonce",
            &behind,
            "--wait",
            "mempool",
            hint_of_another.option("--fee"),
            "1000000",
        ])
        .ok();
    let _first = pay(&["--nonce", &gap.to_string()]).ok();
    let line = hint
        .commands()
        .into_iter()
        .find(|command| command.contains("tx wait"))
        .unwrap();
    let waited = Command::new("sh").args(["-c", line]).output().unwrap();
    // It was replaced: the wait has an answer other than that the payment is in a block.
    assert_eq!(waited.status.code(), Some(4), "{waited:?}");
    assert!(
        String::from_utf8_lossy(&waited.stdout).contains("replaced"),
        "{waited:?}"
    );

    // Another program has the turn.
    let turn = fs::read_dir(home.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let turns: Vec<_> = turn
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("sending-")
        })
        .collect();
    let held: Vec<_> = turns.iter().map(|path| File::open(path).unwrap()).collect();
    assert!(held.iter().all(|file| file.try_lock().is_ok()));
    let hint = rows.hint(&pay(&["--timeout", "1"]));
    hint.option("--timeout");
    drop(held);
    let _sent = pay(&[]).ok();

    // Nodes that are misidentified.
    let other = Home::new();
    let other_node = Node::dev(&other);
    let hint = rows.hint(&pay(&["--url", other_node.url()]));
    let _sent = pay(&[hint.option("--url"), node.url()]).ok();
    let unproven = Liar::start(node.address(), |method, params, node| {
        let mut answer = node(method, params);
        if method == "proof_getLightBlock" {
            answer["result"]["proof"] = json!("0x00");
        }
        answer
    });
    let hint = rows.hint(&pay(&["--url", unproven.url()]));
    let _sent = pay(&[hint.option("--url"), node.url()]).ok();
    let dear = Liar::start(node.address(), |method, params, node| {
        let mut answer = node(method, params);
        if method == "chain_getInfo" {
            answer["result"]["params"]["feeMin"] = json!("500000000000000");
        }
        answer
    });
    let full = Liar::start(node.address(), |method, params, node| {
        let mut answer = node(method, params);
        if method == "mempool_getStatus" {
            answer["result"]["count"] = answer["result"]["countMax"].clone();
            answer["result"]["minFee"] = json!("500000000");
        }
        answer
    });
    let hint = rows.hint(&pay(&["--url", full.url()]));
    let _sent = pay(&["--url", full.url(), hint.option("--fee"), "500000000"]).ok();
    let keys = without_genesis(&home);
    let pay_from = |home: &Home, url: &str, more: &[&str]| {
        let words = [
            "--url",
            url,
            "transfer",
            "dev1",
            "7",
            "--from",
            "dev4",
            "--allow-unencrypted",
        ];
        home.run(&[&words[..], more].concat())
    };
    let hint = rows.hint(&pay_from(&keys, dear.url(), &[]));
    let most = hint.value("--fee-max");
    let _made = pay_from(&keys, dear.url(), &["--dry-run", hint.option("--fee-max"), &most]).ok();
    let _placed = hint.follow("init --genesis", &[("FILE", &genesis)]);
    let _sent = pay_from(&keys, dear.url(), &[]).ok();
    // Now the home has the file, and the only bound is the caller's own.
    let hint = rows.hint(&pay_from(&keys, node.url(), &["--fee-max", "1"]));
    assert!(!hint.0.contains("init --genesis"), "{}", hint.0);
    let (_, least) = hint.0.rsplit_once("--fee-max ").unwrap();
    let least = least.split(' ').next().unwrap();
    let _sent = pay_from(&keys, node.url(), &[hint.option("--fee-max"), least]).ok();
    let refuses = Liar::start(node.address(), |method, params, node| {
        if method == "tx_submit" {
            let data = json!({ "reason": "nonce_too_low", "retryable": false });
            return json!({ "error": { "code": 1303, "message": "the nonce is used", "data": data } });
        }
        node(method, params)
    });
    let keys = without_genesis(&home);
    let refused = pay_from(&keys, refuses.url(), &[]);
    let hint = rows.hint(&refused);
    let _status = hint.follow("tx status", &[]);
    let _placed = hint.follow("init --genesis", &[("FILE", &genesis)]);
    let still = pay_from(&keys, refuses.url(), &[]);
    assert!(
        !still.json.to_string().contains("no genesis file"),
        "{}",
        still.json
    );
    rows.end();
}

#[test]
fn hints_of_a_node_that_does_not_start() {
    let rows = Rows::of("hints_of_a_node_that_does_not_start");
    let chain = Home::devnet();
    let given = text(&chain.file("given.toml")).to_owned();
    let other = Home::devnet();
    let others = text(&other.file("given.toml")).to_owned();
    let node = |home: &Home, more: &[&str]| home.run(&[&["node", "--rpc.port", "0"], more].concat());

    // Paths and addresses.
    let home = Home::new();
    fs::write(home.file("file"), "").unwrap();
    let inside = text(&home.file("file/db")).to_owned();
    let dev = |more: &[&str]| home.run(&[&DEV_NODE[..], more].concat());
    let hint = rows.hint(&dev(&["--storage.db_dir", &inside]));
    let part = hint
        .commands()
        .into_iter()
        .find(|command| command.starts_with("namei"))
        .unwrap();
    let shown = Command::new("sh").args(["-c", part]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("- "), "{shown:?}");
    let flag = hint.option("--storage.db_dir");
    starts(&home, &["--dev", flag, text(&home.file("place"))]);
    let home = Home::new();
    let dev = |more: &[&str]| home.run(&[&DEV_NODE[..], more].concat());
    let hint = rows.hint(&dev(&["--rpc.addr", ELSEWHERE]));
    starts(&home, &["--dev", hint.option("--rpc.addr"), "127.0.0.1"]);
    let hint = rows.hint(&dev(&["--metrics.listen", &format!("{ELSEWHERE}:0")]));
    starts(&home, &["--dev", hint.option("--metrics.listen"), "127.0.0.1:0"]);

    // The token of the operator.
    let admin = ["--admin.listen", "127.0.0.1:0"];
    starts(&home, &[&["--dev"], &admin[..]].concat());
    fs::set_permissions(home.file("admin.token"), Permissions::from_mode(0o644)).unwrap();
    let hint = rows.hint(&dev(&admin));
    let _closed = hint.follow("chmod", &[]);
    starts(&home, &[&["--dev"], &admin[..]].concat());

    // No node, no home.
    let empty = Home::new();
    let hint = rows.hint(&empty.run(&["status"]));
    let commands: Vec<_> = hint.commands();
    assert!(
        commands.iter().any(|line| line.ends_with(" node --dev")),
        "{commands:?}"
    );
    let running = Node::dev(&empty);
    let _status = empty.run(&["status"]).ok();
    let _status = Home::new()
        .run(&["status", hint.option("--url"), running.url()])
        .ok();
    // A home that does not exist.
    let none = text(&home.file("none")).to_owned();
    let hint = rows.hint(&bare(&["--home", &none, "status"]));
    assert!(hint.commands()[0].ends_with(" node --dev"), "{}", hint.0);
    let _status = bare(&["status", hint.option("--home"), text(empty.path())]).ok();
    // At a named address.
    let at = |option: &str, url: &str| Home::new().run(&[option, url, "status"]);
    let hint = rows.hint(&at("--url", "http://127.0.0.1:1"));
    let _status = at(hint.option("--url"), running.url()).ok();
    assert_eq!(running.stop(), 0);
    // A home of a development chain is not started as that of another, and vice versa.
    let commands = |hint: &Hint| {
        hint.commands()
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    let hint = rows.hint(&empty.run(&["status"]));
    assert!(commands(&hint)[0].ends_with(" node --dev"), "{}", hint.0);
    starts(&empty, &["--dev"]);
    let hint = rows.hint(&chain.run(&["status"]));
    assert!(commands(&hint)[0].ends_with(" node"), "{}", hint.0);
    assert_eq!(commands(&hint).len(), 1, "{}", hint.0);
    starts(&chain, &SIGNS);
    let empty = Home::new();
    let hint = rows.hint(&node(&empty, &[]));
    let _made = hint.follow("init --home", &[("FILE", &given)]);
    starts(&empty, &[]);
    // A validator: of a chain that exists, and of one of its own.
    let allowed = "--validator --allow-unencrypted -o json";
    let of_a_chain = Home::new();
    let hint = rows.hint(&node(&of_a_chain, &["--validator"]));
    let _made = hint.follow("init --home", &[("FILE", &given), ("--validator", allowed)]);
    starts(&of_a_chain, &SIGNS);
    let own = Home::new();
    let hint = rows.hint(&node(&own, &["--validator"]));
    let json = |output: Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let file = text(&own.file("own.toml")).to_owned();
    let [with_file, init, key, genesis] = hint.commands()[..] else {
        panic!("{}", hint.0);
    };
    let made = json(Hint::run(init, &[("--validator", allowed)]));
    let account = json(Hint::run(key, &[("NAME", "me --allow-unencrypted -o json")]));
    let address = account["address"].as_str().unwrap();
    let validator = format!("{}=1={address}", made["validatorKey"].as_str().unwrap());
    let funds = format!("{address}=1000000");
    let values = [
        ("KEY=1=ADDRESS", &*validator),
        ("ADDRESS=1000000", &*funds),
        ("FILE", &*file),
    ];
    let _made = Hint::run(genesis, &values);
    let _made = Hint::run(with_file, &[("FILE", &file), ("--validator", allowed)]);
    starts(&own, &SIGNS);

    // Chains.
    let hint = rows.hint(&chain.run(&["init", "--genesis", &others]));
    let another = Home::new();
    let _made = bare(&[
        "init",
        hint.option("--home"),
        text(another.path()),
        "--genesis",
        &others,
    ])
    .ok();
    let hint = rows.hint(&node(&chain, &["--genesis", &others]));
    hint.option("--home");
    starts(&another, &["--genesis", &others]);
    let hint = rows.hint(&node(&chain, &["--dev"]));
    hint.option("--dev");
    starts(&chain, &SIGNS);
    let mixed = copy(&chain);
    fs::copy(&others, mixed.file("genesis.toml")).unwrap();
    let _the_right_file = rows.hint(&node(&mixed, &SIGNS));
    fs::copy(&given, mixed.file("genesis.toml")).unwrap();
    starts(&mixed, &SIGNS);

    // Keys and guards.
    let fresh = Home::new();
    let _made = fresh.run(&["init", "--genesis", &given]).ok();
    let hint = rows.hint(&node(&fresh, &SIGNS));
    let made = hint.follow(
        "init --home",
        &[("--validator", "--validator --allow-unencrypted")],
    );
    assert!(made.status.success());
    starts(&fresh, &SIGNS);
    let lost = copy(&chain);
    fs::remove_file(lost.file("validator.key")).unwrap();
    let hint = rows.hint(&node(&lost, &SIGNS));
    fs::copy(chain.file("validator.key"), lost.file("validator.key")).unwrap();
    starts(&lost, &SIGNS);
    let another = Home::new();
    let values = [
        ("DIR", text(another.path())),
        ("--validator", "--validator --allow-unencrypted"),
    ];
    let _made = hint.follow("init --home", &values);
    let made_by_hand = Home::devnet();
    let guard = made_by_hand.file("consensus/guard");
    for left in [None, Some("")] {
        match left {
            None => fs::remove_file(&guard).unwrap(),
            Some(text) => fs::write(&guard, text).unwrap(),
        }
        let hint = rows.hint(&node(&made_by_hand, &SIGNS));
        if left.is_some() {
            let never = made_by_hand.run(&["init", "--i-know-this-key-never-signed"]);
            let _remove_it = rows.hint(&never);
            fs::remove_file(&guard).unwrap();
        }
        let _made = hint.follow("--i-know-this-key-never-signed", &[]);
        starts(&made_by_hand, &SIGNS);
    }
    let with_key = copy(&chain);
    let rewind = ["--yes", "db", "rewind", "--to", "0"];
    let hint = rows.hint(&with_key.run(&rewind));
    let _copied = hint.follow("cp -r ", &[]);
    let without_key = hint.value("--home");
    let beyond = ["--home", &without_key, "--yes", "db", "rewind", "--to", "1000000"];
    let hint = rows.hint(&bare(&beyond));
    assert!(hint.0.contains("from 0 to "), "{}", hint.0);
    let _rewound = bare(&[&beyond[..5], &[hint.option("--to"), "0"]].concat()).ok();
    fs::remove_dir_all(&without_key).unwrap();

    // A database that is damaged, and a copy of it.
    let damaged = copy(&chain);
    fs::write(damaged.file("db/CURRENT"), "nonsense").unwrap();
    let hint = rows.hint(&node(&damaged, &SIGNS));
    let line = hint
        .commands()
        .into_iter()
        .find(|command| command.ends_with("db check"))
        .unwrap();
    let checked = Command::new("sh").args(["-c", line]).output().unwrap();
    assert_eq!(checked.status.code(), Some(20), "{checked:?}");
    assert!(
        String::from_utf8_lossy(&checked.stderr).contains("CURRENT"),
        "{checked:?}"
    );
    fs::copy(chain.file("db/CURRENT"), damaged.file("db/CURRENT")).unwrap();
    starts(&damaged, &SIGNS);
    rows.end();
}

#[test]
fn hints_about_a_devnet() {
    const SMALL: &str = "up -v 1 -n 1";
    let rows = Rows::of("hints_about_a_devnet");
    let net = Devnet::new();
    let file = |name: &str| net.scratch().file("net").join(name);

    let hint = rows.hint(&net.run("stop-node 0"));
    hint.option("--dir");
    assert!(hint.commands()[0].ends_with("up"), "{:?}", hint.commands());
    // A success whose hint is beside it.
    let status = Hint(net.run("status").stderr);
    status.option("--dir");
    assert_eq!(status.commands(), hint.commands());
    let hint = rows.hint(&net.run(&format!("{SMALL} --binary /dev/null")));
    let program = binary();
    let binary = format!("{} {}", hint.option("--binary"), text(&program));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let _leave_it_out = rows.hint(&net.run(&format!("{SMALL} --base-port {port}")));
    fs::create_dir_all(file("validator-0")).unwrap();
    let away = rows.hint(&net.run(SMALL));
    let _shown = away.follow("ls -A", &[]);
    let _away = away.follow("mv ", &[]);
    let up = net.run(&format!("{SMALL} {binary}")).ok();
    assert_eq!(up["startedNodes"], 2, "{up}");

    // While it runs.
    let hint = rows.hint(&net.run("up -v 2"));
    assert!(hint.commands()[0].ends_with("destroy"), "{:?}", hint.commands());
    let _up = net.run("up").ok();
    let hint = rows.hint(&net.run("status --watch"));
    let mut watching = Command::new(&program)
        .args(["devnet", "--dir", text(&net.scratch().file("net")), "status"])
        .args([hint.option("--watch"), hint.option("-o"), "ndjson"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(watching.stdout.take().unwrap());
    assert!(lines.read_line(&mut line).unwrap() > 0);
    assert!(
        serde_json::from_str::<Value>(&line).unwrap()["nodes"].is_array(),
        "{line}"
    );
    watching.kill().unwrap();
    let _killed = watching.wait().unwrap();
    let hint = rows.hint(&net.run("partition 0"));
    assert!(hint.0.contains("0,1/2,3"));
    let _cut = net.run("partition 0/1").ok();
    let _joined = net.run("heal").ok();
    let hint = rows.hint(&net.run("stop-node 7"));
    assert!(hint.0.contains("full-0"), "{}", hint.0);
    let _stopped = net.run("stop-node full-0").ok();
    let hint = rows.hint(&net.run("load --nodes 1 --secs 1 --tps 10 --accounts 2"));
    let _started = hint.follow("start-node", &[]);
    let _load = net.run("load --nodes 1 --secs 1 --tps 10 --accounts 2").ok();
    let owner = net.run("status").json["nodes"][0]["home"]
        .as_str()
        .map(str::to_owned);
    let first = owner.unwrap_or_else(|| text(&file("validator-0")).to_owned());
    let key = bare(&["--home", &first, "keys", "show", "faucet"]).ok();
    let _bech32m = rows.hint(&net.run(&format!("faucet {} 5", key["publicKey"].as_str().unwrap())));
    // The keys of the devnet, at its node; the caller has a home of another kind.
    let hint = Hint(net.run("faucet nobody").json["error"]["hint"].to_string());
    let listed = String::from_utf8(hint.follow("keys list", &[]).stdout).unwrap();
    assert!(listed.contains("dev0 "), "{listed}");
    let sent = net
        .run(&format!("faucet {} 5", key["address"].as_str().unwrap()))
        .ok();
    // The other node has the block too before the validator stops: it supplies the nonce of the next
    // payment.
    let follower = net.state()["nodes"][1]["rpc"].as_str().unwrap().to_owned();
    let hash = sent["hash"].as_str().unwrap();
    let _there = bare(&["--url", &follower, "tx", "wait", hash]).ok();
    // Without a validator it waits in the pool of the node that has accepted it.
    let _stopped = net.run("stop-node 0").ok();
    let waits = net.run("faucet dev1 5 --timeout 1");
    waits.fails(6, "timeout");
    let hint = Hint(waits.json["error"]["hint"].as_str().unwrap().to_owned());
    let line = hint.commands().into_iter().find(|line| line.contains("tx wait"));
    let line = format!("{} --timeout 1", line.unwrap());
    let waited = Command::new("sh").args(["-c", &line]).output().unwrap();
    // It is looked up at that node, which has it; another would not know it, or not answer.
    assert_eq!(waited.status.code(), Some(6), "{line}: {waited:?}");
    let waited = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(waited.contains("it may still come"), "{waited}");
    let _started = net.run("start-node 0").ok();
    // Its node announces it to the validator, which was not running when it arrived.
    let _final = hint.follow("tx wait", &[]);

    // More nodes.
    let hint = rows.hint(&net.run("add-node --validator"));
    hint.option("--validator");
    let more = net
        .scratch()
        .run(&["keys", "new", "more", "--allow-unencrypted"])
        .ok();
    let added = format!("[accounts]\n{} = 5\n", more["address"].as_str().unwrap());
    // The parameters, from which a node of another chain would be made, and an account, which is not read
    // from the file.
    net.edit("validator-0/genesis.toml", "fee_min = ", "fee_min = 1");
    let _unedited = rows.hint(&net.run("add-node"));
    net.edit("validator-0/genesis.toml", "fee_min = 1", "fee_min = ");
    net.edit("validator-0/genesis.toml", "[accounts]\n", &added);
    // Its ports are used by another program: it gets the next ones.
    let next = net.state()["basePort"].as_u64().unwrap() + 20;
    let taken = TcpListener::bind(("127.0.0.1", u16::try_from(next).unwrap())).unwrap();
    let ran = net.run("add-node");
    let own = net.state()["nodes"][2]["ownPort"].as_u64().unwrap();
    assert!(
        own > next && ran.stderr.contains(&format!("ports from {own} on")),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.ok()["rpc"], format!("http://127.0.0.1:{own}"));
    drop(taken);
    net.edit("validator-0/genesis.toml", &added, "[accounts]\n");

    // A node without an admin listener.
    let _stopped = net.run("stop-node 1").ok();
    fs::remove_file(file("full-0/admin.token")).unwrap();
    let listen = fs::read_to_string(file("full-0/config.toml")).unwrap();
    let (_, admin) = listen.split_once("[admin]\n").unwrap();
    let line = admin
        .lines()
        .find(|line| line.starts_with("listen"))
        .unwrap()
        .to_owned();
    net.edit("full-0/config.toml", &line, &format!("#{line}"));
    let _started = net.run("start-node 1").ok();
    let hint = rows.hint(&net.run("partition 0/1"));
    assert!(hint.commands().contains(&"admin.listen"), "{:?}", hint.commands());
    let _stopped = net.run("stop-node 1").ok();
    net.edit("full-0/config.toml", &format!("#{line}"), &line);
    let _started = net.run("start-node 1").ok();
    let _cut = net.run("partition 0/1").ok();
    let _joined = net.run("heal").ok();

    // Stopped, moved to other ports, and unknown to this version.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let other_base = format!("up --base-port {}", free.clamp(20_000, 60_000));
    let hint = rows.hint(&net.run(&other_base));
    hint.option("--base-port");
    let _down = hint.follow("down", &[]);
    for line in ["faucet dev0", "add-node"] {
        let hint = rows.hint(&net.run(line));
        assert!(
            hint.commands()[0].ends_with(" up"),
            "{line}: {:?}",
            hint.commands()
        );
    }
    // A home of the devnet is not one for `vibecoin node`.
    let status = || bare(&["--home", &first, "status"]);
    let hint = rows.hint(&status());
    assert_eq!(hint.commands().len(), 1, "{}", hint.0);
    let _up = hint.follow(" up", &[]);
    let _status = status().ok();
    let _down = net.run("down").ok();
    let kept = fs::read_to_string(file("devnet.json")).unwrap();
    fs::write(file("devnet.json"), "nonsense").unwrap();
    let away = rows.hint(&net.run("status"));
    let _away = away.follow("mv ", &[]);
    fs::rename(net.scratch().file("net-damaged"), net.scratch().file("net")).unwrap();
    let mut old: Value = serde_json::from_str(&kept).unwrap();
    old["seed"] = json!("");
    fs::write(file("devnet.json"), old.to_string()).unwrap();
    let hint = rows.hint(&net.run("up"));
    let _gone = hint.follow("destroy", &[]);
    let up = net.run(SMALL).ok();
    assert_eq!(up["startedNodes"], 2, "{up}");
    let _gone = net.run("destroy").ok();
    // With a home of the devnet that is gone.
    let show = || bare(&["--home", &first, "keys", "show", "dev1"]);
    let hint = rows.hint(&show());
    let _up = hint.follow(" up", &[("up", SMALL)]);
    let _shown = show().ok();
    let _gone = net.run("destroy").ok();
    rows.end();
}

/// A port that answers as a node's port for peers does.
fn port_for_peers() -> u16 {
    use std::io::Write as _;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _gone = stream.write_all(b"\x13/multistream/1.0.0\n");
        }
    });
    port
}

#[test]
fn hints_that_lead_on() {
    let rows = Rows::of("hints_that_lead_on");
    let home = Home::devnet();
    let genesis = text(&home.file("given.toml")).to_owned();

    // A file to read: making its folder would not make it.
    let absent = home.file("no/such/proof");
    let verify = |proof: &str, genesis: &str| bare(&["proof", "verify", proof, "--genesis", genesis]);
    let hint = rows.hint(&verify(text(&absent), &genesis));
    assert!(!hint.0.contains("mkdir"), "{}", hint.0);
    let _listed = hint.follow("ls ", &[]);

    // Another listener of a node.
    let url = format!("http://127.0.0.1:{}", port_for_peers());
    let hint = rows.hint(&bare(&["-u", &url, "status"]));
    let running = Home::new();
    let node = Node::dev(&running);
    let _status = bare(&[hint.option("--url"), node.url(), "status"]).ok();

    // A folder in the place of a proof.
    let folder = verify(text(home.path()), &genesis);
    folder.fails(8, "proof_invalid");
    let hint = folder.json["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.ends_with("name a file"), "{hint}");

    // Cut short.
    let hint = rows.hint(&bare(&["-u", node.url(), "tx", "show", "0x52"]));
    assert!(hint.0.contains("64 hex digits"), "{}", hint.0);
    let hint = rows.hint(&running.run(&["account", "show", "vibet1qqqq"]));
    assert!(hint.0.contains("whole"), "{}", hint.0);

    // A proof of another chain.
    let (first, proof) = (running.file("genesis.toml"), home.file("proof"));
    let made = running.run(&["account", "proof", "dev0", "--out", text(&proof)]);
    let _made = made.ok();
    let hint = rows.hint(&verify(text(&proof), &genesis));
    let _valid = bare(&[
        "proof",
        "verify",
        text(&proof),
        hint.option("--genesis"),
        text(&first),
    ])
    .ok();

    // The keys of a devnet, and its folder.
    let net = Devnet::new();
    let _up = net.run("up -v 2 -n 0").ok();
    let dir = net.scratch().file("net").canonicalize().unwrap();
    let second = dir.join("validator-1");
    let hint = rows.hint(&bare(&["--home", text(&second), "keys", "show", "faucet"]));
    let listed = String::from_utf8(hint.follow("keys list", &[]).stdout).unwrap();
    assert!(listed.contains("faucet "), "{listed}");
    // A home that is named from within.
    let hint = rows.hint(&bare_in(&second, &["--home", ".", "keys", "show", "faucet"]));
    assert_eq!(hint.value("--home"), text(&dir.join("validator-0")));
    for inside in [&second, &dir.join("devnet.json")] {
        let refused = rows.hint(&bare(&["devnet", "--dir", text(inside), "up"]));
        assert_eq!(refused.value("--dir"), text(&dir));
        // Its answer is an empty table; the hint is beside it.
        let empty = Hint(bare(&["devnet", "--dir", text(inside), "status"]).stderr);
        assert_eq!(empty.value("--dir"), text(&dir));
        let _status = bare(&["devnet", "--dir", text(&dir), "status"]).ok();
    }
    // As it is typed in that folder.
    let refused = rows.hint(&bare_in(&dir, &["devnet", "up"]));
    assert_eq!(refused.value("--dir"), text(&dir));
    let inside = format!(
        "{} is part of the devnet in {}\n",
        text(&dir.join(".devnet")),
        text(&dir)
    );
    assert!(refused.0.starts_with(&inside), "{}", refused.0);
    assert!(!dir.join(".devnet").exists(), "a refusal leaves nothing behind");
    assert!(!second.join("lock").exists(), "a refusal leaves nothing behind");
    let hint = rows.hint(&bare(&["--home", text(&dir), "status"]));
    assert_eq!(hint.value("--home"), text(&dir.join("validator-0")));
    let _status = bare(&["--home", text(&dir.join("validator-0")), "status"]).ok();
    // A home that was in that folder before the devnet was.
    fs::create_dir(dir.join("keys")).unwrap();
    fs::set_permissions(dir.join("keys"), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(bare(&["--home", text(&dir), "keys", "list"]).ok(), json!([]));
    fs::remove_dir(dir.join("keys")).unwrap();
    let hint = rows.hint(&net.run("partition 0,1/1"));
    assert!(hint.0.contains("first group"), "{}", hint.0);
    let _cut = net.run("partition 0/1").ok();
    let _healed = net.run("heal").ok();
    rows.end();
}

/// A port that takes connections and never answers.
fn silent_port() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn hints_that_name_what_was_meant() {
    let rows = Rows::of("hints_that_name_what_was_meant");
    let home = Home::new();
    let p2p = ["--p2p.listen", "/ip4/127.0.0.1/tcp/0"];
    let node = Node::start(&home, &[&["--dev"], &p2p[..]].concat());
    let printed = |output: Output| String::from_utf8(output.stdout).unwrap();

    // A block, and a method.
    let hint = rows.hint(&home.run(&["block", "show", "head"]));
    let _listed = hint.follow("block list", &[]);
    let _block = home.run(&["block", "show", "latest"]).ok();
    let hint = rows.hint(&home.run(&["rpc", "call", "chain_getHead"]));
    let head = printed(hint.follow("rpc chain_getHead", &[]));
    assert!(head.contains("height"), "{head}");

    // A peer without its identity.
    let whole = node.ready["p2p"].as_str().unwrap();
    let (address, identity) = whole.split_once("/p2p/").unwrap();
    let follower = Home::new();
    let refused = follower.run(&[&DEV_NODE[..], &p2p, &["--p2p.peers", address]].concat());
    let hint = rows.hint(&refused);
    let own = printed(hint.follow("peers id", &[("URL", node.url())]));
    assert!(own.contains(identity), "{own}");
    starts(
        &follower,
        &[&["--dev"], &p2p[..], &["--p2p.peers", whole]].concat(),
    );

    // A node that does not answer in time: it is given up then, and not later.
    let (_silent, url) = silent_port();
    for command in [
        &["status"][..],
        &["tx", "send", "0x00"],
        &["tx", "wait", &format!("0x{}", "11".repeat(32))],
    ] {
        let late = bare(&[&["-u", &url, "--timeout", "1"], command].concat());
        late.fails(6, "request_timeout");
    }
    let slow = Liar::start(node.address(), |method, params, node| {
        std::thread::sleep(Duration::from_secs(2));
        node(method, params)
    });
    let hint = rows.hint(&bare(&["-u", slow.url(), "--timeout", "1", "status"]));
    let _status = bare(&["-u", slow.url(), hint.option("--timeout"), "30", "status"]).ok();

    // An account of a new chain.
    let account = |who: &str| bare(&["genesis", "new", "--account", &format!("{who}=5")]);
    let hint = rows.hint(&account("dev0"));
    let dir = text(home.path());
    assert!(printed(hint.follow("keys list", &[("DIR", dir)])).contains("dev0 "));
    let values = [("NAME", "mine --allow-unencrypted"), ("DIR", dir)];
    let _made = hint.follow("keys new", &values);
    for key in ["dev0", "mine"] {
        let _file = account(&home.address(key)).ok();
    }

    // A genesis file that was made once more, for a home in which nothing is stored yet.
    let (first, second) = (Home::devnet(), Home::devnet());
    let other = text(&second.file("given.toml")).to_owned();
    let init = ["init", "--genesis", &other];
    let hint = rows.hint(&first.run(&init));
    hint.option("--genesis");
    let _unchanged = first.run(&["init"]).ok();
    let _aside = hint.follow("mv ", &[]);
    let _made = first.run(&init).ok();

    // A configuration that is named and is not there, also for commands that read none.
    let absent = text(&home.file("absent.toml")).to_owned();
    for command in [
        &["version"][..],
        &["status"],
        &["keys", "list"],
        &["genesis", "new"],
    ] {
        let ran = home.run(&[&["-c", &absent], command].concat());
        ran.fails(5, "not_found");
        assert!(ran.json["error"]["hint"].is_string(), "{}", ran.json);
    }
    let _written = home.run(&["-c", &absent, "config", "init"]).ok();
    let _version = home.run(&["-c", &absent, "version"]).ok();
    rows_of_a_devnet(&rows);
    rows.end();
}

/// The rows of [`hints_that_name_what_was_meant`] about a devnet.
fn rows_of_a_devnet(rows: &Rows) {
    let net = Devnet::new();
    // The usual ports are taken, by this or by another program.
    let _usual = TcpListener::bind(("127.0.0.1", 27_100));
    let up = net.run("up -v 2 -n 0");
    assert!(up.stderr.contains(" is taken by "), "{}", up.stderr);
    let _up = up.ok();

    // Looked for in a folder inside the one where it is.
    let dir = net.scratch().file("net").canonicalize().unwrap();
    let inside = net.scratch().file("inside");
    fs::create_dir(&inside).unwrap();
    let hint = rows.hint(&bare_in(&inside, &["devnet", "--dir", "net", "stop-node", "0"]));
    assert_eq!(hint.value("--dir"), text(&dir));
    let _status = bare(&["devnet", "--dir", &hint.value("--dir"), "status"]).ok();

    // Transfers that cannot become final. More accounts each time, so that the load has to fund them first.
    let load = |accounts: u32, timeout: u32| {
        net.run(&format!(
            "load --secs 1 --tps 10 --accounts {accounts} --timeout {timeout}"
        ))
    };
    let _cut = net.run("partition 0/1").ok();
    let hint = rows.hint(&load(2, 3));
    let _healed = hint.follow("heal", &[]);
    let _load = load(2, 60).ok();
    let _stopped = net.run("stop-node 1").ok();
    let hint = rows.hint(&load(4, 3));
    let _up = hint.follow(" up", &[]);
    let _load = load(4, 60).ok();
}

#[test]
fn a_dash_is_stdout_where_a_file_is_written() {
    let home = Home::new();
    let _node = Node::dev(&home);
    let folder = tempfile::tempdir().unwrap();
    let print = |arguments: &[&str]| {
        let output = Command::new(binary())
            .env_clear()
            .current_dir(folder.path())
            .args(["--home", text(home.path())])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    };
    let proof = print(&["account", "proof", "dev0", "--out", "-"]);
    fs::write(home.file("proof"), &proof).unwrap();
    let _proven = home.run(&["proof", "verify", text(&home.file("proof"))]).ok();
    let unsigned = print(&[
        "tx",
        "build",
        "--from",
        "dev0",
        "--transfer",
        "dev1=1",
        "--out",
        "-",
    ]);
    fs::write(home.file("unsigned"), &unsigned).unwrap();
    let signed = print(&[
        "tx",
        "sign",
        text(&home.file("unsigned")),
        "--key",
        "dev0",
        "--out",
        "-",
    ]);
    let signed = String::from_utf8(signed).unwrap();
    let _sent = home.run(&["tx", "send", signed.trim()]).ok();
    let json = home.run(&["account", "proof", "dev0", "--out", "-"]).ok();
    assert!(json["text"].is_string(), "{json}");
    // A table of what was paid.
    let listed = String::from_utf8(print(&["account", "list", "--limit", "2"])).unwrap();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["address", "balance", "nonce"]
    );
    assert!(
        lines[3].starts_with("height ") && lines[4].starts_with("more: --cursor "),
        "{listed}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn hints_about_snapshots() {
    let rows = Rows::of("hints_about_snapshots");
    let home = Home::new();
    let path = |name: &str| text(&home.file(name)).to_owned();
    let node = Node::dev(&home);
    let _sent = home
        .run(&["transfer", "dev1", "1", "--from", "dev0", "--wait", "final"])
        .ok();
    assert_eq!(node.stop(), 0);
    let field = |json: &Value, name: &str| json[name].as_str().unwrap().to_owned();
    let create = ["snapshot", "create"];
    let made = home.run(&create).ok();
    let (id, folder) = (field(&made, "id"), field(&made, "path"));

    // A second one of the same block.
    let exists = rows.hint(&home.run(&create));
    let list = exists.follow("snapshot list", &[]);
    let listed = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(listed.contains(&id[..18]), "{listed}");
    let _deleted = exists.follow("snapshot delete", &[("ID", &id)]);
    let made = home.run(&create).ok();
    assert_eq!(field(&made, "id"), id);

    // Something else, and ids of none and of several.
    fs::write(home.file("file"), "no snapshot").unwrap();
    let verify = |what: &str| home.run(&["snapshot", "verify", what]);
    let none = rows.hint(&verify(&path("file")));
    let archive = path("state.vbsnap");
    let _packed = none.follow("snapshot pack", &[("ID", &id), ("FILE", &archive)]);
    let _verified = verify(&archive).ok();
    let unknown = rows.hint(&home.run(&["snapshot", "info", "123456"]));
    let _listed = unknown.follow("snapshot list", &[]);
    let dir = unknown.option("--dir");
    let parent = text(Path::new(&folder).parent().unwrap()).to_owned();
    let _info = home.run(&["snapshot", "info", &id, dir, &parent]).ok();
    fs::copy(&archive, home.file("snapshots/copy.vbsnap")).unwrap();
    let several = rows.hint(&home.run(&["snapshot", "info", &id]));
    assert!(
        several.0.contains("the name of the folder or archive"),
        "{}",
        several.0
    );
    let _info = home.run(&["snapshot", "info", "copy.vbsnap"]).ok();

    // A damaged copy, and one of another chain.
    let mut bytes = fs::read(&archive).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(home.file("damaged.vbsnap"), bytes).unwrap();
    let damaged = rows.hint(&verify(&path("damaged.vbsnap")));
    assert!(damaged.0.contains("copy the snapshot again"), "{}", damaged.0);
    fs::copy(&archive, home.file("damaged.vbsnap")).unwrap();
    let _verified = verify(&path("damaged.vbsnap")).ok();
    let other = Home::devnet();
    let foreign = rows.hint(&other.run(&["snapshot", "verify", &archive]));
    let genesis = path("genesis.toml");
    let _verified = other
        .run(&[
            "snapshot",
            "verify",
            &archive,
            foreign.option("--genesis"),
            &genesis,
        ])
        .ok();

    // Homes that are not ready for one.
    let new = Home::new();
    let restore = ["snapshot", "restore", &archive, "--into", text(new.path())];
    let init = rows.hint(&new.run(&restore));
    let _made = init.follow("init --genesis", &[("FILE", &genesis), ("PATH", &archive)]);
    let taken = rows.hint(&new.run(&restore));
    assert!(taken.0.contains("move that folder away"), "{}", taken.0);
    fs::rename(new.file("db"), new.file("old")).unwrap();
    let _restored = new.run(&restore).ok();
    let empty = Home::new();
    let from = ["init", "--snapshot", &archive];
    let which = rows.hint(&empty.run(&from));
    let _made = empty
        .run(&[&from[..], &[which.option("--genesis"), &genesis]].concat())
        .ok();

    // Sources that this version does not read.
    let remote = ["init", "--genesis", &genesis, "--snapshot"];
    let fetched = Home::new();
    let tls = rows.hint(&fetched.run(&[&remote[..], &["https://127.0.0.1:1/state.vbsnap"]].concat()));
    assert!(tls.0.contains("`curl -fo FILE URL`"), "{}", tls.0);
    let silent = rows.hint(&fetched.run(&[&remote[..], &["http://127.0.0.1:1/snapshot"]].concat()));
    assert!(silent.0.contains("`manifest`"), "{}", silent.0);
    let peers = rows.hint(&fetched.run(&[&remote[..], &["peers"]].concat()));
    // At a node of the chain, not at the one that is to start.
    let _created = peers.follow("snapshot create", &[(text(fetched.path()), text(new.path()))]);
    let _made = fetched.run(&[&remote[..], &[&*archive]].concat()).ok();
    rows.end();
}
