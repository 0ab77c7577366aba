//! Executes the transactions of one block, one after the other.
//!
//! `operations` are the steps of one transaction and their undoing, `finish` is the end of the block.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use vibecoin_primitives::{
    Account, Address, Amount, ChainParams, FastMap, Hash, Height, Offence, Operation, Outcome, Receipt,
    ReceiptV1, Receipts, Round, Transaction, ValidatorSet, VerifiedTransaction,
};

use crate::invalid::{charge, check_form};
use crate::{InvalidTransaction, ReadError, StateChanges, StateReader, planted};

mod error;
mod finish;
mod operations;

pub use error::ExecutionError;

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
        if let Some(result) = planted::contained(|| self.attempt(transaction)) {
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
