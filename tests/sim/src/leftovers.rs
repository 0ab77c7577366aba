//! Compares blocks with failed and refused transactions between valid ones against an independent
//! model.
//!
//! Side effects of a transaction that fails, or that the builder tries and leaves out, are the same on every
//! node, and no network of equal nodes detects them. So the blocks here are compared with a model without
//! undo: it applies the transactions whose receipts report success, and nothing else. Receipts, rows of the
//! diff and root must be the model's, and a validator that starts from scratch must return the same bytes,
//! for each of several rounds that a height takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use vibecoin_execution::{InvalidTransaction, MemoryState, State};
use vibecoin_genesis::{BuiltGenesis, Genesis};
use vibecoin_mempool::{Committed, Mempool, MempoolConfig, Reason};
use vibecoin_primitives::{
    Account, Address, Amount, Body, ChainParams, Hash, Height, Nonce, Operation, Outcome, Power, Round,
    SecretKey, StateDiff, TimeMs, TransactionBody, Validator, decode, encode,
};
use vibecoin_replica::build::Built;
use vibecoin_replica::check::judge;
use vibecoin_replica::{Chain, Parent, Validation};
use vibecoin_storage::kv::MemoryKv;
use vibecoin_storage::{GenesisState, StateView, Store, StoreConfig};
use vibecoin_tests_behaviours::Rng;
use vibecoin_tests_support::ChainBuilder;

/// Accounts with a balance; as many more have none at first.
const USERS: u64 = 8;
/// Rounds that a height takes.
const ROUNDS: u32 = 3;

/// State of the model: no undo, no reads, no trie.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
struct World {
    accounts: BTreeMap<Address, (u64, u64)>,
    slots: BTreeMap<(Address, Hash), Vec<u8>>,
}

/// A chain of one validator, and its model.
pub struct Leftovers {
    rng: Rng,
    blocks: ChainBuilder<StateView>,
    store: Store,
    pool: Mempool,
    world: World,
    poison: bool,
    /// Number of failed transactions.
    pub failed: usize,
    /// Number of transactions that waited when a block was done.
    pub left_out: usize,
    /// Number of transactions that left the pool because they made the executor panic.
    pub set_aside: usize,
}

fn user(number: u64) -> SecretKey {
    SecretKey::from_seed(&[100 + number as u8; 32])
}

fn address(number: u64) -> Address {
    Address::from(user(number).public_key())
}

/// A transfer that panics the executor while [`vibecoin_primitives::planted::Bug::PoisonPanics`] is planted.
#[must_use]
pub fn poison() -> Operation {
    Operation::Transfer {
        to: address(1),
        amount: vibecoin_execution::planted::POISON,
    }
}

fn genesis(validator: &SecretKey) -> BuiltGenesis {
    let genesis = Genesis {
        time: TimeMs(1_000_000),
        params: ChainParams {
            hashes_per_tick: 4,
            ticks_per_block: 4,
            fee_per_slot: Amount(50),
            transaction_slots_max: 3,
            block_slots_max: 7,
            block_transactions_max: 25,
            ..ChainParams::devnet()
        },
        validators: vec![Validator {
            key: validator.public_key(),
            power: Power(1),
            payout: address(USERS * 2),
        }],
        accounts: (0..USERS)
            .map(|n| (address(n), Amount(if n < 2 { 40_000 } else { 500_000_000 })))
            .collect(),
    };
    genesis.build().unwrap()
}

impl Leftovers {
    /// Begins a chain; with `poison`, some of its transactions are [`poison`].
    #[must_use]
    pub fn new(seed: u64, poison: bool) -> Self {
        let validator = SecretKey::from_seed(&[7; 32]);
        let genesis = genesis(&validator);
        let state = GenesisState {
            header: genesis.header.clone(),
            body: genesis.body.clone(),
            params: genesis.params.clone(),
            validators: genesis.validators.clone(),
            accounts: genesis.accounts.clone(),
            slots: genesis.slots.clone(),
        };
        let config = StoreConfig {
            background: false,
            step_updates: 40,
            rows_cached_max: 16,
            ..StoreConfig::default()
        };
        let store = Store::create(Arc::new(MemoryKv::new()), &state, config).unwrap();
        let chain = Chain::new(genesis.hash, genesis.params, genesis.validators);
        let money = genesis.accounts.iter().filter(|(at, _)| *at != Address::system());
        let parent = Parent {
            header: genesis.header,
            hash: genesis.hash,
            state: store.view(),
            schedule: genesis.schedule,
        };
        Self {
            rng: Rng::new(seed, 9),
            pool: Mempool::new(MempoolConfig::default(), chain.params.clone()),
            world: World {
                accounts: money.map(|(at, account)| (*at, (account.balance.0, 0))).collect(),
                slots: BTreeMap::new(),
            },
            blocks: ChainBuilder::above(chain, parent, vec![validator]),
            store,
            poison,
            failed: 0,
            left_out: 0,
            set_aside: 0,
        }
    }

    fn operation(&mut self) -> Operation {
        let rng = &mut self.rng;
        let to = address(rng.below(USERS * 2));
        match rng.below(12) {
            0..=2 => Operation::SetStorage {
                slot: Hash([rng.below(5) as u8; 32]),
                value: vec![rng.next() as u8; rng.between(1, 30) as usize],
            },
            3 | 4 => Operation::SetStorage {
                slot: Hash([rng.below(5) as u8; 32]),
                value: Vec::new(),
            },
            5 => Operation::Transfer {
                to,
                amount: Amount(0),
            },
            6 => Operation::Transfer {
                to,
                amount: Amount(rng.between(20_000, 40_000)),
            },
            7 => Operation::Transfer {
                to: Address::system(),
                amount: Amount(1),
            },
            8 => Operation::Transfer {
                to,
                amount: Amount(1 << 40),
            },
            9 if self.poison => poison(),
            _ => Operation::Transfer {
                to,
                amount: Amount(rng.between(1, 50)),
            },
        }
    }

    /// Offers transactions to the pool; it refuses some.
    fn offer(&mut self) {
        let genesis = self.blocks.chain.genesis;
        for _ in 0..self.rng.between(5, 40) {
            let number = self.rng.below(USERS);
            let sender = address(number);
            let mut operations: Vec<Operation> = Vec::new();
            for _ in 0..self.rng.between(1, 4) {
                operations.push(self.operation());
            }
            let waiting = self.pool.pending_next(&sender);
            let nonce = waiting.unwrap_or(Nonce(
                self.world.accounts.get(&sender).map_or(0, |(_, nonce)| *nonce),
            ));
            let body = TransactionBody {
                chain: genesis.prefix(),
                sender: user(number).public_key(),
                nonce,
                fee: Amount(self.rng.between(900, 5_000)),
                valid_until: self.head().saturating_add(self.rng.between(1, 4)),
                operations,
            };
            let transaction = body.sign(&genesis, &user(number)).verify(&genesis).unwrap();
            let account = self.blocks.parent.state.account(&sender).unwrap();
            let next = self.blocks.height();
            let _refused = self.pool.insert(Arc::new(transaction), account.as_ref(), next, 0);
        }
    }

    /// Makes a height: a block in each round, each compared, and the last one committed.
    ///
    /// # Errors
    /// A description of the unexpected result.
    pub fn height(&mut self) -> Result<(), String> {
        let mut last = None;
        for round in 0..ROUNDS {
            self.offer();
            self.pool.unpin_all();
            let built = self.blocks.build(&mut self.pool, Round(round), Vec::new());
            let built = built.map_err(|error| error.to_string())?;
            let world = self.compare(&built)?;
            last = Some((built, world));
        }
        let set_aside = Reason::Invalid(InvalidTransaction::SetAside);
        let left = self
            .pool
            .departures_since(0)
            .0
            .filter(|departure| departure.reason == set_aside);
        self.set_aside = left.count();
        let (built, world) = last.ok_or("no round")?;
        self.commit(built, world);
        Ok(())
    }

    /// Compares a block with the model and with execution from scratch; returns the model's state after
    /// it.
    fn compare(&mut self, built: &Built<StateView>) -> Result<World, String> {
        let Built {
            header,
            body,
            executed,
        } = built;
        let at = format!("height {} round {}", header.height, header.round);
        let world = self.apply(body, &executed.outcome.receipts.0)?;
        self.failed += executed
            .outcome
            .receipts
            .0
            .iter()
            .filter(|receipt| is_failed(receipt))
            .count();
        self.left_out += self.pool.stats().pending.saturating_sub(body.transaction_count());
        differs(
            &at,
            "accounts",
            &accounts_of(&executed.state, &world)?,
            &world.accounts,
        )?;
        differs(&at, "slots", &slots_of(&executed.state)?, &world.slots)?;
        self.compare_diff(&at, &executed.diff, &world)?;
        let slow = slow_state(&executed.state, &world)?;
        differs(&at, "state root", &executed.state.root(), &slow.root())?;

        let body: Body = decode(&encode(body)).map_err(|error| error.to_string())?;
        let fresh = Parent {
            state: self.store.view(),
            ..self.blocks.parent.clone()
        };
        let scratch = match judge(&self.blocks.chain, &fresh, header, &body, &|_| None) {
            Validation::Valid(scratch) => scratch,
            Validation::Invalid(error) => return Err(format!("{at}: {error}")),
            Validation::Fault(error) => return Err(error.to_string()),
        };
        differs(
            &at,
            "receipts",
            &encode(&scratch.outcome.receipts),
            &encode(&executed.outcome.receipts),
        )?;
        differs(&at, "diff", &encode(&scratch.diff), &encode(&executed.diff))?;
        differs(
            &at,
            "changes",
            &scratch.outcome.changes,
            &executed.outcome.changes,
        )?;
        differs(&at, "ids", &scratch.ids, &executed.ids)?;
        Ok(world)
    }

    /// Checks that the rows of the diff are those in which the two worlds differ, and the chain's
    /// own.
    fn compare_diff(&self, at: &str, diff: &StateDiff, world: &World) -> Result<(), String> {
        let mut expected = 0;
        for (address, account) in &world.accounts {
            let slots = |world: &World| {
                let own = world.slots.iter().filter(|((owner, _), _)| owner == address);
                own.map(|(key, value)| (*key, value.clone()))
                    .collect::<BTreeMap<_, _>>()
            };
            let (old, new) = (slots(&self.world), slots(world));
            let changed = new
                .iter()
                .filter(|(key, value)| old.get(key) != Some(value))
                .count();
            let gone = old.keys().filter(|key| !new.contains_key(key)).count();
            expected += changed + gone;
            expected += usize::from(self.world.accounts.get(address) != Some(account) || changed + gone > 0);
        }
        let own = vibecoin_primitives::account_key(&Address::system());
        let found = diff.entries.iter().filter(|entry| match entry.key {
            vibecoin_primitives::StateKey::Account(key) | vibecoin_primitives::StateKey::Slot(key, _) => {
                key != own
            }
        });
        differs(at, "rows of the diff", &found.count(), &expected)?;
        match diff.entries.iter().find(|entry| entry.old == entry.new) {
            Some(entry) => Err(format!(
                "{at}: row {:?} is in the diff and has not changed",
                entry.key
            )),
            None => Ok(()),
        }
    }

    /// The model's rules: fee and nonce of each transaction, and the operations of those that succeeded.
    fn apply(&self, body: &Body, receipts: &[vibecoin_primitives::Receipt]) -> Result<World, String> {
        let mut world = self.world.clone();
        let params = &self.blocks.chain.params;
        let mut fees = 0;
        for (transaction, receipt) in body.transactions().zip(receipts) {
            let body = transaction.body();
            let sender = Address::from(body.sender);
            let payer = world
                .accounts
                .get_mut(&sender)
                .ok_or("a sender without an account")?;
            if payer.1 != body.nonce.0 {
                return Err(format!("nonce {} where {} is next", body.nonce, payer.1));
            }
            *payer = (
                payer.0.checked_sub(body.fee.0).ok_or("an unpaid fee")?,
                payer.1 + 1,
            );
            fees += body.fee.0;
            if is_failed(receipt) {
                if receipt.v1().burned != Amount(0) {
                    return Err("a failed transaction burned something".to_owned());
                }
                continue;
            }
            let mut burned = 0;
            for operation in &body.operations {
                let (cost, to, amount) = match operation {
                    Operation::Transfer { to, amount } => {
                        let price = match world.accounts.contains_key(to) {
                            true => 0,
                            false => params.account_price.0,
                        };
                        burned += price;
                        (price + amount.0, Some(*to), amount.0)
                    }
                    Operation::SetStorage { slot, value } if value.is_empty() => {
                        world.slots.remove(&(sender, *slot));
                        (0, None, 0)
                    }
                    Operation::SetStorage { slot, value } => {
                        world.slots.insert((sender, *slot), value.clone());
                        let price = params.storage_byte_price.0 * (32 + value.len() as u64);
                        burned += price;
                        (price, None, 0)
                    }
                };
                let payer = world
                    .accounts
                    .get_mut(&sender)
                    .ok_or("a sender without an account")?;
                payer.0 = payer
                    .0
                    .checked_sub(cost)
                    .ok_or("a success that nobody could pay")?;
                if let Some(to) = to {
                    world.accounts.entry(to).or_default().0 += amount;
                }
            }
            differs("a receipt", "burned", &receipt.v1().burned.0, &burned)?;
        }
        if fees > 0 {
            world.accounts.entry(address(USERS * 2)).or_default().0 += fees;
        }
        Ok(world)
    }

    fn commit(&mut self, built: Built<StateView>, world: World) {
        let changed = built.executed.outcome.changes.accounts.iter();
        let accounts: Vec<_> = changed.map(|(at, account)| (*at, Some(*account))).collect();
        let decided = self.blocks.decide(built);
        self.pool.on_committed(
            &Committed {
                height: decided.header.height,
                included: &decided.ids,
                accounts: &accounts,
            },
            0,
        );
        self.blocks.parent.state = self.store.commit(&decided).unwrap();
        self.world = world;
    }

    /// The height of the last block.
    #[must_use]
    pub const fn head(&self) -> Height {
        self.blocks.parent.header.height
    }
}

fn is_failed(receipt: &vibecoin_primitives::Receipt) -> bool {
    receipt.v1().outcome != Outcome::Success
}

fn differs<T: PartialEq + std::fmt::Debug>(
    at: &str,
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{at}: {what}: found {found:?}, expected {expected:?}"))
}

fn everybody() -> impl Iterator<Item = Address> {
    (0..=USERS * 2).map(address)
}

fn accounts_of(state: &StateView, world: &World) -> Result<BTreeMap<Address, (u64, u64)>, String> {
    let mut found = BTreeMap::new();
    for at in everybody().chain(world.accounts.keys().copied()) {
        if let Some(account) = state.account(&at).map_err(|error| error.to_string())? {
            found.insert(at, (account.balance.0, account.nonce.0));
        }
    }
    Ok(found)
}

fn slots_of(state: &StateView) -> Result<BTreeMap<(Address, Hash), Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    for owner in everybody() {
        for slot in (0u8..5).map(|n| Hash([n; 32])) {
            if let Some(value) = state.slot(&owner, &slot).map_err(|error| error.to_string())? {
                found.insert((owner, slot), value);
            }
        }
    }
    Ok(found)
}

/// The same state in the slow store, whose root follows from its definition.
fn slow_state(state: &StateView, world: &World) -> Result<MemoryState, String> {
    use vibecoin_primitives::{AccountType, records};
    let mut slots = world.slots.clone();
    for record in [records::BURNED, records::SUPPLY, records::SCHEDULE] {
        if let Some(value) = state
            .slot(&Address::system(), &record)
            .map_err(|error| error.to_string())?
        {
            slots.insert((Address::system(), record), value);
        }
    }
    let account = |(at, (balance, nonce)): (&Address, &(u64, u64))| {
        let account = Account {
            balance: Amount(*balance),
            nonce: Nonce(*nonce),
            ..Account::default()
        };
        (*at, account)
    };
    let mut accounts: BTreeMap<Address, Account> = world.accounts.iter().map(account).collect();
    let system = Account {
        kind: AccountType::System,
        ..Account::default()
    };
    accounts.insert(Address::system(), system);
    Ok(MemoryState::new(accounts, slots))
}
