//! Limits of ordinary transactions: the most expensive ones (fault 3), and a full pool (M1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use vibecoin_primitives::{
    Address, Amount, Domain, Hash, Height, Operation, SecretKey, TransactionBody, encode, hex,
};
use vibecoin_tests_nodes::{CallError, Rpc};
use vibecoin_tests_support::body;

use super::arena::{Arena, FOLLOWER};
use super::setting;
use crate::cluster::number;
use crate::table::{Table, Verdict};

/// Names on the command line.
pub const CLEARS: &str = "clears";
/// A pool that is full of transactions that wait for their turn.
pub const POOL: &str = "pool";
/// A pool to which transactions behind a nonce gap are sent.
pub const POOL_QUEUED: &str = "pool-queued";
/// A pool that is full of small transactions of many senders.
pub const POOL_MANY: &str = "pool-many";

/// Number of slots that are set and cleared, unless `STRANGERS_SLOTS` names another number; the case
/// has 60,000.
const SLOTS: u64 = 12_000;
/// Bytes of each.
const SLOT_BYTES: usize = 4_096;
/// Slots that one transaction sets: the maximum within its limit.
const SET_PER_TRANSACTION: usize = 15;
/// Slots that one transaction clears: its maximum number of operations.
const CLEARED_PER_TRANSACTION: usize = 64;
/// Transactions in one call.
const BATCH: usize = 40;
/// Fee of each: far above any minimum fee.
const FEE: u64 = 50_000_000;
/// Time limit until transactions are final.
const FINAL: Duration = Duration::from_secs(180);
/// Time limit of a call.
const CALL: Duration = Duration::from_secs(20);
/// Duration of a rate's measurement.
pub(super) const CLEAN: Duration = Duration::from_secs(12);
/// Small transactions for the pool, ten of each sender, unless `STRANGERS_TRANSACTIONS` names another number;
/// M1 has 1,000,000.
const MANY: u64 = 100_000;
/// Initial transfer to each sender: the fees and amounts of its transactions, and a margin.
const SHARE: u64 = 20_000_000;
/// Set transactions that wait at a time: 24 MB, within the capacity of every pool.
const SETS_WAITING: usize = 400;
/// Transfers in one transaction that hands out the shares.
const SHARES_PER_TRANSACTION: usize = 64;
/// Transactions that one account may have in the pool.
const PER_SENDER: u64 = 1_024;
/// MiB that a node may grow by with a full pool: its bound of 128 and a fifth.
const POOL_MIB_MAX: u64 = 154;
/// MiB that a node may grow by while slots are cleared.
const CLEARS_MIB_MAX: u64 = 128;
pub(super) const VALIDATORS: [usize; 4] = [0, 1, 2, 3];
/// Half of them can decide nothing, so that accepted transactions stay in the pool.
const HALF: [usize; 2] = [0, 1];
pub(super) const ALL: [usize; 5] = [0, 1, 2, 3, FOLLOWER];

/// The accounts of a network, with their next nonces.
struct Accounts<'a> {
    arena: &'a Arena,
    nonces: BTreeMap<usize, u64>,
    /// Validators that accept transactions, by turns.
    to: &'static [usize],
}

impl<'a> Accounts<'a> {
    const fn new(arena: &'a Arena) -> Self {
        Self {
            arena,
            nonces: BTreeMap::new(),
            to: &VALIDATORS,
        }
    }

    fn keys(&self) -> &[SecretKey] {
        &self.arena.cluster.homes.accounts
    }

    fn rpc(&self, node: usize) -> Rpc {
        self.arena.cluster.rpc(node).within(CALL)
    }

    /// A transaction of an account with these operations, in hex.
    fn make(&mut self, account: usize, operations: Vec<Operation>) -> String {
        let next = self.nonces.entry(account).or_default();
        let nonce = *next;
        *next += 1;
        self.sign(account, nonce, operations)
    }

    fn sign(&self, account: usize, nonce: u64, operations: Vec<Operation>) -> String {
        let genesis = self.arena.cluster.homes.genesis_hash;
        let key = &self.keys()[account];
        let body = TransactionBody {
            fee: Amount(FEE),
            valid_until: Height(90_000),
            ..body(&genesis, key, nonce, operations)
        };
        hex::encode(&encode(&body.sign(&genesis, key)))
    }

    /// Sends, by turns to each validator; returns the number of refused ones, and the last reason.
    fn send(&self, transactions: &[String]) -> (usize, String) {
        let (mut refused, mut reason) = (0, String::new());
        for (turn, batch) in transactions.chunks(BATCH).enumerate() {
            let node = self.to[turn % self.to.len()];
            match self.rpc(node).call("tx_submitBatch", &json!([batch])) {
                Ok(answer) => {
                    let entries = answer.as_array().or_else(|| answer["results"].as_array());
                    for entry in entries.into_iter().flatten() {
                        if let Some(error) = entry.get("error").filter(|error| !error.is_null()) {
                            refused += 1;
                            reason = error.to_string();
                        }
                    }
                }
                Err(error) => {
                    refused += batch.len();
                    reason = error.to_string();
                }
            }
        }
        (refused, reason)
    }

    /// Number of transactions made so far that a node has not committed.
    fn open(&self, node: usize) -> u64 {
        let rpc = self.rpc(node);
        let open = self.nonces.iter().map(|(account, next)| {
            let who = hex::encode(&Address::from(self.keys()[*account].public_key()).0);
            let committed = committed(&rpc, &who).unwrap_or(0);
            next.saturating_sub(committed)
        });
        open.sum()
    }

    /// Waits until all are committed; `None` when they are not in time.
    fn wait_final(&self) -> Option<Duration> {
        self.wait_open(0)
    }

    /// Waits until no more than so many are uncommitted; `None` when they are not in time.
    fn wait_open(&self, most: u64) -> Option<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < FINAL {
            if self.open(0) <= most {
                return Some(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        None
    }
}

fn committed(rpc: &Rpc, who: &str) -> Result<u64, CallError> {
    let answer = rpc.call("account_getNonce", &json!([who]))?;
    Ok(number(&answer["value"]["committed"]).unwrap_or(0))
}

fn slot(number: u64) -> Hash {
    Domain::Params.hash(&number.to_le_bytes())
}

/// Fault 3: many large slots are set, the nodes restart, and all slots are cleared in few bytes.
pub fn clears(table: &mut Table) {
    let slots = setting("STRANGERS_SLOTS", SLOTS);
    let arena = Arena::new(&[]);
    arena.start(&ALL);
    let mut accounts = Accounts::new(&arena);
    let count = accounts.keys().len();
    let mut of_account: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (number, account) in (0..slots).zip((0..count).cycle()) {
        of_account.entry(account).or_default().push(number);
    }
    let mut build = |per: usize, bytes: usize| {
        let mut made = Vec::new();
        for (account, numbers) in &of_account {
            for chunk in numbers.chunks(per) {
                let operations = chunk.iter().map(|number| Operation::SetStorage {
                    slot: slot(*number),
                    value: vec![7; bytes],
                });
                made.push(accounts.make(*account, operations.collect()));
            }
        }
        made
    };
    let sets = build(SET_PER_TRANSACTION, SLOT_BYTES);
    let clears = build(CLEARED_PER_TRANSACTION, 0);
    let begun = Instant::now();
    let (mut refused, mut reason, mut sent) = (0, String::new(), 0);
    for some in sets.chunks(SETS_WAITING) {
        let (more, why) = accounts.send(some);
        refused += more;
        reason = why;
        sent += some.len();
        // The clears and the sets that were not sent yet are open, too.
        accounts.wait_open((sets.len() - sent + clears.len()) as u64);
    }
    let left = accounts.open(0).saturating_sub(clears.len() as u64);
    let text = format!(
        "{} transactions set {slots} slots in {} s, {refused} refused {reason}, {left} open",
        sets.len(),
        begun.elapsed().as_secs()
    );
    table.row("3", "clears: setting", "", text, Verdict::Figure);
    // Cold: the written data is in the database, not in a cache of the process.
    for node in ALL {
        arena.cluster.stop(node);
    }
    arena.start(&ALL);
    let clean = arena.millirate(&VALIDATORS, CLEAN);
    let from = arena.cluster.top(&VALIDATORS);
    let ((refused, reason, took), grown) = arena.growth(|| {
        let (refused, reason) = accounts.send(&clears);
        (refused, reason, accounts.wait_final())
    });
    arena.cluster.assert_alive();
    let to = arena.cluster.top(&VALIDATORS);
    let (later, longest_ms) = rounds(&arena, from, to);
    let text = format!(
        "{} transactions, {refused} refused {reason}, final after {}, +{} MiB; of {} blocks {later} in later rounds, longest gap {longest_ms} ms, clean rate {}.{:02}/s",
        clears.len(),
        took.map_or_else(|| "never".to_owned(), |took| format!("{} ms", took.as_millis())),
        grown / 1024,
        to.saturating_sub(from),
        clean / 1000,
        clean % 1000 / 10,
    );
    let met = took.is_some() && later == 0 && grown <= CLEARS_MIB_MAX * 1024;
    let target = format!("all final, no later round, ≤ +{CLEARS_MIB_MAX} MiB");
    table.row("3", "clears", &target, text, met);
}

/// Blocks of these heights that took more than one round, and the longest time between two.
pub(super) fn rounds(arena: &Arena, from: u64, to: u64) -> (u64, u64) {
    let rpc = arena.cluster.rpc(0).within(CALL);
    let (mut later, mut longest, mut before) = (0, 0, None);
    for height in from..=to {
        let Ok(header) = rpc.call("chain_getHeader", &json!([height.to_string()])) else {
            continue;
        };
        later += u64::from(header["round"].as_u64().unwrap_or(0) > 0);
        let time = number(&header["timestampMs"]).unwrap_or(0);
        longest = longest.max(time.saturating_sub(before.unwrap_or(time)));
        before = Some(time);
    }
    (later, longest)
}

/// Results of filling the pools.
struct Filled {
    sent: usize,
    seconds: u64,
    refused: usize,
    reason: String,
    grown_mib: u64,
    /// Block rate meanwhile, in percent of the clean one.
    percent: u64,
}

/// Sends batches, and measures the nodes meanwhile. To half of the validators they are sent while the others
/// are stopped; the rate is then measured from when these are back.
fn fill(arena: &Arena, accounts: &Accounts<'_>, batches: impl Iterator<Item = Vec<String>>) -> Filled {
    let clean = arena.millirate(&VALIDATORS, CLEAN);
    let stopped: Vec<usize> = VALIDATORS
        .into_iter()
        .filter(|node| !accounts.to.contains(node))
        .collect();
    for node in &stopped {
        arena.cluster.stop(*node);
    }
    let begun = Instant::now();
    let from = arena.mark(0);
    let ((sent, refused, mut reason), grown) = arena.growth(|| {
        let (mut sent, mut refused, mut reason) = (0, 0, String::new());
        for batch in batches {
            let (more, why) = accounts.send(&batch);
            sent += batch.len();
            refused += more;
            if more > 0 {
                reason = why;
            }
        }
        (sent, refused, reason)
    });
    arena.cluster.assert_alive();
    let rate = if stopped.is_empty() {
        from.map_or(0, |from| arena.rate_since(0, &from))
    } else {
        arena.start(&stopped);
        arena.millirate(&VALIDATORS, CLEAN)
    };
    reason.truncate(120);
    Filled {
        sent,
        seconds: begun.elapsed().as_secs(),
        refused,
        reason,
        grown_mib: grown / 1024,
        percent: rate.saturating_mul(100) / clean.max(1),
    }
}

impl Filled {
    fn row(&self, table: &mut Table, name: &str, what: &str, percent_min: u64) {
        let Self {
            seconds,
            refused,
            reason,
            grown_mib,
            percent,
            ..
        } = self;
        let text =
            format!("{what} in {seconds} s, {refused} refused {reason}; +{grown_mib} MiB, rate {percent} %");
        let met = *grown_mib <= POOL_MIB_MAX && *percent >= percent_min && self.sent > 0;
        let target = format!("≤ +{POOL_MIB_MAX} MiB, ≥ {percent_min} %");
        table.row("M1", name, &target, text, met);
    }
}

/// M1: the pool is filled with large transactions while nothing is decided.
pub fn pool(table: &mut Table) {
    large(table, POOL, 0, &HALF);
}

/// M1: large transactions whose first nonce is missing, so that all of them wait behind a gap.
pub fn pool_queued(table: &mut Table) {
    large(table, POOL_QUEUED, 1, &VALIDATORS);
}

fn large(table: &mut Table, name: &str, first_nonce: u64, to: &'static [usize]) {
    let arena = Arena::new(&[]);
    arena.start(&ALL);
    let mut accounts = Accounts::new(&arena);
    accounts.to = to;
    let batches = (0..accounts.keys().len()).map(|account| {
        let made = (first_nonce..PER_SENDER).map(|nonce| {
            let operation = Operation::SetStorage {
                slot: slot(nonce),
                value: vec![3; SLOT_BYTES],
            };
            accounts.sign(account, nonce, vec![operation])
        });
        made.collect()
    });
    let filled = fill(&arena, &accounts, batches);
    let what = format!("{} of {} MiB", filled.sent, (filled.sent * SLOT_BYTES) >> 20);
    filled.row(table, name, &what, 90);
}

/// M1: the pool is filled with small transactions of many senders while nothing is decided.
pub fn pool_many(table: &mut Table) {
    let many = setting("STRANGERS_TRANSACTIONS", MANY);
    let arena = Arena::new(&[("RPC__COST_PER_S_PER_IP", "0")]);
    arena.start(&ALL);
    let mut accounts = Accounts::new(&arena);
    let count = accounts.keys().len();
    let senders: Vec<SecretKey> = (0..many / 10)
        .map(|number| SecretKey::from_seed(&Domain::Params.hash(&number.to_be_bytes()).0))
        .collect();
    let shares: Vec<String> = senders
        .chunks(SHARES_PER_TRANSACTION)
        .zip((0..count).cycle())
        .map(|(some, account)| {
            let operations = some.iter().map(|key| Operation::Transfer {
                to: Address::from(key.public_key()),
                amount: Amount(SHARE),
            });
            accounts.make(account, operations.collect())
        })
        .collect();
    let (refused, reason) = accounts.send(&shares);
    assert_eq!(refused, 0, "the senders got no shares: {reason}");
    assert!(
        accounts.wait_final().is_some(),
        "the senders' shares are not final"
    );
    let genesis = arena.cluster.homes.genesis_hash;
    let batches = senders.chunks(BATCH * 10).map(|some| {
        let made = (0..10).flat_map(|nonce| {
            some.iter().map(move |key| {
                let pay = Operation::Transfer {
                    to: Address([9; 32]),
                    amount: Amount(1),
                };
                let body = TransactionBody {
                    fee: Amount(100_000),
                    valid_until: Height(90_000),
                    ..body(&genesis, key, nonce, vec![pay])
                };
                hex::encode(&encode(&body.sign(&genesis, key)))
            })
        });
        made.collect()
    });
    accounts.to = &HALF;
    let filled = fill(&arena, &accounts, batches);
    let what = format!("{} of {} senders", filled.sent, senders.len());
    // The callers use the larger part of both cores: M1 is about memory.
    filled.row(table, POOL_MANY, &what, 0);
}
