//! `kill -9` under load, with an observer outside: nothing that was acknowledged may be lost.
//!
//! `VIBECOIN_E2E_KILLS` is their number (default 3); `VIBECOIN_E2E_SEED` decides their times within
//! the load.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use vibecoin_primitives::{
    Address, Amount, Hash, Height, Nonce, Operation, SecretKey, TransactionBody, encode, hex,
};
use vibecoin_tests_e2e::{Home, Node, call};

/// Number of concurrent senders.
const SENDERS: u64 = 4;
/// Transactions of one request.
const BATCH: u64 = 20;

/// Acknowledgements to the observer: by transaction, its final height; by height, the state root.
#[derive(Default)]
struct Told {
    transactions: BTreeMap<String, String>,
    roots: BTreeMap<String, String>,
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

/// The next number of a sequence that only the seed decides.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Sends batches from one account until the node has ended. Every answer is passed to the observer.
fn send(
    address: &str,
    genesis: Hash,
    key: &SecretKey,
    tell: &mpsc::Sender<(String, String)>,
    acknowledged: &AtomicU64,
) {
    let sender = Address::from(key.public_key());
    let nonce = || -> Option<u64> {
        let answer = call(address, "account_getNonce", json!([hex::encode(&sender.0)])).ok()?;
        answer["result"]["value"]["pendingNext"].as_str()?.parse().ok()
    };
    while let Some(first) = nonce() {
        let raws: Vec<String> = (first..first + BATCH)
            .map(|nonce| {
                let body = TransactionBody {
                    chain: genesis.prefix(),
                    sender: key.public_key(),
                    nonce: Nonce(nonce),
                    fee: Amount(1000),
                    valid_until: Height(50_000),
                    operations: vec![Operation::Transfer {
                        to: sender,
                        amount: Amount(1),
                    }],
                };
                hex::encode(&encode(&body.sign(&genesis, key)))
            })
            .collect();
        let Ok(answer) = call(address, "tx_submitBatch", json!([raws, { "wait": "final" }])) else {
            return;
        };
        for entry in answer["result"].as_array().into_iter().flatten() {
            if entry["status"] == "included" {
                let field = |name: &str| entry[name].as_str().unwrap().to_owned();
                tell.send((field("hash"), field("height"))).unwrap();
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Every acknowledgement to the observer must still hold.
fn check(node: &Node, told: &Told) {
    let hashes: Vec<&String> = told.transactions.keys().collect();
    for group in hashes.chunks(256) {
        let found = node.call("tx_getStatuses", json!([group]));
        for (hash, status) in group.iter().zip(found.as_array().unwrap()) {
            assert_eq!(
                status["status"], "included",
                "{hash} was acknowledged and is lost"
            );
            assert_eq!(status["height"], told.transactions[*hash].as_str(), "{hash}");
        }
    }
    for (height, root) in &told.roots {
        let header = node.call("chain_getHeader", json!([height]));
        assert_eq!(
            header["stateRoot"],
            root.as_str(),
            "the state root at height {height} changed"
        );
    }
}

fn key_of(home: &Home, name: &str) -> SecretKey {
    let exported = home
        .run(&["keys", "export", name, "--yes", "--allow-unencrypted"])
        .ok();
    SecretKey::from_seed(&hex::fixed(exported["seed"].as_str().unwrap()).unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_under_load() {
    let kills = from_environment("VIBECOIN_E2E_KILLS", 3);
    let seed = from_environment("VIBECOIN_E2E_SEED", 42);
    println!("kills={kills} seed={seed}");
    let mut random = seed.max(1);
    let home = Home::devnet();
    let mut node = Node::start(&home, &["--allow-unencrypted"]);
    let genesis = Hash::from_hex(node.ready["genesisHash"].as_str().unwrap()).unwrap();
    let keys: Vec<SecretKey> = (0..SENDERS)
        .map(|i| {
            let name = format!("sender{i}");
            let to = home.new_key(&name);
            let _sent = home
                .line(&format!(
                    "transfer {to} 100000000000 --from rich --allow-unencrypted"
                ))
                .ok();
            key_of(&home, &name)
        })
        .collect();

    let mut told = Told::default();
    let mut ready_ms = Vec::new();
    for kill in 0..kills {
        let after = 1 + next(&mut random) % 400;
        let acknowledged = AtomicU64::new(0);
        let (tell, observer) = mpsc::channel();
        let address = node.address().to_owned();
        thread::scope(|scope| {
            for key in &keys {
                let (tell, address, acknowledged) = (tell.clone(), &address, &acknowledged);
                scope.spawn(move || send(address, genesis, key, &tell, acknowledged));
            }
            drop(tell);
            // The kill follows an acknowledgement, while the other senders' batches are in transit.
            let mut heard = 0;
            let mut running = Some(&mut node);
            for (hash, height) in observer {
                told.transactions.insert(hash, height);
                heard += 1;
                if heard >= after
                    && let Some(node) = running.take()
                {
                    let head: Value = node.call("chain_getHead", json!({}));
                    told.roots.insert(
                        head["height"].as_str().unwrap().into(),
                        head["stateRoot"].as_str().unwrap().into(),
                    );
                    node.kill_now();
                }
            }
        });
        let begun = Instant::now();
        node = Node::start(&home, &["--allow-unencrypted"]);
        ready_ms.push(begun.elapsed().as_millis());
        check(&node, &told);
        println!(
            "kill {kill}: {} acknowledged so far, ready after {} ms",
            told.transactions.len(),
            ready_ms[ready_ms.len() - 1]
        );
    }
    ready_ms.sort_unstable();
    println!(
        "{} acknowledged, 0 lost; ready p50 {} ms, max {} ms",
        told.transactions.len(),
        ready_ms[ready_ms.len() / 2],
        ready_ms[ready_ms.len() - 1]
    );
    assert!(told.transactions.len() as u64 >= kills, "the load was real");
    assert_eq!(node.stop(), 0);
    assert_eq!(home.run(&["db", "check"]).ok()["clean"], true);
}
