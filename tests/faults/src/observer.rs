//! A passive observer: polls every node while faults run, and audits everything afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use vibecoin_primitives::{
    CommitCertificate, CommitSignature, FaultModel, Hash, Height, Power, PublicKey, Round, Signature,
    Validator, ValidatorSet, hex,
};
use vibecoin_tests_nodes::Rpc;

use crate::cluster::{Cluster, Head, hash, number};

/// Poll interval of each node.
const LOOK: Duration = Duration::from_millis(200);

/// Observations so far.
#[derive(Debug, Default)]
struct Seen {
    blocks: BTreeMap<u64, Hash>,
    newest: BTreeMap<usize, u64>,
    rss_kib: BTreeMap<usize, Vec<u64>>,
    violations: Vec<String>,
}

/// Polls heads and memory, and reports forks (I1) and heads that go back (I9).
pub struct Observer<'a> {
    cluster: &'a Cluster,
    seen: Mutex<Seen>,
    ended: AtomicBool,
}

impl<'a> Observer<'a> {
    /// An observer without observations.
    #[must_use]
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
        }
    }

    /// Polls one node until the end.
    pub fn watch(&self, node: usize) {
        while !self.ended.load(Ordering::Relaxed) {
            if let Ok(head) = self.cluster.head(node) {
                self.note(node, head);
            }
            if let Some(rss) = self.cluster.rss_kib(node) {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.rss_kib.entry(node).or_default().push(rss);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn note(&self, node: usize, head: Head) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.newest.insert(node, head.height).unwrap_or(0);
        if before > head.height {
            let text = format!("I9: node {node} showed height {before}, then {}", head.height);
            seen.violations.push(text);
        }
        let known = *seen.blocks.entry(head.height).or_insert(head.hash);
        if known != head.hash {
            let text = format!(
                "I1: node {node} has block {} at height {}, another has {known}",
                head.hash, head.height
            );
            seen.violations.push(text);
        }
    }

    /// Ends the watching.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The present resident memory of the largest of these nodes, in KiB.
    #[must_use]
    pub fn rss_now_kib(&self, nodes: &[usize]) -> u64 {
        let all = nodes.iter().filter_map(|node| self.cluster.rss_kib(*node));
        all.max().unwrap_or(0)
    }

    /// The maximum resident memory of any node, in KiB.
    #[must_use]
    pub fn rss_max_kib(&self) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.rss_kib.values().flatten().copied().max().unwrap_or(0)
    }

    /// Violations during the run.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.violations.clone()
    }

    /// Compares all blocks of all these nodes, from genesis to `height`, with each other, with their
    /// certificates and with the earlier observations.
    #[must_use]
    pub fn audit(&self, nodes: &[usize], height: u64, honest: bool) -> Audit {
        let chains: Vec<Vec<Value>> = std::thread::scope(|scope| {
            let readers: Vec<_> = nodes
                .iter()
                .map(|node| {
                    let rpc = self.cluster.rpc(*node).within(Duration::from_secs(20));
                    scope.spawn(move || headers(&rpc, height))
                })
                .collect();
            readers
                .into_iter()
                .map(|reader| reader.join().expect("headers can be read"))
                .collect()
        });
        let mut audit = Audit {
            blocks: height,
            ..Audit::default()
        };
        let first = &chains[0];
        for (node, chain) in nodes.iter().zip(&chains) {
            for (header, expected) in chain.iter().zip(first) {
                if header["hash"] != expected["hash"] {
                    audit.wrong.push(format!(
                        "I1: at height {} node {node} has {}, node {} has {}",
                        header["height"], header["hash"], nodes[0], expected["hash"]
                    ));
                }
            }
        }
        audit.check_links(first);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, shown) in &seen.blocks {
            let there = usize::try_from(*at).ok().and_then(|at| first.get(at));
            if there.is_some_and(|header| hash(&header["hash"]) != Some(*shown)) {
                audit.wrong.push(format!(
                    "I1: block {shown} was shown at height {at} and is not there"
                ));
            }
        }
        audit.wrong.extend(seen.violations.iter().cloned());
        drop(seen);
        let evidence = first
            .iter()
            .filter(|header| header["evidenceRoot"] != first[0]["evidenceRoot"]);
        audit.blocks_with_evidence = evidence.count();
        if honest && audit.blocks_with_evidence > 0 {
            audit.wrong.push(format!(
                "I6: {} blocks carry evidence, and nobody lies here",
                audit.blocks_with_evidence
            ));
        }
        for node in nodes {
            let found = self.evidence(*node);
            if honest && found > 0 {
                audit
                    .wrong
                    .push(format!("I6: node {node} knows of {found} double signatures"));
            }
            audit.evidence = audit.evidence.max(found);
        }
        self.check_certificates(nodes[0], first, &mut audit);
        audit
    }

    /// Number of pieces of evidence that a node reports.
    pub fn evidence(&self, node: usize) -> usize {
        let answer = self.cluster.rpc(node).call("consensus_getEvidence", &json!({}));
        let items = answer.as_ref().ok().and_then(|answer| answer["items"].as_array());
        items.map_or(0, Vec::len)
    }

    /// I7: every block has a certificate of distinct validators with enough power.
    fn check_certificates(&self, node: usize, headers: &[Value], audit: &mut Audit) {
        let rpc = self.cluster.rpc(node);
        let members = self.cluster.homes.validators.iter().map(|key| Validator {
            key: *key,
            power: Power(1),
            payout: vibecoin_primitives::Address([0; 32]),
        });
        let set = ValidatorSet::new(members.collect()).expect("a validator set");
        let model = if self.cluster.plan.crash_model {
            FaultModel::Crash
        } else {
            FaultModel::Byzantine
        };
        for (header, height) in headers.iter().zip(0u64..).skip(1) {
            let block = hash(&header["hash"]).expect("a header has a hash");
            let shown = rpc
                .call("chain_getCertificate", &json!([height.to_string()]))
                .unwrap_or_else(|error| panic!("certificate of {height}: {error}"));
            let verdict = certificate(&shown).ok_or_else(|| format!("no certificate: {shown}"));
            let verdict = verdict.and_then(|certificate| {
                let genesis = &self.cluster.homes.genesis_hash;
                certificate
                    .verify(genesis, model, &set, Height(height), &block)
                    .map_err(|error| error.to_string())
            });
            match verdict {
                Ok(()) => audit.certificates += 1,
                Err(error) => audit.wrong.push(format!("I7: block {height}: {error}")),
            }
        }
    }
}

fn headers(rpc: &Rpc, height: u64) -> Vec<Value> {
    let header = |at: u64| {
        let header = rpc
            .call("chain_getHeader", &json!([at.to_string()]))
            .unwrap_or_else(|error| panic!("header {at} of {}: {error}", rpc.address()));
        assert!(!header.is_null(), "{} has no header {at}", rpc.address());
        header
    };
    (0..=height).map(header).collect()
}

fn certificate(shown: &Value) -> Option<CommitCertificate> {
    let signatures = shown["signatures"].as_array()?.iter().map(|entry| {
        Some(CommitSignature {
            validator: PublicKey::from_hex(entry["validator"].as_str()?).ok()?,
            signature: Signature(hex::fixed(entry["signature"].as_str()?).ok()?),
        })
    });
    Some(CommitCertificate {
        height: Height(number(&shown["height"])?),
        round: Round(u32::try_from(shown["round"].as_u64()?).ok()?),
        block: hash(&shown["blockHash"])?,
        signatures: signatures.collect::<Option<_>>()?,
    })
}

/// Results of the audit.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Number of compared blocks.
    pub blocks: u64,
    /// Number of valid certificates.
    pub certificates: u64,
    /// Blocks that carry evidence.
    pub blocks_with_evidence: usize,
    /// Number of pieces of evidence that some node reports.
    pub evidence: usize,
    /// Blocks that took more than one round.
    pub later_rounds: u64,
    /// The latest round that a block took.
    pub round_max: u64,
    /// The longest time between two blocks, in milliseconds.
    pub longest_gap_ms: u64,
    /// Descriptions of faults.
    pub wrong: Vec<String>,
}

impl Audit {
    /// Parent links, ascending times, and figures.
    fn check_links(&mut self, headers: &[Value]) {
        for pair in headers.windows(2) {
            let (parent, header) = (&pair[0], &pair[1]);
            let height = header["height"].as_str().unwrap_or_default();
            if header["parentHash"] != parent["hash"] {
                self.wrong
                    .push(format!("I1: block {height} does not follow its parent"));
            }
            let round = header["round"].as_u64().unwrap_or(0);
            self.later_rounds += u64::from(round > 0);
            self.round_max = self.round_max.max(round);
            let times = (number(&parent["timestampMs"]), number(&header["timestampMs"]));
            let (Some(before), Some(after)) = times else {
                self.wrong.push(format!("block {height} has no time"));
                continue;
            };
            if after <= before {
                self.wrong
                    .push(format!("block {height} is not later than its parent"));
            }
            // Block 0 is as old as the genesis file.
            if height != "1" {
                self.longest_gap_ms = self.longest_gap_ms.max(after.saturating_sub(before));
            }
        }
    }

    /// Asserts that the audit found no faults.
    pub fn assert_clean(&self) {
        let shown = self.wrong.len().min(20);
        assert!(
            self.wrong.is_empty(),
            "{} invariants are broken:\n{}",
            self.wrong.len(),
            self.wrong[..shown].join("\n")
        );
    }
}
