//! Clients that transfer funds while faults run, and record every answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vibecoin_primitives::{
    Address, Amount, Hash, Height, Nonce, Operation, SecretKey, TransactionBody, encode, hex,
};

use crate::cluster::{Cluster, hash, number};
use crate::history::{
    AccountState, Call, ChainBlock, ChainTransfer, Done, History, Outcome, Phase, ReadAnswer, SupplyAnswer,
    Transfer,
};
use crate::random::Random;
use crate::rpc::{CallError, Rpc};

/// Number of concurrent clients.
pub const CLIENTS: usize = 8;
/// Transfers of one call.
const BATCH_MAX: usize = 4;
/// Time that a client waits for transfers to be final.
const FINAL_WAIT: Duration = Duration::from_secs(2);
/// Time limit of a call.
const CALL_LIMIT: Duration = Duration::from_secs(4);
/// Time that a client avoids a node that did not answer.
const AVOID: Duration = Duration::from_secs(1);
/// Time limit of the clients, at the end, to settle unknown transfers.
const SETTLE: Duration = Duration::from_secs(20);
/// Fee of every transfer: above the minimum fee.
const FEE: u64 = 1_000;
/// Transfers are valid for the whole run.
const VALID_UNTIL: Height = Height(90_000);
/// Depth of reads at a height. Nodes keep the newest state readable, and older ones only for a while.
const READ_BACK: u64 = 2;
/// Maximum number of accounts of one read.
const READ_ACCOUNTS: usize = 6;

/// The clients' shared record.
pub struct Workload<'a> {
    cluster: &'a Cluster,
    nodes: Vec<usize>,
    seed: u64,
    begun: Instant,
    ended: AtomicBool,
    ok: AtomicU64,
    faults_from_us: AtomicU64,
    faults_to_us: AtomicU64,
    record: Mutex<(Vec<Transfer>, Vec<Call>)>,
    /// Reasons of missing answers, by method.
    reasons: Mutex<BTreeMap<String, u64>>,
}

/// One account of one client. No more than one transfer of it is open at a time.
struct Purse {
    key: SecretKey,
    address: Address,
    nonce: u64,
    /// Sent, with an unknown outcome: the bytes, to be sent again.
    open: Option<(Hash, String)>,
    /// The last one that was acknowledged.
    last: Option<(Hash, String)>,
    /// Its open transfer was given up: the next nonce must be queried.
    unsure: bool,
}

impl<'a> Workload<'a> {
    /// Clients of these nodes. The run begins now.
    #[must_use]
    pub fn new(cluster: &'a Cluster, nodes: &[usize], seed: u64) -> Self {
        Self {
            cluster,
            nodes: nodes.to_vec(),
            seed,
            begun: Instant::now(),
            ended: AtomicBool::new(false),
            ok: AtomicU64::new(0),
            faults_from_us: AtomicU64::new(u64::MAX),
            faults_to_us: AtomicU64::new(u64::MAX),
            record: Mutex::default(),
            reasons: Mutex::default(),
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Faults begin now.
    pub fn faults_begin(&self) {
        self.faults_from_us.store(self.now_us(), Ordering::SeqCst);
    }

    /// Faults are over.
    pub fn faults_end(&self) {
        self.faults_to_us.store(self.now_us(), Ordering::SeqCst);
    }

    /// The clients settle open transfers, and end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Number of successful calls so far.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.ok.load(Ordering::Relaxed)
    }

    /// Reasons of missing answers, in words.
    #[must_use]
    pub fn reasons(&self) -> String {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<String> = reasons
            .iter()
            .map(|(why, count)| format!("{why} {count}"))
            .collect();
        texts.join(", ")
    }

    /// Waits for so many more successful calls.
    pub fn wait_for_ok(&self, calls: u64) {
        let from = self.ok();
        let bound = Duration::from_secs(60);
        self.cluster
            .wait("answers", bound, || self.ok() >= from.saturating_add(calls));
    }

    /// Runs one client until the end.
    pub fn run_client(&self, client: usize) {
        let mut one = Client {
            load: self,
            client,
            random: Random::new(self.seed.wrapping_add(u64::try_from(client).unwrap_or(0))),
            purses: self.purses(client),
            avoid: BTreeMap::new(),
            head: 0,
            made: Vec::new(),
            calls: Vec::new(),
        };
        while !self.ended.load(Ordering::SeqCst) {
            one.act();
        }
        one.settle();
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.0.append(&mut one.made);
        record.1.append(&mut one.calls);
    }

    fn purses(&self, client: usize) -> Vec<Purse> {
        let own = self.cluster.homes.accounts.iter().skip(client).step_by(CLIENTS);
        own.map(|key| Purse {
            key: key.clone(),
            address: Address::from(key.public_key()),
            nonce: 0,
            open: None,
            last: None,
            unsure: false,
        })
        .collect()
    }

    /// Reads the chain of a node and assembles the history. All clients have ended by now.
    ///
    /// # Panics
    /// When the chain cannot be read.
    #[must_use]
    pub fn history(&self, node: usize, height: u64) -> History {
        let rpc = self.cluster.rpc(node).within(Duration::from_secs(20));
        let (made, calls) = std::mem::take(&mut *self.record.lock().unwrap_or_else(PoisonError::into_inner));
        let accounts = self.cluster.homes.accounts.iter();
        let accounts = accounts.map(|key| Address::from(key.public_key()));
        let genesis = &self.cluster.homes.genesis;
        History {
            genesis: accounts.map(|who| (who, genesis[&who])).collect(),
            supply: genesis.values().sum(),
            made,
            calls,
            chain: (1..=height).map(|at| chain_block(&rpc, at)).collect(),
            phase: Phase {
                faults_from_us: self.faults_from_us.load(Ordering::SeqCst),
                faults_to_us: self.faults_to_us.load(Ordering::SeqCst),
            },
            genesis_hash: self.cluster.homes.genesis_hash,
        }
    }
}

fn chain_block(rpc: &Rpc, height: u64) -> ChainBlock {
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

struct Client<'a> {
    load: &'a Workload<'a>,
    client: usize,
    random: Random,
    purses: Vec<Purse>,
    avoid: BTreeMap<usize, Instant>,
    /// The highest head that this client has received.
    head: u64,
    made: Vec<Transfer>,
    calls: Vec<Call>,
}

impl Client<'_> {
    fn act(&mut self) {
        let Some(node) = self.choose_node() else {
            std::thread::sleep(Duration::from_millis(50));
            return;
        };
        if let Some(purse) = self.purses.iter().position(|purse| purse.unsure) {
            self.ask_nonce(node, purse);
        }
        let any_open = self.purses.iter().any(|purse| purse.open.is_some());
        match self.random.below(100) {
            0..30 if any_open => self.send_again(node),
            0..55 => self.send_new(node),
            55..60 => self.send_acknowledged_again(node),
            60..80 => self.read(node, None),
            80..97 => {
                let back = self.random.below(READ_BACK);
                self.read(node, Some(self.head.saturating_sub(back)));
            }
            _ => self.supply(node),
        }
    }

    /// A node other than those that recently failed to answer, if there is one.
    fn choose_node(&mut self) -> Option<usize> {
        let now = Instant::now();
        self.avoid.retain(|_, until| *until > now);
        let avoid = &self.avoid;
        let free: Vec<usize> = self
            .load
            .nodes
            .iter()
            .copied()
            .filter(|node| !avoid.contains_key(node))
            .collect();
        let index = self.random.index(free.len());
        free.get(index).copied()
    }

    fn call(&mut self, node: usize, method: &str, params: &Value) -> (u64, u64, Result<Value, CallError>) {
        let start = self.load.now_us();
        let answer = self
            .load
            .cluster
            .rpc(node)
            .within(CALL_LIMIT)
            .call(method, params);
        let end = self.load.now_us();
        if let Err(error) = &answer {
            let reason = match error {
                CallError::NotSent(_) => "not sent",
                CallError::NoAnswer(_) => "no answer",
                CallError::Refused { reason, .. } => reason.as_str(),
            };
            let mut reasons = self.load.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            *reasons.entry(format!("{method}: {reason}")).or_default() += 1;
        }
        if !matches!(answer, Ok(_) | Err(CallError::Refused { .. })) {
            self.avoid.insert(node, Instant::now() + AVOID);
        }
        (start, end, answer)
    }

    fn note(&mut self, node: usize, start_us: u64, end_us: u64, done: Done) {
        let call = Call {
            client: self.client,
            node,
            start_us,
            end_us,
            done,
        };
        if call.is_ok() {
            self.load.ok.fetch_add(1, Ordering::Relaxed);
        }
        self.calls.push(call);
    }

    fn read(&mut self, node: usize, at: Option<u64>) {
        let all = &self.load.cluster.homes.accounts;
        let count = 1 + self.random.index(READ_ACCOUNTS);
        let who: BTreeSet<Address> = (0..count)
            .map(|_| Address::from(all[self.random.index(all.len())].public_key()))
            .collect();
        let who: Vec<Address> = who.into_iter().collect();
        let texts: Vec<String> = who.iter().map(|who| hex::encode(&who.0)).collect();
        let params = match at {
            None => json!([texts]),
            Some(at) => json!([texts, { "at": at.to_string() }]),
        };
        let (start, end, answer) = self.call(node, "account_getMany", &params);
        let answer = answer.ok().and_then(|answer| read_answer(&answer, &who));
        let done = match (answer, at) {
            (None, _) => Done::ReadFailed,
            (Some(answer), None) => {
                self.head = self.head.max(answer.height);
                Done::ReadLatest(answer)
            }
            (Some(answer), Some(asked)) => Done::ReadAt { asked, answer },
        };
        self.note(node, start, end, done);
    }

    fn supply(&mut self, node: usize) {
        let (start, end, answer) = self.call(node, "chain_getSupply", &json!([]));
        let supply = answer.ok().and_then(|answer| supply_answer(&answer));
        self.note(node, start, end, supply.map_or(Done::ReadFailed, Done::Supply));
    }

    /// Queries the next nonce. A node that is behind may return one that is too low: the chain will
    /// refuse the nonce then, and it is queried again.
    fn ask_nonce(&mut self, node: usize, number: usize) {
        let who = hex::encode(&self.purses[number].address.0);
        let (_, _, answer) = self.call(node, "account_getNonce", &json!([who]));
        let committed = answer
            .ok()
            .and_then(|answer| crate::cluster::number(&answer["value"]["committed"]));
        if let Some(committed) = committed {
            let purse = &mut self.purses[number];
            purse.nonce = purse.nonce.max(committed);
            purse.unsure = false;
        }
    }

    fn send_new(&mut self, node: usize) {
        let genesis = self.load.cluster.homes.genesis_hash;
        let all = &self.load.cluster.homes.accounts;
        let wanted = 1 + self.random.index(BATCH_MAX);
        let free: Vec<usize> = (0..self.purses.len())
            .filter(|purse| self.purses[*purse].open.is_none() && !self.purses[*purse].unsure)
            .collect();
        let first = self.random.index(free.len());
        let mut chosen = Vec::new();
        for step in 0..wanted.min(free.len()) {
            let number = free[(first + step) % free.len()];
            let purse = &mut self.purses[number];
            let to = Address::from(all[self.random.index(all.len())].public_key());
            // Now and then more than the balance: the chain must refuse it, and take only the fee.
            let amount = match self.random.below(20) {
                0 => u64::MAX / 4,
                _ => 1 + self.random.below(10_000),
            };
            let body = TransactionBody {
                chain: genesis.prefix(),
                sender: purse.key.public_key(),
                nonce: Nonce(purse.nonce),
                fee: Amount(FEE),
                valid_until: VALID_UNTIL,
                operations: vec![Operation::Transfer {
                    to,
                    amount: Amount(amount),
                }],
            };
            let transaction = body.sign(&genesis, &purse.key);
            let id = transaction.id(&genesis);
            self.made.push(Transfer {
                id,
                from: purse.address,
                to,
                amount,
                fee: FEE,
                nonce: purse.nonce,
            });
            purse.open = Some((id, hex::encode(&encode(&transaction))));
            chosen.push(number);
        }
        self.send(node, &chosen, true);
    }

    /// Sends again a transfer of unknown outcome.
    fn send_again(&mut self, node: usize) {
        let open: Vec<usize> = (0..self.purses.len())
            .filter(|purse| self.purses[*purse].open.is_some())
            .take(BATCH_MAX)
            .collect();
        self.send(node, &open, false);
    }

    fn send(&mut self, node: usize, purses: &[usize], first: bool) {
        let open = |purse: &usize| self.purses[*purse].open.clone().map(|open| (*purse, open));
        let open: Vec<(usize, (Hash, String))> = purses.iter().filter_map(open).collect();
        if open.is_empty() {
            return;
        }
        let raws: Vec<&str> = open.iter().map(|(_, (_, raw))| raw.as_str()).collect();
        let wait = FINAL_WAIT.as_millis().to_string();
        let params = json!([raws, { "wait": "final", "timeoutMs": wait }]);
        let (start, end, answer) = self.call(node, "tx_submitBatch", &params);
        for (index, (number, (id, raw))) in open.into_iter().enumerate() {
            let outcome = fate(&answer, index, first);
            let purse = &mut self.purses[number];
            match outcome {
                Outcome::Ok { height } => {
                    purse.nonce += 1;
                    purse.last = Some((id, raw));
                    purse.open = None;
                    self.head = self.head.max(height);
                }
                Outcome::Fail => {
                    purse.open = None;
                    purse.unsure = true;
                }
                // No node accepts it any more, or none did: another one replaces it.
                Outcome::Unknown if !first && is_refused(&answer, index) => {
                    purse.open = None;
                    purse.unsure = true;
                }
                Outcome::Unknown => {}
            }
            self.note(node, start, end, Done::Send { id, outcome });
        }
    }

    /// Sends a final transfer once more: the answer must be the same.
    fn send_acknowledged_again(&mut self, node: usize) {
        let number = self.random.index(self.purses.len());
        let Some((id, raw)) = self.purses[number].last.clone() else {
            return;
        };
        let params = json!([[raw], { "wait": "final", "timeoutMs": "1000" }]);
        let (start, end, answer) = self.call(node, "tx_submitBatch", &params);
        // Only an acknowledgement counts here: a node that is behind does not have the block.
        let outcome = fate(&answer, 0, false);
        self.note(node, start, end, Done::Send { id, outcome });
    }

    fn settle(&mut self) {
        let begun = Instant::now();
        while self.purses.iter().any(|purse| purse.open.is_some()) && begun.elapsed() < SETTLE {
            match self.choose_node() {
                Some(node) => self.send_again(node),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Outcome of entry `index` of a batch. A refusal guarantees that the transfer never happens only when
/// it was never sent before: another node may have it.
fn fate(answer: &Result<Value, CallError>, index: usize, first: bool) -> Outcome {
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
fn is_refused(answer: &Result<Value, CallError>, index: usize) -> bool {
    let reason = answer
        .as_ref()
        .ok()
        .and_then(|entries| entries[index]["error"]["data"]["reason"].as_str());
    matches!(
        reason,
        Some("nonce_too_low" | "insufficient_funds" | "replacement_underpriced")
    )
}

fn read_answer(answer: &Value, who: &[Address]) -> Option<ReadAnswer> {
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

fn supply_answer(answer: &Value) -> Option<SupplyAnswer> {
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
