//! Throughput of the state: durable blocks of random account updates, and proofs.
//!
//! `cargo bench -p vibecoin-storage` and `vibecoin bench state` both call [`run`].

mod process;

use crate::kv::{KvStore, RocksKv};
use crate::rng::mix;
use crate::{GenesisState, StateView, StorageError, Store, StoreConfig};
use process::Usage;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vibecoin_execution::{DecidedBlock, StateChanges};
use vibecoin_primitives::{
    Account, Address, Amount, BLOCK_VERSION, Body, BodyV1, ChainParams, CommitCertificate, Domain, Hash,
    Header, Height, Nonce, Power, PublicKey, Receipts, Round, SecretKey, StateDiff, TimeMs, Validator,
    ValidatorSet, account_key, encode,
};
use vibecoin_trie::{TrieKind, root_of_sorted, verify};

/// Parameters of the measurement.
#[derive(Debug, Clone)]
pub struct StateBench {
    /// An empty folder; the files created there are kept.
    pub folder: PathBuf,
    /// Accounts in the state.
    pub accounts: u64,
    /// Blocks to commit.
    pub blocks: u64,
    /// Random accounts changed by each block.
    pub updates: u64,
    /// Proofs to make and verify.
    pub proofs: u64,
    /// The store's settings. With as many cached rows as accounts the measurement is of a warm cache, with
    /// one row of a cold one.
    pub config: StoreConfig,
}

/// Results of the measurement.
#[derive(Debug, Clone, Copy)]
pub struct StateReport {
    /// Updates committed per second of wall clock, reading and hashing included.
    pub updates_per_second: f64,
    /// Median time of a block, from the first read to durable.
    pub block_p50: Duration,
    /// 99th percentile of the same.
    pub block_p99: Duration,
    /// Processor time per update over all threads, the last materialiser step included.
    pub cpu_us_per_update: f64,
    /// Bytes that the process wrote to disk per update, the last step included.
    pub bytes_per_update: f64,
    /// Bytes of a proof, on average.
    pub proof_bytes: f64,
    /// Proofs made per second on one core.
    pub proofs_made_per_second: f64,
    /// Proofs verified per second on one core.
    pub proofs_verified_per_second: f64,
    /// Bytes on disk per account after creation, compacted.
    pub disk_bytes_per_account: f64,
    /// Peak memory of the process, in MiB.
    pub peak_mib: f64,
}

impl fmt::Display for StateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:.0} updates/s, block p50 {:.1} ms p99 {:.1} ms, {:.1} us CPU/update, {:.0} B written/update, \
             proof {:.0} B, {:.0} made/s, {:.0} verified/s, {:.0} B on disk/account, peak {:.0} MiB",
            self.updates_per_second,
            ms(self.block_p50),
            ms(self.block_p99),
            self.cpu_us_per_update,
            self.bytes_per_update,
            self.proof_bytes,
            self.proofs_made_per_second,
            self.proofs_verified_per_second,
            self.disk_bytes_per_account,
            self.peak_mib,
        )
    }
}

/// Measures on RocksDB in the folder, with real syncs.
///
/// # Errors
/// [`StorageError`] when the folder is not empty or the disk fails.
pub fn run(bench: &StateBench) -> Result<StateReport, StorageError> {
    let kv = Arc::new(RocksKv::open(&bench.folder, bench.config.rocks)?);
    let genesis = genesis(bench.accounts)?;
    let mut parent = genesis.header.clone();
    let store = Store::create(Arc::clone(&kv) as Arc<dyn KvStore>, &genesis, bench.config)?;
    drop(genesis);
    kv.flush()?;
    kv.compact()?;
    let disk_bytes_per_account = ratio(kv.stats().disk_bytes, bench.accounts);
    warm(&store, bench)?;

    let before = Usage::now();
    let begun = Instant::now();
    let mut times = Vec::new();
    for number in 0..bench.blocks {
        let begun = Instant::now();
        let block = next_block(&store, &parent, number, bench)?;
        store.commit(&block)?;
        times.push(begun.elapsed());
        parent = block.header;
    }
    let elapsed = begun.elapsed();
    store.materialise()?;
    let used = Usage::now().since(&before);
    let updates = bench.blocks.saturating_mul(bench.updates);
    times.sort_unstable();
    let percentile = |percent: usize| {
        let at = times.len().saturating_mul(percent).checked_div(100).unwrap_or(0);
        times
            .get(at.min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    let mut report = StateReport {
        updates_per_second: ratio(updates, 1) / elapsed.as_secs_f64(),
        block_p50: percentile(50),
        block_p99: percentile(99),
        cpu_us_per_update: used.cpu.as_secs_f64() * 1e6 / ratio(updates, 1),
        bytes_per_update: ratio(used.written_bytes, updates),
        proof_bytes: 0.0,
        proofs_made_per_second: 0.0,
        proofs_verified_per_second: 0.0,
        disk_bytes_per_account,
        peak_mib: 0.0,
    };
    prove(&store, bench, &mut report)?;
    report.peak_mib = process::peak_mib();
    store.close()?;
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

fn address(n: u64) -> Address {
    Address(Domain::Receipt.hash(&n.to_le_bytes()).0)
}

fn account(n: u64) -> Account {
    Account {
        balance: Amount(mix(n) >> 20),
        nonce: Nonce(n % 100),
        ..Account::default()
    }
}

fn genesis(accounts: u64) -> Result<GenesisState, StorageError> {
    let key = SecretKey::from_seed(&[1; 32]).public_key();
    let payout = address(0);
    let validators = ValidatorSet::new(vec![Validator {
        key,
        power: Power(1),
        payout,
    }]);
    let validators = validators.map_err(|error| StorageError::Refused(error.to_string()))?;
    let params = ChainParams::devnet();
    let all: Vec<_> = (0..accounts).map(|n| (address(n), account(n))).collect();
    let mut leaves: Vec<_> = all
        .iter()
        .map(|(at, account)| (account_key(at), encode(account)))
        .collect();
    leaves.sort_unstable();
    let state_root = root_of_sorted::<_, StorageError>(TrieKind::Account, leaves.into_iter().map(Ok))?;
    let body = Body::V1(BodyV1::default());
    let header = Header {
        version: BLOCK_VERSION,
        height: Height(0),
        round: Round(0),
        proposer: PublicKey([0; 32]),
        parent: Hash::ZERO,
        time: TimeMs(0),
        ticks: 0,
        poh_seq: 0,
        poh_hash: Hash::ZERO,
        body_hash: body.hash(),
        tx_root: Hash::ZERO,
        receipt_root: Hash::ZERO,
        evidence_root: Hash::ZERO,
        state_root,
        validators_hash: validators.hash(),
        next_validators_hash: validators.hash(),
        params_hash: params.hash(),
        last_commit_hash: Hash::ZERO,
    };
    Ok(GenesisState {
        header,
        body,
        params,
        validators,
        accounts: all,
        slots: Vec::new(),
    })
}

/// Reads every account once when the cache can hold them, so that the measurement is of a warm cache.
fn warm(store: &Store, bench: &StateBench) -> Result<(), StorageError> {
    if bench.config.rows_cached_max < usize::try_from(bench.accounts).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let view = store.view();
    (0..bench.accounts).try_for_each(|n| view.account(&address(n)).map(|_| ()))
}

/// Reads, changes and applies one block's accounts, as execution would.
fn next_block(
    store: &Store,
    parent: &Header,
    number: u64,
    bench: &StateBench,
) -> Result<DecidedBlock<StateView>, StorageError> {
    let view = store.view();
    let mut changes = StateChanges::default();
    let mut draw = number.wrapping_mul(bench.updates.saturating_mul(2));
    while (changes.accounts.len() as u64) < bench.updates.min(bench.accounts) {
        let at = address(mix(draw).checked_rem(bench.accounts).unwrap_or(0));
        draw = draw.wrapping_add(1);
        let mut account = view.account(&at)?.unwrap_or_default();
        account.balance = Amount(mix(account.balance.0) >> 20);
        account.nonce = account.nonce.saturating_add(1);
        changes.accounts.insert(at, account);
    }
    let (state, diff) = view.apply(&changes)?;
    Ok(block(parent, state, diff))
}

fn block(parent: &Header, state: StateView, diff: StateDiff) -> DecidedBlock<StateView> {
    let height = parent.height.saturating_add(1);
    let header = Header {
        height,
        parent: parent.hash(),
        state_root: diff.root,
        ..parent.clone()
    };
    let certificate = CommitCertificate {
        height,
        round: Round(0),
        block: header.hash(),
        signatures: Vec::new(),
    };
    let body = Body::V1(BodyV1::default());
    DecidedBlock {
        header,
        hash: certificate.block,
        body,
        certificate,
        receipts: Receipts::default(),
        diff,
        state,
        ids: Vec::new(),
    }
}

fn prove(store: &Store, bench: &StateBench, report: &mut StateReport) -> Result<(), StorageError> {
    let view = store.view();
    let at: Vec<_> = (0..bench.proofs)
        .map(|n| address(mix(n ^ 0x5eed).checked_rem(bench.accounts).unwrap_or(0)))
        .collect();
    let begun = Instant::now();
    let proofs: Result<Vec<_>, _> = at.iter().map(|at| view.prove_account(at)).collect();
    let (proofs, made) = (proofs?, begun.elapsed());
    let begun = Instant::now();
    for (at, proof) in at.iter().zip(&proofs) {
        let found = verify(TrieKind::Account, &view.root(), &account_key(at), &proof.proof);
        found.map_err(|error| StorageError::corrupt("proof", error))?;
    }
    let verified = begun.elapsed();
    let bytes = proofs
        .iter()
        .map(|proof| proof.proof.encode().len() as u64)
        .fold(0, u64::saturating_add);
    report.proof_bytes = ratio(bytes, bench.proofs);
    report.proofs_made_per_second = ratio(bench.proofs, 1) / made.as_secs_f64();
    report.proofs_verified_per_second = ratio(bench.proofs, 1) / verified.as_secs_f64();
    Ok(())
}
