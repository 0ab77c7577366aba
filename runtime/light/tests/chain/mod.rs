//! A block with everything that can be proved: accounts, slots, transactions, a certificate.

use std::collections::BTreeMap;

use vibecoin_light::{Claim, ProofFile, Trust};
use vibecoin_primitives::{
    Account, Address, Amount, Body, BodyV1, ChainParams, CommitCertificate, Hash, Header, Height, Nonce,
    Power, Receipts, Round, SecretKey, Tick, TimeMs, Transaction, Validator, ValidatorSet, account_key,
    encode, merkle, slot_key, tick_root,
};
use vibecoin_tests_support::{self as support, certify, header, key, success, transfer, trie_of};
use vibecoin_trie::Trie;
use vibecoin_trie::model::MemoryState;

pub struct TestChain {
    pub genesis: Hash,
    pub params: ChainParams,
    pub validators: ValidatorSet,
    pub header: Header,
    pub certificate: Option<CommitCertificate>,
    pub body: Body,
    pub receipts: Receipts,
    pub accounts: BTreeMap<Address, Account>,
    pub slots: BTreeMap<Hash, Vec<u8>>,
    state: MemoryState,
    trie: Trie,
    storage: Trie,
}

pub fn address(n: u8) -> Address {
    Address([n; 32])
}

pub fn absent() -> Address {
    Address([200; 32])
}

pub fn slot(n: u8) -> Hash {
    Hash([n; 32])
}

impl TestChain {
    /// Block 7 of a chain with this many equal validators, all of which signed.
    pub fn new(validators: u8) -> Self {
        Self::build(validators, 7, 1)
    }

    /// The same height of another chain: other keys, other genesis, other state.
    pub fn foreign() -> Self {
        Self::build(4, 7, 50)
    }

    /// Block 0, whose hash is the genesis hash.
    pub fn genesis() -> Self {
        Self::build(4, 0, 1)
    }

    fn build(validators: u8, height: u64, salt: u8) -> Self {
        let keys: Vec<SecretKey> = (0..validators).map(|n| key(salt + n)).collect();
        let members = keys.iter().map(|key| Validator {
            key: key.public_key(),
            power: Power(10),
            payout: Address([99; 32]),
        });
        let set = ValidatorSet::new(members.collect()).unwrap();
        let params = ChainParams::devnet();
        let (accounts, slots, state, trie, storage) = state(salt);
        let signing_genesis = Hash([salt; 32]);
        let (body, receipts) = body(&signing_genesis);
        let roots: Vec<Hash> = body
            .v1()
            .ticks
            .iter()
            .map(|tick| {
                tick_root(
                    &tick
                        .transactions
                        .iter()
                        .map(Transaction::hash)
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        let header = Header {
            height: Height(height),
            time: TimeMs(1_000),
            ticks: 4,
            poh_seq: 50_000,
            poh_hash: Hash([4; 32]),
            body_hash: body.hash(),
            tx_root: merkle::root(&roots),
            receipt_root: receipts.root(),
            state_root: trie.root(),
            validators_hash: set.hash(),
            next_validators_hash: set.hash(),
            params_hash: params.hash(),
            ..header()
        };
        let genesis = if height == 0 {
            header.hash()
        } else {
            signing_genesis
        };
        let certificate = (height > 0).then(|| certify(&genesis, &header, Round(2), &keys));
        Self {
            genesis,
            params,
            validators: set,
            header,
            certificate,
            body,
            receipts,
            accounts,
            slots,
            state,
            trie,
            storage,
        }
    }

    pub fn trust(&self) -> Trust {
        Trust::new(self.genesis, &self.params, self.validators.clone())
    }

    pub fn file(&self, claims: Vec<Claim>) -> ProofFile {
        ProofFile::new(
            self.genesis,
            self.params.fault_model,
            self.header.clone(),
            self.certificate.clone(),
            self.validators.clone(),
            claims,
        )
    }

    fn prove_account(&self, address: Address) -> Vec<u8> {
        let value = self.accounts.get(&address).map(encode);
        self.trie
            .prove(&account_key(&address), value.as_deref(), &self.state)
            .unwrap()
            .encode()
    }

    pub fn account_claim(&self, address: Address) -> Claim {
        Claim::Account {
            address,
            proof: self.prove_account(address),
        }
    }

    pub fn slot_claim(&self, owner: Address, slot: Hash) -> Claim {
        let has_slots = self
            .accounts
            .get(&owner)
            .is_some_and(|account| account.storage_root.is_some());
        let proof = has_slots.then(|| {
            let value = self.slots.get(&slot).map(Vec::as_slice);
            self.storage
                .prove(&slot_key(&slot), value, &self.state)
                .unwrap()
                .encode()
        });
        Claim::Slot {
            address: owner,
            slot,
            account: self.prove_account(owner),
            proof,
        }
    }

    pub fn transaction_claim(&self, index: usize) -> Claim {
        Claim::transaction(&self.body, &self.receipts, index).unwrap()
    }
}

type State = (
    BTreeMap<Address, Account>,
    BTreeMap<Hash, Vec<u8>>,
    MemoryState,
    Trie,
    Trie,
);

/// Forty accounts; account 0 has twenty slots.
fn state(salt: u8) -> State {
    let mut state = MemoryState::default();
    let slots: BTreeMap<Hash, Vec<u8>> = (0..20).map(|n| (slot(n), vec![n ^ salt; 5])).collect();
    let storage = Trie::storage(account_key(&address(0)), Hash::ZERO);
    let rows = slots.iter().map(|(s, v)| (slot_key(s), v.clone())).collect();
    let storage = trie_of(&storage, rows, &mut state);
    let accounts: BTreeMap<Address, Account> = (0..40)
        .map(|n| {
            let account = Account {
                balance: Amount(1_000 + u64::from(n) + u64::from(salt)),
                nonce: Nonce(u64::from(n)),
                storage_root: (n == 0).then(|| storage.root()),
                ..Account::default()
            };
            (address(n), account)
        })
        .collect();
    let rows = accounts
        .iter()
        .map(|(address, account)| (account_key(address), encode(account)))
        .collect();
    let trie = trie_of(&Trie::accounts(Hash::ZERO), rows, &mut state);
    (accounts, slots, state, trie, storage)
}

/// Four ticks with 2, 0, 5 and 1 transactions.
fn body(genesis: &Hash) -> (Body, Receipts) {
    let key = key(77);
    let mut nonce = 0;
    let mut receipts = Vec::new();
    let mut transaction = || {
        let transaction = support::body(genesis, &key, nonce, vec![transfer(3, 1)]).sign(genesis, &key);
        nonce += 1;
        receipts.push(success(transaction.id(genesis)));
        transaction
    };
    let ticks = [2, 0, 5, 1]
        .into_iter()
        .map(|count| Tick {
            hash: Hash([5; 32]),
            transactions: (0..count).map(|_| transaction()).collect(),
        })
        .collect();
    (
        Body::V1(BodyV1 {
            ticks,
            ..BodyV1::default()
        }),
        Receipts(receipts),
    )
}
