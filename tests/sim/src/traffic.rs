//! Clients: transactions that are valid, invalid, in conflict with each other, or duplicated.

use vibecoin_primitives::{
    Address, Amount, Hash, Height, Nonce, Operation, PublicKey, SecretKey, Signature, Transaction,
    TransactionBody, TransactionV1,
};
use vibecoin_tests_behaviours::Rng;

use crate::model::Model;

/// Accounts with a balance at genesis; the last one has little.
const FUNDED: u8 = 6;
/// Addresses that are created by transfers.
const NEW: u8 = 6;
/// The account of probes.
const PROBER: u8 = 99;
const PROBE_FEE: u64 = 20_000;
const RICH: u64 = 50_000_000;
const POOR: u64 = 12_000;

pub struct Traffic {
    keys: Vec<SecretKey>,
    rng: Rng,
    genesis: Hash,
    /// Earlier transactions, to be sent again.
    old: Vec<Transaction>,
}

fn user(index: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + index; 32])
}

impl Traffic {
    pub fn new(seed: u64, genesis: Hash) -> Self {
        let keys = (0..FUNDED + NEW).map(user).collect();
        Self {
            keys,
            rng: Rng::new(seed, 3),
            genesis,
            old: Vec::new(),
        }
    }

    /// Balances at the start.
    pub fn balances() -> impl Iterator<Item = (Address, Amount)> {
        let users = (0..FUNDED).map(|index| {
            let balance = if index + 1 == FUNDED { POOR } else { RICH };
            (Address::from(user(index).public_key()), Amount(balance))
        });
        users.chain([(Self::prober(), Amount(RICH))])
    }

    /// Sender of [`Traffic::probe`].
    pub fn prober() -> Address {
        Address::from(user(PROBER).public_key())
    }

    /// A valid transaction with a fee above all others; its sender is used for nothing else.
    pub fn probe(&self, nonce: u64) -> Transaction {
        Self::transfer_of_prober(&self.genesis, nonce, 1).sign(&self.genesis, &user(PROBER))
    }

    /// A transfer of a rich account, unsigned.
    pub fn transfer_of_prober(genesis: &Hash, nonce: u64, amount: u64) -> TransactionBody {
        TransactionBody {
            chain: genesis.prefix(),
            sender: user(PROBER).public_key(),
            nonce: Nonce(nonce),
            fee: Amount(PROBE_FEE),
            valid_until: Height(u64::from(u16::MAX)),
            operations: vec![Operation::Transfer {
                to: Address::from(user(0).public_key()),
                amount: Amount(amount),
            }],
        }
    }

    fn address(&mut self) -> Address {
        let index = self.rng.index(self.keys.len());
        Address::from(self.keys[index].public_key())
    }

    fn operation(&mut self, balance: u64) -> Operation {
        let rng = &mut self.rng;
        match rng.below(10) {
            0 => Operation::SetStorage {
                slot: Hash([rng.below(4) as u8; 32]),
                value: Vec::new(),
            },
            1 | 2 => {
                let (slot, len) = (Hash([rng.below(4) as u8; 32]), rng.between(1, 80) as usize);
                Operation::SetStorage {
                    slot,
                    value: vec![rng.next() as u8; len],
                }
            }
            kind => {
                let amount = match kind {
                    3 => 0,
                    4 => rng.next(),
                    5 => balance,
                    _ => rng.between(1, 10_000),
                };
                let to = if rng.chance(30) {
                    Address::system()
                } else {
                    self.address()
                };
                Operation::Transfer {
                    to,
                    amount: Amount(amount),
                }
            }
        }
    }

    /// The next transaction; clients know the chain from `model`.
    pub fn next(&mut self, model: &Model) -> Transaction {
        if self.rng.chance(50) && !self.old.is_empty() {
            let index = self.rng.index(self.old.len());
            return self.old[index].clone();
        }
        let index = match self.rng.below(4) {
            0 => self.rng.index(self.keys.len()),
            _ => self.rng.index(usize::from(FUNDED)),
        };
        let key = self.keys[index].clone();
        let sender = Address::from(key.public_key());
        let nonce = model.nonce(&sender);
        let nonce = match self.rng.below(20) {
            0 => nonce.saturating_sub(1),
            1..=5 => nonce + 1,
            6 | 7 => nonce + 2,
            8 => nonce + self.rng.below(100),
            _ => nonce,
        };
        let operations = 1 + self.rng.below(3) * self.rng.below(2);
        let balance = model.balance(&sender);
        let operations = (0..operations).map(|_| self.operation(balance)).collect();
        let mut body = TransactionBody {
            chain: self.genesis.prefix(),
            sender: PublicKey(sender.0),
            nonce: Nonce(nonce),
            fee: Amount(if self.rng.chance(30) {
                10
            } else {
                self.rng.between(500, 3_000)
            }),
            valid_until: Height(model.height().0 + self.rng.between(1, 100)),
            operations,
        };
        if self.rng.chance(20) {
            body.chain = [0xff; 4];
        }
        let mut transaction = body.sign(&self.genesis, &key);
        if self.rng.chance(20) {
            let Transaction::V1(TransactionV1 { signature, .. }) = &mut transaction;
            *signature = Signature([1; 64]);
        }
        self.old.push(transaction.clone());
        transaction
    }
}
