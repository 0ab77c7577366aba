//! One client: it sends transfers, sends those of unknown outcome again, and reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vibecoin_loadgen::{Member, Signed, Terms};
use vibecoin_primitives::{Address, Amount, Height, hex};
use vibecoin_tests_behaviours::Rng;
use vibecoin_tests_nodes::CallError;

use super::answers::{fate, is_refused, read_answer, supply_answer};
use super::{CLIENTS, Workload};
use crate::history::{Call, Done, Outcome, Transfer};

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

/// One account of one client. No more than one transfer of it is open at a time.
struct Purse {
    member: Member,
    nonce: u64,
    /// Sent, with an unknown outcome: to be sent again.
    open: Option<Signed>,
    /// The last one that was acknowledged.
    last: Option<Signed>,
    /// Its open transfer was given up: the next nonce must be queried.
    unsure: bool,
}

/// One client.
pub(super) struct Client<'a> {
    load: &'a Workload<'a>,
    client: usize,
    terms: Terms,
    random: Rng,
    purses: Vec<Purse>,
    avoid: BTreeMap<usize, Instant>,
    /// The highest head that this client has received.
    head: u64,
    made: Vec<Transfer>,
    calls: Vec<Call>,
}

impl<'a> Client<'a> {
    /// The client with this number, with its share of the accounts.
    pub(super) fn new(load: &'a Workload<'a>, client: usize) -> Self {
        let homes = &load.cluster.homes;
        let own = homes.accounts.iter().skip(client).step_by(CLIENTS);
        let purses = own.map(|key| Purse {
            member: Member::from(key.clone()),
            nonce: 0,
            open: None,
            last: None,
            unsure: false,
        });
        Self {
            load,
            client,
            terms: Terms {
                genesis: homes.genesis_hash,
                fee: Amount(FEE),
                valid_until: VALID_UNTIL,
            },
            random: Rng::new(load.seed.wrapping_add(u64::try_from(client).unwrap_or(0)), 0),
            purses: purses.collect(),
            avoid: BTreeMap::new(),
            head: 0,
            made: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// The transfers that it made, and its calls.
    pub(super) fn into_record(self) -> (Vec<Transfer>, Vec<Call>) {
        (self.made, self.calls)
    }

    /// Makes one call.
    pub(super) fn act(&mut self) {
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
        let who = hex::encode(&self.purses[number].member.address.0);
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
            let member = &purse.member;
            let signed = self
                .terms
                .sign(number, &member.key, purse.nonce, to, Amount(amount));
            self.made.push(Transfer {
                id: signed.hash,
                from: member.address,
                to,
                amount,
                fee: FEE,
                nonce: purse.nonce,
            });
            purse.open = Some(signed);
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
        let open: Vec<Signed> = purses
            .iter()
            .filter_map(|purse| self.purses[*purse].open.clone())
            .collect();
        if open.is_empty() {
            return;
        }
        let raws: Vec<String> = open.iter().map(|signed| hex::encode(&signed.raw)).collect();
        let wait = FINAL_WAIT.as_millis().to_string();
        let params = json!([raws, { "wait": "final", "timeoutMs": wait }]);
        let (start, end, answer) = self.call(node, "tx_submitBatch", &params);
        for (index, signed) in open.into_iter().enumerate() {
            let outcome = fate(&answer, index, first);
            let id = signed.hash;
            let purse = &mut self.purses[signed.account];
            match outcome {
                Outcome::Ok { height } => {
                    purse.nonce += 1;
                    purse.last = Some(signed);
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
        let Some(signed) = self.purses[number].last.clone() else {
            return;
        };
        let id = signed.hash;
        let params = json!([[hex::encode(&signed.raw)], { "wait": "final", "timeoutMs": "1000" }]);
        let (start, end, answer) = self.call(node, "tx_submitBatch", &params);
        // Only an acknowledgement counts here: a node that is behind does not have the block.
        let outcome = fate(&answer, 0, false);
        self.note(node, start, end, Done::Send { id, outcome });
    }

    /// Sends transfers of unknown outcome until they are settled.
    pub(super) fn settle(&mut self) {
        let begun = Instant::now();
        while self.purses.iter().any(|purse| purse.open.is_some()) && begun.elapsed() < SETTLE {
            match self.choose_node() {
                Some(node) => self.send_again(node),
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}
