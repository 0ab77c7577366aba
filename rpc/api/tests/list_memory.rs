//! Memory that the parameters of a hostile request hold while they are read, as counted by the allocator.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

#[path = "support/counting.rs"]
mod counting;

use counting::Measurement;
use serde::de::DeserializeOwned;
use vibecoin_primitives::limits::OPERATIONS_MAX;
use vibecoin_rpc_api::limits::{ADDRESSES_MAX, PROOF_KEYS_MAX, STATUSES_MAX, SUBMIT_BATCH_MAX};
use vibecoin_rpc_api::views::{AddressesArg, OperationView, TopicParams, UnsignedTransaction};
use vibecoin_rpc_api::{AddressArg, AtMost, BlockRef, BytesArg, Code, HashArg};

/// Approximate bytes of a request: the server's limit over HTTP.
const REQUEST_BYTES: usize = 5 * 1024 * 1024;
/// Bytes that a parameter may hold beside the request: a few hundred errors.
const BESIDE_BYTES_MAX: usize = 256 * 1024;

/// A list of as many entries as fit into a request.
fn list(entry: &str) -> String {
    let count = REQUEST_BYTES / (entry.len() + 1);
    let mut list = String::with_capacity(REQUEST_BYTES + 2);
    for index in 0..count {
        list.push(if index == 0 { '[' } else { ',' });
        list.push_str(entry);
    }
    list.push(']');
    list
}

/// Reads a parameter, which must hold next to nothing, and passes it to `judge`.
fn check<T: DeserializeOwned>(what: &str, json: &str, judge: impl FnOnce(Option<T>)) {
    let measured = Measurement::begin();
    let read = serde_json::from_str::<T>(json);
    let most = measured.most();
    assert!(
        most <= BESIDE_BYTES_MAX,
        "{what}: {most} bytes beside a request of {}",
        json.len()
    );
    judge(read.ok());
}

fn too_expensive<T, const N: usize>(list: Option<AtMost<T, N>>) {
    let error = list.unwrap().get("entries").err().unwrap();
    assert_eq!(error.code, Code::TooExpensive.number());
    assert!(
        error
            .message
            .starts_with(&format!("at most {N} entries in one call, got "))
    );
}

/// One test, because the counters are those of the process.
#[test]
fn a_request_full_of_bad_values_is_read_and_not_kept() {
    bad_entries();
    trees();
}

/// Lists of strings of the wrong type.
fn bad_entries() {
    let texts = list("\"\"");
    assert!(texts.len() > 5_000_000 && texts.matches(',').count() > 1_700_000);
    check(
        "account_getMany",
        &texts,
        too_expensive::<AddressArg, ADDRESSES_MAX>,
    );
    check(
        "tx_submitBatch",
        &texts,
        too_expensive::<BytesArg, SUBMIT_BATCH_MAX>,
    );
    check("tx_getStatuses", &texts, too_expensive::<HashArg, STATUSES_MAX>);
    check(
        "proof_getStorage",
        &texts,
        too_expensive::<HashArg, PROOF_KEYS_MAX>,
    );
    check("proof_getAccount", &texts, |addresses: Option<AddressesArg>| {
        assert_eq!(
            addresses.unwrap().get().unwrap_err().code,
            Code::TooExpensive.number()
        );
    });

    let operations = list(r#"{"type":"transfer","to":"","amount":0}"#);
    check(
        "operations",
        &operations,
        too_expensive::<OperationView, OPERATIONS_MAX>,
    );
    let unsigned = format!(r#"{{"sender":"","nonce":0,"fee":0,"validUntil":0,"operations":{operations}}}"#);
    check("tx_encode", &unsigned, |unsigned: Option<UnsignedTransaction>| {
        too_expensive(Some(unsigned.unwrap().operations));
    });
}

/// Arrays in place of a single value.
fn trees() {
    let numbers = list("0");
    check(
        "an operation",
        &format!(r#"{{"to":{numbers},"type":"transfer"}}"#),
        |read| {
            assert_eq!(read, None::<OperationView>);
        },
    );
    check("an address", &numbers, |read| {
        assert_eq!(read, None::<AddressesArg>)
    });
    check("a topic", &format!(r#"{{"address":{numbers}}}"#), |read| {
        assert_eq!(read, None::<TopicParams>);
    });
    for block in [
        numbers.clone(),
        format!(r#"{{"timestampMs":{numbers}}}"#),
        format!(r#"{{"x":{numbers},"timestampMs":1}}"#),
    ] {
        check("a block", &block, |block: Option<BlockRef>| {
            let error = block.unwrap().get().unwrap_err();
            assert_eq!(error.code, Code::BadBlockReference.number());
        });
    }
}
