//! P4: the executor against a second, slow and obvious implementation of the same rules.
//!
//! The model shares nothing with the executor except the types of `vibecoin-primitives`: it copies the whole
//! world before each transaction and discards the copy when an operation fails, and it sums amounts in 128 bits.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![allow(clippy::cast_possible_truncation)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::*;
use vibecoin_execution::{
    BlockContext, BlockExecutor, ExecutionError, InvalidTransaction, MemoryState, State, StateReader,
    execute_body, read_burned, read_schedule,
};
use vibecoin_primitives::{
    Account, AccountType, Address, Amount, ChainParams, Failure, Hash, Height, Nonce, Operation, Outcome,
    ProposerSchedule, Round, SecretKey, Transaction, TransactionBody, VerifiedTransaction, encode, records,
};

/// The world of the model: balance, nonce and slots by address.
#[derive(Clone, Default, PartialEq, Debug)]
struct World {
    accounts: BTreeMap<Address, (u128, u64)>,
    slots: BTreeMap<(Address, Hash), Vec<u8>>,
    burned: u128,
}

const MOST: u128 = u64::MAX as u128;

impl World {
    fn total(&self) -> u128 {
        self.accounts.values().map(|(balance, _)| balance).sum::<u128>() + self.burned
    }

    /// `Err` is the name of the rule that forbids the transaction.
    fn run(
        &mut self,
        params: &ChainParams,
        height: u64,
        tx: &TransactionBody,
        bytes: u128,
    ) -> Result<Outcome, &'static str> {
        let sender = Address(tx.sender.0);
        if bytes > params.transaction_bytes_max.into() {
            return Err("TooLarge");
        }
        if tx.operations.is_empty() || tx.operations.len() as u128 > params.operations_max.into() {
            return Err("OperationCount");
        }
        let slots = tx
            .operations
            .iter()
            .filter(|operation| matches!(operation, Operation::SetStorage { .. }));
        let slots = slots.count() as u128;
        if slots > params.transaction_slots_max.into() {
            return Err("Demand");
        }
        let least = u128::from(params.fee_min.0)
            + bytes * u128::from(params.fee_per_byte.0)
            + slots * u128::from(params.fee_per_slot.0);
        if u128::from(tx.fee.0) < least {
            return Err("FeeTooLow");
        }
        if tx.valid_until.0 < height {
            return Err("Expired");
        }
        if tx.valid_until.0 - height > params.validity_window {
            return Err("ValidTooLong");
        }
        let (balance, nonce) = self.accounts.get(&sender).copied().unwrap_or_default();
        if tx.nonce.0 < nonce {
            return Err("NonceTooLow");
        }
        if tx.nonce.0 == u64::MAX {
            return Err("NonceExhausted");
        }
        if tx.nonce.0 > nonce {
            return Err("NonceTooHigh");
        }
        if balance < tx.fee.0.into() {
            return Err("FeeUnpayable");
        }
        self.accounts
            .insert(sender, (balance - u128::from(tx.fee.0), nonce + 1));
        let kept = self.clone();
        for (index, operation) in tx.operations.iter().enumerate() {
            if let Err(reason) = self.operate(params, sender, operation) {
                *self = kept;
                return Ok(Outcome::Failed {
                    operation: index as u32,
                    reason,
                });
            }
        }
        Ok(Outcome::Success)
    }

    fn pay(&mut self, from: Address, cost: u128) -> Result<(), Failure> {
        if cost > MOST {
            return Err(Failure::CostOverflow);
        }
        let account = self.accounts.get_mut(&from).unwrap();
        if account.0 < cost {
            return Err(Failure::InsufficientFunds {
                needed: Amount(cost as u64),
                available: Amount(account.0 as u64),
            });
        }
        account.0 -= cost;
        Ok(())
    }

    fn operate(
        &mut self,
        params: &ChainParams,
        sender: Address,
        operation: &Operation,
    ) -> Result<(), Failure> {
        match operation {
            Operation::Transfer {
                amount: Amount(0), ..
            } => Err(Failure::ZeroAmount),
            Operation::Transfer { to, .. } if *to == Address::system() => Err(Failure::SystemRecipient),
            Operation::Transfer { to, amount } => {
                let amount = u128::from(amount.0);
                let is_new = !self.accounts.contains_key(to);
                let price = if is_new {
                    u128::from(params.account_price.0)
                } else {
                    0
                };
                self.pay(sender, amount + price)?;
                self.burned += price;
                let receiver = self.accounts.entry(*to).or_default();
                receiver.0 += amount;
                if receiver.0 > MOST {
                    Err(Failure::BalanceOverflow)
                } else {
                    Ok(())
                }
            }
            Operation::SetStorage { slot, value } => {
                if value.len() as u128 > params.slot_value_bytes_max.into() {
                    return Err(Failure::ValueTooLong {
                        limit: params.slot_value_bytes_max,
                    });
                }
                if value.is_empty() {
                    self.slots.remove(&(sender, *slot));
                    return Ok(());
                }
                let price = (32 + value.len() as u128) * u128::from(params.storage_byte_price.0);
                self.pay(sender, price)?;
                self.burned += price;
                self.slots.insert((sender, *slot), value.clone());
                Ok(())
            }
        }
    }
}

fn rule(reason: &InvalidTransaction) -> String {
    let text = format!("{reason:?}");
    text.split([' ', '{', '(']).next().unwrap().to_owned()
}

/// xorshift: the same numbers for the same seed everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.roll() >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const USERS: u8 = 12;

fn amount(dice: &mut Dice, balance: u64) -> u64 {
    match dice.below(30) {
        0 => 0,
        1 => balance,
        2 => balance.saturating_add(1),
        3 => balance.saturating_sub(dice.below(200)),
        4 => u64::MAX - dice.below(120),
        5 => balance / 2,
        6 => dice.roll(),
        _ => dice.below(1_000),
    }
}

fn operation(dice: &mut Dice, balance: u64, own: u8) -> Operation {
    if dice.one_in(4) {
        let bytes = [0, 0, 1, 5, 64, 65][dice.below(6) as usize];
        return set(dice.below(4) as u8, &vec![dice.below(255) as u8 + 1; bytes]);
    }
    let to = match dice.below(12) {
        0 => user(own),
        1 => Address::system(),
        2 => PAYOUT,
        3..5 => stranger(dice.below(250) as u8),
        _ => user(dice.below(USERS.into()) as u8),
    };
    transfer(to, amount(dice, balance))
}

fn transaction(dice: &mut Dice, world: &World, height: u64) -> (TransactionBody, u8) {
    let own = dice.below(USERS.into()) as u8;
    let (balance, nonce) = world.accounts.get(&user(own)).copied().unwrap_or_default();
    let balance = balance as u64;
    let count = match dice.below(30) {
        0 => 9,
        1 => 8,
        n => 1 + n % 3,
    };
    let operations = (0..count).map(|_| operation(dice, balance, own)).collect();
    let fee = if dice.one_in(15) {
        amount(dice, balance)
    } else {
        600 + dice.below(50)
    };
    let nonce = match dice.below(30) {
        0 => nonce.wrapping_add(1),
        1 => nonce.saturating_sub(1),
        2 if dice.one_in(3) => u64::MAX,
        _ => nonce,
    };
    let valid_until = match dice.below(40) {
        0 => height.saturating_sub(1),
        1 => height + 51,
        2 => height + 50,
        _ => height + dice.below(50),
    };
    let mut body = body(own, nonce, fee, operations);
    body.valid_until = Height(valid_until);
    (body, own)
}

/// Compares the whole state with the whole world.
fn compare(state: &MemoryState, world: &World, seed: u64) {
    let mut accounts: BTreeMap<_, _> = state
        .accounts()
        .iter()
        .map(|(a, v)| (*a, (u128::from(v.balance.0), v.nonce.0)))
        .collect();
    accounts.remove(&Address::system());
    assert_eq!(accounts, world.accounts, "seed {seed}");
    let own = |(key, value): (&(Address, Hash), &Vec<u8>)| {
        (key.0 != Address::system()).then(|| (*key, value.clone()))
    };
    let slots: BTreeMap<_, _> = state.slots().iter().filter_map(own).collect();
    assert_eq!(slots, world.slots, "seed {seed}");
    assert_eq!(
        u128::from(read_burned(state).unwrap().0),
        world.burned,
        "seed {seed}"
    );
    for (address, account) in state.accounts() {
        let has_slots = state.slots().keys().any(|(owner, _)| owner == address);
        assert_eq!(account.storage_root.is_some(), has_slots, "seed {seed}");
    }
}

/// Events of a run: a run with too few events proves nothing.
#[derive(Default)]
struct Met(BTreeMap<String, u64>);

impl Met {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

fn start(dice: &mut Dice) -> (MemoryState, World) {
    let mut accounts = BTreeMap::new();
    for index in 0..USERS {
        let balance = match index {
            0 => u64::MAX,
            1 => u64::MAX - 300,
            2 => u64::MAX / 2,
            3 => 0,
            4 | 5 => continue,
            _ => 2_000_000 + dice.below(10_000_000),
        };
        let nonce = if index == 11 { u64::MAX - 3 } else { 0 };
        accounts.insert(user(index), account(balance, nonce));
    }
    let world = World {
        accounts: accounts
            .iter()
            .map(|(a, v)| (*a, (u128::from(v.balance.0), v.nonce.0)))
            .collect(),
        ..World::default()
    };
    accounts.insert(
        Address::system(),
        Account {
            kind: AccountType::System,
            ..Account::default()
        },
    );
    let schedule = encode(&ProposerSchedule::genesis(&validators()));
    (
        MemoryState::new(
            accounts,
            BTreeMap::from([((Address::system(), records::SCHEDULE), schedule)]),
        ),
        world,
    )
}

fn sign_all(bodies: &[(TransactionBody, u8)], keys: &[SecretKey]) -> Vec<VerifiedTransaction> {
    let signed: Vec<Transaction> = bodies
        .iter()
        .map(|(body, own)| body.clone().sign(&GENESIS, &keys[usize::from(*own)]))
        .collect();
    Transaction::verify_batch(signed, &GENESIS)
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// Runs `blocks` blocks and compares everything after each.
fn play(seed: u64, blocks: u64, keys: &[SecretKey], met: &mut Met) {
    let params = Arc::new(ChainParams {
        fee_per_byte: Amount(1),
        fee_per_slot: Amount(3),
        transaction_slots_max: 3,
        transaction_bytes_max: 560,
        ..params()
    });
    let mut dice = Dice(seed);
    let (mut state, mut world) = start(&mut dice);
    let total = world.total();
    for height in 10..10 + blocks {
        let round = Round(dice.below(3) as u32);
        let payout = if dice.one_in(3) {
            user(dice.below(USERS.into()) as u8)
        } else {
            PAYOUT
        };
        let validators = Arc::new(validators());
        let context = BlockContext {
            params: Arc::clone(&params),
            validators,
            height: Height(height),
            payout,
        };
        let schedule = read_schedule(&state)
            .unwrap()
            .after(&context.validators, Height(height), round);
        let mut executor = BlockExecutor::new(&state, context.clone());
        let before = world.clone();
        let (mut included, mut fees) = (Vec::new(), 0u128);
        for _ in 0..6 + dice.below(8) {
            // A few at a time, so that nonces follow on what has happened.
            let bodies: Vec<_> = (0..5).map(|_| transaction(&mut dice, &world, height)).collect();
            for transaction in sign_all(&bodies, keys) {
                let fee = u128::from(transaction.body().fee.0);
                let burned = world.burned;
                let trial = world.clone();
                let mut expected =
                    world.run(&params, height, transaction.body(), transaction.byte_len().into());
                if expected.is_ok() && fees + fee > MOST {
                    (world, expected) = (trial, Err("BlockFeesOverflow"));
                }
                let got = executor.execute(&transaction);
                match (expected, got) {
                    (Ok(outcome), Ok(receipt)) => {
                        let receipt = receipt.v1();
                        assert_eq!(receipt.outcome, outcome, "seed {seed}");
                        assert_eq!(receipt.transaction, *transaction.id());
                        assert_eq!(receipt.fee, transaction.body().fee);
                        assert_eq!(u128::from(receipt.burned.0), world.burned - burned, "seed {seed}");
                        fees += fee;
                        included.push(transaction);
                        met.count(if outcome == Outcome::Success {
                            "Success"
                        } else {
                            "Failed"
                        });
                        if let Outcome::Failed { reason, .. } = outcome {
                            met.count(format!("{reason:?}").split(' ').next().unwrap());
                        }
                    }
                    (Err(name), Err(ExecutionError::Invalid { index, id, reason })) => {
                        assert_eq!((index, id), (included.len(), *transaction.id()), "seed {seed}");
                        assert_eq!(rule(&reason), name, "seed {seed}");
                        met.count(name);
                    }
                    (expected, got) => panic!("seed {seed}: model {expected:?}, executor {got:?}"),
                }
            }
        }
        let payee = world.accounts.get(&payout).copied().unwrap_or_default();
        if payee.0 + fees > MOST {
            // A block that no real chain can have: supply is above 64 bits in this test.
            assert!(
                matches!(executor.finish(round), Err(ExecutionError::Overflow { .. })),
                "seed {seed}"
            );
            met.count("Overflow");
            world = before;
            continue;
        }
        if fees > 0 {
            world.accounts.insert(payout, (payee.0 + fees, payee.1));
        }
        let outcome = executor.finish(round).unwrap();
        assert_eq!(u128::from(outcome.fees.0), fees);
        assert_eq!(u128::from(outcome.burned.0), world.burned - before.burned);
        let again = execute_body(&state, context, &included, round).unwrap();
        assert_eq!(
            again, outcome,
            "seed {seed}: one by one and as a body are the same"
        );
        let (next, diff) = state.apply(&outcome.changes).unwrap();
        assert_eq!((diff.parent_root, diff.root), (state.root(), next.root()));
        state = next;
        assert_eq!(read_schedule(&state), Ok(schedule));
        compare(&state, &world, seed);
        assert_eq!(
            world.total(),
            total,
            "seed {seed}: balances plus burned never change"
        );
    }
}

#[test]
fn executor_and_model_agree_on_twenty_thousand_transactions() {
    let keys: Vec<SecretKey> = (0..USERS).map(key).collect();
    let mut met = Met::default();
    for seed in 1..=75u64 {
        play(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed), 12, &keys, &mut met);
    }
    let executed = met.0["Success"] + met.0["Failed"];
    assert!(
        executed >= 20_000,
        "only {executed} transactions were executed: {:?}",
        met.0
    );
    for what in [
        "Success",
        "Failed",
        "InsufficientFunds",
        "ZeroAmount",
        "BalanceOverflow",
        "SystemRecipient",
        "ValueTooLong",
        "CostOverflow",
        "TooLarge",
        "OperationCount",
        "Demand",
        "FeeTooLow",
        "Expired",
        "ValidTooLong",
        "NonceTooLow",
        "NonceTooHigh",
        "NonceExhausted",
        "FeeUnpayable",
        "BlockFeesOverflow",
        "Overflow",
    ] {
        assert!(
            met.0.get(what).is_some_and(|count| *count >= 5),
            "{what} was hardly met: {:?}",
            met.0
        );
    }
}

#[test]
fn a_state_reads_the_same_through_every_pointer() {
    let state = state(&[(user(1), 5)]);
    let shared: Arc<dyn StateReader> = Arc::new(state.clone());
    assert_eq!((&&state).account(&user(1)), shared.account(&user(1)));
    assert_eq!(shared.account(&user(1)).unwrap().unwrap().nonce, Nonce(0));
}
