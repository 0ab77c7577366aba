//! Table of the methods: accepted parameter names, costs, and the contents of the OpenRPC document.

use serde_json::{Value, json};

use crate::limits::{ADDRESSES_MAX, PROOF_KEYS_MAX, STATUSES_MAX, SUBMIT_BATCH_MAX};

mod kind;

pub use kind::Kind;

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Type of its values.
    pub kind: Kind,
    /// True if it is required.
    pub required: bool,
}

const fn need(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        kind,
        required: true,
    }
}

const fn may(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        kind,
        required: false,
    }
}

/// One method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Parameters in positional order, without the options.
    pub params: &'static [Param],
    /// Fields of the trailing object `options`; empty when the method has none.
    pub options: &'static [Param],
    /// Units that a call takes from the caller's budget, when its answer is not longer than as many KiB.
    pub cost: u32,
    /// True if the call may wait longer than the server's general timeout.
    pub waits: bool,
    /// True if the answer can be large: it is built off the threads that serve connections.
    pub large: bool,
    /// Summary for humans.
    pub summary: &'static str,
}

impl Method {
    /// Returns true if the method takes an object `options` after its parameters.
    #[must_use]
    pub const fn has_options(&self) -> bool {
        !self.options.is_empty()
    }
}

const fn method(name: &'static str, params: &'static [Param], cost: u32, summary: &'static str) -> Method {
    Method {
        name,
        params,
        options: &[],
        cost,
        waits: false,
        large: false,
        summary,
    }
}

impl Method {
    const fn options(self, options: &'static [Param]) -> Self {
        Self { options, ..self }
    }

    const fn waits(self) -> Self {
        Self { waits: true, ..self }
    }

    const fn large(self) -> Self {
        Self { large: true, ..self }
    }
}

/// A read from memory or a point read.
const CHEAP: u32 = 1;
/// Reads a block, a page, or many keys.
const MODERATE: u32 = 10;
/// Computes: proofs, signatures by the hundred, Proof of History.
const EXPENSIVE: u32 = 50;

/// Blocks of `chain_getStats` that a unit pays for; the method's price covers the first 40.
pub const STATS_BLOCKS_PER_UNIT: u32 = 4;
/// Transactions that a unit pays for where blocks are counted and none of them is shown: header pages of
/// `chain_getBlocks`, and `chain_getStats`. Their receipts are read, 80 bytes each at most.
pub const COUNTED_PER_UNIT: u32 = 128;
/// Units of each block whose ticks `poh_verify` computes; the method's price covers the first five.
pub const POH_BLOCK_UNITS: u32 = 10;
/// Units of each block that the receipts of a `tx_submitBatch` are read from; the method's price covers the
/// first five.
pub const RECEIPTS_BLOCK_UNITS: u32 = 10;

const AT: Param = may("at", Kind::Block);
const MIN_HEIGHT: Param = may("minHeight", Kind::U64);
const LIMIT: Param = may("limit", Kind::U32);
const CURSOR: Param = may("cursor", Kind::Text(&[]));
const TIMEOUT: Param = may("timeoutMs", Kind::U64);
const BLOCK: &[Param] = &[may("block", Kind::Block)];
const ADDRESS: &[Param] = &[need("address", Kind::Address)];
const HASH: &[Param] = &[need("hash", Kind::Hash)];
const DETAIL: Param = may("transactions", Kind::Text(&["none", "hashes", "full"]));
const WAIT: Param = may("wait", Kind::Text(&["none", "mempool", "final"]));

/// Every method of the public listener, sorted by name.
pub const METHODS: &[Method] = &[
    method("account_get", ADDRESS, CHEAP, "an account, or null").options(&[AT, MIN_HEIGHT]),
    method("account_getBalance", ADDRESS, CHEAP, "a balance in base units").options(&[AT, MIN_HEIGHT]),
    method(
        "account_getMany",
        &[need("addresses", Kind::Addresses(ADDRESSES_MAX))],
        MODERATE,
        "at most 100 accounts of one state",
    )
    .options(&[AT])
    .large(),
    method(
        "account_getNonce",
        ADDRESS,
        CHEAP,
        "the next nonce, committed and with the pool counted",
    ),
    method(
        "account_list",
        &[],
        EXPENSIVE,
        "all accounts in trie-key order, page by page",
    )
    .options(&[AT, LIMIT, CURSOR, may("minBalance", Kind::U64)])
    .large(),
    method("chain_getBlock", BLOCK, MODERATE, "a block, or null")
        .options(&[DETAIL, may("certificate", Kind::Bool), may("poh", Kind::Bool)])
        .large(),
    method(
        "chain_getBlocks",
        &[],
        EXPENSIVE,
        "a range of blocks, page by page",
    )
    .options(&[
        may("from", Kind::Block),
        may("to", Kind::Block),
        may("order", Kind::Text(&["asc", "desc"])),
        LIMIT,
        CURSOR,
        DETAIL,
    ])
    .large(),
    method(
        "chain_getCertificate",
        BLOCK,
        CHEAP,
        "why a block is final, or null",
    ),
    method("chain_getFeeSuggestion", &[], CHEAP, "fees that get in now"),
    method("chain_getHead", &[], CHEAP, "the newest block in short"),
    method("chain_getHeader", BLOCK, CHEAP, "a header, or null"),
    method(
        "chain_getInfo",
        &[],
        CHEAP,
        "what the chain is, its rules and its head",
    ),
    method(
        "chain_getReceipts",
        BLOCK,
        MODERATE,
        "the receipts of a block, or null",
    )
    .large(),
    method(
        "chain_getStats",
        &[],
        MODERATE,
        "figures over the newest blocks, a unit for four",
    )
    .options(&[may("window", Kind::U32)]),
    method("chain_getSupply", &[], CHEAP, "money in existence").options(&[AT]),
    method(
        "consensus_getEvidence",
        &[],
        EXPENSIVE,
        "double signatures in blocks and on this node",
    )
    .options(&[may("from", Kind::Block), LIMIT, CURSOR])
    .large(),
    method("consensus_getParams", &[], CHEAP, "the chain's parameters"),
    method(
        "consensus_getRounds",
        &[may("height", Kind::U64)],
        MODERATE,
        "why a height took the rounds it took",
    )
    .large(),
    method(
        "consensus_getSchedule",
        &[],
        MODERATE,
        "who proposes at which height",
    )
    .options(&[may("fromHeight", Kind::U64), may("count", Kind::U32)]),
    method(
        "consensus_getStatus",
        &[],
        CHEAP,
        "where consensus stands on this node",
    ),
    method(
        "consensus_getValidator",
        &[need("key", Kind::Hash)],
        EXPENSIVE,
        "what a validator did in the newest blocks",
    )
    .options(&[may("window", Kind::U32)]),
    method("consensus_getValidators", &[], CHEAP, "the validators"),
    method(
        "consensus_submitEvidence",
        &[need("raw", Kind::Bytes)],
        MODERATE,
        "hands in a double signature",
    ),
    method(
        "dev_faucet",
        &[need("address", Kind::Address), need("amount", Kind::U64)],
        MODERATE,
        "money from the faucet of a dev chain",
    ),
    method("mempool_getAccount", ADDRESS, CHEAP, "what waits for one account").large(),
    method("mempool_getStatus", &[], CHEAP, "the pool in figures"),
    method("mempool_list", &[], EXPENSIVE, "what waits, page by page")
        .options(&[may("sender", Kind::Address), LIMIT, CURSOR])
        .large(),
    method("net_getInfo", &[], CHEAP, "who this node is on the network"),
    method("net_getPeers", &[], CHEAP, "connected peers")
        .options(&[LIMIT])
        .large(),
    method("node_getHealth", &[], CHEAP, "readiness, check by check"),
    method("node_getStatus", &[], CHEAP, "everything that status prints"),
    method("node_getSyncStatus", &[], CHEAP, "catching up"),
    method("node_getVersion", &[], CHEAP, "the program"),
    method(
        "poh_getEntries",
        BLOCK,
        MODERATE,
        "the ticks of a block, page by page",
    )
    .options(&[LIMIT, CURSOR])
    .large(),
    method("poh_getParams", &[], CHEAP, "the chain's pace"),
    method("poh_getStatus", &[], CHEAP, "the proposer's clock as it runs"),
    method(
        "poh_getTransactionOrder",
        HASH,
        MODERATE,
        "a transaction's place in the order, or null",
    )
    .large(),
    method(
        "poh_verify",
        &[may("block", Kind::Block), may("to", Kind::Block)],
        EXPENSIVE,
        "computes ticks again, at most 100 blocks, ten units each",
    ),
    method(
        "proof_getAccount",
        &[need("address", Kind::AddressOrList(PROOF_KEYS_MAX))],
        EXPENSIVE,
        "accounts, present or absent, with a proof",
    )
    .options(&[AT])
    .large(),
    method(
        "proof_getLightBlock",
        BLOCK,
        MODERATE,
        "header, certificate and validators, or null",
    )
    .large(),
    method(
        "proof_getReceipt",
        HASH,
        EXPENSIVE,
        "a transaction and its receipt with a proof, or null",
    )
    .large(),
    method(
        "proof_getStorage",
        &[
            need("address", Kind::Address),
            need("keys", Kind::Hashes(PROOF_KEYS_MAX)),
        ],
        EXPENSIVE,
        "slots, present or absent, with a proof",
    )
    .options(&[AT])
    .large(),
    method(
        "proof_getTransaction",
        HASH,
        EXPENSIVE,
        "a transaction and its receipt with a proof, or null",
    )
    .large(),
    method(
        "proof_verify",
        &[need("proof", Kind::Bytes)],
        EXPENSIVE,
        "whether a proof holds on this chain",
    ),
    method(
        "rpc.discover",
        &[],
        MODERATE,
        "this interface as an OpenRPC document",
    )
    .large(),
    method("rpc_getLimits", &[], CHEAP, "the server's bounds"),
    method("rpc_getMethods", &[], CHEAP, "the names of all methods"),
    method(
        "sub_subscribe",
        &[
            need(
                "topic",
                Kind::Text(&["blocks", "headers", "account", "transactions"]),
            ),
            may("params", Kind::Object),
            may("fromHeight", Kind::U64),
        ],
        MODERATE,
        "follows a topic (WebSocket)",
    ),
    method(
        "sub_unsubscribe",
        &[need("subscription", Kind::Text(&[]))],
        CHEAP,
        "ends a subscription",
    ),
    method(
        "tx_decode",
        &[need("raw", Kind::Bytes)],
        MODERATE,
        "a raw transaction in readable form",
    )
    .large(),
    method(
        "tx_encode",
        &[need("unsigned", Kind::Object)],
        CHEAP,
        "the bytes to sign",
    ),
    method(
        "tx_estimateFee",
        &[need("unsigned", Kind::Object)],
        CHEAP,
        "the least fee",
    ),
    method("tx_get", HASH, MODERATE, "a transaction, or null").large(),
    method(
        "tx_getReceipt",
        HASH,
        MODERATE,
        "what became of a transaction, or null",
    )
    .large(),
    method("tx_getStatus", HASH, CHEAP, "where a transaction stands"),
    method(
        "tx_getStatuses",
        &[need("hashes", Kind::Hashes(STATUSES_MAX))],
        MODERATE,
        "where at most 256 transactions stand",
    )
    .large(),
    method(
        "tx_simulate",
        &[need("raw", Kind::Bytes)],
        EXPENSIVE,
        "what a transaction would do",
    )
    .options(&[AT]),
    method(
        "tx_submit",
        &[need("raw", Kind::Bytes)],
        MODERATE,
        "sends a transaction",
    )
    .options(&[WAIT, TIMEOUT, MIN_HEIGHT])
    .waits(),
    method(
        "tx_submitBatch",
        &[need("raws", Kind::BytesList(SUBMIT_BATCH_MAX))],
        EXPENSIVE,
        "sends at most 100 transactions",
    )
    .options(&[WAIT, TIMEOUT, MIN_HEIGHT])
    .waits(),
    method("tx_wait", HASH, MODERATE, "waits until a transaction is settled")
        .options(&[TIMEOUT])
        .waits(),
];

const PEER: &[Param] = &[need("id", Kind::Text(&[]))];

/// Every method of the admin listener, sorted by name. The public listener has none of them.
pub const ADMIN_METHODS: &[Method] = &[
    method(
        "net_addPeer",
        &[need("address", Kind::Text(&[]))],
        CHEAP,
        "connects to a peer and stays connected",
    ),
    method(
        "net_banPeer",
        &[
            need("id", Kind::Text(&[])),
            may("reason", Kind::Text(&[])),
            may("seconds", Kind::U64),
        ],
        CHEAP,
        "drops a peer and refuses it",
    ),
    method("net_getBans", &[], CHEAP, "who is refused"),
    method("net_removePeer", PEER, CHEAP, "drops a peer"),
    method("net_unbanPeer", PEER, CHEAP, "lets a peer in again"),
];

/// The method of the public listener with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Method> {
    find_in(METHODS, name)
}

/// The method with this name in a sorted table.
#[must_use]
pub fn find_in(methods: &'static [Method], name: &str) -> Option<&'static Method> {
    let index = methods.binary_search_by(|method| method.name.cmp(name)).ok()?;
    methods.get(index)
}

/// The interface as an OpenRPC 1.3 document, for the methods that `served` names.
#[must_use]
pub fn openrpc(served: impl Fn(&str) -> bool) -> Value {
    let parameter = |param: &Param| json!({"name": param.name, "required": param.required, "schema": param.kind.schema()});
    let methods = METHODS.iter().filter(|method| served(method.name)).map(|method| {
        let mut params: Vec<Value> = method.params.iter().map(parameter).collect();
        if method.has_options() {
            let fields: serde_json::Map<String, Value> = method
                .options
                .iter()
                .map(|o| (o.name.to_owned(), o.kind.schema()))
                .collect();
            params.push(json!({
                "name": "options",
                "required": false,
                "schema": {"type": "object", "properties": fields, "additionalProperties": false},
            }));
        }
        json!({
            "name": method.name,
            "summary": method.summary,
            "paramStructure": "either",
            "params": params,
            "result": {"name": "result", "schema": {}},
        })
    });
    json!({
        "openrpc": "1.3.2",
        "info": {"title": "VibeCoin", "version": crate::API_VERSION},
        "methods": methods.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_method_is_found() {
        for table in [METHODS, ADMIN_METHODS] {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
            for method in table {
                assert_eq!(find_in(table, method.name), Some(method));
            }
        }
        for admin in ADMIN_METHODS {
            assert_eq!(find(admin.name), None, "for the operator alone");
        }
        assert_eq!(find("chain_getblock"), None);
    }

    #[test]
    fn no_option_has_the_name_of_a_parameter() {
        for method in METHODS.iter().chain(ADMIN_METHODS) {
            for option in method.options {
                let clash = method.params.iter().any(|param| param.name == option.name);
                assert!(
                    !clash && option.name != "options",
                    "{} {}",
                    method.name,
                    option.name
                );
            }
        }
    }

    #[test]
    fn the_document_names_every_method_that_is_served() {
        let document = openrpc(|name| name != "dev_faucet");
        let methods = document["methods"].as_array().unwrap();
        assert_eq!(methods.len(), METHODS.len() - 1);
        assert!(methods.iter().all(|method| method["name"] != "dev_faucet"));
    }
}
