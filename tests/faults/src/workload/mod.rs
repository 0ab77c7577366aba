//! Clients that transfer funds while faults run, and record every answer.

mod answers;
mod client;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vibecoin_primitives::Address;

use crate::cluster::Cluster;
use crate::history::{Call, History, Phase, Transfer};
use answers::chain_block;
use client::Client;

/// Number of concurrent clients.
pub const CLIENTS: usize = 8;

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
        let mut one = Client::new(self, client);
        while !self.ended.load(Ordering::SeqCst) {
            one.act();
        }
        one.settle();
        let (mut made, mut calls) = one.into_record();
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.0.append(&mut made);
        record.1.append(&mut calls);
    }

    /// Reads the chain of a node and assembles the history. All clients have ended by now.
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
