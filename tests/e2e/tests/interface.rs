//! The interface of a whole node, over its own command line and other programs.

use std::io::BufRead as _;

use serde_json::json;
use vibecoin_tests_e2e::{Home, Node, http};

#[test]
fn the_address_that_a_node_prints_is_one_that_its_commands_can_use() {
    let v6 = std::net::TcpListener::bind("[::1]:0");
    assert!(v6.is_ok(), "this test needs IPv6 on loopback: {v6:?}");
    for address in ["127.0.0.1", "0.0.0.0", "127.0.0.2", "::1", "::"] {
        let home = Home::new();
        let admin = if address.contains(':') {
            format!("[{address}]:0")
        } else {
            format!("{address}:0")
        };
        let line = format!(
            "--dev --rpc.addr {address} --rpc.hosts node.example --admin.listen {admin} --metrics.listen {admin}"
        );
        let node = Node::start(&home, &line.split(' ').collect::<Vec<_>>());
        let endpoint = std::fs::read_to_string(home.file("endpoint")).unwrap();
        assert_eq!(endpoint.trim(), node.url(), "{address}");
        assert_eq!(home.run(&["status"]).ok()["head"]["height"], "0", "{address}");
        let metrics = node.ready["metrics"].as_str().unwrap();
        assert_eq!(http::get(metrics, "/metrics").unwrap().status, 200, "{address}");
        // As at the other listeners: a name that was rebound to this machine is refused.
        for (host, status) in [("node.example:9100", 200), ("evil.example", 403)] {
            let answer = http::get_as(metrics, host, "/metrics").unwrap();
            assert_eq!(answer.status, status, "{address} {host}: {}", answer.body);
        }
        // A lone node has no network to administer, which only its admin listener can report.
        let bans = home.run(&["peers", "bans"]);
        assert_ne!(bans.code, 3, "{address}: {}", bans.json);
        assert_eq!(node.stop(), 0);
    }
}

#[test]
fn a_host_or_origin_that_would_never_match_ends_the_start() {
    let home = Home::new();
    for (key, entry) in [
        ("--rpc.hosts", "http://node.example"),
        ("--rpc.cors_origins", "explorer.example"),
    ] {
        let refused = home.run(&["node", "--dev", "--rpc.port", "0", key, entry]);
        assert_eq!(refused.code, 10, "{}", refused.json);
        let message = refused.message();
        assert!(message.contains(entry) && message.contains("rpc."), "{message}");
    }
}

#[test]
fn a_range_beyond_the_chain_is_refused_by_name_and_not_by_an_empty_list() {
    let home = Home::new();
    let _node = Node::dev(&home);
    for _ in 0..2 {
        let _block = home.run(&["transfer", "dev1", "7", "--from", "dev4"]).ok();
    }
    for range in [
        &["--from", "1", "--to", "99"][..],
        &["--from", "50"],
        &["--from", "50", "--to", "60"],
    ] {
        let listed = home.run(&[&["block", "list"], range].concat());
        assert_ne!(listed.code, 0, "{range:?}: {}", listed.json);
        assert_eq!(
            listed.json["error"]["reason"], "height_in_future",
            "{range:?}: {}",
            listed.json
        );
    }
    let reversed = home.run(&["block", "list", "--from", "2", "--to", "1"]);
    let json = &reversed.json;
    assert_eq!(json["error"]["reason"], "empty_range", "{json}");
    let listed = home.run(&["block", "list", "--from", "1", "--to", "2"]).ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    let far = ["subscribe", "headers", "--from-height", "1000", "--count", "1"];
    let far = home.run(&far);
    assert_eq!(far.json["error"]["reason"], "height_in_future", "{}", far.json);
}

#[test]
fn a_follower_of_a_node_that_stops_learns_where_to_go_on() {
    let home = Home::new();
    let node = Node::dev(&home);
    let (mut follower, mut stdout) = home.follow_headers();
    assert_eq!(node.stop(), 0);
    let mut rest = String::new();
    while stdout.read_line(&mut rest).unwrap() > 0 {}
    let ended = follower.wait().unwrap();
    assert_eq!(ended.code(), Some(3), "{rest}");
    assert!(rest.contains("subscription_shutdown"), "{rest}");
    assert!(rest.contains("--from-height 1"), "{rest}");
}

#[test]
fn callers_cannot_write_warnings_into_the_log() {
    let home = Home::new();
    let limits = ["--rpc.response_bytes_max", "1024", "--rpc.body_bytes_max", "4096"];
    let node = Node::start(&home, &[&["--dev"], &limits[..]].concat());
    for (method, params) in [
        ("sub_subscribe", json!([1])),
        ("sub_subscribe", json!({"topic": "blocks"})),
        ("sub_unsubscribe", json!([{}])),
        ("rpc.discover", json!([])),
        ("account_get", json!([7])),
    ] {
        let answer = node.try_call(method, params).unwrap();
        assert!(
            answer["error"]["data"]["reason"].is_string(),
            "{method}: {answer}"
        );
    }
    assert!(
        http::post(node.address(), b"[1,")
            .unwrap()
            .body
            .contains("parse_error")
    );
    // Above the limit of a message, in both ways of calling.
    let large = [b' '; 5000];
    for answer in [
        http::post(node.address(), &large).unwrap().body,
        http::message(node.address(), &large).unwrap(),
    ] {
        assert!(answer.contains("request_too_large"), "{answer}");
    }
    assert_eq!(node.stop(), 0);
    let log = std::fs::read_to_string(home.file("node.log")).unwrap();
    for level in ["WARN", "ERROR"] {
        assert!(!log.contains(level), "{log}");
    }
}

#[test]
fn accounts_are_listed_to_the_end_while_blocks_are_made() {
    let home = Home::new();
    let _node = Node::dev(&home);
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut command = vec!["account", "list", "--limit", "3"];
        if let Some(cursor) = &cursor {
            command.extend(["--cursor", cursor]);
        }
        let page = home.run(&command).ok();
        for account in page["value"]["items"].as_array().unwrap() {
            seen.push(account["address"].as_str().unwrap().to_owned());
        }
        cursor = page["value"]["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        let _block = home.run(&["transfer", "dev1", "7", "--from", "dev4"]).ok();
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert!(seen.len() >= 10 && seen.len() == count, "{seen:?}");
}
