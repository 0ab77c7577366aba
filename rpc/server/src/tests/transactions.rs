//! Submission of transactions through the server.

use serde_json::{Value, json};
use vibecoin_primitives::{Amount, Hash, SecretKey, Transaction, encode, hex};
use vibecoin_rpc_api::methods::TxApiClient;
use vibecoin_rpc_api::views::{BatchEntry, SubmitOptions, TransactionState, Wait};
use vibecoin_rpc_api::{ApiError, U64};

use super::{expect_error, serve};
use crate::mock::MockBackend;

fn raw(transaction: &Transaction) -> String {
    hex::encode(&encode(transaction))
}

#[tokio::test]
async fn a_batch_takes_all_waits_once_and_answers_each_in_order() {
    let served = serve().await;
    served.node.make_blocks_instantly();
    let client = served.http();
    let bob = MockBackend::address(1);
    let mut raws: Vec<_> = (0..50)
        .map(|n| encode(&served.node.transfer(0, n, bob, 1)).into())
        .collect();
    raws.insert(3, vec![1, 2, 3].into());
    raws.insert(7, encode(&served.node.transfer(2, 900, bob, 1)).into());
    let options = SubmitOptions {
        wait: Wait::Final,
        timeout_ms: Some(U64(5000)),
        min_height: None,
    };
    let entries = client.submit_batch(raws.into(), Some(options)).await.unwrap();
    assert_eq!(entries.len(), 52);
    for (index, entry) in entries.iter().enumerate() {
        match entry {
            BatchEntry::Refused { error } if index == 3 => assert_eq!(error.code, 1000),
            BatchEntry::Refused { error } if index == 7 => assert_eq!(error.code, 1304),
            BatchEntry::Taken(taken) => {
                assert_eq!(taken.status.status, TransactionState::Included);
                assert!(taken.receipt.as_ref().unwrap().success);
            }
            BatchEntry::Refused { error } => panic!("entry {index}: {error}"),
        }
    }
    let heights: std::collections::BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| {
            if let BatchEntry::Taken(taken) = entry {
                taken.status.height
            } else {
                None
            }
        })
        .collect();
    assert_eq!(heights.len(), 1, "all were taken before the block was made");
    let too_many = served.call("tx_submitBatch", json!([vec!["0x"; 101]])).await;
    expect_error(&too_many, 1402, "too_expensive");
}

#[tokio::test]
async fn every_refusal_has_its_code_and_its_facts() {
    let served = serve().await;
    let bob = MockBackend::address(1);
    let good = served.node.transfer(0, 0, bob, 5);
    let submit = async |transaction: &Transaction| served.call("tx_submit", json!([raw(transaction)])).await;

    let Transaction::V1(mut broken) = good.clone();
    broken.body.fee = Amount(20_000);
    expect_error(&submit(&Transaction::V1(broken)).await, 1301, "bad_signature");
    let Transaction::V1(other) = good.clone();
    let elsewhere = Hash([9; 32]);
    let foreign = vibecoin_primitives::TransactionBody {
        chain: elsewhere.prefix(),
        ..other.body.clone()
    };
    expect_error(
        &submit(&foreign.sign(&elsewhere, &MockBackend::key(0))).await,
        1302,
        "wrong_chain",
    );
    let far = submit(&served.node.transfer(0, 99, bob, 5)).await;
    expect_error(&far, 1304, "nonce_too_high");
    assert_eq!(far["error"]["data"]["expectedNonce"], "0");
    let poor = SecretKey::from_seed(&[42; 32]);
    let genesis = vibecoin_rpc_backend::Backend::facts(served.node.as_ref()).genesis;
    let unpayable = vibecoin_primitives::TransactionBody {
        sender: poor.public_key(),
        ..other.body.clone()
    };
    expect_error(
        &submit(&unpayable.sign(&genesis, &poor)).await,
        1305,
        "insufficient_funds",
    );
    let cheap = vibecoin_primitives::TransactionBody {
        fee: Amount(1),
        ..other.body
    };
    expect_error(
        &submit(&cheap.sign(&genesis, &MockBackend::key(0))).await,
        1306,
        "fee_too_low",
    );

    assert_eq!(submit(&good).await["result"]["status"], "pending");
    assert_eq!(
        submit(&good).await["result"]["status"],
        "pending",
        "the same bytes again are no error"
    );
    served.node.produce(1);
    assert_eq!(submit(&good).await["result"]["status"], "included");
    let stale = submit(&served.node.transfer(0, 0, bob, 6)).await;
    expect_error(&stale, 1303, "nonce_too_low");
    assert_eq!(stale["error"]["data"]["expectedNonce"], "1");
}

#[tokio::test]
async fn raw_bytes_that_are_no_transaction_are_refused_before_the_node_sees_them() {
    let served = serve().await;
    let large = format!("0x{}", "00".repeat(65 * 1024));
    let answer = served.call("tx_submit", json!([large])).await;
    expect_error(&answer, 1307, "transaction_too_large");
    assert_eq!(answer["error"]["data"]["limit"], "65536");
    let good = raw(&served.node.transfer(0, 0, MockBackend::address(1), 5));
    for bad in [
        "",
        "0x",
        "0xzz",
        "0x0",
        &format!("{good}00"),
        &good[..good.len() - 2],
    ] {
        expect_error(
            &served.call("tx_submit", json!([bad])).await,
            1000,
            "bad_encoding",
        );
    }
    assert_eq!(
        served.call("mempool_getStatus", json!([])).await["result"]["count"],
        "0"
    );
}

#[tokio::test]
async fn a_wait_that_ends_first_says_that_the_transaction_goes_on() {
    let served = serve().await;
    let client = served.http();
    let transaction = served.node.transfer(0, 0, MockBackend::address(1), 5);
    let options = SubmitOptions {
        wait: Wait::Final,
        timeout_ms: Some(U64(20)),
        min_height: None,
    };
    let error = client
        .submit(encode(&transaction).into(), Some(options))
        .await
        .unwrap_err();
    let error = ApiError::from_client(&error).unwrap();
    assert_eq!((error.code, error.data.reason.as_str()), (1403, "timeout"));
    assert_eq!(error.data.facts["status"], "pending");
    let hash: Hash = Hash::from_hex(error.data.facts["hash"].as_str().unwrap()).unwrap();
    let waiting = tokio::spawn(async move { client.wait(hash.into(), None).await });
    served.node.produce(1);
    let settled = waiting.await.unwrap().unwrap();
    assert_eq!(settled.status.status, TransactionState::Included);
    let long = json!({"hash": hash.to_string(), "timeoutMs": 30_001});
    expect_error(
        &served.call("tx_wait", long).await,
        -32602,
        "timeout_out_of_range",
    );
}

#[tokio::test]
async fn a_nonce_gap_is_queued_and_the_pool_tells_what_is_missing() {
    let served = serve().await;
    let (alice, bob) = (MockBackend::address(0), MockBackend::address(1));
    for nonce in [0, 1, 3] {
        served
            .call("tx_submit", json!([raw(&served.node.transfer(0, nonce, bob, 1))]))
            .await;
    }
    let ahead = served.node.transfer(0, 3, bob, 1);
    let status = served.call("tx_submit", json!([raw(&ahead)])).await;
    assert_eq!(status["result"]["status"], "queued");
    assert_eq!(status["result"]["expectedNonce"], "2");
    let hex = hex::encode(&alice.0);
    let nonce = served.call("account_getNonce", json!([hex])).await;
    assert_eq!(
        nonce["result"]["value"],
        json!({"committed": "0", "pendingNext": "2"})
    );
    let account = served.call("mempool_getAccount", json!([hex])).await;
    let count = |list: &str| account["result"][list].as_array().map(Vec::len);
    assert_eq!((count("pending"), count("queued")), (Some(2), Some(1)));
    let waiting = served.call("tx_get", json!([status["result"]["hash"]])).await;
    assert_eq!(waiting["result"]["nonce"], "3");
    assert!(waiting["result"]["location"].is_null());
}

#[tokio::test]
async fn a_script_can_sign_with_any_ed25519_tool() {
    let served = serve().await;
    served.node.make_blocks_instantly();
    let key = MockBackend::key(0);
    let unsigned = json!({
        "sender": hex::encode(&MockBackend::address(0).0),
        "nonce": 0,
        "fee": "10000",
        "validUntil": "18446744073709551615",
        "operations": [{"type": "transfer", "to": hex::encode(&[9; 32]), "amount": 5}],
    });
    let encoded = served.call("tx_encode", json!({"unsigned": unsigned})).await;
    let bytes = |field: &str| hex::decode(encoded["result"][field].as_str().unwrap()).unwrap();
    let signature = key.sign(&bytes("signingBytes"));
    let raw = hex::encode(&[bytes("unsignedRaw"), signature.0.to_vec()].concat());
    let decoded: Value = served.call("tx_decode", json!([raw])).await;
    assert_eq!(decoded["result"]["signatureValid"], true, "{decoded}");
    assert_eq!(
        decoded["result"]["transaction"]["hash"],
        encoded["result"]["hash"]
    );
    let sent = served
        .call("tx_submit", json!({"raw": raw, "wait": "final"}))
        .await;
    assert_eq!(sent["result"]["hash"], encoded["result"]["hash"], "{sent}");
    assert_eq!(sent["result"]["success"], true);
    let typo = served
        .call("tx_encode", json!([{"sender": "x", "nonse": 0}]))
        .await;
    expect_error(&typo, -32602, "invalid_params");
    assert!(
        typo["error"]["message"].as_str().unwrap().contains("nonse"),
        "{typo}"
    );
    assert_eq!(typo["error"]["data"]["parameter"], "unsigned", "{typo}");
    let operation = json!({"sender": "x", "nonce": 0, "fee": 0, "validUntil": 0, "operations": [7]});
    for unsigned in [json!(7), json!([1, 2]), operation] {
        let wrong = served.call("tx_encode", json!([unsigned])).await;
        expect_error(&wrong, -32602, "invalid_params");
        assert_eq!(wrong["error"]["data"]["parameter"], "unsigned", "{wrong}");
        let message = wrong["error"]["message"].as_str().unwrap();
        let foreign = ["struct", "enum", "at line", "View", "Unsigned"];
        assert!(!foreign.iter().any(|word| message.contains(word)), "{message}");
    }
}

#[tokio::test]
async fn wait_none_answers_with_the_hash() {
    let served = serve().await;
    let transaction = served.node.transfer(0, 0, MockBackend::address(1), 5);
    let answer = served
        .call("tx_submit", json!([raw(&transaction), {"wait": "none"}]))
        .await;
    let genesis = vibecoin_rpc_backend::Backend::facts(served.node.as_ref()).genesis;
    assert_eq!(answer["result"]["hash"], transaction.id(&genesis).to_string());
}
