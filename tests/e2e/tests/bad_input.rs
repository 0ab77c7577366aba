//! Bad input of every kind: each is answered with its code and reason, and the node continues.

use serde_json::{Value, json};
use vibecoin_tests_e2e::{Home, Node, http};

/// A signed transfer of one unit from dev0 to dev1, as hex.
fn signed(home: &Home, node: &Node, sign: &str, build: &str) -> String {
    let (unsigned, to, url) = (home.file("unsigned.json"), home.address("dev1"), node.url());
    let path = unsigned.display();
    let words = format!("-u {url} tx build --from dev0 --transfer {to}=1 --out {path} --force {build}");
    let _file = home.line(&words).ok();
    let signed = home.line(&format!("tx sign {path} --key dev0 {sign}")).ok();
    signed["raw"].as_str().unwrap().to_owned()
}

fn refused(answer: &Value, code: i64, reason: &str) {
    assert_eq!(
        (
            answer["error"]["code"].as_i64(),
            answer["error"]["data"]["reason"].as_str()
        ),
        (Some(code), Some(reason)),
        "{answer}"
    );
}

#[test]
fn every_bad_transaction_is_refused_with_its_code_and_the_node_goes_on() {
    let home = Home::new();
    let node = Node::dev(&home);
    let to = home.address("dev1");
    let _first = home.run(&["transfer", &to, "1", "--from", "dev0"]).ok();
    let submit = |raw: &str| node.try_call("tx_submit", json!({ "raw": raw })).unwrap();

    let other_chain = format!("0x{}", "22".repeat(32));
    let sign = format!("--genesis-hash {other_chain}");
    refused(&submit(&signed(&home, &node, &sign, "")), 1302, "wrong_chain");

    let good = signed(&home, &node, "", "");
    let flipped = format!(
        "{}{}",
        &good[..good.len() - 1],
        if good.ends_with('0') { '1' } else { '0' }
    );
    refused(&submit(&flipped), 1301, "bad_signature");

    let stale = submit(&signed(&home, &node, "", "--nonce 0"));
    refused(&stale, 1303, "nonce_too_low");
    assert_eq!(stale["error"]["data"]["expectedNonce"], "1", "{stale}");
    for (build, code, reason) in [
        ("--nonce 1000000", 1304, "nonce_too_high"),
        ("--fee 0", 1306, "fee_too_low"),
        ("--valid-for 0", 1308, "expired"),
    ] {
        refused(&submit(&signed(&home, &node, "", build)), code, reason);
    }
    let large = format!("0x{}", "00".repeat(70_000));
    refused(&submit(&large), 1307, "transaction_too_large");
    for raw in ["0x00", "00", "0x0"] {
        refused(&submit(raw), 1000, "bad_encoding");
    }

    // The same through the command line, with its exit codes.
    let send = |arguments: &[&str]| home.run(&[&["transfer"], arguments, &["--from", "dev0"]].concat());
    for (arguments, code, reason) in [
        (&["1", "--nonce", "0"][..], 4, "nonce_too_low"),
        (&["1", "--fee", "0"], 4, "fee_too_low"),
        (&["1", "--valid-for", "0"], 4, "expired"),
        (&["18446744073709551615"], 4, "insufficient_funds"),
        (&["18446744073709551616"], 2, "usage"),
        (&["0"], 2, "usage"),
    ] {
        send(&[&[to.as_str()], arguments].concat()).fails(code, reason);
    }
    send(&["nobody", "1"]).fails(5, "not_found");
    let typo = format!(
        "{}{}",
        &to[..to.len() - 1],
        if to.ends_with('q') { 'p' } else { 'q' }
    );
    send(&[&typo, "1"]).fails(2, "bad_address");
    send(&[&format!("0x{}", "33".repeat(32)), "1"]).fails(2, "bad_address");
    home.run(&["tx", "send", &flipped]).fails(4, "bad_signature");
    home.run(&["tx", "decode", &flipped]).json["signatureValid"]
        .as_bool()
        .map_or_else(|| panic!(), |valid| assert!(!valid));
    let unsigned = home.file("unsigned.json");
    home.run(&["tx", "send", unsigned.to_str().unwrap()])
        .fails(2, "not_signed");
    let unknown = home.run(&["tx", "wait", &other_chain, "--timeout", "1"]);
    unknown.fails(6, "timeout");
    assert!(
        unknown.message().contains("knows no transaction"),
        "{}",
        unknown.json
    );
    home.run(&["tx", "show", &other_chain]).fails(5, "no_transaction");
    home.run(&["rpc", "chain_getNothing"])
        .fails(2, "method_not_found");

    assert_eq!(submit(&good)["result"]["status"], "pending");
    assert_eq!(send(&[&to, "1"]).ok()["status"], "included");
    // Without a wait for the block, the pool's acknowledgment is still awaited: the next nonce depends on it.
    assert_eq!(send(&[&to, "1", "--wait", "none"]).ok()["status"], "pending");
    assert_eq!(node.stop(), 0);
}

/// A missing passphrase leaves no guard without its key behind, so that the next try succeeds.
#[test]
fn an_init_that_got_no_passphrase_can_be_repeated() {
    let home = Home::new();
    let missing = home.file("no-such-passphrase");
    let failed = home.line(&format!("init --validator --password-file {}", missing.display()));
    assert_ne!(failed.code, 0, "{}", failed.json);
    let made = home.run(&["init", "--validator", "--allow-unencrypted"]).ok();
    assert!(made["validatorKey"].is_string(), "{made}");
}

#[test]
fn every_bad_request_is_refused_and_the_node_goes_on() {
    let home = Home::new();
    let node = Node::dev(&home);
    let call = |method: &str, params: Value| node.try_call(method, params).unwrap();
    refused(&call("chain_getNothing", json!({})), -32601, "method_not_found");
    let unknown = call(
        "account_get",
        json!({ "address": home.address("dev0"), "adress": 1 }),
    );
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    assert!(unknown["error"].to_string().contains("adress"), "{unknown}");
    let bad_sum = call(
        "account_get",
        json!({ "address": "vibet14xzxave52gpv4u7y5kqalyfz697cyvutg86nvg5ypa9cygdzqaqs6uv49q" }),
    );
    refused(&bad_sum, 1001, "bad_address");
    refused(
        &call("chain_getBlock", json!({ "block": "pending" })),
        1002,
        "bad_block_reference",
    );
    refused(
        &call(
            "account_get",
            json!({ "address": home.address("dev0"), "at": 1_000_000 }),
        ),
        1101,
        "height_in_future",
    );
    let overflow = json!({ "unsigned": {
        "sender": home.address("dev0"), "nonce": 0, "fee": 1, "validUntil": 9,
        "operations": [{ "type": "transfer", "to": home.address("dev1"), "amount": "18446744073709551616" }],
    }});
    assert_eq!(call("tx_encode", overflow)["error"]["code"], -32602);

    // Ten megabytes, a thousand entries, a thousand levels, and invalid JSON.
    let big = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tx_submit\",\"params\":[\"0x{}\"]}}",
        "00".repeat(5 << 20)
    );
    let answer = http::post(node.address(), big.as_bytes()).unwrap();
    assert!(
        answer.status == 413 || answer.body.contains("error"),
        "{} {}",
        answer.status,
        &answer.body[..answer.body.len().min(300)]
    );
    let entry = json!({ "jsonrpc": "2.0", "id": 1, "method": "chain_getHead" }).to_string();
    let batch = format!("[{}]", vec![entry; 1000].join(","));
    let answer = http::post(node.address(), batch.as_bytes()).unwrap();
    assert!(
        answer.body.len() < 1000 && answer.body.contains("\"error\""),
        "{}",
        answer.body
    );
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"chain_getBlock\",\"params\":{}{}}}",
        "[".repeat(1000),
        "]".repeat(1000)
    );
    let answer = http::post(node.address(), deep.as_bytes()).unwrap();
    assert!(answer.body.contains("\"error\""), "{}", answer.body);
    let answer = http::post(node.address(), b"not json").unwrap();
    assert!(answer.body.contains("-32700"), "{}", answer.body);

    assert_eq!(node.call("chain_getHead", json!({}))["height"], "0");
    assert_eq!(home.run(&["health"]).ok()["ready"], true);
    assert_eq!(node.stop(), 0);
}
