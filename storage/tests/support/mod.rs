//! A small real chain: signed transactions, Proof of History, certificates, and changes drawn from a seed.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use vibecoin_execution::{DecidedBlock, StateChanges};
use vibecoin_poh::{Chain as PohChain, Pace, mixin, seed};
use vibecoin_primitives::*;
use vibecoin_storage::kv::{KvStore, MemoryKv};
use vibecoin_storage::rng::mix;
use vibecoin_storage::{GenesisState, StateView, Store, StoreConfig};
use vibecoin_tests_support::{self as support, certify, genesis_header, key, success};

pub const ACCOUNTS: u64 = 40;
const BALANCE: u64 = 1_000;

/// Everything on demand and nothing on threads: the same run every time.
pub fn config() -> StoreConfig {
    StoreConfig {
        background: false,
        trie_nodes_max: 20,
        rows_cached_max: 64,
        ..StoreConfig::default()
    }
}

pub struct Chain {
    pub genesis: GenesisState,
    key: SecretKey,
    payer: SecretKey,
    parent: Header,
    certificate: Option<CommitCertificate>,
}

fn address(n: u64) -> Address {
    Address(Domain::Receipt.hash(&n.to_le_bytes()).0)
}

pub fn addresses() -> Vec<Address> {
    (0..ACCOUNTS + 20)
        .map(address)
        .chain([Address::system()])
        .collect()
}

pub fn slot(n: u64) -> Hash {
    Domain::Evidence.hash(&n.to_le_bytes())
}

impl Chain {
    pub fn new() -> Self {
        let key = key(1);
        let params = ChainParams {
            hashes_per_tick: 7,
            ..ChainParams::dev()
        };
        let payout = address(0);
        let validators = ValidatorSet::new(vec![Validator {
            key: key.public_key(),
            power: Power(1),
            payout,
        }])
        .unwrap();
        let account = Account {
            balance: Amount(BALANCE),
            ..Account::default()
        };
        let mut accounts: Vec<_> = (0..ACCOUNTS).map(|n| (address(n), account)).collect();
        accounts.push((
            Address::system(),
            Account {
                kind: AccountType::System,
                ..Account::default()
            },
        ));
        let supply = (ACCOUNTS * BALANCE).to_le_bytes().to_vec();
        let slots = vec![(Address::system(), records::SUPPLY, supply)];
        let body = Body::V1(BodyV1::default());
        let header = Header {
            time: TimeMs(1_000),
            body_hash: body.hash(),
            ..genesis_header(&params, &validators, genesis_root(&accounts, &slots))
        };
        let genesis = GenesisState {
            header: header.clone(),
            body,
            params,
            validators,
            accounts,
            slots,
        };
        Self {
            genesis,
            key,
            payer: support::key(2),
            parent: header,
            certificate: None,
        }
    }

    pub fn hash(&self) -> Hash {
        self.genesis.header.hash()
    }

    pub fn store(&self, kv: Arc<dyn KvStore>) -> Store {
        Store::open_or_create(kv, &self.genesis, config()).unwrap()
    }

    /// The block after the last one made, on top of `view`.
    pub fn next(&mut self, view: &StateView, draw: u64) -> DecidedBlock<StateView> {
        let changes = changes(view, draw);
        let (state, diff) = view.apply(&changes).unwrap();
        self.block(state, diff, usize::try_from(draw % 4).unwrap())
    }

    pub fn block(
        &mut self,
        state: StateView,
        diff: StateDiff,
        transactions: usize,
    ) -> DecidedBlock<StateView> {
        let genesis = self.hash();
        let (parent, parent_hash) = (self.parent.clone(), self.parent.hash());
        let height = parent.height.saturating_add(1);
        let transactions: Vec<Transaction> = (0..transactions as u64)
            .map(|n| {
                let pay = Operation::Transfer {
                    to: address(n),
                    amount: Amount(1),
                };
                let body = TransactionBody {
                    valid_until: Height(1_000_000),
                    ..support::body(&genesis, &self.payer, height.0 * 10 + n, vec![pay])
                };
                body.sign(&genesis, &self.payer)
            })
            .collect();
        let ids: Vec<_> = transactions.iter().map(|tx| tx.id(&genesis)).collect();
        let receipts = Receipts(ids.iter().copied().map(success).collect());
        let pace = Pace::new(u64::from(self.genesis.params.hashes_per_tick), 1).unwrap();
        let mix_in = mixin(&transactions.iter().map(Transaction::hash).collect::<Vec<_>>());
        let proposer = self.key.public_key();
        let mut poh = PohChain::new(pace, seed(parent_hash, height.0, 0, &proposer.0));
        let tick = poh.finish_tick(mix_in).unwrap();
        let body = Body::V1(BodyV1 {
            ticks: vec![Tick {
                hash: tick.hash,
                transactions,
            }],
            last_commit: self.certificate.clone(),
            evidence: Vec::new(),
        });
        let header = Header {
            version: BLOCK_VERSION,
            height,
            round: Round(0),
            proposer,
            parent: parent_hash,
            time: TimeMs(parent.time.0 + 5),
            ticks: 1,
            poh_seq: parent.poh_seq + pace.hashes(),
            poh_hash: tick.hash,
            body_hash: body.hash(),
            tx_root: merkle::root(&[mix_in]),
            receipt_root: receipts.root(),
            evidence_root: Hash::ZERO,
            state_root: diff.root,
            last_commit_hash: self
                .certificate
                .as_ref()
                .map_or(Hash::ZERO, CommitCertificate::hash),
            ..parent
        };
        let certificate = certify(&genesis, &header, Round(0), std::slice::from_ref(&self.key));
        self.parent = header.clone();
        self.certificate = Some(certificate.clone());
        DecidedBlock {
            header,
            hash: certificate.block,
            body,
            certificate,
            receipts,
            diff,
            state,
            ids,
        }
    }

    /// Continues from an earlier block of the chain in `store`.
    pub fn back_to(&mut self, store: &Store, height: Height) {
        self.parent = store.reader().header(height).unwrap().unwrap();
        self.certificate = store.reader().certificate(height).unwrap();
    }

    /// Commits `count` blocks drawn from `draw`.
    pub fn grow(&mut self, store: &Store, count: u64, draw: u64) {
        for n in 0..count {
            let block = self.next(&store.view(), mix(draw * 1_000 + n));
            store.commit(&block).unwrap();
        }
    }
}

/// The root of the genesis state, computed by the slow reference model of the trie.
fn genesis_root(accounts: &[(Address, Account)], slots: &[(Address, Hash, Vec<u8>)]) -> Hash {
    use vibecoin_trie::{TrieKind, model::naive_root};
    let mut leaves = BTreeMap::new();
    for (address, account) in accounts {
        let own: BTreeMap<_, _> = slots
            .iter()
            .filter(|(owner, ..)| owner == address)
            .map(|(_, slot, value)| (slot_key(slot), value.clone()))
            .collect();
        let root = naive_root(TrieKind::Storage, &own);
        let account = Account {
            storage_root: (!root.is_zero()).then_some(root),
            ..*account
        };
        leaves.insert(account_key(address), encode(&account));
    }
    naive_root(TrieKind::Account, &leaves)
}

/// Some payments (some to new accounts) and some slots set, changed and removed.
pub fn changes(view: &StateView, draw: u64) -> StateChanges {
    let mut changes = StateChanges::default();
    let read = |changes: &StateChanges, at: &Address| {
        changes
            .accounts
            .get(at)
            .copied()
            .or(view.account(at).unwrap())
            .unwrap_or_default()
    };
    for n in 0..draw % 7 {
        let pick = |salt: u64, most: u64| mix(draw ^ (n << 8) ^ salt) % most;
        let (from, to) = (address(pick(1, ACCOUNTS)), address(pick(2, ACCOUNTS + 20)));
        let mut payer = read(&changes, &from);
        let amount = Amount(pick(3, 50).min(payer.balance.0));
        payer.balance = payer.balance.checked_sub(amount).unwrap();
        payer.nonce = payer.nonce.next().unwrap();
        changes.accounts.insert(from, payer);
        let mut payee = read(&changes, &to);
        payee.balance = payee.balance.checked_add(amount).unwrap();
        changes.accounts.insert(to, payee);
        if pick(4, 2) == 0 {
            let length = usize::try_from(pick(6, 40)).unwrap();
            let value = Some(vec![7; length]).filter(|value| !value.is_empty() && pick(7, 3) > 0);
            changes.slots.insert((from, slot(pick(5, 6))), value);
        }
    }
    changes
}

/// A chain of `count` blocks in memory.
pub fn chain_in_memory(count: u64, draw: u64) -> (Chain, MemoryKv, Store) {
    let (mut chain, kv) = (Chain::new(), MemoryKv::new());
    let store = chain.store(Arc::new(kv.clone()));
    chain.grow(&store, count, draw);
    (chain, kv, store)
}

/// An account and the values of its slots.
pub type Content = (Address, Account, Vec<Option<Vec<u8>>>);

/// Every account and slot that a test could have touched.
pub fn content(view: &StateView) -> Vec<Content> {
    let all = addresses().into_iter().filter_map(|at| {
        let account = view.account(&at).unwrap()?;
        let slots = (0..6).map(slot).chain([records::SUPPLY]);
        Some((
            at,
            account,
            slots.map(|slot| view.slot(&at, &slot).unwrap()).collect(),
        ))
    });
    all.collect()
}
