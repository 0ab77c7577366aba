//! Every method, through the generated client and by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use vibecoin_primitives::{Address, Amount, ChainParams, Hash, Height, Operation};
use vibecoin_rpc_api::methods::{
    AccountApiClient, ChainApiClient, ConsensusApiClient, DevApiClient, MempoolApiClient, NetApiClient,
    NodeApiClient, PohApiClient, ProofApiClient, RpcApiClient, TxApiClient,
};
use vibecoin_rpc_api::views::{
    AccountListOptions, AddressesArg, AtOptions, BlockOptions, BlockRangeOptions, BlockTransactions,
    EntriesOptions, EvidenceOptions, MempoolListOptions, OperationView, Order, PeersOptions, ReadOptions,
    ScheduleOptions, StatsOptions, SubmitOptions, TransactionDetail, UnsignedTransaction, ValidatorOptions,
    Wait,
};
use vibecoin_rpc_api::{AddressText, ApiError, Arg, BlockRef, BlockSelector, Cursor, Text, U64, registry};

use super::{expect_error, serve, serve_node};
use crate::Config;
use crate::gate::Rules;
use crate::methods::Rpc;
use crate::mock::{ACCOUNTS, BALANCE, MockBackend};

fn text(served: &super::Served, address: Address) -> String {
    let prefix = vibecoin_rpc_backend::Backend::facts(served.node.as_ref()).prefix;
    AddressText::new(address, prefix).to_text()
}

#[test]
fn every_registered_method_is_in_the_table_and_the_other_way_round() {
    let rules = Arc::new(Rules::new(Arc::new(Config::default()), true, super::never()));
    let methods = crate::methods::all(&Rpc::new(Arc::new(MockBackend::new()), rules)).unwrap();
    let registered: BTreeSet<&str> = methods.method_names().collect();
    let table: BTreeSet<&str> = registry::METHODS.iter().map(|method| method.name).collect();
    assert_eq!(registered, table);
}

/// The client sends every parameter by name, so a name that differs from the table fails here.
#[tokio::test]
async fn the_generated_client_is_understood_in_every_method() {
    let served = serve().await;
    served.node.make_blocks_instantly();
    let client = served.http();
    let (alice, bob) = (MockBackend::address(0), MockBackend::address(1));
    let raw = vibecoin_primitives::encode(&served.node.transfer(0, 0, bob, 5));
    let options = SubmitOptions {
        wait: Wait::Final,
        timeout_ms: Some(U64(1000)),
        min_height: Some(U64(0)),
    };
    let sent = client
        .submit(raw.clone().into(), Some(options.clone()))
        .await
        .unwrap();
    let hash = sent.status.hash.0;

    let at = Some(BlockRef::from(Height(1)));
    ChainApiClient::get_info(&client).await.unwrap();
    client.get_head().await.unwrap();
    let all = BlockOptions {
        transactions: TransactionDetail::Full,
        certificate: true,
        poh: true,
    };
    let block = client.get_block(at.clone(), Some(all)).await.unwrap().unwrap();
    assert!(matches!(block.transactions, Some(BlockTransactions::Full(list)) if list[0].hash.0 == hash));
    assert_eq!(block.certificate.unwrap().signatures.len(), 1);
    assert_eq!(block.poh.unwrap().len(), 2);
    assert_eq!(
        client.get_header(at.clone()).await.unwrap().unwrap().height,
        U64(1)
    );
    client.get_certificate(at.clone()).await.unwrap().unwrap();
    assert_eq!(client.get_receipts(at.clone()).await.unwrap().unwrap().len(), 1);
    let supply = client
        .get_supply(Some(AtOptions { at: at.clone() }))
        .await
        .unwrap();
    assert_eq!(supply.value.total.0, BALANCE.0 * u64::from(ACCOUNTS));
    client.get_fee_suggestion().await.unwrap();
    let stats = client
        .get_stats(Some(StatsOptions { window: Some(2) }))
        .await
        .unwrap();
    assert_eq!((stats.tx_count, stats.block_time_p50_ms), (U64(1), U64(100)));
    let range = BlockRangeOptions {
        from: Some(Height(0).into()),
        to: at.clone(),
        order: Some(Order::Asc),
        limit: Some(5),
        transactions: Some(TransactionDetail::Hashes),
        ..BlockRangeOptions::default()
    };
    assert_eq!(client.get_blocks(Some(range)).await.unwrap().items.len(), 2);

    let read = ReadOptions {
        at: at.clone(),
        min_height: Some(U64(1)),
    };
    let account = AccountApiClient::get(&client, bob.into(), Some(read.clone()))
        .await
        .unwrap();
    assert_eq!(account.value.unwrap().balance.0, BALANCE.0 + 5);
    let many = client.get_many(
        vec![alice.into(), Address([9; 32]).into()].into(),
        Some(AtOptions { at: at.clone() }),
    );
    let many = many.await.unwrap().value;
    assert!(many[0].is_some() && many[1].is_none());
    assert_eq!(
        client
            .get_balance(bob.into(), Some(read))
            .await
            .unwrap()
            .value
            .balance
            .0,
        BALANCE.0 + 5
    );
    assert_eq!(
        client.get_nonce(alice.into()).await.unwrap().value.committed,
        U64(1)
    );
    let list = AccountListOptions {
        limit: Some(100),
        min_balance: Some(U64(1)),
        ..Default::default()
    };
    let list = AccountApiClient::list(&client, Some(list)).await.unwrap();
    assert_eq!(
        list.value.items.len(),
        usize::from(ACCOUNTS),
        "all but the chain's own account"
    );

    assert!(
        client
            .submit_batch(vec![raw.clone().into()].into(), Some(options))
            .await
            .unwrap()
            .len()
            == 1
    );
    assert_eq!(
        TxApiClient::get(&client, hash.into())
            .await
            .unwrap()
            .unwrap()
            .location
            .unwrap()
            .index,
        0
    );
    TxApiClient::get_status(&client, hash.into()).await.unwrap();
    assert_eq!(
        client
            .get_statuses(vec![hash.into(); 3].into())
            .await
            .unwrap()
            .len(),
        3
    );
    assert!(
        TxApiClient::get_receipt(&client, hash.into())
            .await
            .unwrap()
            .unwrap()
            .success
    );
    client.wait(hash.into(), None).await.unwrap();
    assert!(client.decode(raw.clone().into()).await.unwrap().signature_valid);
    let unsigned = UnsignedTransaction {
        sender: alice.into(),
        nonce: U64(0),
        fee: U64(1),
        valid_until: U64(9),
        operations: vec![OperationView::Transfer {
            to: bob.into(),
            amount: U64(1),
        }]
        .into(),
    };
    client.encode(unsigned.clone()).await.unwrap();
    client.estimate_fee(unsigned).await.unwrap();
    let simulated = client.simulate(raw.into(), None).await.unwrap_err();
    assert_eq!(ApiError::from_client(&simulated).unwrap().code, 1203);

    MempoolApiClient::get_status(&client).await.unwrap();
    let of_alice = MempoolListOptions {
        sender: Some(alice.into()),
        ..Default::default()
    };
    assert!(
        MempoolApiClient::list(&client, Some(of_alice))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    MempoolApiClient::get_account(&client, alice.into())
        .await
        .unwrap();

    let both = AddressesArg::Many(vec![alice.into(), bob.into()].into());
    let proof = ProofApiClient::get_account(&client, both, Some(AtOptions { at: at.clone() }))
        .await
        .unwrap();
    assert!(
        ProofApiClient::verify(&client, Arg::new(proof.proof.0))
            .await
            .unwrap()
            .valid
    );
    client
        .get_storage(
            alice.into(),
            vec![Hash::ZERO.into()].into(),
            Some(AtOptions { at: at.clone() }),
        )
        .await
        .unwrap();
    ProofApiClient::get_transaction(&client, hash.into())
        .await
        .unwrap()
        .unwrap();
    ProofApiClient::get_receipt(&client, hash.into())
        .await
        .unwrap()
        .unwrap();
    client.get_light_block(at.clone()).await.unwrap().unwrap();

    PohApiClient::get_status(&client).await.unwrap();
    PohApiClient::get_params(&client).await.unwrap();
    let one = EntriesOptions {
        limit: Some(1),
        cursor: None,
    };
    let entries = client.get_entries(at.clone(), Some(one)).await.unwrap().unwrap();
    assert_eq!(entries.items[0].tx_hashes[0].0, hash);
    let cursor = Cursor::from_text(&entries.next_cursor.unwrap()).unwrap();
    let rest = EntriesOptions {
        limit: Some(5),
        cursor: Some(cursor.into()),
    };
    assert_eq!(
        client
            .get_entries(at.clone(), Some(rest))
            .await
            .unwrap()
            .unwrap()
            .items[0]
            .index,
        1
    );
    let verdict = PohApiClient::verify(&client, Some(Height(0).into()), at)
        .await
        .unwrap();
    assert!(
        verdict.valid && verdict.blocks == 2 && verdict.hashes == U64(20),
        "{verdict:?}"
    );
    let order = client.get_transaction_order(hash.into()).await.unwrap().unwrap();
    assert_eq!((order.tick, order.entry, order.sequence), (0, 0, U64(10)));

    assert!(NodeApiClient::get_status(&client).await.unwrap().ready);
    assert!(client.get_health().await.unwrap().live);
    client.get_version().await.unwrap();
    assert_eq!(client.get_sync_status().await.unwrap().state, "synced");
    assert!(
        ConsensusApiClient::get_status(&client)
            .await
            .unwrap()
            .is_validator
    );
    assert_eq!(client.get_validators().await.unwrap().total_power, U64(1));
    let schedule = client
        .get_schedule(Some(ScheduleOptions {
            from_height: Some(U64(1)),
            count: Some(3),
        }))
        .await
        .unwrap();
    assert_eq!(schedule.len(), 3);
    let key = schedule[0].proposer.0;
    let window = Some(ValidatorOptions { window: Some(1) });
    let record = client.get_validator(Arg::new(key), window).await.unwrap();
    assert_eq!((record.proposed, record.uptime_permille), (1, 1000));
    assert_eq!(client.get_rounds(Some(U64(1))).await.unwrap().rounds.len(), 1);
    let nothing = EvidenceOptions {
        from: Some(Height(1).into()),
        limit: Some(5),
        cursor: None,
    };
    let page = client.get_evidence(Some(nothing)).await.unwrap();
    assert!(page.items.is_empty());
    let refused = client.submit_evidence(vec![0; 3].into()).await.unwrap_err();
    assert_eq!(ApiError::from_client(&refused).unwrap().code, 1000);
    assert_eq!(NetApiClient::get_info(&client).await.unwrap().peers, 2);
    let one = Some(PeersOptions { limit: Some(1) });
    assert_eq!(client.get_peers(one).await.unwrap()[0].id, "peer-a");
    ConsensusApiClient::get_params(&client).await.unwrap();
    assert_eq!(client.get_limits().await.unwrap().batch_entries_max, 100);
    assert_eq!(client.get_methods().await.unwrap().len(), registry::METHODS.len());
    assert_eq!(client.discover().await.unwrap()["openrpc"], "1.3.2");
    let gift = client.faucet(Address([9; 32]).into(), U64(77)).await.unwrap();
    assert_eq!(gift.success, Some(true));
}

#[tokio::test]
async fn the_faucet_does_not_exist_on_a_chain_that_is_not_for_development() {
    let node = MockBackend::with_params(ChainParams {
        ticks_per_block: 1,
        ..ChainParams::devnet()
    });
    let served = serve_node(node, Config::default()).await;
    let answer = served
        .call("dev_faucet", json!([text(&served, Address([9; 32])), 5]))
        .await;
    expect_error(&answer, -32601, "method_not_found");
}

#[tokio::test]
async fn answers_follow_the_one_convention() {
    let served = serve().await;
    served.node.produce(2);
    let alice = text(&served, MockBackend::address(0));
    let answer = served
        .call("account_get", json!({"address": alice, "at": 1}))
        .await;
    let result = &answer["result"];
    assert_eq!(result["context"]["height"], "1");
    for field in ["blockHash", "stateRoot"] {
        assert_eq!(result["context"][field].as_str().unwrap().len(), 66, "{answer}");
    }
    assert_eq!(result["context"]["timestampMs"], "1700000000100");
    assert_eq!(result["value"]["balance"], BALANCE.0.to_string());
    assert_eq!(result["value"]["address"], alice);
    // By position with options, by hex, and with the options in their object: the same answer.
    let hex = vibecoin_primitives::hex::encode(&MockBackend::address(0).0);
    for params in [
        json!([alice, {"at": "1"}]),
        json!([hex, {"at": 1}]),
        json!({"address": alice, "options": {"at": 1}}),
    ] {
        assert_eq!(served.call("account_get", params).await["result"], *result);
    }
    let absent = text(&served, Address([9; 32]));
    assert!(served.call("account_get", json!([absent])).await["result"]["value"].is_null());
    assert_eq!(
        served.call("account_getBalance", json!([absent])).await["result"]["value"]["balance"],
        "0"
    );
    for nothing in [
        json!([99]),
        json!([Hash([9; 32]).to_string()]),
        json!([{"timestampMs": 5}]),
    ] {
        let block = served.call("chain_getBlock", nothing).await;
        assert!(block["result"].is_null() && block["error"].is_null(), "{block}");
    }
}

#[tokio::test]
async fn every_way_to_name_a_block_finds_it() {
    let served = serve().await;
    served.node.produce(5);
    let client = served.http();
    let find = async |selector: BlockSelector| client.get_header(Some(selector.into())).await.unwrap();
    let third = find(BlockSelector::Height(Height(3))).await.unwrap();
    assert_eq!(find(BlockSelector::Hash(third.hash.0)).await.unwrap(), third);
    let time = third.timestamp_ms.0;
    for (ms, height) in [
        (time, 3),
        (time + 1, 3),
        (time + 99, 3),
        (time + 100, 4),
        (time + 9999, 5),
    ] {
        let at = find(BlockSelector::Time(vibecoin_primitives::TimeMs(ms)))
            .await
            .unwrap();
        assert_eq!(at.height, U64(height), "{ms}");
    }
    assert_eq!(
        find(BlockSelector::Time(vibecoin_primitives::TimeMs(1))).await,
        None
    );
    assert_eq!(find(BlockSelector::Latest).await.unwrap().height, U64(5));
    assert_eq!(find(BlockSelector::Genesis).await.unwrap().height, U64(0));
    served.node.prune_below(Height(2));
    assert_eq!(find(BlockSelector::Earliest).await.unwrap().height, U64(2));
    for synonym in ["safe", "finalized", "confirmed", "processed", "latest"] {
        assert_eq!(
            served.call("chain_getHeader", json!([synonym])).await["result"]["height"],
            "5"
        );
    }
    let pending = served.call("chain_getHeader", json!(["pending"])).await;
    expect_error(&pending, 1002, "bad_block_reference");
    assert!(pending["error"]["message"].as_str().unwrap().contains("mempool_"));
}

#[tokio::test]
async fn reads_beyond_the_head_below_the_earliest_or_too_soon_say_so() {
    let served = serve().await;
    served.node.produce(3);
    served.node.prune_below(Height(2));
    let alice = text(&served, MockBackend::address(0));
    let future = served.call("account_get", json!([alice, {"at": 9}])).await;
    expect_error(&future, 1101, "height_in_future");
    assert_eq!(future["error"]["data"]["head"], "3");
    let pruned = served.call("account_get", json!([alice, {"at": 1}])).await;
    expect_error(&pruned, 1103, "pruned");
    assert_eq!(pruned["error"]["data"]["earliest"], "2");
    expect_error(&served.call("chain_getBlock", json!([1])).await, 1103, "pruned");
    let nowhere = json!([alice, {"at": Hash([9; 32]).to_string()}]);
    expect_error(&served.call("account_get", nowhere).await, 1102, "not_found");
}

#[tokio::test(start_paused = true)]
async fn a_minimum_height_is_waited_for_and_given_up_after_two_seconds() {
    let served = serve().await;
    let rules = Arc::new(Rules::new(Arc::new(Config::default()), true, super::never()));
    let rpc = Rpc::new(Arc::clone(&served.node), rules);
    let read = |height| ReadOptions {
        at: None,
        min_height: Some(U64(height)),
    };
    use vibecoin_rpc_api::methods::AccountApiServer as _;
    let waiting = tokio::spawn({
        let (rpc, options) = (rpc.clone(), read(1));
        async move { rpc.get(MockBackend::address(0).into(), Some(options)).await }
    });
    tokio::task::yield_now().await;
    served.node.produce(1);
    assert_eq!(waiting.await.unwrap().unwrap().context.height, U64(1));
    let start = tokio::time::Instant::now();
    let error = rpc
        .get(MockBackend::address(0).into(), Some(read(2)))
        .await
        .unwrap_err();
    assert_eq!((error.code, error.data.facts["head"].as_str()), (1202, Some("1")));
    assert_eq!(start.elapsed().as_secs(), 2, "by the paused clock");
}

#[tokio::test]
async fn malformed_texts_answer_their_own_codes() {
    let served = serve().await;
    expect_error(
        &served.call("account_get", json!(["vibet1qqqq"])).await,
        1001,
        "bad_address",
    );
    expect_error(
        &served.call("account_get", json!(["0x12"])).await,
        1001,
        "bad_address",
    );
    let foreign = AddressText::new(
        Address([9; 32]),
        vibecoin_primitives::AddressPrefix::new("vibe").unwrap(),
    );
    let other = served.call("account_get", json!([foreign.to_text()])).await;
    expect_error(&other, 1001, "bad_address");
    assert_eq!(other["error"]["data"]["expectedPrefix"], "vibet");
    let mut typo = text(&served, MockBackend::address(0));
    let last = typo.pop().unwrap();
    typo.push(if last == 'q' { 'p' } else { 'q' });
    expect_error(
        &served.call("account_get", json!([typo])).await,
        1001,
        "bad_address",
    );
    expect_error(
        &served.call("tx_getStatus", json!(["0x12"])).await,
        1000,
        "bad_encoding",
    );
    expect_error(
        &served.call("tx_getStatus", json!(["12"])).await,
        1000,
        "bad_encoding",
    );
    expect_error(
        &served.call("account_list", json!([{"cursor": "xx"}])).await,
        1003,
        "bad_cursor",
    );
    let many = vec!["0x"; 101];
    expect_error(
        &served.call("account_getMany", json!([many])).await,
        1402,
        "too_expensive",
    );
}

#[tokio::test]
async fn pages_fit_together_and_a_cursor_of_another_query_is_refused() {
    let served = serve().await;
    served.node.produce(9);
    let client = served.http();
    let mut options = AccountListOptions {
        limit: Some(3),
        ..Default::default()
    };
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = AccountApiClient::list(&client, Some(options.clone()))
            .await
            .unwrap();
        assert_eq!(
            page.context.height,
            U64(9),
            "all pages from the first page's state"
        );
        seen.extend(page.value.items.iter().map(|account| account.address.0.address));
        pages += 1;
        served.node.produce(1);
        let Some(next) = page.value.next_cursor else { break };
        options.cursor = Some(Cursor::from_text(&next).unwrap().into());
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len(), pages), (11, 11, 4));

    for (order, expected) in [(Order::Asc, [2, 3, 4, 5, 6]), (Order::Desc, [6, 5, 4, 3, 2])] {
        let mut options = BlockRangeOptions {
            from: Some(Height(2).into()),
            to: Some(Height(6).into()),
            order: Some(order),
            limit: Some(2),
            ..Default::default()
        };
        let mut heights = Vec::new();
        loop {
            let page = client.get_blocks(Some(options.clone())).await.unwrap();
            heights.extend(page.items.iter().map(|block| block.header.height.0));
            let Some(next) = page.next_cursor else { break };
            options.cursor = Some(Cursor::from_text(&next).unwrap().into());
        }
        assert_eq!(heights, expected);
        let stolen = json!([{"cursor": options.cursor}]);
        expect_error(
            &served.call("chain_getBlocks", stolen.clone()).await,
            1003,
            "bad_cursor",
        );
        expect_error(&served.call("account_list", stolen).await, 1003, "bad_cursor");
    }
    expect_error(
        &served.call("account_list", json!([{"limit": 1001}])).await,
        -32602,
        "limit_out_of_range",
    );
}

#[tokio::test]
async fn proofs_that_the_server_gives_hold_offline() {
    use vibecoin_light::{Fact, ProofFile, Trust, verify};
    let served = serve().await;
    served.node.make_blocks_instantly();
    let client = served.http();
    let slot = Hash([7; 32]);
    let set = served.node.sign(
        0,
        0,
        vec![Operation::SetStorage {
            slot,
            value: b"hello".to_vec(),
        }],
    );
    let raw = vibecoin_primitives::encode(&set);
    let options = SubmitOptions {
        wait: Wait::Final,
        ..Default::default()
    };
    let hash = client
        .submit(raw.into(), Some(options))
        .await
        .unwrap()
        .status
        .hash
        .0;
    let facts = vibecoin_rpc_backend::Backend::facts(served.node.as_ref());
    let trust = Trust::new(facts.genesis, &facts.params, facts.validators.clone());
    let prove = |bytes: Vec<u8>| {
        let file = ProofFile::from_bytes(&bytes).unwrap();
        let file = ProofFile::from_text(&file.to_text()).unwrap();
        verify(&trust, &file).unwrap().facts
    };
    let addresses = AddressesArg::Many(vec![MockBackend::address(0).into(), Address([9; 32]).into()].into());
    let proof = ProofApiClient::get_account(&client, addresses, None)
        .await
        .unwrap();
    let proved = prove(proof.proof.0.0);
    assert_eq!(proved.len(), 2);
    for (fact, shown) in proved.iter().zip(&proof.accounts) {
        let Fact::Account { address, account } = fact else {
            panic!("{fact:?}")
        };
        assert_eq!(*address, shown.address.0.address);
        assert_eq!(
            account.map(|a| Amount(a.balance.0)),
            shown.value.as_ref().map(|v| v.balance.into())
        );
    }
    let keys = vec![slot.into(), Hash([8; 32]).into()].into();
    let proof = client
        .get_storage(MockBackend::address(0).into(), keys, None)
        .await
        .unwrap();
    let Fact::Slot {
        value: Some(value), ..
    } = &prove(proof.proof.0.0)[0]
    else {
        panic!()
    };
    assert_eq!(value, b"hello");
    assert!(proof.slots[1].slot.value.is_none());
    let proof = ProofApiClient::get_transaction(&client, hash.into())
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(&prove(proof.proof.0.0)[0], Fact::Transaction { transaction, .. } if *transaction.id() == hash)
    );
    let light = client.get_light_block(None).await.unwrap().unwrap();
    vibecoin_light::verify_light_block(&trust, &ProofFile::from_bytes(&light.proof.0.0).unwrap()).unwrap();
    let spoilt = vec![0u8; 40];
    let verdict = ProofApiClient::verify(&client, spoilt.into()).await.unwrap();
    assert!(!verdict.valid && verdict.reason.is_some());
}
