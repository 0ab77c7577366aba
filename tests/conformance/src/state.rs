//! A small state with its tries, a final block over it, and proofs of its contents.

use vibecoin_light::{Claim, ProofFile, Trust};
use vibecoin_primitives::{
    Account, AccountType, Address, Body, BodyV1, CommitCertificate, Hash, Header, Height, Receipts, Round,
    Tick, account_key, encode, merkle, slot_key, tick_root,
};
use vibecoin_tests_support::{certify, trie_of};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Proof, Trie};

use crate::{
    GENESIS, account, crash_params, hash, header, key, many_operations, receipts, transfer, validator_set,
};

/// Accounts and slots with their tries.
pub struct KnownState {
    /// Ascending by [`account_key`].
    pub accounts: Vec<(Address, Account)>,
    /// Owner of the slots.
    pub owner: Address,
    /// Slots of `owner`, ascending by [`slot_key`].
    pub slots: Vec<(Hash, Vec<u8>)>,
    account_trie: Trie,
    account_nodes: MemoryState,
    slot_trie: Trie,
    slot_nodes: MemoryState,
}

/// Five users, one of them with three slots, and the chain's own account.
#[must_use]
pub fn known_state() -> KnownState {
    let owner = Address(hash(0x10).0);
    let mut slots: Vec<(Hash, Vec<u8>)> = [(0x30, "a value"), (0x31, "b"), (0x32, "c")]
        .map(|(n, value)| (hash(n), value.into()))
        .to_vec();
    slots.sort_by_key(|(slot, _)| slot_key(slot));
    let keyed: Vec<_> = slots
        .iter()
        .map(|(slot, value)| (slot_key(slot), value.clone()))
        .collect();
    let (mut account_nodes, mut slot_nodes) = (MemoryState::default(), MemoryState::default());
    let slot_trie = trie_of(
        &Trie::storage(account_key(&owner), Hash::ZERO),
        keyed,
        &mut slot_nodes,
    );

    let mut accounts: Vec<(Address, Account)> = [0x10, 0x40, 0x70, 0xa1, 0xd0]
        .map(|n| (Address(hash(n).0), account()))
        .to_vec();
    accounts.push((
        Address::system(),
        Account {
            kind: AccountType::System,
            ..Account::default()
        },
    ));
    for (_, account) in accounts.iter_mut().filter(|(address, _)| *address == owner) {
        account.storage_root = Some(slot_trie.root());
    }
    accounts.sort_by_key(|(address, _)| account_key(address));
    let keyed: Vec<_> = accounts
        .iter()
        .map(|(address, value)| (account_key(address), encode(value)))
        .collect();
    let account_trie = trie_of(&Trie::accounts(Hash::ZERO), keyed, &mut account_nodes);
    KnownState {
        accounts,
        owner,
        slots,
        account_trie,
        account_nodes,
        slot_trie,
        slot_nodes,
    }
}

impl KnownState {
    /// The state root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.account_trie.root()
    }

    /// The account, if it exists.
    #[must_use]
    pub fn account(&self, address: &Address) -> Option<Account> {
        self.accounts
            .iter()
            .find(|(known, _)| known == address)
            .map(|(_, account)| *account)
    }

    /// The value of a slot of the owner, if it is set.
    #[must_use]
    pub fn slot(&self, slot: &Hash) -> Option<&[u8]> {
        self.slots
            .iter()
            .find(|(known, _)| known == slot)
            .map(|(_, value)| value.as_slice())
    }

    /// The proof of an account or of its absence.
    #[must_use]
    pub fn prove_account(&self, address: &Address) -> Proof {
        let value = self.account(address).map(|account| encode(&account));
        prove(
            &self.account_trie,
            &self.account_nodes,
            &account_key(address),
            value.as_deref(),
        )
    }

    /// The proof of a slot of the owner or of its absence.
    #[must_use]
    pub fn prove_slot(&self, slot: &Hash) -> Proof {
        prove(
            &self.slot_trie,
            &self.slot_nodes,
            &slot_key(slot),
            self.slot(slot),
        )
    }

    /// A header over this state with the transactions of [`body`], and its certificate by all validators.
    fn block(&self) -> (Header, CommitCertificate) {
        let set = validator_set();
        let tick_roots: Vec<Hash> = body()
            .v1()
            .ticks
            .iter()
            .map(|tick| tick_root(&hashes(tick)))
            .collect();
        let header = Header {
            height: Height(7),
            body_hash: body().hash(),
            tx_root: merkle::root(&tick_roots),
            receipt_root: proven_receipts().root(),
            state_root: self.root(),
            validators_hash: set.hash(),
            params_hash: crash_params().hash(),
            ..header()
        };
        let certificate = certify(&GENESIS, &header, Round(0), &[2, 3, 4, 5].map(key));
        (header, certificate)
    }
}

fn prove(trie: &Trie, nodes: &MemoryState, key: &Hash, value: Option<&[u8]>) -> Proof {
    #[expect(
        clippy::expect_used,
        reason = "trie and nodes belong together, and the value is the trie's"
    )]
    trie.prove(key, value, nodes).expect("a proof")
}

fn hashes(tick: &Tick) -> Vec<Hash> {
    tick.transactions
        .iter()
        .map(vibecoin_primitives::Transaction::hash)
        .collect()
}

/// Two ticks with a transaction each.
fn body() -> Body {
    let ticks = [transfer(), many_operations()].map(|tx| Tick {
        hash: hash(0x0c),
        transactions: vec![tx],
    });
    Body::V1(BodyV1 {
        ticks: ticks.to_vec(),
        last_commit: None,
        evidence: vec![],
    })
}

/// The receipts of [`body`].
fn proven_receipts() -> Receipts {
    let ids = [transfer().id(&GENESIS), many_operations().id(&GENESIS)];
    let with_id = |(receipt, id): (&vibecoin_primitives::Receipt, Hash)| {
        let inner = vibecoin_primitives::ReceiptV1 {
            transaction: id,
            ..receipt.v1().clone()
        };
        vibecoin_primitives::Receipt::V1(inner)
    };
    Receipts(receipts().0.iter().zip(ids).map(with_id).collect())
}

/// A proof of every kind of claim: an account, an absent account, a slot, an absent slot, a slot of an
/// account without slots, and a transaction.
#[must_use]
pub fn proof_file() -> ProofFile {
    let state = known_state();
    let (header, certificate) = state.block();
    let (other, absent) = (Address(hash(0x40).0), Address(hash(0x41).0));
    let account_proof = |address: &Address| state.prove_account(address).encode();
    let slot = |slot: Hash| Claim::Slot {
        address: state.owner,
        slot,
        account: account_proof(&state.owner),
        proof: Some(state.prove_slot(&slot).encode()),
    };
    let mut claims = vec![
        Claim::Account {
            address: state.owner,
            proof: account_proof(&state.owner),
        },
        Claim::Account {
            address: absent,
            proof: account_proof(&absent),
        },
        slot(hash(0x30)),
        slot(hash(0x39)),
        Claim::Slot {
            address: other,
            slot: hash(0x30),
            account: account_proof(&other),
            proof: None,
        },
    ];
    claims.extend(Claim::transaction(&body(), &proven_receipts(), 1));
    let params = crash_params();
    ProofFile::new(
        GENESIS,
        params.fault_model,
        header,
        Some(certificate),
        validator_set(),
        claims,
    )
}

/// The block of [`proof_file`] with the same validators for the next block, as a snapshot needs it, and its certificate
/// by all of them.
#[must_use]
pub fn snapshot_block() -> (Header, CommitCertificate) {
    let (header, _) = known_state().block();
    let header = Header {
        next_validators_hash: header.validators_hash,
        ..header
    };
    let certificate = certify(&GENESIS, &header, Round(0), &[2, 3, 4, 5].map(key));
    (header, certificate)
}

/// Trust anchors of a verifier of [`proof_file`].
#[must_use]
pub fn proof_trust() -> Trust {
    Trust::new(GENESIS, &crash_params(), validator_set())
}
