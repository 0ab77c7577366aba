//! Exit codes of commands: every situation of the table in `node/cli/exit-codes.md` is produced.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vibecoin_tests_e2e::{Home, Liar, Node, binary};

const TABLE: &str = include_str!("../../../node/cli/exit-codes.md");
/// A hash that identifies nothing.
const NOBODY: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

/// A row of the table.
struct Row {
    situation: &'static str,
    code: i32,
    reason: &'static str,
}

fn rows() -> Vec<Row> {
    let mut lines = TABLE.lines().skip_while(|line| !line.starts_with("| Situation"));
    assert!(lines.next().is_some() && lines.next().is_some());
    lines
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            Row {
                situation: cells[1],
                code: cells[2].parse().unwrap(),
                reason: cells[3],
            }
        })
        .collect()
}

/// Homes for the situations of the table.
struct World {
    /// The home of a running node of a development chain.
    running: Home,
    node: Node,
    /// Proxy of that node: demands high fees, and accepts no payment.
    liar: Liar,
    /// Proxy of that node: its pool is full, and it knows every transaction.
    full: Liar,
    /// The keys of the running home, and no genesis file.
    keys: Home,
    /// The home of a chain with one validator; its node is stopped.
    stopped: Home,
    /// An empty home.
    empty: Home,
}

impl World {
    fn new() -> Self {
        let running = Home::new();
        let node = Node::dev(&running);
        let liar = Liar::start(node.address(), |method, params, node| {
            if method == "tx_submit" {
                let data = json!({ "reason": "nonce_too_low", "retryable": false });
                return json!({ "error": { "code": 1303, "message": "the nonce is used", "data": data } });
            }
            let mut answer = node(method, params);
            if method == "chain_getInfo" {
                answer["result"]["params"]["feeMin"] = json!("500000000000000");
            }
            answer
        });
        let full = Liar::start(node.address(), |method, params, node| {
            if method == "tx_getStatus" {
                return json!({ "result": { "hash": params["hash"], "status": "pending" } });
            }
            let mut answer = node(method, params);
            if method == "mempool_getStatus" {
                answer["result"]["count"] = answer["result"]["countMax"].clone();
                answer["result"]["minFee"] = json!(u64::MAX.to_string());
            }
            answer
        });
        let keys = Home::new();
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(running.file("keys")).arg(keys.path());
        assert!(copy.status().unwrap().success());
        let stopped = Home::devnet();
        assert_eq!(Node::start(&stopped, &["--allow-unencrypted"]).stop(), 0);
        let empty = Home::new();
        std::fs::write(empty.file("a file"), "a file").unwrap();
        std::fs::write(empty.file("not text"), b"\xff\xfe").unwrap();
        Self {
            running,
            node,
            liar,
            full,
            keys,
            stopped,
            empty,
        }
    }

    /// A home like that of the stopped node.
    fn copy(&self) -> Home {
        let home = Home::new();
        let copied = Command::new("cp")
            .args(["-r", "--preserve=mode"])
            .arg(format!("{}/.", self.stopped.path().display()))
            .arg(home.path())
            .status()
            .unwrap();
        assert!(copied.success());
        home
    }

    /// The command that produces the situation, and the home that it needs until it has ended.
    fn command(&self, situation: &str) -> (Command, Option<Home>) {
        let (running, empty) = (&self.running, &self.empty);
        let path = |name: &str| empty.file(name).to_str().unwrap().to_owned();
        let on = |home: &Home, arguments: &[&str]| (home.command(arguments), None);
        // The home as named here, not by the harness.
        let bare = |arguments: &[&str]| {
            let mut command = Command::new(binary());
            command.env_clear().args(["-o", "json"]).args(arguments);
            (command, None)
        };
        let keeping = |home: Home, arguments: &[&str]| {
            let command = home.command(arguments);
            (command, Some(home))
        };
        let with = |mut made: (Command, Option<Home>), name: &str, value: &str| {
            made.0.env(name, value);
            made
        };
        let node = ["node", "--rpc.port", "0", "--allow-unencrypted"];
        match situation {
            "an argument that is unknown" => on(empty, &["status", "--nonsense"]),
            "a number that is out of its bounds" => on(empty, &["block", "list", "--limit", "1001"]),
            "no home directory is given or known" => bare(&["keys", "list"]),
            "the home directory is a file" => bare(&["--home", &path("a file"), "keys", "list"]),
            "the home directory is a link that leads nowhere" => {
                symlink("nowhere", empty.file("link")).unwrap();
                bare(&["--home", &path("link"), "status"])
            }
            "a result is to be written where no file can be" => {
                on(empty, &["genesis", "new", "--out", &path("a file/genesis.toml")])
            }
            "a result is to be written over a file that is there" => {
                on(empty, &["genesis", "new", "--out", &path("a file")])
            }
            "a key name that commands would read as something else" => {
                on(empty, &["keys", "new", "--allow-unencrypted", "--", "--help"])
            }
            "no node answers" => on(empty, &["--url", "http://127.0.0.1:1", "status"]),
            "the address of the node is not valid" => on(empty, &["--url", "http://", "status"]),
            "the sender does not have the money" => on(
                running,
                &["transfer", "dev1", "18446744073709551615", "--from", "dev0"],
            ),
            "the least fee is more than the sender allows" => on(
                running,
                &["transfer", "dev1", "1", "--from", "dev0", "--fee-max", "1"],
            ),
            "the node wants a fee that is believed of no node, and there is no genesis file" => {
                let pay = ["transfer", "dev1", "1", "--from", "dev0", "--allow-unencrypted"];
                on(&self.keys, &[&["--url", self.liar.url()], &pay[..]].concat())
            }
            "the node calls a nonce taken, and proves no other transaction with it" => on(
                running,
                &[
                    "--url",
                    self.liar.url(),
                    "transfer",
                    "dev1",
                    "1",
                    "--from",
                    "dev0",
                ],
            ),
            "the node's pool is full and wants more than is paid without a typed fee" => {
                let pay = ["transfer", "dev1", "1", "--from", "dev0"];
                on(running, &[&["--url", self.full.url()], &pay[..]].concat())
            }
            "the node knows every payment that is drawn before it is sent" => {
                let pay = ["transfer", "dev1", "1", "--from", "dev0", "--fee", "1000000"];
                on(running, &[&["--url", self.full.url()], &pay[..]].concat())
            }
            "the node is of another chain than the home" => on(
                &self.stopped,
                &[
                    "--url",
                    self.node.url(),
                    "transfer",
                    "rich",
                    "1",
                    "--from",
                    "rich",
                    "--allow-unencrypted",
                ],
            ),
            "the key does not exist" => on(running, &["keys", "show", "nobody"]),
            "the key whose account is asked for does not exist" => {
                on(running, &["account", "show", "nobody"])
            }
            "the key that is to be paid does not exist" => {
                on(running, &["transfer", "nobody", "1", "--from", "dev0"])
            }
            "a genesis file is to get an account that it has" => {
                let (path, show) = (
                    running.file("genesis.toml"),
                    running.run(&["genesis", "show"]).ok(),
                );
                let account = show["accounts"][0]["address"].as_str().unwrap();
                on(
                    running,
                    &["genesis", "add-account", path.to_str().unwrap(), account, "1"],
                )
            }
            "a genesis file is to get a validator that it has" => {
                let (path, show) = (
                    running.file("genesis.toml"),
                    running.run(&["genesis", "show"]).ok(),
                );
                let validator = &show["validators"][0];
                let word = |field: &str| validator[field].as_str().unwrap();
                let path = path.to_str().unwrap();
                on(
                    running,
                    &["genesis", "add-validator", path, word("key"), "1", word("payout")],
                )
            }
            "a genesis file is to get more money than there can be" => {
                let path = running.file("genesis.toml");
                let most = u64::MAX.to_string();
                on(
                    running,
                    &["genesis", "add-account", path.to_str().unwrap(), NOBODY, &most],
                )
            }
            "the words of a key to import are not valid" => {
                let file = empty.file("words");
                std::fs::write(&file, "abandon ".repeat(11)).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
                on(empty, &["keys", "import", "a", "--mnemonic", &path("words")])
            }
            "the account does not exist" => on(running, &["account", "show", NOBODY]),
            "the transaction does not exist" => on(running, &["tx", "show", NOBODY]),
            "the file to read does not exist" => on(empty, &["genesis", "validate", "nowhere.toml"]),
            "the home has no database" => on(empty, &["db", "stats"]),
            "the wait for a transaction ended" => on(running, &["--timeout", "1", "tx", "wait", NOBODY]),
            "the genesis file is invalid" => on(empty, &["genesis", "validate", &path("a file")]),
            "the configuration of the home is invalid" => {
                let home = Home::new();
                std::fs::write(home.file("config.toml"), "[rpc]\nprot = 1\n").unwrap();
                keeping(home, &["config", "show"])
            }
            "a variable of the environment misspells a key" => {
                with(on(empty, &["config", "show"]), "VIBECOIN_RPC_PORT", "1")
            }
            "a variable of the environment is one that nothing reads" => {
                with(on(empty, &["config", "show"]), "VIBECOIN_NOPE", "1")
            }
            "the file to read is a folder" => on(empty, &["genesis", "validate", "/"]),
            "the file to read is not text" => on(empty, &["genesis", "validate", &path("not text")]),
            "a proof file proves nothing" => on(running, &["proof", "verify", &path("a file")]),
            "what is to be a snapshot is none" => on(running, &["snapshot", "verify", &path("a file")]),
            "a node runs on the home" => on(running, &["db", "check"]),
            "the node's configuration is invalid" => on(empty, &["node", "--rpc.port", "many"]),
            "the node's configuration file does not exist" => {
                on(empty, &["-c", "nowhere.toml", "node", "--dev"])
            }
            "the node's genesis file does not exist" => on(empty, &["node"]),
            "the node's database cannot be where it is named" => keeping(
                self.copy(),
                &[&node[..], &["--storage.db_dir", "/proc/self/db"]].concat(),
            ),
            "the node's consensus folder cannot be where it is named" => keeping(
                self.copy(),
                &[&node[..], &["--consensus.log_dir", "/dev/null/log"]].concat(),
            ),
            "the node's token cannot be where it is named" => {
                let more = [
                    "--admin.listen",
                    "127.0.0.1:0",
                    "--admin.token_file",
                    "/dev/null/token",
                ];
                keeping(self.copy(), &[&node[..], &more].concat())
            }
            "an address of a peer is none" => keeping(
                self.copy(),
                &[&node[..], &["--p2p.peers", "127.0.0.1:1"]].concat(),
            ),
            "the home is of another chain" => {
                let other = self.running.file("genesis.toml");
                keeping(
                    self.copy(),
                    &[&node[..], &["--genesis", other.to_str().unwrap()]].concat(),
                )
            }
            "the database is damaged" => {
                let home = self.copy();
                std::fs::write(home.file("db/CURRENT"), "nonsense").unwrap();
                keeping(home, &["db", "check"])
            }
            "the disk is full" => on(empty, &["genesis", "new", "--out", "/dev/full", "--force"]),
            "the double-sign guard is missing" => {
                let home = self.copy();
                std::fs::remove_file(home.file("consensus/guard")).unwrap();
                keeping(home, &node)
            }
            "a validator's home is to forget blocks" => {
                keeping(self.copy(), &["--yes", "db", "rewind", "--to", "0"])
            }
            "the passphrase is wrong" => {
                let home = Home::new();
                let made = home
                    .command(&["keys", "new", "a"])
                    .env("VIBECOIN_PASSWORD", "one")
                    .output()
                    .unwrap();
                assert!(made.status.success(), "{made:?}");
                with(
                    keeping(home, &["--yes", "keys", "export", "a"]),
                    "VIBECOIN_PASSWORD",
                    "two",
                )
            }
            "the passphrase of the environment is empty" => with(
                on(empty, &["keys", "new", "a", "--allow-unencrypted"]),
                "VIBECOIN_PASSWORD",
                "",
            ),
            "a secret is in a file that others can read" => {
                let file = empty.file("open");
                std::fs::write(&file, "secret").unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
                on(empty, &["keys", "new", "a", "--password-file", &path("open")])
            }
            "the validator key does not exist" => {
                let home = self.copy();
                std::fs::remove_file(home.file("validator.key")).unwrap();
                keeping(home, &node)
            }
            other => panic!("no test brings about: {other}"),
        }
    }
}

#[test]
fn every_situation_of_the_table_ends_as_the_table_says() {
    let world = World::new();
    let rows = rows();
    assert!(rows.len() > 30, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let (mut command, _home) = world.command(row.situation);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let found = (output.status.code(), json["error"]["reason"].as_str());
        if found != (Some(row.code), Some(row.reason)) {
            wrong.push(format!(
                "{}: expected {} {}, found {found:?}: {json}",
                row.situation, row.code, row.reason
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        !world.empty.file("keys/a.json").exists(),
        "no key was made without the encryption that was asked for"
    );
}
