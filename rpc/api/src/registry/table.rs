//! The tables: a row for each method.

use super::{Kind, Method, Param};
use crate::limits::{ADDRESSES_MAX, PROOF_KEYS_MAX, STATUSES_MAX, SUBMIT_BATCH_MAX};

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
    method(
        "snapshot_create",
        &[may("dir", Kind::Text(&[]))],
        EXPENSIVE,
        "begins a snapshot of the newest block",
    ),
    method("snapshot_getJob", &[], CHEAP, "how far the newest snapshot is"),
];
