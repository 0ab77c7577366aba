//! Bounds on what a Byzantine server gets signed: never more funds, more payments or a longer validity than
//! requested.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use vibecoin_tests_e2e::{Home, Liar, Node, Ran, balance, binary, number, without_genesis};

/// Half of the funds of an account of the developer's chain.
const FEE: u64 = 500_000_000_000_000;
/// Amount of a payment.
const AMOUNT: u64 = 7;

fn transfer(home: &Home, url: &str, more: &[&str]) -> Ran {
    let amount = AMOUNT.to_string();
    let words = ["--url", url, "transfer", "dev1", &amount, "--from", "dev4"];
    home.run(&[&words[..], &["--allow-unencrypted"], more].concat())
}

/// The next nonce of the payer, as a whole answer.
fn nonce(home: &Home, node: &Node) -> Value {
    node.call("account_getNonce", json!({ "address": home.address("dev4") }))
}

fn refusal() -> Value {
    let data = json!({ "reason": "nonce_too_low", "retryable": false });
    json!({ "error": { "code": 1303, "message": "the nonce is used", "data": data } })
}

#[test]
fn an_answer_about_another_transaction_is_no_answer() {
    let home = Home::new();
    let node = Node::dev(&home);
    // Another account's payment, which every honest node confirms.
    let other = transfer(&home, node.url(), &[]).ok();
    let honest = other["hash"].as_str().unwrap().to_owned();
    let balance_before = balance(&home, "dev1");
    let is_sent = Arc::new(AtomicBool::new(false));
    let early = Arc::clone(&is_sent);
    let liar = Liar::start(node.address(), move |method, params, node| match method {
        // The payment is withheld.
        "tx_submit" | "tx_wait" => {
            early.store(true, Ordering::Relaxed);
            node("tx_wait", json!({ "hash": honest }))
        }
        "tx_get" => node(method, json!({ "hash": honest })),
        "tx_getStatus" if early.load(Ordering::Relaxed) => node(method, json!({ "hash": honest })),
        _ => node(method, params),
    });
    let ran = transfer(&home, liar.url(), &[]);
    ran.fails(1, "bad_answer");
    // Now before it is sent too: then nothing is sent.
    let unsent = transfer(&home, liar.url(), &[]);
    unsent.fails(1, "bad_answer");
    assert!(
        unsent.json["error"]["data"]["signed"].is_null(),
        "{}",
        unsent.json
    );
    let signed = ran.json["error"]["data"]["signed"]["hash"].as_str().unwrap();
    assert_ne!(signed, other["hash"].as_str().unwrap(), "its own hash is named");
    for command in ["show", "status", "wait"] {
        home.run(&["--url", liar.url(), "tx", command, signed])
            .fails(1, "bad_answer");
        let _true = home
            .run(&[
                "--url",
                node.url(),
                "tx",
                command,
                other["hash"].as_str().unwrap(),
            ])
            .ok();
    }
    assert_eq!(balance(&home, "dev1"), balance_before);
}

#[test]
fn the_prices_and_the_head_that_a_server_names_do_not_decide_what_is_signed() {
    let home = Home::new();
    let node = Node::dev(&home);
    let liar = Liar::start(node.address(), |method, params, node| {
        let mut answer = node(method, params);
        if method == "chain_getInfo" {
            answer["result"]["params"]["feeMin"] = json!(FEE.to_string());
            answer["result"]["head"]["height"] = json!("1000000");
        }
        answer
    });
    let honest = transfer(&home, node.url(), &["--dry-run"]).ok();
    let made = transfer(&home, liar.url(), &["--dry-run"]).ok();
    assert_eq!(made["fee"], honest["fee"]);
    assert_eq!(made["validUntil"], honest["validUntil"]);
    let sent = transfer(&home, liar.url(), &[]).ok();
    assert_eq!(sent["fee"], honest["fee"]);

    // Without a genesis file there is a bound, and a caller that wants more has to name it.
    let bare = without_genesis(&home);
    for more in [&[][..], &["--dry-run"]] {
        let refused = transfer(&bare, liar.url(), more);
        refused.fails(4, "fee_too_high");
        let message = refused.message();
        assert!(message.contains("5000000000"), "the fee is named: {message}");
    }
    let most = (2 * FEE).to_string();
    let made = transfer(&bare, liar.url(), &["--dry-run", "--fee-max", &most]).ok();
    assert!(number(&made["fee"]) >= FEE, "{made}");
    transfer(&home, node.url(), &["--fee-max", "1"]).fails(4, "fee_too_high");
    let sent = transfer(&bare, node.url(), &[]).ok();
    assert_eq!(
        (&sent["status"], &sent["fee"]),
        (&json!("included"), &honest["fee"])
    );
}

#[test]
fn the_price_of_a_place_that_a_server_names_is_paid_up_to_as_much_as_the_least_fee() {
    let home = Home::new();
    let node = Node::dev(&home);
    let least = number(&transfer(&home, node.url(), &["--dry-run"]).ok()["fee"]);
    let honest = number(&node.call("mempool_getStatus", json!({}))["minFee"]);
    let pool = |over: u64| {
        Liar::start(node.address(), move |method, params, node| {
            let mut answer = node(method, params);
            if method == "mempool_getStatus" {
                answer["result"]["count"] = answer["result"]["countMax"].clone();
                answer["result"]["minFee"] = json!((honest + over).to_string());
            }
            answer
        })
    };
    let fee = |ran: Ran| number(&ran.ok()["fee"]);
    let empty = pool(0);
    assert_eq!(fee(transfer(&home, empty.url(), &["--dry-run"])), least);
    let small = pool(1);
    let bid = fee(transfer(&home, small.url(), &[])) - least;
    assert!((1..=4).contains(&bid), "{bid}");
    // A higher fee than is paid by default, or than the caller permits: nothing is signed.
    let dear = pool(2 * least);
    let most = least.to_string();
    for (liar, more) in [
        (&dear, &[][..]),
        (&dear, &["--dry-run"]),
        (&small, &["--fee-max", &most]),
    ] {
        let refused = transfer(&home, liar.url(), more);
        refused.fails(4, "mempool_full");
        assert!(refused.json["error"]["data"].is_null(), "{}", refused.json);
    }
    let typed = (4 * least).to_string();
    assert_eq!(fee(transfer(&home, dear.url(), &["--fee", &typed])), 4 * least);
}

#[test]
fn a_payment_whose_hash_the_node_knows_is_made_another_one_before_it_is_sent() {
    let home = Home::new();
    let node = Node::dev(&home);
    for more in [&[][..], &["--nonce", "1"]] {
        let before = balance(&home, "dev1");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (questions, log) = (Arc::clone(&asked), Arc::clone(&taken));
        let liar = Liar::start(node.address(), move |method, params, node| {
            match method {
                "tx_getStatus" => {
                    let mut asked = questions.lock().unwrap();
                    asked.push(params["hash"].clone());
                    if asked.len() == 1 {
                        return json!({ "result": { "hash": params["hash"], "status": "pending" } });
                    }
                }
                "tx_submit" => log.lock().unwrap().push(params["raw"].clone()),
                _ => {}
            }
            node(method, params)
        });
        let sent = transfer(&home, liar.url(), more).ok();
        assert_eq!(sent["status"], "included", "{sent}");
        let (asked, taken) = (asked.lock().unwrap(), taken.lock().unwrap());
        assert_eq!(taken.len(), 1, "{more:?}");
        let decoded = node.call("tx_decode", json!({ "raw": taken[0] }));
        let hash = &decoded["transaction"]["hash"];
        assert_ne!(*hash, asked[0], "{more:?}");
        assert_eq!((hash, hash), (&sent["hash"], &asked[1]));
        assert_eq!(balance(&home, "dev1") - before, AMOUNT);
    }
}

#[test]
fn a_node_that_knows_every_payment_gets_none() {
    let home = Home::new();
    let node = Node::dev(&home);
    let taken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&taken);
    let liar = Liar::start(node.address(), move |method, params, node| match method {
        "tx_getStatus" => json!({ "result": { "hash": params["hash"], "status": "included" } }),
        "tx_submit" => {
            *count.lock().unwrap() += 1;
            node(method, params)
        }
        _ => node(method, params),
    });
    let refused = transfer(&home, liar.url(), &[]);
    refused.fails(4, "known_payment");
    assert!(refused.json["error"]["data"].is_null(), "{}", refused.json);
    assert_eq!(*taken.lock().unwrap(), 0);
    // A validity from the command line is not changed, and the node decides.
    let typed = transfer(&home, liar.url(), &["--valid-for", "100"]).ok();
    assert_eq!(typed["status"], "included", "{typed}");
}

#[test]
fn a_payment_that_a_server_refuses_without_proof_is_the_only_one_that_is_signed() {
    let home = Home::new();
    let node = Node::dev(&home);
    let bare = without_genesis(&home);
    for home in [&home, &bare] {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&taken);
        let liar = Liar::start(node.address(), move |method, params, node| {
            if method == "tx_submit" {
                log.lock().unwrap().push(params["raw"].clone());
                return refusal();
            }
            let mut answer = node(method, params);
            if method == "account_getNonce" {
                let next = &mut answer["result"]["value"]["pendingNext"];
                *next = json!((number(next) + log.lock().unwrap().len() as u64).to_string());
            }
            answer
        });
        let refused = transfer(home, liar.url(), &[]);
        refused.fails(4, "unproven_refusal");
        let taken = taken.lock().unwrap();
        assert_eq!(taken.len(), 1, "one payment was asked for");
        // It is reported, because it is as valid as before.
        let error = &refused.json["error"];
        let hash = error["data"]["signed"]["hash"].as_str().unwrap();
        let options = json!({ "wait": "final" });
        let sent = node.call("tx_submit", json!({ "raw": taken[0], "options": options }));
        assert_eq!(
            (&sent["hash"], &sent["status"]),
            (&json!(hash), &json!("included"))
        );
    }
}

#[test]
fn a_payment_that_used_its_nonce_itself_is_not_made_again() {
    let home = Home::new();
    let node = Node::dev(&home);
    let before = balance(&home, "dev1");
    let taken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&taken);
    let liar = Liar::start(node.address(), move |method, mut params, node| {
        if method != "tx_submit" {
            return node(method, params);
        }
        *count.lock().unwrap() += 1;
        params["options"]["wait"] = json!("final");
        let sent = node(method, params);
        assert_eq!(sent["result"]["status"], "included", "{sent}");
        refusal()
    });
    // Its nonce is used in the certified state, and still another payment would be one too many.
    transfer(&home, liar.url(), &[]).fails(4, "unproven_refusal");
    assert_eq!(*taken.lock().unwrap(), 1);
    assert_eq!(balance(&home, "dev1") - before, AMOUNT);
}

#[test]
fn a_nonce_that_another_payment_provably_used_is_followed_by_the_next() {
    let home = Home::new();
    let node = Node::dev(&home);
    let before = balance(&home, "dev1");
    // Another program is faster between the query of the nonce and the payment.
    let stale = nonce(&home, &node);
    let _faster = transfer(&home, node.url(), &[]).ok();
    let asked = AtomicBool::new(false);
    let slow = Liar::start(node.address(), move |method, params, node| {
        if method == "account_getNonce" && !asked.swap(true, Ordering::Relaxed) {
            return json!({ "result": stale });
        }
        node(method, params)
    });
    let sent = transfer(&home, slow.url(), &[]).ok();
    assert_eq!(sent["status"], "included", "{sent}");
    assert_eq!(balance(&home, "dev1") - before, 2 * AMOUNT);
}

#[test]
fn a_nonce_that_is_taken_in_the_pool_is_followed_by_the_next_once_it_is_final() {
    let home = Home::new();
    let node = Node::dev(&home);
    let before = balance(&home, "dev1");
    let mut seen = nonce(&home, &node);
    let next = number(&seen["value"]["pendingNext"]);
    let following = (next + 1).to_string();
    // A payment behind a gap stays in the pool until the one before it arrives.
    let dry = ["--nonce", &next.to_string(), "--dry-run"];
    let first = transfer(&home, node.url(), &dry).ok()["raw"].clone();
    let queued = ["--nonce", &following, "--wait", "mempool"];
    let queued = transfer(&home, node.url(), &queued).ok();
    assert_eq!(queued["status"], "queued", "{queued}");
    seen["value"]["pendingNext"] = json!(following);
    let asked = AtomicBool::new(false);
    let slow = Liar::start(node.address(), move |method, params, node| {
        match method {
            "account_getNonce" if !asked.swap(true, Ordering::Relaxed) => return json!({ "result": seen }),
            "tx_wait" => {
                let sent = node("tx_submit", json!({ "raw": first }));
                assert!(sent["error"].is_null(), "{sent}");
            }
            _ => {}
        }
        node(method, params)
    });
    let sent = transfer(&home, slow.url(), &[]).ok();
    assert_eq!(sent["status"], "included", "{sent}");
    assert_ne!(sent["hash"], queued["hash"]);
    assert_eq!(balance(&home, "dev1") - before, 3 * AMOUNT);
}

/// The answers after which a transaction may be included all the same: refusals without proof, and those that
/// contain no verdict on it.
const ANSWERS: [(i64, &str); 5] = [
    (1303, "nonce_too_low"),
    (1305, "insufficient_funds"),
    (1311, "mempool_full"),
    (1403, "timeout"),
    (-32603, "internal"),
];

#[test]
fn the_text_of_a_failure_names_what_was_signed_and_may_be_included() {
    let home = Home::new();
    let node = Node::dev(&home);
    let signed = home.file("signed");
    let signed = signed.to_str().unwrap();
    let built = home.file("unsigned");
    let built = built.to_str().unwrap();
    let _file = home
        .line(&format!("tx build --from dev4 --transfer dev1=7 --out {built}"))
        .ok();
    let _file = home
        .run(&["tx", "sign", built, "--key", "dev4", "--out", signed])
        .ok();
    let pay = ["transfer", "dev1", "7", "--from", "dev4"];
    let lines = [
        pay.to_vec(),
        [&pay[..], &["--nonce", "0"]].concat(),
        [&pay[..], &["--wait", "mempool"]].concat(),
        vec!["tx", "send", signed],
    ];
    for (code, reason) in ANSWERS {
        for line in &lines {
            let taken = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&taken);
            let liar = Liar::start(node.address(), move |method, params, node| {
                if method != "tx_submit" {
                    return node(method, params);
                }
                log.lock().unwrap().push(params["raw"].clone());
                let data = json!({ "reason": reason, "retryable": false });
                json!({ "error": { "code": code, "message": "no", "data": data } })
            });
            let output = Command::new(binary())
                .args(["--url", liar.url(), "--home"])
                .arg(home.path())
                .args(line)
                .output()
                .unwrap();
            assert!(!output.status.success(), "{line:?}: {output:?}");
            let taken = taken.lock().unwrap();
            assert_eq!(taken.len(), 1, "{line:?}");
            let decoded = node.call("tx_decode", json!({ "raw": taken[0] }));
            let transaction = &decoded["transaction"];
            let word = |name: &str| transaction[name].as_str().unwrap().to_owned();
            let expected = format!(
                "signed: {} with nonce {} may be included until height {}",
                word("hash"),
                word("nonce"),
                word("validUntil")
            );
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(
                stderr.lines().any(|line| line == expected),
                "{expected}\n{line:?}: {stderr}"
            );
            // Another payment would be a second one when the state of the first is unknown.
            let look = format!("tx status {}`", word("hash"));
            let is_refusal = code > 1304 && code < 1400 || code == 1403;
            assert_eq!(stderr.contains(&look), !is_refusal, "{line:?}: {stderr}");
        }
    }
}

#[test]
fn a_payment_that_gets_no_answer_is_named() {
    let home = Home::new();
    let node = Node::dev(&home);
    // Accepts the payment, and disconnects without an answer.
    let liar = Liar::start(node.address(), |method, params, node| match method {
        "tx_submit" => Value::Null,
        _ => node(method, params),
    });
    for more in [&[][..], &["--nonce", "0"]] {
        let lost = transfer(&home, liar.url(), more);
        assert_ne!(lost.code, 0, "{}", lost.json);
        let signed = &lost.json["error"]["data"]["signed"];
        let hash = signed["hash"].as_str().unwrap_or_else(|| panic!("{}", lost.json));
        let hint = lost.hint();
        assert!(hint.contains(&format!("tx status {hash}`")), "{hint}");
    }
}
