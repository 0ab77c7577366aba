//! References beyond the chain, and ranges that move while they are read.

use serde_json::{Value, json};
use vibecoin_primitives::encode;
use vibecoin_rpc_api::methods::TxApiClient as _;

use super::{RawSocket, expect_error, serve};
use crate::mock::MockBackend;

#[tokio::test]
async fn ranges_beyond_the_chain_are_refused_by_name() {
    let served = serve().await;
    served.node.produce(9);
    served.node.prune_below(vibecoin_primitives::Height(2));
    let unknown = format!("0x{}", "11".repeat(32));
    let alice = vibecoin_primitives::hex::encode(&MockBackend::address(0).0);
    for (method, params, code, reason) in [
        (
            "chain_getBlocks",
            json!({"from": "3", "to": "99"}),
            1101,
            "height_in_future",
        ),
        ("chain_getBlocks", json!({"from": "50"}), 1101, "height_in_future"),
        (
            "chain_getBlocks",
            json!({"from": 10, "to": 10}),
            1101,
            "height_in_future",
        ),
        (
            "chain_getBlocks",
            json!({"from": 5, "to": 4}),
            -32602,
            "empty_range",
        ),
        ("chain_getBlocks", json!({"from": 1}), 1103, "pruned"),
        ("chain_getBlocks", json!({"to": 1}), -32602, "empty_range"),
        ("chain_getBlocks", json!({"from": unknown}), 1102, "not_found"),
        (
            "chain_getBlocks",
            json!({"to": {"timestampMs": 1}}),
            1102,
            "not_found",
        ),
        (
            "chain_getBlocks",
            json!({"from": "nonsense"}),
            1002,
            "bad_block_reference",
        ),
        (
            "chain_getBlocks",
            json!({"to": true}),
            1002,
            "bad_block_reference",
        ),
        (
            "chain_getBlocks",
            json!({"to": {"time": 1}}),
            1002,
            "bad_block_reference",
        ),
        (
            "chain_getBlock",
            json!({"block": -1}),
            1002,
            "bad_block_reference",
        ),
        ("chain_getSupply", json!({"at": [1]}), 1002, "bad_block_reference"),
        ("poh_verify", json!([3, 99]), 1101, "height_in_future"),
        ("poh_verify", json!([99]), 1101, "height_in_future"),
        ("poh_verify", json!([4, 3]), -32602, "empty_range"),
        ("poh_verify", json!([unknown]), 1102, "not_found"),
        (
            "consensus_getEvidence",
            json!({"from": 99}),
            1101,
            "height_in_future",
        ),
        (
            "consensus_getSchedule",
            json!({"fromHeight": 5000}),
            1101,
            "height_in_future",
        ),
        (
            "consensus_getRounds",
            json!({"height": 99}),
            1101,
            "height_in_future",
        ),
        ("account_list", json!({"at": 99}), 1101, "height_in_future"),
        (
            "proof_getAccount",
            json!({"address": alice, "at": 99}),
            1101,
            "height_in_future",
        ),
    ] {
        let answer = served.call(method, params.clone()).await;
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["data"]["reason"]),
            (&json!(code), &json!(reason)),
            "{method} {params}: {answer}"
        );
        if code == 1101 {
            assert_eq!(
                answer["error"]["data"]["head"], "9",
                "{method} {params}: {answer}"
            );
        }
    }
    let whole = served.call("chain_getBlocks", json!({"from": 3, "to": 4})).await;
    assert_eq!(
        whole["result"]["items"].as_array().map(Vec::len),
        Some(2),
        "{whole}"
    );
    // A time after the newest block resolves to the newest.
    let late = json!({"from": 9, "to": {"timestampMs": u64::MAX.to_string()}});
    let late = served.call("chain_getBlocks", late).await;
    assert_eq!(
        late["result"]["items"].as_array().map(Vec::len),
        Some(1),
        "{late}"
    );
}

#[tokio::test]
async fn pages_of_accounts_go_on_when_the_state_of_the_first_is_gone() {
    let served = serve().await;
    served.node.produce(1);
    let (mut seen, mut cursor, mut height) = (Vec::new(), Value::Null, 1);
    loop {
        let page = served
            .call("account_list", json!({"limit": 4, "cursor": cursor}))
            .await;
        assert_eq!(page["result"]["context"]["height"], height.to_string(), "{page}");
        for account in page["result"]["value"]["items"].as_array().unwrap() {
            seen.push(account["address"].as_str().unwrap().to_owned());
        }
        cursor = page["result"]["value"]["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
        height += 1;
        served.node.produce(1);
        served.node.prune_below(vibecoin_primitives::Height(height));
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len(), height), (11, 11, 3));
    // A request for one state is not answered from another.
    let first = served
        .call("account_list", json!({"limit": 4, "at": height}))
        .await;
    let cursor = &first["result"]["value"]["nextCursor"];
    served.node.produce(1);
    served.node.prune_below(vibecoin_primitives::Height(height + 1));
    let next = served
        .call(
            "account_list",
            json!({"limit": 4, "at": height, "cursor": cursor}),
        )
        .await;
    expect_error(&next, 1103, "pruned");
}

#[tokio::test]
async fn transactions_can_be_followed_by_who_is_paid() {
    let served = serve().await;
    let (alice, bob) = (MockBackend::address(0), MockBackend::address(1));
    for (from, to) in [
        (0, bob),
        (2, alice),
        (1, MockBackend::address(3)),
        (4, MockBackend::address(5)),
    ] {
        let raw = encode(&served.node.transfer(from, 0, to, 7));
        served.http().submit(raw.into(), None).await.unwrap();
    }
    served.node.produce(1);
    let mut socket = RawSocket::open(&served).await;
    let address = vibecoin_primitives::hex::encode(&bob.0);
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "sub_subscribe", "params":
        {"topic": "transactions", "params": {"address": address}, "fromHeight": 0}});
    socket.send(&ask.to_string()).await;
    assert!(socket.receive().await.contains("\"result\""));
    let mut parties = Vec::new();
    for _ in 0..2 {
        let event: Value = serde_json::from_str(&socket.receive().await).unwrap();
        let transaction = &event["params"]["result"]["data"]["transaction"];
        parties.push((
            transaction["sender"].clone(),
            transaction["operations"][0]["to"].clone(),
        ));
    }
    let bob = served.call("account_get", json!([address])).await["result"]["value"]["address"].clone();
    assert!(
        parties.iter().any(|(from, to)| *from != bob && *to == bob)
            && parties.iter().any(|(from, to)| *from == bob && *to != bob),
        "{parties:?}"
    );
    // Nothing else of that block follows: the next event is of the next one.
    let raw = encode(&served.node.transfer(0, 1, MockBackend::address(1), 8));
    served.http().submit(raw.into(), None).await.unwrap();
    served.node.produce(1);
    let event: Value = serde_json::from_str(&socket.receive().await).unwrap();
    assert_eq!(event["params"]["result"]["height"], "2", "{event}");
}

#[tokio::test]
async fn the_status_of_the_clock_shows_what_is_measured_and_nothing_else() {
    let status = serve().await.call("poh_getStatus", json!([])).await;
    assert_eq!(status["result"]["driftMs"], 7, "{status}");
    assert!(status["result"].get("verifyThreads").is_none(), "{status}");
}

/// Found in review: a page of headers read each body.
#[tokio::test]
async fn a_page_of_headers_reads_no_bodies_and_counts_the_same() {
    let served = serve().await;
    for nonce in 0..100 {
        let transfer = served.node.transfer(0, nonce, MockBackend::address(1), 1);
        let raw = vibecoin_primitives::hex::encode(&encode(&transfer));
        if nonce % 10 == 0 {
            served.node.produce(1);
        }
        assert!(
            served.call("tx_submit", json!([raw])).await["result"].is_object(),
            "{nonce}"
        );
    }
    served.node.produce(20);
    let gate = served.node.close_blocks();
    gate.open();
    let read = async |options: Value| {
        let before = gate.passed();
        let page = served.call("chain_getBlocks", options).await;
        (gate.passed() - before, page)
    };
    let (headers_read, headers) = read(json!({"from": 0, "to": 15})).await;
    let (bodies_read, hashes) = read(json!({"from": 0, "to": 15, "transactions": "hashes"})).await;
    let (headers, hashes) = (&headers["result"]["items"], &hashes["result"]["items"]);
    assert_eq!(headers.as_array().map(Vec::len), Some(16), "{headers}");
    // Both may resolve the range.
    assert!(
        headers_read + 16 <= bodies_read,
        "{headers_read} of {bodies_read}"
    );
    for (header, whole) in headers.as_array().unwrap().iter().zip(hashes.as_array().unwrap()) {
        let mut whole = whole.clone();
        let listed = whole.as_object_mut().unwrap().remove("transactions").unwrap();
        assert_eq!(header, &whole);
        assert_eq!(header["txCount"], listed.as_array().unwrap().len());
    }
}

#[tokio::test]
async fn a_node_without_a_block_above_its_snapshot_has_no_blocks_and_says_from_where_on() {
    let served = serve().await;
    served.node.produce(3);
    served.node.prune_below(vibecoin_primitives::Height(4));
    for order in ["asc", "desc"] {
        let page = served.call("chain_getBlocks", json!([{"order": order}])).await;
        assert_eq!(page["result"]["items"], json!([]), "{order}: {page}");
        assert!(page["result"]["nextCursor"].is_null(), "{order}: {page}");
    }
    let info = served.call("chain_getInfo", json!([])).await;
    assert_eq!(info["result"]["earliest"], "4");
    assert_eq!(info["result"]["head"]["height"], "3");
    let stats = served.call("chain_getStats", json!([])).await;
    assert_eq!(stats["result"]["txCount"], "0", "{stats}");
    let latest = served.call("chain_getBlock", json!(["latest"])).await;
    expect_error(&latest, 1103, "pruned");
    assert_eq!(latest["error"]["data"]["earliest"], "4");
    let earliest = served.call("chain_getHeader", json!(["earliest"])).await;
    assert!(
        earliest["error"].is_null() && earliest["result"].is_null(),
        "{earliest}"
    );
    let range = served.call("chain_getBlocks", json!([{"to": 3}])).await;
    expect_error(&range, -32602, "empty_range");
}
