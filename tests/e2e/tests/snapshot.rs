//! A new node from a snapshot: made by a running and by a stopped node, verified, restored, followed to the head.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vibecoin_tests_e2e::{Devnet, Home, Node, number};

/// Arguments of the validator's node: with an address for peers, and the operator's listener.
const VALIDATOR: [&str; 5] = [
    "--allow-unencrypted",
    "--p2p.listen",
    "/ip4/127.0.0.1/tcp/0",
    "--admin.listen",
    "127.0.0.1:0",
];
/// Time after which a follower that does not reach the head is a failure.
const FOLLOWS: Duration = Duration::from_secs(90);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn word<'a>(json: &'a Value, field: &str) -> &'a str {
    json[field].as_str().unwrap_or_else(|| panic!("{field}: {json}"))
}

/// Pays a new account from `rich`, and returns its address.
fn pay(home: &Home, name: &str, amount: &str) -> String {
    let made = home.run(&["keys", "new", name, "--allow-unencrypted"]).ok();
    let address = word(&made, "address").to_owned();
    let pay = [
        "transfer",
        &address,
        amount,
        "--from",
        "rich",
        "--allow-unencrypted",
    ];
    let paid = home.run(&[&pay[..], &["--wait", "final"]].concat()).ok();
    assert_eq!(paid["status"], "included", "{paid}");
    address
}

/// A home that starts from a snapshot.
fn joined(genesis: &Path, snapshot: &str) -> Home {
    let home = Home::new();
    let made = home
        .run(&["init", "--genesis", text(genesis), "--snapshot", snapshot])
        .ok();
    assert!(made["snapshot"]["height"].is_string(), "{made}");
    home
}

/// Waits until a node has a block of this height, and returns the state root of it.
fn root_at(node: &Node, height: u64) -> String {
    let begun = Instant::now();
    loop {
        // Above the head there is none, or an error.
        let header = node.try_call("chain_getHeader", json!({ "block": height.to_string() }));
        if let Some(root) = header.unwrap()["result"]["stateRoot"].as_str() {
            return root.to_owned();
        }
        let head = node.call("chain_getHead", json!({}));
        assert!(
            begun.elapsed() < FOLLOWS,
            "height {height} is not reached: {head}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Serves the files of a folder over HTTP, and returns its address.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
            let _fields = lines.find(String::is_empty);
            let body = fs::read(folder.join(path.trim_start_matches('/'))).unwrap();
            write!(
                &stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .unwrap();
            (&stream).write_all(&body).unwrap();
        }
    });
    url
}

fn head(node: &Node) -> u64 {
    number(&node.call("chain_getHead", json!({}))["height"])
}

#[test]
fn a_new_node_starts_from_a_snapshot_and_follows_to_the_head() {
    let home = Home::devnet();
    let genesis = home.file("genesis.toml");
    let validator = Node::start(&home, &VALIDATOR);
    let first = pay(&home, "first", "1001");

    // Of the running node, through the operator's listener.
    let made = home.run(&["snapshot", "create"]).ok();
    let mut fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["bytes", "chunks", "hash", "height", "id", "path", "stateRoot"]
    );
    let base = number(&made["height"]);
    assert!(base > 0);
    assert_eq!(root_at(&validator, base), word(&made, "stateRoot"));
    let path = PathBuf::from(word(&made, "path"));
    assert!(path.starts_with(home.file("snapshots")), "{path:?}");
    let verify = ["snapshot", "verify", text(&path), "--genesis", text(&genesis)];
    assert_eq!(home.run(&verify).ok()["verified"], true);
    let listed = home.run(&["snapshot", "list"]).ok();
    assert_eq!(listed, json!([made]));
    let info = home.run(&["snapshot", "info", word(&made, "id")]).ok();
    assert_eq!(info["hash"], made["hash"]);

    // Blocks above it, with changes of the state.
    let second = pay(&home, "second", "1002");
    let follower_home = joined(&genesis, text(&path));
    assert!(!follower_home.file(".db.restore").exists());
    let follower = Node::start(&follower_home, &["--p2p.peers", word(&validator.ready, "p2p")]);
    let target = head(&validator);
    assert!(target > base);
    assert_eq!(root_at(&follower, target), root_at(&validator, target));
    for (address, balance) in [(&first, "1001"), (&second, "1002")] {
        let found = follower.call("account_get", json!([address]));
        assert_eq!(found["value"]["balance"], balance, "{found}");
    }
    let earliest = number(&follower.call("chain_getInfo", json!({}))["earliest"]);
    assert_eq!(earliest, base + 1);
    let pruned = follower
        .try_call("chain_getBlock", json!({ "block": "1" }))
        .unwrap();
    assert_eq!(pruned["error"]["code"], 1103, "{pruned}");

    // It goes on after a restart, and its database is whole. A second start does not use the snapshot again.
    assert_eq!(follower.stop(), 0);
    let checked = follower_home.run(&["db", "check"]).ok();
    assert_eq!(checked["clean"], true, "{checked}");
    let third = pay(&home, "third", "1003");
    let peers = [
        "--p2p.peers",
        word(&validator.ready, "p2p"),
        "--snapshot",
        text(&path),
    ];
    let follower = Node::start(&follower_home, &peers);
    let target = head(&validator);
    assert_eq!(root_at(&follower, target), root_at(&validator, target));
    let found = follower.call("account_get", json!([third]));
    assert_eq!(found["value"]["balance"], "1003", "{found}");
    assert_eq!(follower.stop(), 0);
    assert_eq!(validator.stop(), 0);
}

#[test]
fn a_stopped_home_makes_archives_which_other_homes_restore() {
    let home = Home::devnet();
    let genesis = home.file("genesis.toml");
    let node = Node::start(&home, &VALIDATOR);
    let first = pay(&home, "first", "1001");
    assert_eq!(node.stop(), 0);
    let elsewhere = home.file("elsewhere");
    let made = home.run(&["snapshot", "create", "--dir", text(&elsewhere)]).ok();
    home.run(&["snapshot", "create", "--dir", text(&elsewhere)])
        .fails(1, "exists");
    let archive = home.file("state.vbsnap");
    let id = word(&made, "id");
    let pack = [
        "snapshot",
        "pack",
        id,
        "--out",
        text(&archive),
        "--dir",
        text(&elsewhere),
    ];
    let packed = home.run(&pack).ok();
    assert_eq!(packed["id"], made["id"]);

    // `init` first and `restore` then, and `node` with the snapshot.
    let restored = Home::new();
    let _made = restored.run(&["init", "--genesis", text(&genesis)]).ok();
    let restore = [
        "snapshot",
        "restore",
        text(&archive),
        "--into",
        text(restored.path()),
    ];
    let done = restored.run(&restore).ok();
    assert_eq!(done["hash"], made["hash"]);
    restored.run(&restore).fails(1, "exists");
    // `init` again, as after a kill behind its last step, finds it.
    let init = ["init", "--genesis", text(&genesis), "--snapshot", text(&archive)];
    assert_eq!(restored.run(&init).ok()["snapshot"]["hash"], made["hash"]);
    restored
        .run(&["--yes", "db", "rewind", "--to", "0"])
        .fails(5, "not_found");
    assert_eq!(restored.run(&["db", "check"]).ok()["height"], made["height"]);
    let started = Home::new();
    let _made = started.run(&["init", "--genesis", text(&genesis)]).ok();
    let node = Node::start(&started, &["--snapshot", text(&archive)]);
    assert_eq!(head(&node), number(&made["height"]));
    let found = node.call("account_get", json!([first]));
    assert_eq!(found["value"]["balance"], "1001", "{found}");
    assert_eq!(node.stop(), 0);
    // And over HTTP, from the folder as it is.
    let fetched = joined(&genesis, &serve(PathBuf::from(word(&made, "path"))));
    assert_eq!(fetched.run(&["db", "check"]).ok()["height"], made["height"]);
    let left = fs::read_dir(fetched.path()).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.starts_with(".snapshot")));
    let _gone = home
        .run(&["snapshot", "delete", id, "--dir", text(&elsewhere)])
        .ok();
    let left = home.run(&["snapshot", "list", "--dir", text(&elsewhere)]).ok();
    assert_eq!(left, json!([]));
}

#[test]
fn a_damaged_snapshot_is_refused_with_exit_8_and_no_home_is_left_half_made() {
    let home = Home::devnet();
    let genesis = home.file("genesis.toml");
    let node = Node::start(&home, &VALIDATOR);
    let _first = pay(&home, "first", "1001");
    assert_eq!(node.stop(), 0);
    let path = PathBuf::from(word(&home.run(&["snapshot", "create"]).ok(), "path"));
    let chunk = fs::read_dir(path.join("chunks"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&chunk).unwrap();
    for at in [0, 7, 8, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&chunk, damaged).unwrap();
        let verify = ["snapshot", "verify", text(&path), "--genesis", text(&genesis)];
        let refused = home.run(&verify);
        refused.fails(8, "snapshot_damaged");
        assert_eq!(refused.json["error"]["data"]["chunk"], 0, "{}", refused.json);
        assert!(word(&refused.json["error"], "message").contains("chunk 0"));
        let new = Home::new();
        new.run(&["init", "--genesis", text(&genesis), "--snapshot", text(&path)])
            .fails(8, "snapshot_damaged");
        assert!(!new.file("db").exists() && !new.file(".db.restore").exists());
    }
    fs::write(&chunk, whole).unwrap();

    // Of another chain.
    let other = Home::devnet();
    other
        .run(&["snapshot", "verify", text(&path)])
        .fails(8, "snapshot_untrusted");
    other
        .run(&["init", "--snapshot", text(&path)])
        .fails(8, "snapshot_untrusted");
    // The same home takes the whole one.
    let _joined = joined(&genesis, text(&path));
}

#[test]
fn a_node_that_is_added_to_a_devnet_begins_with_a_snapshot() {
    let devnet = Devnet::new();
    let _up = devnet.run("up -v 1 -n 0").ok();
    let _paid = devnet.run("faucet dev1 5").ok();
    let ran = devnet.run("add-node --from-snapshot");
    assert!(ran.stderr.contains("made a snapshot of height"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("has the verified state of height"),
        "{}",
        ran.stderr
    );
    let added = ran.ok();
    assert!(number(&added["heightAtStart"]) > 0, "{added}");
    assert!(added["atHeadAfterMs"].is_number(), "{added}");
    // The snapshot was for this node alone.
    let snapshots = devnet.scratch().file("net/validator-0/snapshots");
    assert_eq!(fs::read_dir(snapshots).unwrap().count(), 0);
    let _gone = devnet.run("destroy").ok();
    assert!(!devnet.scratch().file("net").exists());
}
