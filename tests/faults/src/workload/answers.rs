//! Answers of nodes, read for the record.

use serde_json::{Value, json};
use vibecoin_primitives::Address;
use vibecoin_tests_nodes::{CallError, Rpc};

use crate::cluster::{hash, number};
use crate::history::{AccountState, ChainBlock, ChainTransfer, Outcome, ReadAnswer, SupplyAnswer, Transfer};

/// A block with its transfers.
pub(super) fn chain_block(rpc: &Rpc, height: u64) -> ChainBlock {
    let ask = |method: &str, params: Value| {
        rpc.call(method, &params)
            .unwrap_or_else(|error| panic!("{method} at height {height}: {error}"))
    };
    let at = height.to_string();
    let block = ask("chain_getBlock", json!([at, { "transactions": "full" }]));
    let none = Vec::new();
    let transactions = block["transactions"].as_array().unwrap_or(&none);
    let receipts = if transactions.is_empty() {
        Value::Null
    } else {
        ask("chain_getReceipts", json!([at]))
    };
    let receipts = receipts.as_array().unwrap_or(&none);
    assert_eq!(transactions.len(), receipts.len(), "receipts of height {height}");
    let transfers = transactions.iter().zip(receipts).map(|(transaction, receipt)| {
        let transfer = shown_transfer(transaction);
        let transfer = transfer.unwrap_or_else(|| panic!("no transfer but {transaction}"));
        assert_eq!(hash(&receipt["hash"]), Some(transfer.id), "{receipt}");
        ChainTransfer {
            transfer,
            success: receipt["success"] == true,
        }
    });
    ChainBlock {
        height,
        hash: hash(&block["hash"]).expect("a block has a hash"),
        transfers: transfers.collect(),
    }
}

fn shown_transfer(transaction: &Value) -> Option<Transfer> {
    let [operation] = transaction["operations"].as_array()?.as_slice() else {
        return None;
    };
    Some(Transfer {
        id: hash(&transaction["hash"])?,
        from: address(&transaction["sender"])?,
        to: address(&operation["to"])?,
        amount: number(&operation["amount"])?,
        fee: number(&transaction["fee"])?,
        nonce: number(&transaction["nonce"])?,
    })
}

/// Reads an address in its text form.
fn address(value: &Value) -> Option<Address> {
    Address::from_any_text(value.as_str()?)
        .ok()
        .map(|(_, address)| address)
}

/// Outcome of entry `index` of a batch. A refusal guarantees that the transfer never happens only when
/// it was never sent before: another node may have it.
pub(super) fn fate(answer: &Result<Value, CallError>, index: usize, first: bool) -> Outcome {
    let refused = |code: i64, reason: &str| {
        let may_have_been_taken =
            code == -32603 || matches!(reason, "timeout" | "shutting_down" | "internal");
        if first && !may_have_been_taken {
            Outcome::Fail
        } else {
            Outcome::Unknown
        }
    };
    match answer {
        Ok(entries) => {
            let entry = &entries[index];
            if let Some(error) = entry.get("error") {
                let code = error["code"].as_i64().unwrap_or(-32603);
                return refused(code, error["data"]["reason"].as_str().unwrap_or_default());
            }
            match (entry["status"].as_str(), number(&entry["height"])) {
                (Some("included"), Some(height)) => Outcome::Ok { height },
                _ => Outcome::Unknown,
            }
        }
        Err(CallError::Refused { code, reason, .. }) => refused(*code, reason),
        Err(CallError::NotSent(_)) if first => Outcome::Fail,
        Err(CallError::NotSent(_) | CallError::NoAnswer(_)) => Outcome::Unknown,
    }
}

/// Returns true if the pool refused entry `index` of a batch for its contents.
pub(super) fn is_refused(answer: &Result<Value, CallError>, index: usize) -> bool {
    let reason = answer
        .as_ref()
        .ok()
        .and_then(|entries| entries[index]["error"]["data"]["reason"].as_str());
    matches!(
        reason,
        Some("nonce_too_low" | "insufficient_funds" | "replacement_underpriced")
    )
}

pub(super) fn read_answer(answer: &Value, who: &[Address]) -> Option<ReadAnswer> {
    let found = answer["value"].as_array()?;
    let accounts = who.iter().zip(found).map(|(who, shown)| {
        let state = AccountState {
            balance: number(&shown["balance"])?,
            nonce: number(&shown["nonce"])?,
        };
        Some((*who, state))
    });
    Some(ReadAnswer {
        height: number(&answer["context"]["height"])?,
        block: hash(&answer["context"]["blockHash"])?,
        accounts: accounts.collect::<Option<_>>()?,
    })
}

pub(super) fn supply_answer(answer: &Value) -> Option<SupplyAnswer> {
    let value = &answer["value"];
    Some(SupplyAnswer {
        height: number(&answer["context"]["height"])?,
        total: number(&value["total"])?,
        genesis: number(&value["genesis"])?,
        burned: number(&value["burned"])?,
        minted: number(&value["minted"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: i64, reason: &str) -> Value {
        json!([{ "error": { "code": code, "message": "", "data": { "reason": reason } } }])
    }

    #[test]
    fn only_a_refusal_of_what_was_never_sent_before_is_a_promise() {
        let full = Ok(refusal(1311, "mempool_full"));
        assert_eq!(fate(&full, 0, true), Outcome::Fail);
        assert_eq!(fate(&full, 0, false), Outcome::Unknown);
        for (code, reason) in [(-32603, "internal"), (1403, "timeout"), (1204, "shutting_down")] {
            assert_eq!(
                fate(&Ok(refusal(code, reason)), 0, true),
                Outcome::Unknown,
                "{reason}"
            );
        }
        let included = Ok(json!([{ "status": "included", "height": "7" }]));
        assert_eq!(fate(&included, 0, false), Outcome::Ok { height: 7 });
        assert_eq!(fate(&included, 1, true), Outcome::Unknown);
        assert_eq!(
            fate(&Ok(json!([{ "status": "pending" }])), 0, true),
            Outcome::Unknown
        );
        let not_sent = Err(CallError::NotSent(String::new()));
        assert_eq!(fate(&not_sent, 0, true), Outcome::Fail);
        assert_eq!(fate(&not_sent, 0, false), Outcome::Unknown);
        let no_answer = Err(CallError::NoAnswer(String::new()));
        assert_eq!(fate(&no_answer, 0, true), Outcome::Unknown);
    }
}
