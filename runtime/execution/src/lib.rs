//! Effects of transactions on the state: the rules of balances, accounts and slots.
//!
//! Pure: the state is read through [`StateReader`] and the result is [`StateChanges`]; their form as tries
//! and tables is left to the storage crate. Signatures, the Proof of History and the sizes of a whole block
//! are checked elsewhere, before a transaction arrives here.
//!
//! ```text
//!                          admit ──► may it wait in the pool?
//! VerifiedTransaction ──┤
//!                          BlockExecutor::execute ──► Receipt        (once per transaction)
//!                          BlockExecutor::finish  ──► BlockOutcome ──► State::apply ──► root, StateDiff
//! ```
//!
//! The rules:
//! 1. A transaction that breaks a rule of [`InvalidTransaction`] is not allowed in a block at all.
//! 2. Otherwise fee and nonce are spent first. Then the operations apply in order, all or none: a failed
//!    one undoes those before it and leaves [`Outcome::Failed`](vibecoin_primitives::Outcome::Failed).
//! 3. A transfer moves one base unit or more. To an address without an account it also burns
//!    `account_price`. To oneself it changes nothing. Accounts of the chain itself accept none.
//! 4. Setting a slot burns `storage_byte_price × (32 + bytes)`; an empty value removes it for free.
//! 5. Fees are summed and credited once, after the last transaction, to the proposer's payout account.
//! 6. Offences in the block's evidence are recorded under their height, and the record of the
//!    height that has just become too old for evidence is removed.
//! 7. The sum of balances and burned total never changes. Every block is checked for it before it is returned.
//!
//! Reading order: [`state`], [`invalid`] (transactions that a block must not hold), [`executor`],
//! [`contained`] (its panics), [`records`], [`memory`] (a small state for tests) and [`planted`] (deliberate bugs).

pub mod contained;
mod decided;
pub mod executor;
pub mod invalid;
pub mod memory;
pub mod planted;
pub mod records;
pub mod state;

pub use contained::is_contained;
pub use decided::DecidedBlock;
pub use executor::{
    BlockContext, BlockExecutor, BlockOutcome, ExecutionError, announce, execute_block, execute_body,
};
pub use invalid::{InvalidTransaction, admit};
pub use memory::MemoryState;
pub use records::{read_burned, read_offences, read_schedule, read_supply};
pub use state::{ReadError, State, StateChanges, StateError, StateReader};
