//! The largest blocks that the parameters allow, one of each kind, and the time to judge each.
//!
//! A block that takes longer to judge than to make stalls every validator, and the senders of transactions
//! control its kind. So each bound of the parameters has a kind of block here that reaches it, made by the
//! proposer's own builder and judged by the validators' own rule, on a real store whose caches are empty.
//! `vibecoin bench worst-block` prints the figures.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vibecoin_consensus::MonoTime;
use vibecoin_execution::{DecidedBlock, StateChanges};
use vibecoin_genesis::Genesis;
use vibecoin_mempool::{Mempool, MempoolConfig};
use vibecoin_primitives::{
    Account, Address, Amount, Body, BodyV1, ChainParams, CommitCertificate, CommitSignature, Demand, Domain,
    Hash, Header, Height, Power, ProposerSchedule, Receipts, Round, SecretKey, TimeMs, Transaction,
    Validator, VerifiedTransaction,
};
use vibecoin_replica::build::{Builder, Built, Extras, Step};
use vibecoin_replica::check::judge;
use vibecoin_replica::{Chain, Parent, Validation};
use vibecoin_storage::kv::{RocksConfig, RocksKv};
use vibecoin_storage::{GenesisState, StateView, StorageError, Store, StoreConfig};

use crate::inspect::{Keys, SLICE, check_signatures};

mod kinds;

use kinds::Kind;

/// Accounts that have large slots.
const OWNERS: usize = 1_024;
/// Large slots of each of them.
const SLOTS_EACH: usize = 16;
/// Owners whose slots one block of the preparation sets: 16 MiB of values.
const OWNERS_PER_BLOCK: usize = 256;
/// Balance of every account, in base units.
const BALANCE: Amount = Amount(1_000_000_000);
/// Sufficient for any transaction here.
const FEE: Amount = Amount(400_000);

/// Parameters of the measurement.
#[derive(Clone, Debug)]
pub struct WorstBlock {
    /// An empty folder; the files created there are kept.
    pub folder: PathBuf,
    /// The parameters whose bounds are reached.
    pub params: ChainParams,
    /// Number of accounts besides those that the blocks touch.
    pub accounts: usize,
}

/// The largest block of one kind.
#[derive(Clone, Debug)]
pub struct WorstReport {
    /// The content that fills it.
    pub kind: &'static str,
    /// Its transactions.
    pub transactions: usize,
    /// Their demand on the block's bounds.
    pub demand: Demand,
    /// Time to judge it when every signature was checked before, as for transactions received by gossip.
    pub judged: Duration,
    /// The same including the check of all signatures, as for a block that arrives in one piece at its end.
    pub judged_unknown: Duration,
    /// Time to make it, by its ticks.
    pub block_time: Duration,
}

/// The measurement could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WorstError(String);

fn failed(error: impl ToString) -> WorstError {
    WorstError(error.to_string())
}

/// The chain that the blocks are made on.
struct Bench {
    folder: PathBuf,
    chain: Chain,
    validator: SecretKey,
    users: Vec<SecretKey>,
    header: Header,
    schedule: ProposerSchedule,
    certificate: CommitCertificate,
}

/// Makes and judges the largest block of each kind.
///
/// # Errors
/// [`WorstError`] when the folder is not empty, the disk fails, or a block is not as expected.
pub fn run(bench: &WorstBlock) -> Result<Vec<WorstReport>, WorstError> {
    let prepared = prepare(bench)?;
    prepared
        .kinds()
        .into_iter()
        .map(|kind| prepared.measure(kind))
        .collect()
}

/// Maximum time for which readers of this process may hold a store that was just closed.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// Opens a store that was just closed: rows that were prefetched may still be in flight.
fn while_locked<T>(open: impl Fn() -> Result<T, StorageError>) -> Result<T, StorageError> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(StorageError::Locked { .. }) if begun.elapsed() < RELEASE_MAX => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

/// The median of three measurements.
fn median(measure: impl Fn() -> Result<Duration, WorstError>) -> Result<Duration, WorstError> {
    let mut taken = [measure()?, measure()?, measure()?];
    taken.sort_unstable();
    let [_, median, _] = taken;
    Ok(median)
}

fn key(number: usize) -> SecretKey {
    SecretKey::from_seed(&Domain::Receipt.hash(&number.to_le_bytes()).0)
}

/// The address of an account that sends nothing. Genesis accepts only keys that can sign.
fn stranger(number: usize) -> Address {
    let seed = Domain::Evidence.hash(&number.to_le_bytes());
    Address::from(SecretKey::from_seed(&seed.0).public_key())
}

fn slot(number: usize) -> Hash {
    Domain::Certificate.hash(&number.to_le_bytes())
}

/// Creates a chain whose accounts have large slots, on disk.
fn prepare(bench: &WorstBlock) -> Result<Bench, WorstError> {
    let count = bench.params.block_transactions_max as usize;
    let validator = key(usize::MAX);
    let users: Vec<SecretKey> = (0..count.max(OWNERS)).map(key).collect();
    let others = count.saturating_add(bench.accounts);
    let accounts: BTreeMap<Address, Amount> = users
        .iter()
        .map(|user| Address::from(user.public_key()))
        .chain((0..others).map(stranger))
        .map(|address| (address, BALANCE))
        .collect();
    let genesis = Genesis {
        time: TimeMs(1_000_000),
        params: bench.params.clone(),
        validators: vec![Validator {
            key: validator.public_key(),
            power: Power(1),
            payout: stranger(0),
        }],
        accounts,
    };
    let built = genesis.build().map_err(failed)?;
    let state = GenesisState {
        header: built.header.clone(),
        body: built.body,
        params: built.params.clone(),
        validators: built.validators.clone(),
        accounts: built.accounts,
        slots: built.slots,
    };
    let store = Store::open_or_create_path(&bench.folder, &state, StoreConfig::default()).map_err(failed)?;
    drop(state);
    let mut prepared = Bench {
        folder: bench.folder.clone(),
        chain: Chain::new(built.hash, built.params, built.validators),
        validator,
        users,
        header: built.header,
        schedule: built.schedule,
        certificate: CommitCertificate {
            height: Height(0),
            round: Round(0),
            block: built.hash,
            signatures: Vec::new(),
        },
    };
    prepared.fill(&store)?;
    store.close().map_err(failed)?;
    drop(store);
    prepared.compact()?;
    Ok(prepared)
}

impl Bench {
    /// Compacts what the preparation wrote. Each opening of the store began to do so, and took one core from the
    /// block being judged: figures of one kind differed by a third.
    fn compact(&self) -> Result<(), WorstError> {
        let kv = while_locked(|| RocksKv::open(&self.folder, RocksConfig::default())).map_err(failed)?;
        kv.compact().map_err(failed)
    }

    /// Sets the large slots, in blocks without transactions: the history of the state is of no interest here.
    fn fill(&mut self, store: &Store) -> Result<(), WorstError> {
        let value = vec![7u8; self.chain.params.slot_value_bytes_max as usize];
        let owners: Vec<Address> = self.owners().collect();
        for group in owners.chunks(OWNERS_PER_BLOCK) {
            let view = store.view();
            let mut changes = StateChanges::default();
            for owner in group {
                let account = view.account(owner).map_err(failed)?.unwrap_or_default();
                changes.accounts.insert(*owner, account);
                for number in 0..SLOTS_EACH {
                    changes.slots.insert((*owner, slot(number)), Some(value.clone()));
                }
            }
            let (state, diff) = view.apply(&changes).map_err(failed)?;
            let header = Header {
                height: self.header.height.saturating_add(1),
                parent: self.header.hash(),
                state_root: diff.root,
                ..self.header.clone()
            };
            let certificate = self.certify(&header);
            let block = DecidedBlock {
                header: header.clone(),
                hash: certificate.block,
                body: Body::V1(BodyV1::default()),
                certificate: certificate.clone(),
                receipts: Receipts::default(),
                diff,
                state,
                ids: Vec::new(),
            };
            store.commit(&block).map_err(failed)?;
            (self.header, self.certificate) = (header, certificate);
        }
        Ok(())
    }

    fn certify(&self, header: &Header) -> CommitCertificate {
        let mut certificate = CommitCertificate {
            height: header.height,
            round: Round(0),
            block: header.hash(),
            signatures: Vec::new(),
        };
        let validator = self.validator.public_key();
        let vote = certificate
            .precommit(validator)
            .sign(&self.chain.genesis, &self.validator);
        certificate.signatures.push(CommitSignature {
            validator,
            signature: vote.signature,
        });
        certificate
    }

    fn owners(&self) -> impl Iterator<Item = Address> {
        let owners = self.users.iter().take(OWNERS);
        owners.map(|user| Address::from(user.public_key()))
    }

    fn measure(&self, kind: Kind) -> Result<WorstReport, WorstError> {
        let name = kind.name;
        let known: HashMap<Hash, VerifiedTransaction> = kind
            .transactions
            .iter()
            .map(|transaction| (*transaction.hash(), transaction.clone()))
            .collect();
        // Without its state, which would keep the store open.
        let (header, body) =
            self.open(|state| self.build(state, kind).map(|built| (built.header, built.body)))?;
        let judge_once = || {
            self.open(|state| {
                let parent = self.parent(state);
                let begun = Instant::now();
                let verdict = judge(&self.chain, &parent, &header, &body, &|hash| {
                    known.get(hash).cloned()
                });
                let took = begun.elapsed();
                match verdict {
                    Validation::Valid(_) => Ok(took),
                    Validation::Invalid(fault) => Err(failed(format!("block of kind {name}: {fault}"))),
                    Validation::Fault(error) => Err(failed(error)),
                }
            })
        };
        let judged = median(judge_once)?;
        let signatures = median(|| self.check_signatures(&body))?;
        let params = &self.chain.params;
        let demand = body.transactions().fold(Demand::default(), |sum, transaction| {
            sum.plus(Demand::of(transaction.body(), params))
        });
        Ok(WorstReport {
            kind: name,
            transactions: body.transaction_count(),
            demand,
            judged,
            judged_unknown: judged.saturating_add(signatures),
            block_time: Duration::from_millis(params.ticks_ms(params.ticks_per_block)),
        })
    }

    /// Time to check the signatures of a block that arrives in one part, so that nothing is executed
    /// meanwhile.
    fn check_signatures(&self, body: &Body) -> Result<Duration, WorstError> {
        let mut unknown: Vec<Transaction> = body.transactions().cloned().collect();
        let mut keys = Keys::default();
        let begun = Instant::now();
        while !unknown.is_empty() {
            let some = unknown.split_off(unknown.len().saturating_sub(SLICE));
            check_signatures(some, &self.chain.genesis, &mut keys)
                .ok_or_else(|| failed("a bad signature"))?;
        }
        Ok(begun.elapsed())
    }

    /// Reopens the store, so that none of its contents are in memory.
    fn open<T>(&self, work: impl FnOnce(StateView) -> Result<T, WorstError>) -> Result<T, WorstError> {
        let store = while_locked(|| {
            Store::open_path(&self.folder, Some(&self.chain.genesis), StoreConfig::default())
        })
        .map_err(failed)?;
        let result = work(store.view());
        store.close().map_err(failed)?;
        drop(store);
        result
    }

    fn parent(&self, state: StateView) -> Parent<StateView> {
        Parent {
            header: self.header.clone(),
            hash: self.header.hash(),
            state,
            schedule: self.schedule.clone(),
        }
    }

    /// Lets a proposer's builder take from the offer up to its bounds.
    fn build(&self, state: StateView, kind: Kind) -> Result<Built<StateView>, WorstError> {
        let params = &self.chain.params;
        let mut pool = Mempool::new(MempoolConfig::default(), params.clone());
        let height = self.header.height.saturating_add(1);
        for transaction in kind.transactions {
            let account: Option<Account> = state.account(&transaction.sender()).map_err(failed)?;
            let offered = pool.insert(transaction.into(), account.as_ref(), height, 0);
            offered.map_err(failed)?;
        }
        let extras = Extras {
            last_commit: Some(self.certificate.clone()),
            evidence: kind.evidence,
        };
        let mut now = MonoTime(0);
        let mut builder = Builder::new(
            self.chain.clone(),
            self.parent(state),
            height,
            Round(0),
            self.validator.public_key(),
            extras,
            now,
            Some(now),
            params.block_operations_max as usize,
        )
        .map_err(failed)?;
        loop {
            if let Some(due) = builder.due(!pool.has_pending()) {
                now = now.max(due);
            }
            if builder.step(&mut pool, now).map_err(failed)? == Step::Complete {
                return builder.finish(TimeMs(0)).map_err(failed);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_goes_up_to_its_bound_and_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let params = ChainParams {
            hashes_per_tick: 10,
            block_transactions_max: 96,
            block_operations_max: 128,
            block_slots_max: 64,
            block_state_bytes_max: 384 * 1024,
            slot_value_bytes_max: 512,
            ..ChainParams::devnet()
        };
        let reports = run(&WorstBlock {
            folder: folder.path().join("db"),
            params,
            accounts: 10,
        })
        .unwrap();
        let found = reports.iter().map(|report| {
            let Demand {
                operations, slots, ..
            } = report.demand;
            (report.kind, report.transactions, operations, slots)
        });
        let expected = [
            ("transfers", 96, 96, 0),
            ("operations", 2, 128, 0),
            ("creations", 96, 96, 0),
            ("failed", 64, 128, 0),
            ("slots set", 64, 64, 64),
            ("slots cleared", 4, 64, 64),
            ("slots cleared apart", 64, 64, 64),
            ("cleared and transferred", 96, 96, 64),
            ("evidence", 0, 0, 0),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert!(reports.iter().all(|report| report.judged > Duration::ZERO));
    }
}
