//! The end of a block: fees, the records of the chain, and the check of the supply.

use std::collections::{BTreeMap, btree_map};

use vibecoin_primitives::{
    Account, AccountType, Amount, Height, OffenceRecord, Receipts, Round, encode, records,
};

use super::{BlockContext, BlockExecutor, BlockOutcome, ExecutionError, touch};
use crate::records::amount_value;
use crate::{StateChanges, StateReader, read_burned, read_offences, read_schedule};

impl<R: StateReader> BlockExecutor<R> {
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

fn sum(what: &'static str, value: Amount, added: Amount) -> Result<Amount, ExecutionError> {
    value
        .checked_add(added)
        .ok_or(ExecutionError::Overflow { what, value, added })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryState;
    use std::sync::Arc;
    use vibecoin_primitives::{
        Address, ChainParams, Power, ProposerSchedule, SecretKey, Validator, ValidatorSet,
    };

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
