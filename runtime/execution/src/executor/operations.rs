//! The operations of one transaction, and how they are undone.

use vibecoin_primitives::{Account, AccountType, Address, Amount, Failure, Hash, Operation};

use super::{BlockExecutor, SLOT_OVERHEAD_BYTES, Undo, touch};
use crate::{ReadError, StateReader, planted};

impl<R: StateReader> BlockExecutor<R> {
    /// Applies one operation, or none of it.
    pub(super) fn apply(
        &mut self,
        sender: usize,
        operation: &Operation,
    ) -> Result<Result<(), Failure>, ReadError> {
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
        planted::panic_at(amount);
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

    pub(super) fn account(&self, index: usize) -> Option<Account> {
        self.touched.get(index).and_then(|touched| touched.now)
    }

    pub(super) fn set(&mut self, index: usize, account: Account) {
        if let Some(touched) = self.touched.get_mut(index) {
            touched.now = Some(account);
        }
    }

    fn set_undoable(&mut self, index: usize, account: Account) {
        self.undo.push(Undo::Account(index, self.account(index)));
        self.set(index, account);
    }

    /// Undoes the operations of the current transaction, the last one first.
    pub(super) fn roll_back(&mut self) {
        planted::forget_last(&mut self.undo);
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
}
