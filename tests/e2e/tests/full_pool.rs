//! A pool that is full of transactions with the minimum fee.

use std::process::Command;

use serde_json::json;
use vibecoin_tests_e2e::{Devnet, Ran, binary, call, number};

/// Capacity of the pool.
const PLACES: usize = 4;

#[test]
fn a_transfer_gets_into_a_pool_that_is_full_of_least_fees() {
    let net = Devnet::new();
    let _up = net.run("up -v 2 -n 0").ok();
    let _stopped = net.run("stop-node 0").ok();
    let pool = format!("[mempool]\ntransactions_max = {PLACES}\n\n[metrics]\n");
    net.edit("validator-0/config.toml", "[metrics]\n", &pool);
    let _started = net.run("start-node 0").ok();
    // One of two validators makes no block: pooled transactions stay there.
    let _stopped = net.run("stop-node 1").ok();
    let first = &net.state()["nodes"][0];
    let (home, url) = (first["home"].as_str().unwrap(), first["rpc"].as_str().unwrap());
    let home = net.scratch().file("net").join(home);
    let home = home.to_str().unwrap();
    let transfer = |from: &str, more: &[&str]| -> Ran {
        let words = ["--home", home, "--url", url, "transfer", "dev9", "7", "--from"];
        let rest = [from, "--wait", "mempool", "--allow-unencrypted"];
        let words = [&["-o", "json"], &words[..], &rest, more].concat();
        let output = Command::new(binary()).env_clear().args(&words).output().unwrap();
        Ran::new(&words, &output)
    };
    let status = || {
        let answer = call(url.trim_start_matches("http://"), "mempool_getStatus", json!({})).unwrap();
        answer["result"].clone()
    };
    let free = number(&status()["minFee"]);
    let mut least = None;
    for sender in 0..PLACES {
        let sent = transfer(&format!("dev{sender}"), &[]).ok();
        assert_eq!(sent["status"], "pending", "{sent}");
        let fee = number(&sent["fee"]);
        assert_eq!(
            fee,
            *least.get_or_insert(fee),
            "a pool with free places has no price"
        );
    }
    let least = least.unwrap();
    // The price follows the pool by the next turn of the node's loop.
    let has_price = (0..10_000).any(|_| number(&status()["minFee"]) > free);
    let full = status();
    assert!(has_price, "{full}");
    assert_eq!(number(&full["count"]), PLACES as u64, "{full}");

    transfer("dev5", &["--fee", &least.to_string()]).fails(4, "mempool_full");
    transfer("dev5", &["--fee-max", &least.to_string()]).fails(4, "mempool_full");
    let sent = transfer("dev5", &[]).ok();
    assert_eq!(sent["status"], "pending", "{sent}");
    let bid = number(&sent["fee"]) - least;
    assert!((1..=4).contains(&bid), "{bid}");
    assert_eq!(
        number(&status()["count"]),
        PLACES as u64,
        "another one left for it"
    );
}
