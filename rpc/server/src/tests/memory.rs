//! Allocations for the requests of a hostile caller on their way to a method and back.

#[path = "../../../api/tests/support/counting.rs"]
mod counting;

use counting::Measurement;
use vibecoin_rpc_api::registry::{Kind, METHODS, Method, Param};

use super::*;

/// Approximate bytes of a hostile value.
const VALUE_BYTES: usize = 2 * 1024 * 1024;
/// Copies of a request that may exist at once: the caller's, the one that is received, which grows by
/// doubling, and those that go to the method. An error per entry was 40 of them, a tree of values a hundred.
/// The bound includes the allocations of other tests of the process.
const COPIES_MAX: usize = 12;

/// A list of as many entries as fit into a value.
fn list(entry: &str) -> String {
    let count = VALUE_BYTES / (entry.len() + 1);
    format!("[{entry}{}]", format!(",{entry}").repeat(count - 1))
}

/// Values of a parameter that can hold others, each full of bad ones.
fn hostile(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Addresses(_) | Kind::AddressOrList(_) | Kind::Hashes(_) | Kind::BytesList(_) => {
            vec![list("\"\""), list("\"\\u0030\""), list("0"), list("[]")]
        }
        Kind::Block => vec![list("0"), format!("{{\"timestampMs\":{}}}", list("0"))],
        Kind::Object => {
            let unsigned = |operations: &str| {
                format!(r#"{{"sender":"","nonce":0,"fee":0,"validUntil":0,"operations":{operations}}}"#)
            };
            vec![
                unsigned(&list(r#"{"type":"transfer","to":"","amount":0}"#)),
                unsigned(&format!("[{{\"to\":{},\"type\":\"transfer\"}}]", list("0"))),
                format!("{{\"sender\":{}}}", list("0")),
            ]
        }
        _ => Vec::new(),
    }
}

/// A call of the method with this value for one parameter, and valid values of the other required
/// ones.
fn call(method: &Method, param: &Param, value: &str) -> String {
    let address = vibecoin_primitives::hex::encode(&[7; 32]);
    let mut others = String::new();
    for other in method
        .params
        .iter()
        .filter(|other| other.required && other.name != param.name)
    {
        let list = other.kind.entries_max().is_some();
        let (open, close) = if list { ("[", "]") } else { ("", "") };
        others += &format!(",\"{}\":{open}\"{address}\"{close}", other.name);
    }
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{}","params":{{"{}":{value}{others}}}}}"#,
        method.name, param.name
    )
}

#[tokio::test]
async fn a_request_full_of_bad_values_takes_no_more_than_a_few_copies_of_itself() {
    let served = serve().await;
    let mut calls = 0;
    for method in METHODS.iter().filter(|method| !method.name.starts_with("sub_")) {
        for param in method.params.iter().chain(method.options) {
            for value in hostile(param.kind) {
                let request = call(method, param, &value);
                let measured = Measurement::begin();
                let answer = served.post(&request).await.json();
                let most = measured.most();
                let what = format!("{} of {}, {:.40}", param.name, method.name, value);
                assert!(
                    most < COPIES_MAX * VALUE_BYTES,
                    "{what}: {most} bytes for a request of {}",
                    request.len()
                );
                assert!(answer["error"]["code"].is_i64(), "{what}: {answer}");
                assert!(answer.to_string().len() < 2048, "{what}");
                calls += 1;
            }
        }
    }
    assert!(calls > 60, "{calls}");
}
