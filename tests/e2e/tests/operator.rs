//! The admin listener, the metrics for Prometheus, voting and the faucet, on a production node.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vibecoin_tests_e2e::{Home, Node, call, http};

const LISTENERS: [&str; 7] = [
    "--dev",
    "--admin.listen",
    "127.0.0.1:0",
    "--metrics.listen",
    "127.0.0.1:0",
    "--p2p.listen",
    "/ip4/127.0.0.1/tcp/0",
];

#[test]
fn the_operator_bans_and_lets_in_again_and_nobody_else_does() {
    let home = Home::new();
    let node = Node::start(&home, &LISTENERS);
    let admin = node.ready["admin"].as_str().unwrap();
    let mode = std::fs::metadata(home.file("admin.token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let shown = home.line("peers id").ok();
    let id = shown["peerId"].as_str().unwrap();
    assert_eq!(node.ready["peerId"], id);
    assert_eq!(home.run(&["peers", "list"]).ok(), json!([]));
    let _banned = home
        .run(&["peers", "ban", id, "--reason", "a drill", "--seconds", "600"])
        .ok();
    let bans = home.run(&["peers", "bans"]).ok();
    assert_eq!(
        (&bans[0]["id"], &bans[0]["reason"]),
        (&json!(id), &json!("a drill")),
        "{bans}"
    );
    let _again = home.run(&["peers", "unban", id]).ok();
    assert_eq!(home.run(&["peers", "bans"]).ok(), json!([]));
    home.run(&["peers", "unban", id]).fails(1, "admin_refused");
    home.run(&["peers", "add", "nonsense"]).fails(1, "admin_refused");

    // Without the token, with a wrong one, and at the public listener.
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "net_getBans"}).to_string();
    let refused = http::post(admin, request.as_bytes()).unwrap();
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert!(refused.body.contains("1501"), "{}", refused.body);
    let public = call(node.address(), "net_banPeer", json!([id])).unwrap();
    assert_eq!(public["error"]["code"], -32601, "{public}");
    std::fs::write(home.file("admin.token"), "00".repeat(32)).unwrap();
    home.run(&["peers", "bans"]).fails(40, "key_or_permissions");

    assert_eq!(node.stop(), 0);
    home.run(&["peers", "bans"]).fails(3, "cannot_connect");
}

#[test]
fn a_scrape_shows_everything_that_is_documented() {
    let home = Home::new();
    let node = Node::start(&home, &LISTENERS);
    let to = home.new_key("friend");
    let sent = home
        .run(&["transfer", &to, "1000", "--from", "dev0", "--wait", "final"])
        .ok();
    assert_eq!(sent["success"], true, "{sent}");
    // A metric may follow the answer by a moment: it is counted after the commit was announced.
    let figures = [
        "vibecoin_consensus_validator 1",
        "vibecoin_execution_transactions_total 1",
        "vibecoin_pool_admitted_total 1",
        "vibecoin_pool_departed_total{reason=\"included\"} 1",
        "vibecoin_rpc_calls_total{method=\"tx_submit\"} 1",
    ];
    let address = node.ready["metrics"].as_str().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let scrape = loop {
        let scrape = http::get(address, "/metrics").unwrap();
        assert_eq!(scrape.status, 200);
        let missing = figures.iter().find(|line| !scrape.body.contains(*line));
        let Some(line) = missing else { break scrape };
        assert!(Instant::now() < deadline, "{line}\n{}", scrape.body);
    };
    let documented = include_str!("../../../docs/metrics.md");
    let rows = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `vibecoin_"));
    let mut count = 0;
    for row in rows {
        let name = format!("vibecoin_{}", row.split('`').next().unwrap());
        let family = name.trim_end_matches("_total").trim_end_matches("_info");
        assert!(
            scrape.body.contains(&format!("# HELP {family} ")),
            "{name} has no help"
        );
        assert!(
            scrape.body.lines().any(|line| line.starts_with(&name)),
            "{name} has no series"
        );
        count += 1;
    }
    assert!(count > 50, "{count} figures are documented");
}

#[test]
fn voting_can_be_looked_at_and_the_faucet_pays() {
    let home = Home::new();
    let node = Node::dev(&home);
    let to = home.new_key("friend");
    let id = node.call("dev_faucet", json!([to, "777"]))["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let settled = home.run(&["tx", "wait", &id]).ok();
    assert_eq!(settled["success"], true, "{settled}");
    let account = node.call("account_getBalance", json!([to]));
    assert_eq!(account["value"]["balance"], "777", "{account}");

    let list = home.run(&["validator", "list"]).ok();
    let key = list["validators"][0]["key"].as_str().unwrap();
    let record = home.run(&["validator", "show", key]).ok();
    assert_eq!(
        (&record["proposed"], &record["uptimePermille"]),
        (&json!(1), &json!(1000)),
        "{record}"
    );
    let turns = home
        .run(&["validator", "schedule", "--from", "1", "--count", "2"])
        .ok();
    assert_eq!(
        (&turns[0]["createdBy"], &turns[1]["round"]),
        (&json!(key), &Value::Null),
        "{turns}"
    );
    let status = home.run(&["validator", "status"]).ok();
    assert_eq!(
        (&status["validator"], &status["abstaining"]),
        (&json!(key), &json!(false)),
        "{status}"
    );
    let rounds = home.run(&["validator", "status", "--rounds", "1"]).ok();
    assert_eq!(rounds["why"], "decided in round 0", "{rounds}");
    assert_eq!(rounds["rounds"][0]["precommits"]["power"], "1", "{rounds}");
    assert_eq!(rounds["rounds"][0]["body"], "valid", "{rounds}");
    home.run(&["validator", "show", "0x12"]).fails(2, "bad_encoding");
    home.run(&["peers", "list"]).fails(1, "disabled");
    let sync = node.call("node_getSyncStatus", json!([]));
    assert_eq!(
        (&sync["state"], &sync["target"]),
        (&json!("synced"), &json!("1")),
        "{sync}"
    );
}
