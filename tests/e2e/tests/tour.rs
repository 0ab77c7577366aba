//! The tour of the README, and the failures that it must not have.

use serde_json::json;
use vibecoin_tests_e2e::{Home, Node};

#[test]
fn a_transfer_becomes_a_proven_balance_and_the_store_is_clean() {
    let home = Home::new();
    let node = Node::dev(&home);
    assert_eq!(node.ready["chainId"], "dev");
    let to = home.new_key("stranger");
    let before = home.file("absent.json");
    let genesis = home.file("genesis.toml");
    let (before, genesis) = (before.to_str().unwrap(), genesis.to_str().unwrap());

    home.run(&["account", "show", &to]).fails(5, "no_account");
    let _file = home.run(&["account", "proof", &to, "--out", before]).ok();
    let absent = home.run(&["proof", "verify", before, "--genesis", genesis]).ok();
    assert!(
        absent["account"].is_null() && absent["facts"][0]["value"].is_null(),
        "{absent}"
    );

    // By address alone, with nothing but the URL and the home: the outside contract.
    let url = node.url();
    let sent = home
        .line(&format!("-u {url} transfer {to} 1000 --from dev0 --wait final"))
        .ok();
    assert_eq!(
        (&sent["status"], &sent["success"]),
        (&json!("included"), &json!(true)),
        "{sent}"
    );
    for field in ["hash", "height", "fee"] {
        assert!(sent[field].is_string(), "{field} in {sent}");
    }
    let hash = sent["hash"].as_str().unwrap();
    let shown = home.run(&["account", "show", &to]).ok();
    assert_eq!(shown["value"]["balance"], "1000");
    assert_eq!(home.run(&["tx", "show", hash]).ok()["hash"], hash);
    assert_eq!(home.run(&["tx", "status", hash]).ok()["status"], "included");
    assert_eq!(
        home.run(&["block", "show", sent["height"].as_str().unwrap()])
            .ok()["transactions"][0],
        hash
    );
    assert_eq!(home.run(&["poh", "verify"]).ok()["valid"], true);
    assert_eq!(home.run(&["health"]).ok()["ready"], true);
    let status = home.run(&["status"]).ok();
    assert_eq!(status["head"]["height"], sent["height"]);

    let proof = home.file("proof.json");
    let proof = proof.to_str().unwrap();
    let _file = home.run(&["account", "proof", &to, "--out", proof]).ok();
    home.run(&["db", "check"]).fails(9, "locked");
    assert_eq!(node.stop(), 0);

    // From here on no node is queried.
    let proven = home.run(&["proof", "verify", proof, "--genesis", genesis]).ok();
    assert_eq!(proven["account"]["balance"], "1000", "{proven}");
    assert_eq!(proven["address"], to);
    let hashed = home.run(&["genesis", "hash", genesis]).ok();
    let hash = hashed["genesisHash"].as_str().unwrap();
    let _pinned = home
        .line(&format!(
            "proof verify {proof} --genesis {genesis} --genesis-hash {hash}"
        ))
        .ok();
    let other = format!("0x{}", "11".repeat(32));
    home.line(&format!(
        "proof verify {proof} --genesis {genesis} --genesis-hash {other}"
    ))
    .fails(8, "other_chain");
    let nobody = home.run(&["-u", "http://127.0.0.1:1", "status"]);
    nobody.fails(3, "cannot_connect");
    assert_eq!(nobody.json["error"]["data"]["url"], "http://127.0.0.1:1");
    home.run(&["status"]).fails(3, "cannot_connect");
    let checked = home.run(&["db", "check"]).ok();
    assert_eq!(
        (&checked["clean"], &checked["fault"]),
        (&json!(true), &json!(null)),
        "{checked}"
    );

    // It restarts unchanged.
    let node = Node::dev(&home);
    assert_eq!(node.ready["height"], status["head"]["height"]);
    assert_eq!(
        node.call("account_get", json!({ "address": to }))["value"]["balance"],
        "1000"
    );
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_proof_with_any_byte_changed_proves_nothing() {
    let home = Home::new();
    let node = Node::dev(&home);
    let to = home.address("dev1");
    let _sent = home.run(&["transfer", &to, "7", "--from", "dev0"]).ok();
    let proof = home.file("proof.json");
    let path = proof.to_str().unwrap();
    let _file = home.run(&["account", "proof", &to, "--out", path]).ok();
    assert_eq!(node.stop(), 0);
    let good = std::fs::read(&proof).unwrap();
    let verify = |bytes: &[u8]| {
        std::fs::write(&proof, bytes).unwrap();
        home.run(&["proof", "verify", path])
    };
    let _good = verify(&good).ok();
    // Every 37th byte: head, middle, tail and both kinds of hex digits, in about fifty runs.
    for at in (0..good.len())
        .step_by(37)
        .chain([1, good.len() - 1, good.len() - 2])
    {
        let mut bad = good.clone();
        bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
        verify(&bad).fails(8, "proof_invalid");
    }
    for bad in [
        &good[..good.len() - 1],
        &good[1..],
        &[&good[..], b"\n"].concat(),
        b"",
        b"\xff\xfe",
        &good.to_ascii_uppercase(),
    ] {
        verify(bad).fails(8, "proof_invalid");
    }
    let laid_out_anew = String::from_utf8(good).unwrap().replace(':', ": ");
    let refused = verify(laid_out_anew.as_bytes());
    let told = format!("{}{}", refused.json, refused.stderr);
    assert!(told.contains("must be fetched again"), "{told}");
    home.run(&["proof", "verify", "no-such-file"])
        .fails(5, "not_found");
}

#[test]
fn a_home_made_by_init_validates_stops_and_comes_back() {
    let home = Home::devnet();
    let node = Node::start(&home, &["--allow-unencrypted"]);
    let to = home.new_key("poor");
    let send = ["transfer", &to, "5", "--from", "rich", "--allow-unencrypted"];
    let first = home.run(&send).ok();
    assert_eq!(first["status"], "included");
    let second = Home::new();
    let taken = second.run(&["transfer", &to, "5", "--from", "rich", "-u", node.url()]);
    assert_eq!(taken.code, 5, "another home has other keys: {}", taken.json);
    assert_eq!(node.stop(), 0);
    let node = Node::start(&home, &["--allow-unencrypted"]);
    assert_eq!(home.run(&send).ok()["status"], "included");
    assert_eq!(node.call("account_get", json!([to]))["value"]["balance"], "10");
    assert_eq!(node.stop(), 0);
    assert_eq!(home.run(&["db", "check"]).ok()["clean"], true);
}

#[test]
fn what_cannot_be_started_says_why_with_the_code_of_the_daemon() {
    let empty = Home::new();
    empty.run(&["node"]).fails(10, "config");
    std::fs::write(empty.file("config.toml"), "[rpc]\nprot = 1\n").unwrap();
    let refused = empty.run(&["node", "--dev"]);
    refused.fails(10, "config");
    assert!(
        refused.message().contains("line 2, column 1: rpc.prot"),
        "{}",
        refused.json
    );
    empty.run(&["config", "check"]).fails(7, "input_file_invalid");
    std::fs::remove_file(empty.file("config.toml")).unwrap();
    empty.run(&["node", "--rpc.port", "x"]).fails(10, "config");

    let home = Home::new();
    let node = Node::dev(&home);
    let second = home.run(&["node", "--dev", "--rpc.port", "0"]);
    second.fails(9, "locked");
    assert!(
        second.message().contains(&node.pid().to_string()),
        "{}",
        second.json
    );
    assert_eq!(node.stop(), 0);
    let other = Home::devnet();
    let genesis = other.file("genesis.toml");
    home.run(&["node", "--dev", "--genesis", genesis.to_str().unwrap()])
        .fails(11, "genesis_mismatch");
}

#[test]
fn an_account_is_followed_from_genesis_on() {
    let home = Home::new();
    let node = Node::dev(&home);
    for amount in ["1", "2"] {
        // The recipient by name, as in `account show`.
        let sent = home.run(&["transfer", "dev1", amount, "--from", "dev0"]).ok();
        assert_eq!(sent["status"], "included", "{sent}");
    }
    let seen = home
        .line("subscribe account --account dev1 --from-height 0 --count 2")
        .ok();
    for (event, more) in seen.as_array().unwrap().iter().zip([1, 2]) {
        let balance = |side: &str| -> u64 {
            let text = event["data"][side]["balance"].as_str().unwrap();
            text.parse().unwrap()
        };
        assert_eq!(balance("after") - balance("before"), more, "{event}");
    }
    assert_eq!(node.stop(), 0);
}
