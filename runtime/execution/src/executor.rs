//! Executes the transactions of one block, one after the other.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use vibecoin_primitives::planted::{Bug, active};
use vibecoin_primitives::{
    Account, AccountType, Address, Amount, ChainParams, Failure, FastMap, Hash, Height, Offence,
    OffenceRecord, Operation, Outcome, Receipt, ReceiptV1, Receipts, Round, Transaction, ValidatorSet,
    VerifiedTransaction, encode, records,
};

use crate::contained::contained;
use crate::invalid::{charge, check_form};
use crate::records::amount_value;
use crate::{
    InvalidTransaction, ReadError, StateChanges, StateReader, read_burned, read_offences, read_schedule,
};

/// Bytes that a slot is charged for on top of its value.
pub const SLOT_OVERHEAD_BYTES: u64 = 32;

/// Inputs of a block's execution besides the state.
#[derive(Clone, Debug)]
pub struct BlockContext {
    /// The rules of the chain.
    pub params: Arc<ChainParams>,
    /// The validators that vote on this block.
    pub validators: Arc<ValidatorSet>,
    /// The block's height.
    pub height: Height,
    /// The recipient of the fees: the payout account of the block's proposer.
    pub payout: Address,
}

/// Results of executing a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockOutcome {
    /// One receipt per transaction, in order.
    pub receipts: Receipts,
    /// The changed part of the state, as it is after the block.
    pub changes: StateChanges,
    /// Fees of all transactions, credited to the payout account.
    pub fees: Amount,
    /// Base units burned for accounts and storage.
    pub burned: Amount,
}

/// Reason why a block, or one transaction of it, was not executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutionError {
    /// The transaction is not allowed in the block. The executor is unchanged.
    #[error("transaction {id} at position {index} is invalid: {reason}")]
    Invalid {
        /// Position that the transaction has, or would have had, in the block.
        index: usize,
        /// Its identifier.
        id: Hash,
        /// The rule that does not hold.
        reason: InvalidTransaction,
    },
    /// The transaction triggered a bug of this program. The executor is unchanged.
    #[error("transaction {id} at position {index} made the executor panic")]
    Panicked {
        /// Position that the transaction has, or would have had, in the block.
        index: usize,
        /// Its identifier.
        id: Hash,
    },
    /// The state could not be read. The node is broken, not the block.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state belongs to another validator set: the proposer schedule has another length.
    #[error("the proposer schedule has {got} entries, the validator set has {expected}")]
    Schedule {
        /// Number of validators.
        expected: usize,
        /// Number of entries in the schedule.
        got: usize,
    },
    /// The payout account or the burned total would overflow; impossible while the supply fits 64 bits.
    #[error("{what} would overflow: {value} + {added}")]
    Overflow {
        /// Name of the sum.
        what: &'static str,
        /// Its value before the block.
        value: Amount,
        /// Base units that the block adds.
        added: Amount,
    },
    /// Balances and burned total do not add up. A bug of this program; nothing of the block may be kept.
    #[error("the balances changed by {delta} with {burned} burned; their sum must be zero")]
    Supply {
        /// Sum of all balance changes.
        delta: i128,
        /// Base units burned.
        burned: Amount,
    },
}

/// One account as the block sees it.
#[derive(Clone, Copy, Debug)]
struct Touched {
    address: Address,
    before: Option<Account>,
    now: Option<Account>,
}

/// The inverse of one step of the current transaction.
#[derive(Debug)]
enum Undo {
    Account(usize, Option<Account>),
    /// The slot as the block saw it before; the outer `None` means that it was not touched yet.
    Slot((Address, Hash), Option<Option<Vec<u8>>>),
}

/// A block under construction, or one that is being checked: the proposer executes tick by tick.
///
/// Reads each touched account once. Memory is bounded by the block's own bounds.
#[derive(Debug)]
pub struct BlockExecutor<R> {
    reader: R,
    context: BlockContext,
    system: Address,
    touched: Vec<Touched>,
    /// Position of an address in `touched`. Only for lookups, never iterated.
    index: FastMap<Address, usize>,
    slots: BTreeMap<(Address, Hash), Option<Vec<u8>>>,
    undo: Vec<Undo>,
    /// The sender of the current transaction, once it is charged, and its account before.
    charged: Option<(usize, Option<Account>)>,
    receipts: Vec<Receipt>,
    fees: Amount,
    burned: Amount,
    offences: Vec<Offence>,
}

impl<R: StateReader> BlockExecutor<R> {
    /// An executor on the state after the parent block.
    pub fn new(reader: R, context: BlockContext) -> Self {
        Self {
            reader,
            context,
            system: Address::system(),
            touched: Vec::new(),
            index: FastMap::default(),
            slots: BTreeMap::new(),
            undo: Vec::new(),
            charged: None,
            receipts: Vec::new(),
            fees: Amount::ZERO,
            burned: Amount::ZERO,
            offences: Vec::new(),
        }
    }

    /// Registers the offences in the block's evidence; [`BlockExecutor::finish`] records them.
    ///
    /// The caller has checked the evidence, and that none of it is recorded already.
    pub fn record_offences(&mut self, offences: impl IntoIterator<Item = Offence>) {
        self.offences.extend(offences);
    }

    /// Executes the next transaction of the block and returns its receipt.
    ///
    /// # Errors
    /// [`ExecutionError::Invalid`] when the transaction is not allowed in the block,
    /// [`ExecutionError::Panicked`] when it triggered a bug: the executor is unchanged and can continue.
    /// [`ExecutionError::Read`] when the state could not be read: the executor must be dropped.
    pub fn execute(&mut self, transaction: &VerifiedTransaction) -> Result<Receipt, ExecutionError> {
        self.undo.clear();
        self.charged = None;
        let (fees, burned, index) = (self.fees, self.burned, self.receipts.len());
        let result = if active(Bug::PanicUncontained) {
            Some(self.attempt(transaction))
        } else {
            contained(|| self.attempt(transaction))
        };
        if let Some(result) = result {
            self.charged = None;
            return result;
        }
        self.roll_back();
        if let Some((sender, before)) = self.charged.take()
            && let Some(touched) = self.touched.get_mut(sender)
        {
            touched.now = before;
        }
        (self.fees, self.burned) = (fees, burned);
        self.receipts.truncate(index);
        let id = *transaction.id();
        Err(ExecutionError::Panicked { index, id })
    }

    fn attempt(&mut self, transaction: &VerifiedTransaction) -> Result<Receipt, ExecutionError> {
        let body = transaction.body();
        let invalid = |reason| ExecutionError::Invalid {
            index: self.receipts.len(),
            id: *transaction.id(),
            reason,
        };
        check_form(&self.context.params, self.context.height, transaction).map_err(invalid)?;
        let sender = touch(
            &self.reader,
            &mut self.touched,
            &mut self.index,
            &transaction.sender(),
        )?;
        let account = self.account(sender).unwrap_or_default();
        let charged = charge(&account, body).map_err(invalid)?;
        let fees = self.fees.checked_add(body.fee);
        self.fees = fees.ok_or_else(|| invalid(InvalidTransaction::BlockFeesOverflow))?;
        self.charged = Some((sender, self.account(sender)));
        self.set(sender, charged);

        let burned_before = self.burned;
        let mut outcome = Outcome::Success;
        for (operation, step) in (0u32..).zip(&body.operations) {
            if let Err(reason) = self.apply(sender, step)? {
                self.roll_back();
                self.burned = burned_before;
                outcome = Outcome::Failed { operation, reason };
                break;
            }
        }
        let receipt = Receipt::V1(ReceiptV1 {
            transaction: *transaction.id(),
            fee: body.fee,
            burned: self.burned.saturating_sub(burned_before.0),
            outcome,
        });
        self.receipts.push(receipt.clone());
        Ok(receipt)
    }

    /// [`announce`] to the state that this executor reads.
    pub fn announce<'t>(&self, transactions: impl IntoIterator<Item = &'t Transaction>) {
        announce(&self.reader, transactions);
    }

    /// Number of transactions in the block so far.
    pub const fn count(&self) -> usize {
        self.receipts.len()
    }

    /// The sum of the fees so far.
    pub const fn fees(&self) -> Amount {
        self.fees
    }

    /// Credits the fees, writes the chain's records and returns the results of the block.
    ///
    /// `round` is the round in which the block was created.
    ///
    /// # Errors
    /// [`ExecutionError`]; none of them is a property of a transaction.
    pub fn finish(mut self, round: Round) -> Result<BlockOutcome, ExecutionError> {
        self.credit_fees()?;
        self.write_records(round)?;
        self.check_supply()?;
        let changed = self
            .touched
            .iter()
            .filter(|touched| touched.before != touched.now);
        let mut accounts: BTreeMap<_, _> = changed
            .filter_map(|touched| Some((touched.address, touched.now?)))
            .collect();
        if self.slots.keys().any(|(owner, _)| *owner == self.system) {
            // A user that sets a slot has paid a fee, but the system account changes by its slots alone.
            let system = Account {
                kind: AccountType::System,
                ..Account::default()
            };
            let account = self.reader.account(&self.system)?.unwrap_or(system);
            accounts.insert(self.system, account);
        }
        Ok(BlockOutcome {
            receipts: Receipts(self.receipts),
            changes: StateChanges {
                accounts,
                slots: self.slots,
            },
            fees: self.fees,
            burned: self.burned,
        })
    }

    /// Applies one operation, or none of it.
    fn apply(&mut self, sender: usize, operation: &Operation) -> Result<Result<(), Failure>, ReadError> {
        match operation {
            Operation::Transfer { to, amount } => self.transfer(sender, to, *amount),
            Operation::SetStorage { slot, value } => Ok(self.set_slot(sender, slot, value)),
        }
    }

    fn transfer(
        &mut self,
        sender: usize,
        to: &Address,
        amount: Amount,
    ) -> Result<Result<(), Failure>, ReadError> {
        if amount == Amount::ZERO {
            return Ok(Err(Failure::ZeroAmount));
        }
        planted_panic(amount);
        if *to == self.system {
            return Ok(Err(Failure::SystemRecipient));
        }
        let recipient = touch(&self.reader, &mut self.touched, &mut self.index, to)?;
        Ok(self.transfer_to(sender, recipient, amount))
    }

    fn transfer_to(&mut self, sender: usize, recipient: usize, amount: Amount) -> Result<(), Failure> {
        let payee = self.account(recipient);
        let price = match payee {
            Some(account) if account.kind == AccountType::System => return Err(Failure::SystemRecipient),
            Some(_) => Amount::ZERO,
            None => self.context.params.account_price,
        };
        let cost = amount.checked_add(price).ok_or(Failure::CostOverflow)?;
        let payer = self.debited(sender, cost)?;
        if recipient == sender {
            return Ok(());
        }
        let payee = payee.unwrap_or_default();
        let balance = payee
            .balance
            .checked_add(amount)
            .ok_or(Failure::BalanceOverflow)?;
        self.burn(price)?;
        self.set_undoable(sender, payer);
        self.set_undoable(recipient, Account { balance, ..payee });
        Ok(())
    }

    fn set_slot(&mut self, sender: usize, slot: &Hash, value: &[u8]) -> Result<(), Failure> {
        let params = &self.context.params;
        let limit = params.slot_value_bytes_max;
        let bytes = u32::try_from(value.len()).ok().filter(|bytes| *bytes <= limit);
        let bytes = u64::from(bytes.ok_or(Failure::ValueTooLong { limit })?);
        if !value.is_empty() {
            let counted = bytes
                .checked_add(SLOT_OVERHEAD_BYTES)
                .ok_or(Failure::CostOverflow)?;
            let price = params.storage_byte_price.0.checked_mul(counted).map(Amount);
            let price = price.ok_or(Failure::CostOverflow)?;
            let payer = self.debited(sender, price)?;
            self.burn(price)?;
            self.set_undoable(sender, payer);
        }
        let Some(owner) = self.touched.get(sender) else {
            return Ok(());
        };
        let key = (owner.address, *slot);
        let value = (!value.is_empty()).then(|| value.to_vec());
        let before = self.slots.insert(key, value);
        self.undo.push(Undo::Slot(key, before));
        Ok(())
    }

    /// The sender's account less `cost`.
    fn debited(&self, sender: usize, cost: Amount) -> Result<Account, Failure> {
        let account = self.account(sender).unwrap_or_default();
        let available = account.balance;
        let balance = available.checked_sub(cost).ok_or(Failure::InsufficientFunds {
            needed: cost,
            available,
        })?;
        Ok(Account { balance, ..account })
    }

    fn burn(&mut self, price: Amount) -> Result<(), Failure> {
        self.burned = self.burned.checked_add(price).ok_or(Failure::CostOverflow)?;
        Ok(())
    }

    fn account(&self, index: usize) -> Option<Account> {
        self.touched.get(index).and_then(|touched| touched.now)
    }

    fn set(&mut self, index: usize, account: Account) {
        if let Some(touched) = self.touched.get_mut(index) {
            touched.now = Some(account);
        }
    }

    fn set_undoable(&mut self, index: usize, account: Account) {
        self.undo.push(Undo::Account(index, self.account(index)));
        self.set(index, account);
    }

    /// Undoes the operations of the current transaction, the last one first.
    fn roll_back(&mut self) {
        if active(Bug::UndoForgotten) {
            self.undo.pop();
        }
        while let Some(step) = self.undo.pop() {
            match step {
                Undo::Account(index, before) => {
                    if let Some(touched) = self.touched.get_mut(index) {
                        touched.now = before;
                    }
                }
                Undo::Slot(key, Some(before)) => {
                    self.slots.insert(key, before);
                }
                Undo::Slot(key, None) => {
                    self.slots.remove(&key);
                }
            }
        }
    }

    fn credit_fees(&mut self) -> Result<(), ExecutionError> {
        if self.fees == Amount::ZERO {
            return Ok(());
        }
        let index = touch(
            &self.reader,
            &mut self.touched,
            &mut self.index,
            &self.context.payout,
        )?;
        let account = self.account(index).unwrap_or_default();
        let balance = sum("the payout account's balance", account.balance, self.fees)?;
        self.set(index, Account { balance, ..account });
        Ok(())
    }

    fn write_records(&mut self, round: Round) -> Result<(), ExecutionError> {
        if self.burned > Amount::ZERO {
            let total = sum("the burned total", read_burned(&self.reader)?, self.burned)?;
            self.slots
                .insert((self.system, records::BURNED), Some(amount_value(total)));
        }
        let schedule = read_schedule(&self.reader)?;
        let (expected, got) = (self.context.validators.members().len(), schedule.turns.len());
        if expected != got {
            return Err(ExecutionError::Schedule { expected, got });
        }
        let (set, height) = (&self.context.validators, self.context.height);
        let mut next = schedule.after(set, height, round);
        next.hold_back(
            set,
            height,
            self.offences.iter().map(|offence| &offence.validator),
        );
        if next != schedule {
            self.slots
                .insert((self.system, records::SCHEDULE), Some(encode(&next)));
        }
        self.write_offences()
    }

    fn write_offences(&mut self) -> Result<(), ExecutionError> {
        let BlockContext {
            params,
            validators,
            height,
            ..
        } = &self.context;
        let mut changed: BTreeMap<Height, OffenceRecord> = BTreeMap::new();
        for offence in &self.offences {
            let record = match changed.entry(offence.height) {
                btree_map::Entry::Occupied(entry) => entry.into_mut(),
                btree_map::Entry::Vacant(entry) => {
                    entry.insert(read_offences(&self.reader, offence.height)?.unwrap_or_default())
                }
            };
            record.add(validators, offence);
        }
        for (height, record) in changed {
            self.slots
                .insert((self.system, records::offences(height)), Some(encode(&record)));
        }
        let too_old = height.0.checked_sub(params.evidence_age_max.saturating_add(1));
        if let Some(too_old) = too_old.map(Height)
            && read_offences(&self.reader, too_old)?.is_some()
        {
            self.slots.insert((self.system, records::offences(too_old)), None);
        }
        Ok(())
    }

    /// Checks that the balances decreased by the burned amount.
    fn check_supply(&self) -> Result<(), ExecutionError> {
        let balance = |account: Option<Account>| i128::from(account.unwrap_or_default().balance.0);
        // 64-bit values, at most a few million of them: far from the end of 128 bits.
        let delta = self.touched.iter().fold(0i128, |sum, touched| {
            sum.saturating_add(balance(touched.now))
                .saturating_sub(balance(touched.before))
        });
        if delta.saturating_add(i128::from(self.burned.0)) != 0 {
            return Err(ExecutionError::Supply {
                delta,
                burned: self.burned,
            });
        }
        Ok(())
    }
}

/// A transfer of this many base units panics while [`Bug::PoisonPanics`] or [`Bug::PanicUncontained`] is planted.
pub const POISON: Amount = Amount(6_660_666);

/// The planted bug of the executor.
fn planted_panic(amount: Amount) {
    let planted = active(Bug::PoisonPanics) || active(Bug::PanicUncontained);
    assert!(!(planted && amount == POISON), "planted");
}

/// Position of `address` in `touched`, after reading its account when it is new in the block.
///
/// Not a method, so that the borrow of the block's other parts stays free.
fn touch<R: StateReader>(
    reader: &R,
    touched: &mut Vec<Touched>,
    index: &mut FastMap<Address, usize>,
    address: &Address,
) -> Result<usize, ReadError> {
    match index.entry(*address) {
        Entry::Occupied(entry) => Ok(*entry.get()),
        Entry::Vacant(entry) => {
            let account = reader.account(address)?;
            touched.push(Touched {
                address: *address,
                before: account,
                now: account,
            });
            Ok(*entry.insert(touched.len().saturating_sub(1)))
        }
    }
}

fn sum(what: &'static str, value: Amount, added: Amount) -> Result<Amount, ExecutionError> {
    value
        .checked_add(added)
        .ok_or(ExecutionError::Overflow { what, value, added })
}

/// Announces the slots of transactions that are about to be executed: see [`StateReader::prefetch`].
pub fn announce<'t>(reader: &impl StateReader, transactions: impl IntoIterator<Item = &'t Transaction>) {
    let slots = transactions.into_iter().flat_map(|transaction| {
        let body = transaction.body();
        let owner = Address::from(body.sender);
        body.operations
            .iter()
            .filter_map(move |operation| match operation {
                Operation::SetStorage { slot, .. } => Some((owner, *slot)),
                Operation::Transfer { .. } => None,
            })
    });
    reader.prefetch(slots.collect());
}

/// Executes all transactions of a block without evidence, as validators do.
///
/// # Errors
/// [`ExecutionError::Invalid`] with the first transaction that makes the block invalid; the other errors are
/// not properties of the block.
pub fn execute_body<'t, R: StateReader>(
    reader: R,
    context: BlockContext,
    transactions: impl IntoIterator<Item = &'t VerifiedTransaction>,
    round: Round,
) -> Result<BlockOutcome, ExecutionError> {
    execute_block(reader, context, transactions, [], round)
}

/// Executes all transactions of a block, and records the offences in its evidence, as validators do.
///
/// # Errors
/// As [`execute_body`].
pub fn execute_block<'t, R: StateReader>(
    reader: R,
    context: BlockContext,
    transactions: impl IntoIterator<Item = &'t VerifiedTransaction>,
    offences: impl IntoIterator<Item = Offence>,
    round: Round,
) -> Result<BlockOutcome, ExecutionError> {
    let mut executor = BlockExecutor::new(reader, context);
    executor.record_offences(offences);
    for transaction in transactions {
        executor.execute(transaction)?;
    }
    executor.finish(round)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryState;
    use vibecoin_primitives::{Power, ProposerSchedule, SecretKey, Validator};

    #[test]
    fn money_from_nowhere_is_found_before_anything_is_handed_out() {
        let (key, payout) = (SecretKey::from_seed(&[1; 32]).public_key(), Address([9; 32]));
        let set = ValidatorSet::new(vec![Validator {
            key,
            power: Power(1),
            payout,
        }])
        .unwrap();
        let state = MemoryState::with_balances([], &ProposerSchedule::genesis(&set));
        let context = BlockContext {
            params: Arc::new(ChainParams::devnet()),
            validators: Arc::new(set),
            height: Height(1),
            payout,
        };
        let mut executor = BlockExecutor::new(&state, context);
        executor.fees = Amount(3);
        executor.burned = Amount(1);
        let error = executor.finish(Round(0));
        assert_eq!(
            error,
            Err(ExecutionError::Supply {
                delta: 3,
                burned: Amount(1)
            })
        );
    }
}
